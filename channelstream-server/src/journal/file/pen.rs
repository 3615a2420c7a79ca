//! The pen: what waits to be written, and the log. The writer and the reader write with it by turns.
//!
//! What may wait for the disk is for the writer, which has a thread of its own: to bring to disk, to begin
//! a segment, to look for space, and each write of a journal that is brought to disk before it answers. Else
//! a write goes to memory of the system, and takes a microsecond. To wake another thread for it and to be
//! woken takes twenty, so the reader does it itself, on the thread that serves.
//!
//! One of the two has the turn, which alone takes what waits. The reader passes it on when it meets something
//! that may wait, or finds the pen in use. The writer does what there is to do, gives out what it has written,
//! and passes the turn back behind that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use channelstream_core::state::Envelope;
use channelstream_core::state::stored;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::super::{Error, Figures, Given};
use super::log::{Fault, Log};
use super::segment::Builder;
use crate::config::JournalSync;

/// The most entries of a record.
pub(super) const BATCH: usize = 256;

/// The size from which on a record takes no further entry.
const BYTES: usize = 1 << 20;

/// The pause between two attempts to find space.
const TRY_SPACE: Duration = Duration::from_secs(1);

/// How long the writer keeps the turn after a write of the reader has waited for the disk.
pub(super) const SLOW: Duration = Duration::from_secs(10);

/// What the writer passes to the reader.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are entries, which move as they are")]
pub(super) enum Passed {
    Given(Given),
    /// The reader takes and writes what waits from here on.
    Turn,
}

/// The pen, as the writer and the reader have it.
#[derive(Debug)]
pub(super) struct Shared {
    pen: Mutex<Pen>,
    /// The reader has passed on the turn, and the writer has not seen it yet.
    is_passed: AtomicBool,
    /// Wakes the writer: it has the turn, or something is due at another time.
    called: Notify,
}

impl Shared {
    pub(super) fn new(pen: Pen) -> Arc<Self> {
        Arc::new(Self {
            pen: Mutex::new(pen),
            is_passed: AtomicBool::new(false),
            called: Notify::new(),
        })
    }

    /// Takes the pen, perhaps from the reader, which has it for no longer than a write takes.
    pub(super) fn pen(&self) -> MutexGuard<'_, Pen> {
        self.pen.lock().expect("a panic of the other one ends the server")
    }

    /// Takes the pen, if the writer does not have it, perhaps for as long as the disk takes.
    pub(super) fn try_pen(&self) -> Option<MutexGuard<'_, Pen>> {
        self.pen.try_lock().ok()
    }

    /// Passes the turn to the writer.
    pub(super) fn pass(&self) {
        self.is_passed.store(true, Ordering::Release);
        self.called.notify_one();
    }

    /// Lets the writer look when it is due.
    pub(super) fn call(&self) {
        self.called.notify_one();
    }

    /// Waits until the reader calls. Returns `true` if the turn was passed.
    pub(super) async fn called(&self) -> bool {
        self.called.notified().await;
        self.is_passed.swap(false, Ordering::Acquire)
    }
}

/// What waits, the record that is made of it, and the log.
#[derive(Debug)]
pub(super) struct Pen {
    pub(super) log: Log,
    sync: JournalSync,
    envelopes: mpsc::Receiver<Envelope>,
    /// What was taken. Until it is given out, it is in the record, or there is no space for it.
    taken: Vec<Envelope>,
    record: Builder,
    /// The size of what followed the last snapshot, and of the part that the next one covers.
    followed: (u64, u64),
    /// When all that was written by then was on disk.
    synced: Instant,
    /// While there is no space, the time of the next attempt.
    no_space: Option<Instant>,
    /// Until when writes are taken to wait for the disk.
    slow_until: Option<Instant>,
    /// What failed for the reader, for the writer to end with.
    failed: Option<Fault>,
    figures: Arc<Figures>,
}

impl Pen {
    pub(super) fn new(
        log: Log,
        sync: JournalSync,
        envelopes: mpsc::Receiver<Envelope>,
        followed: u64,
        figures: Arc<Figures>,
    ) -> Self {
        Self {
            log,
            sync,
            envelopes,
            taken: Vec::with_capacity(BATCH),
            record: Builder::default(),
            followed: (followed, 0),
            synced: Instant::now(),
            no_space: None,
            slow_until: None,
            failed: None,
            figures,
        }
    }

    /// Accepts nothing more. What was accepted is still taken.
    pub(super) fn close(&mut self) {
        self.envelopes.close();
    }

    /// Waits until there is something to write, and takes it. Returns `false` if nothing will come any more.
    pub(super) fn poll_take(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<bool> {
        if self.taken.is_empty() {
            match std::task::ready!(self.envelopes.poll_recv(cx)) {
                Some(envelope) => self.put(envelope),
                None => return Poll::Ready(false),
            }
        }
        self.take(most);
        Poll::Ready(true)
    }

    /// Takes what waits, `most` entries in all or as much as a record has room for. Returns `false` if there
    /// is nothing to write.
    pub(super) fn take(&mut self, most: usize) -> bool {
        while self.taken.len() < most
            && self.record.len() < BYTES
            && let Ok(envelope) = self.envelopes.try_recv()
        {
            self.put(envelope);
        }
        !self.taken.is_empty()
    }

    fn put(&mut self, envelope: Envelope) {
        if self.no_space.is_none() {
            let level = self.figures.level.load(Ordering::Relaxed);
            self.record.push(|bytes| stored::encode(&envelope, level, bytes));
        }
        self.taken.push(envelope);
    }

    /// Returns the size of what was taken, as it is written.
    pub(super) fn size(&self) -> usize {
        self.record.len()
    }

    /// Writes what was taken, if there is space, and brings it to disk if it has to be there at once.
    pub(super) fn write(&mut self) -> Result<(), Fault> {
        if self.record.count() == 0 {
            return Ok(());
        }
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
            self.figures.bytes.store(self.followed.0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Gives out what was taken: it is written, or there was no space for it.
    pub(super) fn give(&mut self) -> impl ExactSizeIterator<Item = Given> {
        let is_undone = self.no_space.is_some();
        if is_undone {
            self.figures.undone.fetch_add(self.taken.len() as u64, Ordering::Relaxed);
        }
        self.taken.drain(..).map(move |envelope| match is_undone {
            true => Given::Undone { number: envelope.number, why: Error::NoSpace },
            false => Given::Entry(envelope),
        })
    }

    pub(super) fn has_space(&self) -> bool {
        self.no_space.is_none()
    }

    /// Returns `true` if the reader may write: what is written now is not expected to wait for the disk. The end
    /// is for the writer.
    pub(super) fn may_be_lent(&self) -> bool {
        !self.envelopes.is_closed()
            && self.has_space()
            && self.slow_until.is_none_or(|until| until <= Instant::now())
    }

    /// Notes that a write of the reader took so long.
    pub(super) fn was_slow(&mut self, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(milliseconds, "a write to the journal took long: is its disk busy?");
        self.slow_until = Some(Instant::now() + SLOW);
    }

    /// Returns `true` if the writer has to look when it is due: something is behind that was not, or the level
    /// was raised.
    pub(super) fn has_news(&self, was_behind: bool) -> bool {
        !was_behind || self.figures.is_raised.load(Ordering::Relaxed)
    }

    /// Notes what failed for the reader.
    pub(super) fn fail(&mut self, fault: Fault) {
        self.failed = Some(fault);
    }

    /// Returns what failed for the reader.
    pub(super) fn failed(&mut self) -> Result<(), Fault> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Returns when what was written has to be brought to disk, or space is looked for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.sync_due().into_iter().chain(self.no_space).min()
    }

    fn sync_due(&self) -> Option<Instant> {
        match self.sync {
            JournalSync::Every(time) if self.log.is_behind() => Some(self.synced + time),
            _ => None,
        }
    }

    /// Brings what was written to disk and looks for space, if it is time. It waits for the disk.
    pub(super) fn do_what_is_due(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        if self.sync_due().is_some_and(|due| due <= now) {
            self.sync()?;
        }
        if self.no_space.is_some_and(|due| due <= now) {
            let found = self.log.try_space();
            if self.is_done(found)? {
                self.no_space = None;
                self.figures.has_no_space.store(false, Ordering::Relaxed);
                tracing::info!("there is space for the journal again");
            }
        }
        Ok(())
    }

    /// Brings all that was written to disk.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        self.synced = Instant::now();
        self.log.sync()
    }

    /// Returns the size of what followed the last snapshot.
    pub(super) fn followed(&self) -> u64 {
        self.followed.0
    }

    /// Ends the segment, so that a snapshot can cover all that is written. Returns the number of the next
    /// entry, or `None` without space.
    pub(super) fn begin_snapshot(&mut self) -> Result<Option<u64>, Fault> {
        let rotated = if self.log.is_empty() { Ok(()) } else { self.log.rotate() };
        let is_done = self.is_done(rotated)?;
        self.followed.1 = self.followed.0;
        Ok(is_done.then(|| self.log.number()))
    }

    /// Ends a snapshot, which stands or not.
    pub(super) fn end_snapshot(&mut self, stands: bool) {
        let covered = std::mem::take(&mut self.followed.1);
        if stands {
            self.followed.0 -= covered;
            self.figures.bytes.store(self.followed.0, Ordering::Relaxed);
        }
    }

    /// Returns `true` if something was done, and `false` if there was no space for it.
    fn is_done(&mut self, done: Result<(), Fault>) -> Result<bool, Fault> {
        match done {
            Ok(()) => Ok(true),
            Err(fault @ Fault::Failed { .. }) => Err(fault),
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
