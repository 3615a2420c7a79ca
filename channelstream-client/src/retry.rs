//! `RetryPolicy`: whether, when and how often a request is repeated.

use std::time::Duration;

use crate::error::Error;

/// When a [`Client`](crate::Client) repeats a request by itself.
///
/// A client repeats requests that [may succeed later](Error::is_retryable), and only where a repeat
/// does no harm: see [the table](crate#repeats). Pauses double from
/// [`first_pause`](Self::first_pause) up to [`longest_pause`](Self::longest_pause). Jitter shortens
/// each pause to between half of it and the whole, so that the clients of a server do not all come
/// back at the same time.
///
/// ```
/// use std::time::Duration;
///
/// use channelstream_client::{Client, RetryPolicy};
///
/// let patient = RetryPolicy::new().repeats(20).total(Duration::from_secs(120));
/// let client = Client::builder("http://127.0.0.1:8000").secret("s").retries(patient).build()?;
/// # Ok::<(), channelstream_client::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RetryPolicy {
    repeats: u32,
    backoff: Backoff,
    total: Duration,
}

impl RetryPolicy {
    /// Creates the default policy: at most 3 repeats, pauses from 0.1 s to 5 s, and 30 s in total.
    pub fn new() -> Self {
        let backoff =
            Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };
        Self { repeats: 3, backoff, total: Duration::from_secs(30) }
    }

    /// Creates a policy without repeats: each call is one request.
    pub fn never() -> Self {
        Self::new().repeats(0)
    }

    /// Sets how many requests may follow the first one.
    pub fn repeats(mut self, repeats: u32) -> Self {
        self.repeats = repeats;
        self
    }

    /// Sets the pause before the first repeat.
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.backoff.first = pause;
        self
    }

    /// Sets the longest pause. If the server asks for a longer one with `Retry-After`, the call fails
    /// at once, and [`Error::retry_after`] returns the server's wish.
    pub fn longest_pause(mut self, pause: Duration) -> Self {
        self.backoff.longest = pause;
        self
    }

    /// Sets how long a call may take in total, pauses included. The first request always has its
    /// whole [timeout](crate::ClientBuilder::timeout), even if that is longer.
    pub fn total(mut self, total: Duration) -> Self {
        self.total = total;
        self
    }

    /// Returns the pause before the next request, or `None` if the request is not repeated.
    pub(crate) fn pause(&self, repeats: u32, elapsed: Duration, error: &Error) -> Option<Duration> {
        if repeats >= self.repeats || !error.is_retryable() {
            return None;
        }
        let asked = error.retry_after().unwrap_or_default();
        let pause = self.backoff.pause(repeats).max(asked);
        (asked <= self.backoff.longest && elapsed + pause < self.total).then_some(pause)
    }

    /// Returns the time that remains for repeats.
    pub(crate) fn left(&self, elapsed: Duration) -> Duration {
        self.total.saturating_sub(elapsed)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// The effect of a request that the server carries out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// None, or one that receivers can recognize.
    Harmless,
    /// The work is done twice, so the request is repeated only if it certainly was not carried out, or if
    /// the server recognizes the repeat.
    Doubling,
}

/// Pauses that double up to a longest one, with jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Backoff {
    /// Returns the pause after a failure that follows `failures` others.
    pub(crate) fn pause(self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures);
        let whole = self.first.saturating_mul(factor).min(self.longest);
        whole.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::MESSAGE;
    use crate::error::Answered;

    fn busy(retry_after: Option<&'static str>) -> Error {
        let mut answered = Answered::new(http::StatusCode::SERVICE_UNAVAILABLE);
        if let Some(text) = retry_after {
            let text = http::HeaderValue::from_static(text);
            answered.headers.insert(http::header::RETRY_AFTER, text);
        }
        Error::status_of(MESSAGE, &answered)
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_differ() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(10) };
        for (failures, whole) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 10), (5, 10), (u32::MAX, 10)]
        {
            let whole = Duration::from_secs(whole);
            let pauses: Vec<_> = (0..50).map(|_| backoff.pause(failures)).collect();
            assert!(pauses.iter().all(|pause| (whole / 2..=whole).contains(pause)), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{failures}");
        }
    }

    #[test]
    fn repeats_total_time_and_retry_after_are_bounds() {
        let policy = RetryPolicy::new().repeats(2).total(Duration::from_secs(10));
        let begun = Duration::ZERO;
        assert!(policy.pause(1, begun, &busy(None)).is_some());
        assert!(policy.pause(2, begun, &busy(None)).is_none());
        assert!(policy.pause(0, Duration::from_secs(10), &busy(None)).is_none());
        assert_eq!(policy.pause(0, begun, &busy(Some("3"))), Some(Duration::from_secs(3)));
        assert!(policy.pause(0, begun, &busy(Some("6"))).is_none());
        assert!(policy.pause(0, Duration::from_secs(8), &busy(Some("3"))).is_none());
        assert!(RetryPolicy::never().pause(0, begun, &busy(None)).is_none());
        let refused = Error::status_of(MESSAGE, &Answered::new(http::StatusCode::NOT_FOUND));
        assert!(policy.pause(0, begun, &refused).is_none());
    }
}
