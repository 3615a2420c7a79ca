//! Time and randomness: the only place that reads the wall clock and generates random numbers.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use channelstream_core::protocol::{Epoch, Timestamp};
use channelstream_core::state::{Moment, Stamp};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// Stamps commands, and measures the time until a moment.
///
/// Moments come from the monotonic clock, which does not follow changes of the time of day.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// The moment at the start.
    from: Moment,
    /// How far those whose stamps were seen are ahead, in microseconds.
    ahead: Arc<AtomicU64>,
    /// How far tests have put the stamps ahead, in microseconds: the moments and the time of day.
    tested: Arc<AtomicU64>,
    /// Held while a test puts them ahead.
    advancing: Arc<Mutex<()>>,
}

impl Clock {
    /// A clock for a state whose latest stamp has the moment `from`.
    pub(crate) fn going_on_from(from: Moment) -> Self {
        let (ahead, tested, advancing) = Default::default();
        Self { started: Instant::now(), from, ahead, tested, advancing }
    }

    /// Returns the stamp of a command that is submitted now.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { now: self.now(), moment: self.moment(), seed: seed() }
    }

    /// Returns the time of day of a stamp.
    pub(crate) fn now(&self) -> Timestamp {
        now().after(self.ahead_for_tests())
    }

    /// Waits until no other test puts the stamps ahead.
    pub(crate) async fn turn_to_advance(&self) -> MutexGuard<'_, ()> {
        self.advancing.lock().await
    }

    /// Puts the stamps ahead, for a test. What has no stamp stays: signatures are checked by the clocks of
    /// those who sign.
    pub(crate) fn advance(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.tested.fetch_add(micros, Ordering::Relaxed);
    }

    /// Returns how far tests have put the stamps ahead.
    pub(crate) fn ahead_for_tests(&self) -> Duration {
        Duration::from_micros(self.tested.load(Ordering::Relaxed))
    }

    /// Returns the time until a moment; zero if it has passed.
    pub(crate) fn until(&self, moment: Moment) -> Duration {
        moment.since(self.moment())
    }

    /// Returns the time from a moment until `now`; zero if the moment is later.
    pub(crate) fn since(&self, moment: Moment, now: Instant) -> Duration {
        self.moment_at(now).since(moment)
    }

    /// Goes ahead to a moment that somebody else has stamped, if that is later. So the clocks of all that
    /// read each other's stamps are one, and none of them ever goes back.
    pub(crate) fn follow(&self, moment: Moment) {
        let behind = moment.since(self.moment());
        if behind > Duration::ZERO {
            let micros = u64::try_from(behind.as_micros()).unwrap_or(u64::MAX);
            self.ahead.fetch_add(micros, Ordering::Relaxed);
        }
    }

    fn moment(&self) -> Moment {
        self.moment_at(Instant::now())
    }

    fn moment_at(&self, now: Instant) -> Moment {
        let ahead = Duration::from_micros(self.ahead.load(Ordering::Relaxed));
        let ahead = ahead + self.ahead_for_tests();
        self.from.after(now.saturating_duration_since(self.started) + ahead)
    }
}

/// Returns the random bits of one command, from which the public ids of messages, users and channels
/// are derived. They must not repeat, but are no secrets: what must not be guessed, such as a `conn_id`,
/// comes from [`secret_id`].
///
/// It hashes a counter under two random keys. The operating system is asked for randomness once,
/// since `getrandom` is a system call, and one for each message would be measurable. A generator crate
/// would be a dependency for these four lines: `uuid` brings only the system's source.
fn seed() -> u128 {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [high, low] = KEYS.each_ref().map(|key| u128::from(key.hash_one(count)));
    high << 64 | low
}

/// Returns random bits that nobody can guess.
pub(crate) fn salt() -> u64 {
    secret_id().as_u64_pair().1
}

/// Returns the epoch of an order of events that begins now: the time of day in microseconds, the last 20
/// bits of which are random. It is greater than `last`, the latest epoch that is known, wherever the
/// time of day went since.
pub(crate) fn epoch(last: Epoch) -> Epoch {
    epoch_at(since_1970(), salt(), last)
}

/// Returns the epoch that begins at a time of day.
pub(crate) fn epoch_at(time: Duration, random: u64, last: Epoch) -> Epoch {
    /// Two nodes hardly begin the same epoch on two servers, even in the same second, or if both have to
    /// begin right after an epoch that their clocks are behind.
    const RANDOM: u64 = 0xf_ffff;
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX) & !RANDOM;
    let earliest = (last.get() | RANDOM).saturating_add(1);
    Epoch::new(micros.max(earliest) | random & RANDOM)
}

/// Returns the time of day, for people.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(i64::try_from(since_1970().as_micros()).unwrap_or(i64::MAX))
}

/// Returns the time of day in whole seconds, as signatures use it.
pub(crate) fn unix_seconds() -> u64 {
    since_1970().as_secs()
}

/// Returns the time of day in seconds since 1970, as monitoring compares it.
pub(crate) fn seconds_since_1970() -> f64 {
    since_1970().as_secs_f64()
}

/// A time of day, as spans have it. Nothing is decided by it.
#[cfg(feature = "otlp")]
pub(crate) type TimeOfDay = SystemTime;

/// Returns the time of day, for spans.
#[cfg(feature = "otlp")]
#[expect(clippy::disallowed_methods, reason = "people compare the spans of several programs")]
pub(crate) fn time_of_day() -> TimeOfDay {
    SystemTime::now()
}

/// Returns the time since 1970; zero for a clock that is set before.
#[expect(clippy::disallowed_methods, reason = "people and signatures use the time of day")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns a new id that nobody can guess, from the operating system's randomness.
pub(crate) fn secret_id() -> Uuid {
    Uuid::new_v4()
}

/// Returns a new text that nobody can guess: 64 hexadecimal digits, 244 random bits.
pub(crate) fn secret_text() -> String {
    format!("{}{}", secret_id().simple(), secret_id().simple())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use std::time::Duration;

    use channelstream_core::protocol::Epoch;

    use super::{epoch_at, seed};

    #[test]
    fn an_epoch_is_the_time_but_greater_than_the_last_one() {
        let day = Duration::from_micros(1_800_000_000_000_000);
        let first = epoch_at(day, u64::MAX, Epoch::default());
        assert_eq!(first.get() >> 20, 1_800_000_000_000_000 >> 20);
        assert_eq!(first.get() & 0xf_ffff, 0xf_ffff);
        for time in [day, Duration::ZERO, day + Duration::from_micros(1)] {
            for random in [0, u64::MAX] {
                assert!(epoch_at(time, random, first) > first);
            }
        }
        assert!(epoch_at(day + Duration::from_secs(9), 0, first).get() - first.get() > 7_000_000);
    }

    #[test]
    fn seeds_are_distinct_and_use_all_bits() {
        let seeds: HashSet<u128> = (0..1000).map(|_| seed()).collect();
        assert_eq!(seeds.len(), 1000);
        assert_eq!(seeds.iter().fold(0, |all, seed| all | seed), u128::MAX);
        assert_eq!(seeds.iter().fold(u128::MAX, |all, seed| all & seed), 0);
    }
}
