//! The access log: one line for each request, when it is finished.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt as _;
use http::{Method, Response, StatusCode, Version};
use tokio::time::Instant;
use tracing::Level;

use crate::http::answer::Content;
use crate::http::peer::Peer;
use crate::http::request::Head;
use crate::http::trace_context::TraceContext;

/// The target of the lines, for directives of `log_level`.
const TARGET: &str = "channelstream_server::access";

/// What the log tells of one request. The line is written when this is dropped, so whatever still works for
/// the request holds a clone: its handler, its stream, its websocket.
#[derive(Debug)]
pub(crate) struct Line {
    began: Instant,
    head: Arc<Head>,
    /// The number of the request.
    request: u64,
    peer: Peer,
    path: Option<Arc<str>>,
    trace: Option<TraceContext>,
    /// Whether it is at `info`, by `access_log`; otherwise it is at `debug`.
    is_on: bool,
    answered: OnceLock<Answered>,
    /// The bytes of the body of the answer so far.
    bytes: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    status: StatusCode,
    /// Whether it is one of those that monitoring asks for all the time, and as it should be.
    is_routine: bool,
}

impl Line {
    /// Begins the line of a request. Returns `None` if it would not be logged.
    pub(crate) fn begin(
        head: &Arc<Head>,
        request: u64,
        peer: Peer,
        path: Option<&Arc<str>>,
        trace: Option<TraceContext>,
        is_on: bool,
    ) -> Option<Arc<Self>> {
        if !is_on && !tracing::enabled!(target: TARGET, Level::DEBUG) {
            return None;
        }
        Some(Arc::new(Self {
            began: Instant::now(),
            head: Arc::clone(head),
            request,
            peer,
            path: path.cloned(),
            trace,
            is_on,
            answered: OnceLock::new(),
            bytes: AtomicU64::new(0),
        }))
    }

    /// Notes the answer. The line waits until the body is sent, if that comes over time.
    pub(crate) fn answer(
        self: Arc<Self>,
        response: Response<Content>,
        is_probe: bool,
    ) -> Response<Content> {
        let status = response.status();
        // It is set here only, and a request is answered once.
        let _ = self.answered.set(Answered { status, is_routine: is_probe && status.is_success() });
        response.map(|content| match content {
            Content::Whole(body) => {
                self.sent(body.len());
                Content::Whole(body)
            }
            Content::Pieces(pieces) => {
                Content::Pieces(Box::pin(pieces.inspect(move |piece| self.sent(piece.len()))))
            }
        })
    }

    fn sent(&self, bytes: usize) {
        if self.head.method != Method::HEAD {
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let answered = self.answered.get();
        let status = answered.map(|answered| answered.status);
        // The bytes of a websocket are not counted here.
        let has_body = status.is_some_and(|status| status != StatusCode::SWITCHING_PROTOCOLS);
        let bytes = has_body.then(|| self.bytes.load(Ordering::Relaxed));
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        macro_rules! log {
            ($level:expr) => {
                tracing::event!(
                    target: TARGET,
                    $level,
                    request = self.request,
                    peer = %self.peer,
                    method = %self.head.method,
                    path = self.path.as_deref().unwrap_or("(undecodable)"),
                    status = status.map(|status| status.as_u16()),
                    bytes,
                    ms = micros as f64 / 1000.0,
                    protocol = protocol(self.head.version),
                    trace_id = self.trace.map(|trace| tracing::field::display(trace.trace_id())),
                    span_id = self.trace.map(|trace| tracing::field::display(trace.span_id())),
                    "request {}",
                    if status.is_some() { "finished" } else { "aborted" }
                )
            };
        }
        if self.is_on && !answered.is_some_and(|answered| answered.is_routine) {
            log!(Level::INFO);
        } else {
            log!(Level::DEBUG);
        }
    }
}

/// The name of a version, as TLS names it (ALPN).
pub(crate) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "h2",
        Version::HTTP_10 => "http/1.0",
        _ => "http/1.1",
    }
}
