//! The load generator: runs workloads on the server and on yardsticks, and prints a report.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod connection;
mod journal;
mod listeners;
mod peer;
mod phase;
mod process;
mod report;
mod transport;
mod workloads;
mod yardstick;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::peer::Kind;
use crate::report::Report;
use crate::workloads::{RATIOS, WORKLOADS, Workload};

/// Measures the cost of the server under load on loopback, and compares it with yardsticks.
#[derive(Parser)]
struct Arguments {
    /// Workloads to run; all by default
    workloads: Vec<String>,
    /// Number of times each workload is measured
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Path of the server program
    #[arg(long, required_unless_present = "yardstick")]
    server: Option<PathBuf>,
    /// Measure only these peers
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Kind>,
    /// File to which one line of JSON is appended for each sample
    #[arg(long)]
    log: Option<PathBuf>,
    /// Run as a yardstick for the load generator
    #[arg(long, hide = true)]
    yardstick: Option<Kind>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("channelstream-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns `false` if there were delivery errors.
fn run(arguments: &Arguments) -> Result<bool> {
    if let Some(kind) = arguments.yardstick {
        yardstick::serve(kind == Kind::Log)?;
    }
    let server = arguments.server.as_ref().context("no --server")?;
    let chosen = choose(&arguments.workloads)?;
    let mut report = Report::default();
    for run in 1..=arguments.runs {
        for workload in &chosen {
            let wanted =
                |kind: &&Kind| arguments.peers.is_empty() || arguments.peers.contains(kind);
            for kind in workload.kinds.iter().filter(wanted) {
                let sample = (workload.run)(*kind, server)
                    .with_context(|| format!("{} on {}", workload.name, kind.name()))?;
                report.add(run, workload.name, *kind, &sample, arguments.log.as_deref())?;
            }
        }
    }
    Ok(report.print(&RATIOS))
}

fn choose(names: &[String]) -> Result<Vec<&'static Workload>> {
    if names.is_empty() {
        return Ok(WORKLOADS.iter().collect());
    }
    let find = |name: &String| WORKLOADS.iter().find(|known| known.name.eq_ignore_ascii_case(name));
    names
        .iter()
        .map(|name| {
            let Some(workload) = find(name) else {
                let known = WORKLOADS.map(|known| format!("\n  {:<9} {}", known.name, known.about));
                bail!("unknown workload {name:?}, none of{}", known.concat());
            };
            Ok(workload)
        })
        .collect()
}
