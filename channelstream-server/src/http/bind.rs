//! The listening sockets: one for each address of a host name, or a unix socket.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, lookup_host};

#[cfg(unix)]
use crate::config;
use crate::socket::{BACKLOG, BoundSocket};

/// How many free ports are tried, if one is free on some of the addresses only.
const TRIES: usize = 16;

/// An address that the server cannot listen on.
#[derive(Debug)]
pub(crate) struct Failure {
    /// As it is set, or one of the addresses of a name.
    pub(crate) address: String,
    pub(crate) cause: io::Error,
}

/// Listens on all addresses of a name. An address that this machine does not have is skipped with a
/// warning, as long as there is another one. With port 0 all addresses get the same free port. A unix
/// socket has no port.
pub(crate) async fn listen(host: &str, port: u16) -> Result<Vec<BoundSocket>, Failure> {
    #[cfg(unix)]
    if let Some(path) = config::unix_socket(host) {
        let bound = BoundSocket::unix(path);
        return bound
            .map(|socket| vec![socket])
            .map_err(|cause| Failure { address: host.to_owned(), cause });
    }
    let failed = |cause| Failure {
        address: match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        },
        cause,
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in lookup_host((host, port)).await.map_err(failed)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let Bound { listeners, skipped } =
        bind_all(&addresses).map_err(|(address, cause)| match addresses.len() {
            1 => failed(cause),
            _ => Failure { address: format!("{address}, an address of {host}"), cause },
        })?;
    for (address, error) in skipped {
        tracing::warn!(%error, "{address}, an address of {host}, is skipped");
    }
    if listeners.is_empty() {
        return Err(failed(io::ErrorKind::AddrNotAvailable.into()));
    }
    let sockets = listeners.into_iter().map(|listener| listener.into_std().map(BoundSocket::from));
    sockets.collect::<Result<_, _>>().map_err(failed)
}

/// The outcome of binding several addresses.
#[derive(Debug)]
struct Bound {
    listeners: Vec<TcpListener>,
    /// Addresses that this machine does not have.
    skipped: Vec<(SocketAddr, io::Error)>,
}

type Refused = (SocketAddr, io::Error);

fn bind_all(addresses: &[SocketAddr]) -> Result<Bound, Refused> {
    let mut tries = 1;
    loop {
        match bind_once(addresses) {
            Err((address, error)) if address.port() == 0 && is_taken(&error) && tries < TRIES => {
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

fn bind_once(addresses: &[SocketAddr]) -> Result<Bound, Refused> {
    let mut bound = Bound { listeners: Vec::new(), skipped: Vec::new() };
    let mut free_port = None;
    for &wanted in addresses {
        let mut address = wanted;
        if let Some(port) = free_port {
            address.set_port(port);
        }
        match bind(address) {
            Ok(listener) => {
                if address.port() == 0 {
                    free_port = listener.local_addr().ok().map(|local| local.port());
                }
                bound.listeners.push(listener);
            }
            Err(error) if is_taken(&error) => return Err((wanted, error)),
            Err(error) => bound.skipped.push((wanted, error)),
        }
    }
    if bound.listeners.is_empty()
        && let Some(refused) = bound.skipped.pop()
    {
        return Err(refused);
    }
    Ok(bound)
}

/// Returns `true` if the address exists, but this process may not have it.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait for the last connections of the previous server. (On Windows this
    // would let two servers share a port.)
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG.unsigned_abs())
}

#[cfg(test)]
mod tests {

    use super::*;

    /// An address for documentation, which no machine has.
    const NOBODYS: &str = "192.0.2.1:0";

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn local(bound: &Bound) -> Vec<SocketAddr> {
        bound.listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
    }

    #[tokio::test]
    async fn all_addresses_get_the_same_free_port() {
        // Not every machine has IPv6.
        let both = bind_all(&addresses(&["[::1]:0", "127.0.0.1:0"])).unwrap();
        assert_eq!(both.listeners.len() + both.skipped.len(), 2);
        let local = local(&both);
        assert!(local.iter().all(|address| address.port() == local[0].port()), "{local:?}");
        assert!(local.contains(&([127, 0, 0, 1], local[0].port()).into()), "{local:?}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_address_that_is_taken_is_an_error_where_another_is_free() {
        let taken = bind_all(&addresses(&["127.0.0.1:0"])).unwrap();
        let port = local(&taken)[0].port();
        let both = addresses(&[&format!("127.0.0.2:{port}"), &format!("127.0.0.1:{port}")]);
        let (address, error) = bind_all(&both).unwrap_err();
        assert_eq!((address, error.kind()), (both[1], io::ErrorKind::AddrInUse));
    }

    #[tokio::test]
    async fn missing_addresses_are_skipped_unless_all_are_missing() {
        let bound = bind_all(&addresses(&[NOBODYS, "127.0.0.1:0"])).unwrap();
        assert_eq!((bound.listeners.len(), bound.skipped.len()), (1, 1));
        assert_eq!(bound.skipped[0].0.to_string(), NOBODYS);
        let (_, error) = bind_all(&addresses(&[NOBODYS])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[tokio::test]
    async fn a_name_is_listened_on_at_all_of_its_addresses() {
        let listeners = listen("localhost", 0).await.unwrap();
        let port = listeners[0].local_addr().unwrap().tcp().unwrap().port();
        for address in lookup_host(("localhost", port)).await.unwrap() {
            let is_here = bind(SocketAddr::new(address.ip(), 0)).is_ok();
            let connected = tokio::net::TcpStream::connect(address).await;
            assert_eq!(connected.is_ok(), is_here, "{address}: {connected:?}");
        }
        let failure = listen("192.0.2.1", 0).await.unwrap_err();
        assert_eq!(failure.address, "192.0.2.1:0");
    }
}
