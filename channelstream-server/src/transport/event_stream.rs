//! `/sse` and `/stream`: one listener over an answer that ends only with it (contract §14).
//!
//! An event counts as sent when hyper has taken it, which holds back as soon as the TCP connection
//! takes no more. So at most two portions of events are between the outbox and the system.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::protocol::{FieldErrors, NotACursor};
use channelstream_core::state::{ListenerKind, Refusal, Since};
use futures_util::stream;
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

use crate::app::App;
use crate::http::answer::{Answer, EVENT_STREAM, NDJSON};
use crate::http::connection_limit::EndsWithPeer;
use crate::http::peer::Peer;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::listener::Listener;
use crate::listener::outbox::Sink;
use crate::node;
use crate::wire::{Encoding, Ending};

/// The most bytes that leave the outbox at once, unless one run of events is larger.
const PORTION: usize = 64 * 1024;

/// A day, in which an `EventSource` that was superseded does not take its listener back.
const NEVER: Duration = Duration::from_secs(86_400);

/// Makes nginx pass every piece on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// An event stream for `EventSource`.
pub(crate) async fn sse(app: &Arc<App>, request: Request) -> Result<Answer, Problem> {
    open(app, request, Encoding::EventStream, EVENT_STREAM).await
}

/// Lines of JSON, for programs.
pub(crate) async fn ndjson(app: &Arc<App>, request: Request) -> Result<Answer, Problem> {
    open(app, request, Encoding::NdJson, NDJSON).await
}

async fn open(
    app: &Arc<App>,
    request: Request,
    encoding: Encoding,
    content_type: &'static str,
) -> Result<Answer, Problem> {
    let connection =
        super::connection(&request).map_err(|error| FieldErrors::from_texts("conn_id", [error]))?;
    // An `EventSource` opens its stream again after everything but this.
    let unknown = || Answer::new(content_type, Bytes::new()).with_status(StatusCode::NO_CONTENT);
    let unbuffered = |answer: Answer| answer.with(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    if request.head.method == Method::HEAD {
        let is_known = app.node.ask(move |state| state.knows_connection(connection)).await?;
        return Ok(match is_known {
            true => unbuffered(Answer::stream(content_type, stream::empty())),
            false => unknown(),
        });
    }
    let since = since(&request)?;
    let appends = super::appends(&request)?;
    let place = super::reserve(app, request.peer)?;
    let ends_with_peer = EndsWithPeer::begin_stream(&request.head.tcp);
    let sink = Sink::Pull(Notify::new());
    let mut listener = Listener::new(&app.node, place, connection, sink, encoding, Some(since));
    match listener.open(ListenerKind::Socket, appends).await {
        Ok(_) => {}
        Err(node::Error::Refused(Refusal::UnknownConnection)) => {
            listener.outbox().end(Ending::Ended);
            return Ok(unknown());
        }
        Err(error) => return Err(error.into()),
    }
    let events = Box::new(Events {
        first: (encoding == Encoding::EventStream).then(|| retry(app.settings().config.sse_retry)),
        heartbeat: Box::pin(sleep(app.settings().config.heartbeat_interval)),
        latest: Instant::now(),
        app: Arc::clone(app),
        listener,
        encoding,
        is_over: false,
        request: request.id,
        peer: request.peer,
        ends_with_peer,
    });
    let pieces = stream::unfold(events, |mut events| async move {
        let piece = events.next().await?;
        Some((piece, events))
    });
    Ok(unbuffered(Answer::stream(content_type, pieces)))
}

/// Returns where the stream begins. What an `EventSource` sends by itself when it comes back counts
/// most: the URL is still that of its first request.
fn since(request: &Request) -> Result<Since, FieldErrors> {
    let refuse = |NotACursor| FieldErrors::from_texts("last_event_id", [NotACursor::TEXT]);
    let header = request.head.headers.get(LAST_EVENT_ID).map(HeaderValue::as_bytes);
    let header = header.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let newest = header.or_else(|| request.parameter("last_event_id").map(Cow::into_owned));
    match newest.filter(|text| !text.is_empty()) {
        Some(text) => text.parse().map(Since::Cursor).map_err(refuse),
        None => Ok(super::since(request)?.unwrap_or(Since::Record)),
    }
}

/// What one stream sends. Dropping it closes its listener. A reload of the page and a broken line look
/// alike, so the client always gets the time to come back.
struct Events {
    app: Arc<App>,
    listener: Listener,
    encoding: Encoding,
    /// What is sent before anything else.
    first: Option<Bytes>,
    /// Runs until a heartbeat may be due. It is not reset with each event, since that costs more.
    heartbeat: Pin<Box<Sleep>>,
    /// The time of the latest piece.
    latest: Instant,
    /// Whether the last piece is out.
    is_over: bool,
    /// The number of the request, by which the log names it.
    request: u64,
    peer: Peer,
    ends_with_peer: EndsWithPeer,
}

impl Events {
    /// Waits for the next piece. Returns `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let outbox = Arc::clone(self.listener.outbox());
        while !self.is_over {
            // This comes first: what waits beside an end is all that there will be.
            let ending = outbox.ending();
            if let Some(piece) = joined(outbox.take_portion(PORTION)) {
                outbox.read_on();
                self.latest = Instant::now();
                return Some(piece);
            }
            if let Some(ending) = ending {
                self.is_over = true;
                return self.last(ending);
            }
            tokio::select! {
                biased;
                () = outbox.changed() => {}
                () = self.heartbeat.as_mut() => {
                    let now = Instant::now();
                    let due = self.latest + self.app.settings().config.heartbeat_interval;
                    if due > now {
                        self.heartbeat.as_mut().reset(due);
                        continue;
                    }
                    self.heartbeat.as_mut().reset(now + self.app.settings().config.heartbeat_interval);
                    return self.encoding.heartbeat();
                }
            }
        }
        None
    }

    /// Returns what an `EventSource` has to know about when to come back.
    fn last(&self, ending: Ending) -> Option<Bytes> {
        if self.encoding != Encoding::EventStream {
            return None;
        }
        match ending {
            Ending::Superseded => Some(retry(NEVER)),
            Ending::Shutdown | Ending::NodeSilent => {
                let random = RandomState::new().hash_one(self.request) as f64 / u64::MAX as f64;
                let settings = self.app.settings();
                let (first, time) = (settings.config.sse_retry, settings.config.shutdown_timeout);
                Some(retry(first + time.mul_f64(random)))
            }
            _ => None,
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let outbox = self.listener.outbox();
        if self.ends_with_peer.has_stalled() {
            outbox.end(Ending::Stalled);
        }
        let ending = outbox.ending();
        super::count_end(&self.app, ending, self.peer);
        let Self { request, peer, .. } = self;
        tracing::debug!(request, %peer, ?ending, "event stream ended");
    }
}

fn retry(after: Duration) -> Bytes {
    Bytes::from(format!("retry: {}\n\n", after.as_millis()))
}

/// Joins the items of a portion. A single one, which is the rule, is not copied.
fn joined(mut portion: Vec<Bytes>) -> Option<Bytes> {
    match portion.len() {
        0 | 1 => portion.pop(),
        _ => Some(Bytes::from(portion.concat())),
    }
}
