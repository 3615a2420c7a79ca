//! The next snapshot: made by replaying, as a restart does, and not by stopping anything.

use channelstream_core::state::stored::{self, Levels, StoredError, UnknownLevel};
use channelstream_core::state::{SnapshotError, State};
use thiserror::Error;

/// Why there is no next snapshot.
#[derive(Debug, Error)]
pub(crate) enum ReplayError {
    #[error("the snapshot cannot be restored")]
    Snapshot(#[from] SnapshotError),
    #[error("entry {number} cannot be replayed")]
    Entry { number: u64, source: StoredError },
    #[error("entry {number} raises the journal to {level}")]
    Level { number: u64, level: UnknownLevel },
    #[error(
        "the snapshot that was written is not the state: the memory of this machine may be bad"
    )]
    Differs,
}

/// A state that goes on by the entries of a journal.
#[derive(Debug)]
pub(super) struct Replay {
    state: State,
    /// The levels that it may have.
    known: Levels,
    /// The number of the next entry.
    number: u64,
}

impl Replay {
    /// Begins with a snapshot that was taken before the entry `number`.
    pub(super) fn restore(
        snapshot: &[u8],
        number: u64,
        known: Levels,
    ) -> Result<Self, SnapshotError> {
        Ok(Self { state: State::restore_for(snapshot, known)?, known, number })
    }

    /// Applies the next entry.
    pub(super) fn apply(&mut self, entry: &[u8]) -> Result<(), ReplayError> {
        let number = self.number;
        let envelope = stored::decode(entry, self.known);
        let envelope = envelope.map_err(|source| ReplayError::Entry { number, source })?;
        // Who listened then is gone, and who asked was answered.
        drop(self.state.apply(envelope));
        self.number += 1;
        let level = self.known.check(self.state.level());
        level.map_err(|level| ReplayError::Level { number, level })
    }

    /// Returns the number of the next entry.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn into_state(self) -> State {
        self.state
    }

    /// Returns a snapshot, after it was restored and found to be the same state.
    pub(super) fn into_snapshot(self) -> Result<Vec<u8>, ReplayError> {
        let (bytes, digest) = (self.state.snapshot(), self.state.digest());
        drop(self.state);
        let restored = State::restore_for(&bytes, self.known)?;
        if restored.digest() == digest { Ok(bytes) } else { Err(ReplayError::Differs) }
    }
}
