//! The signatures that counted: none counts twice.
//!
//! A signature is remembered for as long as its time is within the window, by the monotonic clock, which
//! does not follow changes of the time of day. When it is forgotten, its time becomes the *floor*: what was
//! signed at the floor or before may be a replay of something that is forgotten, so it is refused. The
//! floor begins at the start of the server, since an earlier life has forgotten all. It never goes back.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use channelstream_signer::request::Verified;
use tokio::time::Instant;

/// How far the time of a signature may be from the server's, in seconds, in both directions.
pub(crate) const WINDOW: u64 = 60;

/// How often signatures are forgotten, all of a second at once.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Why a genuine signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It counted before.
    Replay,
    /// Too many are remembered.
    Full,
    /// It is of a time whose signatures are forgotten.
    Forgotten {
        /// How far that time is ahead of the server's clock, in seconds, if it was set back since; told
        /// once.
        set_back: Option<u64>,
    },
}

/// The time at which a signature arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// The time of day, in seconds since 1970.
    pub(crate) time: u64,
    pub(crate) instant: Instant,
}

/// The signatures that counted within the window. Shared by all threads.
#[derive(Debug)]
pub(crate) struct Nonces(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    /// By the second in which they were signed. All are later than the floor.
    seconds: BTreeMap<u64, Second>,
    count: usize,
    floor: u64,
    /// The floor of the last warning.
    warned: u64,
    next_look: Instant,
}

/// The signatures of one second.
#[derive(Debug)]
struct Second {
    forget_at: Instant,
    /// Half of each signature, which is as hard to hit as all of it.
    signatures: HashSet<u128>,
}

impl Nonces {
    /// Starts with nothing. What was signed at this time or before is refused.
    pub(crate) fn new(start: Arrival) -> Self {
        Self(Mutex::new(Kept {
            seconds: BTreeMap::new(),
            count: 0,
            floor: start.time,
            warned: start.time,
            next_look: start.instant + FORGET_EVERY,
        }))
    }

    /// Lets a signature count, whose time is within the window, unless it counted before.
    ///
    /// # Errors
    /// Returns an error if it counted before, or may have, or if `most` are remembered.
    pub(crate) fn claim(
        &self,
        verified: &Verified,
        arrival: Arrival,
        most: usize,
    ) -> Result<(), Refusal> {
        let mut kept = self.kept();
        kept.forget(arrival.instant);
        if verified.time <= kept.floor {
            let ahead = kept.floor.saturating_sub(arrival.time);
            let is_news = ahead > 0 && kept.warned != kept.floor;
            kept.warned = kept.floor;
            return Err(Refusal::Forgotten { set_back: is_news.then_some(ahead) });
        }
        let signature = half(verified);
        let second = kept.seconds.get(&verified.time);
        if second.is_some_and(|second| second.signatures.contains(&signature)) {
            return Err(Refusal::Replay);
        }
        if kept.count >= most {
            return Err(Refusal::Full);
        }
        // The last moment of the last second of its window.
        let left = (verified.time + WINDOW + 1).saturating_sub(arrival.time);
        let forget_at = arrival.instant + Duration::from_secs(left);
        let second = kept.seconds.entry(verified.time);
        let second = second.or_insert_with(|| Second { forget_at, signatures: HashSet::new() });
        second.forget_at = second.forget_at.max(forget_at);
        second.signatures.insert(signature);
        kept.count += 1;
        Ok(())
    }

    /// Returns how many are remembered.
    pub(crate) fn count(&self, now: Instant) -> usize {
        let mut kept = self.kept();
        kept.forget(now);
        kept.count
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Forgets the signatures whose window has passed, and raises the floor to their time.
    fn forget(&mut self, now: Instant) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + FORGET_EVERY;
        let past = self.seconds.iter().filter(|(_, second)| second.forget_at <= now);
        let Some(floor) = past.map(|(time, _)| *time).max() else { return };
        self.floor = floor;
        // Earlier seconds that are not past are refused as a whole from now on. There are some only if
        // the clock was set back.
        self.seconds = self.seconds.split_off(&(floor + 1));
        self.count = self.seconds.values().map(|second| second.signatures.len()).sum();
    }
}

fn half(verified: &Verified) -> u128 {
    let mut half = [0; size_of::<u128>()];
    half.iter_mut().zip(verified.signature).for_each(|(to, from)| *to = from);
    u128::from_be_bytes(half)
}

#[cfg(test)]
mod tests {
    use channelstream_signer::request::Content;

    use super::*;

    const START: u64 = 1_700_000_000;
    const MANY: usize = 100;

    /// A server whose two clocks are set by hand.
    struct Clocks {
        nonces: Nonces,
        start: Instant,
    }

    impl Clocks {
        fn new() -> Self {
            let start = Instant::now();
            Self { nonces: Nonces::new(Arrival { time: START, instant: start }), start }
        }

        /// A signature arrives when the server has run for so long, and its time of day is so many seconds
        /// behind the start.
        fn claim(&self, run: u64, day: i64, signed: i64, signature: u8) -> Result<(), Refusal> {
            self.claim_of(run, day, signed, signature, MANY)
        }

        fn claim_of(
            &self,
            run: u64,
            day: i64,
            signed: i64,
            signature: u8,
            most: usize,
        ) -> Result<(), Refusal> {
            let time = |seconds: i64| START.checked_add_signed(seconds).unwrap();
            let verified = Verified {
                content: Content::Unsigned,
                time: time(signed),
                signature: [signature; 32],
                secret: 0,
            };
            let instant = self.start + Duration::from_secs(run);
            let arrival = Arrival { time: time(day), instant };
            assert!(verified.check_time(WINDOW, arrival.time).is_ok(), "the caller checks it");
            self.nonces.claim(&verified, arrival, most)
        }

        fn count(&self, run: u64) -> usize {
            self.nonces.count(self.start + Duration::from_secs(run))
        }
    }

    #[test]
    fn a_signature_counts_once_until_its_window_has_passed() {
        let clocks = Clocks::new();
        assert_eq!(clocks.claim(1, 1, 1, 7), Ok(()));
        for run in [1, 30, 61] {
            let day = i64::try_from(run).unwrap();
            assert_eq!(clocks.claim(run, day, 1, 7), Err(Refusal::Replay), "{run}");
        }
        assert_eq!(clocks.claim(61, 61, 1, 8), Ok(()), "another one of the same second");
        assert_eq!(clocks.claim(61, 61, 2, 7), Ok(()), "the same at another time is another one");
        assert_eq!(clocks.count(61), 3);
        assert_eq!(clocks.count(62), 1, "nobody may present it any more");
        assert_eq!(clocks.count(63), 0);
    }

    #[test]
    fn one_from_the_future_is_remembered_until_then_and_longer() {
        let clocks = Clocks::new();
        assert_eq!(clocks.claim(1, 1, 61, 7), Ok(()));
        assert_eq!(clocks.claim(121, 121, 61, 7), Err(Refusal::Replay));
        assert_eq!(clocks.count(122), 0);
    }

    #[test]
    fn what_was_signed_before_the_start_may_be_a_replay() {
        let clocks = Clocks::new();
        for signed in [-59, -1, 0] {
            let refused = clocks.claim(1, 1, signed, 7);
            assert_eq!(refused, Err(Refusal::Forgotten { set_back: None }), "{signed}");
        }
        assert_eq!(clocks.claim(1, 1, 1, 7), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_revives_nothing() {
        let clocks = Clocks::new();
        assert_eq!(clocks.claim(100, 100, 100, 7), Ok(()));
        assert_eq!(clocks.claim(150, 100, 100, 7), Err(Refusal::Replay), "set back, remembered");
        assert_eq!(clocks.claim(160, 110, 90, 8), Ok(()), "from before, never seen");
        // By the monotonic clock its window has passed.
        let refused = clocks.claim(161, 80, 100, 7);
        assert_eq!(refused, Err(Refusal::Forgotten { set_back: Some(20) }));
        let refused = clocks.claim(161, 80, 99, 9);
        assert_eq!(refused, Err(Refusal::Forgotten { set_back: None }), "told once");
        assert_eq!(clocks.claim(161, 80, 101, 7), Ok(()), "later ones were never seen");
        assert_eq!(clocks.count(161), 1, "earlier ones are refused as a whole");
    }

    #[test]
    fn a_clock_that_is_set_ahead_and_back_forgets_nothing() {
        let clocks = Clocks::new();
        assert_eq!(clocks.claim(10, 10, 10, 7), Ok(()));
        // For a moment it is a day later.
        assert_eq!(clocks.claim(11, 86_400, 86_400, 8), Ok(()));
        assert_eq!(clocks.claim(12, 12, 10, 7), Err(Refusal::Replay));
        assert_eq!(clocks.claim(12, 12, 12, 9), Ok(()));
        assert_eq!(clocks.count(12), 3);
    }

    #[test]
    fn more_than_the_most_are_refused_and_none_is_forgotten_for_them() {
        let clocks = Clocks::new();
        for signature in 0..3 {
            assert_eq!(clocks.claim_of(1, 1, 1, signature, 3), Ok(()));
        }
        assert_eq!(clocks.claim_of(1, 1, 1, 3, 3), Err(Refusal::Full));
        assert_eq!(clocks.claim_of(1, 1, 1, 0, 3), Err(Refusal::Replay));
        assert_eq!(clocks.claim_of(62, 62, 62, 4, 3), Ok(()), "room again");
    }
}
