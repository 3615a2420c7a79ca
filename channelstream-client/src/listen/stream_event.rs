//! What a listener tells: frames, and what becomes of its line to the server.

use std::time::Duration;

use channelstream_core::protocol::Uuid;

use super::event::Event;
use crate::error::Error;

/// What happened to a [`EventStream`](super::EventStream).
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamEvent {
    /// A line to the server is open, the first or another; catch-up comes next. Of long polls it
    /// is told with the first answer, which may take some seconds.
    #[non_exhaustive]
    Opened {
        /// The connection that is listened on.
        conn_id: Uuid,
        /// The way.
        transport: Transport,
    },
    /// An event was heard.
    Event(Event),
    /// Something may have been missed.
    Gap(Gap),
    /// The line broke or did not come about; the next attempt follows after a pause.
    #[non_exhaustive]
    Interrupted {
        /// Why.
        error: Error,
        /// How long until the next attempt.
        pause: Duration,
    },
    /// It is over; nothing follows.
    Ended(End),
}

/// How a listener is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// A websocket: events come at once.
    Websocket,
    /// One request after another: events come within a second or so.
    LongPoll,
}

/// Why something may have been missed. What came while nobody listened is not lost by itself:
/// it comes as catch-up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gap {
    /// The line broke without a word. What the server had written to it by then counts as sent,
    /// whether it arrived or not.
    BrokenLine,
    /// As many frames came as catch-up as the server keeps of a channel, or of a user's private
    /// messages: there may have been more, and older ones.
    #[non_exhaustive]
    FullCatchup {
        /// The channel; `None` for private messages.
        channel: Option<String>,
    },
    /// The connection had ended, also because the server was restarted, and another one took its
    /// place: whatever was sent in between is lost.
    NewConnection,
}

/// Why nothing more is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// The server does not know the connection: it was away for too long, was disconnected, or
    /// the server was restarted. A new one has to be made with [`Client::connect`].
    ///
    /// [`Client::connect`]: crate::Client::connect
    UnknownConnection,
    /// The connection was disconnected while it was listened on.
    Disconnected,
    /// Somebody else listens on the connection now.
    Superseded,
}
