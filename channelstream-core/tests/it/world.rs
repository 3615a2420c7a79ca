//! The world around a state: a clock, named connections and listeners that note what they got.
//!
//! Long because every scenario needs all of it.
//!
//! It plays the part of a server: it opens listeners, carries out deliveries, migrates unsent
//! events of an older listener to the newer one, and reports at each end what was sent.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use channelstream_core::protocol::{
    Action, Address, Change, ChannelConfig, ChannelSettings, ChannelView, ChannelsInfo, Configure,
    Connect, Connected, Cursor, Delete, DisconnectUser, Edit, Event, Growth, InfoOptions, Message,
    NewMessage, Payload, SetUserState, Status, Subscribe, Subscribed, Timestamp, Unsubscribe,
    Unsubscribed, UserDisconnected, UserState, UserStateSet, Uuid,
};
use channelstream_core::state::stored::{LEVEL, Levels, StoredError, decode, encode};
use channelstream_core::state::{
    Appends, CatchUp, ChangeReply, Closing, Command, ConnectionId, Delivery, EndReason, Envelope,
    ListenerId, ListenerKind, Moment, NodeId, Notice, Position, Read, Reading, Refusal, Repeat,
    Reply, Rules, Sent, Sequence, Since, Stamp, State,
};
use indexmap::IndexMap;
use serde_json::Value;
use serde_json::value::RawValue;

/// A state with everything around it that a server has. Connections have labels: `ann` is one
/// of the user ann, and so is `ann/phone`. A label always has the same id.
pub(crate) struct World {
    pub(crate) state: State,
    /// The states of further nodes, which apply the same.
    pub(crate) others: Vec<State>,
    /// The node that submits the next command: 0, or 1 more than the place of one of the others.
    pub(crate) at: usize,
    /// How many commands each node has submitted.
    numbers: Vec<u64>,
    /// Whether a server that has to close a listener waits until the test says so.
    pub(crate) holds_closes: bool,
    /// The nodes of which nothing comes any more.
    pub(crate) dead: BTreeSet<usize>,
    /// What such servers have to close, and whether the report is to be made when they do so.
    pub(crate) held: VecDeque<(usize, Command, bool)>,
    pub(crate) now: Moment,
    /// The error of the wall clock in microseconds.
    pub(crate) wall_is_off: i64,
    seed: u128,
    ids: IndexMap<String, ConnectionId>,
    pub(crate) listeners: Vec<Listener>,
    /// What the state gave notice of.
    pub(crate) notices: Vec<Notice>,
    /// All commands that were applied, to apply them to another state.
    pub(crate) log: Vec<Envelope>,
    /// The key of the next command.
    repeat: Option<Box<Repeat>>,
    /// Whether the last reply was that of an earlier command.
    pub(crate) replayed: bool,
}

/// A listener, and the events that it received.
pub(crate) struct Listener {
    pub(crate) label: String,
    pub(crate) connection: ConnectionId,
    /// The node on which it is.
    pub(crate) node: usize,
    /// The lowest number of an event that came when it had ended.
    pub(crate) missed: Option<Sequence>,
    /// Whether it waits for what an older listener was sent.
    waits: bool,
    /// The position at which it was last given what it missed.
    pub(crate) caught_up: Position,
    /// The events that are delivered but not sent: a poll answers at its end, and a peer may be
    /// slow.
    pub(crate) outbox: VecDeque<Got>,
    stalled: bool,
    /// The events that were sent, in this order.
    pub(crate) got: Vec<Got>,
    /// The number of events in `got` that the test has taken.
    seen: usize,
    pub(crate) end: Option<End>,
    /// The reason that the user was given.
    pub(crate) told: Option<Arc<str>>,
    /// What is left to read of a listener that reads by itself. Until it is complete, the listener
    /// takes no live events.
    pub(crate) behind: Option<Reading>,
    /// The cursor of the newest event that a listener received that reads by itself.
    pub(crate) cursor: Option<Cursor>,
}

/// One event as it reached a listener.
#[derive(Clone)]
pub(crate) struct Got {
    pub(crate) sequence: Sequence,
    /// What a client that holds a cursor holds after it.
    pub(crate) cursor: Cursor,
    pub(crate) catchup: bool,
    pub(crate) event: Event,
}

/// The cause of a listener's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Superseded,
    /// The others took its node for dead.
    NodeSilent,
    /// The listener has ended, but the state does not know yet.
    Closing,
    /// The connection was ended.
    Ended,
    Closed,
    /// It never opened: the connection is unknown, or occupied by a socket.
    Refused,
}

/// The node of all listeners, unless a test says otherwise.
pub(crate) const NODE: NodeId = NodeId::new(1);

/// The id of a node by its number, of which the first is 0.
pub(crate) fn node_id(number: usize) -> NodeId {
    NodeId::new(number as u64 + 1)
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(rules())
    }

    pub(crate) fn with(rules: Rules) -> Self {
        Self::at_level(rules, LEVEL)
    }

    pub(crate) fn at_level(rules: Rules, level: u32) -> Self {
        Self {
            state: State::new(rules).at_level(level).for_node(NODE),
            others: Vec::new(),
            at: 0,
            numbers: Vec::new(),
            holds_closes: false,
            dead: BTreeSet::new(),
            held: VecDeque::new(),
            now: Moment::default(),
            wall_is_off: 0,
            seed: 0,
            ids: IndexMap::new(),
            listeners: Vec::new(),
            notices: Vec::new(),
            log: Vec::new(),
            repeat: None,
            replayed: false,
        }
    }

    /// Applies a command. Nothing else changes the state.
    pub(crate) fn apply(&mut self, command: Command) -> Result<Reply, Refusal> {
        self.seed += 1;
        let stamp = Stamp { now: self.wall(), moment: self.now, seed: self.seed };
        let repeat = self.repeat.take();
        let (node, number) = (node_id(self.at), self.next_number());
        let envelope = Envelope { node, number, stamp, command, repeat };
        self.log.push(envelope.clone());
        let mut deliveries = Vec::new();
        let mut replies = Vec::new();
        for (number, state) in std::iter::once(&mut self.state).chain(&mut self.others).enumerate()
        {
            let outcome = state.apply(envelope.clone());
            deliveries.extend(outcome.deliveries.into_iter().map(|one| (number, one)));
            self.notices.extend(outcome.notices);
            replies.push((outcome.reply, outcome.replayed));
        }
        let (reply, replayed) = replies.swap_remove(self.at);
        let (digest, position) = (self.state.digest(), self.state.order().position());
        assert!(self.others.iter().all(|other| other.digest() == digest), "digests differ");
        let epoch = self.state.epoch();
        let deadline = self.state.next_deadline();
        assert!(
            deadline.is_none_or(|when| when > self.now) || !self.others.is_empty(),
            "a deadline is left in the past"
        );
        let mut over = Vec::new();
        for (node, delivery) in deliveries {
            match delivery {
                Delivery::Event { to, event, sequence, catchup } => {
                    for listener in to {
                        let entry = self.listener(listener);
                        assert_eq!(entry.node, node, "a delivery of another node");
                        let is_closing = entry.end == Some(End::Closing);
                        if is_closing {
                            let first = entry.missed.get_or_insert(sequence);
                            *first = sequence.min(*first);
                        } else if catchup {
                            entry.caught_up = position;
                        }
                        assert!(
                            is_closing || entry.end.is_none(),
                            "an event for a listener that has ended"
                        );
                        if entry.behind.is_some() {
                            continue;
                        }
                        let cursor = Cursor { epoch, sequence, is_net: false };
                        let event = event.clone();
                        entry.outbox.push_back(Got { sequence, cursor, catchup, event });
                        if !is_closing {
                            entry.flow();
                        }
                    }
                }
                Delivery::TakesOver { listener, is_done } => {
                    let entry = self.listener(listener);
                    assert_eq!(entry.node, node, "of a listener of another node");
                    if entry.end.is_none() {
                        entry.waits = !is_done;
                    }
                }
                Delivery::End { listener, reason } => {
                    let entry = self.listener(listener);
                    let over_already = entry.end.is_some_and(|end| end != End::Closing);
                    assert!(!over_already, "an end for a listener that has ended");
                    assert_eq!(entry.node, node, "the end of a listener of another node");
                    let left = std::mem::take(&mut entry.outbox);
                    let mut but: Vec<_> = left.iter().map(|got| got.sequence).collect();
                    match reason {
                        EndReason::Ended => entry.end = Some(End::Ended),
                        EndReason::Disconnected { reason } => {
                            entry.end = Some(End::Ended);
                            entry.told = Some(reason);
                        }
                        EndReason::Superseded { by } => {
                            entry.end = Some(End::Superseded);
                            but.clear();
                            let newer = self.listener(by);
                            if newer.behind.is_none() {
                                newer.outbox.extend(left);
                                newer.flow();
                            }
                        }
                        EndReason::SupersededElsewhere => entry.end = Some(End::Closing),
                        EndReason::NodeSilent => entry.end = Some(End::NodeSilent),
                    }
                    over.push((listener, but));
                }
            }
        }
        for (listener, but) in over {
            // A server closes a listener that was ended.
            let entry = self.listener(listener);
            let (connection, node) = (entry.connection, entry.node);
            entry.missed = but.iter().copied().chain(entry.missed).min();
            let waits = entry.waits;
            let sent = Sent { up_to: self.state.sequence(), but };
            let sent = if waits { Sent::default() } else { sent };
            let close = Command::Close { connection, listener, how: Closing::Otherwise, sent };
            if self.dead.contains(&node) {
                continue;
            }
            if self.holds_closes {
                self.held.push_back((node, close, true));
            } else {
                self.apply_at(node, close);
            }
        }
        self.replayed = replayed;
        reply
    }

    /// Applies a command of a node that has no reply.
    pub(crate) fn apply_at(&mut self, node: usize, command: Command) {
        let at = std::mem::replace(&mut self.at, node);
        self.apply(command).unwrap();
        self.at = at;
    }

    fn next_number(&mut self) -> u64 {
        if self.numbers.len() <= self.at {
            self.numbers.resize(self.at + 1, 0);
        }
        self.numbers[self.at] += 1;
        self.numbers[self.at]
    }

    /// Returns a snapshot of what the state would be after `commands` without effect, in place of which
    /// others may come.
    pub(crate) fn after_nothing(&self, commands: u128) -> Vec<u8> {
        let mut copy = State::restore(&self.state.snapshot()).unwrap().for_node(NODE);
        for more in 1..=commands {
            let seed = self.seed + more;
            let (number, stamp) =
                (u64::try_from(seed).unwrap(), Stamp { now: self.wall(), moment: self.now, seed });
            let command = Command::Tick;
            copy.apply(Envelope { node: NODE, number, stamp, command, repeat: None });
        }
        copy.snapshot()
    }

    /// Applies a command with a key, unless it is a repeat.
    pub(crate) fn apply_once(
        &mut self,
        key: &str,
        fingerprint: u128,
        command: Command,
    ) -> Result<Reply, Refusal> {
        self.repeat = Some(Box::new(Repeat { key: key.into(), fingerprint }));
        self.apply(command)
    }

    pub(crate) fn listener(&mut self, listener: ListenerId) -> &mut Listener {
        &mut self.listeners[usize::try_from(listener.get()).unwrap()]
    }

    // Time.

    /// The wall time: 2024-01-01T00:00:00 at the beginning, plus the error.
    pub(crate) fn wall(&self) -> Timestamp {
        let right =
            Timestamp::from_micros(1_704_067_200_000_000).after(self.now.since(Moment::default()));
        Timestamp::from_micros(right.as_micros() + self.wall_is_off)
    }

    /// Lets time pass, with a tick at each deadline.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        while let Some(when) = self.state.next_deadline().filter(|when| *when <= end) {
            self.now = when;
            self.tick();
        }
        self.now = end;
        self.tick();
    }

    /// Lets time pass without a tick.
    pub(crate) fn jump(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
    }

    pub(crate) fn tick(&mut self) {
        self.apply(Command::Tick).unwrap();
    }

    // Requests.

    pub(crate) fn id(&mut self, label: &str) -> ConnectionId {
        let next = ConnectionId::from_u128(0xc0 << 120 | self.ids.len() as u128);
        *self.ids.entry(label.to_owned()).or_insert(next)
    }

    /// Whether the connection of this label exists.
    pub(crate) fn knows(&mut self, label: &str) -> bool {
        let id = self.id(label);
        self.state.knows_connection(id)
    }

    #[track_caller]
    pub(crate) fn connect(&mut self, label: &str, channels: &[&str]) -> Connected {
        self.connect_with(label, Connect::new(user_of(label)).channels(channels.iter().copied()))
    }

    #[track_caller]
    pub(crate) fn connect_with(&mut self, label: &str, request: Connect) -> Connected {
        self.try_connect(label, request).unwrap()
    }

    pub(crate) fn try_connect(
        &mut self,
        label: &str,
        request: Connect,
    ) -> Result<Connected, Refusal> {
        let connection = self.id(label);
        match self.apply(Command::Connect { connection, request: Box::new(request) })? {
            Reply::Connected(connected) => Ok(*connected),
            other => panic!("{other:?}"),
        }
    }

    /// Connects and opens a socket.
    #[track_caller]
    pub(crate) fn join(&mut self, label: &str, channels: &[&str]) {
        self.connect(label, channels);
        self.socket(label);
    }

    #[track_caller]
    pub(crate) fn subscribe(&mut self, label: &str, channels: &[&str]) -> Subscribed {
        let id = self.id(label);
        self.try_subscribe(Subscribe::new(id, channels.iter().copied())).unwrap()
    }

    pub(crate) fn try_subscribe(&mut self, request: Subscribe) -> Result<Subscribed, Refusal> {
        match self.apply(Command::Subscribe(request))? {
            Reply::Subscribed(subscribed) => Ok(*subscribed),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, label: &str, channels: &[&str]) -> Unsubscribed {
        let id = self.id(label);
        self.try_unsubscribe(Unsubscribe::new(id, channels.iter().copied())).unwrap()
    }

    pub(crate) fn try_unsubscribe(
        &mut self,
        request: Unsubscribe,
    ) -> Result<Unsubscribed, Refusal> {
        match self.apply(Command::Unsubscribe(request))? {
            Reply::Unsubscribed(unsubscribed) => Ok(*unsubscribed),
            other => panic!("{other:?}"),
        }
    }

    /// Sets keys of a user's state, given as the JSON of an object of texts or numbers.
    #[track_caller]
    pub(crate) fn set_state(&mut self, user: &str, state: &str) -> UserStateSet {
        self.try_set_state(SetUserState::new(user, user_state(state))).unwrap()
    }

    pub(crate) fn try_set_state(&mut self, request: SetUserState) -> Result<UserStateSet, Refusal> {
        match self.apply(Command::SetUserState(request))? {
            Reply::UserStateSet(set) => Ok(*set),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn configure(
        &mut self,
        channel: &str,
        settings: impl Into<ChannelConfig>,
    ) -> ChannelsInfo {
        match self.apply(Command::Configure(Configure::new([(channel, settings)]))).unwrap() {
            Reply::Configured(info) => *info,
            other => panic!("{other:?}"),
        }
    }

    /// The user bot says something in a channel.
    #[track_caller]
    pub(crate) fn say(&mut self, channel: &str, text: &str) {
        self.post(to(channel, text));
    }

    /// Like [`World::say`], with an id of its own.
    #[track_caller]
    pub(crate) fn say_as(&mut self, id: u128, channel: &str, text: &str) {
        self.post(NewMessage { uuid: Some(Uuid::from_u128(id)), ..to(channel, text) });
    }

    /// Posts one message and returns its answer.
    #[track_caller]
    pub(crate) fn post(&mut self, message: NewMessage) -> Option<Message> {
        match self.apply(Command::Publish(vec![message])).unwrap() {
            Reply::Published(mut messages) => {
                let posted = messages.pop().filter(|posted| !posted.address.is_nowhere());
                posted.map(|posted| Arc::unwrap_or_clone(posted.taken))
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn edit(&mut self, edit: Edit) -> Edit {
        match self.apply(Command::Change(vec![Change::Edit(edit)])).unwrap() {
            Reply::Changed(mut replies) => match replies.pop().unwrap() {
                ChangeReply::Edited(edit) => Arc::unwrap_or_clone(edit),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn delete(&mut self, id: u128, address: Address) -> Delete {
        match self.apply(Command::Delete(vec![Delete::new(Uuid::from_u128(id), address)])).unwrap()
        {
            Reply::Deleted(mut deletes) => Arc::unwrap_or_clone(deletes.pop().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn disconnect_user(&mut self, request: DisconnectUser) -> UserDisconnected {
        match self.apply(Command::DisconnectUser(Box::new(request))).unwrap() {
            Reply::UserDisconnected(reply) => *reply,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn disconnect(&mut self, label: &str) -> bool {
        let connection = self.id(label);
        match self.apply(Command::Disconnect(connection)).unwrap() {
            Reply::Disconnected(known) => known,
            other => panic!("{other:?}"),
        }
    }

    // Listeners.

    #[track_caller]
    pub(crate) fn socket(&mut self, label: &str) {
        let reply = self.open(label, ListenerKind::Socket);
        assert!(matches!(reply, Ok(Reply::Opened)), "{reply:?}");
    }

    #[track_caller]
    pub(crate) fn poll(&mut self, label: &str) {
        let reply = self.open(label, ListenerKind::Poll);
        assert!(matches!(reply, Ok(Reply::Opened)), "{reply:?}");
    }

    /// Opens a socket that holds a cursor, or receives one. It has read nothing yet.
    #[track_caller]
    pub(crate) fn follow(&mut self, label: &str, since: Since) {
        let reply = self.open_as(label, ListenerKind::Socket, Appends::AsEvents, Some(since));
        assert!(matches!(reply, Ok(Reply::Opened)), "{reply:?}");
    }

    /// Lets a listener that is behind read one portion, unless it waits for an older one. Returns `true` if
    /// there is more to read.
    pub(crate) fn read_on(&mut self, label: &str) -> bool {
        let id = self.id(label);
        let Some((listener, entry)) = self.current(label) else { return false };
        let Some(mut reading) = entry.behind.take() else { return false };
        let waits = entry.waits;
        let portion = self.state.read(id, &mut reading);
        let entry = self.listener(listener);
        let Some(portion) = portion else {
            assert!(waits, "there is nothing to wait for");
            entry.behind = Some(reading);
            return false;
        };
        for Read { cursor, event, sequence } in portion.events {
            entry.cursor = Some(cursor);
            entry.got.push(Got { sequence, cursor, catchup: true, event });
        }
        entry.behind = (!portion.is_complete).then_some(reading);
        entry.behind.is_some()
    }

    /// Lets a listener read all that it missed.
    pub(crate) fn catch_up(&mut self, label: &str) {
        while self.read_on(label) {}
    }

    /// A listener that holds a cursor reads slower than events come.
    pub(crate) fn fall_behind(&mut self, label: &str) {
        let sequence = self.state.sequence();
        if let Some((_, entry)) = self.current(label) {
            entry.behind.get_or_insert(Reading::new(Since::Sent { sequence, is_new: false }));
        }
    }

    /// Whether a listener has more to read than it received.
    pub(crate) fn is_behind(&mut self, label: &str) -> bool {
        self.current(label).is_some_and(|(_, entry)| entry.behind.is_some())
    }

    pub(crate) fn open(&mut self, label: &str, kind: ListenerKind) -> Result<Reply, Refusal> {
        self.open_as(label, kind, Appends::AsEvents, None)
    }

    pub(crate) fn open_as(
        &mut self,
        label: &str,
        kind: ListenerKind,
        appends: Appends,
        since: Option<Since>,
    ) -> Result<Reply, Refusal> {
        let connection = self.id(label);
        let listener = ListenerId::new(self.listeners.len() as u64);
        self.listeners.push(Listener {
            label: label.to_owned(),
            connection,
            node: self.at,
            missed: None,
            waits: false,
            caught_up: Position::default(),
            outbox: VecDeque::new(),
            stalled: kind == ListenerKind::Poll,
            got: Vec::new(),
            seen: 0,
            end: None,
            told: None,
            behind: since.map(Reading::new),
            cursor: None,
        });
        let catch_up = match since {
            None => CatchUp::Deliver,
            Some(Since::Record) => CatchUp::ReadRecord,
            Some(_) => CatchUp::Read,
        };
        // The place of the command: others may follow it.
        let mut position = self.state.order().position();
        position.number += 1;
        let reply = self.apply(Command::Open { connection, listener, kind, catch_up, appends });
        if !matches!(reply, Ok(Reply::Opened)) {
            let entry = self.listener(listener);
            assert!(
                entry.outbox.is_empty() && entry.got.is_empty(),
                "a refused listener received events"
            );
            entry.end = Some(End::Refused);
        } else if !self.others.is_empty() {
            self.listener(listener).caught_up = position;
        }
        reply
    }

    /// The open listener of a connection.
    pub(crate) fn current(&mut self, label: &str) -> Option<(ListenerId, &mut Listener)> {
        let found = |entry: &Listener| entry.label == label && entry.end.is_none();
        let place = self.listeners.iter().rposition(found)?;
        Some((ListenerId::new(place as u64), &mut self.listeners[place]))
    }

    pub(crate) fn listens(&mut self, label: &str) -> bool {
        self.current(label).is_some()
    }

    /// Stalls the peer of a socket: it does not read until [`World::flow`].
    pub(crate) fn stall(&mut self, label: &str) {
        if let Some((_, entry)) = self.current(label) {
            entry.stalled = true;
        }
    }

    /// Lets the peer of a stalled socket read some events.
    pub(crate) fn flow(&mut self, label: &str, events: usize) {
        if let Some((_, entry)) = self.current(label) {
            entry.send(events);
        }
    }

    /// Closes a socket by its peer, or by a broken TCP connection.
    pub(crate) fn close(&mut self, label: &str) {
        self.end(label, Closing::ByPeer);
    }

    /// Ends a poll with its answer.
    pub(crate) fn answer(&mut self, label: &str) {
        self.flow(label, usize::MAX);
        self.end(label, Closing::Otherwise);
    }

    /// Ends the listener of a connection. Events in its outbox were not sent.
    pub(crate) fn end(&mut self, label: &str, how: Closing) {
        let up_to = self.state.sequence();
        let Some((listener, entry)) = self.current(label) else { return };
        entry.end = Some(End::Closing);
        // It stays there for a newer listener, should one take over before the state knows of the end.
        let but = entry.outbox.iter().map(|got| got.sequence).collect();
        let sent = if entry.waits { Sent::default() } else { Sent { up_to, but } };
        entry.missed = sent.but.iter().copied().chain(entry.missed).min();
        let (connection, node) = (entry.connection, entry.node);
        let close = Command::Close { connection, listener, how, sent };
        if self.holds_closes {
            self.held.push_back((node, close, false));
            return;
        }
        self.apply_at(node, close);
        let entry = self.listener(listener);
        if entry.end == Some(End::Closing) {
            entry.end = Some(End::Closed);
        }
    }

    /// The cursor that a client holds after all it received on this connection.
    pub(crate) fn cursor(&self, label: &str) -> Option<Cursor> {
        self.listeners.iter().rev().filter(|entry| entry.label == label).find_map(|one| one.cursor)
    }

    // Results.

    /// Takes the events that the listeners of a connection received since the last call.
    pub(crate) fn take(&mut self, label: &str) -> Vec<Got> {
        let mut taken = Vec::new();
        for entry in self.listeners.iter_mut().filter(|entry| entry.label == label) {
            taken.extend_from_slice(&entry.got[entry.seen..]);
            entry.seen = entry.got.len();
        }
        taken
    }

    /// Asserts that the listeners of a connection received exactly these events since the last
    /// call, each in the form of [`summary`].
    #[track_caller]
    pub(crate) fn expect(&mut self, label: &str, want: &[&str]) {
        let got: Vec<String> = self.take(label).iter().map(summary).collect();
        assert_eq!(got, want, "for {label}");
    }

    /// The end of the newest listener of a connection, if it has ended.
    pub(crate) fn end_of(&self, label: &str) -> Option<End> {
        self.listeners.iter().rfind(|entry| entry.label == label).unwrap().end
    }

    pub(crate) fn info(&self) -> ChannelsInfo {
        self.state.info(&InfoOptions::default())
    }

    #[track_caller]
    pub(crate) fn channel(&self, name: &str) -> ChannelView {
        self.info().channels.get(name).unwrap_or_else(|| panic!("no channel {name}")).clone()
    }

    /// The texts in a channel's history.
    #[track_caller]
    pub(crate) fn history(&self, channel: &str) -> Vec<String> {
        self.channel(channel).history.iter().map(|message| said(&message.payload)).collect()
    }
}

impl Listener {
    fn send(&mut self, events: usize) {
        let events = events.min(self.outbox.len());
        self.got.extend(self.outbox.drain(..events));
        if let (Some(cursor), Some(newest)) = (&mut self.cursor, self.got.last()) {
            cursor.sequence = newest.sequence;
        }
    }

    fn flow(&mut self) {
        if !self.stalled {
            self.send(usize::MAX);
        }
    }
}

/// Returns an event in short: `room bot: hello`, `room +ann`, `room -ann [bob]`,
/// `room ann {"a":1} [a=1]`, `room edit 7: hello`, `room delete 7`. Events without a channel begin with
/// `private`, events of catch-up with `~`; edited messages end with `*`.
pub(crate) fn summary(got: &Got) -> String {
    let place = |address: &Address| address.channel.clone().unwrap_or("private".to_owned());
    let text = match &got.event {
        Event::Message(message) => {
            let (place, user) = (place(&message.address), &message.user);
            let edited = if message.edited.is_some() { "*" } else { "" };
            let growth = growth(message.growth);
            format!("{place} {user}: {}{edited}{growth}", said(&message.payload))
        }
        Event::Edit(edit) => {
            let (place, id) = (place(&edit.address), edit.uuid.as_u128());
            format!("{place} edit {id}: {}{}", said(&edit.payload), growth(edit.growth))
        }
        Event::Append(append) => {
            let place = append.channel.clone().unwrap_or("private".to_owned());
            let (id, from, rev) = (append.uuid.as_u128(), append.from, append.rev);
            let status = append.status.map(|status| format!(" {}", name(status)));
            let pieces = json(&append.append);
            format!("{place} append {id}: {pieces} {from}-{rev}{}", status.unwrap_or_default())
        }
        Event::Delete(delete) => {
            format!("{} delete {}", place(&delete.address), delete.uuid.as_u128())
        }
        Event::Presence(presence) => {
            let sign = if presence.action == Action::Joined { '+' } else { '-' };
            let mut users: Vec<_> = presence.users.iter().map(|view| &*view.user).collect();
            users.sort_unstable();
            let users =
                if users.is_empty() { String::new() } else { format!(" [{}]", users.join(" ")) };
            format!("{} {sign}{}{users}", presence.channel, presence.user)
        }
        Event::UserStateChange(change) => {
            let state = json(&change.state);
            let changed: Vec<_> =
                change.changed.iter().map(|c| format!("{}={}", c.key, c.value.json())).collect();
            format!("{} {} {state} [{}]", change.channel, change.user, changed.join(" "))
        }
        Event::Gap(gap) => {
            let channel = gap.channel.as_deref().unwrap_or("private");
            format!("{channel} gap {:?}", gap.reason).to_lowercase()
        }
        Event::Cursor => "cursor".to_owned(),
    };
    if got.catchup { format!("~{text}") } else { text }
}

fn growth(growth: Option<Growth>) -> String {
    growth.map(|Growth { status, rev }| format!(" {rev} {}", name(status))).unwrap_or_default()
}

/// A status as it is on the wire.
pub(crate) fn name(status: Status) -> String {
    json(&status).trim_matches('"').to_owned()
}

fn said(payload: &Option<Payload>) -> String {
    let Some(payload) = payload else { return "nothing".to_owned() };
    let value: Value = serde_json::from_str(payload.get()).unwrap();
    value["text"].as_str().unwrap_or("?").to_owned()
}

pub(crate) fn user_of(label: &str) -> &str {
    label.split('/').next().unwrap()
}

/// The bytes of an entry.
pub(crate) fn encoded(envelope: &Envelope) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(envelope, LEVEL, &mut bytes);
    bytes
}

/// Reads the bytes of an entry.
pub(crate) fn decoded(bytes: &[u8]) -> Result<Envelope, StoredError> {
    decode(bytes, Levels::KNOWN)
}

/// The default rules, except that time may pass in large steps: a test of days needs no tick
/// each second.
pub(crate) fn rules() -> Rules {
    Rules { longest_step: Duration::MAX, ..Rules::default() }
}

/// A message from the user bot in a channel.
pub(crate) fn to(channel: &str, text: &str) -> NewMessage {
    message(Address::channel(channel), text)
}

/// A private message from the user bot.
pub(crate) fn to_users(users: &[&str], text: &str) -> NewMessage {
    message(Address::users(users.iter().copied()), text)
}

pub(crate) fn message(address: Address, text: &str) -> NewMessage {
    NewMessage { payload: Some(payload(text)), ..NewMessage::new("bot", address) }
}

/// An edit that replaces the text of a message.
pub(crate) fn new_text(id: u128, address: Address, text: &str) -> Edit {
    Edit { payload: Some(payload(text)), ..Edit::new(Uuid::from_u128(id), address) }
}

pub(crate) fn payload(text: &str) -> Payload {
    let object = RawValue::from_string(json(&serde_json::json!({ "text": text }))).unwrap();
    Arc::from(object)
}

pub(crate) fn user_state(json: &str) -> UserState {
    serde_json::from_str(json).unwrap()
}

pub(crate) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// Settings with presence events.
pub(crate) fn announcing() -> ChannelSettings {
    ChannelSettings { notify_presence: true, ..ChannelSettings::default() }
}

/// Settings with a history.
pub(crate) fn remembering(history_size: u64) -> ChannelSettings {
    ChannelSettings { store_history: true, history_size, ..ChannelSettings::default() }
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn hours(hours: u64) -> Duration {
    secs(hours * 3600)
}
