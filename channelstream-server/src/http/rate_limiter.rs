//! Allowances: how often one peer may do something within a time.

use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

use crate::http::peer::Peer;

/// Addresses that are remembered; beyond, those whose time is over are forgotten, and then all.
const ADDRESSES: usize = 10_000;

/// Counts what addresses do. The time of an address begins with the first thing it does.
#[derive(Debug)]
pub(crate) struct Allowance {
    used: DashMap<Peer, (usize, Instant)>,
    most: usize,
    window: Duration,
}

impl Allowance {
    pub(crate) fn new(most: usize, window: Duration) -> Self {
        Self { used: DashMap::new(), most, window }
    }

    /// How long this address has to wait, if it has used up what it is allowed; in whole seconds,
    /// as answers tell it.
    pub(crate) fn wait(&self, peer: Peer, now: Instant) -> Option<u64> {
        let (count, since) = *self.used.get(&peer.holder())?;
        let left = self.window.checked_sub(now.duration_since(since))?;
        (count >= self.most).then_some(left.as_secs() + 1)
    }

    /// Counts one more.
    pub(crate) fn count(&self, peer: Peer, now: Instant) {
        if self.used.len() >= ADDRESSES {
            self.used.retain(|_, (_, since)| now.duration_since(*since) < self.window);
        }
        if self.used.len() >= ADDRESSES {
            self.used.clear();
        }
        let mut entry = self.used.entry(peer.holder()).or_insert((0, now));
        if now.duration_since(entry.1) >= self.window {
            *entry = (0, now);
        }
        entry.0 += 1;
    }

    /// Forgets what an address did.
    pub(crate) fn forget(&self, peer: Peer) {
        self.used.remove(&peer.holder());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::at([192, 0, 2, last].into())
    }

    #[test]
    fn an_address_is_bounded_until_its_time_is_over() {
        let allowance = Allowance::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let wait = |seconds| allowance.wait(peer(1), start + Duration::from_secs(seconds));
        assert_eq!(wait(0), None);
        allowance.count(peer(1), start);
        assert_eq!(wait(0), None);
        allowance.count(peer(1), start + Duration::from_secs(2));
        assert_eq!(wait(2), Some(9));
        assert_eq!(allowance.wait(peer(2), start), None, "another address");
        assert_eq!(wait(7), Some(4));
        assert_eq!(wait(11), None);
        allowance.count(peer(1), start + Duration::from_secs(11));
        assert_eq!(wait(11), None, "it counts from one again");
        allowance.count(peer(1), start + Duration::from_secs(11));
        assert_eq!(wait(11), Some(11));
        allowance.forget(peer(1));
        assert_eq!(wait(11), None);
    }

    #[test]
    fn who_is_unknown_has_an_allowance_apart_from_all_addresses() {
        let allowance = Allowance::new(1, Duration::from_secs(10));
        let now = Instant::now();
        allowance.count(Peer::UNKNOWN, now);
        assert!(allowance.wait(Peer::UNKNOWN, now).is_some());
        assert_eq!(allowance.wait(peer(1), now), None);
    }

    #[test]
    fn all_addresses_of_a_network_of_ipv6_share_an_allowance() {
        let allowance = Allowance::new(1, Duration::from_secs(10));
        let now = Instant::now();
        let peer = |address: &str| Peer::at(address.parse().unwrap());
        allowance.count(peer("2001:db8:1:2::1"), now);
        assert!(allowance.wait(peer("2001:db8:1:2:ffff::9"), now).is_some());
        allowance.forget(peer("2001:db8:1:2::2"));
        assert_eq!(allowance.wait(peer("2001:db8:1:2::1"), now), None);
    }

    #[test]
    fn no_more_addresses_are_remembered_than_may_be() {
        let allowance = Allowance::new(1, Duration::from_secs(3600));
        let now = Instant::now();
        for number in 0..=2 * ADDRESSES {
            let number = u32::try_from(number).unwrap_or_default();
            allowance.count(Peer::at(number.to_be_bytes().into()), now);
            assert!(allowance.used.len() <= ADDRESSES);
        }
    }
}
