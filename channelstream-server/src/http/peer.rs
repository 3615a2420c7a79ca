//! The client of a request: an address, or unknown.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::config::Networks;

/// The client of a request, as far as it is known. All decisions by address are made here, so that
/// an unknown client is never taken for the proxy in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer(Option<IpAddr>);

impl Peer {
    /// A client behind a trusted proxy whose headers about it cannot be parsed. It is not loopback,
    /// is in no list, not even in one of all addresses, and is counted apart from all addresses.
    pub(crate) const UNKNOWN: Self = Self(None);

    /// The client at an address. The IPv6 form of an IPv4 address (`::ffff:192.0.2.1`) is that IPv4
    /// address.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self(Some(address.to_canonical()))
    }

    pub(crate) fn is_in(self, networks: &Networks) -> bool {
        self.0.is_some_and(|address| networks.contains(address))
    }

    pub(crate) fn is_loopback(self) -> bool {
        self.0.is_some_and(|address| address.is_loopback())
    }

    /// The network whose actions are counted together. The owner of an IPv6 address has its whole
    /// /64 network, so that is what counts.
    pub(crate) fn network(self) -> Self {
        Self(self.0.map(|address| match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        }))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::at(address.parse().unwrap())
    }

    #[test]
    fn an_unknown_client_is_in_no_list_and_counted_apart() {
        for list in ["", "127.0.0.1, ::1", "10.0.0.0/8", "0.0.0.0/0, ::/0", "0.0.0.0", "::"] {
            assert!(!Peer::UNKNOWN.is_in(&list.parse().unwrap()), "{list}");
        }
        assert!(!Peer::UNKNOWN.is_loopback());
        for other in ["0.0.0.0", "::", "127.0.0.1", "::1"] {
            assert_ne!(Peer::UNKNOWN.network(), peer(other).network(), "{other}");
        }
        assert_eq!(Peer::UNKNOWN.to_string(), "unknown");
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_ne!(peer("::ffff:192.0.2.1").network(), peer("::ffff:192.0.2.2").network());
        assert!(peer("::ffff:127.0.0.1").is_loopback());
        assert!(peer("::ffff:10.1.2.3").is_in(&"10.0.0.0/8".parse().unwrap()));
        assert!(peer("10.1.2.3").is_in(&"::ffff:10.0.0.0/104".parse().unwrap()));
        assert_eq!(peer("::ffff:192.0.2.1").to_string(), "192.0.2.1");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        assert_eq!(peer("2001:db8:1:2::1").network(), peer("2001:db8:1:2:ffff::9").network());
        assert_ne!(peer("2001:db8:1:2::1").network(), peer("2001:db8:1:3::1").network());
    }
}
