//! Rate limiters: how often one address may do something within a time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::{DashMap, Entry};
use tokio::time::Instant;

use crate::http::peer::Peer;

/// Addresses that are remembered. Beyond, those whose window is over are removed, and then all.
const ADDRESSES: usize = 10_000;

/// Bounds how often each address may act within a window, which begins with its first action.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    windows: DashMap<Peer, Window>,
    max: AtomicUsize,
    /// The length of a window in milliseconds.
    length: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    count: usize,
    since: Instant,
}

impl RateLimiter {
    pub(crate) fn new(max: usize, length: Duration) -> Self {
        let limiter = Self { windows: DashMap::new(), max: 0.into(), length: 0.into() };
        limiter.set(max, length);
        limiter
    }

    /// Sets another limit, which counts for windows that have begun too.
    pub(crate) fn set(&self, max: usize, length: Duration) {
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        self.max.store(max, Ordering::Relaxed);
        self.length.store(length, Ordering::Relaxed);
    }

    fn length(&self) -> Duration {
        Duration::from_millis(self.length.load(Ordering::Relaxed))
    }

    /// Counts an action of an address.
    ///
    /// # Errors
    /// Returns the whole seconds that the address has to wait, if it has done as much as it may.
    /// The action is not counted then.
    pub(crate) fn admit(&self, peer: Peer, now: Instant) -> Result<(), u64> {
        let length = self.length();
        match self.windows.entry(peer.network()) {
            Entry::Occupied(mut entry) => {
                let window = entry.get_mut();
                let age = now.duration_since(window.since);
                if age >= length {
                    *window = Window { count: 0, since: now };
                } else if window.count >= self.max.load(Ordering::Relaxed) {
                    return Err((length - age).as_secs() + 1);
                }
                window.count += 1;
                return Ok(());
            }
            Entry::Vacant(entry) => drop(entry.insert(Window { count: 1, since: now })),
        }
        self.bound(now);
        Ok(())
    }

    fn bound(&self, now: Instant) {
        if self.windows.len() > ADDRESSES {
            self.windows.retain(|_, window| now.duration_since(window.since) < self.length());
        }
        if self.windows.len() > ADDRESSES {
            self.windows.clear();
        }
    }

    /// Removes what an address did.
    pub(crate) fn remove(&self, peer: Peer) {
        self.windows.remove(&peer.network());
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::at([192, 0, 2, last].into())
    }

    #[test]
    fn an_address_is_limited_until_its_window_is_over() {
        let limiter = RateLimiter::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let admit = |seconds| limiter.admit(peer(1), start + Duration::from_secs(seconds));
        assert_eq!(admit(0), Ok(()));
        assert_eq!(admit(2), Ok(()));
        assert_eq!(admit(2), Err(9));
        assert_eq!(limiter.admit(peer(2), start), Ok(()), "another address");
        assert_eq!(admit(7), Err(4));
        assert_eq!(admit(11), Ok(()), "it counts from one again");
        assert_eq!(admit(11), Ok(()));
        assert_eq!(admit(11), Err(11));
        limiter.remove(peer(1));
        assert_eq!(admit(11), Ok(()));
    }

    #[test]
    fn another_limit_counts_for_a_window_that_has_begun() {
        let limiter = RateLimiter::new(1, Duration::from_secs(10));
        let now = Instant::now();
        assert_eq!(limiter.admit(peer(1), now), Ok(()));
        assert_eq!(limiter.admit(peer(1), now), Err(11));
        limiter.set(2, Duration::from_secs(20));
        assert_eq!(limiter.admit(peer(1), now), Ok(()));
        assert_eq!(limiter.admit(peer(1), now), Err(21));
    }

    #[test]
    fn no_more_than_the_limit_is_admitted_however_many_ask_at_once() {
        let limiter = RateLimiter::new(5, Duration::from_secs(3600));
        let admitted: usize = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..4)
                .map(|_| {
                    let admit = || limiter.admit(peer(1), Instant::now()).is_ok();
                    scope.spawn(move || (0..100).filter(|_| admit()).count())
                })
                .collect();
            asking.into_iter().map(|asking| asking.join().unwrap()).sum()
        });
        assert_eq!(admitted, 5);
    }

    #[test]
    fn an_unknown_client_is_limited_apart_from_all_addresses() {
        let limiter = RateLimiter::new(1, Duration::from_secs(10));
        let now = Instant::now();
        assert_eq!(limiter.admit(Peer::UNKNOWN, now), Ok(()));
        assert!(limiter.admit(Peer::UNKNOWN, now).is_err());
        assert_eq!(limiter.admit(peer(1), now), Ok(()));
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_share_a_limit() {
        let limiter = RateLimiter::new(1, Duration::from_secs(10));
        let now = Instant::now();
        let admit = |address: &str| limiter.admit(Peer::at(address.parse().unwrap()), now);
        assert_eq!(admit("2001:db8:1:2::1"), Ok(()));
        assert!(admit("2001:db8:1:2:ffff::9").is_err());
        limiter.remove(Peer::at("2001:db8:1:2::2".parse().unwrap()));
        assert_eq!(admit("2001:db8:1:2::1"), Ok(()));
    }

    #[test]
    fn the_number_of_remembered_addresses_is_bounded() {
        let limiter = RateLimiter::new(1, Duration::from_secs(3600));
        let now = Instant::now();
        for number in 0..=2 * ADDRESSES {
            let number = u32::try_from(number).unwrap_or_default();
            assert_eq!(limiter.admit(Peer::at(number.to_be_bytes().into()), now), Ok(()));
            assert!(limiter.windows.len() <= ADDRESSES);
        }
    }
}
