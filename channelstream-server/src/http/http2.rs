//! HTTP/2 on a connection: its limits, its streams in turns, and its end.
//!
//! All streams of a connection run in its task, so that a connection with many streams gets no more
//! turns than one of HTTP/1.1. hyper hands the future of each stream to an executor, which is a queue
//! here, and the task polls what is in it.
//!
//! hyper and h2 bound what a peer can make them keep: heads, resets, settings, pings, receive buffers.
//! They wait forever for a peer that opens no window. So a stream that waits for its peer has the
//! timeout of an answer that is not read.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep};

use crate::http::connection::{Settings, Shared, drained, take_head};
use crate::http::connection_limit::ConnectionGuard;
use crate::http::linger::{DRAINING, LingerIo};
use crate::http::service::{self, Service};
use crate::http::stall::Stall;
use crate::limits::Limit;

/// Streams that a peer may have open on one connection. RFC 9113 recommends no fewer.
const STREAMS: u32 = 100;

/// Streams in the task of a connection at which it takes no more frames. Those that the peer has reset
/// are among them until they get a turn.
const CROWD: usize = 2 * STREAMS as usize;

/// Streams that the peer has reset before they got a turn; more end the connection.
const RESETS: usize = 20;

/// Streams that this side has reset because the peer broke a rule, in the life of a connection; more end
/// it.
const ERRORS: usize = 1000;

/// Bytes of a body that are received before a handler takes them.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same of all bodies of a connection.
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// Bytes of an answer that are given to h2 at once. It keeps them until the peer opens its window.
const PIECE: usize = 8 * 1024;

/// Serves HTTP/2 on a connection until it ends, idles for too long, or is drained.
pub(super) async fn serve<S: Service>(
    service: Arc<S>,
    shared: Arc<Shared>,
    stream: LingerIo,
    tcp: Arc<ConnectionGuard>,
    mut drain: watch::Receiver<bool>,
) {
    // The drain waits for the streams here, and not for the next head.
    tcp.set_serving(true);
    let peer = tcp.peer;
    let queue = Queue::default();
    let Settings { max_head_size, head_timeout, ping_interval, ping_timeout, .. } =
        **shared.settings();
    let mut http = http2::Builder::new(queue.executor());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(ERRORS)
        .max_header_list_size(u32::try_from(max_head_size).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(2 * PIECE)
        .keep_alive_interval(ping_interval)
        .keep_alive_timeout(ping_timeout);
    let routes = service::routes(service);
    let (of_requests, begins) = (Arc::clone(&tcp), queue.executor());
    let (shared_by_streams, draining) = (Arc::clone(&shared), drain.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        let tcp = Arc::clone(&of_requests);
        let of_stream = Arc::new(tcp.of_stream());
        let head = Arc::new(take_head(&mut request, &of_stream));
        let is_head = head.method == Method::HEAD;
        request.extensions_mut().insert(head);
        let flow = Arc::new(Flow {
            tcp: of_stream,
            shared: Arc::clone(&shared_by_streams),
            draining: draining.clone(),
            waits: AtomicBool::new(false),
            taken: AtomicUsize::new(0),
        });
        begins.begin(Arc::clone(&flow));
        let answer = routes.call(request);
        async move {
            while tcp.exceeds_turn() {
                yield_now().await;
            }
            Ok::<_, std::convert::Infallible>(paced(answer.await?, is_head, flow))
        }
    });
    let http = http.serve_connection(stream, service);
    let mut connection = Connection {
        http: Box::pin(http),
        graceful_shutdown: |http| http.graceful_shutdown(),
        queue,
        running: FuturesUnordered::new(),
        idle: Box::pin(sleep(head_timeout)),
        is_idle: true,
        is_closing: false,
        shared,
        tcp,
    };
    let outcome = tokio::select! {
        biased;
        outcome = connection.serve() => outcome,
        () = drained(&mut drain) => {
            connection.close();
            connection.serve().await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, %error, "connection closed");
    }
}

/// A connection and its streams.
struct Connection<C> {
    http: Pin<Box<C>>,
    /// Tells hyper to take no more streams.
    graceful_shutdown: fn(Pin<&mut C>),
    queue: Queue,
    running: FuturesUnordered<Stream>,
    /// Runs while no stream is open.
    idle: Pin<Box<Sleep>>,
    is_idle: bool,
    is_closing: bool,
    shared: Arc<Shared>,
    tcp: Arc<ConnectionGuard>,
}

impl<C: Future<Output = hyper::Result<()>>> Connection<C> {
    async fn serve(&mut self) -> hyper::Result<()> {
        poll_fn(|cx| self.poll_serve(cx)).await
    }

    /// Lets the open streams end and takes no more of them. The peer has a moment to hear of it.
    fn close(&mut self) {
        self.is_closing = true;
        (self.graceful_shutdown)(self.http.as_mut());
        self.idle.as_mut().reset(Instant::now() + DRAINING);
    }

    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.tcp.begin_turn();
        loop {
            if self.running.len() <= CROWD
                && let Poll::Ready(outcome) = self.http.as_mut().poll(cx)
            {
                return Poll::Ready(outcome);
            }
            self.running.extend(self.queue.take());
            if !matches!(self.running.poll_next_unpin(cx), Poll::Ready(Some(()))) {
                break;
            }
        }
        if !self.running.is_empty() {
            self.is_idle = false;
            return Poll::Pending;
        }
        if !self.is_idle {
            self.is_idle = true;
            let most = if self.is_closing { DRAINING } else { self.shared.settings().head_timeout };
            self.idle.as_mut().reset(Instant::now() + most);
        }
        ready!(self.idle.as_mut().poll(cx));
        if self.is_closing {
            return Poll::Ready(Ok(()));
        }
        self.close();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The streams that hyper has begun and the task of the connection has not taken yet.
#[derive(Default)]
struct Queue(Arc<Mutex<Waiting>>);

/// Puts streams into the queue, as long as the connection is there. hyper gives a clone to each stream, which
/// must not keep the queue that the stream may be in.
#[derive(Clone)]
struct Executor(Weak<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    streams: Vec<Stream>,
    /// That of the stream for which hyper has called the service.
    flow: Option<Arc<Flow>>,
}

impl Queue {
    fn executor(&self) -> Executor {
        Executor(Arc::downgrade(&self.0))
    }

    fn take(&self) -> Vec<Stream> {
        std::mem::take(&mut lock(&self.0).streams)
    }
}

impl Executor {
    /// Notes the flow of the stream that hyper is about to hand over: it calls the service first.
    fn begin(&self, flow: Arc<Flow>) {
        if let Some(waiting) = self.0.upgrade() {
            lock(&waiting).flow = Some(flow);
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, answering: F) {
        let Some(waiting) = self.0.upgrade() else { return };
        let mut waiting = lock(&waiting);
        let flow = waiting.flow.take();
        let (answering, stall) = (Box::pin(answering), Stall::default());
        waiting.streams.push(Stream { answering, flow, stall });
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().expect("nothing that holds it can panic")
}

/// What the body of an answer and its stream know of each other.
struct Flow {
    /// The flags of the one request of this stream.
    tcp: Arc<ConnectionGuard>,
    shared: Arc<Shared>,
    draining: watch::Receiver<bool>,
    /// Whether a piece waits for the peer to open its window.
    waits: AtomicBool,
    /// Bytes of the pieces that it has let through.
    taken: AtomicUsize,
}

/// The future of one stream, which ends when its peer opens no window for too long. Dropping it resets
/// the stream.
struct Stream {
    answering: Pin<Box<dyn Future<Output = ()> + Send>>,
    flow: Option<Arc<Flow>>,
    stall: Stall,
}

impl Future for Stream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.answering.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(flow) = &this.flow else { return Poll::Pending };
        if !flow.waits.load(Ordering::Relaxed) {
            this.stall.all_taken();
            return Poll::Pending;
        }
        let Settings { answer_timeout, stream_timeout, .. } = **flow.shared.settings();
        let streams = flow.tcp.streams();
        let most = if streams { stream_timeout } else { answer_timeout };
        let most = if *flow.draining.borrow() { most.min(DRAINING) } else { most };
        this.stall.taken(flow.taken.swap(0, Ordering::Relaxed), most);
        ready!(this.stall.poll_over(cx, most));
        if streams {
            flow.tcp.set_stalled();
        } else {
            flow.shared.limits.refused(Limit::AnswerTime, flow.tcp.peer);
        }
        Poll::Ready(())
    }
}

/// Gives a body to a response in pieces. An answer that has none over HTTP/1.1 has none here either.
fn paced<B: Body>(response: Response<B>, is_head: bool, flow: Arc<Flow>) -> Response<Paced<B>> {
    let (mut parts, body) = response.into_parts();
    let has_none = is_head
        || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || body.is_end_stream();
    if is_head && let Some(length) = body.size_hint().exact() {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    let body = (!has_none).then(|| Box::pin(body));
    Response::from_parts(parts, Paced { body, rest: Bytes::new(), flow, sent: 0 })
}

/// A body in pieces. hyper asks for a piece when the peer has let the one before through, so how long
/// it does not ask is how long the peer lets nothing through.
///
/// The last byte is a piece of its own. The stream is not over before the peer has opened its window
/// for it; h2 would keep a longer piece for as long as the peer likes.
struct Paced<B> {
    /// `None` once it is at its end.
    body: Option<Pin<Box<B>>>,
    rest: Bytes,
    flow: Arc<Flow>,
    /// Bytes of the latest piece.
    sent: usize,
}

impl<B: Body> Paced<B> {
    fn next_piece(&mut self) -> Option<Bytes> {
        let is_last = self.body.as_ref().is_none_or(|body| body.is_end_stream());
        let most = match self.rest.len() {
            0 => return None,
            length if is_last => (length - 1).max(1),
            length => length,
        };
        let piece = self.rest.split_to(most.min(PIECE));
        self.sent = piece.len();
        self.flow.waits.store(true, Ordering::Relaxed);
        Some(piece)
    }
}

impl<B: Body> Body for Paced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        this.flow.waits.store(false, Ordering::Relaxed);
        this.flow.taken.fetch_add(std::mem::take(&mut this.sent), Ordering::Relaxed);
        loop {
            if let Some(piece) = this.next_piece() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) => this.rest = data.copy_to_bytes(data.remaining()),
                    Err(frame) => {
                        let Ok(trailers) = frame.into_trailers() else { continue };
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.body = None,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let Some(body) = &self.body else { return SizeHint::with_exact(rest) };
        let mut hint = body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Executor as _;

    use super::*;

    #[test]
    fn a_stream_that_nobody_took_ends_with_its_connection() {
        let (queue, token) = (Queue::default(), Arc::new(()));
        let (executor, held) = (queue.executor(), Arc::clone(&token));
        // As hyper's streams have one.
        let of_stream = executor.clone();
        executor.execute(async move {
            std::future::pending::<()>().await;
            drop((of_stream, held));
        });
        assert_eq!(Arc::strong_count(&token), 2);
        drop(queue);
        assert_eq!(Arc::strong_count(&token), 1);
    }
}
