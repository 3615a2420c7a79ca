//! What nodes of a simulation apply entries to.

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::{Order, Position};

use crate::journal::redis::protocol::message::{Entry, Kind};

/// A log of what was applied: the numbers of operations. It is the smallest state that shows whether all
/// nodes have applied the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    order: Order,
    operations: Vec<u32>,
    /// Applies entries again that were there before.
    forgetful: bool,
}

impl Log {
    pub(super) fn new(forgetful: bool) -> Self {
        Self { forgetful, ..Self::default() }
    }

    /// Returns the operation in an entry; 0 for none.
    pub(super) fn operation(entry: &Entry) -> u32 {
        entry.bytes[..].try_into().map_or(0, u32::from_le_bytes)
    }

    /// Applies the next entry. Returns `false` if it was there before.
    pub(super) fn apply(&mut self, position: Position, entry: &Entry) -> bool {
        if entry.kind == Kind::Begin {
            self.order.begin(position.epoch, self.operations.len() as u64);
            return true;
        }
        let is_new = self.order.next(entry.node, entry.number) || self.forgetful;
        let operation = Self::operation(entry);
        if is_new && operation > 0 {
            self.operations.push(operation);
        }
        is_new
    }

    pub(super) fn order(&self) -> &Order {
        &self.order
    }

    pub(super) fn operations(&self) -> &[u32] {
        &self.operations
    }

    /// Returns `true` if the entry at this position is part of the order: what clients are told of a
    /// cursor.
    pub(super) fn includes(&self, position: Position) -> bool {
        let epochs = self.order.epochs();
        let Some(index) = epochs.iter().position(|began| began.epoch == position.epoch) else {
            return position.epoch == Epoch::default();
        };
        let end = epochs.get(index + 1).map_or(self.order.position(), |next| next.after);
        position <= end
    }

    /// Returns the log as bytes.
    pub(super) fn snapshot(&self) -> Bytes {
        let order = serde_json::to_vec(&self.order).unwrap();
        let mut bytes = u32::try_from(order.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(order);
        bytes.push(u8::from(self.forgetful));
        bytes.extend(self.operations.iter().flat_map(|operation| operation.to_le_bytes()));
        bytes.into()
    }

    /// Restores what [`Log::snapshot`] wrote.
    pub(super) fn restore(bytes: &[u8]) -> Self {
        let (length, rest) = bytes.split_first_chunk().unwrap();
        let (order, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        let operations = rest[1..].as_chunks().0.iter().copied().map(u32::from_le_bytes);
        Self {
            order: serde_json::from_slice(order).unwrap(),
            operations: operations.collect(),
            forgetful: rest[0] == 1,
        }
    }
}
