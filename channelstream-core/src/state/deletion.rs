//! Channels are deleted: their members part, and history and stored events are gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::keys::Keys;
use super::{State, Step};
use crate::protocol::{ChannelsDeleted, DeleteChannels};

/// Of larger channels nobody is told who parts: it would be told to each who has yet to part, so half
/// as many times as the square of the members, and fill the outboxes of all of them.
const TOLD_AT_MOST: usize = 100;

impl State {
    pub(super) fn delete_channels(
        &mut self,
        step: &mut Step,
        request: &DeleteChannels,
    ) -> ChannelsDeleted {
        let names: BTreeSet<&str> = request.channels.iter().map(String::as_str).collect();
        let mut answer = ChannelsDeleted::default();
        let mut channels = BTreeSet::new();
        let mut parted = BTreeSet::new();
        for name in names {
            let Some(&key) = self.channel_names.get(name) else {
                answer.unknown.push(Arc::from(name));
                continue;
            };
            let channel = &mut self.channels[key];
            answer.deleted.push(Arc::clone(&channel.name));
            if channel.members.len() > TOLD_AT_MOST {
                channel.settings.notify_presence = false;
            }
            let members: Vec<_> = channel.members.values().flat_map(Keys::iter).collect();
            for connection in members {
                self.leave(step, connection, key);
                self.connections[connection].channels.remove(key);
                parted.insert(connection);
            }
            channels.insert(key);
        }
        for connection in parted {
            self.watch_connection(connection);
        }
        for key in channels {
            self.remove_channel(key);
        }
        answer
    }
}
