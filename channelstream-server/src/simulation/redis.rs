//! A model of Redis: one run of one process, of which a replica and a disk lag behind.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::{NodeId, Order, Position};

use super::Missing;
use crate::journal::redis::protocol::message::{
    Answer, Appended, Beginning, Entry, Head, Kind, Request, Run, View,
};

/// How long a claim is good, in microseconds.
const CLAIM: u64 = 1_500_000;

/// What Redis holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    head: Option<Head>,
    stream: VecDeque<(Position, Entry)>,
    /// The newest id that the stream ever had, if there is a stream.
    pub(super) end: Option<Position>,
    snapshot: Option<(Position, Bytes)>,
    /// The snapshot that was found to be of no use last.
    useless: Option<Position>,
}

/// A change of the data, as it goes to the replica and the disk.
#[derive(Clone, Debug)]
enum Change {
    Push(Position, Entry),
    Begin {
        head: Head,
        entry: Entry,
        instead: Option<(Position, Bytes)>,
    },
    Save(Position, Bytes),
    Useless(Position),
    Flush,
    /// Somebody puts other data in the place of these.
    Replace(Data),
    /// Somebody removes an entry.
    Remove(Position),
}

impl Data {
    fn change(&mut self, change: &Change) {
        match change {
            Change::Push(position, entry) => self.push(*position, entry.clone()),
            Change::Begin { head, entry, instead } => {
                if let Some(snapshot) = instead {
                    self.stream.clear();
                    self.snapshot = Some(snapshot.clone());
                }
                self.head = Some(head.clone());
                self.push(Position { epoch: head.epoch, number: 0 }, entry.clone());
            }
            Change::Save(position, snapshot) => {
                // What follows the snapshot before stays for those that load it now.
                let keep = self.snapshot.as_ref().map_or(Position::default(), |(at, _)| *at);
                let gone = self.stream.partition_point(|(at, _)| *at < keep);
                self.stream.drain(..gone);
                self.snapshot = Some((*position, snapshot.clone()));
            }
            Change::Useless(position) => self.useless = Some(*position),
            Change::Flush => *self = Self::default(),
            Change::Replace(data) => *self = data.clone(),
            Change::Remove(position) => self.stream.retain(|(at, _)| at != position),
        }
    }

    /// Returns `true` if there is a snapshot of use, and all entries behind it follow each other. As in Redis, what is in
    /// them is not looked at.
    pub(super) fn is_whole(&self) -> bool {
        let snapshot = self.snapshot.as_ref().map(|(at, _)| *at);
        snapshot.is_some()
            && snapshot != self.useless
            && self.leads_to(|_| true) == self.end.max(snapshot)
    }

    /// Returns how far a node comes that begins with the snapshot.
    pub(super) fn leads_new_nodes_to(&self) -> Option<Position> {
        self.leads_to(|entry| !entry.bytes.is_empty())
    }

    /// Returns how far the snapshot, and those of these entries that follow it without a hole, lead.
    fn leads_to(&self, counts: impl Fn(&Entry) -> bool) -> Option<Position> {
        let mut at = self.snapshot.as_ref().map(|(at, _)| *at)?;
        let head = self.head.as_ref()?;
        for (position, entry) in self.after(at) {
            let follows = if position.epoch == at.epoch {
                position.number == at.number + 1
            } else {
                position.number == 0 && head.before(position.epoch) == Some(at)
            };
            if !follows || !counts(entry) {
                break;
            }
            at = *position;
        }
        Some(at)
    }

    fn push(&mut self, position: Position, entry: Entry) {
        self.stream.push_back((position, entry));
        self.end = Some(position);
    }

    fn after(&self, position: Position) -> impl Iterator<Item = &(Position, Entry)> {
        let from = self.stream.partition_point(|(at, _)| *at <= position);
        self.stream.range(from..)
    }
}

/// A read that waits for an entry.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) node: usize,
    pub(super) session: u64,
    pub(super) after: Position,
    pub(super) epoch: Option<Epoch>,
}

/// A request, and what its sender adds to it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    /// The entry by which the sender begins an epoch, if it does, and the epoch.
    pub(super) begins: Option<(Epoch, Entry)>,
    pub(super) sender: NodeId,
}

/// Parts of what Redis is asked for, which may be taken out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Careless {
    /// An epoch begins, and entries are put back, wherever Redis ends.
    pub(super) anywhere: bool,
    /// Appending makes a journal where there is none.
    pub(super) makes_stream: bool,
    /// What was read counts in whatever epoch.
    pub(super) any_epoch: bool,
}

impl Careless {
    pub(super) fn of(missing: &[Missing]) -> Self {
        Self {
            anywhere: missing.contains(&Missing::Compare),
            makes_stream: missing.contains(&Missing::Exists),
            any_epoch: missing.contains(&Missing::Moved),
        }
    }
}

/// One run of one process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) run: Run,
    pub(super) data: Data,
    began_with: Data,
    changes: Vec<Change>,
    /// How many changes have reached the replica and the disk.
    pub(super) on_replica: usize,
    pub(super) on_disk: usize,
    claims: BTreeMap<NodeId, (Position, u64)>,
    pub(super) is_up: bool,
    pub(super) stalled_until: u64,
    /// It has no memory for more before this time.
    pub(super) full_until: u64,
    pub(super) parked: Vec<Parked>,
    careless: Careless,
}

impl Process {
    pub(super) fn new(number: usize, data: Data, careless: Careless) -> Self {
        Self {
            run: Run::new(&format!("run-{number}")),
            began_with: data.clone(),
            data,
            changes: Vec::new(),
            on_replica: 0,
            on_disk: 0,
            claims: BTreeMap::new(),
            is_up: true,
            stalled_until: 0,
            full_until: 0,
            parked: Vec::new(),
            careless,
        }
    }

    /// Brings all changes to the replica.
    pub(super) fn replicate(&mut self) {
        self.on_replica = self.changes.len();
    }

    /// Brings all changes to the disk.
    pub(super) fn persist(&mut self) {
        self.on_disk = self.changes.len();
    }

    /// Returns the data as it was after so many changes.
    pub(super) fn data_after(&self, changes: usize) -> Data {
        let mut data = self.began_with.clone();
        for change in &self.changes[..changes] {
            data.change(change);
        }
        data
    }

    pub(super) fn flush(&mut self) {
        self.change(Change::Flush);
    }

    /// Somebody puts back what was there before.
    pub(super) fn put_in_place(&mut self, data: Data) {
        self.change(Change::Replace(data));
    }

    /// Somebody appends what is no entry: to the last epoch, or beyond it.
    pub(super) fn spoil(&mut self, goes_beyond: bool) {
        let Some(end) = self.data.end else { return };
        let at = match goes_beyond {
            true => Position { epoch: Epoch::new(end.epoch.get() + 1), number: 0 },
            false => Position { epoch: end.epoch, number: end.number + 1 },
        };
        let entry =
            Entry { node: NodeId::new(0), number: 0, kind: Kind::Other, bytes: Bytes::new() };
        self.change(Change::Push(at, entry));
    }

    /// Somebody removes one of the newest entries.
    pub(super) fn remove(&mut self, from_end: usize) {
        let found = self.data.stream.iter().nth_back(from_end).map(|(at, _)| *at);
        if let Some(position) = found {
            self.change(Change::Remove(position));
        }
    }

    fn change(&mut self, change: Change) {
        self.data.change(&change);
        self.changes.push(change);
    }

    fn view(&self) -> View {
        View { head: self.data.head.clone(), end: self.data.end }
    }

    /// Returns entries behind a position, `most` at most.
    pub(super) fn read(&self, after: Position, most: usize) -> Vec<(Position, Entry)> {
        self.data.after(after).take(most).cloned().collect()
    }

    /// Answers a read, which counts only in this epoch.
    pub(super) fn answer_read(
        &self,
        entries: Vec<(Position, Entry)>,
        epoch: Option<Epoch>,
    ) -> Answer<Bytes> {
        let newest = self.data.head.as_ref().map(|head| head.epoch);
        if epoch.is_some() && epoch != newest && !self.careless.any_epoch {
            return Answer::Moved;
        }
        Answer::Entries(entries)
    }

    /// Carries out a request in one step. A read that finds nothing and may wait is not answered yet.
    pub(super) fn carry_out(
        &mut self,
        now: u64,
        most: usize,
        asked: Asked,
    ) -> Option<Answer<Bytes>> {
        let is_full = now < self.full_until;
        Some(match asked.request {
            Request::Append { .. } if is_full => Answer::Appended(Appended::Full),
            Request::PutBack { .. } if is_full => Answer::PutBack,
            Request::Begin(_) if is_full => Answer::Begun { is_done: false },
            Request::Save { .. } if is_full => Answer::Saved,
            Request::Useless(_) if is_full => Answer::Noted,
            Request::Meet => Answer::Met { run: self.run.clone(), view: self.view() },
            Request::Append { epoch, entry } => {
                let end = match self.data.end {
                    None if self.careless.makes_stream => Position::default(),
                    None => return Some(Answer::Appended(Appended::Refused)),
                    Some(end) => end,
                };
                if end.epoch > epoch {
                    return Some(Answer::Appended(Appended::Refused));
                }
                let number = if end.epoch == epoch { end.number + 1 } else { 0 };
                let at = Position { epoch, number };
                self.change(Change::Push(at, entry));
                Answer::Appended(Appended::Done(at))
            }
            Request::Read { after, waits, epoch } => {
                let entries = self.read(after, most);
                if waits && entries.is_empty() {
                    return None;
                }
                self.answer_read(entries, epoch)
            }
            Request::Claim { run, position } => {
                if run == self.run {
                    self.claims.insert(asked.sender, (position, now));
                }
                self.claims.retain(|_, (_, since)| *since + CLAIM > now);
                let claims = self.claims.iter().map(|(node, (position, _))| (*node, *position));
                Answer::Claims { claims: claims.collect(), view: self.view() }
            }
            Request::PutBack { after, entries } => {
                if self.data.end == Some(after) || self.careless.anywhere {
                    for (position, entry) in entries {
                        if self.data.end.is_some_and(|end| end < position) {
                            self.change(Change::Push(position, entry));
                        }
                    }
                }
                Answer::PutBack
            }
            Request::Begin(beginning) => {
                let is_done = self.begin(*beginning, asked.begins.unwrap());
                Answer::Begun { is_done }
            }
            Request::Load => {
                let snapshot = self.data.snapshot.as_ref();
                // Only the node can read the order in it.
                Answer::Loaded(snapshot.map(|(_, bytes)| (Order::default(), bytes.clone())))
            }
            Request::Useless(position) => {
                self.change(Change::Useless(position));
                Answer::Noted
            }
            Request::Save { epoch, position, snapshot } => {
                let is_epoch = self.data.head.as_ref().is_some_and(|head| head.epoch == epoch);
                let is_newer = self.data.snapshot.as_ref().is_none_or(|(at, _)| *at < position);
                if is_epoch && is_newer {
                    self.change(Change::Save(position, snapshot));
                }
                Answer::Saved
            }
        })
    }

    fn begin(&mut self, beginning: Beginning, (epoch, entry): (Epoch, Entry)) -> bool {
        let Beginning { seen, end, anywhere, run, after, mut epochs, instead, .. } = beginning;
        let is_as_seen = self.data.head.as_ref().map(|head| head.epoch) == seen;
        if !is_as_seen || self.data.end != end && !anywhere && !self.careless.anywhere {
            return false;
        }
        epochs.push((epoch, after));
        let head = Head { epoch, run, epochs };
        let instead = instead.map(|snapshot| (after, snapshot));
        self.change(Change::Begin { head, entry, instead });
        true
    }
}
