//! Allowances: how often one address may do something within a time.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

/// Addresses that are remembered; beyond, those whose time is over are forgotten, and then all.
const ADDRESSES: usize = 10_000;

/// Whom an address is counted for. Whoever has one IPv6 address has its whole network of 64 bits, so
/// that is what counts.
pub(super) fn holder(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Counts what addresses do. The time of an address begins with the first thing it does.
#[derive(Debug)]
pub(super) struct Allowance {
    used: DashMap<IpAddr, (usize, Instant)>,
    most: usize,
    window: Duration,
}

impl Allowance {
    pub(super) fn new(most: usize, window: Duration) -> Self {
        Self { used: DashMap::new(), most, window }
    }

    /// How long this address has to wait, if it has used up what it is allowed; in whole seconds,
    /// as answers tell it.
    pub(super) fn wait(&self, peer: IpAddr, now: Instant) -> Option<u64> {
        let (count, since) = *self.used.get(&holder(peer))?;
        let left = self.window.checked_sub(now.duration_since(since))?;
        (count >= self.most).then_some(left.as_secs() + 1)
    }

    /// Counts one more.
    pub(super) fn count(&self, peer: IpAddr, now: Instant) {
        if self.used.len() >= ADDRESSES {
            self.used.retain(|_, (_, since)| now.duration_since(*since) < self.window);
        }
        if self.used.len() >= ADDRESSES {
            self.used.clear();
        }
        let mut entry = self.used.entry(holder(peer)).or_insert((0, now));
        if now.duration_since(entry.1) >= self.window {
            *entry = (0, now);
        }
        entry.0 += 1;
    }

    /// Forgets what an address did.
    pub(super) fn forget(&self, peer: IpAddr) {
        self.used.remove(&holder(peer));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn an_address_is_bounded_until_its_time_is_over() {
        let allowance = Allowance::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let wait = |seconds| allowance.wait(ADDRESS, start + Duration::from_secs(seconds));
        assert_eq!(wait(0), None);
        allowance.count(ADDRESS, start);
        assert_eq!(wait(0), None);
        allowance.count(ADDRESS, start + Duration::from_secs(2));
        assert_eq!(wait(2), Some(9));
        assert_eq!(allowance.wait([192, 0, 2, 2].into(), start), None, "another address");
        assert_eq!(wait(7), Some(4));
        assert_eq!(wait(11), None);
        allowance.count(ADDRESS, start + Duration::from_secs(11));
        assert_eq!(wait(11), None, "it counts from one again");
        allowance.count(ADDRESS, start + Duration::from_secs(11));
        assert_eq!(wait(11), Some(11));
        allowance.forget(ADDRESS);
        assert_eq!(wait(11), None);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let allowance = Allowance::new(1, Duration::from_secs(10));
        let now = Instant::now();
        let wait = |address: &str| allowance.wait(address.parse().unwrap(), now);
        allowance.count("2001:db8:1:2::1".parse().unwrap(), now);
        assert!(wait("2001:db8:1:2:ffff::9").is_some());
        assert_eq!(wait("2001:db8:1:3::1"), None);
        allowance.forget("2001:db8:1:2::2".parse().unwrap());
        assert_eq!(wait("2001:db8:1:2::1"), None);
    }

    #[test]
    fn no_more_addresses_are_remembered_than_may_be() {
        let allowance = Allowance::new(1, Duration::from_secs(3600));
        let now = Instant::now();
        for number in 0..=2 * ADDRESSES {
            let number = u32::try_from(number).unwrap_or_default();
            allowance.count(IpAddr::from(number.to_be_bytes()), now);
            assert!(allowance.used.len() <= ADDRESSES);
        }
    }
}
