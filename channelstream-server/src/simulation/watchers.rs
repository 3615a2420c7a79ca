//! Clients that listen with cursors on any node, break off, come back elsewhere, and what each of them must receive:
//! every message of its channel once and in order, or a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use channelstream_core::protocol::{Connect, Cursor};
use channelstream_core::state::{
    Appends, CatchUp, Command, ConnectionId, ListenerId, ListenerKind, Reply, Since,
};
use serde_json::Value;
use tokio::sync::Notify;

use super::events::Event;
use super::world::{LAST, MILLI, QUIET, SECOND, World};
use crate::journal::redis::protocol::message::Standing;
use crate::listener::outbox::{Outbox, Sink};
use crate::wire::{Encoding, websocket};

/// A client.
#[derive(Debug)]
pub(super) struct Watcher {
    number: usize,
    channel: String,
    encoding: Encoding,
    connection: Option<ConnectionId>,
    doing: Doing,
    cursor: Option<Cursor>,
    /// What its connections received, the present one at the end.
    lives: Vec<Life>,
}

/// What a client does.
#[derive(Debug)]
enum Doing {
    /// Nothing before this time.
    Nothing {
        until: u64,
    },
    /// It waits for a connection.
    Connecting {
        node: usize,
        connection: ConnectionId,
        operation: u32,
    },
    /// It waits for its listener.
    Opening {
        node: usize,
        outbox: Arc<Outbox>,
    },
    Listening {
        node: usize,
        outbox: Arc<Outbox>,
    },
}

/// What a connection received.
#[derive(Debug, Default)]
struct Life {
    /// The operation that made the connection.
    operation: u32,
    /// The messages, by their ids.
    got: Vec<u128>,
    has_gap: bool,
}

/// An event that a client received.
struct Got {
    cursor: Cursor,
    kind: String,
    channel: Option<String>,
    uuid: Option<u128>,
}

impl Watcher {
    pub(super) fn new(number: usize) -> Self {
        let encodings = [Encoding::WebSocketWithSeq, Encoding::EventStream, Encoding::NdJson];
        Self {
            number,
            channel: format!("channel-{}", number % 5),
            encoding: encodings[number % encodings.len()],
            connection: None,
            doing: Doing::Nothing { until: 0 },
            cursor: None,
            lives: Vec::new(),
        }
    }

    fn outbox(&self) -> Option<&Arc<Outbox>> {
        match &self.doing {
            Doing::Opening { outbox, .. } | Doing::Listening { outbox, .. } => Some(outbox),
            Doing::Nothing { .. } | Doing::Connecting { .. } => None,
        }
    }

    /// Returns the connection if this outbox is that of its listener.
    pub(super) fn connection_of(&self, outbox: &Arc<Outbox>) -> Option<ConnectionId> {
        self.connection.filter(|_| self.outbox().is_some_and(|own| Arc::ptr_eq(own, outbox)))
    }

    /// Returns its listener if that is on this node.
    pub(super) fn listener_on(&self, node: usize) -> Option<ListenerId> {
        self.outbox().filter(|_| self.node() == Some(node)).map(|outbox| outbox.id)
    }

    fn node(&self) -> Option<usize> {
        match &self.doing {
            Doing::Nothing { .. } => None,
            Doing::Connecting { node, .. }
            | Doing::Opening { node, .. }
            | Doing::Listening { node, .. } => Some(*node),
        }
    }
}

/// Reads the events in what an outbox gave out.
fn events(encoding: Encoding, mut bytes: Bytes) -> Vec<Got> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let part = bytes.split_to(encoding.first(&bytes));
        let (json, id) = match encoding {
            Encoding::WebSocketWithSeq if part[0] == 0x81 => {
                (websocket::events_in(&part).next().unwrap_or_default().to_vec(), None)
            }
            Encoding::NdJson => (part.trim_ascii().to_vec(), None),
            Encoding::EventStream => {
                let text = std::str::from_utf8(&part).unwrap();
                let line = |name| text.lines().find_map(|line| line.strip_prefix(name));
                (line("data: ").unwrap_or_default().into(), line("id: ").map(str::to_owned))
            }
            _ => (Vec::new(), None),
        };
        if json.is_empty() {
            continue;
        }
        let event: Value = serde_json::from_slice(&json).unwrap();
        let text = |key: &str| event[key].as_str().map(str::to_owned);
        events.push(Got {
            cursor: id.or(text("seq")).unwrap().parse().unwrap(),
            kind: text("type").unwrap(),
            channel: text("channel"),
            uuid: text("uuid").map(|uuid| uuid.parse::<uuid::Uuid>().unwrap().as_u128()),
        });
    }
    events
}

impl World {
    /// A client does its next step.
    pub(super) fn watch(&mut self, watcher: usize) {
        let at = self.now + self.dice.between(5 * MILLI, 150 * MILLI);
        self.plan(at, Event::Watch { watcher });
        let waits = self.watchers[watcher].node();
        if waits.is_some_and(|node| self.nodes[node].paused_until > self.now) {
            return;
        }
        let is_late = self.now > LAST;
        match &self.watchers[watcher].doing {
            Doing::Nothing { until } if *until <= self.now && !is_late => self.begin(watcher),
            Doing::Listening { node, outbox } => {
                let (node, outbox) = (*node, Arc::clone(outbox));
                self.listen(watcher, node, &outbox);
            }
            _ => {}
        }
    }

    /// A client asks any node for a connection, or for a listener if it has one.
    fn begin(&mut self, watcher: usize) {
        let ready = (0..self.nodes.len()).filter(|node| {
            let node = &self.nodes[*node];
            node.is_alive
                && node.paused_until <= self.now
                && node.machine.standing() == Standing::Following
        });
        let ready: Vec<_> = ready.collect();
        if ready.is_empty() {
            return;
        }
        let node = ready[self.dice.index(ready.len())];
        let Watcher { connection, channel, encoding, cursor, number, .. } = &self.watchers[watcher];
        let Some(connection) = *connection else {
            let (name, channel) = (format!("watcher-{number}"), channel.clone());
            let connection = ConnectionId::from_u128(u128::from(self.dice.draw()));
            let request = Box::new(Connect::new(name).channels([channel]));
            let accepted = self.append(node, Command::Connect { connection, request });
            if let Some((number, operation)) = accepted {
                self.watchers[watcher].doing = Doing::Connecting { node, connection, operation };
                self.nodes[node].serving.waiting.insert(number, watcher);
                self.drain(node);
            }
            return;
        };
        let since = cursor.map_or(Since::Record, Since::Cursor);
        let sink = Sink::Pull(Notify::new());
        let outbox = self.nodes[node].serving.hub.open(connection, sink, *encoding, Some(since));
        let listener = outbox.id;
        self.tell(|| {
            format!("watcher {watcher} opens a listener on node {node}, behind {since:?}")
        });
        self.watchers[watcher].doing = Doing::Opening { node, outbox };
        let (kind, catch_up) = (ListenerKind::Socket, CatchUp::Read);
        let appends = Appends::AsEvents;
        let open = Command::Open { connection, listener, kind, catch_up, appends };
        match self.append(node, open) {
            Some((number, _)) => drop(self.nodes[node].serving.waiting.insert(number, watcher)),
            None => self.leave(watcher),
        }
        self.drain(node);
    }

    /// A client is answered: `None` if the request failed.
    pub(super) fn answered(&mut self, watcher: usize, reply: Option<Reply>) {
        let until = self.now + self.dice.between(MILLI, 300 * MILLI);
        let client = &mut self.watchers[watcher];
        match (mem::replace(&mut client.doing, Doing::Nothing { until }), reply) {
            (Doing::Connecting { connection, operation, .. }, Some(_)) => {
                client.connection = Some(connection);
                client.cursor = None;
                client.lives.push(Life { operation, ..Life::default() });
            }
            (Doing::Opening { node, outbox }, Some(Reply::Opened)) => {
                outbox.read_on();
                client.doing = Doing::Listening { node, outbox };
            }
            (Doing::Opening { node, outbox }, _) => {
                client.doing = Doing::Opening { node, outbox };
                self.leave(watcher);
                // It has ended meanwhile, or was lost.
                let connection = self.watchers[watcher].connection;
                let state = &self.nodes[node].replica.state;
                if connection.is_some_and(|connection| !state.knows_connection(connection)) {
                    self.watchers[watcher].connection = None;
                }
            }
            _ => {}
        }
    }

    /// A client receives what there is, or breaks off.
    fn listen(&mut self, watcher: usize, node: usize, outbox: &Arc<Outbox>) {
        let breaks = self.now < QUIET && self.dice.one_in(60);
        // What was sent to a line that is broken does not arrive, though it counts as sent. Who has no cursor yet
        // would miss it.
        let is_lost = breaks && self.watchers[watcher].cursor.is_some() && self.dice.one_in(2);
        let is_slow = self.now < QUIET && self.dice.one_in(3);
        let taken = if is_slow { outbox.take_portion(600) } else { outbox.take() };
        let encoding = self.watchers[watcher].encoding;
        for bytes in taken.into_iter().filter(|_| !is_lost) {
            for got in events(encoding, bytes) {
                self.receive(watcher, &got);
            }
        }
        if breaks || outbox.ending().is_some() && outbox.is_empty() && self.now <= LAST {
            self.leave(watcher);
        } else {
            outbox.read_on();
        }
        self.drain(node);
    }

    fn receive(&mut self, watcher: usize, got: &Got) {
        self.report.frames += 1;
        let client = &mut self.watchers[watcher];
        let Some(life) = client.lives.last_mut() else { return };
        let place = |cursor: Cursor| (cursor.epoch, cursor.sequence);
        let before = client.cursor.replace(got.cursor);
        let is_gap = got.kind == "gap";
        let goes_back = before.is_some_and(|before| place(got.cursor) <= place(before));
        let mut fault = None;
        if is_gap {
            life.has_gap = true;
            self.report.gaps += 1;
        } else if goes_back && got.kind == "message" && !life.has_gap {
            let before = before.unwrap_or_default();
            fault = Some(format!("watcher {watcher} is at {before}, and gets {}", got.cursor));
        } else if got.channel.as_ref().is_some_and(|channel| *channel != client.channel) {
            fault = Some(format!("watcher {watcher} gets what is not for it"));
        }
        if let (true, Some(uuid)) = (got.kind == "message", got.uuid) {
            life.got.push(uuid);
        }
        self.tell(|| format!("watcher {watcher} gets {} at {}", got.kind, got.cursor));
        if let Some(fault) = fault {
            self.fault(&fault);
        }
    }

    /// A client has no listener any more, and comes back in a while.
    fn leave(&mut self, watcher: usize) {
        let listener = self.watchers[watcher].outbox().map(|outbox| outbox.id);
        self.tell(|| format!("watcher {watcher} has no listener any more"));
        if let (Some(node), Some(listener)) = (self.watchers[watcher].node(), listener)
            && self.nodes[node].is_alive
        {
            self.report(node, listener);
        }
        let away = if self.now < QUIET && self.dice.one_in(4) { 12 * SECOND } else { SECOND };
        let until = self.now + self.dice.between(MILLI, away);
        self.watchers[watcher].doing = Doing::Nothing { until };
    }

    /// The clients of a node that has died come back in a while.
    pub(super) fn node_has_died(&mut self, node: usize) {
        for watcher in 0..self.watchers.len() {
            if self.watchers[watcher].node() == Some(node) {
                self.leave(watcher);
            }
        }
    }

    /// Checks what clients received against the operations that were done, in their order.
    pub(super) fn check_watchers(&self, done: &[u32]) -> Vec<String> {
        let mut faults = Vec::new();
        for client in &self.watchers {
            for (index, life) in client.lives.iter().enumerate() {
                let Some(begin) = done.iter().position(|number| *number == life.operation) else {
                    continue; // its connection is gone with what Redis and all nodes have lost
                };
                let messages = done[begin..].iter().filter_map(|operation| {
                    let (channel, uuid) = self.books.messages.get(operation)?;
                    (*channel == client.channel).then_some(*uuid)
                });
                let messages: Vec<u128> = messages.collect();
                let is_present = index + 1 == client.lives.len()
                    && matches!(client.doing, Doing::Listening { .. });
                if let Some(fault) = self.check_life(life, &messages, is_present) {
                    faults.push(format!("watcher {}: {fault}", client.number));
                }
            }
        }
        faults
    }

    /// Checks what a connection received of these messages: all, up to the last one that it received or to the
    /// end if it is still there.
    fn check_life(&self, life: &Life, messages: &[u128], is_present: bool) -> Option<String> {
        let places: BTreeMap<u128, usize> =
            messages.iter().enumerate().map(|(place, uuid)| (*uuid, place)).collect();
        let got: BTreeSet<u128> = life.got.iter().copied().collect();
        let last = got.iter().filter_map(|uuid| places.get(uuid)).max();
        // What was lost, and received before, stands later now.
        let until = last.filter(|_| self.report.losses == 0).map_or(0, |last| last + 1);
        let end = if is_present { messages.len() } else { until };
        let is_missing = |uuid: &u128| !got.contains(uuid) && !self.books.expiring.contains(uuid);
        let missing: Vec<_> = (0..end).filter(|place| is_missing(&messages[*place])).collect();
        if !missing.is_empty() && !life.has_gap {
            return Some(format!("of {end} messages, {missing:?} are missing, and no gap is told"));
        }
        if self.report.losses > 0 {
            return None; // what was lost comes again, where it is now
        }
        if got.len() != life.got.len() {
            return Some("a message came twice".to_owned());
        }
        let in_order = life.got.iter().filter_map(|uuid| places.get(uuid)).is_sorted();
        (!in_order).then(|| "messages came in another order".to_owned())
    }
}
