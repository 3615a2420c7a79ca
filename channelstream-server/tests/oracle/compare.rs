//! Compares what a run saw with the transcript, step by step.

use serde::Deserialize;

use crate::json::{Json, Object};
use crate::scenario::Scenario;

/// A difference that is accepted: by a scenario's `allow`, or in `deviations.json`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// The scenarios that a deviation concerns, as a pattern.
    pub(crate) scenario: Option<String>,
    /// The scenario is left out: what replaces the behaviour has tests of its own.
    #[serde(default)]
    pub(crate) replaced: bool,
    step: Option<usize>,
    #[serde(rename = "do")]
    kind: Option<String>,
    /// Method and path of the request, as a pattern.
    what: Option<String>,
    path: Option<String>,
    want: Option<Vec<Json>>,
    #[expect(dead_code, reason = "each rule must give its reason; it is for readers")]
    reason: String,
}

impl Rule {
    fn permits(&self, step: &Object, path: &str, got: Option<&Json>) -> bool {
        let is = |key: &str, wanted: String| step.get(key).is_some_and(|v| v.plain() == wanted);
        self.path.as_ref().is_some_and(|pattern| matches(pattern, path))
            && self.step.is_none_or(|number| is("step", number.to_string()))
            && self.what.as_ref().is_none_or(|pattern| {
                step.get("what").is_some_and(|what| matches(pattern, &what.plain()))
            })
            && self.kind.as_ref().is_none_or(|kind| is("do", kind.clone()))
            && self.want.as_ref().is_none_or(|want| got.is_some_and(|got| want.contains(got)))
    }
}

/// Whether `text` fits a pattern in which `*` stands for any text.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|tail| {
            tail.char_indices()
                .map(|(at, _)| at)
                .chain([tail.len()])
                .any(|at| matches(rest, &tail[at..]))
        }),
    }
}

/// How the first differing step differs; `None` if all agree.
///
/// Where the reference itself fails, a client error will do; with `reference` set, its failures
/// are demanded as recorded.
pub(crate) fn difference(
    scenario: &Scenario,
    want: &[Object],
    got: &[Object],
    reference: bool,
) -> Option<String> {
    for (want, got) in want.iter().zip(got) {
        let title = format!("step {} ({})", show(want.get("step")), show(want.get("what")));
        if want.contains_key("reference_error") && !reference {
            if excused(scenario.step(want), got) {
                continue;
            }
            return Some(format!(
                "{title}: the reference fails here; a 4xx with a JSON body is wanted, got {} {}",
                show(got.get("status").or_else(|| got.get("failed"))),
                show(got.get("content_type")),
            ));
        }
        let mut found = Vec::new();
        objects(want, got, "", &mut found);
        found.retain(|(path, _, got)| {
            !scenario.rules.iter().any(|rule| rule.permits(want, path, *got))
        });
        if found.is_empty() {
            continue;
        }
        let mut text = title;
        for (path, recorded, got) in found.iter().take(5) {
            let (recorded, got) = (show(*recorded), show(*got));
            text += &format!("\n  at {path}\n    recorded: {recorded}\n    got:      {got}");
        }
        if found.len() > 5 {
            text += &format!("\n  and {} more", found.len() - 5);
        }
        if found.iter().any(|(path, ..)| path == "status") {
            text += &format!("\n  got body: {}", show(got.get("body")));
        }
        return Some(text);
    }
    (want.len() != got.len())
        .then(|| format!("step count: {} recorded, {} seen", want.len(), got.len()))
}

/// Whether an answer will do where the reference itself fails: a client error that says why in
/// JSON, or a status that the step accepts by name.
fn excused(step: Option<&Object>, got: &Object) -> bool {
    let Some(Json::Number(status)) = got.get("status") else { return false };
    let status = status.get();
    let family = format!("{}xx", &status[..1]);
    if let Some(Json::List(accepted)) = step.and_then(|step| step.get("accept"))
        && accepted.iter().map(Json::plain).any(|one| one == status || one == family)
    {
        return true;
    }
    let is_json = got.get("content_type").is_some_and(|kind| kind.plain().contains("json"));
    family == "4xx" && is_json && got.get("body") != Some(&"<not json>".into())
}

/// A differing value: its path, what was recorded and what came.
type Difference<'a> = (String, Option<&'a Json>, Option<&'a Json>);

fn objects<'a>(want: &'a Object, got: &'a Object, path: &str, found: &mut Vec<Difference<'a>>) {
    for key in want.keys().chain(got.keys().filter(|key| !want.contains_key(*key))) {
        let here = if path.is_empty() { key.clone() } else { format!("{path}/{key}") };
        if matches!(here.as_str(), "heartbeats_seen" | "note" | "reference_error") {
            continue;
        }
        match (want.get(key), got.get(key)) {
            (Some(want), Some(got)) => values(want, got, &here, found),
            (want, got) => found.push((here, want, got)),
        }
    }
}

fn values<'a>(want: &'a Json, got: &'a Json, path: &str, found: &mut Vec<Difference<'a>>) {
    match (want, got) {
        (Json::Object(want), Json::Object(got)) => objects(want, got, path, found),
        (Json::List(want), Json::List(got)) => {
            for at in 0..want.len().max(got.len()) {
                let here = format!("{path}/{at}");
                match (want.get(at), got.get(at)) {
                    (Some(want), Some(got)) => values(want, got, &here, found),
                    (want, got) => found.push((here, want, got)),
                }
            }
        }
        _ if want == got => {}
        _ => found.push((path.to_owned(), Some(want), Some(got))),
    }
}

fn show(value: Option<&Json>) -> String {
    let text = value.map_or_else(|| "<absent>".into(), Json::to_string);
    text.chars().take(600).collect()
}
