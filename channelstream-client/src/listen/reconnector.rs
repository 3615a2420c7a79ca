//! The course of a listener: which line is tried when, and what is told of it.

use std::collections::VecDeque;
use std::time::Duration;

use channelstream_core::protocol::Uuid;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::builder::{Renew, Server, Settings};
use super::event::Event;
use super::stream_event::{End, Gap, StreamEvent, Transport};
use super::transport::{Heard, Opening, Polled, Socket, hear};
use crate::error::Error;

/// Stored frames of a channel and of a user (contract §8).
const STORED_OF_CHANNEL: usize = 100;
const STORED_OF_USER: usize = 50;

/// A socket that is closed as normal within this time, unheard, was never the connection's.
const AT_ONCE: Duration = Duration::from_secs(2);

/// So many websockets in a row that open and stay mute: something between lets none through.
const MUTE_SOCKETS: u32 = 2;

/// An empty poll takes longer, unless something answers in the server's place.
const SHORT_POLL: Duration = Duration::from_millis(200);

/// After so long on polls, a websocket may come through again.
const POLLS_LAST: Duration = Duration::from_secs(600);

pub(super) struct Reconnector {
    server: Server,
    settings: Settings,
    conn_id: Option<Uuid>,
    renew: Option<Renew>,
    phase: Phase,
    /// What is to be told next.
    events: VecDeque<StreamEvent>,
    /// How the next line is opened.
    transport: Transport,
    /// Since something was last heard.
    failures: u32,
    /// New connections since something was last heard.
    renewals: u32,
    mute_sockets: u32,
    /// What is to be told when the next line is open.
    gap: Option<Gap>,
    catchup: Catchup,
}

enum Phase {
    Renewing,
    Opening,
    Websocket { socket: Box<Socket>, since: Instant, heard: bool },
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
    ) -> Self {
        let transport = first_transport(settings);
        Self {
            server,
            settings,
            conn_id,
            renew,
            phase: Phase::Opening,
            events: VecDeque::new(),
            transport,
            failures: 0,
            renewals: 0,
            mute_sockets: 0,
            gap: None,
            catchup: Catchup::default(),
        }
    }

    /// The next event, or nothing when all is over.
    pub(super) async fn next(&mut self) -> Option<StreamEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            self.phase = match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Renewing => self.make_connection().await,
                Phase::Opening => match (self.conn_id, self.transport) {
                    (None, _) => Phase::Renewing,
                    (Some(_), Transport::LongPoll) => Phase::Polling { since: None, short: 0 },
                    (Some(conn_id), Transport::Websocket) => self.open_websocket(conn_id).await,
                },
                Phase::Websocket { socket, since, heard } => self.hear(socket, since, heard).await,
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
            Ok(conn_id) => {
                self.conn_id = Some(conn_id);
                Phase::Opening
            }
            Err(error) => self.interrupted(error),
        }
    }

    async fn open_websocket(&mut self, conn_id: Uuid) -> Phase {
        match self.server.open_websocket(conn_id, self.settings.silence).await {
            Opening::Open(socket) => {
                self.opened(conn_id);
                Phase::Websocket { socket, since: Instant::now(), heard: false }
            }
            Opening::NoWebsocket(error) => self.without_websocket(error),
            Opening::Failed(error) if error.is_in_doubt() => self.mute_socket(error),
            Opening::Failed(error) => self.interrupted(error),
        }
    }

    async fn hear(&mut self, mut socket: Box<Socket>, since: Instant, heard: bool) -> Phase {
        match hear(&mut socket, self.settings.silence).await {
            Heard::Frames(frames) => {
                self.mute_sockets = 0;
                self.take(frames);
                Phase::Websocket { socket, since, heard: true }
            }
            Heard::Life => Phase::Websocket { socket, since, heard },
            Heard::Closed(close) => self.closed(close, since, heard),
            Heard::Broken(error) => {
                self.missed(Gap::BrokenLine);
                if heard { self.interrupted(error) } else { self.mute_socket(error) }
            }
        }
    }

    fn closed(&mut self, close: Option<CloseFrame>, since: Instant, heard: bool) -> Phase {
        let Some(close) = close else {
            // Not from the server, which always says why.
            self.missed(Gap::BrokenLine);
            return self.interrupted(Error::broken("the websocket was closed without a reason"));
        };
        match close.code {
            CloseCode::Normal if close.reason.starts_with("superseded") => {
                self.end(End::Superseded)
            }
            CloseCode::Normal if !heard && since.elapsed() < AT_ONCE => self.unknown_connection(),
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
        match self.server.poll(conn_id, self.settings.silence).await {
            Polled::Frames(frames) => {
                if since.is_none() {
                    self.opened(conn_id);
                }
                self.catchup = Catchup::default();
                let is_short = frames.is_empty() && begun.elapsed() < SHORT_POLL;
                let short = if is_short { short.saturating_add(1) } else { 0 };
                self.take(frames);
                let since = since.unwrap_or(begun);
                if since.elapsed() > POLLS_LAST && self.settings.websocket {
                    self.transport = Transport::Websocket;
                    return Phase::Opening;
                }
                Phase::Polling { since: Some(since), short }
            }
            Polled::UnknownConnection => self.unknown_connection(),
            Polled::Failed(error) => {
                if error.is_in_doubt() {
                    self.missed(Gap::BrokenLine);
                }
                self.transport = first_transport(self.settings);
                self.interrupted(error)
            }
        }
    }

    fn opened(&mut self, conn_id: Uuid) {
        self.catchup = Catchup::default();
        self.events.push_back(StreamEvent::Opened { conn_id, transport: self.transport });
        self.events.extend(self.gap.take().map(StreamEvent::Gap));
    }

    fn take(&mut self, frames: Vec<Event>) {
        (self.failures, self.renewals) = (0, 0);
        for frame in frames {
            let gap = self.catchup.count(&frame);
            self.events.push_back(StreamEvent::Event(frame));
            self.events.extend(gap.map(StreamEvent::Gap));
        }
    }

    /// A new connection is the larger gap.
    fn missed(&mut self, gap: Gap) {
        if self.gap != Some(Gap::NewConnection) {
            self.gap = Some(gap);
        }
    }

    fn unknown_connection(&mut self) -> Phase {
        if self.renew.is_none() {
            return self.end(End::UnknownConnection);
        }
        self.conn_id = None;
        self.gap = Some(Gap::NewConnection);
        // The first time at once, since the server is there; then with pauses, should it forget
        // each one.
        self.renewals = self.renewals.saturating_add(1);
        match self.renewals {
            1 => Phase::Renewing,
            renewals => Phase::Pausing(self.settings.backoff.pause(renewals - 2)),
        }
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
        self.events.push_back(StreamEvent::Interrupted { error, pause });
        Phase::Pausing(pause)
    }

    fn end(&mut self, end: End) -> Phase {
        self.events.push_back(StreamEvent::Ended(end));
        Phase::Over
    }
}

fn first_transport(settings: Settings) -> Transport {
    if settings.websocket { Transport::Websocket } else { Transport::LongPoll }
}

/// How many frames of each channel came as catch-up on one line.
#[derive(Debug, Default)]
struct Catchup(Vec<(Option<String>, usize)>);

impl Catchup {
    /// A gap with the frame that makes it likely.
    fn count(&mut self, frame: &Event) -> Option<Gap> {
        if !frame.catchup {
            return None;
        }
        // Catch-up comes channel by channel.
        if self.0.last().is_none_or(|(channel, _)| *channel != frame.channel) {
            self.0.push((frame.channel.clone(), 0));
        }
        let (channel, count) = self.0.last_mut()?;
        *count += 1;
        let most = if channel.is_some() { STORED_OF_CHANNEL } else { STORED_OF_USER };
        (*count == most).then(|| Gap::FullCatchup { channel: channel.clone() })
    }
}
