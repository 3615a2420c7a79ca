//! A histogram of durations: fixed bounds, and an atomic for each.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The bounds, in microseconds: from what one write takes to what nobody should wait for.
const BOUNDS: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// How many observations lay between the bounds, and their sum. Shared by all threads.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// The last one is for what is above all bounds.
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// What a histogram has observed until one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution {
    /// The upper bound of each bucket in seconds, and how many observations are in it alone.
    pub(crate) buckets: Vec<(f64, u64)>,
    pub(crate) count: u64,
    /// Seconds.
    pub(crate) sum: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: array::from_fn(|_| AtomicU64::new(0)), micros: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Adds as many observations of the same duration.
    pub(crate) fn observe(&self, took: Duration, times: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.counts[bucket].fetch_add(times, Ordering::Relaxed);
        self.micros.fetch_add(micros.saturating_mul(times), Ordering::Relaxed);
    }

    /// Reads what was observed so far. The count is that of the buckets, also while others observe.
    pub(crate) fn read(&self) -> Distribution {
        let bounds = BOUNDS.iter().map(|micros| seconds(*micros)).chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Distribution { buckets, count, sum: seconds(self.micros.load(Ordering::Relaxed)) }
    }
}

/// Divides rather than multiplies, so that a bound is the number that a person would write.
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_is_in_the_first_bucket_whose_bound_is_not_below_it() {
        let histogram = Histogram::default();
        for (micros, times) in [(0, 1), (50, 2), (51, 4), (2_500, 8), (10_000_000, 16)] {
            histogram.observe(Duration::from_micros(micros), times);
        }
        histogram.observe(Duration::from_secs(20), 32);
        let Distribution { buckets, count, sum } = histogram.read();
        let filled: Vec<_> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        let expected = [(5e-5, 3), (1e-4, 4), (0.0025, 8), (10.0, 16), (f64::INFINITY, 32)];
        assert_eq!(filled, expected);
        assert_eq!(count, 63);
        assert!((sum - 800.020_304).abs() < 1e-9, "{sum}");
    }
}
