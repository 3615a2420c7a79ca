//! Membership: connections begin, join channels, leave them and end; presence reports it.

use std::sync::Arc;

use super::arena::Key;
use super::catchup::Record;
use super::channel::Channel;
use super::connection::{Connection, Phase};
use super::expiry::PORTION;
use super::user::{PRIVATE, User};
use super::{ConnectionId, EndReason, Notice, Refusal, Sequence, State, Step, remove_entry};
use crate::protocol::{
    Action, ChannelsInfo, Configure, Connect, Connected, DateTime, Event, InfoOptions, Presence,
    Subscribe, Subscribed, Unsubscribe, Unsubscribed, UserView,
};

impl State {
    pub(super) fn connect(
        &mut self,
        step: &mut Step,
        id: ConnectionId,
        request: Connect,
    ) -> Result<Connected, Refusal> {
        self.admit_user(&request.username)?;
        let present = self.connection_present(step, id);
        if let Some(connection) = present {
            let owner = self.connections[connection].user;
            if *self.users[owner].name != *request.username {
                return Err(Refusal::ForeignConnection);
            }
        }
        let user = self.user_named(step, &request.username, request.fresh_user_state);
        self.users[user].set_public_keys(&request.state_public_keys);
        self.users[user].set_state(request.user_state);
        let connection = present.unwrap_or_else(|| self.add_connection(id, user));
        // Before it joins: a listener that begins here misses nothing.
        let sequence = self.connections[connection].record.whole();
        let cursor = self.cursor_at(sequence);
        let mut channels = request.channels;
        channels.sort_unstable();
        let mut shown: Vec<Key<Channel>> = Vec::with_capacity(channels.len());
        self.expect_channels(channels.len());
        for name in &channels {
            let channel = self.channel_named(step, name, request.channel_configs.get(name));
            self.join(step, connection, channel);
            if shown.last() != Some(&channel) {
                shown.push(channel);
            }
        }
        self.connection_is_active(connection);
        let user = &self.users[user];
        Ok(Connected {
            conn_id: id.into(),
            username: Arc::clone(&user.name),
            state: Arc::clone(&user.state),
            public_state: Arc::clone(&user.public_state),
            channels,
            channels_info: self.view(&shown, &request.info),
            cursor: Some(cursor),
        })
    }

    /// Returns the connection of this id, unless it was ended. An ended connection stays ended: the rest
    /// of it is removed before the id is used again.
    fn connection_present(&mut self, step: &mut Step, id: ConnectionId) -> Option<Key<Connection>> {
        let key = *self.connection_ids.get(&id)?;
        if self.connections[key].phase == Phase::Ended {
            self.end_connection(step, key, EndReason::Ended);
            return None;
        }
        Some(key)
    }

    fn add_connection(&mut self, id: ConnectionId, user: Key<User>) -> Key<Connection> {
        let present = &mut self.users[user];
        if present.connections.is_empty() {
            let resumed = present.resume(PRIVATE, self.own_time.now());
            present.began = resumed.unwrap_or(self.sequence);
        }
        let key = self.connections.insert(Connection {
            id,
            user,
            channels: Default::default(),
            listener: None,
            created: self.sequence,
            record: Record::at(self.sequence),
            phase: Phase::Alive,
            since: self.own_time.now(),
            deadline: None,
        });
        self.connection_ids.insert(id, key);
        self.users[user].connections.insert(key);
        self.user_is_active(user);
        key
    }

    pub(super) fn subscribe(
        &mut self,
        step: &mut Step,
        request: &Subscribe,
    ) -> Result<Subscribed, Refusal> {
        let connection = *self
            .connection_ids
            .get(&ConnectionId::from(request.conn_id))
            .ok_or(Refusal::UnknownConnection)?;
        let mut subscribed_to = Vec::new();
        self.expect_channels(request.channels.len());
        for name in &request.channels {
            let channel = self.channel_named(step, name, request.channel_configs.get(name));
            if self.join(step, connection, channel) {
                subscribed_to.push(Arc::clone(&self.channels[channel].name));
            }
        }
        self.watch_connection(connection);
        subscribed_to.sort_unstable();
        let (channels, channels_info) = self.channels_of(connection, &request.info);
        Ok(Subscribed { channels, channels_info, subscribed_to })
    }

    pub(super) fn unsubscribe(
        &mut self,
        step: &mut Step,
        request: &Unsubscribe,
    ) -> Result<Unsubscribed, Refusal> {
        let connection = *self
            .connection_ids
            .get(&ConnectionId::from(request.conn_id))
            .ok_or(Refusal::UnknownConnection)?;
        let mut unsubscribed_from = Vec::new();
        for name in &request.channels {
            let Some(&channel) = self.channel_names.get(&**name) else { continue };
            if !self.connections[connection].channels.remove(channel) {
                continue;
            }
            unsubscribed_from.push(Arc::clone(&self.channels[channel].name));
            self.leave(step, connection, channel);
        }
        self.watch_connection(connection);
        unsubscribed_from.sort_unstable();
        let (channels, channels_info) = self.channels_of(connection, &request.info);
        Ok(Unsubscribed { channels, channels_info, unsubscribed_from })
    }

    pub(super) fn configure(&mut self, step: &mut Step, request: &Configure) -> ChannelsInfo {
        let mut shown = Vec::with_capacity(request.channels.len());
        self.expect_channels(request.channels.len());
        // What is left then is due at once.
        let mut left = PORTION;
        for (name, settings) in &request.channels {
            let channel = self.channel_named(step, name, settings.as_ref());
            if let Some(settings) = settings {
                self.channels[channel].settings = settings.over(self.rules.settings_for(name));
                left = self.fade_channel(channel, left);
            }
            if self.channels[channel].deadline.is_none() {
                self.watch_channel(channel);
            }
            shown.push(channel);
        }
        let options =
            InfoOptions { include_history: false, include_users: false, ..InfoOptions::default() };
        self.view(&shown, &options)
    }

    pub(super) fn disconnect(&mut self, id: ConnectionId) -> bool {
        let Some(&key) = self.connection_ids.get(&id) else { return false };
        let now = self.own_time.now();
        let connection = &mut self.connections[key];
        if connection.phase != Phase::Ended {
            connection.phase = Phase::Ended;
            connection.since = now;
            self.watch_connection(key);
        }
        true
    }

    /// Returns the channels of a connection by name, with the information that `options` select.
    fn channels_of(
        &self,
        connection: Key<Connection>,
        options: &InfoOptions,
    ) -> (Vec<Arc<str>>, ChannelsInfo) {
        let channels = self.connections[connection].channels.iter();
        let mut channels: Vec<_> = channels.map(|key| (&self.channels[key].name, key)).collect();
        channels.sort_unstable_by_key(|(name, _)| *name);
        let names = channels.iter().map(|(name, _)| Arc::clone(name)).collect();
        let channels: Vec<_> = channels.into_iter().map(|(_, key)| key).collect();
        (names, self.view(&channels, options))
    }

    /// Joins a channel. Returns `true` if the connection was not in it.
    fn join(
        &mut self,
        step: &mut Step,
        connection: Key<Connection>,
        channel: Key<Channel>,
    ) -> bool {
        let joining = &mut self.connections[connection];
        if !joining.channels.insert(channel) {
            return false;
        }
        let user = joining.user;
        let Channel { number, .. } = self.channels[channel];
        let (latest, now) = (self.sequence, self.own_time.now());
        let first_of_user = self.channels[channel]
            .add(user, connection, || self.users[user].resume(number, now).unwrap_or(latest));
        self.listens_in(connection, channel);
        self.watch_channel(channel);
        if first_of_user {
            self.notice_joined(step, user, channel);
            self.tell_presence(step, user, channel, Action::Joined);
        }
        true
    }

    /// Removes a connection from a channel that it no longer lists itself. Returns the beginning of the
    /// user's membership if it ends with that.
    pub(super) fn leave(
        &mut self,
        step: &mut Step,
        connection: Key<Connection>,
        channel: Key<Channel>,
    ) -> Option<Sequence> {
        let user = self.connections[connection].user;
        self.listens_no_more_in(connection, channel);
        let ended = self.channels[channel].remove(user, connection);
        if ended.is_some() {
            self.notice_parted(step, user, channel);
            self.tell_presence(step, user, channel, Action::Parted);
        }
        self.watch_channel(channel);
        ended
    }

    fn tell_presence(
        &mut self,
        step: &mut Step,
        user: Key<User>,
        channel: Key<Channel>,
        action: Action,
    ) {
        let place = &self.channels[channel];
        if !place.settings.notify_presence {
            return;
        }
        let view = |user: &User| UserView {
            user: Arc::clone(&user.name),
            state: Arc::clone(&user.public_state),
        };
        let users = if place.settings.broadcast_presence_with_user_lists {
            place.members.keys().map(|member| view(&self.users[*member])).collect()
        } else {
            Vec::new()
        };
        let who = &self.users[user];
        let presence = Presence {
            uuid: step.id(),
            user: Arc::clone(&who.name),
            channel: Arc::clone(&place.name),
            timestamp: DateTime::from(self.now),
            action,
            users,
            state: (action == Action::Joined).then(|| Arc::clone(&who.public_state)),
        };
        self.send(step, channel, &Event::Presence(Arc::new(presence)));
    }

    /// Ends a connection for good: it leaves its channels in order of their creation.
    pub(super) fn end_connection(&mut self, step: &mut Step, key: Key<Connection>, why: EndReason) {
        self.unwatch_connection(key);
        let connection = &mut self.connections[key];
        let mut channels: Vec<_> = std::mem::take(&mut connection.channels).iter().collect();
        let (id, user, listener) = (connection.id, connection.user, connection.listener);
        // Who was disconnected does not come back; who fell silent may.
        let window = self.rules.recovery_window;
        let phase = connection.phase;
        let remembers = phase != Phase::Ended && !window.is_zero();
        let now = self.own_time.now();
        self.users[user].forget_memberships(now);
        channels.sort_unstable_by_key(|channel| self.channels[*channel].number);
        for channel in channels {
            let ended = self.leave(step, key, channel);
            if let Some(began) = ended.filter(|_| remembers) {
                let number = self.channels[channel].number;
                self.users[user].remember(number, began, now.after(window));
            }
        }
        self.waits_no_more(key);
        self.connections.remove(key);
        remove_entry(&mut self.connection_ids, &id);
        let who = &mut self.users[user];
        who.connections.remove(key);
        let left = who.connections.len();
        self.notice(step, |state| Notice::Ended {
            user: Arc::clone(&state.users[user].name),
            why: phase.into(),
            left,
        });
        let who = &mut self.users[user];
        if remembers && who.connections.is_empty() {
            who.remember(PRIVATE, who.began, now.after(window));
        }
        if let Some(listener) = listener {
            self.end_listener(step, listener, why);
        }
        self.user_is_active(user);
    }
}
