//! The whole surface of the state: what goes in, and what comes out.

use std::time::Duration;

use thiserror::Error;
use uuid::Uuid;

use super::defaults::ChannelDefaults;
use super::time::Moment;
use crate::protocol::{
    ChannelsDeleted, ChannelsInfo, Configure, Connect, Connected, Delete, DeleteChannels, Edit,
    Event, FieldErrors, NewMessage, Posted, SetUserState, Subscribe, Subscribed, Timestamp,
    Unsubscribe, Unsubscribed, UserStateSet,
};

/// Names a connection; who knows it may listen on it.
pub type ConnectionId = Uuid;

/// Names a listener: one open socket or one waiting poll. Given by who opens it, never reused.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct ListenerId(pub u64);

impl ListenerId {
    /// The listener of this number.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Number of an event in the one order of all events; the first is 1.
pub type Sequence = u64;

/// What the outside decides and the state may not: time and luck.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The time on the wall, which people see. It may step.
    pub now: Timestamp,
    /// The time of deadlines. An earlier one than that of a stamp before changes no time, neither
    /// this nor that on the wall.
    pub moment: Moment,
    /// Random bits from which the ids of this step are made.
    pub seed: u128,
}

/// One command in the one order. It fully determines what happens.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// When, and with which luck.
    pub stamp: Stamp,
    /// What.
    pub command: Command,
}

/// One wish to change the state.
#[derive(Clone, Debug)]
pub enum Command {
    /// `/connect`. The id is chosen outside, since it is a secret that must not follow from ids
    /// that others see.
    Connect {
        /// The id to use: that of the request, or a new random one.
        connection: ConnectionId,
        /// The rest.
        request: Box<Connect>,
    },
    /// `/subscribe`.
    Subscribe(Subscribe),
    /// `/unsubscribe`.
    Unsubscribe(Unsubscribe),
    /// `/user_state`.
    SetUserState(SetUserState),
    /// `/channel_config`.
    Configure(Configure),
    /// `DELETE /channels`.
    DeleteChannels(DeleteChannels),
    /// `POST /message`.
    Publish(Vec<NewMessage>),
    /// `PATCH /message`.
    Edit(Vec<Edit>),
    /// `DELETE /message`.
    Delete(Vec<Delete>),
    /// `/disconnect`: the connection ends with the next collection.
    Disconnect(ConnectionId),
    /// A socket or poll begins.
    Open {
        /// On which connection.
        connection: ConnectionId,
        /// Who.
        listener: ListenerId,
        /// What it is.
        kind: ListenerKind,
    },
    /// A socket or poll ended.
    Close {
        /// On which connection.
        connection: ConnectionId,
        /// Who.
        listener: ListenerId,
        /// How it came to this.
        how: Closing,
        /// What of the deliveries to it was sent.
        sent: Sent,
    },
    /// Nothing but time has passed.
    Tick,
}

/// The two ways to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ListenerKind {
    /// A websocket.
    Socket,
    /// A long poll: ends with its first answer.
    Poll,
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The peer closed it: the connection ends with the next collection.
    ByPeer,
    /// The line broke, the server ended it, or it was a poll: the connection waits for the next.
    Otherwise,
}

/// What a listener was really sent.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Everything for it up to this number was sent,
    pub up_to: Sequence,
    /// except these.
    pub but: Vec<Sequence>,
}

/// What came of a command.
#[derive(Debug)]
pub struct Outcome {
    /// For who sent it.
    pub reply: Result<Reply, Refusal>,
    /// For listeners, in the order in which they are to be carried out.
    pub deliveries: Vec<Delivery>,
}

/// What `apply` answers.
#[derive(Debug)]
pub enum Reply {
    /// To [`Command::Connect`].
    Connected(Box<Connected>),
    /// To [`Command::Subscribe`].
    Subscribed(Box<Subscribed>),
    /// To [`Command::Unsubscribe`].
    Unsubscribed(Box<Unsubscribed>),
    /// To [`Command::SetUserState`].
    UserStateSet(Box<UserStateSet>),
    /// To [`Command::Configure`].
    Configured(Box<ChannelsInfo>),
    /// To [`Command::DeleteChannels`].
    ChannelsDeleted(Box<ChannelsDeleted>),
    /// To [`Command::Publish`]: all, also those that went nowhere.
    Published(Vec<Posted>),
    /// To [`Command::Edit`].
    Edited(Vec<Edit>),
    /// To [`Command::Delete`].
    Deleted(Vec<Delete>),
    /// To [`Command::Disconnect`]: whether the connection was known.
    Disconnected(bool),
    /// To [`Command::Open`].
    Opened,
    /// To [`Command::Open`] of a poll where a socket listens: the socket keeps the events.
    Occupied,
    /// To commands that need none.
    Done,
}

/// A command turned down.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no connection of that id.
    #[error("unknown connection")]
    UnknownConnection,
    /// There is no user of that name.
    #[error("unknown user")]
    UnknownUser,
    /// The connection belongs to another user.
    #[error("the connection belongs to another user")]
    ForeignConnection,
}

impl Refusal {
    /// What is wrong with which field of the request (contract §4).
    pub fn field_errors(&self) -> FieldErrors {
        match self {
            Self::UnknownConnection => FieldErrors::from_texts("conn_id", ["Unknown connection"]),
            Self::UnknownUser => FieldErrors::from_texts("user", ["Unknown user"]),
            Self::ForeignConnection => {
                FieldErrors::from_texts("conn_id", ["Connection belongs to another user."])
            }
        }
    }
}

/// What `apply` wants sent or ended.
#[derive(Debug)]
pub enum Delivery {
    /// An event for some listeners.
    Event {
        /// For whom.
        to: Vec<ListenerId>,
        /// What.
        event: Event,
        /// Its number.
        sequence: Sequence,
        /// Whether it was stored for who was away.
        catchup: bool,
    },
    /// A listener is over.
    End {
        /// Who.
        listener: ListenerId,
        /// Why.
        reason: EndReason,
    },
}

/// Why the state ends a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// A newer one listens on the connection; it gets what the older one was not sent yet.
    Superseded {
        /// The newer one.
        by: ListenerId,
    },
    /// The connection was ended.
    Ended,
}

/// The times and sizes that the state goes by. All replicas need the same.
#[derive(Clone, Debug)]
pub struct Rules {
    /// A connection in a channel ends after so long without a listener.
    pub connection_timeout: Duration,
    /// One in no channel, after so long.
    pub waiting_timeout: Duration,
    /// What was closed or disconnected is collected so much later: a page that reloads is back
    /// before, and nobody is told that its user parted.
    pub closing_grace: Duration,
    /// A user without connections is forgotten after so long.
    pub user_timeout: Duration,
    /// A channel without members in which nothing happens is removed after so long.
    pub channel_timeout: Duration,
    /// Events stored for catch-up, per channel.
    pub channel_events: usize,
    /// Private events stored for catch-up, per user.
    pub user_events: usize,
    /// The state's own time moves by so much at most from one stamp to the next, so that an outage
    /// of any length counts as no more.
    pub longest_step: Duration,
    /// Settings that channels get when they are created, where nobody says otherwise: the first
    /// pattern counts that matches the name.
    pub channel_defaults: Vec<ChannelDefaults>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            connection_timeout: Duration::from_secs(15),
            waiting_timeout: Duration::from_secs(300),
            closing_grace: Duration::from_millis(500),
            user_timeout: Duration::from_secs(86_400),
            channel_timeout: Duration::from_secs(72 * 3600),
            channel_events: 100,
            user_events: 50,
            longest_step: Duration::from_secs(5),
            channel_defaults: Vec::new(),
        }
    }
}
