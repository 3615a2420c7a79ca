//! Bodies of answers: written by the server, read by the client (contract §4, §5, §10).

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::message::Message;
use super::scalar::{Scalar, UserState};
use super::settings::ChannelSettings;
use super::timestamp::DateTime;

/// Answer of `/connect`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Connected {
    /// The connection: what a browser needs to listen.
    pub conn_id: Uuid,
    /// Whose it is.
    pub username: Arc<str>,
    /// The user's full state.
    pub state: Arc<UserState>,
    /// The part that others may see.
    pub public_state: Arc<UserState>,
    /// The channels asked for, sorted.
    pub channels: Vec<String>,
    /// About these channels.
    pub channels_info: ChannelsInfo,
}

/// Answer of `/subscribe`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Subscribed {
    /// All channels of the connection, sorted.
    pub channels: Vec<Arc<str>>,
    /// About these channels.
    pub channels_info: ChannelsInfo,
    /// Those that are new to it, sorted.
    pub subscribed_to: Vec<Arc<str>>,
}

/// Answer of `/unsubscribe`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unsubscribed {
    /// All channels of the connection, sorted.
    pub channels: Vec<Arc<str>>,
    /// About these channels.
    pub channels_info: ChannelsInfo,
    /// Those that it was in and left, sorted.
    pub unsubscribed_from: Vec<Arc<str>>,
}

/// Answer of `POST /message` about one message.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Posted {
    /// The message as it was taken, with everything filled in.
    #[serde(flatten)]
    pub taken: Arc<Message>,
    /// What became of it.
    #[serde(flatten)]
    pub receipt: Receipt,
}

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

/// Its parts lie on one level, which a raw payload and a flattened part cannot be read from at once.
impl<'de> Deserialize<'de> for Posted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let taken = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        let receipt = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        Ok(Self { taken: Arc::new(taken), receipt })
    }
}

/// What became of a message. A server tells it to whom asks (`Prefer`, contract §14); what it does not
/// tell is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Receipt {
    /// The open sockets and waiting polls that it was sent to at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<u64>,
    /// Whether it was kept, in the history of the channel or for who catches up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<bool>,
    /// Why it went nowhere: `no address`, `no such channel` or `no such user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Cow<'static, str>>,
}

impl Receipt {
    /// It had neither a channel nor users.
    pub const NO_ADDRESS: &'static str = "no address";
    /// Its channel does not exist.
    pub const NO_CHANNEL: &'static str = "no such channel";
    /// None of its users exists.
    pub const NO_USER: &'static str = "no such user";

    pub(crate) fn nowhere(problem: &'static str) -> Self {
        Self { recipients: Some(0), stored: Some(false), problem: Some(problem.into()) }
    }
}

/// Answer of `/user_state`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserStateSet {
    /// The user's full state now.
    pub user_state: Arc<UserState>,
    /// What changed, in the order of the request.
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

/// Answer of `DELETE /channels`; each name once, sorted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelsDeleted {
    /// The channels that were there, and are no more.
    pub deleted: Vec<Arc<str>>,
    /// Those that were not there.
    pub unknown: Vec<Arc<str>>,
}

/// What is told of a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelView {
    /// Id of the channel; a channel that is created anew has another.
    pub uuid: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// Always null, as in the reference.
    pub long_name: Option<String>,
    /// Its settings.
    pub settings: ChannelSettings,
    /// Its stored messages, oldest first.
    #[serde(with = "history")]
    pub history: Vec<Arc<Message>>,
    /// How many of them there are, whether they are told or not; only if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_length: Option<usize>,
    /// The last message, event or creation.
    pub last_active: DateTime,
    /// Connections in it.
    pub total_connections: usize,
    /// Users listed.
    pub total_users: usize,
    /// Their names, sorted.
    pub users: Vec<Arc<str>>,
}

/// A user with state: full or public, as was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserView {
    /// The name.
    pub user: Arc<str>,
    /// The state.
    pub state: Arc<UserState>,
}

/// Answer of `/admin/admin.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdminStats {
    /// All users.
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
    /// How long the server has been running: `H:MM:SS`, or `1 day, H:MM:SS`.
    pub uptime: String,
    /// The server's version.
    pub version: String,
}

/// A user as the admin figures show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdminUser {
    /// The name.
    pub user: Arc<str>,
    /// Id of the user; one who was forgotten and comes again has another.
    pub uuid: Uuid,
    /// The public state.
    pub state: Arc<UserState>,
    /// The ids of the connections.
    pub connections: Vec<Uuid>,
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
