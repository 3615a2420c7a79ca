//! Being asked to stop: Ctrl-C, and SIGTERM, SIGHUP and SIGQUIT where there are such.

use std::io;

use tokio::signal;

/// Hears of every request to stop from when it was made on; the program no longer ends by itself.
pub(crate) struct Interrupt {
    #[cfg(unix)]
    signals: Vec<signal::unix::Signal>,
}

impl Interrupt {
    /// Begins to hear.
    pub(crate) fn new() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use signal::unix::{SignalKind, signal};
            let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
            // Whoever starts us may want us to outlive the terminal, as `nohup` does.
            let ignored = ignored();
            let others = [SignalKind::hangup(), SignalKind::quit()];
            kinds.extend(others.into_iter().filter(|kind| !ignored(*kind)));
            Ok(Self { signals: kinds.into_iter().map(signal).collect::<io::Result<_>>()? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next one; giving up waiting loses none.
    pub(crate) async fn heard(&mut self) {
        #[cfg(unix)]
        std::future::poll_fn(|context| {
            let heard = self.signals.iter_mut().any(|one| one.poll_recv(context).is_ready());
            if heard { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        #[cfg(not(unix))]
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Which signals this process was started to ignore, where the system tells: none elsewhere.
#[cfg(unix)]
fn ignored() -> impl Fn(signal::unix::SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // Signals count from 1.
    move |kind| mask >> (kind.as_raw_value() - 1) & 1 == 1
}
