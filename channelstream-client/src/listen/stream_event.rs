//! `StreamEvent`: an event of the connection, or a change of the stream's own state.

use std::time::Duration;

use channelstream_core::protocol::{GapReason, Uuid};

use super::event::Event;
use crate::error::Error;

/// An item of an [`EventStream`](super::EventStream).
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamEvent {
    /// The stream has connected or reconnected; catch-up follows. With long polling this is reported
    /// when the first answer arrives, which may take some seconds.
    #[non_exhaustive]
    Opened {
        /// The id of the connection.
        conn_id: Uuid,
        /// How the stream is connected.
        transport: Transport,
    },
    /// The connection received an event.
    Event(Event),
    /// Events may be missing.
    Gap(Gap),
    /// The TCP connection broke or could not be opened. The next attempt follows after a pause.
    #[non_exhaustive]
    Interrupted {
        /// The cause.
        error: Error,
        /// The time until the next attempt.
        pause: Duration,
    },
    /// The stream has ended. No item follows.
    Ended(End),
}

/// The transport of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// A websocket. Events arrive at once.
    Websocket,
    /// Long polling: one request after another. Events arrive within about a second.
    LongPoll,
}

/// Why events may be missing.
///
/// Events that were sent while nobody listened are not missing: they arrive as catch-up.
///
/// A server that knows [cursors](super::EventStream#cursors) tells exactly what is lost: [`Lost`](Self::Lost).
/// The others are what the stream has to assume on servers that do not, such as Channelstream 0.7.1.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gap {
    /// The server cannot recover events. They would have arrived at this place.
    #[non_exhaustive]
    Lost {
        /// The channel; `None` for private messages, or for everything if the server refused the cursor.
        channel: Option<String>,
        /// Why they are lost.
        reason: GapReason,
    },
    /// The server cannot recover events, for a reason that this version does not know. They would have
    /// arrived at this place.
    #[non_exhaustive]
    LostOtherwise {
        /// The channel; `None` for private messages.
        channel: Option<String>,
    },
    /// The TCP connection broke without a close. Events that the server had written to it count as
    /// sent, whether they arrived or not.
    BrokenTransport,
    /// The catch-up has as many events as the server keeps for a channel, or for a user's private
    /// messages. Older ones may have been dropped.
    #[non_exhaustive]
    FullCatchup {
        /// The channel; `None` for private messages.
        channel: Option<String>,
    },
    /// The connection had ended, for example because the server was restarted, and was replaced with
    /// a new one. Events that were sent in between are lost.
    NewConnection,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// The server does not know the connection: it expired, was disconnected, or the server was
    /// restarted. [`Client::connect`] creates a new one.
    ///
    /// [`Client::connect`]: crate::Client::connect
    UnknownConnection,
    /// The connection was disconnected while the stream listened on it.
    Disconnected,
    /// Another listener has taken over the connection. It is not the end if it may be a request of this
    /// one, given up within the last minute, that reached the server late.
    Superseded,
}
