//! Stored events: what is kept for catch-up, and what a cursor has not seen (contract §8).

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::command::{Sent, Sequence};
use crate::protocol::{Edit, Event, Message};

/// The newest events of a channel or user, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct StoredEvents(VecDeque<(Sequence, Event)>);

impl StoredEvents {
    /// Adds an event, and drops the oldest ones above `keep`, but no message that may grow. The ids of
    /// growing messages that are dropped are added to `dropped`.
    pub(super) fn push(
        &mut self,
        sequence: Sequence,
        event: Event,
        keep: usize,
        dropped: &mut Vec<Uuid>,
    ) {
        self.0.push_back((sequence, event));
        while self.0.len() > keep {
            let oldest = self.0.iter().position(|(_, event)| !event.may_grow());
            let Some(oldest) = oldest else { break };
            if let Some((_, Event::Message(message))) = self.0.remove(oldest)
                && message.growth.is_some()
            {
                dropped.push(message.uuid);
            }
        }
    }

    /// Iterates over the events for `user` that were not sent.
    pub(super) fn unsent<'a>(
        &'a self,
        cursor: &'a Cursor,
        user: &'a str,
    ) -> impl Iterator<Item = (Sequence, Event)> + 'a {
        self.0
            .iter()
            .filter(|(sequence, event)| cursor.has_not_sent(*sequence) && event.is_for(user))
            .map(|(sequence, event)| (*sequence, event.clone()))
    }

    /// Returns `true` if there is an event of this number.
    pub(super) fn has(&self, sequence: Sequence) -> bool {
        self.0.binary_search_by_key(&sequence, |(sequence, _)| *sequence).is_ok()
    }

    /// Returns `true` if there is a message of this id.
    pub(super) fn has_message(&self, uuid: Uuid) -> bool {
        self.0
            .iter()
            .any(|(_, event)| matches!(event, Event::Message(message) if message.uuid == uuid))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the number of the oldest event.
    pub(super) fn first(&self) -> Option<Sequence> {
        self.0.front().map(|(sequence, _)| *sequence)
    }

    /// Returns the newest `limit` events after a number, oldest first, and `true` if there are more.
    pub(super) fn newest_after(
        &self,
        after: Sequence,
        limit: usize,
    ) -> (Vec<(Sequence, Event)>, bool) {
        let begin = self.0.partition_point(|(sequence, _)| *sequence <= after);
        let within = self.0.len().saturating_sub(limit).max(begin);
        (self.0.range(within..).cloned().collect(), within > begin)
    }

    /// Edits the first message with the id of the edit.
    pub(super) fn edit(&mut self, edit: &Edit) {
        let found = self.0.iter_mut().find_map(|(_, event)| match event {
            Event::Message(message) if message.uuid == edit.uuid => Some(message),
            _ => None,
        });
        if let Some(message) = found {
            *message = Arc::new(edited(message, edit));
        }
    }

    /// Replaces the message with this number.
    pub(super) fn replace(&mut self, sequence: Sequence, message: &Arc<Message>) {
        if let Ok(place) = self.0.binary_search_by_key(&sequence, |(sequence, _)| *sequence) {
            self.0[place].1 = Event::Message(Arc::clone(message));
        }
    }

    /// Drops the message of this id.
    pub(super) fn delete(&mut self, uuid: Uuid) {
        self.0.retain(|(_, event)| !matches!(event, Event::Message(kept) if kept.uuid == uuid));
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
pub(super) struct Cursor {
    up_to: Sequence,
    /// Sorted; nearly always empty.
    but: Box<[Sequence]>,
}

impl Cursor {
    /// Creates a cursor for which everything so far was sent.
    pub(super) fn at(up_to: Sequence) -> Self {
        Self { up_to, but: Box::default() }
    }

    /// Applies the report of a listener at its end. The listener was opened with everything that the
    /// cursor had not sent, so its report is complete.
    pub(super) fn advance(&mut self, mut sent: Sent) {
        sent.but.sort_unstable();
        *self = Self { up_to: sent.up_to.max(self.up_to), but: sent.but.into_boxed_slice() };
    }

    pub(super) fn has_not_sent(&self, sequence: Sequence) -> bool {
        sequence > self.up_to || self.lacks(sequence)
    }

    /// Returns `true` if a listener had an event of this number and did not send it.
    pub(super) fn lacks(&self, sequence: Sequence) -> bool {
        self.but.binary_search(&sequence).is_ok()
    }
}
