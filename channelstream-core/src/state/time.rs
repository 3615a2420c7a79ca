//! Own time: the clock that deadlines are on. The wall clock may step; this one can't.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant on a clock that goes forward evenly, in microseconds from whatever beginning.
///
/// There is no way between a moment and a [`Timestamp`](crate::protocol::Timestamp): what is
/// compared with a deadline can't be the time on the wall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(u64);

impl Moment {
    /// The moment `duration` later; the last one there is if there is none so late.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// How much later this is than `earlier`; zero if it isn't.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// The state's own clock, moved by the moments that stamps bring.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct OwnTime {
    /// What deadlines are compared with.
    now: Moment,
    /// The latest moment of a stamp.
    stamped: Moment,
}

impl OwnTime {
    /// Lets the time go on to the moment of a stamp, by `longest_step` at most: while a machine is
    /// suspended or a process stopped, nobody could show that they are there. Whether no stamp was
    /// later.
    pub(super) fn go_on(&mut self, stamped: Moment, longest_step: Duration) -> bool {
        if stamped < self.stamped {
            return false;
        }
        self.now = self.now.after(stamped.since(self.stamped).min(longest_step));
        self.stamped = stamped;
        true
    }

    pub(super) fn now(&self) -> Moment {
        self.now
    }

    pub(super) fn latest_stamp(&self) -> Moment {
        self.stamped
    }

    /// When, on the clock of the stamps, it will be `when` on this one.
    pub(super) fn stamp_of(&self, when: Moment) -> Moment {
        self.stamped.after(when.since(self.now))
    }
}
