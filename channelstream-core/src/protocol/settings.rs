//! The settings of a channel with their defaults, in whole or in part (contract §1).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::read::{Boolean, Inner, Object, Size};

/// The settings of a channel.
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
    /// How many messages the history keeps.
    pub history_size: u64,
    /// Store events for catch-up.
    pub store_frames: bool,
    /// How many events are stored, if not as many as the server's settings say (contract §14).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames_size: Option<u64>,
    /// Send `message:edit` with the whole payload instead of appends. `None`, as `false`, if it was never
    /// set: answers have it only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append_as_edit: Option<bool>,
    /// The seconds after which messages and stored events leave the channel; `None` or 0: never. Answers have
    /// it only if it was set (contract §14).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_ttl: Option<u64>,
}

impl ChannelSettings {
    /// Returns the age at which messages and stored events leave the channel, if they do.
    pub fn lifetime(&self) -> Option<Duration> {
        self.history_ttl.filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }
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
            frames_size: None,
            append_as_edit: None,
            history_ttl: None,
        }
    }
}

/// Some settings of a channel. For the others the defaults of the channel count.
///
/// ```
/// use channelstream_core::protocol::{ChannelConfig, ChannelSettings};
///
/// let given = ChannelConfig { history_size: Some(50), ..ChannelConfig::default() };
/// let settings = given.over(ChannelSettings { store_history: true, ..ChannelSettings::default() });
/// assert!(settings.store_history && settings.history_size == 50);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelConfig {
    /// Send `presence` when a user joins or parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_presence: Option<bool>,
    /// Put the list of present users into `presence`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broadcast_presence_with_user_lists: Option<bool>,
    /// Send `user_state_change`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_state: Option<bool>,
    /// Keep messages in the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_history: Option<bool>,
    /// How many messages the history keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_size: Option<u64>,
    /// Store events for catch-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_frames: Option<bool>,
    /// How many events are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames_size: Option<u64>,
    /// Send `message:edit` with the whole payload instead of appends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append_as_edit: Option<bool>,
    /// The seconds after which messages and stored events leave the channel; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_ttl: Option<u64>,
}

impl From<ChannelSettings> for ChannelConfig {
    fn from(all: ChannelSettings) -> Self {
        Self {
            notify_presence: Some(all.notify_presence),
            broadcast_presence_with_user_lists: Some(all.broadcast_presence_with_user_lists),
            notify_state: Some(all.notify_state),
            store_history: Some(all.store_history),
            history_size: Some(all.history_size),
            store_frames: Some(all.store_frames),
            frames_size: all.frames_size,
            append_as_edit: all.append_as_edit,
            history_ttl: all.history_ttl,
        }
    }
}

impl ChannelConfig {
    /// Returns all settings, with `defaults` for those that are absent.
    #[must_use]
    pub fn over(self, defaults: ChannelSettings) -> ChannelSettings {
        ChannelSettings {
            notify_presence: self.notify_presence.unwrap_or(defaults.notify_presence),
            broadcast_presence_with_user_lists: self
                .broadcast_presence_with_user_lists
                .unwrap_or(defaults.broadcast_presence_with_user_lists),
            notify_state: self.notify_state.unwrap_or(defaults.notify_state),
            store_history: self.store_history.unwrap_or(defaults.store_history),
            history_size: self.history_size.unwrap_or(defaults.history_size),
            store_frames: self.store_frames.unwrap_or(defaults.store_frames),
            frames_size: self.frames_size.or(defaults.frames_size),
            append_as_edit: self.append_as_edit.or(defaults.append_as_edit),
            history_ttl: self.history_ttl.or(defaults.history_ttl),
        }
    }

    /// The form of settings.
    pub(super) const FORM: Inner<Self> = Inner::named("ChannelConfigBody", Self::fields);

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self {
            notify_presence: object.optional("notify_presence", Boolean),
            broadcast_presence_with_user_lists: object
                .optional("broadcast_presence_with_user_lists", Boolean),
            notify_state: object.optional("notify_state", Boolean),
            store_history: object.optional("store_history", Boolean),
            history_size: object.optional("history_size", Size),
            store_frames: object.optional("store_frames", Boolean),
            frames_size: object.optional("frames_size", Size),
            append_as_edit: object.optional("append_as_edit", Boolean),
            history_ttl: object.optional("history_ttl", Size),
        }
    }
}
