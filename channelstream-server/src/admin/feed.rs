//! `/admin/ws`: the feed of an admin page, sent once a second and when its subscription changes.
//!
//! Such a socket is no listener: it has no connection and no outbox. One task reads the page's
//! subscription, queries the state, and writes what has changed. It does nothing else while it writes,
//! so that a page that does not read costs nothing but this task. Without pages, nothing runs at all.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::protocol::{DateTime, Uuid};
use hyper::upgrade::OnUpgrade;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::journal::{self, JournalView, Known, NodeView};
use super::past::Past;
use super::subscription::{BEHIND, Part, Progress, Subscription};
use super::view::{CountsView, json};
use super::webhooks::WebhooksPart;
use crate::app::App;
use crate::clock;
use crate::http::access::Line;
use crate::http::answer::Answer;
use crate::http::problem::Problem;
use crate::http::request::{Head, Request};
use crate::limits::Limit;
use crate::metrics::process;
use crate::readings::VERSION;
use crate::router::browser::is_same_origin;
use crate::socket::Socket;
use crate::transport;
use crate::wire::websocket::{
    Close, CloseCode, Decoder, Incoming, PING, check_handshake, close_frame, pong_frame, text_frame,
};

/// The interval between two updates of a page.
const PERIOD: Duration = Duration::from_secs(1);

/// The shortest time between two answers to changes of the subscription.
const PAUSE: Duration = Duration::from_millis(40);

/// The most open pages.
const PAGES: usize = 16;

/// The most bytes of one message from a page.
const MESSAGE: u64 = 4 * 1024;

/// How long a page may take to read one update.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of periods between two pings.
const PING_EVERY: u64 = 20;

/// The number of unanswered pings after which a page is dropped.
const PINGS: u64 = 3;

/// The state that all admin pages share.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Distinguishes one run of the server from another.
    node: Uuid,
    /// One permit per open page.
    pages: Arc<Semaphore>,
    closing: watch::Sender<bool>,
    pub(crate) past: Past,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self {
            node: clock::secret_id(),
            pages: Arc::new(Semaphore::new(PAGES)),
            closing: watch::Sender::new(false),
            past: Past::default(),
        }
    }

    /// Closes all pages, and those that open later.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Reserves the place of one more page, which is free again when the permit is dropped.
    fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.pages).try_acquire_owned().ok()
    }
}

/// Checks the client and the handshake. The socket begins after the answer.
pub(crate) fn open(app: &Arc<App>, request: &mut Request) -> Result<Answer, Problem> {
    let head = &request.head;
    if !request.permissions.signed_in {
        return Err(Problem::Refused("sign in first".into()));
    }
    // Browsers open sockets to other sites, with the cookies of those.
    is_same_origin(request).map_err(|why| Problem::Refused(why.into()))?;
    let accept =
        check_handshake(&head.method, head.version, &head.headers).map_err(Problem::Handshake)?;
    let permit = app.feed.reserve().ok_or_else(|| {
        app.limits.refused(Limit::AdminPages, request.peer);
        Problem::Unavailable(
            format!("as many admin pages as allowed are open ({PAGES}, fixed)").into(),
        )
    })?;
    let upgrade = transport::upgrade(request)?;
    let kept = Kept { line: request.line.take(), permit };
    tokio::spawn(begin(Arc::clone(app), Arc::clone(&request.head), upgrade, kept));
    Ok(Answer::switching_protocols(&accept))
}

/// Takes the TCP connection over from HTTP and serves the page. Serving is boxed, since it is large and
/// there are few pages.
async fn begin(app: Arc<App>, head: Arc<Head>, upgrade: OnUpgrade, kept: Kept) {
    let (stream, first) = match transport::take_over(upgrade).await {
        Ok(taken) => taken,
        Err(error) => {
            tracing::debug!(%error, "websocket upgrade failed for an admin page");
            return;
        }
    };
    let mut page = Page {
        app,
        head,
        stream,
        decoder: Decoder::new(MESSAGE),
        received: Vec::new(),
        subscription: Arc::default(),
        progress: Progress::default(),
        sent: BTreeMap::new(),
        pings: 0,
        has_past: false,
        _kept: kept,
    };
    let outcome = Box::pin(page.serve(&mut first.to_vec())).await;
    match outcome {
        Ok(last) | Err(Over::Closing(last)) => page.finish(&last).await,
        Err(Over::Broken(error)) => tracing::debug!(%error, "an admin page is gone"),
    }
}

/// What a page keeps until its end.
struct Kept {
    /// What the log tells of its request, written then.
    #[expect(dead_code, reason = "dropping it writes the line")]
    line: Option<Arc<Line>>,
    #[expect(dead_code, reason = "dropping it frees the place")]
    permit: OwnedSemaphorePermit,
}

/// Why a page ends.
enum Over {
    /// With a close frame.
    Closing(Bytes),
    Broken(io::Error),
}

impl From<io::Error> for Over {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// One open page.
struct Page {
    app: Arc<App>,
    /// The request that opened it: it has the cookie, and keeps the TCP connection counted.
    head: Arc<Head>,
    stream: Socket,
    decoder: Decoder,
    /// The message that is being received, as far as it has arrived.
    received: Vec<u8>,
    subscription: Arc<Subscription>,
    /// How far the events of the subscribed channel have been sent.
    progress: Progress,
    /// The parts as they were sent last.
    sent: BTreeMap<&'static str, String>,
    /// Pings since the page last sent anything.
    pings: u64,
    /// Whether the samples that its charts begin with have been sent.
    has_past: bool,
    _kept: Kept,
}

/// The part of an update that every page receives in every period. The page's scripts know the names.
#[derive(Serialize)]
struct Overview<'a> {
    node: Uuid,
    version: &'static str,
    now: DateTime,
    /// Seconds.
    uptime: f64,
    listeners: usize,
    /// Open TCP connections.
    lines: usize,
    #[serde(flatten)]
    counts: CountsView,
    ended_slow: u64,
    ended_silent: u64,
    /// Bytes.
    memory: Option<u64>,
    /// Seconds of processor time since the start.
    cpu: Option<f64>,
    journal: JournalView<'a>,
    /// The nodes on the journal, if several share it.
    nodes: Option<Vec<NodeView>>,
}

impl Page {
    /// Serves until the page ends; returns the close frame.
    async fn serve(&mut self, first: &mut [u8]) -> Result<Bytes, Over> {
        let mut periods = interval(PERIOD);
        periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closing = self.app.feed.closing.subscribe();
        let mut changed = self.take(first).await?;
        let mut period: u64 = 0;
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = closed(&mut closing) => {
                    // The page still shows the last events.
                    self.update(true).await?;
                    return Ok(close(CloseCode::GOING_AWAY, "the server is shutting down"));
                }
                ready = self.stream.readable() => {
                    ready?;
                    changed |= self.read().await?;
                    // A page that never stops sending must not starve the others.
                    yield_now().await;
                }
                () = sleep_until(next), if changed => {
                    changed = false;
                    self.update(false).await?;
                    next = Instant::now() + PAUSE;
                }
                _ = periods.tick() => {
                    if !self.app.settings().is_signed_in(&self.head.headers) {
                        return Ok(close(CloseCode::POLICY, "the sign-in has expired"));
                    }
                    period += 1;
                    if period.is_multiple_of(PING_EVERY) {
                        self.ping().await?;
                    }
                    self.update(true).await?;
                }
            }
        }
    }

    /// Reads what has arrived. Returns `true` if the subscription changed.
    async fn read(&mut self) -> Result<bool, Over> {
        let mut buffer = [0; 2048];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => Err(Over::Broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => self.take(&mut buffer[..count]).await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Handles received bytes. Of several messages at once, the last one counts. Returns `true` if the
    /// subscription changed.
    async fn take(&mut self, bytes: &mut [u8]) -> Result<bool, Over> {
        self.pings = 0;
        let received = &mut self.received;
        let (mut pong, mut last, mut message) = (None, None, None);
        let outcome = self.decoder.read(bytes, |incoming| match incoming {
            Incoming::Text(piece) => received.extend_from_slice(piece),
            Incoming::Message => message = Some(std::mem::take(received)),
            Incoming::Ping(payload) => pong = Some(pong_frame(payload)),
            Incoming::Pong(_) => {}
            Incoming::Close(close) => last = Some(close_frame(close)),
        });
        if let Err(violation) = outcome {
            return Err(Over::Closing(violation.close_frame()));
        }
        if let Some(last) = last {
            return Err(Over::Closing(last));
        }
        if let Some(pong) = pong {
            self.send(&pong).await?;
        }
        let Some(message) = message else { return Ok(false) };
        match Subscription::parse(&String::from_utf8_lossy(&message)) {
            Ok(subscription) => {
                self.subscription = Arc::new(subscription);
                Ok(true)
            }
            Err(error) => {
                let answer = serde_json::json!({ "error": error });
                self.send(&text_frame(&answer.to_string())).await?;
                Ok(false)
            }
        }
    }

    async fn ping(&mut self) -> Result<(), Over> {
        if self.pings >= PINGS {
            return Err(Over::Broken(io::ErrorKind::TimedOut.into()));
        }
        self.pings += 1;
        Ok(self.send(&PING).await?)
    }

    /// Sends what has changed of the subscribed views; with `is_period`, the overview as well.
    async fn update(&mut self, is_period: bool) -> Result<(), Over> {
        let hub = self.app.node.hub();
        let (behind, all_behind) =
            if self.subscription.slow { hub.most_behind(BEHIND) } else { (Vec::new(), 0) };
        let (subscription, progress) = (Arc::clone(&self.subscription), self.progress.clone());
        let ids: Vec<_> = behind.iter().map(|(id, _)| *id).collect();
        let question =
            move |state: &_| (subscription.query(state, &progress, &ids), Known::of(state));
        // An overloaded server skips the update.
        let Ok((views, known)) = self.app.node.look(question).await else { return Ok(()) };
        let counts = views.counts.into();
        let mut parts = views.parts(&self.subscription, &mut self.progress, &behind, all_behind);
        if self.subscription.webhooks {
            parts.push(("webhooks", json(&WebhooksPart::of(&self.app))));
        }
        let subscribed: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
        self.sent.retain(|name, _| subscribed.contains(name));
        parts.retain(|part| self.is_news(part));
        if is_period {
            if !std::mem::replace(&mut self.has_past, true) {
                parts.push(("past", self.app.feed.past.json().map_err(io::Error::other)?));
            }
            let overview =
                serde_json::to_string(&self.overview(counts, &known)).map_err(io::Error::other)?;
            parts.push(("overview", overview));
        }
        if parts.is_empty() {
            return Ok(());
        }
        let parts: Vec<_> = parts.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
        Ok(self.send(&text_frame(&format!("{{{}}}", parts.join(",")))).await?)
    }

    /// Returns `true` if the part differs from the one that was sent last, and remembers it.
    fn is_news(&mut self, (name, json): &Part) -> bool {
        // Events are never sent twice, so that even equal ones are new.
        let is_news = *name == "events" || self.sent.get(name) != Some(json);
        if is_news {
            self.sent.insert(name, json.clone());
        }
        is_news
    }

    fn overview(&self, counts: CountsView, known: &Known) -> Overview<'_> {
        let metrics = &self.app.metrics;
        Overview {
            node: self.app.feed.node,
            version: VERSION,
            now: DateTime::from(self.app.node.now()),
            uptime: self.app.started.elapsed().as_secs_f64(),
            listeners: self.app.node.hub().count(),
            lines: self.app.tcp_connections(),
            counts,
            ended_slow: metrics.ended_slow(),
            ended_silent: metrics.listeners_ended_silent.get(),
            memory: process::memory(),
            cpu: process::cpu_time().map(|time| time.as_secs_f64()),
            journal: JournalView::new(&self.app, known),
            nodes: journal::nodes(&self.app, known),
        }
    }

    /// Writes all bytes, within [`WRITE_TIMEOUT`].
    async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let write = async {
            let mut rest = bytes;
            while !rest.is_empty() {
                self.stream.writable().await?;
                match self.stream.try_write(rest) {
                    Ok(count) => rest = &rest[count..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        timeout(WRITE_TIMEOUT, write).await?
    }

    /// Sends a close frame and waits until the peer closes.
    async fn finish(&self, last: &Bytes) {
        let end = async {
            self.send(last).await?;
            self.stream.close(std::net::Shutdown::Write)?;
            transport::linger(&self.stream).await
        };
        let outcome: Result<io::Result<()>, _> = timeout(Duration::from_secs(2), end).await;
        if !matches!(outcome, Ok(Ok(()))) {
            tracing::debug!("an admin page did not close its connection");
        }
    }
}

/// Waits until all pages are to close.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

fn close(code: CloseCode, reason: &str) -> Bytes {
    close_frame(Some(Close { code, reason }))
}
