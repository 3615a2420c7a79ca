//! Who reads our standard output: a command that waits for long ends when they have gone.

use std::future::pending;
use std::io;

use tokio::sync::watch;

use crate::failure::Failure;

/// Hears that whoever reads standard output has gone, also while nothing is written.
pub(crate) struct Reader(watch::Receiver<bool>);

impl Reader {
    /// Begins to hear.
    pub(crate) fn new() -> Self {
        let (tell, told) = watch::channel(false);
        // It waits, and cannot be told to stop: the thread ends with the program.
        #[cfg(unix)]
        std::thread::spawn(move || {
            if wait() {
                tell.send_replace(true);
            }
        });
        #[cfg(not(unix))]
        drop(tell);
        Self(told)
    }

    /// Waits for it; where nobody can go, as from a file, this never ends.
    pub(crate) async fn gone(&mut self) {
        if self.0.wait_for(|gone| *gone).await.is_err() {
            pending().await
        }
    }
}

/// Whether the reader has gone when there is nothing more to wait for.
#[cfg(unix)]
fn wait() -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let output = io::stdout();
    loop {
        // That somebody has gone is told whether it is asked for or not.
        let mut watched = [PollFd::new(&output, PollFlags::empty())];
        match poll(&mut watched, None) {
            Ok(_) => return watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// What a command ends with whose output nobody reads any more.
pub(crate) fn failure() -> Failure {
    io::Error::from(io::ErrorKind::BrokenPipe).into()
}
