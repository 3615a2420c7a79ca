//! Nodes: the processes that share the order, what each has told of itself, and what its end means.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::arena::Key;
use super::connection::{Connection, Listener, Phase};
use super::fading;
use super::order::Position;
use super::time::Moment;
use super::{Alive, Closing, EndReason, ListenerId, NodeId, Sent, Sequence, State, Step};

/// The nodes that are alive, the one that came first before the others, and those whose listeners are
/// being ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Nodes {
    alive: IndexMap<NodeId, Row>,
    ending: VecDeque<Ending>,
    /// Whether nodes tell of themselves: one has done so.
    tell: bool,
}

/// What is known of a node that is alive.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Row {
    /// When an entry of it came last. Where nodes do not tell of themselves, none can fall silent.
    seen: Option<Moment>,
    /// The newest level that it knows and agrees to; 0 if it has not told of itself.
    level: u32,
    told: Told,
}

/// What a node told of what its listeners were sent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Told {
    /// Where the node looked at its listeners.
    position: Position,
    /// All listeners were sent everything up to this number, except those in `but`.
    up_to: Sequence,
    /// The listeners that were sent less, and up to which number.
    but: IndexMap<ListenerId, Sequence>,
    /// The listeners that opened, or were caught up, after the node looked, and where.
    later: IndexMap<ListenerId, Position>,
}

impl Told {
    /// Returns what a listener was sent, as far as it was told. Of one that opened later nothing is known.
    fn sent(&self, listener: ListenerId) -> Sent {
        if self.later.contains_key(&listener) {
            return Sent::default();
        }
        let up_to = self.but.get(&listener).copied().unwrap_or(self.up_to);
        Sent { up_to, but: Vec::new() }
    }
}

/// A node that has ended. Its listeners end in the order of their connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Ending {
    node: NodeId,
    told: Told,
    /// The places of connections that are still to be looked at.
    left: Range<usize>,
}

/// How many places one step looks at for listeners of a node that has ended.
const PORTION: usize = 4096;

/// A node that is alive, as views show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// The node.
    pub node: NodeId,
    /// How long ago an entry of it came, in own time; `None` if it has never told of itself.
    pub silent: Option<Duration>,
    /// The newest level that it knows and agrees to; 0 if it has not told of itself.
    pub level: u32,
}

impl State {
    /// Notes that an entry of a node has come.
    pub(super) fn node_is_seen(&mut self, step: &mut Step, node: NodeId) {
        let now = self.own_time.now();
        if let Some(row) = self.nodes.alive.get_mut(&node) {
            row.seen = row.seen.map(|_| now);
            return;
        }
        // It comes back. What it opens from here on has nothing to do with its end.
        while self.nodes.ending.iter().any(|ending| ending.node == node) {
            self.end_listeners(step);
        }
        // Who dies before it has told of itself must end as well.
        let seen = self.nodes.tell.then_some(now);
        self.nodes.alive.insert(node, Row { seen, ..Row::default() });
    }

    /// Notes a listener to which its node has to send what it missed: what the node told before does not
    /// cover that.
    pub(super) fn node_has_to_send(&mut self, listener: Listener) {
        let position = self.order.position();
        let row = self.nodes.alive.get_mut(&listener.node).filter(|row| row.seen.is_some());
        if let Some(row) = row {
            row.told.later.insert(listener.id, position);
        }
    }

    /// Notes what a node tells of itself.
    pub(super) fn node_is_alive(&mut self, node: NodeId, alive: Alive) {
        let now = self.own_time.now();
        let position = self.order.position();
        if !std::mem::replace(&mut self.nodes.tell, true) {
            for row in self.nodes.alive.values_mut() {
                // Whoever never tells falls silent as well. The listeners that were opened so far are not noted.
                // The next look covers them.
                (row.seen, row.told.position) = (Some(now), position);
            }
        }
        let row = self.nodes.alive.entry(node).or_default();
        (row.seen, row.level) = (Some(now), alive.level);
        if alive.position < row.told.position {
            return;
        }
        row.told.position = alive.position;
        row.told.up_to = alive.sent;
        row.told.but = alive.but.into_iter().collect();
        row.told.later.retain(|_, opened| *opened > alive.position);
    }

    /// Ends all other nodes: none of them lives. Connections without a listener have all of their time from
    /// here on: while the last of those nodes drained, they could not come back to any.
    pub(super) fn is_alone(&mut self, node: NodeId) {
        let now = self.own_time.now();
        let waits = |one: &Connection| one.phase == Phase::Alive && one.listener.is_none();
        let waiting = self.connections.iter().filter(|(_, one)| waits(one)).map(|(key, _)| key);
        for key in waiting.collect::<Vec<_>>() {
            self.connections[key].since = now;
            self.watch_connection(key);
        }
        let others = self.nodes.alive.keys().copied().filter(|other| *other != node);
        for other in others.collect::<Vec<_>>() {
            self.node_has_left(other);
        }
    }

    /// Ends a node. Its listeners end a portion at a time.
    pub(super) fn node_has_left(&mut self, node: NodeId) {
        let Some(row) = self.nodes.alive.shift_remove(&node) else { return };
        let left = 0..self.connections.places();
        self.nodes.ending.push_back(Ending { node, told: row.told, left });
    }

    /// Ends a node that has been silent for too long, and a portion of the listeners of one that has
    /// ended.
    pub(super) fn expire_nodes(&mut self, step: &mut Step) {
        let now = self.own_time.now();
        let timeout = self.rules.node_timeout;
        let is_silent = |row: &Row| row.seen.is_some_and(|seen| seen.after(timeout) <= now);
        let silent = self.nodes.alive.iter().find(|(_, row)| is_silent(row));
        if let Some((&node, _)) = silent {
            self.node_has_left(node);
        }
        self.end_listeners(step);
    }

    fn end_listeners(&mut self, step: &mut Step) {
        let Some(ending) = self.nodes.ending.front_mut() else { return };
        let end = ending.left.end.min(ending.left.start.saturating_add(PORTION));
        let places = ending.left.start..end;
        ending.left.start = end;
        let (node, is_done) = (ending.node, ending.left.is_empty());
        for place in places {
            let Some(key) = self.connections.at(place) else { continue };
            if self.connections[key].listener.is_some_and(|listener| listener.node == node) {
                self.end_listener_of_ended_node(step, key);
            } else if self.waits_for(key).is_some_and(|older| older.node == node) {
                // What it told last is forgotten with it.
                self.end_waiting(step, key);
            }
        }
        if is_done {
            self.nodes.ending.pop_front();
        }
    }

    /// Ends the listener of a connection if its node has ended.
    pub(super) fn end_listener_of_ended_node(&mut self, step: &mut Step, key: Key<Connection>) {
        let Some(listener) = self.connections[key].listener else { return };
        let ended = self.nodes.ending.iter().find(|ending| ending.node == listener.node);
        let Some(sent) = ended.map(|ending| ending.told.sent(listener.id)) else { return };
        // The node may live, and have been taken for dead.
        self.end_listener(step, listener, EndReason::NodeSilent);
        self.listener_has_ended(key, Closing::Otherwise, sent);
    }

    /// Returns what the node of a listener told last of what it was sent.
    pub(super) fn told_last(&self, listener: Listener) -> Sent {
        let of_ending = || {
            let mut ending = self.nodes.ending.iter();
            ending.find(|ending| ending.node == listener.node).map(|ending| &ending.told)
        };
        let told = self.nodes.alive.get(&listener.node).map(|row| &row.told).or_else(of_ending);
        told.map_or_else(Sent::default, |told| told.sent(listener.id))
    }

    /// Returns when a node ends by silence. It is now if listeners of a node that has ended are left.
    pub(super) fn nodes_deadline(&self) -> Option<Moment> {
        if !self.nodes.ending.is_empty() {
            return Some(self.own_time.now());
        }
        let first = self.nodes.alive.values().filter_map(|row| row.seen).min()?;
        Some(first.after(self.rules.node_timeout))
    }

    /// Returns the nodes that are alive, the one that came first before the others.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRow> {
        let now = self.own_time.now();
        self.nodes.alive.iter().map(move |(node, row)| NodeRow {
            node: *node,
            silent: row.seen.map(|seen| now.since(seen)),
            level: row.level,
        })
    }

    /// Returns the newest level that all nodes that are alive know, if it is not in force yet. The node that
    /// came first raises it.
    pub fn next_level(&self) -> Option<u32> {
        let known = self.nodes.alive.values().map(|row| row.level).min()?;
        (known > self.level).then_some(known)
    }

    /// Raises the level, unless a node is alive that does not know the new one: it may have come since the
    /// command was submitted.
    pub(super) fn raise(&mut self, level: u32) {
        if level > self.level && self.next_level().is_some_and(|known| level <= known) {
            if self.level < fading::SINCE {
                self.begin_to_fade();
            }
            self.level = level;
        }
    }

    /// Returns how many nodes that are alive came before a node. The first appends the ticks; the others
    /// do so if none come.
    pub fn rank(&self, node: NodeId) -> usize {
        self.nodes.alive.get_index_of(&node).unwrap_or(self.nodes.alive.len())
    }
}
