//! Portions: what a listener reads from the state, encoded once for all that read the same.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use channelstream_core::protocol::{Cursor, Event};
use channelstream_core::state::{Read, State};
use indexmap::IndexMap;

use super::outbox::{EncodedPortion, Outbox};
use crate::metrics::Metrics;
use crate::wire::Encoding;

/// How many bytes of encoded events are kept for the next listener that reads them. Listeners that
/// come back at the same time read the same events one after another.
const KEPT: usize = 8 << 20;

/// Reads portions, and keeps the newest encoded events.
#[derive(Debug, Default)]
pub(crate) struct Portions {
    encoded: IndexMap<Key, Encoded>,
    /// The keys, oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

type Key = (Cursor, Encoding);

/// An event and its bytes. The number of an event stays when its message is edited, so that the event
/// has to be compared.
#[derive(Debug)]
struct Encoded {
    event: Event,
    bytes: Bytes,
}

impl Portions {
    /// Reads the next portion for a listener that asked for it. Returns `None` if it has ended, or has to
    /// wait for an older one.
    pub(crate) fn read(
        &mut self,
        state: &State,
        outbox: &Outbox,
        metrics: &Metrics,
    ) -> Option<EncodedPortion> {
        let (connection, mut reading) = outbox.asked()?;
        let Some(portion) = state.read(connection, &mut reading) else {
            outbox.asks_again();
            return None;
        };
        metrics.portions_read.increment();
        let gaps = portion.events.iter().filter_map(|read| match &read.event {
            Event::Gap(gap) => Some(gap.reason),
            _ => None,
        });
        gaps.for_each(|reason| metrics.gap(reason));
        let encode = |read: Read| {
            let number = (!is_for_one(&read.event)).then_some(read.sequence);
            (number, self.encode(read, outbox.encoding()))
        };
        let events = portion.events.into_iter().map(encode).collect();
        Some(EncodedPortion { events, behind: (!portion.is_complete).then_some(reading) })
    }

    fn encode(&mut self, Read { cursor, event, .. }: Read, encoding: Encoding) -> Bytes {
        let key = (cursor, encoding);
        if let Some(known) = self.encoded.get(&key).filter(|known| is_same(&known.event, &event)) {
            return known.bytes.clone();
        }
        let bytes = encoding.events(cursor, &[event.encode(true)]);
        if is_for_one(&event) {
            return bytes;
        }
        self.bytes += bytes.len();
        let encoded = Encoded { event, bytes: bytes.clone() };
        match self.encoded.insert(key, encoded) {
            Some(older) => self.bytes -= older.bytes.len(),
            None => self.order.push_back(key),
        }
        while self.bytes > KEPT {
            let oldest = self.order.pop_front().and_then(|key| self.encoded.swap_remove(&key));
            let Some(oldest) = oldest else { break };
            self.bytes -= oldest.bytes.len();
        }
        bytes
    }
}

/// Returns `true` for an event that only this listener receives.
fn is_for_one(event: &Event) -> bool {
    matches!(event, Event::Gap(_) | Event::Cursor)
}

/// Returns `true` if both are one event in memory.
fn is_same(one: &Event, other: &Event) -> bool {
    match (one, other) {
        (Event::Message(one), Event::Message(other)) => Arc::ptr_eq(one, other),
        (Event::Edit(one), Event::Edit(other)) => Arc::ptr_eq(one, other),
        (Event::Delete(one), Event::Delete(other)) => Arc::ptr_eq(one, other),
        (Event::Presence(one), Event::Presence(other)) => Arc::ptr_eq(one, other),
        (Event::Append(one), Event::Append(other)) => {
            (one.uuid, one.from, one.rev) == (other.uuid, other.from, other.rev)
        }
        (Event::UserStateChange(one), Event::UserStateChange(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}
