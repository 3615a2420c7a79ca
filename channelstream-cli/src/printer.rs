//! `Printer`: standard output on a thread of its own. A reader that does not read delays the output
//! but not the signals that end the program.

use std::io::{self, Write as _, stdout};
use std::thread;

use tokio::sync::{mpsc, oneshot};

/// The number of texts that may wait to be written.
const WAITING: usize = 16;

/// Writes texts in order.
pub(crate) struct Printer {
    texts: Option<mpsc::Sender<Vec<u8>>>,
    /// `None` once the outcome was returned.
    outcome: Option<oneshot::Receiver<io::Result<()>>>,
}

impl Printer {
    /// Starts the thread. If it is stuck in a write, it ends with the program.
    pub(crate) fn new() -> Self {
        let (texts, waiting) = mpsc::channel(WAITING);
        let (sender, outcome) = oneshot::channel();
        thread::spawn(move || {
            // The printer may be dropped by now.
            let _ = sender.send(write(waiting));
        });
        Self { texts: Some(texts), outcome: Some(outcome) }
    }

    /// Queues a text, and waits while the queue is full.
    ///
    /// # Errors
    /// The error of an earlier write.
    pub(crate) async fn print(&mut self, text: Vec<u8>) -> io::Result<()> {
        match &self.texts {
            Some(texts) if texts.send(text).await.is_ok() => Ok(()),
            _ => Err(self.failed().await),
        }
    }

    /// Waits until a write fails, and returns its error.
    pub(crate) async fn failed(&mut self) -> io::Error {
        let error = self.outcome().await.err();
        error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// The error of a write, unless it was returned before.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.texts = None;
        self.outcome().await
    }

    async fn outcome(&mut self) -> io::Result<()> {
        let Some(outcome) = &mut self.outcome else { return Ok(()) };
        let outcome = outcome.await;
        self.outcome = None;
        outcome.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

fn write(mut waiting: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let mut out = stdout();
    while let Some(text) = waiting.blocking_recv() {
        out.write_all(&text)?;
        out.flush()?;
    }
    Ok(())
}
