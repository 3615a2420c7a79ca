//! The listeners of a node: the product's hub, outboxes and portions, without sockets. What clients take out of an
//! outbox counts as sent.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use channelstream_core::state::stored::decode;
use channelstream_core::state::{
    Closing, Command, ConnectionId, Delivery, EndReason, ListenerId, Moment, Outcome, Sent,
    Sequence,
};
use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Planted;
use super::events::Event;
use super::replica::{NEW, Replica};
use super::world::{LAST, MILLI, Node, QUIET, SECOND, World, micros};
use crate::journal::redis::protocol::message::{Entry, Kind};
use crate::listener;
use crate::listener::hub::Hub;
use crate::listener::outbox::{Bounds, Ending, Outbox};
use crate::listener::portions::Portions;
use crate::metrics::Metrics;
use crate::node;
use crate::node::digests::Digests;

/// Little, so that listeners fall behind.
const BOUNDS: Bounds = Bounds { frames: 8, bytes: 16 << 10 };

/// The pause before the next tick if the journal has no place for one.
const NO_SPACE: u64 = SECOND;

/// What a node needs for its listeners.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) hub: Hub,
    /// Listeners that read on.
    asked: mpsc::UnboundedReceiver<Arc<Outbox>>,
    portions: Portions,
    metrics: Metrics,
    digests: Digests,
    /// The watchers that wait for the entry of a number.
    pub(super) waiting: BTreeMap<u64, usize>,
    /// The listeners that have ended, what each was sent, and the number of the entry that says so.
    ended: Vec<(ConnectionId, ListenerId, Sent, Option<u64>)>,
    /// The tick that is under way.
    tick: Option<u64>,
    /// When the next one is due.
    tick_at: u64,
    no_tick_before: u64,
    /// What a planted fault delivers late.
    late: Vec<Delivery>,
}

impl Serving {
    pub(super) fn new(runtime: &Handle) -> Self {
        let (asking, asked) = listener::asking();
        // The writer and the heartbeats of sockets would be tasks. There are none.
        let (hub, _) =
            Hub::new(vec![runtime.clone()], BOUNDS, usize::MAX, &asking, &Arc::default());
        Self {
            hub,
            asked,
            portions: Portions::default(),
            metrics: Metrics::default(),
            digests: Digests::default(),
            waiting: BTreeMap::new(),
            ended: Vec::new(),
            tick: None,
            tick_at: u64::MAX,
            no_tick_before: 0,
            late: Vec::new(),
        }
    }
}

/// Completes what has nothing to wait for: there is one thread.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a hub of one thread carries everything out at once")
}

impl World {
    /// Does what a node does with the outcome of an entry.
    pub(super) fn serve(&mut self, node: usize, entry: &Entry, outcome: Outcome) {
        self.compare(node, entry);
        let Outcome { reply, deliveries, is_new, .. } = outcome;
        let superseded = deliveries.iter().filter_map(|delivery| match delivery {
            Delivery::End { listener, reason: EndReason::SupersededElsewhere } => Some(*listener),
            _ => None,
        });
        let superseded: Vec<_> = superseded.collect();
        self.deliver(node, deliveries);
        for listener in superseded {
            self.report(node, listener);
        }
        if self.nodes[node].id != entry.node || !is_new {
            return;
        }
        let serving = &mut self.nodes[node].serving;
        serving.tick.take_if(|number| *number == entry.number);
        let removed = serving.ended.iter().position(|(.., by)| *by == Some(entry.number));
        if let Some(index) = removed {
            let (_, listener, ..) = serving.ended.swap_remove(index);
            at_once(serving.hub.remove(listener));
        }
        if let Some(watcher) = serving.waiting.remove(&entry.number) {
            self.answered(watcher, reply.ok());
        }
    }

    /// Notes the digest of the state, and compares what another node tells of its own.
    fn compare(&mut self, node: usize, entry: &Entry) {
        let Node { id, replica: Replica { state, .. }, serving, .. } = &mut self.nodes[node];
        serving.digests.note(state.order().position(), state.digest());
        if entry.kind != Kind::Alive {
            return;
        }
        let (is_own, is_first) = (*id == entry.node, state.rank(entry.node) == 0);
        match decode(&entry.bytes, NEW).unwrap().command {
            Command::Alive(alive)
                if serving.digests.is_same(alive.position, alive.digest) == Some(false) =>
            {
                self.fault(&format!("node {node} knows another digest than {:?}", entry.node));
            }
            Command::Tick if is_own && !is_first && self.now > QUIET + 2 * SECOND => {
                self.books.needless_ticks += 1;
            }
            _ => {}
        }
    }

    fn deliver(&mut self, node: usize, mut deliveries: Vec<Delivery>) {
        if self.tampers {
            self.tamper(node, &mut deliveries);
        }
        let Node { replica, serving, .. } = &self.nodes[node];
        at_once(serving.hub.deliver(deliveries, replica.state.cursor(), None));
    }

    /// Does to deliveries what a planted fault does.
    fn tamper(&mut self, node: usize, deliveries: &mut Vec<Delivery>) {
        let late = mem::take(&mut self.nodes[node].serving.late);
        let there = self.watchers.iter().filter_map(|watcher| watcher.listener_on(node));
        let all: Vec<_> = there.collect();
        let first = deliveries.iter().position(|one| matches!(one, Delivery::Event { .. }));
        if let Some(index) = first.filter(|_| self.dice.one_in(30))
            && let Delivery::Event { to, event, sequence, catchup } = &mut deliveries[index]
        {
            let (event, catchup) = (event.clone(), *catchup);
            let copy = Delivery::Event { to: to.clone(), event, sequence: *sequence, catchup };
            if self.is_planted(Planted::FrameLost) {
                to.clear();
            } else if self.is_planted(Planted::Cursor) {
                *sequence -= 1;
            } else if self.is_planted(Planted::FrameMisled) {
                to.extend(all);
            } else if self.is_planted(Planted::FrameDoubled) {
                deliveries.push(copy);
            } else if self.is_planted(Planted::FramesSwapped) {
                to.clear();
                self.nodes[node].serving.late.push(copy);
            }
        }
        deliveries.extend(late);
    }

    /// A listener ends: its node says what it was sent.
    pub(super) fn report(&mut self, node: usize, listener: ListenerId) {
        let serving = &mut self.nodes[node].serving;
        let Some(outbox) = serving.hub.outbox(listener) else { return };
        let connection = self.watchers.iter().find_map(|watcher| watcher.connection_of(&outbox));
        if let Some(connection) = connection
            && serving.ended.iter().all(|(_, ended, ..)| *ended != listener)
        {
            let sent = at_once(serving.hub.sent(&outbox));
            serving.ended.push((connection, listener, sent, None));
        }
        self.close_again(node);
    }

    /// Says what listeners were sent that have ended, of which nothing is under way.
    pub(super) fn close_again(&mut self, node: usize) {
        let mut ended = mem::take(&mut self.nodes[node].serving.ended);
        for (connection, listener, sent, by) in &mut ended {
            if by.is_none() {
                let (connection, listener, sent) = (*connection, *listener, sent.clone());
                let close = Command::Close { connection, listener, how: Closing::Otherwise, sent };
                *by = self.append(node, close).map(|(number, _)| number);
            }
        }
        self.nodes[node].serving.ended = ended;
    }

    /// What a node tells of its listeners.
    pub(super) fn look(&self, node: usize) -> (Sequence, Vec<(ListenerId, Sequence)>) {
        let node = &self.nodes[node];
        let look = at_once(node.serving.hub.look(node.replica.state.sequence()));
        at_once(look.reports()).expect("its only thread is there")
    }

    /// An entry of a node will not be given to it.
    pub(super) fn undone(&mut self, node: usize, number: u64) {
        let serving = &mut self.nodes[node].serving;
        serving.tick.take_if(|tick| *tick == number);
        for (.., by) in &mut serving.ended {
            by.take_if(|by| *by == number);
        }
        if let Some(watcher) = serving.waiting.remove(&number) {
            self.answered(watcher, None);
        }
    }

    /// A node goes on from another state, in which its listeners are not, or not as they are here.
    pub(super) fn restarted(&mut self, node: usize) {
        let serving = &mut self.nodes[node].serving;
        serving.portions = Portions::default();
        serving.late.clear();
        serving.tick = None;
        serving.hub.end_some(Ending::NodeSilent, usize::MAX);
    }

    /// Brings portions to those that asked for them, and plans the next tick.
    pub(super) fn settle(&mut self, node: usize) {
        let hides_gaps = self.is_planted(Planted::Gap);
        let is_first = self.is_planted(Planted::Ticks);
        let node_index = node;
        let now = self.now;
        let node = &mut self.nodes[node];
        let (state, serving) = (&node.replica.state, &mut node.serving);
        while let Ok(outbox) = serving.asked.try_recv() {
            let portion = serving.portions.read(state, &outbox, &serving.metrics);
            let Some(mut portion) = portion else { continue };
            if hides_gaps {
                let is_gap =
                    |bytes: &[u8]| bytes.windows(12).any(|text| text == br#""type":"gap""#);
                portion.events.retain(|(_, bytes)| !is_gap(bytes));
            }
            at_once(serving.hub.bring(outbox, portion));
        }
        let until = |moment| {
            let stamped = Moment::default().after(Duration::from_micros(now + SECOND));
            Moment::since(moment, stamped)
        };
        let rank = if is_first { 0 } else { state.rank(node.id) };
        let rank = u32::try_from(rank).unwrap();
        let pause = node::until_tick(state, rank, until).filter(|_| serving.tick.is_none());
        let Some(pause) = pause else { return };
        let at = (now + micros(pause)).max(serving.no_tick_before).max(now + MILLI);
        if at != serving.tick_at {
            serving.tick_at = at;
            self.plan(at, Event::Tick { node: node_index, at });
        }
    }

    /// A node appends a tick, if it is still due.
    pub(super) fn tick(&mut self, node: usize, at: u64) {
        let serving = &mut self.nodes[node].serving;
        if serving.tick_at != at || serving.tick.is_some() || self.now > LAST {
            return;
        }
        serving.tick_at = u64::MAX;
        let tick = self.append(node, Command::Tick);
        let now = self.now;
        let serving = &mut self.nodes[node].serving;
        serving.tick = tick.map(|(number, _)| number);
        if tick.is_none() {
            serving.no_tick_before = now + NO_SPACE;
        }
        self.drain(node);
    }
}
