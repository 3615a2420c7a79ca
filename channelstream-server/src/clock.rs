//! Time and luck: the only place that reads a clock and draws randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use channelstream_core::protocol::Timestamp;
use channelstream_core::state::Stamp;
use uuid::Uuid;

/// A stamp for a command that is submitted now.
pub(crate) fn stamp() -> Stamp {
    Stamp { now: now(), seed: Uuid::new_v4().as_u128() }
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
