//! What a journal in files counts, and how it is.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Counts what a journal in files does, and says how it is.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(super) has_no_space: AtomicBool,
    /// The level in force.
    pub(super) level: AtomicU32,
    /// It was raised since the last snapshot, which the release after this one cannot read.
    pub(super) is_raised: AtomicBool,
    /// Entries that were written.
    entries: AtomicU64,
    /// Writes, each of which has one entry or more.
    writes: AtomicU64,
    /// The time of writing and bringing to disk, in microseconds.
    write_micros: AtomicU64,
    /// Entries that were accepted and not done.
    pub(super) undone: AtomicU64,
    /// The size of what followed the last snapshot, in bytes.
    pub(super) bytes: AtomicU64,
    /// The size of the last snapshot, in bytes.
    pub(super) snapshot_bytes: AtomicU64,
    /// How long it took, in microseconds; 0 if it is not of this process.
    snapshot_micros: AtomicU64,
    /// When it stood, in microseconds since `started`.
    snapshot_at: AtomicU64,
    started: Instant,
}

/// The figures at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) entries: u64,
    pub(crate) writes: u64,
    pub(crate) write_time: Duration,
    pub(crate) undone: u64,
    pub(crate) bytes: u64,
    pub(crate) snapshot_bytes: u64,
    pub(crate) snapshot_time: Duration,
    pub(crate) snapshot_age: Duration,
}

impl Figures {
    /// Begins with what is on the disk.
    pub(super) fn new(level: u32, bytes: u64, snapshot_bytes: u64) -> Self {
        Self {
            has_no_space: AtomicBool::new(false),
            level: AtomicU32::new(level),
            is_raised: AtomicBool::new(false),
            entries: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            write_micros: AtomicU64::new(0),
            undone: AtomicU64::new(0),
            bytes: AtomicU64::new(bytes),
            snapshot_bytes: AtomicU64::new(snapshot_bytes),
            snapshot_micros: AtomicU64::new(0),
            snapshot_at: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    pub(super) fn was_written(&self, entries: usize, time: Duration) {
        self.entries.fetch_add(entries as u64, Ordering::Relaxed);
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.write_micros.fetch_add(micros(time), Ordering::Relaxed);
    }

    pub(super) fn snapshot_was_made(&self, size: u64, time: Duration) {
        self.snapshot_bytes.store(size, Ordering::Relaxed);
        self.snapshot_micros.store(micros(time), Ordering::Relaxed);
        self.snapshot_at.store(micros(self.started.elapsed()), Ordering::Relaxed);
    }

    /// Returns the figures as they are now.
    pub(crate) fn sample(&self) -> Sample {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let time = |figure| Duration::from_micros(read(figure));
        Sample {
            entries: read(&self.entries),
            writes: read(&self.writes),
            write_time: time(&self.write_micros),
            undone: read(&self.undone),
            bytes: read(&self.bytes),
            snapshot_bytes: read(&self.snapshot_bytes),
            snapshot_time: time(&self.snapshot_micros),
            snapshot_age: self.started.elapsed().saturating_sub(time(&self.snapshot_at)),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
