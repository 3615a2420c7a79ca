//! What a journal in Redis counts, and how it is.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::super::Standing;

/// The time of a snapshot of which nothing is known.
const NEVER: u64 = u64::MAX;

/// Counts what a journal in Redis does, and says how it is.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Where Redis is said to be, without a password.
    target: String,
    /// Where it was found last.
    address: Mutex<Option<Arc<str>>>,
    standing: AtomicU8,
    /// Redis did not write the latest entry: it has no memory left, too few replicas, or no right for this node.
    pub(super) takes_nothing: AtomicBool,
    /// This node is the one that makes snapshots.
    pub(super) leads: AtomicBool,
    /// The level in force.
    pub(super) level: AtomicU32,
    /// It was raised since the last snapshot, which the release after this one cannot read.
    pub(super) is_raised: AtomicBool,
    pub(super) epoch: AtomicU64,
    pub(super) entries: AtomicU64,
    pub(super) appended: AtomicU64,
    pub(super) undone: AtomicU64,
    pub(super) recoveries: AtomicU64,
    pub(super) divergences: AtomicU64,
    pub(super) damages: AtomicU64,
    pub(super) put_back: AtomicU64,
    pub(super) repeated: AtomicU64,
    pub(super) restarts: AtomicU64,
    /// The size of what followed the last snapshot, in bytes.
    pub(super) bytes: AtomicU64,
    pub(super) snapshot_bytes: AtomicU64,
    snapshot_micros: AtomicU64,
    snapshot_at: AtomicU64,
    /// Since when something waits for the loop, in microseconds since `started`; 0 for nothing.
    behind_since: AtomicU64,
    started: Instant,
}

/// The figures at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) epoch: u64,
    pub(crate) entries: u64,
    pub(crate) appended: u64,
    pub(crate) undone: u64,
    pub(crate) recoveries: u64,
    pub(crate) divergences: u64,
    pub(crate) damages: u64,
    pub(crate) put_back: u64,
    pub(crate) repeated: u64,
    pub(crate) restarts: u64,
    pub(crate) lag: Duration,
    pub(crate) bytes: u64,
    pub(crate) snapshot_bytes: u64,
    pub(crate) snapshot_time: Duration,
    pub(crate) snapshot_age: Option<Duration>,
}

impl Figures {
    pub(super) fn new(target: String, level: u32) -> Self {
        Self {
            target,
            address: Mutex::default(),
            standing: AtomicU8::new(Standing::Away as u8),
            takes_nothing: AtomicBool::default(),
            leads: AtomicBool::default(),
            level: AtomicU32::new(level),
            is_raised: AtomicBool::default(),
            epoch: AtomicU64::default(),
            entries: AtomicU64::default(),
            appended: AtomicU64::default(),
            undone: AtomicU64::default(),
            recoveries: AtomicU64::default(),
            divergences: AtomicU64::default(),
            damages: AtomicU64::default(),
            put_back: AtomicU64::default(),
            repeated: AtomicU64::default(),
            restarts: AtomicU64::default(),
            bytes: AtomicU64::default(),
            snapshot_bytes: AtomicU64::default(),
            snapshot_micros: AtomicU64::default(),
            snapshot_at: AtomicU64::new(NEVER),
            behind_since: AtomicU64::default(),
            // Nothing happens at 0, which stands for nothing.
            started: Instant::now() - Duration::from_micros(1),
        }
    }

    /// Returns where Redis is said to be, without a password.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// Returns the address at which Redis was found last.
    pub(crate) fn address(&self) -> Option<Arc<str>> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn found_at(&self, address: &str) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address.into());
    }

    /// Returns the level in force.
    pub(super) fn level(&self) -> u32 {
        self.level.load(Ordering::Relaxed)
    }

    pub(super) fn takes_nothing(&self) -> bool {
        self.takes_nothing.load(Ordering::Relaxed)
    }

    pub(super) fn lead(&self, leads: bool) {
        self.leads.store(leads, Ordering::Relaxed);
    }

    pub(super) fn stand(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Relaxed);
    }

    /// Returns how the protocol stands, whatever the loop has applied.
    pub(super) fn standing(&self) -> Standing {
        let standing = self.standing.load(Ordering::Relaxed);
        let found = Standing::ALL.into_iter().find(|known| *known as u8 == standing);
        found.unwrap_or(Standing::Away)
    }

    /// Notes whether something waits for the loop to take it.
    pub(super) fn waits(&self, something: bool) {
        let since = if something { micros(self.started.elapsed()) } else { 0 };
        if !something || self.behind_since.load(Ordering::Relaxed) == 0 {
            self.behind_since.store(since, Ordering::Relaxed);
        }
    }

    /// Returns for how long something has been waiting for the loop.
    pub(super) fn lag(&self) -> Duration {
        match self.behind_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.started.elapsed().saturating_sub(Duration::from_micros(since)),
        }
    }

    pub(super) fn snapshot_stands(&self, size: u64, time: Duration) {
        self.snapshot_bytes.store(size, Ordering::Relaxed);
        self.snapshot_micros.store(micros(time), Ordering::Relaxed);
        self.snapshot_at.store(micros(self.started.elapsed()), Ordering::Relaxed);
    }

    /// Returns the age of the newest snapshot that this node has made or loaded.
    pub(super) fn snapshot_age(&self) -> Option<Duration> {
        let at = self.snapshot_at.load(Ordering::Relaxed);
        let age = self.started.elapsed().saturating_sub(Duration::from_micros(at));
        (at != NEVER).then_some(age)
    }

    /// Returns the figures as they are now.
    pub(crate) fn sample(&self) -> Sample {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Sample {
            epoch: read(&self.epoch),
            entries: read(&self.entries),
            appended: read(&self.appended),
            undone: read(&self.undone),
            recoveries: read(&self.recoveries),
            divergences: read(&self.divergences),
            damages: read(&self.damages),
            put_back: read(&self.put_back),
            repeated: read(&self.repeated),
            restarts: read(&self.restarts),
            lag: self.lag(),
            bytes: read(&self.bytes),
            snapshot_bytes: read(&self.snapshot_bytes),
            snapshot_time: Duration::from_micros(read(&self.snapshot_micros)),
            snapshot_age: self.snapshot_age(),
        }
    }
}

pub(super) fn count(figure: &AtomicU64, by: usize) {
    figure.fetch_add(by as u64, Ordering::Relaxed);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
