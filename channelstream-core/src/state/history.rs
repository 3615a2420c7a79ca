//! The history of a channel: its newest messages, and up to where messages are missing (contract §8, §14).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};
use serde_with::{As, Same};
use uuid::Uuid;

use super::catchup::edited;
use super::command::Sequence;
use super::fading::{Aged, Expiring, Life, oldest, take_old, take_out};
use super::stored::{Second, SharedMessage};
use super::time::Moment;
use crate::protocol::{Edit, Message};

/// The newest messages of a channel, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct History {
    messages: VecDeque<Remembered>,
    /// The number of the newest message that is missing and that nobody asked to drop.
    #[serde(with = "As::<Second<Same>>")]
    lost: Sequence,
    #[serde(with = "As::<Second<Same>>")]
    expiring: Expiring,
}

/// A message with its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) sequence: Sequence,
    #[serde(with = "As::<SharedMessage>")]
    pub(super) message: Arc<Message>,
    #[serde(with = "As::<Second<Same>>")]
    added: Moment,
}

impl Aged for Remembered {
    fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn added(&self) -> Moment {
        self.added
    }

    fn may_grow(&self) -> bool {
        self.message.growth.is_some_and(|growth| growth.is_open())
    }
}

impl History {
    /// Creates the history of a channel that begins now: of messages up to `lost` nothing is known.
    pub(super) fn behind(lost: Sequence) -> Self {
        Self { lost, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Iterates over the messages, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Remembered> {
        self.messages.iter()
    }

    /// Iterates over the messages after a number, oldest first.
    pub(super) fn after(&self, after: Sequence) -> impl Iterator<Item = &Remembered> {
        let begin = self.messages.partition_point(|one| one.sequence <= after);
        self.messages.range(begin..)
    }

    /// Returns the number of the newest message that is missing and that nobody asked to drop.
    pub(super) fn lost(&self) -> Sequence {
        self.lost
    }

    /// Notes a message that the history does not keep.
    pub(super) fn skip(&mut self, sequence: Sequence) {
        self.lost = self.lost.max(sequence);
    }

    pub(super) fn push(&mut self, sequence: Sequence, message: &Arc<Message>, life: Life) {
        let message = Arc::clone(message);
        self.messages.push_back(Remembered { sequence, message, added: life.added });
        self.expiring.insert(sequence, life.expires);
    }

    /// Drops the oldest messages above `size`, but none that may grow. The ids of growing messages that are
    /// dropped are added to `dropped`.
    pub(super) fn trim(&mut self, size: u64, dropped: &mut Vec<Uuid>) {
        while self.messages.len() as u64 > size {
            let oldest = self.messages.iter().position(|one| !one.may_grow());
            let Some(one) = oldest.and_then(|oldest| self.messages.remove(oldest)) else { break };
            self.is_lost(&one, dropped);
        }
    }

    fn is_lost(&mut self, one: &Remembered, dropped: &mut Vec<Uuid>) {
        self.skip(one.sequence);
        self.expiring.remove(one.sequence);
        if one.message.growth.is_some() {
            dropped.push(one.message.uuid);
        }
    }

    /// Drops what has expired, and what is older than `lifetime`, but no more than `left` messages. Returns
    /// how many they were. What has expired is not missing: its publisher asked for it.
    pub(super) fn fade(
        &mut self,
        now: Moment,
        lifetime: Option<Duration>,
        left: usize,
        dropped: &mut Vec<Uuid>,
    ) -> usize {
        let expired = self.expiring.take_due(now, left);
        take_out(&mut self.messages, &expired, |_| {});
        let Some(lifetime) = lifetime else { return expired.len() };
        let old = take_old(&mut self.messages, lifetime, now, left - expired.len());
        old.iter().for_each(|one| self.is_lost(one, dropped));
        expired.len() + old.len()
    }

    /// Returns when something is due to leave.
    pub(super) fn fades(&self, lifetime: Option<Duration>) -> Option<Moment> {
        let old = lifetime.and_then(|lifetime| Some(oldest(&self.messages)?.after(lifetime)));
        [self.expiring.first(), old].into_iter().flatten().min()
    }

    /// Returns the number up to which nothing is known of messages, if nobody noted it.
    pub(super) fn unknown_up_to(&self, newest: Sequence) -> Sequence {
        self.messages.front().map_or(newest, |one| one.sequence.saturating_sub(1))
    }

    /// Begins to note what the first level does not.
    pub(super) fn begin_to_fade(&mut self, newest: Sequence, now: Moment) {
        self.lost = self.unknown_up_to(newest);
        self.messages.iter_mut().for_each(|one| one.added = now);
    }

    /// Replaces the message with this number.
    pub(super) fn replace(&mut self, sequence: Sequence, message: &Arc<Message>) {
        if let Some(place) = self.place(sequence) {
            self.messages[place].message = Arc::clone(message);
        }
    }

    /// Returns the place of the message with this number.
    pub(super) fn place(&self, sequence: Sequence) -> Option<usize> {
        self.messages.binary_search_by_key(&sequence, |one| one.sequence).ok()
    }

    /// Returns the first place of each of these ids.
    pub(super) fn places(&self, ids: &IndexSet<Uuid>) -> IndexMap<Uuid, usize> {
        let mut places = IndexMap::with_capacity(ids.len());
        for (place, one) in self.messages.iter().enumerate() {
            if ids.contains(&one.message.uuid) {
                places.entry(one.message.uuid).or_insert(place);
            }
        }
        places
    }

    /// Edits the message at this place. Returns it, and when it expires.
    pub(super) fn edit(
        &mut self,
        place: usize,
        edit: &Edit,
    ) -> Option<(&Remembered, Option<Moment>)> {
        let one = self.messages.get_mut(place)?;
        one.message = Arc::new(edited(&one.message, edit));
        let expires = self.expiring.get(one.sequence);
        Some((one, expires))
    }

    /// Removes messages.
    pub(super) fn forget(&mut self, ids: &IndexSet<Uuid>) {
        self.messages.retain(|one| {
            let goes = ids.contains(&one.message.uuid);
            if goes {
                self.expiring.remove(one.sequence);
            }
            !goes
        });
    }
}
