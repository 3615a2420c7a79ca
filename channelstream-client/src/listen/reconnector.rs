//! `Reconnector`: the state machine of a stream, which decides what to open and what to report.

use std::collections::VecDeque;
use std::time::Duration;

use channelstream_core::protocol::{GapReason, Uuid};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::builder::{Renew, Renewed, Server, Settings};
use super::event::{Event, Sent, What};
use super::stream_event::{End, Gap, StreamEvent, Transport};
use super::transport::{Opening, Polled, Received, Socket, receive};
use crate::error::Error;

/// The number of events that the server stores per channel (contract §8).
const STORED_OF_CHANNEL: usize = 100;
/// The number of private events that the server stores per user (contract §8).
const STORED_OF_USER: usize = 50;

/// A websocket that is closed as normal within this time, and without an event, was opened for an
/// unknown connection.
const AT_ONCE: Duration = Duration::from_secs(2);

/// After this many websockets in a row that open but deliver nothing, a proxy is assumed to block
/// them.
const MUTE_SOCKETS: u32 = 2;

/// The server's empty polls take longer; a shorter one is answered by something in between.
const SHORT_POLL: Duration = Duration::from_millis(200);

/// The time within which a request to listen that was given up may still reach the server, which takes it
/// for a newer listener.
const LATE: Duration = Duration::from_secs(60);

/// The most such requests that are thought of.
const MOST_LATE: u32 = 5;

/// The time of long polling after which a websocket is tried again.
const POLLS_LAST: Duration = Duration::from_secs(600);

pub(super) struct Reconnector {
    server: Server,
    settings: Settings,
    conn_id: Option<Uuid>,
    renew: Option<Renew>,
    phase: Phase,
    /// The items to be returned next.
    items: VecDeque<Item>,
    /// The newest cursor that was received. A server that has told it reports itself what is lost.
    since: Option<String>,
    /// The transport of the next attempt.
    transport: Transport,
    /// The failures since the last list of events or heartbeat.
    failures: u32,
    /// The new connections since the last list of events or heartbeat.
    renewals: u32,
    mute_sockets: u32,
    /// How many requests to listen were given up without an answer, and when the last one was.
    given_up: (u32, Option<Instant>),
    /// The gap to report after the next `Opened`, or when it turns out that the server tells no cursors
    /// any more.
    gap: Option<Gap>,
    catchup: Catchup,
}

/// What the stream returns, with the cursor behind it.
pub(super) struct Item {
    pub(super) event: Option<StreamEvent>,
    pub(super) cursor: Option<String>,
}

enum Phase {
    Renewing,
    Opening,
    Websocket { socket: Box<Socket>, since: Instant, received: bool },
    Polling { since: Option<Instant>, short: u32 },
    Pausing(Duration),
    Over,
}

impl Reconnector {
    pub(super) fn new(
        server: Server,
        settings: Settings,
        conn_id: Option<Uuid>,
        renew: Option<Renew>,
        since: Option<String>,
    ) -> Self {
        let transport = first_transport(settings);
        Self {
            server,
            settings,
            conn_id,
            renew,
            phase: Phase::Opening,
            items: VecDeque::new(),
            since,
            transport,
            failures: 0,
            renewals: 0,
            mute_sockets: 0,
            given_up: (0, None),
            gap: None,
            catchup: Catchup::default(),
        }
    }

    /// Returns the next item, or `None` after the end.
    pub(super) async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some(item);
            }
            self.phase = match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Renewing => self.make_connection().await,
                Phase::Opening => match (self.conn_id, self.transport) {
                    (None, _) => Phase::Renewing,
                    (Some(_), Transport::LongPoll) => Phase::Polling { since: None, short: 0 },
                    (Some(conn_id), Transport::Websocket) => self.open_websocket(conn_id).await,
                },
                Phase::Websocket { socket, since, received } => {
                    self.receive(socket, since, received).await
                }
                Phase::Polling { since, short } => self.poll(since, short).await,
                Phase::Pausing(pause) => {
                    sleep(pause).await;
                    Phase::Opening
                }
                Phase::Over => return None,
            };
        }
    }

    async fn make_connection(&mut self) -> Phase {
        let Some(make) = &mut self.renew else { return self.end(End::UnknownConnection) };
        match make().await {
            Ok(Renewed { conn_id, cursor }) => {
                self.conn_id = Some(conn_id);
                // An older cursor recovers more.
                if self.since.is_none() && cursor.is_some() {
                    self.since.clone_from(&cursor);
                    self.items.push_back(Item { event: None, cursor });
                }
                Phase::Opening
            }
            Err(error) => self.interrupted(error),
        }
    }

    async fn open_websocket(&mut self, conn_id: Uuid) -> Phase {
        let since = self.since.as_deref();
        let opening = self.server.open_websocket(conn_id, since, self.settings.silence).await;
        if let Opening::NoWebsocket(error) | Opening::Failed(error) = &opening
            && error.is_in_doubt()
        {
            self.gave_up();
        }
        match opening {
            Opening::Open(socket) => {
                self.opened(conn_id);
                Phase::Websocket { socket, since: Instant::now(), received: false }
            }
            Opening::NoCursor => self.begin_anew(),
            Opening::NoWebsocket(error) => self.without_websocket(error),
            Opening::Failed(error) if error.is_in_doubt() => self.mute_socket(error),
            Opening::Failed(error) => self.interrupted(error),
        }
    }

    async fn receive(&mut self, mut socket: Box<Socket>, since: Instant, received: bool) -> Phase {
        match receive(&mut socket, self.settings.silence).await {
            Received::Events(events) => {
                self.mute_sockets = 0;
                self.take(events);
                Phase::Websocket { socket, since, received: true }
            }
            Received::Other => Phase::Websocket { socket, since, received },
            Received::Closed(close) => self.closed(close, since, received),
            Received::Broken(error) => {
                self.missed(Gap::BrokenTransport);
                if received { self.interrupted(error) } else { self.mute_socket(error) }
            }
        }
    }

    fn closed(&mut self, close: Option<CloseFrame>, since: Instant, received: bool) -> Phase {
        let Some(close) = close else {
            // The server always sends a reason, so this close is not its own.
            self.missed(Gap::BrokenTransport);
            return self.interrupted(Error::broken("the websocket was closed without a reason"));
        };
        match close.code {
            CloseCode::Normal if close.reason.starts_with("superseded") => {
                if self.may_be_own() {
                    return self.interrupted(Error::closed(close.code.into(), &close.reason));
                }
                self.end(End::Superseded)
            }
            CloseCode::Normal if !received && since.elapsed() < AT_ONCE => {
                self.unknown_connection()
            }
            CloseCode::Normal => self.end(End::Disconnected),
            code => self.interrupted(Error::closed(code.into(), &close.reason)),
        }
    }

    async fn poll(&mut self, since: Option<Instant>, short: u32) -> Phase {
        let Some(conn_id) = self.conn_id else { return Phase::Renewing };
        if short > 0 {
            sleep(self.settings.backoff.pause(short - 1)).await;
        }
        let begun = Instant::now();
        match self.server.poll(conn_id, self.since.as_deref(), self.settings.silence).await {
            Polled::Events(events) => {
                if since.is_none() {
                    self.opened(conn_id);
                }
                self.catchup = Catchup::default();
                let is_short = events.is_empty() && begun.elapsed() < SHORT_POLL;
                let short = if is_short { short.saturating_add(1) } else { 0 };
                self.take(events);
                let since = since.unwrap_or(begun);
                if since.elapsed() > POLLS_LAST && self.settings.websocket {
                    self.transport = Transport::Websocket;
                    return Phase::Opening;
                }
                Phase::Polling { since: Some(since), short }
            }
            Polled::NoCursor => self.begin_anew(),
            Polled::UnknownConnection => self.unknown_connection(),
            Polled::Failed(error) => {
                if error.is_in_doubt() {
                    self.gave_up();
                    self.missed(Gap::BrokenTransport);
                }
                self.transport = first_transport(self.settings);
                self.interrupted(error)
            }
        }
    }

    fn opened(&mut self, conn_id: Uuid) {
        self.catchup = Catchup::default();
        self.push(StreamEvent::Opened { conn_id, transport: self.transport });
        if self.since.is_none() {
            self.report_gap();
        }
    }

    fn take(&mut self, sent: Vec<Sent>) {
        (self.failures, self.renewals) = (0, 0);
        for Sent { what, cursor } in sent {
            self.since.clone_from(&cursor);
            if self.since.is_some() {
                // The server has looked at the cursor, and reports what is lost.
                self.gap = None;
            } else {
                self.report_gap();
            }
            let (event, gap) = match what {
                What::Event(event) => {
                    let gap = self.catchup.count(&event).filter(|_| cursor.is_none());
                    (Some(StreamEvent::Event(event)), gap)
                }
                What::Gap(gap) => (Some(StreamEvent::Gap(gap)), None),
                What::Cursor => (None, None),
            };
            self.items.push_back(Item { event, cursor });
            gap.into_iter().for_each(|gap| self.push(StreamEvent::Gap(gap)));
        }
    }

    fn push(&mut self, event: StreamEvent) {
        self.items.push_back(Item { event: Some(event), cursor: None });
    }

    fn report_gap(&mut self) {
        if let Some(gap) = self.gap.take() {
            self.push(StreamEvent::Gap(gap));
        }
    }

    /// Forgets the cursor, which the server cannot read, and begins where the connection stands.
    fn begin_anew(&mut self) -> Phase {
        self.since = None;
        self.gap = Some(Gap::Lost { channel: None, reason: GapReason::Epoch });
        Phase::Opening
    }

    /// Notes a gap to report. A broken TCP connection is the smallest one.
    fn missed(&mut self, gap: Gap) {
        self.gap.get_or_insert(gap);
    }

    fn unknown_connection(&mut self) -> Phase {
        if self.renew.is_none() {
            return self.end(End::UnknownConnection);
        }
        self.conn_id = None;
        self.gap = Some(Gap::NewConnection);
        // The first renewal follows at once, since the server is reachable. Further ones follow after
        // pauses, in case the server forgets each connection.
        self.renewals = self.renewals.saturating_add(1);
        match self.renewals {
            1 => Phase::Renewing,
            renewals => Phase::Pausing(self.settings.backoff.pause(renewals - 2)),
        }
    }

    /// Notes a request to listen that was given up without an answer.
    fn gave_up(&mut self) {
        self.given_up = ((self.given_up.0 + 1).min(MOST_LATE), Some(Instant::now()));
    }

    /// Returns `true` if the newer listener may be a request of this one that came late.
    fn may_be_own(&mut self) -> bool {
        let (count, last) = &mut self.given_up;
        if *count == 0 || last.is_none_or(|last| last.elapsed() > LATE) {
            return false;
        }
        *count -= 1;
        true
    }

    fn mute_socket(&mut self, error: Error) -> Phase {
        self.mute_sockets += 1;
        if self.mute_sockets < MUTE_SOCKETS {
            return self.interrupted(error);
        }
        self.mute_sockets = 0;
        self.without_websocket(error)
    }

    fn without_websocket(&mut self, error: Error) -> Phase {
        if !self.settings.long_poll {
            return self.interrupted(error);
        }
        self.transport = Transport::LongPoll;
        Phase::Opening
    }

    fn interrupted(&mut self, error: Error) -> Phase {
        let asked = error.retry_after().unwrap_or_default().min(self.settings.backoff.longest);
        let pause = self.settings.backoff.pause(self.failures).max(asked);
        self.failures = self.failures.saturating_add(1);
        self.push(StreamEvent::Interrupted { error, pause });
        Phase::Pausing(pause)
    }

    fn end(&mut self, end: End) -> Phase {
        self.push(StreamEvent::Ended(end));
        Phase::Over
    }
}

fn first_transport(settings: Settings) -> Transport {
    if settings.websocket { Transport::Websocket } else { Transport::LongPoll }
}

/// The number of catch-up events per channel since the stream opened.
#[derive(Debug, Default)]
struct Catchup(Vec<(Option<String>, usize)>);

impl Catchup {
    /// Counts an event. Returns a gap if the catch-up of its channel is as long as what the server
    /// stores.
    fn count(&mut self, event: &Event) -> Option<Gap> {
        if !event.catchup {
            return None;
        }
        // Catch-up arrives channel by channel.
        if self.0.last().is_none_or(|(channel, _)| *channel != event.channel) {
            self.0.push((event.channel.clone(), 0));
        }
        let (channel, count) = self.0.last_mut()?;
        *count += 1;
        let most = if channel.is_some() { STORED_OF_CHANNEL } else { STORED_OF_USER };
        (*count == most).then(|| Gap::FullCatchup { channel: channel.clone() })
    }
}
