//! Events: what listeners receive (contract §7).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::append::Append;
use super::growth::Growth;
use super::message::{Delete, Edit, Message};
use super::reply::{Changed, UserView};
use super::scalar::UserState;
use super::timestamp::DateTime;
#[cfg(feature = "state")]
use super::{message::Address, payload::Payload};

/// One event. It is cheap to clone, because its contents are shared.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message was posted.
    Message(Arc<Message>),
    /// A message was edited.
    Edit(Arc<Edit>),
    /// A growing message has grown.
    Append(Arc<Append>),
    /// A message was deleted.
    Delete(Arc<Delete>),
    /// A user joined or parted.
    Presence(Arc<Presence>),
    /// A user's state changed.
    UserStateChange(Arc<UserStateChange>),
    /// Events are lost. Only for listeners that hold a cursor; never stored (contract §14).
    Gap(Arc<Gap>),
    /// Where a listener stands that holds no cursor yet; never stored (contract §14).
    Cursor,
}

/// Events of one channel, or private ones, that cannot be recovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The channel; `None` for private events.
    pub channel: Option<Arc<str>>,
    /// Why they are lost.
    pub reason: GapReason,
}

/// Why events cannot be recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// They are no longer stored, or never were.
    Evicted,
    /// The cursor belongs to another life of the server.
    Epoch,
    /// The user was away for longer than the server remembers memberships.
    Window,
}

/// The two kinds of presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The first connection of the user entered the channel.
    Joined,
    /// The last one left it.
    Parted,
}

/// A user joined or parted.
#[derive(Clone, Debug)]
pub struct Presence {
    /// The id of the event.
    pub uuid: Uuid,
    /// The user.
    pub user: Arc<str>,
    /// The channel.
    pub channel: Arc<str>,
    /// The time of the event.
    pub timestamp: DateTime,
    /// Whether the user joined or parted.
    pub action: Action,
    /// The users who are present now, if the channel sends such lists.
    pub users: Vec<UserView>,
    /// The public state of the user who joined.
    pub state: Option<Arc<UserState>>,
}

/// A user's state changed.
#[derive(Clone, Debug)]
pub struct UserStateChange {
    /// The id of the event.
    pub uuid: Uuid,
    /// The user.
    pub user: Arc<str>,
    /// The channel that receives the event.
    pub channel: Arc<str>,
    /// The time of the event.
    pub timestamp: DateTime,
    /// The whole public state now.
    pub state: Arc<UserState>,
    /// The public keys that changed.
    pub changed: Arc<Vec<Changed>>,
}

impl Event {
    /// Returns the event as one JSON object. `catchup` is `true` for a listener that was away.
    pub fn encode(&self, catchup: bool) -> String {
        let mut object = JsonObject::new();
        match self {
            Self::Message(message) => {
                object.put("uuid", &message.uuid);
                object.put("type", "message");
                object.put("user", &message.user);
                object.put("channel", &message.address.channel);
                if let Some(payload) = &message.payload {
                    object.put("message", payload);
                }
                object.put("timestamp", &message.timestamp.in_event());
                object.put("edited", &message.edited.map(DateTime::in_event));
                object.put("catchup", &catchup);
                if let Some(expires_at) = message.expires_at {
                    object.put("expires_at", &expires_at.in_event());
                }
                object.put_growth(message.growth);
            }
            Self::Edit(edit) => {
                object.put("uuid", &edit.uuid);
                object.put("type", "message:edit");
                object.put("channel", &edit.address.channel);
                if let Some(user) = &edit.user {
                    object.put("user", user);
                }
                if let Some(payload) = &edit.payload {
                    object.put("message", payload);
                }
                if let Some(timestamp) = edit.timestamp {
                    object.put("timestamp", &timestamp.in_event());
                }
                object.put("edited", &edit.edited.map(DateTime::in_event));
                // Live edits and deletes have no such key.
                if catchup {
                    object.put("catchup", &true);
                }
                object.put_growth(edit.growth);
            }
            Self::Append(append) => {
                object.put("type", "message:append");
                object.put("uuid", &append.uuid);
                object.put("channel", &append.channel);
                object.put("append", &append.append);
                object.put("from", &append.from);
                object.put("rev", &append.rev);
                if let Some(status) = append.status {
                    object.put("status", &status);
                }
                if catchup {
                    object.put("catchup", &true);
                }
            }
            Self::Delete(delete) => {
                object.put("uuid", &delete.uuid);
                object.put("type", "message:delete");
                object.put("channel", &delete.address.channel);
                if catchup {
                    object.put("catchup", &true);
                }
            }
            Self::Presence(presence) => {
                object.put("uuid", &presence.uuid);
                object.put("type", "presence");
                object.put("user", &presence.user);
                object.put("channel", &presence.channel);
                object.put("timestamp", &presence.timestamp.in_event());
                object.put("catchup", &catchup);
                object.put("message", &Acted { action: presence.action });
                object.put("users", &presence.users);
                object.put("state", &presence.state);
            }
            Self::UserStateChange(change) => {
                object.put("uuid", &change.uuid);
                object.put("type", "user_state_change");
                object.put("user", &change.user);
                object.put("channel", &change.channel);
                object.put("timestamp", &change.timestamp.in_event());
                object.put("catchup", &catchup);
                let message = StateChanged { state: &change.state, changed: &change.changed };
                object.put("message", &message);
            }
            Self::Gap(gap) => {
                object.put("type", "gap");
                if let Some(channel) = &gap.channel {
                    object.put("channel", channel);
                }
                object.put("reason", &gap.reason);
            }
            Self::Cursor => object.put("type", "cursor"),
        }
        object.end()
    }

    /// Returns about how many bytes it takes to store and to encode the event.
    #[cfg(feature = "state")]
    pub(crate) fn size(&self) -> usize {
        /// What every event has: ids, times, keys and the allocations that hold them.
        const COMMON: usize = 256;
        // A private event is stored for each of its users, who share one address.
        let of_address = |address: &Address| match &address.channel {
            None => 0,
            Some(channel) => {
                let names = address.pm_users.iter().chain(&address.exclude_users);
                channel.len() + names.map(|name| name.len() + size_of::<String>()).sum::<usize>()
            }
        };
        let of_payload = |payload: &Option<Payload>| payload.as_ref().map_or(0, |p| p.get().len());
        let of_state = |state: &UserState| -> usize {
            state.iter().map(|(key, value)| key.len() + value.json().len() + 32).sum()
        };
        COMMON
            + match self {
                Self::Message(message) => {
                    of_address(&message.address) + of_payload(&message.payload)
                }
                Self::Edit(edit) => of_address(&edit.address) + of_payload(&edit.payload),
                Self::Delete(delete) => of_address(&delete.address),
                Self::Presence(presence) => {
                    presence.users.iter().map(|view| of_state(&view.state) + 64).sum::<usize>()
                        + presence.state.as_ref().map_or(0, |state| of_state(state))
                }
                Self::UserStateChange(change) => 2 * of_state(&change.state),
                Self::Append(append) => {
                    append.append.iter().map(|(key, piece)| key.len() + piece.json().len()).sum()
                }
                Self::Gap(_) | Self::Cursor => 0,
            }
    }

    /// Returns `true` if the event is a message that may grow.
    #[cfg(feature = "state")]
    pub(crate) fn may_grow(&self) -> bool {
        matches!(self, Self::Message(message) if message.growth.is_some_and(|growth| growth.is_open()))
    }

    /// Returns `true` if `user`, as a member of the place it is sent to, receives the event.
    #[cfg(feature = "state")]
    pub(crate) fn is_for(&self, user: &str) -> bool {
        match self {
            Self::Message(message) => message.address.includes(user),
            Self::Edit(edit) => edit.address.includes(user),
            Self::Delete(delete) => delete.address.includes(user),
            Self::Presence(presence) => &*presence.user != user,
            // Whoever the message is for receives what is appended to it, and nobody stores appends.
            Self::UserStateChange(_) | Self::Append(_) | Self::Gap(_) | Self::Cursor => true,
        }
    }
}

/// A JSON object while it is written. Its keys are our own and need no escaping, which would be a
/// large part of the cost.
struct JsonObject(Vec<u8>);

impl JsonObject {
    fn new() -> Self {
        /// Room for a common message, so that the buffer seldom grows.
        const COMMON: usize = 512;
        let mut json = Vec::with_capacity(COMMON);
        json.push(b'{');
        Self(json)
    }

    fn put(&mut self, key: &'static str, value: &(impl Serialize + ?Sized)) {
        let Self(json) = self;
        json.extend_from_slice(if json.len() > 1 { b",\"" } else { b"\"" });
        json.extend_from_slice(key.as_bytes());
        json.extend_from_slice(b"\":");
        serde_json::to_writer(json, value).expect("events hold texts, numbers and JSON only");
    }

    fn put_growth(&mut self, growth: Option<Growth>) {
        if let Some(Growth { status, rev }) = growth {
            self.put("status", &status);
            self.put("rev", &rev);
        }
    }

    fn end(self) -> String {
        let Self(mut json) = self;
        json.push(b'}');
        String::from_utf8(json).expect("JSON is UTF-8")
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
