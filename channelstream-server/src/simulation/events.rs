//! What happens in a simulation, and when.

use std::cmp::Ordering;

use bytes::Bytes;
use channelstream_core::state::Position;

use super::redis::{Asked, Data};
use crate::journal::redis::protocol::message::{Answer, Line};

/// What happens.
#[derive(Debug)]
pub(super) enum Event {
    AtRedis {
        node: usize,
        session: u64,
        line: Line,
        process: usize,
        asked: Asked,
    },
    AtNode {
        node: usize,
        session: u64,
        line: Line,
        answer: Answer<Bytes>,
    },
    Progress {
        node: usize,
        session: u64,
        line: Line,
    },
    ReadEnds {
        node: usize,
        session: u64,
        process: usize,
    },
    Opened {
        node: usize,
        session: u64,
    },
    Broke {
        node: usize,
        session: u64,
    },
    Wake {
        node: usize,
        at: u64,
    },
    SnapshotMade {
        node: usize,
        position: Position,
        snapshot: Bytes,
    },
    Command,
    Alive {
        node: usize,
    },
    Tick {
        node: usize,
        at: u64,
    },
    Watch {
        watcher: usize,
    },
    Replicate,
    Persist,
    Fault,
    /// Whoever makes snapshots looks whether Redis has one to begin from.
    Check,
    /// Somebody puts back data that were there before.
    PutBack {
        process: usize,
        data: Box<Data>,
    },
    Heal,
    Roll,
    RedisUp,
}

/// When something happens.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) at: u64,
    /// Events of one time happen in the order in which they were planned.
    pub(super) number: u64,
    pub(super) event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
