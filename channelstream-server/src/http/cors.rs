//! The headers that all responses have, and which pages of other origins may read a response.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use crate::http::answer::JSON;

/// The headers of each response.
const OWN: [(&str, &str); 2] =
    [("x-content-type-options", "nosniff"), ("cache-control", "no-store")];

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

/// The headers that all responses have, with a place for the content type. They are built once,
/// because a copy costs less than an insertion.
#[derive(Debug)]
pub(crate) struct CommonHeaders {
    own: HeaderMap,
    /// `own` and the cross-origin headers, for pages that may not read a response.
    cross_origin: HeaderMap,
    /// The same for pages that may.
    allowed: HeaderMap,
    /// The cross-origin headers as lines, for the refusals that hyper's code path answers.
    refusal_lines: String,
    /// One of these texts must occur in `Origin`. If there are none, all origins may read.
    allowed_origins: Vec<String>,
}

impl CommonHeaders {
    pub(crate) fn new(allowed_origins: &[String]) -> Self {
        let any_origin = ("access-control-allow-origin", "*");
        let vary = ("vary", "Origin");
        let (allowed, refused): (&[_], &[_]) = match allowed_origins.is_empty() {
            true => (&[any_origin], &[any_origin]),
            false => (&[vary, any_origin], &[vary]),
        };
        let refusal_lines = CROSS_ORIGIN.iter().chain(refused);
        Self {
            own: headers(&[&OWN]),
            cross_origin: headers(&[&OWN, &CROSS_ORIGIN, refused]),
            allowed: headers(&[&OWN, &CROSS_ORIGIN, allowed]),
            refusal_lines: refusal_lines
                .map(|(name, value)| format!("{name}: {value}\r\n"))
                .collect(),
            allowed_origins: allowed_origins.to_vec(),
        }
    }

    /// Returns the cross-origin header lines of a refusal that is written before a request has been
    /// parsed. `Origin` is unknown there, so a restricted server lets no page read refusals.
    pub(crate) fn refusal_lines(&self) -> &str {
        &self.refusal_lines
    }

    /// Returns the headers of a response to a request with this `Origin`. The content type is JSON.
    pub(crate) fn of(&self, cross_origin: bool, origin: Option<&HeaderValue>) -> HeaderMap {
        let headers = match cross_origin {
            false => &self.own,
            true if self.allows(origin) => &self.allowed,
            true => &self.cross_origin,
        };
        headers.clone()
    }

    fn allows(&self, origin: Option<&HeaderValue>) -> bool {
        if self.allowed_origins.is_empty() {
            return true;
        }
        let origin = origin.map(HeaderValue::as_bytes).unwrap_or_default();
        let origin = String::from_utf8_lossy(origin);
        self.allowed_origins.iter().any(|text| origin.contains(text))
    }
}

/// Makes headers of these lists, and of a content type.
fn headers(lists: &[&[(&'static str, &'static str)]]) -> HeaderMap {
    let lines = lists.iter().flat_map(|list| list.iter());
    let content_type = HeaderValue::from_static(JSON);
    lines
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .chain([(header::CONTENT_TYPE, content_type)])
        .collect()
}
