//! Stored events: what is kept for listeners that were away, and what a connection was sent
//! (contract §8).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_with::{As, Same};
use uuid::Uuid;

use super::command::{Sent, Sequence};
use super::fading::{Aged, Expiring, Life, oldest, take_old, take_out};
use super::stored::{self, Second};
use super::time::Moment;
use crate::protocol::{ChannelSettings, Edit, Event, Message};

/// How much is stored in one place: for a channel or for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// The number of events.
    pub events: usize,
    /// About how many bytes they take. The newest event is kept whatever its size.
    pub bytes: usize,
}

impl Keep {
    /// Returns how much a channel with these settings keeps.
    pub(super) fn of(self, settings: &ChannelSettings) -> Self {
        let size = settings.frames_size.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        Self { events: size.unwrap_or(self.events), ..self }
    }

    /// Returns how much is kept if there are also so many events that are never dropped.
    pub(super) fn beside(self, never_dropped: usize) -> Self {
        Self { events: self.events.saturating_add(never_dropped), ..self }
    }
}

/// The newest events of a channel or user, oldest first. Most users have none, and pay one pointer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct StoredEvents(Option<Box<Log>>);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Log {
    events: VecDeque<Stored>,
    /// The sizes of all events.
    bytes: usize,
    /// The number of the newest event that is not stored: dropped, or never kept.
    lost: Sequence,
    #[serde(with = "As::<Second<Same>>")]
    expiring: Expiring,
}

static EMPTY: Log = Log { events: VecDeque::new(), bytes: 0, lost: 0, expiring: Expiring::NONE };

/// An event with its number and size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) sequence: Sequence,
    #[serde(with = "stored::Event")]
    pub(super) event: Event,
    pub(super) size: usize,
    #[serde(with = "As::<Second<Same>>")]
    added: Moment,
}

impl Aged for Stored {
    fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn added(&self) -> Moment {
        self.added
    }

    fn may_grow(&self) -> bool {
        self.event.may_grow()
    }
}

impl StoredEvents {
    fn log(&self) -> &Log {
        self.0.as_deref().unwrap_or(&EMPTY)
    }

    fn log_mut(&mut self) -> &mut Log {
        self.0.get_or_insert_default()
    }

    /// Adds an event, and drops the oldest ones above `keep`, but no message that may grow. The ids of
    /// growing messages that are dropped are added to `gone`.
    pub(super) fn push(
        &mut self,
        sequence: Sequence,
        event: Event,
        life: Life,
        keep: Keep,
        gone: &mut Vec<Uuid>,
    ) {
        let size = event.size();
        let log = self.log_mut();
        log.bytes += size;
        log.events.push_back(Stored { sequence, event, size, added: life.added });
        log.expiring.insert(sequence, life.expires);
        while log.events.len() > keep.events || log.bytes > keep.bytes && log.events.len() > 1 {
            let oldest = log.events.iter().position(|one| !one.event.may_grow());
            let Some(dropped) = oldest.and_then(|oldest| log.events.remove(oldest)) else { break };
            log.is_lost(dropped, gone);
        }
    }

    /// Drops what has expired, and what is older than `lifetime`, but no more than `left` events. Returns
    /// how many they were. What has expired leaves no gap: its publisher asked for it.
    pub(super) fn fade(
        &mut self,
        now: Moment,
        lifetime: Option<Duration>,
        left: usize,
        gone: &mut Vec<Uuid>,
    ) -> usize {
        let Some(log) = &mut self.0 else { return 0 };
        let expired = log.expiring.take_due(now, left);
        let bytes = &mut log.bytes;
        take_out(&mut log.events, &expired, |one| *bytes -= one.size);
        let Some(lifetime) = lifetime else { return expired.len() };
        let old = take_old(&mut log.events, lifetime, now, left - expired.len());
        let faded = expired.len() + old.len();
        old.into_iter().for_each(|one| log.is_lost(one, gone));
        faded
    }

    /// Returns when something is due to leave.
    pub(super) fn fades(&self, lifetime: Option<Duration>) -> Option<Moment> {
        let Log { events, expiring, .. } = self.log();
        let old = lifetime.and_then(|lifetime| Some(oldest(events)?.after(lifetime)));
        [expiring.first(), old].into_iter().flatten().min()
    }

    /// Begins to note what the first level does not.
    pub(super) fn begin_to_fade(&mut self, now: Moment) {
        let events = self.0.iter_mut().flat_map(|log| log.events.iter_mut());
        events.for_each(|one| one.added = now);
    }

    /// Notes an event that this place does not keep.
    pub(super) fn skip(&mut self, sequence: Sequence) {
        let log = self.log_mut();
        log.lost = log.lost.max(sequence);
    }

    /// Returns the number of the newest event that is not stored.
    pub(super) fn lost(&self) -> Sequence {
        self.log().lost
    }

    /// Iterates over the events for `user` that were not sent.
    pub(super) fn unsent<'a>(
        &'a self,
        record: &'a Record,
        user: &'a str,
    ) -> impl Iterator<Item = (Sequence, Event)> + 'a {
        self.log()
            .events
            .iter()
            .filter(|one| record.has_not_sent(one.sequence) && one.event.is_for(user))
            .map(|one| (one.sequence, one.event.clone()))
    }

    /// Iterates over the events after a number, oldest first.
    pub(super) fn after(&self, after: Sequence) -> impl Iterator<Item = &Stored> {
        let Log { events, .. } = self.log();
        let begin = events.partition_point(|one| one.sequence <= after);
        events.range(begin..)
    }

    /// Returns `true` if there is an event of this number.
    pub(super) fn has(&self, sequence: Sequence) -> bool {
        self.log().events.binary_search_by_key(&sequence, |one| one.sequence).is_ok()
    }

    /// Returns `true` if there is a message of this id.
    pub(super) fn has_message(&self, uuid: Uuid) -> bool {
        self.find(uuid).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.log().events.len()
    }

    /// Returns the newest `limit` events after a number, oldest first, and `true` if there are more.
    pub(super) fn newest_after(
        &self,
        after: Sequence,
        limit: usize,
    ) -> (Vec<(Sequence, Event)>, bool) {
        let Log { events, .. } = self.log();
        let begin = events.partition_point(|one| one.sequence <= after);
        let within = events.len().saturating_sub(limit).max(begin);
        let newest = events.range(within..);
        (newest.map(|one| (one.sequence, one.event.clone())).collect(), within > begin)
    }

    /// Edits the first message with the id of the edit. Returns when it expires.
    pub(super) fn edit(&mut self, edit: &Edit) -> Option<Moment> {
        let (place, message) = self.find(edit.uuid)?;
        let message = Arc::new(edited(message, edit));
        self.put(place, Event::Message(message));
        let Log { events, expiring, .. } = self.log();
        expiring.get(events[place].sequence)
    }

    /// Returns when the first message of this id expires.
    pub(super) fn expiry_of(&self, uuid: Uuid) -> Option<Moment> {
        let Log { events, expiring, .. } = self.log();
        if expiring.is_empty() {
            return None;
        }
        let (place, _) = self.find(uuid)?;
        expiring.get(events[place].sequence)
    }

    fn find(&self, uuid: Uuid) -> Option<(usize, &Message)> {
        self.log().events.iter().enumerate().find_map(|(place, one)| match &one.event {
            Event::Message(message) if message.uuid == uuid => Some((place, &**message)),
            _ => None,
        })
    }

    /// Replaces the message with this number.
    pub(super) fn replace(&mut self, sequence: Sequence, message: &Arc<Message>) {
        let Log { events, .. } = self.log();
        if let Ok(place) = events.binary_search_by_key(&sequence, |one| one.sequence) {
            self.put(place, Event::Message(Arc::clone(message)));
        }
    }

    fn put(&mut self, place: usize, event: Event) {
        let Log { events, bytes, .. } = self.log_mut();
        let one = &mut events[place];
        *bytes -= one.size;
        (one.size, one.event) = (event.size(), event);
        *bytes += one.size;
    }

    /// Drops the message of this id.
    pub(super) fn delete(&mut self, uuid: Uuid) {
        let Some(log) = &mut self.0 else { return };
        let Log { events, bytes, expiring, .. } = &mut **log;
        events.retain(|one| {
            let goes = matches!(&one.event, Event::Message(kept) if kept.uuid == uuid);
            if goes {
                *bytes -= one.size;
                expiring.remove(one.sequence);
            }
            !goes
        });
    }
}

impl Log {
    /// Notes an event that was taken out and that nobody asked to drop.
    fn is_lost(&mut self, one: Stored, gone: &mut Vec<Uuid>) {
        self.bytes -= one.size;
        self.lost = self.lost.max(one.sequence);
        self.expiring.remove(one.sequence);
        if let Event::Message(message) = one.event
            && message.growth.is_some()
        {
            gone.push(message.uuid);
        }
    }
}

/// Returns `message` with the changes of `edit`.
pub(super) fn edited(message: &Message, edit: &Edit) -> Message {
    let mut message = message.clone();
    if let Some(user) = &edit.user {
        message.user.clone_from(user);
    }
    if let Some(payload) = &edit.payload {
        message.payload = Some(Arc::clone(payload));
    }
    if let Some(timestamp) = edit.timestamp {
        message.timestamp = timestamp;
    }
    message.edited = edit.edited;
    message
}

/// What a connection was sent. It does not move while a listener is open; the listener reports what it
/// sent when it closes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    up_to: Sequence,
    /// Sorted; nearly always empty.
    but: Box<[Sequence]>,
}

impl Record {
    /// Creates the record of a connection to which everything so far was sent.
    pub(super) fn at(up_to: Sequence) -> Self {
        Self { up_to, but: Box::default() }
    }

    /// Applies the report of a listener at its end. The listener was opened with everything that the
    /// record had not, so its report is complete.
    pub(super) fn advance(&mut self, mut sent: Sent) {
        // A listener may end before it has come as far as others. Up to there, it lacks nothing more.
        if sent.up_to < self.up_to {
            let lacks = |number: &&Sequence| **number > sent.up_to || sent.but.contains(number);
            self.but = self.but.iter().filter(lacks).copied().collect();
            return;
        }
        sent.but.sort_unstable();
        *self = Self { up_to: sent.up_to, but: sent.but.into_boxed_slice() };
    }

    /// Returns the number up to which everything was sent.
    pub(super) fn whole(&self) -> Sequence {
        self.but.first().map_or(self.up_to, |first| self.up_to.min(first.saturating_sub(1)))
    }

    pub(super) fn has_not_sent(&self, sequence: Sequence) -> bool {
        sequence > self.up_to || self.lacks(sequence)
    }

    /// Returns `true` if a listener had an event of this number and did not send it.
    pub(super) fn lacks(&self, sequence: Sequence) -> bool {
        self.but.binary_search(&sequence).is_ok()
    }
}
