//! How a connection begins: with the handshake of TLS, or with bytes that tell HTTP/2 from HTTP/1.1.

use std::future::poll_fn;
use std::io;

use bytes::Bytes;
use rustls::Error;
use tokio::io::ReadBuf;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::http::connection::{Shared, drained, refuse};
use crate::http::peer::Peer;
use crate::http::tls::Tls;
use crate::metrics::{Counter, Metrics};
use crate::socket::{Socket, System};

/// What a client of HTTP/2 sends first (RFC 9113 §3.4). No request of HTTP/1.1 begins like this.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that are read before the version is known. Most heads fit.
const FIRST: usize = 2048;

/// A connection whose version is known.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) socket: Socket,
    /// What has been read of it.
    pub(super) first: Bytes,
    pub(super) is_http2: bool,
}

/// Waits for the handshake or the first bytes, for as long as for a head. Returns `None` if they do not
/// come, or the drain begins before.
pub(super) async fn begin(
    system: System,
    tls: Option<&Tls>,
    shared: &Shared,
    peer: Peer,
    drain: &mut watch::Receiver<bool>,
) -> Option<Begun> {
    let metrics = &*shared.metrics;
    let begins = async {
        match tls {
            None => plain(system).await.ok(),
            // It is larger than the task of a connection without TLS should be.
            Some(tls) => Box::pin(secure(system, tls, shared, peer)).await,
        }
    };
    let begun = tokio::select! {
        // A request that has arrived is read before the drain.
        biased;
        begun = timeout(shared.settings().head_timeout, begins) => begun,
        () = drained(drain) => return None,
    };
    if begun.is_err() && tls.is_some() {
        metrics.tls_handshakes_late.increment();
        tracing::debug!(%peer, "no TLS handshake in time (head_timeout)");
    }
    let begun = begun.ok()??;
    match begun.is_http2 {
        true => metrics.connections_http2.increment(),
        false => metrics.connections_http1.increment(),
    }
    Some(begun)
}

/// Reads until the version is known. Nothing is read of a connection that the peer has closed.
async fn plain(system: System) -> io::Result<Begun> {
    let socket = Socket::plain(system);
    let mut first = Vec::new();
    loop {
        socket.readable().await?;
        let begun = first.len();
        first.reserve_exact(FIRST - begun);
        first.resize(FIRST, 0);
        let outcome = socket.try_read(&mut first[begun..]);
        first.truncate(begun + outcome.as_ref().copied().unwrap_or(0));
        match outcome {
            Ok(count) if count > 0 && PREFACE.starts_with(&first) && first != PREFACE => {}
            Ok(_) => {
                let is_http2 = first.starts_with(PREFACE);
                return Ok(Begun { socket, first: first.into(), is_http2 });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Carries out the handshake.
async fn secure(system: System, tls: &Tls, shared: &Shared, peer: Peer) -> Option<Begun> {
    let metrics = &*shared.metrics;
    if is_plain_http(&system).await {
        metrics.tls_handshakes_plain.increment();
        tracing::debug!(%peer, "a request without TLS");
        refuse(shared, &system, "400 Bad Request", "this port speaks TLS: use https://", "");
        return None;
    }
    match Socket::secure(system, tls.config()).await {
        Ok(socket) => {
            metrics.tls_handshakes.increment();
            let is_http2 = socket.has_agreed_on_http2();
            Some(Begun { socket, first: Bytes::new(), is_http2 })
        }
        Err(error) => {
            reason(metrics, &error).increment();
            tracing::debug!(%peer, %error, "TLS handshake failed");
            None
        }
    }
}

/// Returns `true` if the peer begins with the method of a request, and not with a record of TLS.
async fn is_plain_http(system: &System) -> bool {
    let mut space = [0; 1];
    let mut space = ReadBuf::new(&mut space);
    let peeked = poll_fn(|cx| system.poll_peek(cx, &mut space)).await;
    peeked.is_ok() && space.filled().first().is_some_and(u8::is_ascii_uppercase)
}

/// Returns the counter of the reason why a handshake failed.
fn reason<'a>(metrics: &'a Metrics, error: &io::Error) -> &'a Counter {
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(_)) => &metrics.tls_handshakes_rejected,
        Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => {
            &metrics.tls_handshakes_incompatible
        }
        Some(_) => &metrics.tls_handshakes_malformed,
        None => &metrics.tls_handshakes_closed,
    }
}
