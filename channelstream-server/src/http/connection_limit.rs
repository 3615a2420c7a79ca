//! The limits of open TCP connections, in total and by address.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use dashmap::DashMap;

use crate::http::peer::Peer;
use crate::limits::Limit;
use crate::places::{Place, Places};

/// Requests of one TCP connection that are answered in a row before other connections get a turn. A
/// client that sends many without waiting for the answers must not hold up the others.
const IN_A_ROW: u8 = 4;

/// Bounds how many TCP connections are open, in total and by address.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    total: Arc<Places>,
    by_address: DashMap<Peer, usize>,
    max_by_address: AtomicUsize,
}

impl ConnectionLimit {
    pub(crate) fn new(max_total: usize, max_by_address: usize) -> Self {
        let (total, max_by_address) = (Places::new(max_total), AtomicUsize::new(max_by_address));
        Self { total, by_address: DashMap::new(), max_by_address }
    }

    /// Sets other limits. Connections that are open stay.
    pub(crate) fn set(&self, max_total: usize, max_by_address: usize) {
        self.total.set_most(max_total);
        self.max_by_address.store(max_by_address, Ordering::Relaxed);
    }

    /// How many TCP connections are open.
    pub(crate) fn count(&self) -> usize {
        self.total.taken()
    }

    /// Admits a TCP connection. An address that stands for many clients, such as a proxy, is not
    /// `limited_by_address`.
    ///
    /// # Errors
    /// Returns the limit that is reached, and a message that names it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        peer: Peer,
        limited_by_address: bool,
    ) -> Result<ConnectionGuard, (Limit, &'static str)> {
        let place = self
            .total
            .take()
            .ok_or((Limit::Connections, "too many open connections (max_connections)"))?;
        if limited_by_address {
            let mut count = self.by_address.entry(peer.network()).or_insert(0);
            if *count >= self.max_by_address.load(Ordering::Relaxed) {
                return Err((
                    Limit::ConnectionsPerAddress,
                    "too many open connections from one address (max_connections_per_address)",
                ));
            }
            *count += 1;
        }
        Ok(ConnectionGuard {
            peer,
            limit: limited_by_address.then(|| Arc::clone(self)),
            _place: Some(place),
            _of: None,
            ends_with_peer: AtomicBool::new(false),
            streams: AtomicBool::new(false),
            has_stalled: AtomicBool::new(false),
            in_a_row: AtomicU8::new(0),
            is_serving: AtomicBool::new(false),
            is_secure: AtomicBool::new(false),
        })
    }

    fn remove(&self, peer: Peer) {
        let network = peer.network();
        if let Some(mut count) = self.by_address.get_mut(&network) {
            *count -= 1;
        }
        self.by_address.remove_if(&network, |_, count| *count == 0);
    }
}

/// One TCP connection. It counts as open as long as anything holds this.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    pub(crate) peer: Peer,
    /// Where its address is counted, if it is.
    limit: Option<Arc<ConnectionLimit>>,
    _place: Option<Place>,
    /// The connection, if this is one of its streams.
    _of: Option<Arc<Self>>,
    /// Whether the current request ends when the peer closes its side.
    ends_with_peer: AtomicBool,
    /// Whether the current answer is a stream, which lasts as long as the peer reads it.
    streams: AtomicBool,
    /// Whether the connection was given up because the peer took nothing of a stream.
    has_stalled: AtomicBool,
    /// Requests since the connection got its turn.
    in_a_row: AtomicU8,
    /// Whether a request has arrived whose answer is not ready.
    is_serving: AtomicBool,
    /// Whether the peer speaks TLS with this server.
    is_secure: AtomicBool,
}

impl ConnectionGuard {
    /// Returns the flags of a stream of HTTP/2, each of which has a request of its own.
    pub(crate) fn of_stream(self: &Arc<Self>) -> Self {
        Self {
            peer: self.peer,
            limit: None,
            _place: None,
            _of: Some(Arc::clone(self)),
            ends_with_peer: AtomicBool::new(false),
            streams: AtomicBool::new(false),
            has_stalled: AtomicBool::new(false),
            in_a_row: AtomicU8::new(0),
            is_serving: AtomicBool::new(false),
            is_secure: AtomicBool::new(self.is_secure()),
        }
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure.load(Ordering::Relaxed)
    }

    pub(crate) fn set_secure(&self) {
        self.is_secure.store(true, Ordering::Relaxed);
    }

    pub(crate) fn ends_with_peer(&self) -> bool {
        self.ends_with_peer.load(Ordering::Relaxed)
    }

    pub(crate) fn streams(&self) -> bool {
        self.streams.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stalled(&self) {
        self.has_stalled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.is_serving.load(Ordering::Relaxed)
    }

    pub(crate) fn set_serving(&self, is_serving: bool) {
        self.is_serving.store(is_serving, Ordering::Relaxed);
    }

    /// Begins a turn of the connection, in which requests are counted from zero.
    pub(crate) fn begin_turn(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
    }

    /// Counts a request. Returns `true` if it has to wait for the next turn. One task serves the
    /// connection, so the load and the store need not be one operation.
    pub(crate) fn exceeds_turn(&self) -> bool {
        let before = self.in_a_row.load(Ordering::Relaxed);
        self.in_a_row.store(before.saturating_add(1), Ordering::Relaxed);
        before >= IN_A_ROW
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if let Some(limit) = &self.limit {
            limit.remove(self.peer);
        }
    }
}

/// While this lives, the current request ends when the peer closes its side.
#[derive(Debug)]
pub(crate) struct EndsWithPeer(Arc<ConnectionGuard>);

impl EndsWithPeer {
    pub(crate) fn begin(tcp: &Arc<ConnectionGuard>) -> Self {
        tcp.ends_with_peer.store(true, Ordering::Relaxed);
        Self(Arc::clone(tcp))
    }

    /// The same for a request whose answer is a stream.
    pub(crate) fn begin_stream(tcp: &Arc<ConnectionGuard>) -> Self {
        tcp.streams.store(true, Ordering::Relaxed);
        Self::begin(tcp)
    }

    /// Returns `true` if the peer was given up because it took nothing of the stream.
    pub(crate) fn has_stalled(&self) -> bool {
        self.0.has_stalled.load(Ordering::Relaxed)
    }
}

impl Drop for EndsWithPeer {
    fn drop(&mut self) {
        self.0.ends_with_peer.store(false, Ordering::Relaxed);
        self.0.streams.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn connections_are_counted_in_total_and_by_address_while_they_live() {
        let limit = Arc::new(ConnectionLimit::new(4, 2));
        let address = |last: u8| Peer::at([192, 0, 2, last].into());
        let first = limit.admit(address(1), true).unwrap();
        let _second = limit.admit(address(1), true).unwrap();
        assert!(limit.admit(address(1), true).unwrap_err().1.contains("from one address"));
        assert_eq!(limit.count(), 2, "a refused connection is not counted");
        drop(first);
        let _again = limit.admit(address(1), true).unwrap();
        // Proxies count in the total only.
        let proxied: Vec<_> = (0..2).map(|_| limit.admit(address(1), false).unwrap()).collect();
        for limited in [true, false] {
            let (reached, _) = limit.admit(address(2), limited).unwrap_err();
            assert_eq!(reached, Limit::Connections);
        }
        drop(proxied);
        assert!(limit.admit(address(2), true).is_ok());
        assert_eq!(limit.count(), 2);
        assert_eq!(limit.by_address.len(), 1, "addresses without connections are removed");
    }
}
