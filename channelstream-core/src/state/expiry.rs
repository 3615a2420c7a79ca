//! Expiry: the deadlines of connections, users and channels, and what happens at them.

use std::collections::BTreeSet;

use super::arena::Key;
use super::channel::Channel;
use super::connection::{Connection, Phase};
use super::growing::Growing;
use super::time::Moment;
use super::user::User;
use super::{EndReason, State, Step, remove_entry};

/// Everything that has a deadline, the next one first. A connection with a listener, a user with
/// connections and a channel with members have none.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Moment, Due)>);

/// The most that one step expires, counted in answers, users, channels, connections and their channels:
/// some milliseconds of work. The rest stays due and expires with the next envelopes.
pub(super) const PORTION: usize = 1000;

/// So many bytes of an edit are as much work as one of a portion.
const BYTES: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Connection(Key<Connection>),
    User(Key<User>),
    Channel(Key<Channel>),
    /// A growing message may be stalled.
    Growing(Key<Growing>),
    /// A growing message has to be sent as an edit.
    Edit(Key<Growing>),
    Fading(Fading),
}

/// Where something that is stored may be due to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fading {
    Channel(Key<Channel>),
    User(Key<User>),
}

impl Deadlines {
    pub(super) fn first(&self) -> Option<Moment> {
        self.0.first().map(|(when, _)| *when)
    }

    /// Moves `due` from the deadline in `place` to `when`, and updates `place`.
    fn set(&mut self, place: &mut Option<Moment>, when: Option<Moment>, due: Due) {
        if *place == when {
            return;
        }
        if let Some(before) = *place {
            self.0.remove(&(before, due));
        }
        if let Some(when) = when {
            self.0.insert((when, due));
        }
        *place = when;
    }

    /// Sets when to check whether a growing message is stalled.
    pub(super) fn set_stall(
        &mut self,
        place: &mut Option<Moment>,
        when: Option<Moment>,
        key: Key<Growing>,
    ) {
        self.set(place, when, Due::Growing(key));
    }

    /// Sets when something is due to leave.
    pub(super) fn set_fading(
        &mut self,
        place: &mut Option<Moment>,
        when: Option<Moment>,
        of: Fading,
    ) {
        self.set(place, when, Due::Fading(of));
    }

    /// Sets when something may be due to leave, unless that is checked earlier.
    pub(super) fn bring_forward(
        &mut self,
        place: &mut Option<Moment>,
        when: Option<Moment>,
        of: Fading,
    ) {
        if when.is_some_and(|when| place.is_none_or(|before| when < before)) {
            self.set_fading(place, when, of);
        }
    }

    /// Sets when a growing message is sent as an edit.
    pub(super) fn set_edit(
        &mut self,
        place: &mut Option<Moment>,
        when: Option<Moment>,
        key: Key<Growing>,
    ) {
        self.set(place, when, Due::Edit(key));
    }
}

impl State {
    /// Expires what is due, in the order of deadlines, but no more than a portion.
    pub(super) fn expire(&mut self, step: &mut Step) {
        self.expire_nodes(step);
        self.expire_waiting(step);
        let mut left = self.forget_repeats(PORTION);
        left = self.refused.expire(self.own_time.now(), left);
        while let Some(&(when, due)) = self.deadlines.0.first() {
            if when > self.own_time.now() || left == 0 {
                return;
            }
            left -= 1;
            self.deadlines.0.pop_first();
            match due {
                Due::Connection(key) => {
                    let connection = &mut self.connections[key];
                    left = left.saturating_sub(connection.channels.len());
                    connection.deadline = None;
                    self.end_connection(step, key, EndReason::Ended);
                }
                Due::User(key) => {
                    self.take_all_growing(key);
                    let fades = &mut self.users[key].fades;
                    self.deadlines.set(fades, None, Due::Fading(Fading::User(key)));
                    if let Some(user) = self.users.remove(key) {
                        remove_entry(&mut self.user_names, &user.name);
                    }
                }
                Due::Channel(key) => {
                    self.channels[key].deadline = None;
                    self.channel_is_due(key);
                }
                Due::Growing(key) => self.growing_is_due(step, key),
                Due::Edit(key) => {
                    let size = self.edit_is_due(step, key);
                    left = left.saturating_sub(size / BYTES);
                }
                Due::Fading(of) => left = left.min(self.fade(of, left + 1)),
            }
        }
    }

    /// Drops what is due somewhere, but no more than `left`. Returns how much more it could have been.
    fn fade(&mut self, of: Fading, left: usize) -> usize {
        match of {
            Fading::Channel(key) => {
                self.channels[key].fades = None;
                self.fade_channel(key, left)
            }
            Fading::User(key) => {
                self.users[key].fades = None;
                self.fade_user(key, left)
            }
        }
    }

    /// Removes a channel without members, unless something happened in it meanwhile.
    fn channel_is_due(&mut self, key: Key<Channel>) {
        let channel = &mut self.channels[key];
        let idle_until = channel.active.after(self.rules.channel_timeout);
        if idle_until > self.own_time.now() {
            self.deadlines.set(&mut channel.deadline, Some(idle_until), Due::Channel(key));
        } else {
            self.remove_channel(key);
        }
    }

    /// Removes a channel without members.
    pub(super) fn remove_channel(&mut self, key: Key<Channel>) {
        let Channel { deadline, fades, .. } = &mut self.channels[key];
        self.deadlines.set(deadline, None, Due::Channel(key));
        self.deadlines.set(fades, None, Due::Fading(Fading::Channel(key)));
        self.drop_all_growing(key);
        if let Some(channel) = self.channels.remove(key) {
            remove_entry(&mut self.channel_names, &channel.name);
        }
    }

    /// Restarts the timeout of a connection that is in use.
    pub(super) fn connection_is_active(&mut self, key: Key<Connection>) {
        let connection = &mut self.connections[key];
        connection.phase = Phase::Alive;
        connection.since = self.own_time.now();
        self.watch_connection(key);
    }

    /// Sets the current deadline of a connection.
    pub(super) fn watch_connection(&mut self, key: Key<Connection>) {
        let connection = &mut self.connections[key];
        let when = connection.due(&self.rules, self.own_time.now());
        self.deadlines.set(&mut connection.deadline, when, Due::Connection(key));
    }

    pub(super) fn unwatch_connection(&mut self, key: Key<Connection>) {
        let deadline = &mut self.connections[key].deadline;
        self.deadlines.set(deadline, None, Due::Connection(key));
    }

    /// Restarts the timeout of a user who is in use and has no connections.
    pub(super) fn user_is_active(&mut self, key: Key<User>) {
        let now = self.own_time.now();
        let user = &mut self.users[key];
        let when = user.connections.is_empty().then(|| now.after(self.rules.user_timeout));
        self.deadlines.set(&mut user.deadline, when, Due::User(key));
    }

    /// Records activity in a channel.
    pub(super) fn channel_is_active(&mut self, key: Key<Channel>) {
        let channel = &mut self.channels[key];
        channel.last_active = self.now;
        channel.active = self.own_time.now();
    }

    /// Sets the deadline of a channel that was created or whose members changed. A message does not move
    /// the deadline: activity is checked when it is due.
    pub(super) fn watch_channel(&mut self, key: Key<Channel>) {
        let now = self.own_time.now();
        let channel = &mut self.channels[key];
        let when = channel.members.is_empty().then(|| now.after(self.rules.channel_timeout));
        self.deadlines.set(&mut channel.deadline, when, Due::Channel(key));
    }

    /// Collects the deadlines of everything, for a state that was just restored.
    pub(super) fn collect_deadlines(&mut self) {
        let connections =
            self.connections.iter().map(|(key, value)| (value.deadline, Due::Connection(key)));
        let users = self.users.iter().map(|(key, value)| (value.deadline, Due::User(key)));
        let channels = self.channels.iter().map(|(key, value)| (value.deadline, Due::Channel(key)));
        let growing = self.growing.iter().flat_map(|(key, value)| {
            [(value.deadline(), Due::Growing(key)), (value.edit_deadline(), Due::Edit(key))]
        });
        let fading_users =
            self.users.iter().map(|(key, user)| (user.fades, Due::Fading(Fading::User(key))));
        let fading = self
            .channels
            .iter()
            .map(|(key, channel)| (channel.fades, Due::Fading(Fading::Channel(key))))
            .chain(fading_users);
        let all = connections.chain(users).chain(channels).chain(growing).chain(fading);
        self.deadlines =
            Deadlines(all.filter_map(|(when, due)| when.map(|when| (when, due))).collect());
    }
}
