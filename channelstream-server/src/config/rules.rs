//! The rules of the state, as the settings say them.

use std::time::Duration;

use channelstream_core::state::{Keep, Rules};

use super::Config;

impl Config {
    /// Returns the rules that the state follows.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            connection_timeout: self.gc_conns_after,
            waiting_timeout: self.gc_waiting_conns_after,
            user_timeout: self.gc_users_after,
            channel_timeout: self.gc_channels_after,
            channel_events: Keep { events: self.stored_frames, bytes: self.stored_bytes },
            user_events: Keep { events: self.stored_private_frames, bytes: self.stored_bytes },
            recovery_window: self.recovery_window,
            idempotency_window: self.idempotency_window,
            idempotency_keys: self.max_idempotency_keys,
            idempotency_bytes: self.max_idempotency_bytes,
            channel_defaults: self.channel_defaults.clone(),
            append_timeout: self.append_timeout,
            stalled_timeout: self.stalled_timeout,
            max_growing_size: self.max_growing_size,
            max_growing_items: self.max_growing_items,
            max_open_messages: self.max_open_messages,
            longest_step: if self.test_clock {
                Duration::MAX
            } else {
                Rules::default().longest_step
            },
            ..Rules::default()
        }
    }
}
