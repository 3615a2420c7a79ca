//! Whether connections can be accepted: told once when they cannot, and once when they can again.

use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// Accepting works again once it has not failed for so long. At the limit of open files it works
/// now and then, whenever a connection has ended.
const QUIET: Duration = Duration::from_secs(5);

/// What is known of accepting, on all threads and addresses.
#[derive(Debug, Default)]
pub(crate) struct Accepting(Mutex<Option<Failing>>);

#[derive(Debug)]
struct Failing {
    latest: Instant,
    failures: u64,
}

impl Accepting {
    fn failing(&self) -> MutexGuard<'_, Option<Failing>> {
        self.0.lock().expect("nothing that holds it can panic")
    }

    /// Notes that a connection could not be accepted, and tells so if it is the first.
    pub(crate) fn fails(&self, error: &io::Error, now: Instant) {
        if self.note(now) {
            tracing::error!(
                %error,
                "connections cannot be accepted; those there are go on, and it is tried again"
            );
        }
    }

    /// Whether this is the first failure.
    fn note(&self, now: Instant) -> bool {
        let mut failing = self.failing();
        let before = failing.as_ref().map_or(0, |failing| failing.failures);
        *failing = Some(Failing { latest: now, failures: before + 1 });
        before == 0
    }

    /// Notes that a connection was accepted, and tells so if that had failed before.
    pub(crate) fn works(&self, now: Instant) {
        if let Some(failures) = self.recovered(now) {
            tracing::info!(failures, "connections can be accepted again");
        }
    }

    /// How often it had failed, if that is over now.
    fn recovered(&self, now: Instant) -> Option<u64> {
        let mut failing = self.failing();
        failing.take_if(|failing| now >= failing.latest + QUIET).map(|failing| failing.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outage_is_told_once_with_its_end() {
        let accepting = Accepting::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(accepting.recovered(at(0)), None);
        assert!(accepting.note(at(1)));
        // A connection ends, another comes, and there is no room for the next.
        assert_eq!(accepting.recovered(at(2)), None);
        assert!(!accepting.note(at(3)));
        assert_eq!(accepting.recovered(at(7)), None);
        assert_eq!(accepting.recovered(at(8)), Some(2));
        assert_eq!(accepting.recovered(at(20)), None);
        assert!(accepting.note(at(21)));
    }
}
