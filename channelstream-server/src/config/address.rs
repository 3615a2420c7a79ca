//! An address to listen on: host and port in one text, or a unix socket.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::read;

/// What begins the name of a unix socket.
const UNIX: &str = "unix:";

/// Returns the path of the unix socket that a host names, if it names one.
pub(crate) fn unix_socket(host: &str) -> Option<&Path> {
    host.strip_prefix(UNIX).map(Path::new)
}

/// Checks the path of a unix socket.
///
/// # Errors
/// Explains why no socket can have it.
pub(super) fn check_unix(path: &Path) -> Result<(), String> {
    if cfg!(not(unix)) {
        return Err("this system has no unix sockets".into());
    }
    if !path.is_absolute() {
        return Err("a unix socket needs an absolute path, as in unix:/run/server.sock".into());
    }
    socket2::SockAddr::unix(path)
        .map(drop)
        .map_err(|_| "the path is too long for a unix socket, or has a null byte".into())
}

/// A host and a port, parsed from a text such as `127.0.0.1:8001`, or a unix socket such as
/// `unix:/run/metrics.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, an IPv6 address without brackets; or `unix:` and a path.
    pub host: String,
    /// A TCP port; 0 selects a free one. Without a meaning for a unix socket.
    pub port: u16,
}

/// A text that is no host with a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a host with a port (127.0.0.1:8001, [::1]:8001, monitoring.internal:8001) or a unix socket \
     (unix:/run/metrics.sock)"
)]
pub struct AddressError(());

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if unix_socket(text.trim()).is_some() {
            let host = read::host(text.trim()).map_err(|_| AddressError(()))?;
            return Ok(Self { host, port: 0 });
        }
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
        if unix_socket(&self.host).is_some() {
            return f.write_str(&self.host);
        }
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
        #[cfg(unix)]
        {
            let address: Address = "unix:/run/metrics.sock".parse().unwrap();
            assert_eq!(address.host, "unix:/run/metrics.sock");
            assert_eq!(address.to_string(), "unix:/run/metrics.sock");
        }
        for text in [
            "", "8001", ":8001", "a:", "a:65536", "a:+1", "::1:8001", "[::1]", "a b:1", "unix:",
            "unix:x",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
