//! Options of TCP: how much the system holds for a peer that does not read, and for how long.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

/// Bytes that the system takes for a peer that does not read. What is beyond them waits in the server,
/// where it is bounded. By default the system takes megabytes for each peer.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT: u32 = 64 * 1024;

/// Bounds the bytes that are written and not yet sent.
///
/// # Errors
/// If the peer is gone.
pub(super) fn bound_unsent(stream: &TcpStream) -> io::Result<()> {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = stream;
    Ok(())
}

/// Bounds how long the system keeps what the peer does not take, also after the close. Without this,
/// a peer that stays and reads nothing keeps that memory forever.
pub(super) fn bound_rest(stream: &TcpStream, time: Duration) {
    // Where it cannot be set, the system has its own times.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(time));
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (stream, time);
}

/// Makes the close a reset, which frees at once what the system still holds.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // A peer that is gone needs no reset.
    let _ = stream.set_zero_linger();
}
