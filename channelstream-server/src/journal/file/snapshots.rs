//! Snapshots while the server runs: when they are due, and the thread that makes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use channelstream_core::state::stored::Levels;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::compact::{Replay, ReplayError};
use super::disk::Disk;
use super::names::{Listing, Name};
use super::recovery::{Base, OpenError, failed, replay_segment};
use super::snapshot;
use crate::thread::Thread;

/// The longest time between two snapshots, if anything was written.
const INTERVAL: Duration = Duration::from_secs(3600);

/// The pause after an attempt that failed.
const AGAIN: Duration = Duration::from_secs(60);

/// Why there is no next snapshot.
#[derive(Debug, Error)]
pub(super) enum SnapshotFailure {
    #[error(transparent)]
    Read(#[from] OpenError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("{file} cannot be used: {why}")]
    Header { file: String, why: super::segment::HeaderError },
    #[error("the entries end before {number}")]
    Ends { number: u64 },
    #[error("the server is stopping")]
    Stopped,
}

/// Makes snapshots, one at a time.
#[derive(Debug)]
pub(super) struct Snapshots {
    work: Work,
    base: Base,
    /// Not before this.
    earliest: Instant,
    /// When the last one was begun.
    last: Instant,
    running: Option<(JoinHandle<Result<Base, SnapshotFailure>>, Instant)>,
    /// The size of the entries from which on another one is due.
    most: u64,
    runtime: Handle,
    _thread: Option<Thread>,
}

/// What the thread needs.
#[derive(Clone, Debug)]
struct Work {
    disk: Arc<dyn Disk>,
    known: Levels,
    stop: Arc<AtomicBool>,
}

/// A snapshot that stands.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) size: u64,
    pub(super) time: Duration,
}

impl Snapshots {
    pub(super) fn new(
        (disk, known): (Arc<dyn Disk>, Levels),
        base: Base,
        most: u64,
        (runtime, _thread): (Handle, Option<Thread>),
    ) -> Self {
        let work = Work { disk, known, stop: Arc::default() };
        let now = Instant::now();
        Self { work, base, earliest: now, last: now, running: None, most, runtime, _thread }
    }

    /// Returns when the next one is due after so many bytes, unless one is being made. If the level was raised,
    /// it is due at once.
    pub(super) fn due(&self, followed: u64, is_raised: bool) -> Option<Instant> {
        if self.running.is_some() || followed == 0 {
            return None;
        }
        let is_much = is_raised || followed > self.most.max(self.base.size.saturating_mul(2));
        Some(if is_much { self.earliest } else { self.earliest.max(self.last + INTERVAL) })
    }

    /// Begins to make the one before the entry `number`, with which a segment begins.
    pub(super) fn begin(&mut self, number: u64) {
        let (work, base, now) = (self.work.clone(), self.base, Instant::now());
        let made = self.runtime.spawn(async move { work.make(base, number) });
        self.last = now;
        self.running = Some((made, now));
    }

    /// Waits until the one that is being made stands, or forever if there is none. `None` if it failed.
    pub(super) async fn made(&mut self) -> Option<Made> {
        let Some((running, begun)) = &mut self.running else { return std::future::pending().await };
        let made = running.await;
        let time = begun.elapsed();
        self.running = None;
        match made {
            Ok(Ok(base)) => {
                let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(
                    number = base.number,
                    bytes = base.size,
                    milliseconds,
                    "a snapshot of the journal was written"
                );
                self.base = base;
                return Some(Made { size: base.size, time });
            }
            Ok(Err(SnapshotFailure::Stopped)) => {}
            Ok(Err(error)) => complain(&error),
            Err(error) => complain(&error),
        }
        self.earliest = Instant::now() + AGAIN;
        None
    }

    /// Gives up the one that is being made, and waits until it has ended.
    pub(super) async fn end(&mut self) {
        self.work.stop.store(true, Ordering::Relaxed);
        if self.running.is_some() {
            self.made().await;
        }
    }
}

fn complain(error: &dyn std::error::Error) {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    tracing::error!(why, "no snapshot of the journal could be written, so that it grows");
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.work.stop.store(true, Ordering::Relaxed);
    }
}

impl Work {
    /// Makes the snapshot before the entry `number` from the one before it, and removes what nobody needs
    /// then.
    fn make(&self, base: Base, number: u64) -> Result<Base, SnapshotFailure> {
        let disk = &*self.disk;
        let listing = Listing::new(disk.names().map_err(failed(disk, "list", ""))?);
        let mut replay = self.restore(base)?;
        let from = base.number;
        let segments: Vec<u64> = listing
            .segments
            .iter()
            .copied()
            .filter(|begin| (from..number).contains(begin))
            .collect();
        for segment in segments {
            let name = Name::Segment(segment).to_string();
            let bytes = disk.read(&name).map_err(failed(disk, "read", &name))?;
            // Each of them is on disk as a whole, since another one follows.
            replay_segment(disk, segment, &bytes, &[number], &mut replay)?;
            if self.stop.load(Ordering::Relaxed) {
                return Err(SnapshotFailure::Stopped);
            }
        }
        if replay.number() != number {
            return Err(SnapshotFailure::Ends { number });
        }
        let bytes = snapshot::to_bytes(number, &replay.into_snapshot()?);
        if self.stop.load(Ordering::Relaxed) {
            return Err(SnapshotFailure::Stopped);
        }
        let name = Name::Snapshot(number).to_string();
        drop(disk.create(&name, &bytes).map_err(failed(disk, "write", &name))?);
        let old_segments = listing.segments.iter().filter(|begin| **begin < from);
        let old_snapshots = listing.snapshots.iter().filter(|old| ![from, number].contains(old));
        let old = old_segments.map(|number| Name::Segment(*number));
        for name in old.chain(old_snapshots.map(|number| Name::Snapshot(*number))) {
            let name = name.to_string();
            disk.remove(&name).map_err(failed(disk, "remove", &name))?;
        }
        Ok(Base { number, size: bytes.len() as u64 })
    }

    fn restore(&self, base: Base) -> Result<Replay, SnapshotFailure> {
        let name = Name::Snapshot(base.number).to_string();
        let bytes = self.disk.read(&name).map_err(failed(&*self.disk, "read", &name))?;
        let state = snapshot::read(base.number, &bytes).map_err(|why| {
            let file = self.disk.show(&name);
            SnapshotFailure::Header { file, why }
        })?;
        Ok(Replay::restore(state, base.number, self.known).map_err(ReplayError::from)?)
    }
}
