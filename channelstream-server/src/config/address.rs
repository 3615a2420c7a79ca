//! An address to listen on: host and port in one text.

use std::fmt;
use std::str::FromStr;

use super::read;

/// A host and a port, parsed from a text such as `127.0.0.1:8001`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, an IPv6 address without brackets.
    pub host: String,
    /// A TCP port; 0 selects a free one.
    pub port: u16,
}

/// A text that is no host with a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a host with a port (127.0.0.1:8001, [::1]:8001, monitoring.internal:8001)")]
pub struct AddressError(());

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.trim().rsplit_once(':').ok_or(AddressError(()))?;
        // Without brackets, nothing says where an IPv6 address ends.
        let is_clear = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        if !is_clear || !is_number {
            return Err(AddressError(()));
        }
        let host = read::host(host).map_err(|_| AddressError(()))?;
        Ok(Self { host, port: port.parse().map_err(|_| AddressError(()))? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_a_port() {
        for (text, host, port) in [
            ("127.0.0.1:8001", "127.0.0.1", 8001),
            (" [::1]:0 ", "::1", 0),
            ("monitoring.internal:65535", "monitoring.internal", 65535),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port), "{text}");
            assert_eq!(address.to_string(), text.trim());
        }
        for text in ["", "8001", ":8001", "a:", "a:65536", "a:+1", "::1:8001", "[::1]", "a b:1"] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
