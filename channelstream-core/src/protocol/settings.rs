//! The settings of a channel: six switches and their defaults (contract §1).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fault::Fault;
use super::read::{Object, boolean, size};

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
        let default = Self::default();
        let mut object = Object::open(raw)?;
        let settings = Self {
            notify_presence: object.optional("notify_presence", boolean).unwrap_or(false),
            broadcast_presence_with_user_lists: object
                .optional("broadcast_presence_with_user_lists", boolean)
                .unwrap_or(false),
            notify_state: object.optional("notify_state", boolean).unwrap_or(false),
            store_history: object.optional("store_history", boolean).unwrap_or(false),
            history_size: object.optional("history_size", size).unwrap_or(default.history_size),
            store_frames: object.optional("store_frames", boolean).unwrap_or(true),
        };
        object.finish(settings).map_err(Fault::Inner)
    }
}
