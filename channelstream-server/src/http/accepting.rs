//! Failures to accept connections: each outage is logged once at its beginning and once at its end.

use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// An outage is over when accepting has not failed for this long. At the limit of open files,
/// accepting works now and then, whenever a connection has ended.
const QUIET: Duration = Duration::from_secs(5);

/// The current outage, if any, of all threads and addresses.
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

    /// Records a failure to accept a connection. The first one of an outage is logged.
    pub(crate) fn fails(&self, error: &io::Error, now: Instant) {
        if self.note(now) {
            tracing::error!(
                %error,
                "cannot accept connections; open ones are served, and accepting is retried"
            );
        }
    }

    /// Records a failure. Returns `true` if it is the first of an outage.
    fn note(&self, now: Instant) -> bool {
        let mut failing = self.failing();
        let before = failing.as_ref().map_or(0, |failing| failing.failures);
        *failing = Some(Failing { latest: now, failures: before + 1 });
        before == 0
    }

    /// Records that a connection was accepted. The end of an outage is logged.
    pub(crate) fn works(&self, now: Instant) {
        if let Some(failures) = self.recovered(now) {
            tracing::info!(failures, "accepting connections again");
        }
    }

    /// Returns the number of failures of an outage that is over now.
    fn recovered(&self, now: Instant) -> Option<u64> {
        let mut failing = self.failing();
        failing.take_if(|failing| now >= failing.latest + QUIET).map(|failing| failing.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outage_is_logged_once_with_its_end() {
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
