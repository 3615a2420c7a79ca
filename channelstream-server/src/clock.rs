//! Time and luck: the only place that reads a clock and draws randomness.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use channelstream_core::protocol::Timestamp;
use channelstream_core::state::Stamp;
use uuid::Uuid;

/// A stamp for a command that is submitted now.
pub(crate) fn stamp() -> Stamp {
    Stamp { now: now(), seed: seed() }
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

/// The time now. A clock before 1970 counts as 1970.
pub(crate) fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
}

/// The time now in whole seconds since 1970, as signatures count it.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
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
