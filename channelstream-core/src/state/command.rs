//! The whole surface of the state: the commands that go in, and the outcomes that come out.

use std::borrow::Cow;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_with::As;
use thiserror::Error;
use uuid::Uuid;

use super::catchup::Keep;
use super::defaults::ChannelDefaults;
use super::fading;
use super::notice::Notice;
use super::order::Position;
use super::removal;
use super::repeats::Repeat;
use super::stored;
use super::time::Moment;
use crate::protocol::redact::FirstDigits;
use crate::protocol::{
    Change, ChangeReply, ChannelConfig, ChannelsDeleted, ChannelsInfo, Configure, Connect,
    Connected, Delete, DeleteChannels, DisconnectUser, Epoch, Event, FieldError, FieldErrors,
    NewMessage, Posted, SetUserState, Subscribe, Subscribed, Taken, Timestamp, Unsubscribe,
    Unsubscribed, UserDisconnected, UserStateSet,
};

/// The id of a connection. It is a secret: a client that knows it may listen on the connection.
/// `Debug` shows the first digits only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(Uuid);

impl ConnectionId {
    /// Creates an id from a number.
    pub const fn from_u128(id: u128) -> Self {
        Self(Uuid::from_u128(id))
    }

    /// Returns the id as a number.
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl From<Uuid> for ConnectionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<ConnectionId> for Uuid {
    fn from(ConnectionId(id): ConnectionId) -> Self {
        id
    }
}

impl Debug for ConnectionId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        FirstDigits(self.0).fmt(f)
    }
}

/// The id of a listener: one open socket or one waiting poll. The server that opens the listener
/// chooses it and never uses it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ListenerId(u64);

impl ListenerId {
    /// Creates an id from a number.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// Returns the id as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The number of an event in the one order of all events; the first is 1.
pub type Sequence = u64;

/// The id of a node: of one run of one server process.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(u64);

impl NodeId {
    /// Creates an id from a number, which has to be random.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }
}

impl Display for NodeId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What the outside decides and the state must not: time and randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The wall time, which people see. It may step.
    pub now: Timestamp,
    /// The time of deadlines. A stamp with an earlier moment than the stamp before it changes neither
    /// this time nor the wall time.
    pub moment: Moment,
    /// Random bits, from which the ids of this step are made.
    pub seed: u128,
}

/// One command in the one order of all commands. It fully determines what happens.
///
/// An envelope that was [stored] and read again has the same outcome.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// The node that submitted it.
    pub node: NodeId,
    /// Its number among those of its node. Numbers begin with 1 and rise along the order, so that an
    /// envelope that comes again is recognized.
    pub number: u64,
    /// When it was submitted, and with which random bits.
    pub stamp: Stamp,
    /// The command.
    pub command: Command,
    /// By which the command is recognized as the repeat of another one, if its client wants that.
    pub repeat: Option<Box<Repeat>>,
}

/// A change of the state, as a node submits it.
///
/// The order of the variants and of their fields is part of the [stored forms](super::stored).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// `/connect`. The id is chosen outside, because it is a secret that must not follow from ids that
    /// others see.
    Connect {
        /// The id to use: that of the request, or a new random one.
        connection: ConnectionId,
        /// The request.
        #[serde(with = "As::<Box<stored::Connect>>")]
        request: Box<Connect>,
    },
    /// `/subscribe`.
    Subscribe(#[serde(with = "stored::Subscribe")] Subscribe),
    /// `/unsubscribe`.
    Unsubscribe(#[serde(with = "stored::Unsubscribe")] Unsubscribe),
    /// `/user_state`.
    SetUserState(#[serde(with = "stored::SetUserState")] SetUserState),
    /// `/channel_config`.
    Configure(#[serde(with = "stored::Configure")] Configure),
    /// `DELETE /channels`.
    DeleteChannels(#[serde(with = "stored::DeleteChannels")] DeleteChannels),
    /// `POST /message`.
    Publish(#[serde(with = "As::<Vec<stored::NewMessage>>")] Vec<NewMessage>),
    /// `PATCH /message`.
    Change(#[serde(with = "As::<Vec<stored::Change>>")] Vec<Change>),
    /// `/cancel`: a reader cancels a growing message.
    Cancel {
        /// A connection of the reader.
        connection: ConnectionId,
        /// The id of the message.
        message: Uuid,
    },
    /// `DELETE /message`.
    Delete(#[serde(with = "As::<Vec<stored::Delete>>")] Vec<Delete>),
    /// `/disconnect`: the connection ends when it is reaped next.
    Disconnect(ConnectionId),
    /// A socket or poll begins.
    Open {
        /// The connection.
        connection: ConnectionId,
        /// The socket or poll.
        listener: ListenerId,
        /// Which of the two it is.
        kind: ListenerKind,
        /// Who brings the missed events.
        catch_up: CatchUp,
        /// How it is told that a message has grown.
        appends: Appends,
    },
    /// A socket or poll ended.
    Close {
        /// The connection.
        connection: ConnectionId,
        /// The socket or poll.
        listener: ListenerId,
        /// How it ended.
        how: Closing,
        /// Which of its deliveries were sent.
        sent: Sent,
    },
    /// Nothing but time has passed.
    Tick,
    /// An epoch begins.
    Begin {
        /// The epoch, which is later than all before.
        epoch: Epoch,
        /// `true` if no other node lives: the listeners of all others have ended.
        alone: bool,
    },
    /// A node tells of itself.
    Alive(Box<Alive>),
    /// A node has ended, with all its listeners.
    Leave,
    /// The rules from here on.
    Rules(Box<Rules>),
    /// The [level](super::stored) from here on, if all nodes that are alive know it.
    Raise(u32),
    /// `/disconnect_user`; since level 2.
    DisconnectUser(#[serde(with = "As::<Box<stored::DisconnectUser>>")] Box<DisconnectUser>),
}

impl Command {
    /// Returns the name of the command, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::SetUserState(_) => "set_user_state",
            Self::Configure(_) => "configure",
            Self::DeleteChannels(_) => "delete_channels",
            Self::Publish(_) => "publish",
            Self::Change(_) => "change",
            Self::Cancel { .. } => "cancel",
            Self::Delete(_) => "delete",
            Self::Disconnect(_) => "disconnect",
            Self::Open { .. } => "open",
            Self::Close { .. } => "close",
            Self::Tick => "tick",
            Self::Begin { .. } => "begin",
            Self::Alive(_) => "alive",
            Self::Leave => "leave",
            Self::Rules(_) => "rules",
            Self::Raise(_) => "raise",
            Self::DisconnectUser(_) => "disconnect_user",
        }
    }

    /// Returns the first level that knows the command with all that it has. It must not be appended to a journal at a lower one.
    pub fn since(&self) -> u32 {
        match self {
            Self::DisconnectUser(_) => removal::SINCE,
            Self::Publish(messages) if messages.iter().any(|one| one.expires.is_some()) => {
                fading::SINCE
            }
            Self::Connect { request, .. } => since_of(request.channel_configs.values()),
            Self::Subscribe(request) => since_of(request.channel_configs.values()),
            Self::Configure(request) => since_of(request.channels.values().flatten()),
            _ => stored::OLDEST,
        }
    }
}

/// Returns the first level that knows all these settings.
fn since_of<'a>(mut settings: impl Iterator<Item = &'a ChannelConfig>) -> u32 {
    if settings.any(|one| one.history_ttl.is_some()) { fading::SINCE } else { stored::OLDEST }
}

/// What a node tells of itself from time to time. Whoever has not told of itself for
/// [`Rules::node_timeout`] has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// The newest level that it knows and agrees to.
    pub level: u32,
    /// The newest envelope that it had applied when it looked at its listeners.
    pub position: Position,
    /// [`State::digest`](super::State::digest) at that position.
    pub digest: u64,
    /// The number up to which all its listeners were sent everything, except those in `but`.
    pub sent: Sequence,
    /// The listeners that were sent less, and up to which number.
    pub but: Vec<(ListenerId, Sequence)>,
}

/// The two ways to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListenerKind {
    /// A websocket.
    Socket,
    /// A long poll, which ends with its first answer.
    Poll,
}

/// How a listener receives what it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatchUp {
    /// The state delivers what the connection was not sent.
    Deliver,
    /// The listener holds a cursor: its node reads on from there ([`State::read`](super::State::read)).
    Read,
    /// The listener has no cursor yet: its node reads on from what the connection was sent. It has to wait
    /// until that is known, as one that the state delivers to.
    ReadRecord,
}

/// How a listener is told that a message has grown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Appends {
    /// By each append.
    #[default]
    AsEvents,
    /// By edits with the whole payload, four a second of a message at most.
    AsEdits,
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Closing {
    /// The peer closed it: the connection ends when it is reaped next.
    ByPeer,
    /// The TCP connection broke, the server ended it, or it was a poll: the connection waits for the
    /// next listener.
    Otherwise,
}

/// Which of its deliveries a listener was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The number up to which all events for the listener were sent, except those in `but`.
    pub up_to: Sequence,
    /// The numbers of the events up to `up_to` that were not sent.
    pub but: Vec<Sequence>,
}

/// The result of a command.
#[derive(Debug)]
pub struct Outcome {
    /// The reply to the command.
    pub reply: Result<Reply, Refusal>,
    /// `true` if it is the reply to an earlier command of which this one is a repeat. Nothing happened.
    pub replayed: bool,
    /// `false` if this very envelope was applied before. The reply was given then.
    pub is_new: bool,
    /// What to do for listeners, in this order.
    pub deliveries: Vec<Delivery>,
    /// What happened, in this order, if [`State::collect_notices`](super::State::collect_notices) asked for
    /// it.
    pub notices: Vec<Notice>,
}

/// The reply to a command that was carried out. It serializes as the body of the HTTP answer.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
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
    /// To [`Command::Publish`]: all messages, also those that went nowhere.
    Published(Vec<Posted>),
    /// To [`Command::Change`], for each item.
    Changed(Vec<ChangeReply>),
    /// To [`Command::Cancel`].
    Cancelled(Box<Taken>),
    /// To [`Command::Delete`].
    Deleted(Vec<Arc<Delete>>),
    /// To [`Command::Disconnect`]: `true` if there was such a connection.
    Disconnected(bool),
    /// To [`Command::Open`].
    Opened,
    /// To [`Command::Open`] of a poll where a socket listens: the socket keeps the events.
    Occupied,
    /// To commands that need no reply.
    Done,
    /// To [`Command::DisconnectUser`].
    UserDisconnected(Box<UserDisconnected>),
}

impl Reply {
    /// Returns the number of channels that the reply describes, which is what its size depends on.
    pub fn channels(&self) -> usize {
        match self {
            Self::Connected(reply) => reply.channels_info.channels.len(),
            Self::Subscribed(reply) => reply.channels_info.channels.len(),
            Self::Unsubscribed(reply) => reply.channels_info.channels.len(),
            Self::Configured(reply) => reply.channels.len(),
            _ => 0,
        }
    }
}

/// The reason why a command was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The key belongs to another request.
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    /// A message cannot be opened to grow. Nothing of the request was done.
    #[error("message {item} cannot be opened: {reason}")]
    CannotOpen {
        /// The index of the message in the request.
        item: usize,
        /// The reason.
        reason: Cow<'static, str>,
    },
    /// There is no growing message of that id, or the user may not cancel it.
    #[error("unknown message, or not allowed to cancel it")]
    CannotCancel,
    /// The user was disconnected, and may not connect yet.
    #[error("the user may not connect for {seconds} s{}", told(.reason))]
    UserRefused {
        /// The seconds until it may.
        seconds: u64,
        /// The reason that was given.
        reason: Option<String>,
    },
    /// The journal is at a level that does not know the command.
    #[error("the journal is at a level that does not know this yet")]
    LevelTooLow,
}

/// Returns a reason as the end of a message.
fn told(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl Refusal {
    /// Returns the error of the request's field (contract §4).
    pub fn field_errors(&self) -> FieldErrors {
        match self {
            Self::UnknownConnection => FieldErrors::from_texts("conn_id", ["Unknown connection"]),
            Self::UnknownUser => FieldErrors::from_texts("user", ["Unknown user"]),
            Self::ForeignConnection => {
                FieldErrors::from_texts("conn_id", ["Connection belongs to another user."])
            }
            Self::KeyReused => {
                FieldErrors::from_texts("request", ["Idempotency-Key belongs to another request."])
            }
            Self::CannotOpen { item, reason } => {
                let mut errors = FieldErrors::new();
                let inner = FieldErrors::from_texts("status", [&**reason]);
                errors.add(&item.to_string(), FieldError::Inner(inner));
                errors
            }
            Self::UserRefused { .. } => FieldErrors::from_texts("username", [&*self.to_string()]),
            Self::LevelTooLow => FieldErrors::from_texts("request", [&*self.to_string()]),
            Self::CannotCancel => FieldErrors::from_texts("uuid", ["Unknown message"]),
        }
    }
}

/// An event to send, or a listener to end.
#[derive(Debug)]
pub enum Delivery {
    /// An event for some listeners.
    Event {
        /// The listeners of this node, in any order.
        to: Vec<ListenerId>,
        /// The event.
        event: Event,
        /// The number of the event.
        sequence: Sequence,
        /// `true` if the event was stored while the listener was away.
        catchup: bool,
    },
    /// A listener is sent nothing yet, or from here on: it waits for what an older one was sent. If it
    /// ends meanwhile, it has to report that it was sent nothing.
    TakesOver {
        /// The listener.
        listener: ListenerId,
        /// `true` if what it missed follows.
        is_done: bool,
    },
    /// A listener ends.
    End {
        /// The listener.
        listener: ListenerId,
        /// The reason.
        reason: EndReason,
    },
}

/// The reason why the state ends a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// A newer listener of the connection takes over what this one was not sent yet.
    Superseded {
        /// The newer listener.
        by: ListenerId,
    },
    /// A newer listener of the connection, on another node, takes over.
    SupersededElsewhere,
    /// The node was silent for so long that the others had to take it for dead.
    NodeSilent,
    /// The connection was ended.
    Ended,
    /// The user was disconnected, for this reason.
    Disconnected {
        /// The reason, for the user.
        reason: Arc<str>,
    },
}

/// The times and sizes that the state uses. They are the same on all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The time without a listener after which a connection in a channel ends.
    pub connection_timeout: Duration,
    /// The time without a listener after which a connection in no channel ends.
    pub waiting_timeout: Duration,
    /// The time after which a closed or disconnected connection is reaped. A page that reloads is back
    /// before, so that its user does not part.
    pub closing_grace: Duration,
    /// The time after which a user without connections is removed.
    pub user_timeout: Duration,
    /// The time after which a channel without members in which nothing happens is removed.
    pub channel_timeout: Duration,
    /// How much each channel stores, unless its settings say otherwise.
    pub channel_events: Keep,
    /// How many private events are stored for each user.
    pub user_events: Keep,
    /// How much a listener that holds a cursor reads at once. A single event may be larger.
    pub portion: Keep,
    /// How long a membership that ended by silence is remembered. Within this time a user who comes
    /// back can recover what it missed.
    pub recovery_window: Duration,
    /// How long the answer to a request with a key is kept for its repeats.
    pub idempotency_window: Duration,
    /// How many such answers are kept. The oldest are forgotten first.
    pub idempotency_keys: usize,
    /// How many bytes they may take together.
    pub idempotency_bytes: usize,
    /// The silence after which a growing message is stalled, unless it was opened with another one.
    pub append_timeout: Duration,
    /// The time after which a message that stays stalled has failed.
    pub stalled_timeout: Duration,
    /// The largest payload of a growing message, in bytes.
    pub max_growing_size: usize,
    /// The most items of a list in a growing message to which items are appended.
    pub max_growing_items: usize,
    /// The most open messages of a channel, or private ones of a user.
    pub max_open_messages: usize,
    /// The most by which own time moves from one stamp to the next. An outage of any length counts as
    /// no more than this.
    pub longest_step: Duration,
    /// The silence after which a node has ended.
    pub node_timeout: Duration,
    /// How long a listener waits for what an older one on another node was sent.
    pub take_over_timeout: Duration,
    /// The default settings of new channels. The first pattern that matches the name counts.
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
            channel_events: Keep { events: 100, bytes: 16 << 20 },
            user_events: Keep { events: 50, bytes: 16 << 20 },
            portion: Keep { events: 256, bytes: 64 * 1024 },
            recovery_window: Duration::from_secs(600),
            idempotency_window: Duration::from_secs(600),
            idempotency_keys: 100_000,
            idempotency_bytes: 64 * 1024 * 1024,
            append_timeout: Duration::from_secs(30),
            stalled_timeout: Duration::from_secs(3600),
            max_growing_size: 1024 * 1024,
            max_growing_items: 4096,
            max_open_messages: 100,
            longest_step: Duration::from_secs(5),
            node_timeout: Duration::from_secs(10),
            take_over_timeout: Duration::from_secs(1),
            channel_defaults: Vec::new(),
        }
    }
}
