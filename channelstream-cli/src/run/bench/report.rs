//! The report of the benchmark, and the CPU time that the benchmark itself used.

use std::fs;
use std::io::stdout;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::Plan;
use super::listening::Received;
use crate::args::OutputArgs;
use crate::failure::Failure;
use crate::output::{self, Align};

/// The fraction of a core above which the benchmark may be measuring itself.
const BUSY: f64 = 0.6;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    listeners: usize,
    rate: u32,
    size: usize,
    /// Messages that were planned.
    wanted: u64,
    /// Messages that were sent.
    messages: u64,
    deliveries: u64,
    /// The time from the first message to the last delivery.
    seconds: f64,
    deliveries_per_second: f64,
    lost: u64,
    doubled: u64,
    reordered: u64,
    interruptions: u64,
    latency_ms: Option<Percentiles>,
    connect_ms: Option<Percentiles>,
    /// The CPU time of this command while it sent and listened, as a fraction of that time.
    own_cpu: Option<f64>,
    /// The CPU time of this command per message with all its deliveries, in milliseconds.
    own_cpu_per_message_ms: Option<f64>,
}

/// Percentiles of durations, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        messages: u64,
        time: Duration,
        received: Received,
        own: Option<OwnTime>,
    ) -> Self {
        let listeners = plan.conn_ids.len();
        let deliveries = received.latencies.len() as u64;
        let seconds = time.as_secs_f64();
        Self {
            listeners,
            rate: plan.rate,
            size: plan.size,
            wanted: plan.messages,
            messages,
            deliveries,
            seconds: rounded(seconds),
            deliveries_per_second: rounded(deliveries as f64 / seconds.max(0.001)),
            lost: (messages * listeners as u64).saturating_sub(deliveries),
            doubled: received.doubled,
            reordered: received.reordered,
            interruptions: received.interruptions,
            latency_ms: Percentiles::of(received.latencies),
            connect_ms: Percentiles::of(received.openings),
            own_cpu: own.map(|own| rounded(own.cpu.as_secs_f64() / own.of.as_secs_f64())),
            own_cpu_per_message_ms: own
                .map(|own| rounded(own.cpu.as_secs_f64() * 1000.0 / messages.max(1) as f64)),
        }
    }

    /// Prints the report; fails unless every message reached every listener once and in order.
    pub(super) fn print(&self, args: OutputArgs) -> Result<(), Failure> {
        if args.json {
            output::json(&mut stdout(), self)?;
        } else if !args.quiet {
            output::rows(&mut stdout(), [Align::Left, Align::Left], &self.rows())?;
            if self.own_cpu.is_some_and(|share| share > BUSY) {
                output::say(
                    "note: this command itself was busy, so the times may be its own rather than \
                     the server's; use fewer --listeners or a lower --rate",
                );
            }
        }
        let Self { lost, doubled, reordered, .. } = self;
        if lost + doubled + reordered == 0 {
            return Ok(());
        }
        let text = format!("{lost} deliveries lost, {doubled} doubled, {reordered} reordered");
        Err(anyhow::anyhow!(text).into())
    }

    fn rows(&self) -> Vec<[String; 2]> {
        let Self { listeners, messages, wanted, deliveries, interruptions, .. } = self;
        let sent = if messages == wanted { String::new() } else { format!(" of {wanted}") };
        let shown =
            |spread: Option<Percentiles>| spread.map_or_else(|| "-".to_owned(), Percentiles::shown);
        let row = |name: &str, text: String| [name.to_owned(), text];
        let mut rows = vec![
            row("listeners", listeners.to_string()),
            row("connecting", shown(self.connect_ms)),
            row("messages", format!("{messages}{sent} at {}/s, {} bytes", self.rate, self.size)),
            row("deliveries", format!("{deliveries}, {:.0}/s", self.deliveries_per_second)),
            row("latency", shown(self.latency_ms)),
            row("lost", self.lost.to_string()),
            row("doubled", self.doubled.to_string()),
            row("reordered", self.reordered.to_string()),
            row("interruptions", interruptions.to_string()),
        ];
        if let (Some(share), Some(each)) = (self.own_cpu, self.own_cpu_per_message_ms) {
            let share = share * 100.0;
            rows.push(row("own CPU", format!("{share:.0} % of a core, {each:.1} ms per message")));
        }
        rows
    }
}

impl Percentiles {
    fn of(mut micros: Vec<u32>) -> Option<Self> {
        micros.sort_unstable();
        let percentile = |percent: usize| {
            let place = (micros.len() * percent).div_ceil(100).checked_sub(1)?;
            Some(f64::from(*micros.get(place)?) / 1000.0)
        };
        let (p50, p90, p99) = (percentile(50)?, percentile(90)?, percentile(99)?);
        Some(Self { p50, p90, p99, max: percentile(100)? })
    }

    fn shown(self) -> String {
        let Self { p50, p90, p99, max } = self;
        format!("p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
    }
}

/// Rounds to thousandths.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// The CPU time that this command used in an interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnTime {
    cpu: Duration,
    of: Duration,
}

impl OwnTime {
    /// Returns the time since `started`, when the CPU time was `before`; `None` where the system does
    /// not report CPU time.
    pub(super) fn since(started: Instant, before: Option<Duration>) -> Option<Self> {
        let of = started.elapsed().max(Duration::from_millis(1));
        Some(Self { cpu: cpu_time()?.saturating_sub(before?), of })
    }
}

/// Returns the CPU time of all threads of this process so far.
pub(super) fn cpu_time() -> Option<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir("/proc/self/task").ok()? {
        // A thread may end between the listing and the read.
        let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else { continue };
        nanoseconds += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        assert_eq!(Percentiles::of(Vec::new()), None);
        let one = Percentiles { p50: 7.0, p90: 7.0, p99: 7.0, max: 7.0 };
        assert_eq!(Percentiles::of(vec![7000]), Some(one));
        let all = Percentiles::of((1..=1000).rev().collect());
        assert_eq!(all, Some(Percentiles { p50: 0.5, p90: 0.9, p99: 0.99, max: 1.0 }));
    }

    #[test]
    fn own_cpu_time_is_measured() {
        let (before, begun) = (cpu_time(), Instant::now());
        while begun.elapsed() < Duration::from_millis(50) {}
        if let Some(own) = OwnTime::since(begun, before) {
            assert!(own.cpu > Duration::ZERO && own.of >= Duration::from_millis(50), "{own:?}");
        }
    }
}
