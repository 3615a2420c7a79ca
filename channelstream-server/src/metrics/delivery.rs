//! Delivery: the time from when a publish was accepted until its event is written to a listener.
//!
//! The clock is read once for a few writes, not for each listener. So a time is too long by what these
//! few writes take, which is some ten microseconds.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use crate::spans::Writes;
use crate::wire::Transport;

/// When something was accepted: microseconds since the start of the server, and at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Accepted(NonZeroU64);

/// The times of all deliveries, by transport.
#[derive(Debug)]
pub(crate) struct Delivery {
    started: Instant,
    by_transport: [Histogram; Transport::ALL.len()],
    /// The publishes whose delivery is traced.
    pub(crate) writes: Writes,
}

/// Events that were written since the clock was read last.
#[derive(Debug, Default)]
pub(crate) struct Written {
    runs: Vec<Run>,
    writes: usize,
}

/// Events that were accepted at the same time and written by the same transport.
#[derive(Debug)]
struct Run {
    accepted: Accepted,
    transport: Transport,
    events: u64,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            by_transport: Default::default(),
            writes: Writes::default(),
        }
    }
}

impl Delivery {
    /// Returns the mark of what was accepted this long before `now`.
    pub(crate) fn accepted(&self, ago: Duration, now: Instant) -> Accepted {
        Accepted(micros(now.saturating_duration_since(self.started).saturating_sub(ago)))
    }

    /// Reads the clock, and counts what was written.
    pub(crate) fn count(&self, written: &mut Written) {
        written.writes = 0;
        if written.runs.is_empty() {
            return;
        }
        let now = micros(self.started.elapsed()).get();
        for Run { accepted, transport, events } in written.runs.drain(..) {
            let took = Duration::from_micros(now.saturating_sub(accepted.0.get()));
            self.by_transport[transport as usize].observe(took, events);
            self.writes.written(accepted, events);
        }
    }

    pub(super) fn by_transport(&self) -> impl Iterator<Item = (Transport, &Histogram)> {
        Transport::ALL.into_iter().zip(&self.by_transport)
    }
}

impl Written {
    /// Writes before the clock is read.
    const WRITES: usize = 8;

    /// Runs that are kept before the clock is read.
    const RUNS: usize = 256;

    /// Adds events that were written.
    #[inline]
    pub(crate) fn add(&mut self, accepted: Accepted, transport: Transport, events: u64) {
        match self.runs.last_mut() {
            Some(run) if run.accepted == accepted && run.transport == transport => {
                run.events += events;
            }
            _ => self.runs.push(Run { accepted, transport, events }),
        }
    }

    /// Notes that a write is over. Returns `true` if it is time for [`Delivery::count`].
    pub(crate) fn end_write(&mut self) -> bool {
        self.writes += 1;
        self.writes >= Self::WRITES || self.runs.len() >= Self::RUNS
    }
}

fn micros(time: Duration) -> NonZeroU64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    NonZeroU64::new(micros).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_counts_once_for_each_event_and_listener() {
        let (delivery, mut written) = (Delivery::default(), Written::default());
        let accepted = delivery.accepted(Duration::ZERO, Instant::now());
        for _ in 1..Written::WRITES {
            written.add(accepted, Transport::WebSocket, 2);
            assert!(!written.end_write());
        }
        written.add(accepted, Transport::Sse, 1);
        assert!(written.end_write());
        assert_eq!(written.runs.len(), 2, "what came together is one entry");
        delivery.count(&mut written);
        delivery.count(&mut written);
        let counts = delivery.by_transport().map(|(_, histogram)| histogram.read().count);
        assert_eq!(counts.collect::<Vec<_>>(), [2 * (Written::WRITES as u64 - 1), 0, 1, 0]);
    }

    #[test]
    fn a_time_is_at_least_what_has_passed_since_it_was_accepted() {
        let started = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let delivery = Delivery { started, ..Delivery::default() };
        let mut written = Written::default();
        written.add(
            delivery.accepted(Duration::from_millis(10), Instant::now()),
            Transport::NdJson,
            1,
        );
        delivery.count(&mut written);
        let sum = delivery.by_transport[Transport::NdJson as usize].read().sum;
        assert!(sum >= 0.01, "{sum}");
    }
}
