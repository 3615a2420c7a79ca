//! The settings of a channel: six switches and their defaults (contract §1).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fault::Fault;
use super::read::{Boolean, Form as _, Inner, Object, Size};

/// How a channel behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelSettings {
    /// Send `presence` when a user joins or parts.
    pub notify_presence: bool,
    /// Put the list of present users into `presence`.
    pub broadcast_presence_with_user_lists: bool,
    /// Send `user_state_change`.
    pub notify_state: bool,
    /// Keep messages in the history.
    pub store_history: bool,
    /// How many messages the history keeps; 0 keeps none.
    pub history_size: u64,
    /// Keep frames for catch-up.
    pub store_frames: bool,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            notify_presence: false,
            broadcast_presence_with_user_lists: false,
            notify_state: false,
            store_history: false,
            history_size: 10,
            store_frames: true,
        }
    }
}

impl ChannelSettings {
    /// Reads settings; what is left out gets its default.
    pub(super) fn read(raw: &RawValue) -> Result<Self, Fault> {
        Self::FORM.read(raw)
    }

    /// The form of settings.
    pub(super) const FORM: Inner<Self> = Inner::named("ChannelConfigBody", Self::fields);

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        let default = Self::default();
        Self {
            notify_presence: object.optional("notify_presence", Boolean).unwrap_or(false),
            broadcast_presence_with_user_lists: object
                .optional("broadcast_presence_with_user_lists", Boolean)
                .unwrap_or(false),
            notify_state: object.optional("notify_state", Boolean).unwrap_or(false),
            store_history: object.optional("store_history", Boolean).unwrap_or(false),
            history_size: object.optional("history_size", Size).unwrap_or(default.history_size),
            store_frames: object.optional("store_frames", Boolean).unwrap_or(true),
        }
    }
}
