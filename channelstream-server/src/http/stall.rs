//! How long a peer may leave an answer unread.
//!
//! The time runs while the system takes nothing more of what is written, which is as long as the peer
//! reads nothing. What it reads buys further time, at a rate that no honest network is below: so an
//! answer of N bytes is out within `answer_timeout` and N / [`SLOWEST`] seconds, or is given up, and
//! nobody holds it for ever by reading a byte now and then. While writes succeed at once there is no
//! timer.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Bytes a second that a peer must read in the long run.
const SLOWEST: f64 = 1024.0;

/// The time since a peer has taken what is written to it; runs only while it does not.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Notes that so many bytes were taken; `most` is the time for one that takes nothing.
    pub(crate) fn taken(&mut self, bytes: usize, most: Duration) {
        if let Some(timer) = &mut self.timer {
            let deadline = later(timer.deadline(), bytes, Instant::now(), most);
            timer.as_mut().reset(deadline);
        }
    }

    /// Notes that nothing waits any more.
    pub(crate) fn all_taken(&mut self) {
        self.timer = None;
    }

    /// Notes that nothing is taken for now: ready when that has been so for too long.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>, most: Duration) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(most)));
        // The time may have become shorter meanwhile.
        let latest = Instant::now() + most;
        if timer.deadline() > latest {
            timer.as_mut().reset(latest);
        }
        timer.as_mut().poll(cx)
    }
}

/// The deadline after so many bytes were taken.
fn later(deadline: Instant, bytes: usize, now: Instant, most: Duration) -> Instant {
    (deadline + Duration::from_secs_f64(bytes as f64 / SLOWEST)).min(now + most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(30);

    /// After how many seconds a peer is given up that takes `bytes` each `step` seconds; none within
    /// a day.
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
    fn who_takes_enough_stays_and_who_takes_a_byte_now_and_then_does_not() {
        assert_eq!(given_up(32 * 1024, 20), None);
        assert_eq!(given_up(1024, 1), None);
        assert_eq!(given_up(1, 1), Some(31));
        assert_eq!(given_up(512, 1), Some(59));
        assert_eq!(given_up(10_000_000, 31), Some(31), "nothing is saved up");
    }
}
