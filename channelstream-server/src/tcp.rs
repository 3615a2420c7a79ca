//! TCP options: how much the system buffers for a peer that does not read, and for how long.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

/// Bytes that the system buffers for a peer that does not read. Everything beyond waits in this
/// process, where it is bounded. By default the system buffers megabytes for each peer.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT: u32 = 64 * 1024;

/// Bounds the bytes that are written and not yet sent.
///
/// # Errors
/// Returns an error if the peer is gone already.
pub(crate) fn bound_unsent(stream: &TcpStream) -> io::Result<()> {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = stream;
    Ok(())
}

/// Bounds how long after the close the system keeps bytes that the peer does not read. Without it, a
/// peer that stays and reads nothing holds that memory forever.
pub(crate) fn bound_rest(stream: &TcpStream, time: Duration) {
    // Where the option does not exist, the system has its own timeouts.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(time));
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (stream, time);
}

/// Makes the close a reset, which frees the buffers of the system at once.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    // A peer that is gone needs no reset.
    let _ = stream.set_zero_linger();
}
