//! Lists of addresses and networks: which backends may post, which proxies are trusted.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// Addresses and networks, parsed from a text such as `127.0.0.1, 10.0.0.0/8`.
///
/// `0.0.0.0` (contract §3) or `::` in the list stands for any address. An IPv4 address in its IPv6
/// form (`::ffff:10.0.0.1`) equals the IPv4 address, both in the list and in a query. The word `unix`
/// stands for those who connect to the unix socket of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    networks: Vec<IpNet>,
    /// Whether the word `unix` is in the list.
    unix: bool,
}

impl Networks {
    /// Returns `true` if the address is in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.is_any() || self.networks.iter().any(|network| network.contains(&address))
    }

    /// Returns `true` if every address is in the list.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.networks.iter().any(|network| {
            network.addr().is_unspecified() && network.prefix_len() == network.max_prefix_len()
        })
    }

    /// Returns `true` if the word `unix` is in the list.
    #[must_use]
    pub fn has_unix(&self) -> bool {
        self.unix
    }

    /// Returns `true` if nothing is in the list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Returns `true` if the list has loopback addresses only.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.networks.iter().all(|network| match network {
            IpNet::V4(network) => network.addr().is_loopback() && network.prefix_len() >= 8,
            IpNet::V6(network) => {
                network.addr() == Ipv6Addr::LOCALHOST && network.prefix_len() == 128
            }
        })
    }
}

/// The word for those who connect to the unix socket.
const UNIX: &str = "unix";

/// An entry that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} is neither an address nor a network (10.1.2.3, 10.0.0.0/8, fd00::/8)")]
pub struct NetworksError {
    entry: String,
}

impl FromStr for Networks {
    type Err = NetworksError;

    /// Parses entries that are separated by commas or line breaks; empty entries are ignored.
    fn from_str(text: &str) -> Result<Self, NetworksError> {
        let (words, entries): (Vec<_>, Vec<_>) =
            super::read::list(text).partition(|entry| *entry == UNIX);
        let networks = entries.into_iter().map(network).collect::<Result<_, _>>()?;
        Ok(Self { networks, unix: !words.is_empty() })
    }
}

fn network(entry: &str) -> Result<IpNet, NetworksError> {
    let parsed = match entry.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => entry.parse::<IpNet>(),
    };
    let network = parsed.map_err(|_| NetworksError { entry: entry.into() })?;
    Ok(unmapped(network))
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let (Some(address), Some(prefix)) =
        (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96))
    else {
        return network;
    };
    Ipv4Net::new(address, prefix).map_or(network, IpNet::V4)
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("any address");
        }
        if self.is_empty() {
            return f.write_str("nowhere");
        }
        for (index, network) in self.networks.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            if network.prefix_len() == network.max_prefix_len() {
                write!(f, "{comma}{}", network.addr())?;
            } else {
                write!(f, "{comma}{network}")?;
            }
        }
        match self.unix {
            true if self.networks.is_empty() => f.write_str(UNIX),
            true => write!(f, ", {UNIX}"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn has(list: &str, address: &str) -> bool {
        list.parse::<Networks>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_and_networks_of_both_families_match() {
        for (list, inside, outside) in [
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("127.0.0.1", "::ffff:127.0.0.1", "::1"),
            ("::ffff:10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("::ffff:10.0.0.0/104", "10.200.0.1", "11.0.0.1"),
            ("10.1.2.3/8", "10.9.9.9", "11.0.0.1"),
            ("fd00::/8, 192.168.1.0/24", "fd12::1", "fe80::1"),
            ("fd00::/8,\n   192.168.1.0/24,,", "192.168.1.255", "192.168.2.0"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("::/0", "2001:db8::1", "8.8.8.8"),
            ("::1", "::1", "127.0.0.1"),
        ] {
            assert!(has(list, inside), "{list} {inside}");
            assert!(!has(list, outside), "{list} {outside}");
        }
    }

    #[test]
    fn the_unspecified_address_is_any_address() {
        for list in ["0.0.0.0", "::", "10.0.0.1, 0.0.0.0"] {
            assert!(list.parse::<Networks>().unwrap().is_any(), "{list}");
            assert!(has(list, "8.8.8.8") && has(list, "2001:db8::1"), "{list}");
        }
        for list in ["", "0.0.0.0/0", "10.0.0.0/8"] {
            assert!(!list.parse::<Networks>().unwrap().is_any(), "{list}");
        }
        assert!(!Networks::default().contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn loopback_lists_are_told_from_others() {
        for (list, loopback) in [
            ("", true),
            ("127.0.0.1, ::1", true),
            ("127.0.0.0/8", true),
            ("127.0.0.0/7", false),
            ("127.0.0.1, 10.0.0.1", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(list.parse::<Networks>().unwrap().is_loopback(), loopback, "{list}");
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        for entry in
            ["localhost", "10.0.0.0/33", "10.0.0", "1.2.3.4:80", "[::1]", "10.0.0.1 10.0.0.2"]
        {
            let error = format!("127.0.0.1, {entry}").parse::<Networks>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("{entry:?} is neither")), "{error}");
        }
    }

    #[test]
    fn it_prints_as_written() {
        for (list, shown) in [
            ("127.0.0.1 ,::1", "127.0.0.1, ::1"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0", "any address"),
            ("unix, ::1", "::1, unix"),
            ("unix", "unix"),
            ("", "nowhere"),
        ] {
            assert_eq!(list.parse::<Networks>().unwrap().to_string(), shown);
        }
    }
}
