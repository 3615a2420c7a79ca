//! Taking over: a listener opens while an older one of its connection is open on another node.
//!
//! What the older one was sent is known when its `Close` comes. Until then the new listener takes
//! nothing: what happens meanwhile is stored, and comes with the rest of what was missed, by delivery or
//! because its node reads it. A listener that holds a cursor need not wait.

use std::collections::VecDeque;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::arena::Key;
use super::connection::{Connection, Listener};
use super::time::Moment;
use super::{Delivery, Sent, Sequence, State, Step};

/// The connections whose newest listener waits for what an older one was sent. It may have ended meanwhile.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct TakingOver {
    waits: IndexMap<Key<Connection>, Waits>,
    /// In this order the waiting ends; those that have ended already are in it too.
    order: VecDeque<(Moment, Key<Connection>)>,
}

/// A listener that is not caught up yet.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Waits {
    older: Listener,
    /// The number of the newest event that can have been sent to the older one. It may tell of later ones,
    /// since nothing of them waits there.
    last: Sequence,
    until: Moment,
    /// Whether the newest one reads what it missed.
    reads: bool,
}

impl Waits {
    /// Returns what the older one was sent, of which it tells this.
    fn sent(self, told: Sent) -> Sent {
        Sent { up_to: told.up_to.min(self.last), ..told }
    }
}

/// The most listeners that are caught up in one step because they have waited long enough.
const PORTION: usize = 256;

impl TakingOver {
    /// Returns `true` if the listener of a connection waits.
    pub(super) fn has(&self, key: Key<Connection>) -> bool {
        !self.waits.is_empty() && self.waits.contains_key(&key)
    }

    /// Iterates over the connections whose listeners wait.
    pub(super) fn connections(&self) -> impl Iterator<Item = Key<Connection>> {
        self.waits.keys().copied()
    }

    /// Notes whether the newest listener of a connection reads what it missed, if it waits.
    pub(super) fn reads(&mut self, key: Key<Connection>, reads: bool) {
        if let Some(waits) = self.waits.get_mut(&key) {
            waits.reads = reads;
        }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.order.front().map(|(until, _)| *until)
    }

    fn remove(&mut self, key: Key<Connection>) -> Option<Waits> {
        let waits = self.waits.swap_remove(&key);
        if self.waits.is_empty() {
            *self = Self::default();
        }
        waits
    }
}

impl State {
    /// Lets the new listener of a connection wait for what an older one was sent.
    pub(super) fn wait_for(&mut self, key: Key<Connection>, older: Listener) {
        let until = self.own_time.now().after(self.rules.take_over_timeout);
        let last = self.sequence;
        self.taking_over.waits.insert(key, Waits { older, last, until, reads: false });
        self.taking_over.order.push_back((until, key));
    }

    /// Returns the older listener for which the listener of a connection waits.
    pub(super) fn waits_for(&self, key: Key<Connection>) -> Option<Listener> {
        self.taking_over.waits.get(&key).map(|waits| waits.older)
    }

    /// Ends the waiting of a listener, if it waits: the older one tells that it was sent this.
    pub(super) fn older_was_sent(&mut self, step: &mut Step, key: Key<Connection>, told: Sent) {
        let Some(waits) = self.taking_over.remove(key) else { return };
        let sent = self.with_untold(key, waits.older, waits.sent(told));
        self.connections[key].record.advance(sent);
        if let Some(listener) = self.connections[key].listener {
            self.node_has_to_send(listener);
            if listener.node == self.node {
                let (listener, is_done) = (listener.id, true);
                step.deliveries.push(Delivery::TakesOver { listener, is_done });
            }
        }
        self.goes_live(key);
        if !waits.reads {
            self.bring_missed(step, key);
        }
    }

    /// Ends the waiting of a listener, if it waits: what the older node told last has to be enough.
    pub(super) fn end_waiting(&mut self, step: &mut Step, key: Key<Connection>) {
        if let Some(older) = self.waits_for(key) {
            let sent = self.told_last(older);
            self.older_was_sent(step, key, sent);
        }
    }

    /// Forgets that the listener of a connection waits.
    pub(super) fn waits_no_more(&mut self, key: Key<Connection>) {
        self.taking_over.remove(key);
    }

    /// Ends the waiting of those who have waited long enough.
    pub(super) fn expire_waiting(&mut self, step: &mut Step) {
        for _ in 0..PORTION {
            let Some(&(until, key)) = self.taking_over.order.front() else { return };
            if until > self.own_time.now() {
                return;
            }
            self.taking_over.order.pop_front();
            let waits = self.taking_over.waits.get(&key);
            if waits.is_some_and(|waits| waits.until == until) {
                self.end_waiting(step, key);
            }
        }
    }
}
