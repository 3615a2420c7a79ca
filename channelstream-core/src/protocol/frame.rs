//! Event frames: what listeners receive (contract §7).

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::message::{Delete, Edit, Message};
use super::reply::{Changed, UserView};
use super::scalar::UserState;
use super::timestamp::DateTime;

/// One event. Cheap to clone: what it tells is shared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Frame {
    /// A message was posted.
    Message(Arc<Message>),
    /// A message was edited.
    Edit(Arc<Edit>),
    /// A message was deleted.
    Delete(Arc<Delete>),
    /// A user joined or parted.
    Presence(Arc<Presence>),
    /// A user's state changed.
    UserStateChange(Arc<UserStateChange>),
}

/// Whether a user came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The first connection of the user entered the channel.
    Joined,
    /// The last one left it.
    Parted,
}

/// A user joined or parted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Presence {
    /// Id of the event.
    pub uuid: Uuid,
    /// Who.
    pub user: Arc<str>,
    /// Where.
    pub channel: Arc<str>,
    /// When.
    pub timestamp: DateTime,
    /// Whether it was joining or parting.
    pub action: Action,
    /// Who is present now, if the channel sends such lists.
    pub users: Vec<UserView>,
    /// The public state of who joined.
    pub state: Option<Arc<UserState>>,
}

/// A user's state changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserStateChange {
    /// Id of the event.
    pub uuid: Uuid,
    /// Whose.
    pub user: Arc<str>,
    /// In which channel this is told.
    pub channel: Arc<str>,
    /// When.
    pub timestamp: DateTime,
    /// The whole public state now.
    pub state: Arc<UserState>,
    /// The public keys that changed.
    pub changed: Arc<Vec<Changed>>,
}

impl Frame {
    /// The frame as one JSON object, as it is sent live or, with `catchup`, afterwards.
    pub fn encode(&self, catchup: bool) -> String {
        /// Room for a common message at once, rather than by growing.
        const COMMON: usize = 512;
        let mut json = Vec::with_capacity(COMMON);
        serde_json::to_writer(&mut json, &Encoded { frame: self, catchup })
            .expect("frames hold texts, numbers and JSON only");
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    /// Whether `user`, being where the frame is sent, gets it.
    pub(crate) fn is_for(&self, user: &str) -> bool {
        match self {
            Self::Message(message) => message.address.includes(user),
            Self::Edit(edit) => edit.address.includes(user),
            Self::Delete(delete) => delete.address.includes(user),
            Self::Presence(presence) => &*presence.user != user,
            Self::UserStateChange(_) => true,
        }
    }
}

struct Encoded<'a> {
    frame: &'a Frame,
    catchup: bool,
}

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.frame {
            Frame::Message(message) => {
                map.serialize_entry("uuid", &message.uuid)?;
                map.serialize_entry("type", "message")?;
                map.serialize_entry("user", &message.user)?;
                map.serialize_entry("channel", &message.address.channel)?;
                if let Some(payload) = &message.message {
                    map.serialize_entry("message", payload)?;
                }
                map.serialize_entry("timestamp", &message.timestamp.in_frame())?;
                map.serialize_entry("edited", &message.edited.map(DateTime::in_frame))?;
                map.serialize_entry("catchup", &self.catchup)?;
            }
            Frame::Edit(edit) => {
                map.serialize_entry("uuid", &edit.uuid)?;
                map.serialize_entry("type", "message:edit")?;
                map.serialize_entry("channel", &edit.address.channel)?;
                if let Some(user) = &edit.user {
                    map.serialize_entry("user", user)?;
                }
                if let Some(payload) = &edit.message {
                    map.serialize_entry("message", payload)?;
                }
                if let Some(timestamp) = edit.timestamp {
                    map.serialize_entry("timestamp", &timestamp.in_frame())?;
                }
                map.serialize_entry("edited", &edit.edited.map(DateTime::in_frame))?;
                self.only_catchup::<S>(&mut map)?;
            }
            Frame::Delete(delete) => {
                map.serialize_entry("uuid", &delete.uuid)?;
                map.serialize_entry("type", "message:delete")?;
                map.serialize_entry("channel", &delete.address.channel)?;
                self.only_catchup::<S>(&mut map)?;
            }
            Frame::Presence(presence) => {
                map.serialize_entry("uuid", &presence.uuid)?;
                map.serialize_entry("type", "presence")?;
                map.serialize_entry("user", &presence.user)?;
                map.serialize_entry("channel", &presence.channel)?;
                map.serialize_entry("timestamp", &presence.timestamp.in_frame())?;
                map.serialize_entry("catchup", &self.catchup)?;
                map.serialize_entry("message", &Acted { action: presence.action })?;
                map.serialize_entry("users", &presence.users)?;
                map.serialize_entry("state", &presence.state)?;
            }
            Frame::UserStateChange(change) => {
                map.serialize_entry("uuid", &change.uuid)?;
                map.serialize_entry("type", "user_state_change")?;
                map.serialize_entry("user", &change.user)?;
                map.serialize_entry("channel", &change.channel)?;
                map.serialize_entry("timestamp", &change.timestamp.in_frame())?;
                map.serialize_entry("catchup", &self.catchup)?;
                let message = StateChanged { state: &change.state, changed: &change.changed };
                map.serialize_entry("message", &message)?;
            }
        }
        map.end()
    }
}

impl Encoded<'_> {
    /// Live edits and deletes have no such key.
    fn only_catchup<S: Serializer>(&self, map: &mut S::SerializeMap) -> Result<(), S::Error> {
        if self.catchup { map.serialize_entry("catchup", &true) } else { Ok(()) }
    }
}

#[derive(Serialize)]
struct Acted {
    action: Action,
}

#[derive(Serialize)]
struct StateChanged<'a> {
    state: &'a UserState,
    changed: &'a [Changed],
}
