//! `Interrupt`: requests to stop by Ctrl-C and, on Unix, SIGTERM, SIGHUP and SIGQUIT.

use std::io;

use tokio::signal;

/// Receives the signals that ask the program to stop. Once it exists, they no longer end the
/// program by themselves.
pub(crate) struct Interrupt {
    #[cfg(unix)]
    signals: Vec<signal::unix::Signal>,
}

impl Interrupt {
    /// Installs the signal handlers.
    pub(crate) fn new() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use signal::unix::{SignalKind, signal};
            let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
            // An ignored signal stays ignored: `nohup` starts programs that outlive the terminal.
            let ignored = ignored();
            let others = [SignalKind::hangup(), SignalKind::quit()];
            kinds.extend(others.into_iter().filter(|kind| !ignored(*kind)));
            Ok(Self { signals: kinds.into_iter().map(signal).collect::<io::Result<_>>()? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next signal. Cancel safe.
    pub(crate) async fn received(&mut self) {
        #[cfg(unix)]
        std::future::poll_fn(|context| {
            let received = self.signals.iter_mut().any(|one| one.poll_recv(context).is_ready());
            if received { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        #[cfg(not(unix))]
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Returns a predicate for the signals that this process was started to ignore. Where the system
/// does not report them, none are.
#[cfg(unix)]
fn ignored() -> impl Fn(signal::unix::SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // Signals count from 1.
    move |kind| mask >> (kind.as_raw_value() - 1) & 1 == 1
}
