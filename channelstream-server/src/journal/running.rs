//! The writer of a journal while the server runs.

use std::convert::Infallible;
use std::error::Error;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::Writer;
use crate::thread::Thread;

/// The error or panic that ended a writer.
type Failure = Box<dyn Error + Send + Sync>;

/// A writer that runs on a thread of its own; for a journal in memory, none.
#[derive(Debug)]
pub(crate) struct Running(Option<Parts>);

#[derive(Debug)]
struct Parts {
    written: JoinHandle<Result<(), Failure>>,
    /// Dropping this ends the writer.
    end: oneshot::Sender<Infallible>,
    _thread: Thread,
}

impl Running {
    /// Runs a writer on a thread.
    pub(crate) fn start(writer: Option<(Writer, Thread)>) -> Self {
        Self(writer.map(|(writer, _thread)| {
            let (end, ended) = oneshot::channel::<Infallible>();
            let write = async { writer.run(async { drop(ended.await) }).await };
            let written = async { write.await.map_err(Failure::from) };
            Parts { written: _thread.handle().spawn(written), end, _thread }
        }))
    }

    /// Waits until the writer ends, which is a failure.
    pub(crate) async fn failure(&mut self) -> Failure {
        match &mut self.0 {
            None => std::future::pending().await,
            Some(parts) => match (&mut parts.written).await {
                Ok(Ok(())) => "it ended unexpectedly".into(),
                Ok(Err(error)) => error,
                Err(error) => error.into(),
            },
        }
    }

    /// Waits until all that was accepted is written and on disk, or until `latest`.
    ///
    /// # Errors
    /// Returns an error if the disk fails.
    pub(crate) async fn end(self, latest: Instant) -> Result<(), Failure> {
        let Some(Parts { written, end, _thread }) = self.0 else { return Ok(()) };
        drop(end);
        match timeout_at(latest, written).await {
            Ok(written) => written?,
            Err(_) => Err("its disk is too slow for what was still to be written".into()),
        }
    }
}
