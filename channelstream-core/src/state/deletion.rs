//! Deletes channels: their members part, and history and stored events are removed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{State, Step};
use crate::protocol::{ChannelsDeleted, DeleteChannels};

/// The most members of a channel whose parting is reported. Each parting is sent to all members that
/// have yet to part: half the square of the members, which would fill their outboxes.
const MOST_REPORTED: usize = 100;

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
            if channel.members.len() > MOST_REPORTED {
                channel.settings.notify_presence = false;
            }
            let members: Vec<_> =
                channel.members.values().flat_map(|member| member.connections.iter()).collect();
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
