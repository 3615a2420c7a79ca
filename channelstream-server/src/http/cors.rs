//! The headers that all responses have, and which pages of other origins may read a response.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

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

const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");

/// The headers that all responses have. They are built once, because a copy costs less.
#[derive(Debug)]
pub(crate) struct CommonHeaders {
    own: HeaderMap,
    /// `own` and the cross-origin headers.
    cross_origin: HeaderMap,
    /// The cross-origin headers as lines, for the refusals that hyper's code path answers.
    refusal_lines: String,
    /// One of these texts must occur in `Origin`. If there are none, all origins may read.
    allowed_origins: Vec<String>,
}

impl CommonHeaders {
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
        let refusal_lines = cross_origin
            .iter()
            .filter(|(name, _)| !own.contains_key(*name))
            .map(|(name, value)| {
                format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()))
            })
            .collect();
        Self { own, cross_origin, refusal_lines, allowed_origins: allowed_origins.to_vec() }
    }

    /// Returns the cross-origin header lines of a refusal that is written before a request has been
    /// parsed. `Origin` is unknown there, so a restricted server lets no page read refusals.
    pub(crate) fn refusal_lines(&self) -> &str {
        &self.refusal_lines
    }

    /// Copies the headers into those of a response to a request with this `Origin`.
    pub(crate) fn clone_into(
        &self,
        headers: &mut HeaderMap,
        cross_origin: bool,
        origin: Option<&HeaderValue>,
    ) {
        if !cross_origin {
            headers.clone_from(&self.own);
            return;
        }
        headers.clone_from(&self.cross_origin);
        if self.allows(origin) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
        }
    }

    fn allows(&self, origin: Option<&HeaderValue>) -> bool {
        let origin = origin.map(HeaderValue::as_bytes).unwrap_or_default();
        let origin = String::from_utf8_lossy(origin);
        self.allowed_origins.iter().any(|text| origin.contains(text))
    }
}
