//! What was measured: one JSON line for each sample, and a table of ratios and figures over all runs.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use channelstream_signer::unix_now;
use serde_json::{Map, Value};

use crate::listeners::Faults;
use crate::peer::Kind;

/// One workload, once, on one kind of peer.
pub(crate) struct Sample {
    /// Names with units, and what was measured.
    pub(crate) figures: Vec<(&'static str, f64)>,
    pub(crate) faults: Faults,
}

/// Two figures of one workload whose ratio says more than either.
pub(crate) struct Ratio {
    pub(crate) workload: &'static str,
    /// A figure of the server, divided by
    pub(crate) figure: &'static str,
    /// that of this kind of peer,
    pub(crate) of: Kind,
    /// by this name.
    pub(crate) base: &'static str,
    /// What it should not exceed (at least, if `at_least`).
    pub(crate) bound: f64,
    pub(crate) at_least: bool,
}

/// All samples so far.
#[derive(Default)]
pub(crate) struct Report {
    /// By workload in the order of the runs, kind and figure: one value a run.
    figures: BTreeMap<(usize, &'static str, &'static str), Vec<f64>>,
    workloads: Vec<&'static str>,
    faults: Vec<String>,
}

impl Report {
    /// Takes a sample in, prints it, and appends it to `log` as a line of JSON.
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
        let mut told = format!("run {run} {workload:<8} {:<6}", kind.name());
        for (name, value) in &sample.figures {
            line.insert((*name).into(), Value::from((value * 1000.0).round() / 1000.0));
            self.figures.entry((place, kind.name(), name)).or_default().push(*value);
            told += &format!(" {name}={}", short(*value));
        }
        for (name, count) in sample.faults.named() {
            line.insert(name.into(), count.into());
            if count > 0 {
                told += &format!(" {name}={count}");
                self.faults.push(format!("run {run} {workload} {}: {name} {count}", kind.name()));
            }
        }
        println!("{told}");
        let Some(path) = log else { return Ok(()) };
        let file = OpenOptions::new().create(true).append(true).open(path);
        writeln!(file.with_context(|| path.display().to_string())?, "{}", Value::from(line))
            .context("writing a line of JSON")
    }

    /// Prints all. False if a frame was lost, doubled, reordered or went astray.
    pub(crate) fn print(&self, ratios: &[Ratio]) -> bool {
        println!("\nratios within one run: median (least..most), and what they should be");
        for ratio in ratios {
            let Some(place) = self.workloads.iter().position(|name| *name == ratio.workload) else {
                continue;
            };
            let values = |kind: Kind, name| self.figures.get(&(place, kind.name(), name));
            let ours = values(Kind::Server, ratio.figure);
            let (Some(ours), Some(theirs)) = (ours, values(ratio.of, ratio.base)) else { continue };
            let (middle, least, most) = spread(ours.iter().zip(theirs).map(|(a, b)| a / b));
            let met = if ratio.at_least { middle >= ratio.bound } else { middle <= ratio.bound };
            let what = if ratio.of == Kind::Server {
                format!("{} / {}", ratio.figure, ratio.base)
            } else {
                format!("{} / {}", ratio.figure, ratio.of.name())
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
        println!("\nfigures: median (least..most)");
        for ((place, kind, name), values) in &self.figures {
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
        if self.faults.is_empty() {
            println!("\nmissing, doubled, reordered, wrong channel, closed: 0");
        } else {
            println!("\nFAULTS\n  {}", self.faults.join("\n  "));
        }
        self.faults.is_empty()
    }
}

/// Median, least and most.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (values.first(), values.last()) else {
        return (f64::NAN, f64::NAN, f64::NAN);
    };
    let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
    (middle, *least, *most)
}

/// Three digits, or all before the point.
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
    fn figures_are_told_in_three_digits() {
        assert_eq!([0.456, 34.56, 1892.4].map(short), ["0.46", "34.6", "1892"]);
    }
}
