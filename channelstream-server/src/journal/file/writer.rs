//! The writer: brings to disk, and writes what waits and gives it out while it has the turn.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::super::{Figures, Given};
use super::log::Fault;
use super::pen::{BATCH, Passed, Pen, Shared};
use super::snapshots::Snapshots;

/// How much may wait to be taken by the reader.
pub(super) const PASSED: usize = 2 * BATCH;

/// Writes a journal. It blocks the thread that runs it.
#[derive(Debug)]
pub(crate) struct Writer {
    /// The reader does not keep it: it has the lock of the directory.
    shared: Arc<Shared>,
    pass: mpsc::Sender<Passed>,
    /// The reader writes as well.
    lends: bool,
    has_turn: bool,
    /// What was written and is not given out yet.
    given: Vec<Given>,
    snapshots: Snapshots,
    figures: Arc<Figures>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        pass: mpsc::Sender<Passed>,
        lends: bool,
        snapshots: Snapshots,
        figures: Arc<Figures>,
    ) -> Self {
        let given = Vec::with_capacity(BATCH);
        Self { shared, pass, lends, has_turn: !lends, given, snapshots, figures }
    }

    /// Writes until `stop` completes and all that was accepted is written and on disk, or until nobody
    /// reads any more.
    ///
    /// # Errors
    /// Returns an error if the disk fails. What was not given out may be written or not.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), WriterError> {
        let mut stop = pin!(stop);
        let mut is_stopping = false;
        let shared = Arc::clone(&self.shared);
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = &mut stop, if !is_stopping => {
                    is_stopping = true;
                    self.has_turn = true;
                    shared.pen().close();
                }
                made = self.snapshots.made() => {
                    self.pen().end_snapshot(made.is_some());
                    if let Some(made) = made {
                        self.figures.snapshot_was_made(made.size, made.time);
                    }
                }
                is_passed = shared.called() => self.has_turn |= is_passed,
                more = poll_fn(|cx| shared.pen().poll_take(cx, BATCH)), if self.has_turn => {
                    if !more {
                        break;
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            self.pen().failed()?;
            if self.has_turn && !self.write().await? {
                return Ok(());
            }
            self.do_what_is_due()?;
            if self.has_turn && self.lends && self.pen().may_be_lent() {
                self.has_turn = false;
                if self.pass.send(Passed::Turn).await.is_err() {
                    return Ok(());
                }
            }
        }
        self.pen().sync()?;
        // It holds the lock of the directory as well.
        self.snapshots.end().await;
        Ok(())
    }

    fn pen(&self) -> MutexGuard<'_, Pen> {
        self.shared.pen()
    }

    /// Returns when something is to be done without an envelope.
    fn due(&self) -> Option<Instant> {
        let pen = self.pen();
        let snapshot = self.snapshot_due(&pen);
        pen.due().into_iter().chain(snapshot).min()
    }

    fn snapshot_due(&self, pen: &Pen) -> Option<Instant> {
        let is_raised = self.figures.is_raised.load(Ordering::Relaxed);
        self.snapshots.due(pen.followed(), is_raised).filter(|_| pen.has_space())
    }

    fn do_what_is_due(&mut self) -> Result<(), WriterError> {
        let mut pen = self.shared.pen();
        pen.do_what_is_due()?;
        if self.snapshot_due(&pen).is_some_and(|due| due <= Instant::now())
            && let Some(number) = pen.begin_snapshot()?
        {
            self.figures.is_raised.store(false, Ordering::Relaxed);
            self.snapshots.begin(number);
        }
        Ok(())
    }

    /// Writes what waits and gives it out. Returns `false` if nobody takes it.
    async fn write(&mut self) -> Result<bool, WriterError> {
        {
            let mut pen = self.shared.pen();
            if !pen.take(BATCH) {
                return Ok(!self.pass.is_closed());
            }
            pen.write()?;
            self.given.extend(pen.give());
        }
        let count = self.given.len();
        let Ok(permits) = self.pass.reserve_many(count).await else { return Ok(false) };
        for (permit, given) in permits.zip(self.given.drain(..)) {
            permit.send(Passed::Given(given));
        }
        Ok(true)
    }
}

/// Why a journal is not written any more.
#[derive(Debug, thiserror::Error)]
#[error("the disk of the journal fails")]
pub(crate) struct WriterError(#[from] Fault);
