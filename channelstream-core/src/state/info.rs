//! Read-only views: channel information and the statistics of `/admin/admin.json` (contract §4, §10).

use std::sync::Arc;

use indexmap::IndexSet;
use indexmap::map::Entry;

use super::State;
use super::arena::Key;
use super::channel::Channel;
use super::user::User;
use crate::protocol::{
    AdminStats, AdminUser, ChannelView, ChannelsInfo, DateTime, InfoOptions, Message, UserView,
};

impl State {
    /// Returns channel information for `/info`: about all channels, or about those that are named and
    /// exist.
    pub fn info(&self, options: &InfoOptions) -> ChannelsInfo {
        let shown: Vec<_> = match &options.channels {
            None => self.channels.iter().map(|(key, _)| key).collect(),
            Some(names) => {
                names.iter().filter_map(|name| self.channel_names.get(&**name)).copied().collect()
            }
        };
        self.view(&shown, options)
    }

    /// Returns information about these channels, except those that the options exclude.
    pub(super) fn view(&self, shown: &[Key<Channel>], options: &InfoOptions) -> ChannelsInfo {
        let excluded: IndexSet<&str> =
            options.exclude_channels.iter().map(|name| &**name).collect();
        let mut info = ChannelsInfo::default();
        info.channels.reserve(shown.len());
        let mut users: Vec<Key<User>> = Vec::new();
        for key in shown {
            let channel = &self.channels[*key];
            if excluded.contains(&*channel.name) {
                continue;
            }
            let Entry::Vacant(place) = info.channels.entry(Arc::clone(&channel.name)) else {
                continue;
            };
            if options.include_users {
                users.extend(channel.members.keys());
            }
            place.insert(self.channel_view(channel, options));
        }
        users.sort_unstable();
        users.dedup();
        info.users = users
            .into_iter()
            .map(|key| {
                let user = &self.users[key];
                let state =
                    if options.return_public_state { &user.public_state } else { &user.state };
                UserView { user: Arc::clone(&user.name), state: Arc::clone(state) }
            })
            .collect();
        info
    }

    fn channel_view(&self, channel: &Channel, options: &InfoOptions) -> ChannelView {
        let mut users = Vec::new();
        if options.include_users {
            users.extend(channel.members.keys().map(|user| Arc::clone(&self.users[*user].name)));
            users.sort_unstable();
        }
        ChannelView {
            uuid: channel.uuid,
            name: Arc::clone(&channel.name),
            long_name: None,
            settings: channel.settings,
            history: if options.include_history { self.history(channel) } else { Vec::new() },
            history_length: options.include_history_length.then(|| channel.history.len()),
            last_active: DateTime::from(channel.last_active),
            total_connections: channel.connections,
            total_users: users.len(),
            users,
        }
    }

    /// Returns the stored messages of a channel as they are now, oldest first.
    fn history(&self, channel: &Channel) -> Vec<Arc<Message>> {
        channel.history.iter().map(|one| self.current(&one.message)).collect()
    }

    /// Returns the statistics of `/admin/admin.json`. The state does not know the uptime and the version
    /// of the server: both fields are empty.
    pub fn admin_stats(&self) -> AdminStats {
        let connected = self.users.iter().filter(|(_, user)| !user.connections.is_empty());
        let users: Vec<_> = connected
            .map(|(_, user)| AdminUser {
                user: Arc::clone(&user.name),
                uuid: user.uuid,
                state: Arc::clone(&user.public_state),
                connections: user
                    .connections
                    .iter()
                    .map(|key| self.connections[key].id.into())
                    .collect(),
            })
            .collect();
        AdminStats {
            remembered_user_count: self.users.len(),
            unique_user_count: users.len(),
            total_connections: self.connections.len(),
            total_channels: self.channels.len(),
            total_messages: self.messages_delivered,
            total_unique_messages: self.messages_posted,
            channels: self.info(&InfoOptions::default()).channels,
            users,
            uptime: String::new(),
            version: String::new(),
        }
    }
}
