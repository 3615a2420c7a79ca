//! What clients ask the nodes of a simulation for, and what nodes tell of themselves.

use std::time::Duration;

use channelstream_core::protocol::{
    Address, ChannelConfig, Configure, Connect, Epoch, NewMessage, Timestamp, Uuid,
};
use channelstream_core::state::{
    Alive, Appends, CatchUp, Closing, Command, ConnectionId, Envelope, ListenerId, ListenerKind,
    Moment, Sent, Stamp,
};

use super::Planted;
use super::events::Event;
use super::replica::Replica;
use super::world::{MILLI, Node, QUIET, SECOND, World};
use crate::clock;
use crate::journal::redis::protocol::message::{Entry, Kind, Standing};

/// Some day, in microseconds.
const DAY: u64 = 1_800_000_000_000_000;

/// The first level that knows messages that expire and lifetimes of channels.
const FADING: u32 = 2;

/// What clients know.
#[derive(Debug, Default)]
pub(super) struct Clients {
    connections: Vec<ConnectionId>,
    /// The listeners that were opened, on which node.
    listeners: Vec<(usize, ConnectionId, ListenerId)>,
}

impl World {
    /// A client asks some node for something.
    pub(super) fn command(&mut self) {
        if self.now < QUIET {
            let at = self.now + self.dice.between(5 * MILLI, 60 * MILLI);
            self.plan(at, Event::Command);
        }
        let ready = |node: &usize| {
            let node = &self.nodes[*node];
            node.is_alive
                && node.paused_until <= self.now
                && node.machine.standing() == Standing::Following
        };
        let ready: Vec<usize> = (0..self.nodes.len()).filter(ready).collect();
        if ready.is_empty() {
            return;
        }
        let node = ready[self.dice.index(ready.len())];
        let count = if self.dice.one_in(50) { self.dice.between(1, 40) } else { 1 };
        for _ in 0..count {
            let command = self.draw(node);
            self.append(node, command);
        }
        self.drain(node);
    }

    fn draw(&mut self, node: usize) -> Command {
        let user = format!("user-{}", self.dice.between(0, 9));
        let channel = format!("channel-{}", self.dice.between(0, 5));
        let dice = &mut self.dice;
        let known = &self.clients.connections;
        let connection = match known.len() {
            0 => None,
            some => Some(known[dice.index(some)]),
        };
        match (dice.between(0, 12), connection) {
            (0, Some(connection)) => {
                // Not one of the hub, of which only the first of its shards is used.
                let listener = ListenerId::new(dice.draw() & !(0x3f << 26));
                self.clients.listeners.push((node, connection, listener));
                let (catch_up, appends) = (CatchUp::Deliver, Appends::AsEvents);
                let kind = ListenerKind::Socket;
                Command::Open { connection, listener, kind, catch_up, appends }
            }
            (1, Some(_)) => match self.clients.listeners.iter().rposition(|(on, ..)| *on == node) {
                Some(index) => {
                    let (_, connection, listener) = self.clients.listeners.swap_remove(index);
                    let sent =
                        Sent { up_to: self.nodes[node].replica.state.sequence(), but: vec![] };
                    Command::Close { connection, listener, how: Closing::Otherwise, sent }
                }
                None => Command::Tick,
            },
            (2, Some(connection)) => Command::Disconnect(connection),
            (5, _) if self.nodes[node].replica.state.level() >= FADING => {
                let settings = ChannelConfig {
                    store_history: Some(true),
                    history_ttl: Some(dice.between(0, 9)),
                    ..ChannelConfig::default()
                };
                Command::Configure(Configure::new([(channel, settings)]))
            }
            (3 | 4, _) | (_, None) => {
                let connection = ConnectionId::from_u128(u128::from(dice.draw()));
                self.clients.connections.push(connection);
                let request = Box::new(Connect::new(user).channels([channel]));
                Command::Connect { connection, request }
            }
            _ => {
                let uuid = Some(Uuid::from_u128(u128::from(dice.draw())));
                let message = NewMessage::new(user, Address::channel(channel));
                // What the level before does not know is refused before it is appended.
                let knows = self.nodes[node].replica.state.level() >= FADING;
                let expires = (knows && dice.one_in(3)).then(|| dice.between(1, 9));
                if expires.is_some() {
                    self.books.expiring.extend(uuid.map(|uuid| uuid.as_u128()));
                }
                Command::Publish(vec![NewMessage { uuid, expires, ..message }])
            }
        }
    }

    /// What a node's clocks say.
    fn stamp(&mut self, node: usize, operation: u32) -> Stamp {
        let wall = (DAY + self.now).saturating_add_signed(self.nodes[node].wall);
        // Nodes agree on the time of deadlines only roughly.
        let behind = self.dice.between(0, 20 * MILLI);
        Stamp {
            now: Timestamp::from_micros(wall.cast_signed()),
            moment: Moment::default().after(Duration::from_micros(self.now + SECOND - behind)),
            seed: Replica::seed(self.dice.draw(), operation),
        }
    }

    /// A node appends a command. Returns its number, and that of the operation, if it is accepted.
    pub(super) fn append(&mut self, node: usize, command: Command) -> Option<(u64, u32)> {
        let now = self.time_of(node);
        let tells = matches!(command, Command::Alive(_) | Command::Tick | Command::Raise(_));
        let message = match &command {
            Command::Publish(messages) => messages.first().and_then(|message| {
                Some((message.address.channel.clone()?, message.uuid?.as_u128()))
            }),
            _ => None,
        };
        let operation = if tells { 0 } else { self.books.next_operation() };
        let stamp = self.stamp(node, operation);
        let sender = &mut self.nodes[node];
        sender.number += 1;
        let (id, number) = (sender.id, sender.number);
        let level = sender.replica.state.level();
        let envelope = Envelope { node: id, number, stamp, command, repeat: None };
        let entry = Entry::of(&envelope, level);
        let kind: Kind = entry.kind;
        sender.machine.append(now, entry).ok()?;
        if operation > 0 {
            self.books.accepted(operation, node, (id, number), kind);
            self.tell(|| format!("node {node} accepts {number}: operation {operation}, {kind:?}"));
            self.report.operations += 1;
        }
        if let Some(message) = message {
            self.books.messages.insert(operation, message);
        }
        Some((number, operation))
    }

    /// A node tells of itself, and may store a snapshot.
    pub(super) fn alive(&mut self, node: usize) {
        if self.now < QUIET {
            self.plan(self.now + 2 * SECOND, Event::Alive { node });
        }
        let (sent, but) = self.look(node);
        let digest_is_stale = self.is_planted(Planted::Digest) && self.dice.one_in(20);
        let Node { id, replica, told, .. } = &mut self.nodes[node];
        let state = &replica.state;
        let level = replica.known.newest;
        let next = state.next_level().filter(|_| state.rank(*id) == 0);
        let position = state.order().position();
        let digest = std::mem::replace(told, state.digest());
        let digest = if digest_is_stale { digest } else { *told };
        if let Some(level) = next {
            self.append(node, Command::Raise(level));
        }
        let alive = Alive { level, position, digest, sent, but };
        self.append(node, Command::Alive(Box::new(alive)));
        self.close_again(node);
        if !self.is_sparing && self.dice.one_in(2) {
            let replica = &self.nodes[node].replica;
            let (position, snapshot) = (replica.order().position(), replica.snapshot());
            let at = self.now + self.dice.between(MILLI, 300 * MILLI);
            self.plan(at, Event::SnapshotMade { node, position, snapshot });
        }
        self.drain(node);
    }

    /// What the driver of the first node does: if nobody could begin from what Redis holds, it makes a snapshot.
    pub(super) fn check_snapshot(&mut self) {
        let following =
            |node: &Node| node.is_alive && node.machine.standing() == Standing::Following;
        let redis = &self.processes[self.master];
        if let Some(node) = self.nodes.iter().position(following)
            && redis.is_up
            && !redis.data.is_whole()
        {
            self.tell(|| format!("node {node} finds that the snapshot is of no use"));
            let replica = &self.nodes[node].replica;
            let (position, snapshot) = (replica.order().position(), replica.snapshot());
            let at = self.now + self.dice.between(MILLI, 50 * MILLI);
            self.plan(at, Event::SnapshotMade { node, position, snapshot });
        }
        self.plan(self.now + 5 * SECOND, Event::Check);
    }

    /// The entry by which a node begins an epoch, by its wall clock.
    pub(super) fn begin_entry(&mut self, node: usize, above: Epoch, alone: bool) -> (Epoch, Entry) {
        let stamp = self.stamp(node, 0);
        let wall =
            Duration::from_micros((DAY + self.now).saturating_add_signed(self.nodes[node].wall));
        let epoch = clock::epoch_at(wall, self.dice.draw(), above);
        let command = Command::Begin { epoch, alone };
        let id = self.nodes[node].id;
        let envelope = Envelope { node: id, number: 0, stamp, command, repeat: None };
        (epoch, Entry::of(&envelope, self.nodes[node].replica.state.level()))
    }
}
