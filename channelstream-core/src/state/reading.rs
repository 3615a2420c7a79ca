//! Reading: what a listener that holds a cursor has missed, in portions (contract §14).
//!
//! The one order of events is read across all places of a connection: its channels, and the private
//! events of its user. What is missing there is reported as a gap, never passed over in silence.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;
use std::sync::Arc;

use indexmap::IndexMap;

use super::catchup::{Stored, StoredEvents};
use super::connection::Connection;
use super::growing::Followed;
use super::{ConnectionId, Sequence, State};
use crate::protocol::{Cursor, DateTime, Edit, Epoch, Event, Gap, GapReason, Uuid};

/// Where a listener that reads by itself begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Behind what the connection was sent, as the state knows it. The listener is told its cursor.
    Record,
    /// Behind this number, of which a listener of this node knows that it was sent. A listener that
    /// is new is told its cursor.
    Sent {
        /// The number.
        sequence: Sequence,
        /// Whether the listener is new.
        is_new: bool,
    },
    /// Behind the cursor that the client presents.
    Cursor(Cursor),
}

/// Where a cursor stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stands {
    /// Behind the event of this number.
    Here(Sequence),
    /// Behind this one, the last that is left of its epoch: what was lost at the end may have been received,
    /// what came instead was not.
    Behind(Sequence),
    /// Its epoch is none of this life, or it stands behind the newest event.
    Nowhere,
}

/// How far a listener has read. It belongs to the listener, and the state knows nothing of it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Where it begins, until the first portion is read.
    since: Option<Since>,
    /// All events up to this number were read. `None` is before the beginning of the epoch.
    at: Option<Sequence>,
    /// Where it began.
    start: Sequence,
    /// The number of the newest event when it began.
    horizon: Sequence,
    /// Why memberships that began later than `start` have a gap, if they have one.
    reason: Option<GapReason>,
    /// Where it began, if the client has events behind that which were lost with the end of an epoch.
    rewound: Option<Sequence>,
    /// Whether the client may have more of a growing message than `start` says.
    is_net: bool,
    /// Up to which number a message was sent as it grew, by its id. Of other messages it is `start`.
    grown: IndexMap<Uuid, Sequence>,
}

/// An event that was read, with the cursor that a client holds after it.
#[derive(Clone, Debug)]
pub struct Read {
    /// The number of the event.
    pub sequence: Sequence,
    /// The cursor. That of the last event stands behind all that was read with it.
    pub cursor: Cursor,
    /// The event.
    pub event: Event,
}

/// What one step of reading gives.
#[derive(Clone, Debug, Default)]
pub struct Portion {
    /// The events, in the order of their cursors.
    pub events: Vec<Read>,
    /// `true` if there is no more to read: what comes next comes live.
    pub is_complete: bool,
}

impl Portion {
    /// Marks the cursors. Messages before them have been read as they are now, so that who comes back with
    /// one of them has more of a growing message than the cursor says.
    fn mark_net(&mut self) {
        self.events.iter_mut().for_each(|read| read.cursor.is_net = true);
    }
}

impl Reading {
    /// Begins to read.
    pub fn new(since: Since) -> Self {
        Self {
            since: Some(since),
            at: None,
            start: 0,
            horizon: 0,
            reason: None,
            rewound: None,
            is_net: false,
            grown: IndexMap::new(),
        }
    }

    /// Returns the number behind which a place is read on, and the gap before that, if there is one. The
    /// place is for the reader from `began` on.
    fn enter(
        &self,
        stored: &StoredEvents,
        began: Sequence,
    ) -> (Sequence, Option<(Sequence, GapReason)>) {
        let from = self.at.map_or(began, |at| at.max(began));
        let lost = stored.lost();
        let is_new = self.at < Some(began) && began <= self.horizon;
        let gap = match self.reason {
            Some(reason) if self.rewound == self.at && self.at.is_some() => {
                Some((from.max(lost), reason))
            }
            Some(reason) if is_new => Some((began.max(lost), reason)),
            _ => (lost > from).then_some((lost, GapReason::Evicted)),
        };
        (from, gap)
    }

    /// Returns `true` if it begins at the record of the connection, and has not begun.
    pub fn begins_at_record(&self) -> bool {
        self.since == Some(Since::Record)
    }

    /// Returns the number up to which all events were read; `None` before the first portion.
    pub fn position(&self) -> Option<Sequence> {
        match self.since {
            Some(Since::Sent { sequence, .. }) => Some(sequence),
            Some(_) => None,
            None => self.at,
        }
    }
}

/// One place of a connection: a channel, or the private events.
struct Place<'a> {
    channel: Option<&'a Arc<str>>,
    stored: &'a StoredEvents,
    /// The place is for the reader from behind this number on.
    began: Sequence,
    /// The events that are left to read.
    left: Peekable<Box<dyn Iterator<Item = &'a Stored> + 'a>>,
    /// Made when the first edit is read.
    index: Option<Index<'a>>,
}

/// What is needed to leave out what a newer event says again.
#[derive(Default)]
struct Index<'a> {
    messages: IndexMap<Uuid, Sequence>,
    /// The edits of each message, oldest first.
    edits: IndexMap<Uuid, Vec<(Sequence, &'a Edit)>>,
}

/// What comes next of a place. A gap comes before an event of the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Gap(GapReason),
    Event,
    /// What a message has grown by.
    Growth,
}

/// What comes next: its number, its kind, and the index of its place or of the growing message.
type Next = Reverse<(Sequence, Kind, usize)>;

impl State {
    /// Reads the next portion for a listener of a connection, and moves `reading` on. Returns `None` if
    /// there is no such connection, or if it is not known yet what an older listener was sent behind which
    /// the reading begins.
    pub fn read(&self, connection: ConnectionId, reading: &mut Reading) -> Option<Portion> {
        let key = *self.connection_ids.get(&connection)?;
        if reading.begins_at_record() && self.taking_over.has(key) {
            return None;
        }
        let connection = &self.connections[key];
        let mut portion = Portion::default();
        let mut presented = self.cursor_at(0);
        if let Some(since) = reading.since {
            if let Since::Cursor(cursor) = since {
                presented = cursor;
            }
            *reading = self.begin(since, connection);
            if matches!(since, Since::Record | Since::Sent { is_new: true, .. }) {
                let (sequence, cursor) = (reading.start, self.cursor_at(reading.start));
                portion.events.push(Read { sequence, cursor, event: Event::Cursor });
            }
        }
        let (mut places, mut next) = self.places(connection, reading);
        reading.rewound = None;
        let as_edits = connection.listener.is_some_and(|listener| listener.as_edits);
        let growing: Vec<_> = self.growing_for(key).collect();
        for (index, one) in growing.iter().enumerate() {
            let told = one.growing.told(as_edits || one.all_edits);
            if told > one.growing.opened() && reading.at < Some(told) {
                next.push(Reverse((told, Kind::Growth, index)));
            }
        }
        let user = &self.users[connection.user].name;
        let mut bytes = 0;
        while let Some(Reverse((sequence, kind, number))) = next.pop() {
            // A portion ends between two numbers, so that its last cursor is whole.
            let most = self.rules.portion;
            let is_full = portion.events.len() >= most.events.max(1) || bytes >= most.bytes;
            if is_full && reading.at < Some(sequence) {
                portion.mark_net();
                return Some(portion);
            }
            reading.at = Some(sequence);
            let event = match kind {
                Kind::Gap(reason) => {
                    let gap = Gap { channel: places[number].channel.cloned(), reason };
                    Some(Event::Gap(Arc::new(gap)))
                }
                Kind::Event => {
                    let place = &mut places[number];
                    let one = place.left.next();
                    if let Some(following) = place.left.peek() {
                        next.push(Reverse((following.sequence, Kind::Event, number)));
                    }
                    one.and_then(|one| place.net(one, reading, user))
                }
                Kind::Growth => self.grown(growing[number], as_edits, reading),
            };
            let event = event.map(|event| self.with_growth(event, reading));
            bytes += event.as_ref().map_or(0, Event::size);
            // Who is cut off between two of the same number begins with the first of them again.
            let is_last = next.peek().is_none_or(|Reverse((other, ..))| *other > sequence);
            let number = if is_last { Some(sequence) } else { sequence.checked_sub(1) };
            let cursor = number.map_or(presented, |number| self.cursor_at(number));
            portion.events.extend(event.map(|event| Read { sequence, cursor, event }));
        }
        reading.at = reading.at.max(Some(self.sequence));
        portion.is_complete = true;
        portion.mark_net();
        // Nothing is left between the last event and here, and messages were read as they are here.
        if let Some(last) = portion.events.last_mut() {
            last.cursor = self.cursor_at(self.sequence);
        }
        Some(portion)
    }

    fn begin(&self, since: Since, connection: &Connection) -> Reading {
        let mut rewound = None;
        let (at, reason) = match since {
            Since::Record => (Some(connection.record.whole()), None),
            Since::Sent { sequence, .. } => (Some(sequence), None),
            Since::Cursor(cursor) => match self.stands(cursor) {
                // A connection that is older than the cursor has the channels that it joined. Those of a
                // newer one may have been left by silence, too long ago to know.
                Stands::Here(sequence) => {
                    let is_newer = connection.created > sequence;
                    (Some(sequence), is_newer.then_some(GapReason::Window))
                }
                Stands::Behind(end) => {
                    rewound = Some(end);
                    (Some(end), Some(GapReason::Epoch))
                }
                Stands::Nowhere => (None, Some(GapReason::Epoch)),
            },
        };
        let start = at.unwrap_or(0);
        let is_net =
            rewound.is_some() || matches!(since, Since::Cursor(Cursor { is_net: true, .. }));
        let (horizon, grown) = (self.sequence, IndexMap::new());
        Reading { since: None, at, start, horizon, reason, rewound, is_net, grown }
    }

    /// Returns where a cursor stands in the order of this life.
    pub(super) fn stands(&self, cursor: Cursor) -> Stands {
        match self.end_of(cursor.epoch) {
            Some(end) if cursor.sequence <= end => Stands::Here(cursor.sequence),
            Some(end) if cursor.epoch != self.epoch() => Stands::Behind(end),
            _ => Stands::Nowhere,
        }
    }

    /// Returns the number of the newest event of an epoch. `None` if the epoch is none of this life.
    fn end_of(&self, epoch: Epoch) -> Option<Sequence> {
        if epoch == self.epoch() {
            return Some(self.sequence);
        }
        let epochs = self.order.epochs();
        let place = epochs.iter().rposition(|began| began.epoch == epoch)?;
        Some(epochs.get(place + 1).map_or(self.sequence, |next| next.sequence))
    }

    /// Returns the places of a connection, and what comes next of each.
    fn places<'a>(
        &'a self,
        connection: &Connection,
        reading: &Reading,
    ) -> (Vec<Place<'a>>, BinaryHeap<Next>) {
        let user = &self.users[connection.user];
        let channels = connection.channels.iter().filter_map(|key| {
            let channel = &self.channels[key];
            let began = channel.members.get(&connection.user)?.began;
            Some((Some(&channel.name), &channel.stored, began))
        });
        let private = (None, &user.stored, user.began);
        let mut places = Vec::with_capacity(connection.channels.len() + 1);
        let mut next = BinaryHeap::new();
        for (channel, stored, began) in channels.chain([private]) {
            let number = places.len();
            let (from, gap) = reading.enter(stored, began);
            next.extend(
                gap.map(|(sequence, reason)| Reverse((sequence, Kind::Gap(reason), number))),
            );
            let left = stored.after(from).filter(|one| one.event.is_for(&user.name));
            let mut left = (Box::new(left) as Box<dyn Iterator<Item = &Stored>>).peekable();
            next.extend(left.peek().map(|first| Reverse((first.sequence, Kind::Event, number))));
            places.push(Place { channel, stored, began, left, index: None });
        }
        (places, next)
    }

    /// Returns what a message has grown by, for a listener that received it before. Who joined after the
    /// opening receives only what came since, or a gap.
    fn grown(&self, one: Followed<'_>, as_edits: bool, reading: &mut Reading) -> Option<Event> {
        let Followed { growing, all_edits, began } = one;
        let as_edits = as_edits || all_edits;
        let known = reading.grown.get(&growing.uuid()).copied();
        let is_new = known.is_none() && reading.start < growing.opened() && !one.is_late();
        let is_whole = is_new || reading.is_net && known.is_none();
        let known = known.unwrap_or(reading.start.max(began));
        if growing.told(as_edits) <= known && !is_new {
            return None;
        }
        reading.grown.insert(growing.uuid(), self.sequence);
        if one.is_late() {
            let suffix = if is_whole || as_edits { None } else { growing.suffix_since(known) };
            let gap = || {
                let channel = growing.channel().map(Arc::from);
                Event::Gap(Arc::new(Gap { channel, reason: GapReason::Evicted }))
            };
            return Some(suffix.map_or_else(gap, |append| Event::Append(Arc::new(append))));
        }
        if as_edits && !is_new {
            return Some(growing.as_edit(DateTime::from(self.now)));
        }
        let suffix = if is_whole { None } else { growing.suffix_since(known) };
        Some(match suffix {
            Some(append) => Event::Append(Arc::new(append)),
            None => Event::Message(growing.current()),
        })
    }

    /// Returns a stored message as it is now, and notes how far it has grown. An edit also says what the
    /// message is now: the reader may have more already than the edit said.
    fn with_growth(&self, event: Event, reading: &mut Reading) -> Event {
        match event {
            Event::Message(message) if message.growth.is_some() => {
                reading.grown.insert(message.uuid, self.sequence);
                Event::Message(self.current(&message))
            }
            Event::Edit(edit) if edit.growth.is_some() => {
                let Some(key) = self.growing_ids.get(&edit.uuid) else { return Event::Edit(edit) };
                let current = self.growing[*key].current();
                if current.address.channel != edit.address.channel {
                    return Event::Edit(edit);
                }
                reading.grown.insert(edit.uuid, self.sequence);
                let (payload, growth) = (current.payload.clone(), current.growth);
                Event::Edit(Arc::new(Edit { payload, growth, ..Edit::clone(&edit) }))
            }
            event => event,
        }
    }

    pub(super) fn cursor_at(&self, sequence: Sequence) -> Cursor {
        Cursor { epoch: self.epoch(), sequence, is_net: false }
    }
}

impl<'a> Place<'a> {
    /// Returns an event as the reader needs it: without an edit that is in the message already, and of
    /// several edits of a message one that says what all of them say.
    fn net(&mut self, one: &Stored, reading: &Reading, user: &str) -> Option<Event> {
        let Event::Edit(edit) = &one.event else { return Some(one.event.clone()) };
        let index = self.index.get_or_insert_with(|| Index::of(self.stored, user));
        let message = index.messages.get(&edit.uuid).copied().unwrap_or(0);
        let is_in_catch_up = message > reading.start.max(self.began);
        let known = if is_in_catch_up { reading.horizon } else { reading.start };
        let edits = index.edits.get(&edit.uuid)?;
        let (newest, _) = *edits.last()?;
        if one.sequence <= known || one.sequence < newest {
            return None;
        }
        // Also what was said before the reader began: a reader that was cut off between an older edit and
        // this one has passed the older one without it.
        let mut whole = Edit::clone(edit);
        for (_, older) in edits.iter().rev().take_while(|(sequence, _)| *sequence > message) {
            whole.user = whole.user.or_else(|| older.user.clone());
            whole.payload = whole.payload.or_else(|| older.payload.clone());
            whole.timestamp = whole.timestamp.or(older.timestamp);
        }
        Some(Event::Edit(Arc::new(whole)))
    }
}

impl<'a> Index<'a> {
    fn of(stored: &'a StoredEvents, user: &str) -> Self {
        let mut index = Self::default();
        for one in stored.after(0).filter(|one| one.event.is_for(user)) {
            match &one.event {
                Event::Message(message) => {
                    index.messages.entry(message.uuid).or_insert(one.sequence);
                }
                Event::Edit(edit) => {
                    index.edits.entry(edit.uuid).or_default().push((one.sequence, edit));
                }
                _ => {}
            }
        }
        index
    }
}
