//! What a handler returns: an [`Answer`] or a [`Problem`], and how each becomes a response.

use std::borrow::Cow;

use bytes::Bytes;
use channelstream_core::protocol::{FieldErrors, NotJson};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;

use crate::http::header::items;
use crate::limits::Limit;
use crate::node;
use crate::wire::websocket::HandshakeError;

pub(crate) const JSON: &str = "application/json";
pub(crate) const HTML: &str = "text/html; charset=UTF-8";
pub(crate) const TEXT: &str = "text/plain; charset=UTF-8";
pub(crate) const SCRIPT: &str = "text/javascript; charset=UTF-8";

/// What is told of a listener that finds no place.
pub(crate) const FULL: &str = "as many listeners as allowed are open (max_listeners)";

/// Pages load nothing from elsewhere and stand in no frame.
const PAGE_POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// The cross-origin headers beside `Access-Control-Allow-Origin` (contract §2).
const CROSS_ORIGIN: [(&str, &str); 4] = [
    ("access-control-allow-methods", "GET, POST, OPTIONS, PUT, DELETE, PATCH"),
    (
        "access-control-allow-headers",
        "Content-Type, Depth, User-Agent, X-File-Size, X-Requested-With, If-Modified-Since, \
         X-File-Name, Cache-Control, Pragma, Origin, Connection, Referer, Cookie",
    ),
    ("access-control-max-age", "86400"),
    ("xdomainrequestallowed", "1"),
];

/// The headers that responses have in common, put together once: copying is cheaper.
#[derive(Debug)]
pub(crate) struct Common {
    own: HeaderMap,
    /// With those for pages of other origins, but whether they may read it at all.
    cross_origin: HeaderMap,
    /// The same as header lines, for refusals of requests that cannot be read.
    of_refusals: String,
    /// Of these texts one has to occur in `Origin`; none are needed if there are none.
    allowed_origins: Vec<String>,
}

impl Common {
    pub(crate) fn new(allowed_origins: &[String]) -> Self {
        let mut own = HeaderMap::with_capacity(16);
        own.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        own.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut cross_origin = own.clone();
        for (name, value) in CROSS_ORIGIN {
            cross_origin.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        if allowed_origins.is_empty() {
            cross_origin.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
        } else {
            cross_origin.insert(header::VARY, HeaderValue::from_static("Origin"));
        }
        let of_refusals = cross_origin
            .iter()
            .filter(|(name, _)| !own.contains_key(*name))
            .map(|(name, value)| {
                format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()))
            })
            .collect();
        Self { own, cross_origin, of_refusals, allowed_origins: allowed_origins.to_vec() }
    }

    /// Header lines for refusals outside of [`respond`], which have the others of their own. Whose
    /// page asks is not known there: where not all may read answers, it may not read these.
    pub(crate) fn of_refusals(&self) -> &str {
        &self.of_refusals
    }

    fn allows(&self, origin: Option<&HeaderValue>) -> bool {
        let origin = origin.map(HeaderValue::as_bytes).unwrap_or_default();
        let origin = String::from_utf8_lossy(origin);
        self.allowed_origins.iter().any(|text| origin.contains(text))
    }
}

const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");

/// A good answer.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether pages of other origins may read it.
    cross_origin: bool,
}

impl Answer {
    pub(crate) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body: body.into(),
            headers: Vec::new(),
            cross_origin: true,
        }
    }

    pub(crate) fn json(body: &impl Serialize) -> Self {
        /// Room for a common answer at once, rather than by growing.
        const COMMON: usize = 512;
        let mut json = Vec::with_capacity(COMMON);
        serde_json::to_writer(&mut json, body)
            .expect("answers hold texts, numbers and JSON under keys that are texts");
        Self::new(JSON, json)
    }

    /// JSON about so many channels. What is about very many is written on another thread: it takes a
    /// tenth of a second for 80,000, in which nobody would be served.
    pub(crate) async fn about(
        channels: usize,
        body: impl Serialize + Send + 'static,
    ) -> Result<Self, Problem> {
        /// Written in about a millisecond.
        const FEW: usize = 1000;
        if channels <= FEW {
            return Ok(Self::json(&body));
        }
        let written = tokio::task::spawn_blocking(move || Self::json(&body)).await;
        Ok(written.map_err(|_| node::Error::Stopped)?)
    }

    /// A page for people.
    pub(crate) fn page(body: impl Into<Bytes>) -> Self {
        Self::new(HTML, body)
            .with(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY))
            .with(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"))
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Without the cross-origin headers.
    pub(crate) fn same_origin(mut self) -> Self {
        self.cross_origin = false;
        self
    }

    /// The handshake of a websocket that opens.
    pub(crate) fn switching_protocols(accept: &str) -> Self {
        let mut answer = Self::new(JSON, Bytes::new())
            .with_status(StatusCode::SWITCHING_PROTOCOLS)
            .with(header::CONNECTION, HeaderValue::from_static("Upgrade"))
            .with(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(accept) {
            answer = answer.with(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        answer
    }
}

/// A request that is not served. The only type with error statuses.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The signature is there but not good (contract §3).
    BadSignature,
    /// No rights for this path.
    Forbidden,
    /// The tutorial does not act for whoever asks; why.
    NotSimulated(&'static str),
    /// The admin area does nothing for whoever asks; why.
    Refused(Cow<'static, str>),
    /// This setting is the default that everybody knows, and does not count for this request; why.
    WellKnown(&'static str, &'static str),
    /// No such path, or not by this method; what is there.
    NotFound(Cow<'static, str>),
    /// Listening on a connection that is not known.
    UnknownConnection,
    /// Only https is served.
    HttpsOnly,
    /// Somewhere else, as an address or a path.
    Elsewhere(String),
    /// What is wrong with the fields.
    FieldErrors(FieldErrors),
    /// 422 with texts alone, as `/listen` has it.
    Texts(&'static [&'static str]),
    /// The body is no JSON.
    NotJson(NotJson),
    /// The head is not as it must be; why.
    Malformed(&'static str),
    /// The body could not be read.
    BrokenBody,
    /// The body is over the bound.
    BodyTooLarge(BodyBound),
    /// The body did not come in time.
    BodyTooSlow,
    /// The body is compressed.
    Encoded(String),
    /// The websocket handshake is not right.
    Handshake(HandshakeError),
    /// Too many failed sign-ins; in so many seconds again.
    TooManySignIns(u64),
    /// Too many requests from this address; in so many seconds again.
    TooManyRequests(u64),
    /// A bound is reached, or the server is at its end; why. Nothing was done.
    Unavailable(Cow<'static, str>),
    /// The server is at its end, and what was wanted may have been done.
    Stopped,
}

/// How much of a body is read, and what says so: a setting, or for whom it is fixed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyBound {
    pub(crate) bytes: usize,
    pub(crate) name: &'static str,
}

impl From<node::Error> for Problem {
    fn from(error: node::Error) -> Self {
        match error {
            node::Error::Refused(refusal) => Self::FieldErrors(refusal.field_errors()),
            node::Error::Unavailable(_) => Self::Unavailable(error.to_string().into()),
            node::Error::Stopped => Self::Stopped,
        }
    }
}

impl From<FieldErrors> for Problem {
    fn from(faults: FieldErrors) -> Self {
        Self::FieldErrors(faults)
    }
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::BadSignature | Self::UnknownConnection => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::NotSimulated(_) | Self::Refused(_) | Self::WellKnown(..) => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::HttpsOnly => StatusCode::NOT_ACCEPTABLE,
            Self::Elsewhere(_) => StatusCode::FOUND,
            Self::FieldErrors(_) | Self::Texts(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotJson(_) | Self::Malformed(_) | Self::BrokenBody => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Encoded(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Handshake(error) => error.status(),
            Self::TooManySignIns(_) | Self::TooManyRequests(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) | Self::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The limit that was reached, where this kind of problem tells it. Others are counted where
    /// they come up.
    pub(crate) fn limit(&self) -> Option<Limit> {
        match self {
            Self::BodyTooLarge(_) => Some(Limit::BodySize),
            Self::BodyTooSlow => Some(Limit::BodyTime),
            Self::NotJson(NotJson::TooDeep { .. }) => Some(Limit::JsonDepth),
            Self::NotJson(NotJson::TooMany { .. }) => Some(Limit::JsonElements),
            Self::TooManyRequests(_) => Some(Limit::RequestsPerAddress),
            _ => None,
        }
    }

    /// A sentence for people. What is refused by a bound names the setting.
    pub(crate) fn message(&self) -> Cow<'static, str> {
        match self {
            Self::BadSignature => "the signature is not good".into(),
            Self::Forbidden => "a signature or a listed address is missing; both are needed".into(),
            Self::NotSimulated(why) => {
                format!("the tutorial does not act for this request: {why}").into()
            }
            Self::WellKnown(setting, why) => format!(
                "{setting} is the well-known default, which does not count for this request: \
                 {why}; set {setting} to something of your own"
            )
            .into(),
            Self::NotFound(what) => what.clone(),
            Self::Malformed(why) => (*why).into(),
            Self::UnknownConnection => "the connection is not known, or has ended".into(),
            Self::HttpsOnly => "only https is served here".into(),
            Self::Elsewhere(address) => format!("see {address}").into(),
            Self::FieldErrors(_) | Self::Texts(_) => "fields are faulty".into(),
            Self::NotJson(error @ NotJson::TooDeep { .. }) => {
                format!("{error} (max_json_depth)").into()
            }
            Self::NotJson(error @ NotJson::TooMany { .. }) => {
                format!("{error} (max_json_elements)").into()
            }
            Self::NotJson(error) => error.to_string().into(),
            Self::BrokenBody => "the body could not be read to its end".into(),
            Self::BodyTooLarge(BodyBound { bytes, name }) => {
                format!("the body is larger than {bytes} bytes ({name})").into()
            }
            Self::BodyTooSlow => "the body did not come in time (body_timeout)".into(),
            Self::Encoded(coding) => {
                format!("the header content-encoding: {coding} is not supported, send plain JSON")
                    .into()
            }
            Self::Handshake(error) => error.to_string().into(),
            Self::TooManySignIns(_) => {
                "too many failed sign-ins, try again later (max_failed_sign_ins)".into()
            }
            Self::TooManyRequests(_) => {
                "too many requests from this address (max_requests_per_address)".into()
            }
            Self::Refused(why) | Self::Unavailable(why) => why.clone(),
            Self::Stopped => node::Error::Stopped.to_string().into(),
        }
    }

    /// What programs learn from a 503: whether what they wanted was surely not done, so that asking
    /// again doubles nothing.
    fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable(_) => Some("not_done"),
            Self::Stopped => Some("unknown"),
            _ => None,
        }
    }

    /// The answer; what was `asked` with chooses the format where the contract lets it, and a page
    /// that is shown at `path` finds its files from there.
    fn into_answer(self, asked: &HeaderMap, path: &str) -> Answer {
        let status = self.status();
        let answer = match &self {
            Self::BadSignature => Answer::json(&serde_json::json!({"request": "Bad Signature"})),
            Self::FieldErrors(faults) => Answer::json(faults),
            Self::Texts(texts) => Answer::json(texts),
            Self::Forbidden
            | Self::NotFound(_)
            | Self::UnknownConnection
            | Self::HttpsOnly
            | Self::Elsewhere(_) => {
                error_page(status, &self.message(), Format::wanted(asked), path)
            }
            _ => error_json(status, &self.message(), self.outcome()),
        };
        let answer = answer.with_status(status);
        match self {
            Self::Elsewhere(address) => match HeaderValue::from_str(&address) {
                Ok(address) => answer.with(header::LOCATION, address).same_origin(),
                Err(_) => answer,
            },
            Self::Handshake(error) => error
                .headers()
                .iter()
                .fold(answer, |answer, (name, value)| answer.with(name.clone(), value.clone())),
            Self::TooManySignIns(seconds) | Self::TooManyRequests(seconds) => {
                answer.with(header::RETRY_AFTER, HeaderValue::from(seconds))
            }
            Self::Unavailable(_) | Self::Stopped => {
                answer.with(header::RETRY_AFTER, HeaderValue::from(1))
            }
            _ => answer,
        }
    }
}

/// The formats of error pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Html,
    Json,
    Text,
}

impl Format {
    /// What `Accept` likes best; of what it likes equally HTML, then JSON. Without it, text.
    fn wanted(asked: &HeaderMap) -> Self {
        let mut best = (Self::Text, 0.0);
        for (format, media_type) in [
            (Self::Html, "text/html"),
            (Self::Json, "application/json"),
            (Self::Text, "text/plain"),
        ] {
            let liking = liking(asked, media_type);
            if liking > best.1 {
                best = (format, liking);
            }
        }
        best.0
    }
}

/// How much `Accept` likes a media type, from 0 to 1: the most specific range that fits decides.
fn liking(asked: &HeaderMap, media_type: &str) -> f32 {
    let whole_type = media_type.split('/').next().unwrap_or_default();
    let mut found = (0, 0.0);
    for range in items(asked, &header::ACCEPT, b',').filter_map(|range| str::from_utf8(range).ok())
    {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let specific = if name.eq_ignore_ascii_case(media_type) {
            3
        } else if name.strip_suffix("/*").is_some_and(|t| t.eq_ignore_ascii_case(whole_type)) {
            2
        } else if name == "*/*" {
            1
        } else {
            continue;
        };
        let liking = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(1.0, |q| q.trim().parse().unwrap_or(0.0));
        if specific > found.0 {
            found = (specific, liking);
        }
    }
    found.1
}

fn error_page(status: StatusCode, message: &str, format: Format, path: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error");
    match format {
        Format::Json => error_json(status, message, None),
        Format::Html => Answer::page(crate::pages::error_page(path, title, message)),
        Format::Text => Answer::new(TEXT, format!("{} {title}\n\n{message}\n", status.as_u16())),
    }
}

fn error_json(status: StatusCode, message: &str, outcome: Option<&'static str>) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error");
    let code = format!("{} {title}", status.as_u16());
    Answer::json(&ErrorBody { message, code: &code, title, outcome })
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    code: &'a str,
    title: &'a str,
    /// `not_done` or `unknown`, where that is a question.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
}

/// Makes the response to a request with these headers for this path. Of the admin area nothing is
/// for pages of other origins, whatever it is.
pub(crate) fn respond(
    outcome: Result<Answer, Problem>,
    asked: &HeaderMap,
    path: &str,
    common: &Common,
) -> Response<Bytes> {
    let mut answer = outcome.unwrap_or_else(|problem| problem.into_answer(asked, path));
    // A program that tells of no page gets the very answer of the reference.
    answer.cross_origin &=
        !(crate::admin::is_below(path) && crate::router::browser::tells_of_a_page(asked));
    let mut response = Response::new(answer.body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    if answer.status != StatusCode::SWITCHING_PROTOCOLS {
        headers.clone_from(if answer.cross_origin { &common.cross_origin } else { &common.own });
        if answer.cross_origin && common.allows(asked.get(header::ORIGIN)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    }
    for (name, value) in answer.headers {
        // What says how long it may be kept says so alone.
        if name == header::CACHE_CONTROL {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal;

    #[test]
    fn a_503_tells_whether_anything_was_done() {
        let told = |error: node::Error| {
            let answer = Problem::from(error).into_answer(&HeaderMap::new(), "/");
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            body["outcome"].as_str().map(str::to_owned)
        };
        for error in [journal::Error::Full, journal::Error::Closed] {
            assert_eq!(told(error.into()).as_deref(), Some("not_done"));
        }
        assert_eq!(told(node::Error::Stopped).as_deref(), Some("unknown"));
    }

    #[test]
    fn the_format_of_error_pages() {
        let wanted = |accept: &str| {
            let accept = HeaderValue::from_bytes(accept.as_bytes()).expect("no control characters");
            Format::wanted(&HeaderMap::from_iter([(header::ACCEPT, accept)]))
        };
        assert_eq!(Format::wanted(&HeaderMap::new()), Format::Text);
        assert_eq!(wanted("text/html;x=\u{e9}, application/json;q=0.5"), Format::Html);
        assert_eq!(wanted("*/*"), Format::Html);
        assert_eq!(wanted("text/html"), Format::Html);
        assert_eq!(wanted("application/json"), Format::Json);
        assert_eq!(wanted("Application/JSON; q=0.9, */*;q=0.1"), Format::Json);
        assert_eq!(wanted("text/plain"), Format::Text);
        assert_eq!(wanted("text/*;q=0.5, application/json;q=0.4"), Format::Html);
        assert_eq!(wanted("image/png"), Format::Text);
        assert_eq!(wanted("text/html;q=0, */*"), Format::Json);
        assert_eq!(wanted(""), Format::Text);
    }
}
