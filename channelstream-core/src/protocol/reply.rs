//! Bodies of answers, which the server writes and the client reads (contract §4, §5, §10).

use std::borrow::Cow;
use std::fmt::{self, Debug, Formatter};
use std::ops::Deref;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::append::Taken;
use super::cursor::Cursor;
use super::message::{Edit, Message};
use super::redact::FirstDigits;
use super::scalar::{Scalar, UserState};
use super::settings::ChannelSettings;
use super::timestamp::DateTime;

/// The answer of `/connect`.
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Connected {
    /// The id of the connection, which a browser needs to listen.
    pub conn_id: Uuid,
    /// The user of the connection.
    pub username: Arc<str>,
    /// The user's full state.
    pub state: Arc<UserState>,
    /// The part that others may see.
    pub public_state: Arc<UserState>,
    /// The channels asked for, sorted.
    pub channels: Vec<String>,
    /// Information about these channels.
    pub channels_info: ChannelsInfo,
    /// Where a listener of the connection begins. A server reports it if the request asks for it
    /// (`Prefer`, contract §14).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl Debug for Connected {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { conn_id, username, state, public_state, channels, channels_info, cursor } = self;
        f.debug_struct("Connected")
            .field("conn_id", &FirstDigits(*conn_id))
            .field("username", username)
            .field("state", state)
            .field("public_state", public_state)
            .field("channels", channels)
            .field("channels_info", channels_info)
            .field("cursor", cursor)
            .finish()
    }
}

/// The answer of `/subscribe`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Subscribed {
    /// All channels of the connection, sorted.
    pub channels: Vec<Arc<str>>,
    /// Information about these channels.
    pub channels_info: ChannelsInfo,
    /// The channels that are new to the connection, sorted.
    pub subscribed_to: Vec<Arc<str>>,
}

/// The answer of `/unsubscribe`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unsubscribed {
    /// All channels of the connection, sorted.
    pub channels: Vec<Arc<str>>,
    /// Information about these channels.
    pub channels_info: ChannelsInfo,
    /// The channels that the connection was in and left, sorted.
    pub unsubscribed_from: Vec<Arc<str>>,
}

/// The answer of `POST /message` about one message.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Posted {
    /// The message as the server accepted it, with everything filled in.
    #[serde(flatten)]
    pub taken: Arc<Message>,
    /// What happened to it.
    #[serde(flatten)]
    pub receipt: Receipt,
}

#[cfg(feature = "state")]
impl Posted {
    pub(crate) fn new(taken: Arc<Message>, receipt: Receipt) -> Self {
        Self { taken, receipt }
    }
}

impl Deref for Posted {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.taken
    }
}

/// Both parts are on one level; serde cannot read a raw payload and a flattened part together.
impl<'de> Deserialize<'de> for Posted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let taken = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        let receipt = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        Ok(Self { taken: Arc::new(taken), receipt })
    }
}

/// The answer about one item of `PATCH /message`.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum ChangeReply {
    /// About an edit: the edit as it was sent.
    Edited(Arc<Edit>),
    /// About an append or a status.
    Taken(Box<Taken>),
}

/// Only what was done with an append has `taken`. serde cannot read a raw payload in an untagged enum.
impl<'de> Deserialize<'de> for ChangeReply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if let Ok(taken) = serde_json::from_str(raw.get()) {
            return Ok(Self::Taken(taken));
        }
        serde_json::from_str(raw.get()).map(Self::Edited).map_err(D::Error::custom)
    }
}

/// What happened to a message. A server reports it if the request asks for it (`Prefer`, contract §14);
/// otherwise the fields are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Receipt {
    /// The number of open sockets and waiting polls that it was sent to at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<u64>,
    /// `true` if it was stored, in the history of the channel or for catch-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<bool>,
    /// The cursor of its event: a listener that begins there has received it. Absent if it went nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<Cursor>,
    /// The reason why it went nowhere: `no address`, `no such channel` or `no such user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Cow<'static, str>>,
}

impl Receipt {
    /// The message has neither a channel nor users.
    pub const NO_ADDRESS: &'static str = "no address";
    /// The channel does not exist.
    pub const NO_CHANNEL: &'static str = "no such channel";
    /// None of the users exists.
    pub const NO_USER: &'static str = "no such user";

    #[cfg(feature = "state")]
    pub(crate) fn nowhere(problem: &'static str) -> Self {
        Self { recipients: Some(0), stored: Some(false), seq: None, problem: Some(problem.into()) }
    }
}

/// The answer of `/user_state`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserStateSet {
    /// The user's full state now.
    pub user_state: Arc<UserState>,
    /// The keys that changed, in the order of the request.
    pub changed_state: Vec<Changed>,
    /// The keys that others may see.
    pub public_keys: Vec<Arc<str>>,
}

/// A key of a user's state with its new value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Changed {
    /// The key.
    pub key: String,
    /// The new value.
    pub value: Scalar,
}

/// Channel information: the answer of `/info` and `/channel_config`, and part of others.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelsInfo {
    /// The channels by name.
    pub channels: IndexMap<Arc<str>, ChannelView>,
    /// The users present in any of them, each once.
    pub users: Vec<UserView>,
}

/// The answer of `DELETE /channels`; each name once, sorted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelsDeleted {
    /// The channels that existed and were deleted.
    pub deleted: Vec<Arc<str>>,
    /// The channels that did not exist.
    pub unknown: Vec<Arc<str>>,
}

/// Information about a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelView {
    /// The id of the channel. A channel that is created again has another one.
    pub uuid: Uuid,
    /// The name.
    pub name: Arc<str>,
    /// Always null, as in the reference.
    pub long_name: Option<String>,
    /// The settings.
    pub settings: ChannelSettings,
    /// The stored messages, oldest first.
    #[serde(with = "history")]
    pub history: Vec<Arc<Message>>,
    /// The number of stored messages, also if `history` leaves them out. Present only if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_length: Option<usize>,
    /// The time of the last message, event or creation.
    pub last_active: DateTime,
    /// The number of connections in the channel.
    pub total_connections: usize,
    /// The number of users in `users`.
    pub total_users: usize,
    /// The names of the users, sorted.
    pub users: Vec<Arc<str>>,
}

/// A user with state: full or public, as requested.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserView {
    /// The name.
    pub user: Arc<str>,
    /// The state.
    pub state: Arc<UserState>,
}

/// The answer of `/admin/admin.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdminStats {
    /// The number of all users.
    pub remembered_user_count: usize,
    /// Users with connections.
    pub unique_user_count: usize,
    /// Their connections.
    pub total_connections: usize,
    /// Channels.
    pub total_channels: usize,
    /// Deliveries of posted messages, one per addressed connection, listening or not.
    pub total_messages: u64,
    /// Posted messages that had an address.
    pub total_unique_messages: u64,
    /// All channels, with history and users.
    pub channels: IndexMap<Arc<str>, ChannelView>,
    /// Users with connections.
    pub users: Vec<AdminUser>,
    /// The uptime of the server: `H:MM:SS`, or `1 day, H:MM:SS`.
    pub uptime: String,
    /// The server's version.
    pub version: String,
}

/// A user in [`AdminStats`].
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdminUser {
    /// The name.
    pub user: Arc<str>,
    /// The id of the user. A user who was removed and comes again has another one.
    pub uuid: Uuid,
    /// The public state.
    pub state: Arc<UserState>,
    /// The ids of the connections.
    pub connections: Vec<Uuid>,
}

impl Debug for AdminUser {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { user, uuid, state, connections } = self;
        let connections: Vec<_> = connections.iter().copied().map(FirstDigits).collect();
        f.debug_struct("AdminUser")
            .field("user", user)
            .field("uuid", uuid)
            .field("state", state)
            .field("connections", &connections)
            .finish()
    }
}

/// Messages in a history have two more fields than in other answers.
mod history {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::protocol::Message;

    #[derive(Serialize)]
    struct Stored<'a> {
        r#type: &'static str,
        catchup: bool,
        #[serde(flatten)]
        message: &'a Message,
    }

    pub(super) fn serialize<S: Serializer>(
        history: &[Arc<Message>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(history.iter().map(|message| Stored {
            r#type: "message",
            catchup: false,
            message,
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Arc<Message>>, D::Error> {
        Vec::deserialize(deserializer)
    }
}
