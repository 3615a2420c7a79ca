//! The client of a request: an address, or unknown.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Networks;

/// The client of a request, as far as it is known. All decisions by address are made here, so that
/// an unknown client is never taken for the proxy in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Unknown,
    Address(IpAddr),
    Unix,
}

impl Peer {
    /// A client behind a trusted proxy whose headers about it cannot be parsed. It is not loopback,
    /// is in no list, not even in one of all addresses, and is counted apart from all addresses.
    pub(crate) const UNKNOWN: Self = Self(Kind::Unknown);

    /// A process of this machine that is connected to the unix socket.
    pub(crate) const UNIX: Self = Self(Kind::Unix);

    /// The client at an address. The IPv6 form of an IPv4 address (`::ffff:192.0.2.1`) is that IPv4
    /// address.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self(Kind::Address(address.to_canonical()))
    }

    pub(crate) fn is_in(self, networks: &Networks) -> bool {
        match self.0 {
            Kind::Address(address) => networks.contains(address),
            Kind::Unix => networks.has_unix(),
            Kind::Unknown => false,
        }
    }

    /// Returns `true` if a list of those who may do something allows it. Who is connected to the unix
    /// socket may do what loopback may. It is trusted as a proxy only by name, with
    /// [`is_in`](Self::is_in).
    pub(crate) fn is_allowed_by(self, networks: &Networks) -> bool {
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        self.is_in(networks)
            || (self.0 == Kind::Unix && loopback.into_iter().any(|it| networks.contains(it)))
    }

    pub(crate) fn is_loopback(self) -> bool {
        matches!(self.0, Kind::Address(address) if address.is_loopback())
    }

    /// Returns `true` for loopback and the unix socket: no other machine is at the other end.
    pub(crate) fn is_of_this_machine(self) -> bool {
        self.0 == Kind::Unix || self.is_loopback()
    }

    /// The network whose actions are counted together. The owner of an IPv6 address has its whole
    /// /64 network, so that is what counts.
    pub(crate) fn network(self) -> Self {
        let Kind::Address(IpAddr::V6(address)) = self.0 else { return self };
        Self(Kind::Address(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Address(address) => address.fmt(f),
            Kind::Unknown => f.write_str("unknown"),
            Kind::Unix => f.write_str("unix"),
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
    fn the_unix_socket_may_what_loopback_may_and_is_a_proxy_by_name_only() {
        let list = |text: &str| text.parse::<Networks>().unwrap();
        for (text, is_in, is_allowed) in [
            ("", false, false),
            ("10.0.0.0/8", false, false),
            ("127.0.0.1, ::1", false, true),
            ("::1", false, true),
            ("0.0.0.0", false, true),
            ("unix", true, true),
        ] {
            assert_eq!(Peer::UNIX.is_in(&list(text)), is_in, "{text}");
            assert_eq!(Peer::UNIX.is_allowed_by(&list(text)), is_allowed, "{text}");
        }
        for other in [Peer::UNKNOWN, peer("127.0.0.1")] {
            assert!(!other.is_in(&list("unix")) && !other.is_allowed_by(&list("unix")), "{other}");
        }
        assert!(!Peer::UNKNOWN.is_of_this_machine() && !Peer::UNIX.is_loopback());
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
