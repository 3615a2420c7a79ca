//! A thread with its own runtime, for tasks that are spawned on it.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A running thread. Dropping this ends the thread and its tasks.
#[derive(Debug)]
pub(crate) struct Thread {
    handle: Handle,
    _until: oneshot::Sender<Infallible>,
}

impl Thread {
    /// Starts a thread.
    ///
    /// # Errors
    /// Fails if the system cannot start another thread or runtime.
    #[expect(clippy::disallowed_methods, reason = "nobody is served yet")]
    pub(crate) fn start() -> io::Result<Self> {
        let (_until, dropped) = oneshot::channel::<Infallible>();
        let (tell, started) = mpsc::channel();
        let run = move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                // The starter waits for this; nothing is ever sent to `dropped`.
                let _ = tell.send(Ok(runtime.handle().clone()));
                let _ = runtime.block_on(dropped);
            }
            Err(error) => drop(tell.send(Err(error))),
        };
        std::thread::Builder::new().name("channelstream".to_owned()).spawn(run)?;
        let handle = started.recv().map_err(io::Error::other)??;
        Ok(Self { handle, _until })
    }

    /// Returns the handle on which tasks are spawned.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}
