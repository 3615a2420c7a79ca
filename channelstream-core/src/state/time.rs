//! Own time: the clock of deadlines. The wall clock may step; this one cannot.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant on a clock that goes forward evenly, in microseconds from an arbitrary beginning.
///
/// A moment cannot be converted from or to a [`Timestamp`](crate::protocol::Timestamp), so that the wall
/// time is never compared with a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(
    /// One more than the microseconds, so that a deadline that is not set takes no memory of its own.
    NonZeroU64,
);

impl Moment {
    /// Returns the moment `duration` later. It saturates.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// Returns the time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Moment {
    fn default() -> Self {
        Self(NonZeroU64::MIN)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.get() - 1)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|micros| Self(NonZeroU64::MIN.saturating_add(micros)))
    }
}

/// The clock of the state, which the moments of stamps advance.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct OwnTime {
    /// What deadlines are compared with.
    now: Moment,
    /// The latest moment of a stamp.
    stamped: Moment,
}

impl OwnTime {
    /// Advances the time to the moment of a stamp, by `longest_step` at most: while a machine is
    /// suspended or a process stopped, no client could show activity. Returns `false` if an
    /// earlier stamp had a later moment.
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

    /// Returns the moment of the stamps at which it is `when` on this clock.
    pub(super) fn stamp_of(&self, when: Moment) -> Moment {
        self.stamped.after(when.since(self.now))
    }
}
