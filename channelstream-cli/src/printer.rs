//! Standard output, written on a thread of its own: who does not read holds up what is printed, and
//! not the signals that end the program.

use std::io::{self, Write as _, stdout};
use std::thread;

use tokio::sync::{mpsc, oneshot};

/// Texts that wait to be written.
const WAITING: usize = 16;

/// Writes texts in their order.
pub(crate) struct Printer {
    texts: Option<mpsc::Sender<Vec<u8>>>,
    /// None once it is known.
    outcome: Option<oneshot::Receiver<io::Result<()>>>,
}

impl Printer {
    /// A thread that is stuck in a write ends with the program.
    pub(crate) fn new() -> Self {
        let (texts, waiting) = mpsc::channel(WAITING);
        let (tell, outcome) = oneshot::channel();
        thread::spawn(move || {
            // Who printed may have left meanwhile.
            let _ = tell.send(write(waiting));
        });
        Self { texts: Some(texts), outcome: Some(outcome) }
    }

    /// Prints a text as soon as there is room for it.
    ///
    /// # Errors
    /// Why one before could not be written.
    pub(crate) async fn print(&mut self, text: Vec<u8>) -> io::Result<()> {
        match &self.texts {
            Some(texts) if texts.send(text).await.is_ok() => Ok(()),
            _ => Err(self.failed().await),
        }
    }

    /// Waits until something could not be written; why.
    pub(crate) async fn failed(&mut self) -> io::Error {
        let error = self.outcome().await.err();
        error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// Why it could not be, unless that was told before.
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
