//! What systemd and the program tell each other: sockets that are handed in, readiness, reloads, the
//! watchdog. Without systemd nothing here does anything.

#[cfg(target_os = "linux")]
mod notify;

#[cfg(not(target_os = "linux"))]
pub(super) use nobody::{is_reloading, reports, stops};
#[cfg(target_os = "linux")]
pub(super) use notify::{is_reloading, reports, stops};

use crate::BoundSocket;

/// Returns the sockets that systemd listens on for this program; none without a socket unit. Must be called
/// once, before the program has threads.
///
/// # Errors
/// Returns an error if one of them is no socket that listens for streams, because a server without it
/// would not be where its operator thinks it is.
#[cfg(unix)]
pub(super) fn sockets() -> anyhow::Result<Vec<BoundSocket>> {
    use anyhow::{Context as _, ensure};
    use listenfd::ListenFd;
    use socket2::SockRef;

    /// More than any socket unit has. The crate looks at each of them.
    const MOST: u32 = 1000;
    let count = std::env::var("LISTEN_FDS").ok().and_then(|text| text.parse::<u32>().ok());
    ensure!(count.is_none_or(|count| count <= MOST), "LISTEN_FDS is larger than {MOST}");
    let mut handed_in = ListenFd::from_env();
    let mut sockets = Vec::new();
    for number in 0..handed_in.len() {
        let socket = if let Ok(Some(listener)) = handed_in.take_unix_listener(number) {
            ensure_listens(number, &SockRef::from(&listener))?;
            BoundSocket::from(listener)
        } else {
            let listener = handed_in.take_tcp_listener(number);
            let listener = listener.with_context(|| what(number))?.with_context(|| what(number))?;
            ensure_listens(number, &SockRef::from(&listener))?;
            BoundSocket::from(listener)
        };
        sockets.push(socket);
    }
    fn what(number: usize) -> String {
        format!("socket {number} of systemd (ListenStream= is what the socket unit needs)")
    }
    fn ensure_listens(number: usize, socket: &SockRef<'_>) -> anyhow::Result<()> {
        let listens = socket.is_listener().with_context(|| what(number))?;
        ensure!(listens, "{}: it does not listen; the socket unit needs Accept=no", what(number));
        Ok(())
    }
    Ok(sockets)
}

#[cfg(not(unix))]
pub(super) fn sockets() -> anyhow::Result<Vec<BoundSocket>> {
    Ok(Vec::new())
}

#[cfg(not(target_os = "linux"))]
mod nobody {
    use std::future::pending;
    use std::time::Duration;

    use crate::server::Monitor;

    pub(crate) async fn reports(_: Monitor) {
        pending().await
    }

    pub(crate) async fn is_reloading(_: bool) {}

    pub(crate) async fn stops(_: Duration) {}
}
