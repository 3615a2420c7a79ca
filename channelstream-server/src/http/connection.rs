//! TCP connections: accepts them and serves HTTP on each until the drain.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::config::{Config, Networks};
use crate::http::accepting::Accepting;
use crate::http::begin::begin;
use crate::http::connection_limit::{ConnectionGuard, ConnectionLimit};
use crate::http::cors::CommonHeaders;
use crate::http::host;
use crate::http::http2;
use crate::http::linger::{LingerIo, refusal};
use crate::http::peer::Peer;
use crate::http::request::Head;
use crate::http::service::{self, Service};
use crate::http::tls::Tls;
use crate::limits::{Limit, Limits};
use crate::metrics::Metrics;
use crate::socket::{BoundSocket, System};

/// The smallest buffer that hyper takes.
const MIN_BUFFER: usize = 8192;

/// The settings of TCP connections. A connection keeps the limits of heads with which it was accepted.
#[derive(Debug)]
pub(crate) struct Settings {
    trusted_proxies: Networks,
    pub(super) max_head_size: usize,
    pub(super) head_timeout: Duration,
    pub(super) answer_timeout: Duration,
    /// As for a websocket that reads nothing of what waits for it.
    pub(super) stream_timeout: Duration,
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
    pub(crate) common_headers: CommonHeaders,
}

impl Settings {
    fn new(config: &Config) -> Self {
        Self {
            trusted_proxies: config.trusted_proxies.clone(),
            max_head_size: config.max_head_size,
            head_timeout: config.head_timeout,
            answer_timeout: config.answer_timeout,
            stream_timeout: config.ping_interval + config.ping_timeout,
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            common_headers: CommonHeaders::new(&config.allow_cors),
        }
    }
}

/// What all TCP connections of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    settings: ArcSwap<Settings>,
    pub(crate) connections: Arc<ConnectionLimit>,
    pub(super) limits: Arc<Limits>,
    pub(super) metrics: Arc<Metrics>,
    accepting: Accepting,
}

impl Shared {
    pub(crate) fn new(config: &Config, limits: Arc<Limits>, metrics: Arc<Metrics>) -> Self {
        let (total, by_address) = (config.max_connections, config.max_connections_per_address);
        Self {
            settings: ArcSwap::from_pointee(Settings::new(config)),
            connections: Arc::new(ConnectionLimit::new(total, by_address)),
            limits,
            metrics,
            accepting: Accepting::default(),
        }
    }

    /// Returns the settings as they are now.
    pub(crate) fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Lets other settings count for connections from now on.
    pub(crate) fn set(&self, config: &Config) {
        self.connections.set(config.max_connections, config.max_connections_per_address);
        self.settings.store(Arc::new(Settings::new(config)));
    }
}

/// Accepts TCP connections and serves each in a task on this thread. Returns when `drain` turns
/// true.
pub(crate) async fn accept<S: Service>(
    service: Arc<S>,
    shared: Arc<Shared>,
    listener: BoundSocket,
    tls: Option<Arc<Tls>>,
    mut drain: watch::Receiver<bool>,
) {
    /// After an error of the machine, such as too many open files, only waiting helps.
    const PAUSE: Duration = Duration::from_millis(50);
    let listener = match listener.into_acceptor() {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot accept connections");
            return;
        }
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drained(&mut drain) => return,
        };
        match accepted {
            Ok((stream, address)) => {
                shared.metrics.tcp_connections_accepted.increment();
                shared.accepting.works(Instant::now());
                let peer = address.map_or(Peer::UNIX, Peer::at);
                // The peer of a unix socket is on this machine.
                let tls = tls.clone().filter(|_| address.is_some());
                spawn(&service, &shared, (stream, tls), peer, &drain);
            }
            Err(error) if is_from_peer(&error) => {}
            Err(error) => {
                shared.metrics.tcp_accept_errors.increment();
                shared.accepting.fails(&error, Instant::now());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Waits for the drain. A server that is dropped drains as well.
pub(super) async fn drained(drain: &mut watch::Receiver<bool>) {
    let _ = drain.wait_for(|drain| *drain).await;
}

fn is_from_peer(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
}

fn spawn<S: Service>(
    service: &Arc<S>,
    shared: &Arc<Shared>,
    (stream, tls): (System, Option<Arc<Tls>>),
    peer: Peer,
    drain: &watch::Receiver<bool>,
) {
    if stream.prepare().is_err() {
        return;
    }
    let limited_by_address =
        !peer.is_of_this_machine() && !peer.is_in(&shared.settings().trusted_proxies);
    match shared.connections.admit(peer, limited_by_address) {
        Ok(tcp) => {
            let (service, shared) = (Arc::clone(service), Arc::clone(shared));
            tokio::spawn(serve(service, shared, (stream, tls), Arc::new(tcp), drain.clone()));
        }
        Err((limit, message)) => {
            shared.limits.refused(limit, peer);
            // A client that waits for a handshake reads no text.
            if tls.is_none() {
                let status = "503 Service Unavailable";
                refuse(shared, &stream, status, message, "retry-after: 5\r\n");
            }
        }
    }
}

/// Refuses a connection in one write, before it has sent a request.
pub(super) fn refuse(shared: &Shared, stream: &System, status: &str, message: &str, headers: &str) {
    let headers = format!("{headers}{}", shared.settings().common_headers.refusal_lines());
    let response = refusal(status, message, &headers);
    // A new connection has room for the whole answer.
    let _ = stream.try_write(response.as_bytes());
    // Unread input would make the system reset the connection and drop the answer.
    let _ = stream.try_read(&mut [0; 4096]);
}

/// Serves HTTP on a TCP connection until it ends, becomes a websocket, or is drained.
async fn serve<S: Service>(
    service: Arc<S>,
    shared: Arc<Shared>,
    (stream, tls): (System, Option<Arc<Tls>>),
    tcp: Arc<ConnectionGuard>,
    mut drain: watch::Receiver<bool>,
) {
    let peer = tcp.peer;
    let begins = begin(stream, tls.as_deref(), &shared, peer, &mut drain);
    let Some(begun) = begins.await else { return };
    if begun.socket.is_secure() {
        tcp.set_secure();
    }
    let is_http2 = begun.is_http2;
    let stream = LingerIo::new(begun, Arc::clone(&shared), Arc::clone(&tcp), drain.clone());
    if is_http2 {
        // It is larger than the task of HTTP/1.1 should be.
        return Box::pin(http2::serve(service, shared, stream, tcp, drain)).await;
    }
    let Settings { head_timeout, max_head_size, .. } = **shared.settings();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        // A client that closes its side behind a request still gets the answer.
        .half_close(true)
        .max_header_size(max_head_size)
        .max_buf_size(max_head_size.max(MIN_BUFFER));
    let routes = service::routes(service);
    let tcp_of_requests = Arc::clone(&tcp);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let tcp = Arc::clone(&tcp_of_requests);
        let waits = tcp.exceeds_turn();
        let head = Arc::new(take_head(&mut request, &tcp));
        request.extensions_mut().insert(head);
        let answer = routes.call(request);
        tcp.set_serving(true);
        async move {
            if waits {
                yield_now().await;
            }
            let answer = answer.await;
            tcp.set_serving(false);
            answer
        }
    });
    let connection = http.serve_connection(stream, service).with_upgrades();
    tokio::pin!(connection);
    let outcome = tokio::select! {
        // A request that has arrived is read before the drain.
        biased;
        outcome = in_turns(&tcp, connection.as_mut()) => outcome,
        () = drained(&mut drain) => {
            connection.as_mut().graceful_shutdown();
            in_turns(&tcp, connection).await
        }
    };
    if let Err(error) = outcome {
        if error.is_parse_too_large() {
            shared.limits.refused(Limit::HeadSize, peer);
        }
        tracing::debug!(%peer, %error, "connection closed");
    }
}

/// Takes the head out of a request. Its headers are moved, because warp would copy them for each
/// filter that reads them.
pub(super) fn take_head(request: &mut Request<Incoming>, tcp: &Arc<ConnectionGuard>) -> Head {
    let mut headers = std::mem::take(request.headers_mut());
    let error = host::settle(request.version(), request.uri(), &mut headers).err();
    Head {
        tcp: Arc::clone(tcp),
        method: request.method().clone(),
        version: request.version(),
        uri: request.uri().clone(),
        headers,
        error,
    }
}

/// Polls a connection and begins a turn of its requests with each poll.
async fn in_turns<F: Future>(tcp: &ConnectionGuard, mut connection: Pin<&mut F>) -> F::Output {
    poll_fn(|cx| {
        tcp.begin_turn();
        connection.as_mut().poll(cx)
    })
    .await
}
