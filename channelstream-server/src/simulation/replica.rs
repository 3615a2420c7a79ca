//! What nodes of a simulation apply entries to.

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::stored::{Levels, UnknownLevel, decode};
use channelstream_core::state::{
    Command, Envelope, Keep, NodeId, Order, Outcome, Position, Rules, SnapshotError, State,
};

use crate::journal::redis::protocol::message::{Answer, Entry};

/// The levels that a release knows, the one after it, and both together.
pub(super) const OLD: Levels = Levels { oldest: 1, newest: 1 };
pub(super) const NEW: Levels = Levels { oldest: 1, newest: 2 };
const ANY: Levels = NEW;

/// What an operation that was carried out by the rules of the second level has in the log.
pub(super) const AT_SECOND: u32 = 1 << 31;

/// The state of a node, and a log of the operations that were carried out on it, which shows what
/// became of each.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) state: State,
    operations: Vec<u32>,
    /// The levels that the node knows.
    pub(super) known: Levels,
    /// The newest level whose rules it has. A node that claims to know more has a fault.
    goes_by: u32,
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
    pub(super) fn new(node: NodeId, (known, goes_by): (Levels, u32), is_forgetful: bool) -> Self {
        // Few, so that clients miss some.
        let channel_events = Keep { events: 30, ..Rules::default().channel_events };
        let rules = Rules { channel_events, ..Rules::default() };
        let state = State::new(rules).at_level(known.oldest).for_node(node);
        Self { state, operations: Vec::new(), known, goes_by, is_forgetful }
    }

    /// Returns the random bits of an envelope that carries out an operation.
    pub(super) fn seed(random: u64, operation: u32) -> u128 {
        u128::from(random) << 64 | u128::from(operation)
    }

    /// Applies the next entry, which is of a level that the node knows.
    pub(super) fn apply(&mut self, entry: &Entry) -> (Applied, Outcome) {
        let envelope: Envelope = decode(&entry.bytes, ANY).unwrap();
        assert_eq!((envelope.node, envelope.number), (entry.node, entry.number));
        let operation = (envelope.stamp.seed & u128::from(u32::MAX)).try_into().unwrap();
        let outcome = self.state.apply(envelope);
        let is_new = outcome.is_new || self.is_forgetful;
        if is_new && operation > 0 {
            // The second level of the simulator: it has another effect.
            let is_second = self.state.level() >= 2 && self.goes_by >= 2;
            self.operations.push(operation | if is_second { AT_SECOND } else { 0 });
        }
        (Applied { operation, is_new, digest: self.state.digest() }, outcome)
    }

    /// Returns the entry with another command in it.
    pub(super) fn flipped(entry: &Entry) -> Entry {
        let mut envelope: Envelope = decode(&entry.bytes, ANY).unwrap();
        if let Command::Publish(messages) = &mut envelope.command {
            messages.clear();
        }
        Entry::of(&envelope, u32::from(entry.bytes[0]))
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

    /// Restores what [`Replica::snapshot`] wrote, for the node of this replica.
    fn restore(&self, node: NodeId, bytes: &[u8]) -> Result<Self, UnknownLevel> {
        let Self { known, goes_by, .. } = *self;
        let (length, rest) = bytes.split_first_chunk().unwrap();
        let (state, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        let operations = rest[1..].as_chunks().0.iter().copied().map(u32::from_le_bytes);
        let state = match State::restore_for(state, known) {
            Ok(state) => state.for_node(node),
            Err(SnapshotError::Level(level)) => return Err(level),
            Err(error) => panic!("{error}"),
        };
        let (operations, is_forgetful) = (operations.collect(), rest[0] == 1);
        Ok(Self { state, operations, known, goes_by, is_forgetful })
    }

    /// Reads the snapshot or the entries in an answer to the node of this replica.
    pub(super) fn read(
        &self,
        node: NodeId,
        answer: Answer<Bytes>,
    ) -> Result<Answer<Self>, UnknownLevel> {
        let known = self.known;
        Ok(match answer {
            Answer::Loaded(None) => Answer::Loaded(None),
            Answer::Loaded(Some((_, bytes))) => {
                let replica = self.restore(node, &bytes)?;
                Answer::Loaded(Some((replica.order().clone(), replica)))
            }
            Answer::Met { run, view } => Answer::Met { run, view },
            Answer::Appended(appended) => Answer::Appended(appended),
            Answer::Entries(mut entries) => {
                let junk = entries.iter().position(|(_, entry)| entry.bytes.is_empty());
                if junk == Some(0) {
                    return Ok(Answer::Unreadable(entries[0].0));
                }
                entries.truncate(junk.unwrap_or(entries.len()));
                for (_, entry) in &entries {
                    // The level stands before all else.
                    known.check(u32::from(entry.bytes[0]))?;
                }
                Answer::Entries(entries)
            }
            Answer::Moved => Answer::Moved,
            Answer::Unreadable(at) => Answer::Unreadable(at),
            Answer::Claims { claims, view } => Answer::Claims { claims, view },
            Answer::PutBack => Answer::PutBack,
            Answer::Begun { is_done } => Answer::Begun { is_done },
            Answer::Noted => Answer::Noted,
            Answer::Saved => Answer::Saved,
        })
    }
}
