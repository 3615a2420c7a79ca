//! The transports that bring events to a listener, and what all of them share.
//!
//! A transport checks its request, reserves a place for the listener, and creates a
//! [`Listener`](crate::listener::Listener) with a sink and an encoding.

pub(crate) mod event_stream;
pub(crate) mod long_poll;
pub(crate) mod websocket;

use std::io;

use bytes::Bytes;
use channelstream_core::protocol::{FieldErrors, NotACursor, parse_uuid};
use channelstream_core::state::{Appends, ConnectionId, Since};
use hyper::upgrade::OnUpgrade;
use tokio::task::yield_now;

use crate::app::App;
use crate::http::linger::LingerIo;
use crate::http::peer::Peer;
use crate::http::problem::{FULL, Problem};
use crate::http::request::Request;
use crate::limits::Limit;
use crate::listener::outbox::Ending;
use crate::places::Place;
use crate::socket::Socket;

/// Returns the connection that the parameter `conn_id` names, or what is wrong with the parameter.
fn connection(request: &Request) -> Result<ConnectionId, &'static str> {
    let text = request.parameter("conn_id").ok_or("Field may not be null.")?;
    parse_uuid(&text).map(ConnectionId::from).ok_or("Not a valid UUID.")
}

/// Returns where the parameter `since` says that the listener begins, or what is wrong with it. Without
/// one the client knows no cursors.
fn since(request: &Request) -> Result<Option<Since>, FieldErrors> {
    match request.parameter("since") {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(Some(Since::Record)),
        Some(text) => match text.parse() {
            Ok(cursor) => Ok(Some(Since::Cursor(cursor))),
            Err(NotACursor) => Err(FieldErrors::from_texts("since", [NotACursor::TEXT])),
        },
    }
}

/// Returns how the listener is told that a message has grown: the parameter `append` may be `edit`.
fn appends(request: &Request) -> Result<Appends, FieldErrors> {
    match request.parameter("append").as_deref() {
        None | Some("") => Ok(Appends::AsEvents),
        Some("edit") => Ok(Appends::AsEdits),
        Some(_) => Err(FieldErrors::from_texts("append", ["Must be one of: edit."])),
    }
}

/// Reserves the place of one more listener.
fn reserve(app: &App, peer: Peer) -> Result<Place, Problem> {
    app.node.hub().reserve().ok_or_else(|| {
        app.limits.refused(Limit::Listeners, peer);
        Problem::Unavailable(FULL.into())
    })
}

/// Counts the end of a listener, if the server made it because of a limit.
fn count_end(app: &App, ending: Option<Ending>, peer: Peer) {
    let limit = match ending {
        Some(Ending::Slow) => Limit::Outbox,
        Some(Ending::Stalled) => Limit::PingTimeout,
        _ => return,
    };
    app.limits.refused(limit, peer);
}

/// Returns the upgrade of a request whose handshake is good.
pub(crate) fn upgrade(request: &mut Request) -> Result<OnUpgrade, Problem> {
    let upgrade = request.upgrade.take();
    upgrade.ok_or_else(|| Problem::Unavailable("this connection cannot be upgraded".into()))
}

/// Takes the TCP connection over from HTTP. Returns the socket and what was read beyond the request.
pub(crate) async fn take_over(upgrade: OnUpgrade) -> io::Result<(Socket, Bytes)> {
    let parts = upgrade
        .await
        .map_err(io::Error::other)?
        .downcast::<LingerIo>()
        .map_err(|_| io::Error::other("the connection is not a stream of this server"))?;
    Ok((parts.io.into_inner().registered_again()?, parts.read_buf))
}

/// Reads until the peer closes, and drops what it sends: bytes that nobody reads would make the
/// system reset the connection, and the peer would lose the last that was sent to it.
///
/// # Errors
/// If the connection breaks.
pub(crate) async fn linger(stream: &Socket) -> io::Result<()> {
    loop {
        stream.readable().await?;
        // A statement of its own, so that the buffer is no part of the task.
        let outcome = stream.try_read(&mut [0; 512]);
        match outcome {
            Ok(0) => return Ok(()),
            Ok(_) => yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
