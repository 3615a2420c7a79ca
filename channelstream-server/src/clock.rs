//! Time and luck: the only place that reads the wall clock and draws randomness.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use channelstream_core::protocol::Timestamp;
use channelstream_core::state::{Moment, Stamp};
use uuid::Uuid;

/// Stamps commands, and tells how long it is until a moment.
///
/// Moments come from the monotonic clock, which goes on evenly whatever happens to the time of day.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// The moment at which it started.
    from: Moment,
}

impl Clock {
    /// A clock for a state whose latest stamp was of the moment `from`.
    pub(crate) fn going_on_from(from: Moment) -> Self {
        Self { started: Instant::now(), from }
    }

    /// A stamp for a command that is submitted now.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { now: now(), moment: self.moment(), seed: seed() }
    }

    /// How long it is until a moment; nothing, if it is over.
    pub(crate) fn until(&self, moment: Moment) -> Duration {
        moment.since(self.moment())
    }

    fn moment(&self) -> Moment {
        self.from.after(self.started.elapsed())
    }
}

/// Luck for one command. The system is asked for randomness once: each time would be a system call
/// for each message. From there on, numbers hashed under two secret keys look as random.
fn seed() -> u128 {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [high, low] = KEYS.each_ref().map(|key| u128::from(key.hash_one(count)));
    high << 64 | low
}

/// The time of day, for people.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(i64::try_from(since_1970().as_micros()).unwrap_or(i64::MAX))
}

/// The same in whole seconds, as signatures count it.
pub(crate) fn unix_seconds() -> u64 {
    since_1970().as_secs()
}

/// A clock before 1970 counts as 1970.
#[expect(clippy::disallowed_methods, reason = "what people see and what is signed has this time")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A new id that nobody can guess.
pub(crate) fn secret_id() -> Uuid {
    Uuid::new_v4()
}

/// A new text that nobody can guess: 64 hexadecimal digits.
pub(crate) fn secret_text() -> String {
    format!("{}{}", secret_id().simple(), secret_id().simple())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::seed;

    #[test]
    fn seeds_are_distinct_and_use_all_bits() {
        let seeds: HashSet<u128> = (0..1000).map(|_| seed()).collect();
        assert_eq!(seeds.len(), 1000);
        assert_eq!(seeds.iter().fold(0, |all, seed| all | seed), u128::MAX);
        assert_eq!(seeds.iter().fold(u128::MAX, |all, seed| all & seed), 0);
    }
}
