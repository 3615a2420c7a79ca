//! What nodes of a simulation apply entries to.

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::stored::decode;
use channelstream_core::state::{Command, Envelope, NodeId, Order, Position, Rules, State};

use crate::journal::redis::protocol::message::Entry;

/// The state of a node, and a log of the operations that were carried out on it, which shows what
/// became of each.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) state: State,
    operations: Vec<u32>,
    /// Notes operations again that were there before.
    is_forgetful: bool,
}

/// What applying an entry did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applied {
    /// The operation in the entry; 0 for none.
    pub(super) operation: u32,
    pub(super) is_new: bool,
    /// The digest of the state after it.
    pub(super) digest: u64,
}

impl Replica {
    pub(super) fn new(node: NodeId, is_forgetful: bool) -> Self {
        let state = State::new(Rules::default()).for_node(node);
        Self { state, operations: Vec::new(), is_forgetful }
    }

    /// Returns the random bits of an envelope that carries out an operation.
    pub(super) fn seed(random: u64, operation: u32) -> u128 {
        u128::from(random) << 64 | u128::from(operation)
    }

    /// Applies the next entry.
    pub(super) fn apply(&mut self, entry: &Entry) -> Applied {
        let envelope: Envelope = decode(&entry.bytes).unwrap();
        assert_eq!((envelope.node, envelope.number), (entry.node, entry.number));
        let operation = (envelope.stamp.seed & u128::from(u32::MAX)).try_into().unwrap();
        let is_new = self.state.apply(envelope).is_new || self.is_forgetful;
        if is_new && operation > 0 {
            self.operations.push(operation);
        }
        Applied { operation, is_new, digest: self.state.digest() }
    }

    /// Returns the entry with another command in it.
    pub(super) fn flipped(entry: &Entry) -> Entry {
        let mut envelope: Envelope = decode(&entry.bytes).unwrap();
        if let Command::Publish(messages) = &mut envelope.command {
            messages.clear();
        }
        Entry::of(&envelope)
    }

    pub(super) fn order(&self) -> &Order {
        self.state.order()
    }

    pub(super) fn operations(&self) -> &[u32] {
        &self.operations
    }

    /// Returns `true` if the entry at this position is part of the order: what clients are told of a
    /// cursor.
    pub(super) fn includes(&self, position: Position) -> bool {
        let epochs = self.order().epochs();
        let Some(index) = epochs.iter().position(|began| began.epoch == position.epoch) else {
            return position.epoch == Epoch::default();
        };
        let end = epochs.get(index + 1).map_or(self.order().position(), |next| next.after);
        position <= end
    }

    /// Returns the replica as bytes.
    pub(super) fn snapshot(&self) -> Bytes {
        let state = self.state.snapshot();
        let mut bytes = u32::try_from(state.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(state);
        bytes.push(u8::from(self.is_forgetful));
        bytes.extend(self.operations.iter().flat_map(|operation| operation.to_le_bytes()));
        bytes.into()
    }

    /// Restores what [`Replica::snapshot`] wrote, for this node.
    pub(super) fn restore(node: NodeId, bytes: &[u8]) -> Self {
        let (length, rest) = bytes.split_first_chunk().unwrap();
        let (state, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        let operations = rest[1..].as_chunks().0.iter().copied().map(u32::from_le_bytes);
        Self {
            state: State::restore(state).unwrap().for_node(node),
            operations: operations.collect(),
            is_forgetful: rest[0] == 1,
        }
    }
}
