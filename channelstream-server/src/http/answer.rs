//! What a handler returns if all is well: status, body and headers, and how they become a response.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::http::cors::CommonHeaders;
use crate::http::problem::Problem;

pub(crate) const JSON: &str = "application/json";
pub(crate) const HTML: &str = "text/html; charset=UTF-8";
pub(crate) const TEXT: &str = "text/plain; charset=UTF-8";
pub(crate) const SCRIPT: &str = "text/javascript; charset=UTF-8";
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// Pages load nothing from other hosts and cannot be framed.
const PAGE_POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// The body of an answer.
pub(crate) enum Content {
    Whole(Bytes),
    /// Pieces that come over time. The next one is asked for when the TCP connection has place for it.
    Pieces(Pieces),
}

/// The pieces of a body, none of them empty.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Bytes> + Send + Sync>>;

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => f.debug_tuple("Whole").field(bytes).finish(),
            Self::Pieces(_) => f.debug_tuple("Pieces").finish_non_exhaustive(),
        }
    }
}

/// The answer of a handler.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    content: Content,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether pages of other origins may read it.
    cross_origin: bool,
}

impl Answer {
    pub(crate) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::of(content_type, Content::Whole(body.into()))
    }

    /// An answer whose body comes over time.
    pub(crate) fn stream(
        content_type: &'static str,
        pieces: impl Stream<Item = Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self::of(content_type, Content::Pieces(Box::pin(pieces)))
    }

    fn of(content_type: &'static str, content: Content) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            content,
            headers: Vec::new(),
            cross_origin: true,
        }
    }

    pub(crate) fn json(body: &impl Serialize) -> Self {
        /// Most answers fit in this many bytes, so the buffer seldom grows.
        const COMMON: usize = 512;
        let mut json = Vec::with_capacity(COMMON);
        serde_json::to_writer(&mut json, body)
            .expect("answers hold texts, numbers and JSON under keys that are texts");
        Self::new(JSON, json)
    }

    /// Writes JSON about `channels` channels. Many channels are written on another thread: 80,000
    /// take a tenth of a second, in which this thread would serve nobody.
    ///
    /// # Errors
    /// Returns [`Problem::Stopped`] if the runtime shuts down meanwhile.
    pub(crate) async fn about(
        channels: usize,
        body: impl Serialize + Send + 'static,
    ) -> Result<Self, Problem> {
        /// Takes about a millisecond.
        const FEW: usize = 1000;
        if channels <= FEW {
            return Ok(Self::json(&body));
        }
        tokio::task::spawn_blocking(move || Self::json(&body)).await.map_err(|_| Problem::Stopped)
    }

    /// An HTML page.
    pub(crate) fn page(body: impl Into<Bytes>) -> Self {
        Self::new(HTML, body)
            .with(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY))
            .with(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"))
    }

    /// The handshake answer that opens a websocket.
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

    /// Turns the answer into a redirect to `address`, which keeps its body. Other origins cannot
    /// read it.
    pub(crate) fn redirect(self, address: &str) -> Self {
        let answer = self.with_status(StatusCode::FOUND).same_origin();
        match HeaderValue::from_str(address) {
            Ok(address) => answer.with(header::LOCATION, address),
            Err(_) => answer,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Leaves the cross-origin headers out.
    pub(crate) fn same_origin(mut self) -> Self {
        self.cross_origin = false;
        self
    }

    /// Makes the response to a request with this `Origin`.
    pub(crate) fn into_response(
        self,
        origin: Option<&HeaderValue>,
        common: &CommonHeaders,
    ) -> Response<Content> {
        let mut response = Response::new(self.content);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if self.status != StatusCode::SWITCHING_PROTOCOLS {
            *headers = common.of(self.cross_origin, origin);
            if self.content_type != JSON {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
            }
        }
        for (name, value) in self.headers {
            // An answer's own `Cache-Control` replaces the common one.
            if name == header::CACHE_CONTROL {
                headers.insert(name, value);
            } else {
                headers.append(name, value);
            }
        }
        response
    }

    #[cfg(test)]
    pub(crate) fn parts(&self) -> (StatusCode, &[u8]) {
        match &self.content {
            Content::Whole(body) => (self.status, body),
            Content::Pieces(_) => (self.status, b""),
        }
    }
}
