//! `Reader`: notices that standard output was closed, so that a command that runs for long can end.

use std::future::pending;
use std::io;

use tokio::sync::watch;

use crate::failure::Failure;

/// Notices that the reader of standard output has closed it, even while nothing is written.
pub(crate) struct Reader(watch::Receiver<bool>);

impl Reader {
    /// Starts to watch standard output.
    pub(crate) fn new() -> Self {
        let (sender, receiver) = watch::channel(false);
        // The thread waits without a way to stop it, and ends with the program.
        #[cfg(unix)]
        std::thread::spawn(move || {
            if wait() {
                sender.send_replace(true);
            }
        });
        #[cfg(not(unix))]
        drop(sender);
        Self(receiver)
    }

    /// Waits until standard output is closed; never returns for an output that has no reader, such
    /// as a file.
    pub(crate) async fn closed(&mut self) {
        if self.0.wait_for(|closed| *closed).await.is_err() {
            pending().await
        }
    }
}

/// Waits until standard output changes; returns `true` if its reader closed it.
#[cfg(unix)]
fn wait() -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let output = io::stdout();
    loop {
        // Hang-ups and errors are reported without being requested.
        let mut watched = [PollFd::new(&output, PollFlags::empty())];
        match poll(&mut watched, None) {
            Ok(_) => return watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Returns the failure of a command whose output was closed.
pub(crate) fn failure() -> Failure {
    io::Error::from(io::ErrorKind::BrokenPipe).into()
}
