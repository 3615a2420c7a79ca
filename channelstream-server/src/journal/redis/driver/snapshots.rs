//! When the driver makes a snapshot, and from what: by replaying what Redis has, or, if that is of no use, from the state
//! in the loop.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::state::Position;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::super::{Given, Standing};
use super::super::command::Trouble;
use super::super::snapshots::{Made, MakeError, Making, Outcome};
use super::Driver;

/// The pause after a snapshot that could not be made, or was not due after all.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(30);

/// How often it is asked whether the newest snapshot is whole, without which no server could start.
const CHECK: Duration = Duration::from_secs(5);

impl Driver {
    pub(super) fn ask_loop_for_state(&mut self) {
        let (sender, state) = oneshot::channel();
        self.giving.push(Given::Snapshot(sender));
        let position = self.machine.order().position();
        self.wanted = Some(Box::pin(async move { (position, state.await.ok()) }));
    }

    /// The loop has given its state, unless it is ending.
    pub(super) fn state_came(&mut self, position: Position, bytes: Option<Vec<u8>>) {
        self.wanted = None;
        let Some(bytes) = bytes else { return };
        let covered = self.figures.bytes.load(Ordering::Relaxed);
        let (chunks, size, time) = (0, bytes.len() as u64, Duration::ZERO);
        self.store(Made { position, chunks, size, covered, time }, bytes.into());
    }

    /// Returns `true` if this node makes the snapshots, and makes none now.
    fn may_make_snapshot(&self) -> bool {
        self.figures.leads.load(Ordering::Relaxed)
            && self.figures.standing() == Standing::Following
            && self.making.is_none()
            && self.made.is_none()
            && self.wanted.is_none()
    }

    /// Asks whether the newest snapshot is whole, if it is time.
    pub(super) fn check_snapshot(&mut self) {
        let now = Instant::now();
        if let (Some(lines), Some(head)) = (&self.lines, &self.head)
            && self.checks <= now
            && self.checking.is_none()
            && self.may_make_snapshot()
        {
            self.checks = now + CHECK;
            self.checking = Some(lines.is_snapshot_whole(head.clone()));
        }
    }

    /// Redis has answered whether the newest snapshot is whole. What else goes wrong shows on the lines.
    pub(super) fn was_checked(&mut self, is_whole: Result<bool, Trouble>) {
        self.checking = None;
        match is_whole {
            Ok(false) => {
                self.snapshot_anew("it is missing, or a part of it or of what follows is");
            }
            Err(trouble @ Trouble::Head) => self.broke(trouble),
            Ok(true) | Err(_) => {}
        }
    }

    /// Makes a snapshot from the state in the loop, because the one in Redis is of no use.
    fn snapshot_anew(&mut self, why: &str) {
        if self.may_make_snapshot() {
            tracing::error!("the snapshot in Redis is of no use and is made anew: {why}");
            self.ask_loop_for_state();
        }
    }

    pub(super) fn snapshot_if_due(&mut self) {
        let (figures, now) = (&self.figures, Instant::now());
        let is_mine = self.may_make_snapshot() && self.no_snapshot_before <= now;
        let (size, followed) =
            (figures.snapshot_bytes.load(Ordering::Relaxed), figures.bytes.load(Ordering::Relaxed));
        let is_raised = figures.is_raised.load(Ordering::Relaxed) && followed > 0;
        if !is_mine || !is_raised && !self.due.is_due(size, followed, figures.snapshot_age()) {
            return;
        }
        let (Some(head), Some(lines)) = (&self.head, &self.lines) else { return };
        let until = self.machine.order().position();
        let making =
            Making::start(self.target.clone(), lines.maker.clone(), head.clone(), until, self.due);
        match making {
            Ok(making) => self.making = Some(making),
            Err(error) => self.made_none(&error),
        }
    }

    fn made_none(&mut self, error: &MakeError) {
        self.no_snapshot_before = Instant::now() + SNAPSHOT_PAUSE;
        tracing::warn!("no snapshot of the state could be made: {error}");
    }

    pub(super) fn was_made(&mut self, outcome: Outcome) {
        self.making = None;
        match outcome {
            Err(error) if error.is_of_what_is_in_redis() => {
                self.no_snapshot_before = Instant::now() + SNAPSHOT_PAUSE;
                self.snapshot_anew(&error.to_string());
            }
            Err(error) => self.made_none(&error),
            Ok(Err(other)) => {
                self.no_snapshot_before = Instant::now() + SNAPSHOT_PAUSE;
                self.due.known = Some(other.position);
                self.figures.snapshot_stands(other.size, other.time);
                self.figures.bytes.store(other.covered, Ordering::Relaxed);
            }
            // While it is away, the parts of another snapshot may be asked for.
            Ok(Ok(made)) if self.figures.standing() == Standing::Following => {
                self.store(made, Bytes::new());
            }
            Ok(Ok(_)) => {}
        }
    }

    /// Gives a snapshot to the protocol, which begins an epoch with it or stores it.
    fn store(&mut self, made: Made, bytes: Bytes) {
        let now = self.now();
        let is_stored = self.machine.snapshot(now, made.position, bytes);
        self.made = is_stored.then_some(made);
    }

    /// Redis has stored a snapshot, unless it could not or has a newer one.
    pub(super) fn was_saved(&mut self, is_done: bool) {
        let made = self.made.take();
        if !is_done {
            self.checks = Instant::now() + SNAPSHOT_PAUSE;
            return;
        }
        let Some(made) = made else { return };
        self.figures.snapshot_stands(made.size, made.time);
        self.due.known = Some(made.position);
        self.figures.is_raised.store(false, Ordering::Relaxed);
        let left = self.figures.bytes.load(Ordering::Relaxed).saturating_sub(made.covered);
        self.figures.bytes.store(left, Ordering::Relaxed);
    }
}
