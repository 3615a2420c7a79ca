//! `/admin/ws`: what an admin page watches, told once a second and when it watches something else.
//!
//! Such a socket is no listener: it has no connection and no outbox. One task reads what the page
//! watches, looks, and writes what has changed; while it writes, it does nothing else, so that a
//! page that does not read costs nothing but this task. Without pages, nothing is done at all.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::protocol::{DateTime, Uuid};
use channelstream_core::state::Counts;
use hyper::upgrade::OnUpgrade;
use serde::Serialize;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::past::Past;
use super::stats::VERSION;
use super::watch::{BEHIND, Part, Seen, Watch};
use crate::app::App;
use crate::clock;
use crate::http::answer::{Answer, Problem};
use crate::http::connection::Head;
use crate::http::request::Request;
use crate::limits::Limit;
use crate::metrics::process;
use crate::router::browser::is_same_origin;
use crate::transport::websocket as socket;
use crate::wire::websocket::{
    Close, CloseCode, Decoder, Incoming, PING, check_handshake, close_frame, pong_frame, text_frame,
};

/// How often pages are told.
const PERIOD: Duration = Duration::from_secs(1);

/// How soon after another a change of what is watched is answered.
const PAUSE: Duration = Duration::from_millis(40);

/// Open pages.
const PAGES: usize = 16;

/// Bytes of what a page may say at once.
const QUESTION: u64 = 4 * 1024;

/// How long a page may take to read what is sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Periods between pings, and pings without any sign of life until a page is given up.
const PING_EVERY: u64 = 20;
const PINGS: u64 = 3;

/// What admin pages share.
#[derive(Debug)]
pub(crate) struct Live {
    /// Tells one run of the server from another.
    node: Uuid,
    pages: Arc<AtomicUsize>,
    closing: watch::Sender<bool>,
    pub(crate) past: Past,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            node: clock::secret_id(),
            pages: Arc::default(),
            closing: watch::Sender::new(false),
            past: Past::default(),
        }
    }

    /// Closes all pages, those to come included.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    fn enter(&self) -> Option<Place> {
        let pages = Arc::clone(&self.pages);
        let entered = pages
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < PAGES).then_some(count + 1)
            })
            .is_ok();
        entered.then(|| Place(pages))
    }
}

/// A page, counted as long as this lives.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Checks who asks and the handshake, and lets the socket begin behind the answer.
pub(crate) fn open(
    app: &Arc<App>,
    request: &mut Request,
    is_signed_in: bool,
) -> Result<Answer, Problem> {
    let head = &request.head;
    if !is_signed_in {
        return Err(Problem::Refused("sign in first".into()));
    }
    // Browsers open sockets to other sites, with the cookies of those.
    is_same_origin(request).map_err(|why| Problem::Refused(why.into()))?;
    let accept =
        check_handshake(&head.method, head.version, &head.headers).map_err(Problem::Handshake)?;
    let place = app.live.enter().ok_or_else(|| {
        app.limits.refused(Limit::AdminPages, request.peer);
        Problem::Unavailable(
            format!("as many admin pages as allowed are open ({PAGES}, fixed)").into(),
        )
    })?;
    let upgrade = request
        .upgrade
        .take()
        .ok_or_else(|| Problem::Unavailable("the line cannot be taken over".into()))?;
    tokio::spawn(begin(Arc::clone(app), Arc::clone(&request.head), upgrade, place));
    Ok(Answer::switching_protocols(&accept))
}

/// Takes the line over from HTTP. Boxed, since it is large and there are few.
async fn begin(app: Arc<App>, head: Arc<Head>, upgrade: OnUpgrade, place: Place) {
    let (stream, first) = match upgrade.await.map_err(io::Error::other).and_then(socket::take_over)
    {
        Ok(taken) => taken,
        Err(error) => {
            tracing::debug!(%error, "the websocket of an admin page did not come about");
            return;
        }
    };
    let mut page = Page {
        app,
        head,
        stream,
        decoder: Decoder::new(QUESTION),
        said: Vec::new(),
        watch: Arc::default(),
        seen: Seen::default(),
        shown: BTreeMap::new(),
        pings: 0,
        knows_past: false,
        _place: place,
    };
    let outcome = Box::pin(page.serve(&mut first.to_vec())).await;
    match outcome {
        Ok(last) | Err(Over::Closing(last)) => page.finish(&last).await,
        Err(Over::Broken(error)) => tracing::debug!(%error, "an admin page is gone"),
    }
}

/// Why a page comes to its end.
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
    /// What it was opened with: it holds the cookie, and counts as a line.
    head: Arc<Head>,
    stream: TcpStream,
    decoder: Decoder,
    /// Of what the page is saying, as far as it has come.
    said: Vec<u8>,
    watch: Arc<Watch>,
    /// How far the events of the watched channel were shown.
    seen: Seen,
    /// The parts as they were sent last.
    shown: BTreeMap<&'static str, String>,
    /// Since the page was last heard of.
    pings: u64,
    /// Whether it was told what its charts begin with.
    knows_past: bool,
    _place: Place,
}

/// What every page is told in every period.
#[derive(Serialize)]
struct Overview {
    node: Uuid,
    version: &'static str,
    now: DateTime,
    /// Seconds.
    uptime: f64,
    listeners: usize,
    lines: usize,
    #[serde(flatten)]
    counts: Counts,
    ended_slow: u64,
    ended_silent: u64,
    /// Bytes.
    memory: Option<u64>,
    /// Seconds on processors since the start.
    cpu: Option<f64>,
}

impl Page {
    /// Serves until the end; gives the last frame.
    async fn serve(&mut self, first: &mut [u8]) -> Result<Bytes, Over> {
        let mut periods = interval(PERIOD);
        periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closing = self.app.live.closing.subscribe();
        let mut asked = self.take(first).await?;
        let mut period: u64 = 0;
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = begun(&mut closing) => {
                    // What was the last to happen is seen.
                    self.show(true).await?;
                    return Ok(close(CloseCode::GOING_AWAY, "the server is shutting down"));
                }
                ready = self.stream.readable() => {
                    ready?;
                    asked |= self.read().await?;
                    // One that always has more to say gets its turns like others.
                    yield_now().await;
                }
                () = sleep_until(next), if asked => {
                    asked = false;
                    self.show(false).await?;
                    next = Instant::now() + PAUSE;
                }
                _ = periods.tick() => {
                    if !self.app.gate.is_signed_in(&self.head.headers, &self.app.config) {
                        return Ok(close(CloseCode::POLICY, "the sign-in has ended"));
                    }
                    period += 1;
                    if period.is_multiple_of(PING_EVERY) {
                        self.ping().await?;
                    }
                    self.show(true).await?;
                }
            }
        }
    }

    /// Reads what is there; whether the page watches something else now.
    async fn read(&mut self) -> Result<bool, Over> {
        let mut buffer = [0; 2048];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => Err(Over::Broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => self.take(&mut buffer[..count]).await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what the page said. Of several things said at once the last counts.
    async fn take(&mut self, bytes: &mut [u8]) -> Result<bool, Over> {
        self.pings = 0;
        let said = &mut self.said;
        let (mut pong, mut last, mut asked) = (None, None, None);
        let outcome = self.decoder.read(bytes, |incoming| match incoming {
            Incoming::Text(piece) => said.extend_from_slice(piece),
            Incoming::Message => asked = Some(std::mem::take(said)),
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
        let Some(asked) = asked else { return Ok(false) };
        match Watch::read(&String::from_utf8_lossy(&asked)) {
            Ok(watch) => {
                self.watch = Arc::new(watch);
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

    /// Tells what has changed of all that is watched, and what everybody is told if it is time.
    async fn show(&mut self, is_time: bool) -> Result<(), Over> {
        let hub = self.app.node.hub();
        let (behind, all_behind) =
            if self.watch.slow { hub.most_behind(BEHIND) } else { (Vec::new(), 0) };
        let (watch, seen) = (Arc::clone(&self.watch), self.seen.clone());
        let ids: Vec<_> = behind.iter().map(|(id, _)| *id).collect();
        let question = move |state: &_| watch.look(state, &seen, &ids);
        // A server that is too far behind to answer has other worries.
        let Ok(views) = self.app.node.ask(question).await else { return Ok(()) };
        let counts = views.counts;
        let mut parts = views.parts(&self.watch, &mut self.seen, &behind, all_behind);
        let watched: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
        self.shown.retain(|name, _| watched.contains(name));
        parts.retain(|part| self.is_news(part));
        if is_time {
            if !std::mem::replace(&mut self.knows_past, true) {
                parts.push(("past", self.app.live.past.json().map_err(io::Error::other)?));
            }
            let overview =
                serde_json::to_string(&self.overview(counts)).map_err(io::Error::other)?;
            parts.push(("overview", overview));
        }
        if parts.is_empty() {
            return Ok(());
        }
        let parts: Vec<_> = parts.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
        Ok(self.send(&text_frame(&format!("{{{}}}", parts.join(",")))).await?)
    }

    fn is_news(&mut self, (name, json): &Part) -> bool {
        // The same events can be sent only once.
        let is_news = *name == "events" || self.shown.get(name) != Some(json);
        if is_news {
            self.shown.insert(name, json.clone());
        }
        is_news
    }

    fn overview(&self, counts: Counts) -> Overview {
        let metrics = &self.app.metrics;
        Overview {
            node: self.app.live.node,
            version: VERSION,
            now: DateTime::from(clock::now()),
            uptime: self.app.started.elapsed().as_secs_f64(),
            listeners: self.app.node.hub().count(),
            lines: self.app.lines.count(),
            counts,
            ended_slow: metrics.ended_slow(),
            ended_silent: metrics.listeners_ended_silent.get(),
            memory: process::memory(),
            cpu: process::cpu_time().map(|time| time.as_secs_f64()),
        }
    }

    /// Writes all of it, in bounded time.
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
        timeout(PATIENCE, write).await?
    }

    /// Sends a close frame and waits for the peer to let go of the line: what it still sends must
    /// not make the system reset it, and our close frame with it.
    async fn finish(&self, last: &Bytes) {
        let end = async {
            self.send(last).await?;
            SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write)?;
            let mut buffer = [0; 512];
            loop {
                self.stream.readable().await?;
                match self.stream.try_read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(_) => yield_now().await,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        };
        let outcome: Result<io::Result<()>, _> = timeout(Duration::from_secs(2), end).await;
        if !matches!(outcome, Ok(Ok(()))) {
            tracing::debug!("an admin page did not let go of its line");
        }
    }
}

/// Waits for the end of all pages.
async fn begun(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

fn close(code: CloseCode, reason: &str) -> Bytes {
    close_frame(Some(Close { code, reason }))
}
