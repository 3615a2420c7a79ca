//! `Report`: a line of JSON for each sample, and a table of ratios and metrics over all runs.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use channelstream_signer::unix_now;
use serde_json::{Map, Value};

use crate::listeners::DeliveryErrors;
use crate::peer::Kind;

/// The measurements of one run of a workload on one kind of peer.
pub(crate) struct Sample {
    /// The metrics by name, which includes the unit.
    pub(crate) metrics: Vec<(&'static str, f64)>,
    pub(crate) errors: DeliveryErrors,
}

/// A ratio of two metrics of a workload, and its bound.
pub(crate) struct Ratio {
    pub(crate) workload: &'static str,
    /// The numerator, a metric of the server.
    pub(crate) metric: &'static str,
    /// The kind of server of the numerator.
    pub(crate) ours: Kind,
    /// The kind of peer of the denominator.
    pub(crate) of: Kind,
    /// The denominator, a metric of that peer.
    pub(crate) base: &'static str,
    /// The maximum, or the minimum if `at_least`.
    pub(crate) bound: f64,
    /// `true` if the bound is a minimum.
    pub(crate) at_least: bool,
}

/// All samples so far.
#[derive(Default)]
pub(crate) struct Report {
    /// One value per run, by workload in the order of the runs, kind and metric.
    metrics: BTreeMap<(usize, &'static str, &'static str), Vec<f64>>,
    workloads: Vec<&'static str>,
    errors: Vec<String>,
}

impl Report {
    /// Adds a sample, prints it, and appends it to `log` as a line of JSON.
    pub(crate) fn add(
        &mut self,
        run: usize,
        workload: &'static str,
        kind: Kind,
        sample: &Sample,
        log: Option<&Path>,
    ) -> Result<()> {
        let mut place = self.workloads.len();
        if let Some(known) = self.workloads.iter().position(|known| *known == workload) {
            place = known;
        } else {
            self.workloads.push(workload);
        }
        let mut line = Map::new();
        line.insert("at".into(), unix_now().into());
        line.insert("run".into(), run.into());
        line.insert("workload".into(), workload.into());
        line.insert("peer".into(), kind.name().into());
        let mut text = format!("run {run} {workload:<8} {:<6}", kind.name());
        for (name, value) in &sample.metrics {
            line.insert((*name).into(), Value::from((value * 1000.0).round() / 1000.0));
            self.metrics.entry((place, kind.name(), name)).or_default().push(*value);
            text += &format!(" {name}={}", short(*value));
        }
        for (name, count) in sample.errors.named() {
            line.insert(name.into(), count.into());
            if count > 0 {
                text += &format!(" {name}={count}");
                self.errors.push(format!("run {run} {workload} {}: {name} {count}", kind.name()));
            }
        }
        println!("{text}");
        let Some(path) = log else { return Ok(()) };
        let file = OpenOptions::new().create(true).append(true).open(path);
        writeln!(file.with_context(|| path.display().to_string())?, "{}", Value::from(line))
            .context("writing a line of JSON")
    }

    /// Prints the report. Returns `false` if there were delivery errors.
    pub(crate) fn print(&self, ratios: &[Ratio]) -> bool {
        println!("\nratios within one run: median (min..max), and bound");
        for ratio in ratios {
            let Some(place) = self.workloads.iter().position(|name| *name == ratio.workload) else {
                continue;
            };
            let values = |kind: Kind, name| self.metrics.get(&(place, kind.name(), name));
            let ours = values(ratio.ours, ratio.metric);
            let (Some(ours), Some(theirs)) = (ours, values(ratio.of, ratio.base)) else { continue };
            let (middle, least, most) = spread(ours.iter().zip(theirs).map(|(a, b)| a / b));
            let met = if ratio.at_least { middle >= ratio.bound } else { middle <= ratio.bound };
            let what = match (ratio.ours, ratio.of) {
                (ours, of) if ours == of => format!("{} / {}", ratio.metric, ratio.base),
                (Kind::Server, of) => format!("{} / {}", ratio.metric, of.name()),
                (ours, of) => format!("{} {} / {}", ratio.metric, ours.name(), of.name()),
            };
            println!(
                "  {:<8} {what:<44} {:>6} {:<18} {} {}{}",
                ratio.workload,
                short(middle),
                format!("({}..{})", short(least), short(most)),
                if ratio.at_least { ">=" } else { "<=" },
                ratio.bound,
                if met { "" } else { "  MISSED" },
            );
        }
        println!("\nmetrics: median (min..max)");
        for ((place, kind, name), values) in &self.metrics {
            let (middle, least, most) = spread(values.iter().copied());
            println!(
                "  {:<8} {kind:<6} {name:<32} {:>9} {}",
                self.workloads[*place],
                short(middle),
                if values.len() > 1 {
                    format!("({}..{})", short(least), short(most))
                } else {
                    String::new()
                },
            );
        }
        if self.errors.is_empty() {
            println!("\nmissing, doubled, reordered, wrong channel, closed: 0");
        } else {
            println!("\nDELIVERY ERRORS\n  {}", self.errors.join("\n  "));
        }
        self.errors.is_empty()
    }
}

/// Returns median, minimum and maximum.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (values.first(), values.last()) else {
        return (f64::NAN, f64::NAN, f64::NAN);
    };
    let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
    (middle, *least, *most)
}

/// Formats a value with three digits, or more before the point.
fn short(value: f64) -> String {
    match value.abs() {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{short, spread};

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(spread([4.0, 1.0, 2.0, 9.0].into_iter()), (3.0, 1.0, 9.0));
        assert_eq!(spread([2.0, 1.0, 9.0].into_iter()), (2.0, 1.0, 9.0));
    }

    #[test]
    fn metrics_have_three_digits() {
        assert_eq!([0.456, 34.56, 1892.4].map(short), ["0.46", "34.6", "1892"]);
    }
}
