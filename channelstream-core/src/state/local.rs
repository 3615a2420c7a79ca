//! The listeners of this node, by channel: those to whom an event of a channel is delivered.
//!
//! They follow from the connections and are no part of a snapshot. An event of a channel goes through
//! this list, not through the members: most of what a large channel costs is looking for listeners.

use std::hash::{BuildHasherDefault, DefaultHasher};

use super::arena::Key;
use super::channel::Channel;
use super::connection::{Connection, Listener};
use super::user::User;
use super::{ListenerId, NodeId, State};

/// The listeners of this node in a channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Local(Option<Box<Lists>>);

#[derive(Clone, Debug, Default)]
struct Lists {
    as_events: Set,
    /// Those that are sent edits instead of appends.
    as_edits: Set,
}

/// Listeners in any order. The server chooses their ids, so that nobody can make them collide.
#[expect(clippy::disallowed_types, reason = "no seed: its order is the same in each process")]
type Set = std::collections::HashSet<ListenerId, BuildHasherDefault<DefaultHasher>>;

impl Lists {
    fn list(&mut self, listener: Listener) -> &mut Set {
        if listener.as_edits { &mut self.as_edits } else { &mut self.as_events }
    }
}

impl Local {
    fn insert(&mut self, listener: Listener) {
        self.0.get_or_insert_default().list(listener).insert(listener.id);
    }

    fn remove(&mut self, listener: Listener) {
        let Some(lists) = &mut self.0 else { return };
        let list = lists.list(listener);
        list.remove(&listener.id);
        // Each publish looks at the places of those that have left, too.
        if list.len() < list.capacity() / 8 {
            list.shrink_to(list.len() * 2);
        }
        if lists.as_events.is_empty() && lists.as_edits.is_empty() {
            self.0 = None;
        }
    }
}

/// How many listeners there are in a channel, on all nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Listeners {
    all: u64,
    /// Those that are sent edits instead of appends.
    as_edits: u64,
}

impl Listeners {
    fn insert(&mut self, listener: Listener) {
        self.all += 1;
        self.as_edits += u64::from(listener.as_edits);
    }

    fn remove(&mut self, listener: Listener) {
        self.all -= 1;
        self.as_edits -= u64::from(listener.as_edits);
    }
}

/// To whom an event of a channel goes.
#[derive(Default)]
pub(super) struct Recipients {
    /// The listeners of this node, without those that are sent edits instead of appends.
    pub(super) as_events: Vec<ListenerId>,
    /// The listeners of this node that are sent edits instead of appends.
    pub(super) as_edits: Vec<ListenerId>,
    /// How many there are on all nodes.
    pub(super) reach: Reach,
}

impl Recipients {
    pub(super) fn add(&mut self, listener: Listener) {
        let to = if listener.as_edits { &mut self.as_edits } else { &mut self.as_events };
        to.push(listener.id);
    }

    /// Returns all listeners of this node among them.
    pub(super) fn into_all(self) -> Vec<ListenerId> {
        let mut all = self.as_events;
        all.extend(self.as_edits);
        all
    }
}

/// How many an event was for.
#[derive(Clone, Copy, Default)]
pub(super) struct Reach {
    /// The connections that were addressed, listening or not.
    pub(super) connections: u64,
    /// The listeners among them.
    pub(super) listeners: u64,
    /// Those of them that are sent edits instead of appends.
    pub(super) as_edits: u64,
}

impl Reach {
    pub(super) fn count(&mut self, connection: &Connection) {
        self.connections += 1;
        self.listeners += u64::from(connection.listener.is_some());
        let as_edits = connection.listener.is_some_and(|listener| listener.as_edits);
        self.as_edits += u64::from(as_edits);
    }
}

impl State {
    /// Makes this the state of a node: the listeners of the node get deliveries, and no others.
    #[must_use]
    pub fn for_node(mut self, node: NodeId) -> Self {
        self.node = node;
        let all: Vec<Key<Channel>> = self.channels.iter().map(|(key, _)| key).collect();
        for key in all {
            self.channels[key].local = Local::default();
            self.channels[key].listeners = Listeners::default();
        }
        let all: Vec<Key<Connection>> = self.connections.iter().map(|(key, _)| key).collect();
        for key in all {
            if let Some(listener) = self.connections[key].listener {
                self.count_listener(key, listener);
            }
        }
        self
    }

    /// Returns the listener of a connection, if it is one of this node and gets what comes live.
    pub(super) fn live_here(&self, key: Key<Connection>) -> Option<Listener> {
        let is_live =
            |listener: &Listener| listener.node == self.node && !self.taking_over.has(key);
        self.connections[key].listener.filter(is_live)
    }

    /// Sets the listener of a connection. Returns the one before.
    pub(super) fn set_listener(
        &mut self,
        key: Key<Connection>,
        listener: Option<Listener>,
    ) -> Option<Listener> {
        let before = self.connections[key].listener;
        if let Some(before) = before {
            self.uncount_listener(key, before);
        }
        self.connections[key].listener = listener;
        if let Some(listener) = listener {
            self.count_listener(key, listener);
        }
        before
    }

    fn count_listener(&mut self, key: Key<Connection>, listener: Listener) {
        let is_live = self.live_here(key).is_some();
        for channel in self.connections[key].channels.iter() {
            let channel = &mut self.channels[channel];
            channel.listeners.insert(listener);
            if is_live {
                channel.local.insert(listener);
            }
        }
    }

    fn uncount_listener(&mut self, key: Key<Connection>, listener: Listener) {
        for channel in self.connections[key].channels.iter() {
            let channel = &mut self.channels[channel];
            channel.listeners.remove(listener);
            if listener.node == self.node {
                channel.local.remove(listener);
            }
        }
    }

    /// Lets a listener that waited take what comes live.
    pub(super) fn goes_live(&mut self, key: Key<Connection>) {
        let Some(listener) = self.live_here(key) else { return };
        for channel in self.connections[key].channels.iter() {
            self.channels[channel].local.insert(listener);
        }
    }

    /// Adds the listener of a connection to a channel that the connection joins.
    pub(super) fn listens_in(&mut self, key: Key<Connection>, channel: Key<Channel>) {
        if let Some(listener) = self.connections[key].listener {
            self.channels[channel].listeners.insert(listener);
        }
        if let Some(listener) = self.live_here(key) {
            self.channels[channel].local.insert(listener);
        }
    }

    /// Removes the listener of a connection from a channel that the connection leaves.
    pub(super) fn listens_no_more_in(&mut self, key: Key<Connection>, channel: Key<Channel>) {
        let Some(listener) = self.connections[key].listener else { return };
        let channel = &mut self.channels[channel];
        channel.listeners.remove(listener);
        if listener.node == self.node {
            channel.local.remove(listener);
        }
    }

    /// Returns to whom an event of a channel goes: to `only` these users, or to all, but `never` to those.
    /// Both are sorted.
    pub(super) fn recipients(
        &self,
        channel: Key<Channel>,
        (only, never): (Option<Vec<Key<User>>>, Vec<Key<User>>),
    ) -> Recipients {
        let Some(only) = only else {
            return self.all_but(&self.channels[channel], &never);
        };
        let mut recipients = Recipients::default();
        let is_meant = |user: &Key<User>| never.binary_search(user).is_err();
        for key in self.connections_of(&self.channels[channel], only.into_iter().filter(is_meant)) {
            recipients.reach.count(&self.connections[key]);
            if let Some(listener) = self.live_here(key) {
                recipients.add(listener);
            }
        }
        recipients
    }

    fn all_but(&self, channel: &Channel, never: &[Key<User>]) -> Recipients {
        let copy = |list: &Set| list.iter().copied().collect::<Vec<ListenerId>>();
        let lists = channel.local.0.as_ref();
        let mut as_events = lists.map(|lists| copy(&lists.as_events)).unwrap_or_default();
        let mut as_edits = lists.map(|lists| copy(&lists.as_edits)).unwrap_or_default();
        let (mut not, mut left_out) = (Reach::default(), Vec::new());
        for key in self.connections_of(channel, never.iter().copied()) {
            not.count(&self.connections[key]);
            left_out.extend(self.live_here(key).map(|listener| listener.id));
        }
        if !left_out.is_empty() {
            left_out.sort_unstable();
            let is_meant = |id: &ListenerId| left_out.binary_search(id).is_err();
            as_events.retain(is_meant);
            as_edits.retain(is_meant);
        }
        let reach = Reach {
            connections: channel.connections as u64 - not.connections,
            listeners: channel.listeners.all - not.listeners,
            as_edits: channel.listeners.as_edits - not.as_edits,
        };
        Recipients { as_events, as_edits, reach }
    }

    fn connections_of(
        &self,
        channel: &Channel,
        users: impl Iterator<Item = Key<User>>,
    ) -> impl Iterator<Item = Key<Connection>> {
        let members = users.filter_map(|user| channel.members.get(&user));
        members.flat_map(|member| member.connections.iter())
    }
}
