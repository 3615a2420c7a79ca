//! The writer: takes the envelopes that wait, writes them as one record, and gives them out.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use channelstream_core::state::Envelope;
use channelstream_core::state::stored;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::super::{Error, Figures, Given};
use super::log::{Fault, Log};
use super::segment::Builder;
use super::snapshots::Snapshots;
use crate::config::JournalSync;

/// The most entries of a record.
const BATCH: usize = 256;

/// The size from which on a record takes no further entry.
const BYTES: usize = 1 << 20;

/// How much may wait to be taken by the reader.
pub(super) const GIVEN: usize = 2 * BATCH;

/// The pause between two attempts to find space.
const TRY_SPACE: Duration = Duration::from_secs(1);

/// Writes a journal. It blocks the thread that runs it.
#[derive(Debug)]
pub(crate) struct Writer {
    log: Log,
    sync: JournalSync,
    envelopes: mpsc::Receiver<Envelope>,
    given: mpsc::Sender<Given>,
    snapshots: Snapshots,
    /// The size of what followed the last snapshot, and of the part that the next one covers.
    followed: (u64, u64),
    /// When all that was written by then was on disk.
    synced: Instant,
    /// While there is no space, the time of the next attempt.
    no_space: Option<Instant>,
    figures: Arc<Figures>,
    record: Builder,
    taken: Vec<Envelope>,
}

impl Writer {
    pub(super) fn new(
        log: Log,
        sync: JournalSync,
        (envelopes, given): (mpsc::Receiver<Envelope>, mpsc::Sender<Given>),
        snapshots: Snapshots,
        followed: u64,
        figures: Arc<Figures>,
    ) -> Self {
        Self {
            log,
            sync,
            envelopes,
            given,
            snapshots,
            followed: (followed, 0),
            synced: Instant::now(),
            no_space: None,
            figures,
            record: Builder::default(),
            taken: Vec::with_capacity(BATCH),
        }
    }

    /// Writes until `stop` completes and all that was accepted is written and on disk, or until nobody
    /// reads any more.
    ///
    /// # Errors
    /// Returns an error if the disk fails. What was not given out may be written or not.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), WriterError> {
        let mut stop = pin!(stop);
        let mut is_stopping = false;
        let mut waiting = Vec::with_capacity(BATCH);
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = &mut stop, if !is_stopping => {
                    is_stopping = true;
                    self.envelopes.close();
                }
                made = self.snapshots.made() => {
                    let covered = std::mem::take(&mut self.followed.1);
                    if let Some(made) = made {
                        self.followed.0 -= covered;
                        self.figures.snapshot_was_made(made.size, made.time);
                    }
                }
                count = self.envelopes.recv_many(&mut waiting, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    if !self.write_all(&mut waiting).await? {
                        return Ok(());
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            self.do_what_is_due()?;
            self.figures.bytes.store(self.followed.0, Ordering::Relaxed);
        }
        self.log.sync()?;
        // It holds the lock of the directory as well.
        self.snapshots.end().await;
        Ok(())
    }

    /// Returns when something is to be done without an envelope.
    fn due(&self) -> Option<Instant> {
        let other = self.no_space.or_else(|| self.snapshot_due());
        self.sync_due().into_iter().chain(other).min()
    }

    fn snapshot_due(&self) -> Option<Instant> {
        let is_raised = self.figures.is_raised.load(Ordering::Relaxed);
        self.snapshots.due(self.followed.0, is_raised)
    }

    /// Returns when what was written has to be brought to disk.
    fn sync_due(&self) -> Option<Instant> {
        match self.sync {
            JournalSync::Every(time) if self.log.is_behind() => Some(self.synced + time),
            _ => None,
        }
    }

    fn do_what_is_due(&mut self) -> Result<(), WriterError> {
        let now = Instant::now();
        if self.sync_due().is_some_and(|due| due <= now) {
            self.sync()?;
        }
        if let Some(due) = self.no_space {
            if due <= now {
                let found = self.log.try_space();
                if self.is_done(found)? {
                    self.no_space = None;
                    self.figures.has_no_space.store(false, Ordering::Relaxed);
                    tracing::info!("there is space for the journal again");
                }
            }
        } else if self.snapshot_due().is_some_and(|due| due <= now) {
            let rotated = if self.log.is_empty() { Ok(()) } else { self.log.rotate() };
            if self.is_done(rotated)? {
                self.followed.1 = self.followed.0;
                self.figures.is_raised.store(false, Ordering::Relaxed);
                self.snapshots.begin(self.log.number());
            }
        }
        Ok(())
    }

    /// Writes envelopes as one record or, if they are large, as several ones, and gives them out. Returns
    /// `false` if nobody takes them.
    async fn write_all(&mut self, waiting: &mut Vec<Envelope>) -> Result<bool, WriterError> {
        let level = self.figures.level.load(Ordering::Relaxed);
        for envelope in waiting.drain(..) {
            if self.no_space.is_none() {
                self.record.push(|bytes| stored::encode(&envelope, level, bytes));
            }
            self.taken.push(envelope);
            if self.record.len() >= BYTES && !self.write().await? {
                return Ok(false);
            }
        }
        self.write().await
    }

    /// Writes the record, if there is one, and gives out what was taken.
    async fn write(&mut self) -> Result<bool, WriterError> {
        if self.record.count() > 0 {
            let (begun, was_behind) = (Instant::now(), self.log.is_behind());
            let written = self.log.write(&mut self.record);
            self.record.clear(2 * BYTES);
            let size = written.as_ref().copied().unwrap_or_default();
            if self.is_done(written.map(drop))? {
                self.followed.0 += size;
                match self.sync {
                    JournalSync::Always => self.sync()?,
                    // What is behind since now has the whole time.
                    JournalSync::Every(_) if !was_behind => self.synced = begun,
                    JournalSync::Every(_) | JournalSync::Never => {}
                }
                self.figures.was_written(self.taken.len(), begun.elapsed());
            }
        }
        let count = self.taken.len();
        let Ok(permits) = self.given.reserve_many(count).await else { return Ok(false) };
        let is_undone = self.no_space.is_some();
        if is_undone {
            self.figures.undone.fetch_add(count as u64, Ordering::Relaxed);
        }
        for (permit, envelope) in permits.zip(self.taken.drain(..)) {
            permit.send(match is_undone {
                true => Given::Undone { number: envelope.number, why: Error::NoSpace },
                false => Given::Entry(envelope),
            });
        }
        Ok(true)
    }

    fn sync(&mut self) -> Result<(), WriterError> {
        self.synced = Instant::now();
        Ok(self.log.sync()?)
    }

    /// Returns `true` if something was done, and `false` if there was no space for it.
    fn is_done(&mut self, done: Result<(), Fault>) -> Result<bool, WriterError> {
        match done {
            Ok(()) => Ok(true),
            Err(fault @ Fault::Failed { .. }) => Err(fault.into()),
            Err(Fault::NoSpace { file, source }) => {
                if self.no_space.is_none() {
                    let why = source.to_string();
                    tracing::error!(
                        file,
                        why,
                        "there is no space for the journal: nothing is accepted until there is"
                    );
                }
                self.no_space = Some(Instant::now() + TRY_SPACE);
                self.figures.has_no_space.store(true, Ordering::Relaxed);
                Ok(false)
            }
        }
    }
}

/// Why a journal is not written any more.
#[derive(Debug, thiserror::Error)]
#[error("the disk of the journal fails")]
pub(crate) struct WriterError(#[from] Fault);
