//! How long a peer may leave an answer unread.
//!
//! The time runs while the system accepts no more bytes, which is while the peer reads nothing. Each
//! byte that the peer reads extends the time, at a rate that every honest network exceeds. So an
//! answer of N bytes is written within `answer_timeout` plus N / [`SLOWEST`] seconds or given up, and
//! a peer cannot hold it forever by reading a byte now and then. While writes succeed at once, there
//! is no timer.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Bytes per second that a peer must read in the long run.
const SLOWEST: f64 = 1024.0;

/// The timer of a peer that does not read. It runs only while writes do not succeed.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Returns `true` while there is a timer. Without one there is nothing to record of writes that succeed.
    pub(crate) fn is_running(&self) -> bool {
        self.timer.is_some()
    }

    /// Records that the system accepted bytes. `most` is the timeout of a peer that reads nothing.
    pub(crate) fn taken(&mut self, bytes: usize, most: Duration) {
        if let Some(timer) = &mut self.timer {
            let deadline = later(timer.deadline(), bytes, Instant::now(), most);
            timer.as_mut().reset(deadline);
        }
    }

    /// Records that all bytes are written.
    pub(crate) fn all_taken(&mut self) {
        self.timer = None;
    }

    /// Records that the system accepts nothing for now. Ready when that has lasted too long.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>, most: Duration) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(most)));
        // `most` may be shorter than before.
        let latest = Instant::now() + most;
        if timer.deadline() > latest {
            timer.as_mut().reset(latest);
        }
        timer.as_mut().poll(cx)
    }
}

/// The deadline after the system accepted bytes.
fn later(deadline: Instant, bytes: usize, now: Instant, most: Duration) -> Instant {
    (deadline + Duration::from_secs_f64(bytes as f64 / SLOWEST)).min(now + most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(30);

    /// The seconds after which a peer that reads `bytes` every `step` seconds is given up, or `None`
    /// if it lasts a day.
    fn given_up(bytes: usize, step: u64) -> Option<u64> {
        let begin = Instant::now();
        let mut deadline = begin + MOST;
        for seconds in (step..86_400).step_by(usize::try_from(step).ok()?) {
            let now = begin + Duration::from_secs(seconds);
            if deadline <= now {
                return Some(seconds);
            }
            deadline = later(deadline, bytes, now, MOST);
        }
        None
    }

    #[test]
    fn a_peer_that_reads_enough_stays_and_one_that_reads_a_byte_now_and_then_does_not() {
        assert_eq!(given_up(32 * 1024, 20), None);
        assert_eq!(given_up(1024, 1), None);
        assert_eq!(given_up(1, 1), Some(31));
        assert_eq!(given_up(512, 1), Some(59));
        assert_eq!(given_up(10_000_000, 31), Some(31), "time does not accumulate");
    }
}
