//! The settings of each kind of step; one that a step does not have is an error.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::json::{Json, Object, object};

/// The settings of a step as its kind has them.
pub(crate) fn typed<T: DeserializeOwned>(step: &Object) -> Result<T> {
    let mut settings = step.clone();
    // what it is, what it is for, and how it is compared
    settings.retain(|key, _| !matches!(key.as_str(), "do" | "note" | "accept" | "reference_error"));
    Ok(serde_json::from_str(&Json::from(settings).to_string())?)
}

/// The request that a `listen` step stands for.
pub(crate) fn listening(step: &Object) -> Object {
    let calls_back = step.get("query").is_some_and(|query| query.get("callback").is_some());
    let mut request = object! {
        "query" => object! { "conn_id" => "{conn}" },
        "body" => if calls_back { "jsonp" } else { "json-any" },
    };
    request.extend(step.clone());
    request.extend(object! { "method" => "GET", "path" => "/listen", "sign" => false });
    request
}

/// A request, and what is recorded of its answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    #[serde(default = "get")]
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) query: Object,
    #[serde(default, deserialize_with = "given")]
    pub(crate) json: Option<Json>,
    pub(crate) raw: Option<String>,
    pub(crate) form: Option<Json>,
    /// Headers beside the usual ones; null removes one.
    #[serde(default)]
    pub(crate) headers: Object,
    pub(crate) sign: Option<Json>,
    /// Whether the scenario's cookies are sent and kept.
    #[serde(default)]
    pub(crate) cookies: bool,
    /// The name under which it runs on, until a `join`.
    pub(crate) background: Option<String>,
    /// Variables that are set to values of the answer, by their pointers.
    #[serde(default)]
    pub(crate) save: Object,
    #[serde(default)]
    pub(crate) body: BodyMode,
    /// How deep a shape goes.
    #[serde(default = "three")]
    pub(crate) depth: usize,
    /// Pointers to the values that are recorded, if not all are.
    pub(crate) pick: Option<Vec<String>>,
    /// Texts of which is recorded whether the page has them.
    pub(crate) contains: Option<Vec<String>>,
    /// Leaves out channels and users of other scenarios.
    #[serde(default)]
    pub(crate) only_ns: bool,
    /// Records the cross-origin headers one by one.
    #[serde(default)]
    pub(crate) raw_cors: bool,
    pub(crate) elapsed: Option<Range>,
    pub(crate) since: Option<String>,
}

/// Which part of a body is recorded, and how.
#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BodyMode {
    #[default]
    Json,
    /// JSON under any content type.
    JsonAny,
    Jsonp,
    /// The keys, and the kinds of values.
    Shape,
    /// No body, as the page is the server's own affair.
    Status,
    /// No body.
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WsOpen {
    #[serde(default = "ws", rename = "as")]
    pub(crate) ws: String,
    #[serde(default)]
    pub(crate) query: Object,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WsExpect {
    #[serde(default = "ws")]
    pub(crate) ws: String,
    /// How many messages to wait for.
    pub(crate) count: Option<usize>,
    /// How many heartbeats to wait for.
    pub(crate) heartbeats: Option<usize>,
    pub(crate) until: Option<Until>,
    /// How long to wait at most.
    #[serde(default = "three_seconds", deserialize_with = "seconds")]
    pub(crate) within: Duration,
    /// How long to wait for more messages than were asked for.
    #[serde(default = "settling", deserialize_with = "seconds")]
    pub(crate) settle: Duration,
    /// How far apart heartbeats are.
    pub(crate) gaps: Option<Range>,
    /// How many heartbeats are good.
    pub(crate) heartbeats_between: Option<[usize; 2]>,
    pub(crate) elapsed: Option<Range>,
    pub(crate) since: Option<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Until {
    Closed,
}

/// One of the three is sent; a ping waits for its pong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WsSend {
    #[serde(default = "ws")]
    pub(crate) ws: String,
    pub(crate) text: Option<String>,
    pub(crate) binary: Option<String>,
    pub(crate) ping: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WsClose {
    #[serde(default = "ws")]
    pub(crate) ws: String,
    #[serde(default = "normal_closure")]
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Set {
    /// Variables and their values; `"$uuid"` makes a new identifier.
    pub(crate) vars: Object,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sleep {
    #[serde(deserialize_with = "seconds")]
    pub(crate) seconds: Duration,
}

/// Notes the time under a name, for `since`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mark {
    pub(crate) name: String,
}

/// Seconds from one number to another, shown as they are written.
#[derive(Deserialize)]
pub(crate) struct Range([Json; 2]);

impl Range {
    pub(crate) fn contains(&self, took: Duration) -> bool {
        let [low, high] = self.0.each_ref().map(|end| end.to_string().parse::<f64>());
        let took = took.as_secs_f64();
        low.is_ok_and(|low| low <= took) && high.is_ok_and(|high| took <= high)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = &self.0;
        write!(f, "{low}..{high} s")
    }
}

/// A value that may be null, unlike one that is left out.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
}

fn get() -> String {
    "GET".into()
}

fn ws() -> String {
    "ws".into()
}

fn three() -> usize {
    3
}

fn three_seconds() -> Duration {
    Duration::from_secs(3)
}

fn settling() -> Duration {
    Duration::from_millis(300)
}

fn normal_closure() -> u16 {
    1000
}
