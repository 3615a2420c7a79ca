//! The accept loop: TCP lines, how many there may be, and HTTP on each of them until the drain.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use http::{HeaderMap, Method, Uri, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::host;
use crate::app::App;
use crate::http::linger::{Refusing, refusal};
use crate::http::peer::Peer;
use crate::http::tcp;
use crate::limits::Limit;

/// Requests of one line that are answered in a row, before others get a turn: who sends many without
/// waiting for the answers must not hold them up.
const IN_A_ROW: u8 = 4;

/// One TCP line, counted as long as anything holds it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) peer: Peer,
    lines: Arc<Lines>,
    counted: bool,
    /// Whether the request under way is over when the peer closes its side.
    ends_with_peer: AtomicBool,
    /// Requests since the line got its turn.
    in_a_row: AtomicU8,
    /// Whether the head of a request is complete and its answer is not.
    is_asked: AtomicBool,
}

/// Says, as long as it lives, that the request under way is over when the peer closes its side.
#[derive(Debug)]
pub(crate) struct EndsWithPeer(Arc<Line>);

impl EndsWithPeer {
    pub(crate) fn begin(line: &Arc<Line>) -> Self {
        line.ends_with_peer.store(true, Ordering::Relaxed);
        Self(Arc::clone(line))
    }
}

impl Drop for EndsWithPeer {
    fn drop(&mut self) {
        self.0.ends_with_peer.store(false, Ordering::Relaxed);
    }
}

/// How many lines are open, in all and by address.
#[derive(Debug)]
pub(crate) struct Lines {
    open: AtomicUsize,
    by_address: DashMap<Peer, usize>,
    most: usize,
    most_by_address: usize,
}

impl Lines {
    pub(crate) fn new(most: usize, most_by_address: usize) -> Self {
        Self { open: AtomicUsize::new(0), by_address: DashMap::new(), most, most_by_address }
    }

    pub(crate) fn count(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Counts a line in, unless there are too many. Addresses that speak for many, as proxies do,
    /// are not `bounded`.
    fn enter(self: &Arc<Self>, peer: Peer, bounded: bool) -> Result<Line, (Limit, &'static str)> {
        if self.count() >= self.most {
            return Err((
                Limit::Connections,
                "as many lines as allowed are open (max_connections)",
            ));
        }
        if bounded {
            let mut count = self.by_address.entry(peer.holder()).or_insert(0);
            if *count >= self.most_by_address {
                return Err((
                    Limit::ConnectionsPerAddress,
                    "as many lines as allowed from one address are open \
                     (max_connections_per_address)",
                ));
            }
            *count += 1;
        }
        self.open.fetch_add(1, Ordering::AcqRel);
        Ok(Line {
            peer,
            lines: Arc::clone(self),
            counted: bounded,
            ends_with_peer: AtomicBool::new(false),
            in_a_row: AtomicU8::new(0),
            is_asked: AtomicBool::new(false),
        })
    }
}

impl Line {
    pub(crate) fn ends_with_peer(&self) -> bool {
        self.ends_with_peer.load(Ordering::Relaxed)
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    /// Counts a request; whether it has to wait for the line's next turn. One task has the line, so
    /// nothing comes in between.
    fn has_had_its_turn(&self) -> bool {
        let before = self.in_a_row.load(Ordering::Relaxed);
        self.in_a_row.store(before.saturating_add(1), Ordering::Relaxed);
        before >= IN_A_ROW
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.lines.open.fetch_sub(1, Ordering::AcqRel);
        if self.counted {
            let holder = self.peer.holder();
            if let Some(mut count) = self.lines.by_address.get_mut(&holder) {
                *count -= 1;
            }
            self.lines.by_address.remove_if(&holder, |_, count| *count == 0);
        }
    }
}

/// Accepts lines and serves each in a task of its own on this thread, until `drain` is told.
pub(crate) async fn serve(
    app: Arc<App>,
    listener: std::net::TcpListener,
    mut drain: watch::Receiver<bool>,
) {
    /// After an error that is the machine's, such as no more files, waiting is all that helps.
    const PAUSE: Duration = Duration::from_millis(50);
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "lines cannot be accepted");
            return;
        }
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = begun(&mut drain) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                app.metrics.tcp_connections_accepted.increment();
                app.accepting.works(Instant::now());
                begin(&app, stream, peer, &drain);
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                app.metrics.tcp_accept_errors.increment();
                app.accepting.fails(&error, Instant::now());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Waits for the drain; that the server is gone altogether counts as well.
async fn begun(drain: &mut watch::Receiver<bool>) {
    let _ = drain.wait_for(|drain| *drain).await;
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
}

fn begin(app: &Arc<App>, stream: TcpStream, peer: SocketAddr, drain: &watch::Receiver<bool>) {
    // Small frames must not wait for the acknowledgement of earlier ones.
    if stream.set_nodelay(true).and_then(|()| tcp::bound_unsent(&stream)).is_err() {
        return;
    }
    let peer = Peer::at(peer.ip());
    let bounded = !peer.is_loopback() && !peer.is_in(&app.config.trusted_proxies);
    let line = match app.lines.enter(peer, bounded) {
        Ok(line) => Arc::new(line),
        Err((limit, why)) => {
            app.limits.refused(limit, peer);
            refuse(app, &stream, why);
            return;
        }
    };
    tokio::spawn(speak(Arc::clone(app), stream, line, drain.clone()));
}

/// Says no in one write, whatever was asked.
fn refuse(app: &App, stream: &TcpStream, why: &str) {
    let more = format!("retry-after: 5\r\n{}", app.common_headers.of_refusals());
    let response = refusal("503 Service Unavailable", why, &more);
    // A new line has room for it; if not, there is nothing better to do than to close.
    let _ = stream.try_write(response.as_bytes());
    // What has come already would make the system reset the line, and the answer with it.
    let _ = stream.try_read(&mut [0; 4096]);
}

/// Speaks HTTP on a line until it ends, is taken over by a websocket, or is drained.
async fn speak(
    app: Arc<App>,
    stream: TcpStream,
    line: Arc<Line>,
    mut drain: watch::Receiver<bool>,
) {
    let config = &app.config;
    let peer = line.peer;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        // Who closes its side behind a request still gets the answer.
        .half_close(true)
        .max_header_size(config.max_head_size)
        .max_buf_size(config.max_head_size.max(MIN_BUFFER));
    let routes = TowerToHyperService::new(warp::service(super::service::routes(Arc::clone(&app))));
    let stream = Refusing::new(stream, Arc::clone(&app), Arc::clone(&line), drain.clone());
    let of_requests = Arc::clone(&line);
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        let line = Arc::clone(&of_requests);
        let waits = line.has_had_its_turn();
        // Ours alone: warp would copy them for each that looks.
        let mut headers = std::mem::take(request.headers_mut());
        let fault = host::settle(request.version(), request.uri(), &mut headers).err();
        let head = Head {
            line,
            method: request.method().clone(),
            version: request.version(),
            uri: request.uri().clone(),
            headers,
            fault,
        };
        request.extensions_mut().insert(Arc::new(head));
        let answer = routes.call(request);
        let line = Arc::clone(&of_requests);
        line.is_asked.store(true, Ordering::Relaxed);
        async move {
            if waits {
                yield_now().await;
            }
            let answer = answer.await;
            line.is_asked.store(false, Ordering::Relaxed);
            answer
        }
    });
    let connection = http.serve_connection(stream, service).with_upgrades();
    tokio::pin!(connection);
    let outcome = tokio::select! {
        // A request that is there already is read first.
        biased;
        outcome = in_turns(&line, connection.as_mut()) => outcome,
        () = begun(&mut drain) => {
            connection.as_mut().graceful_shutdown();
            in_turns(&line, connection).await
        }
    };
    if let Err(error) = outcome {
        if error.is_parse_too_large() {
            app.limits.refused(Limit::HeadSize, peer);
        }
        tracing::debug!(%error, "a line ended early");
    }
}

/// Lets a line's requests be counted anew whenever it gets its turn.
async fn in_turns<F: Future>(line: &Line, mut connection: Pin<&mut F>) -> F::Output {
    poll_fn(|cx| {
        line.in_a_row.store(0, Ordering::Relaxed);
        connection.as_mut().poll(cx)
    })
    .await
}

/// The smallest buffer that hyper takes.
const MIN_BUFFER: usize = 8192;

/// What stands before the body of a request, and the line it came on.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) line: Arc<Line>,
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// What is wrong with it, so that it cannot be served.
    pub(crate) fault: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use super::*;

    #[test]
    fn lines_are_counted_in_all_and_by_address_as_long_as_they_live() {
        let lines = Arc::new(Lines::new(4, 2));
        let address = |last: u8| Peer::at([192, 0, 2, last].into());
        let first = lines.enter(address(1), true).unwrap();
        let _second = lines.enter(address(1), true).unwrap();
        assert!(lines.enter(address(1), true).unwrap_err().1.contains("from one address"));
        assert_eq!(lines.count(), 2, "what is refused is not counted");
        drop(first);
        let _again = lines.enter(address(1), true).unwrap();
        // Those that speak for many count in all only.
        let proxied: Vec<_> = (0..2).map(|_| lines.enter(address(1), false).unwrap()).collect();
        for bounded in [true, false] {
            let (limit, _) = lines.enter(address(2), bounded).unwrap_err();
            assert_eq!(limit, Limit::Connections);
        }
        drop(proxied);
        assert!(lines.enter(address(2), true).is_ok());
        assert_eq!(lines.count(), 2);
        assert_eq!(lines.by_address.len(), 1, "addresses without lines are forgotten");
    }
}
