//! How far a growing message has grown (contract §14).

use serde::{Deserialize, Serialize};

/// The state of a growing message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It grows.
    Open,
    /// Its publisher finished it.
    Done,
    /// A reader or its publisher canceled it.
    Cancelled,
    /// Its publisher gave it up.
    Failed,
    /// Its publisher has been silent for `append_timeout`. The next append opens it again.
    Stalled,
}

impl Status {
    /// Returns `true` if nothing is appended any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Failed)
    }
}

/// How far a message has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// Its status.
    pub status: Status,
    /// The number of its changes so far.
    pub rev: u64,
}

impl Growth {
    /// The growth of a message that was opened just now.
    pub const NEW: Self = Self { status: Status::Open, rev: 0 };

    /// Returns `true` if the message may still grow.
    pub fn is_open(&self) -> bool {
        !self.status.is_final()
    }
}
