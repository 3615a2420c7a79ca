//! `channelstream-server doctor`: checks settings, clock and journal as a server would use them.

use std::process::ExitCode;

use anyhow::Context as _;
use channelstream_core::protocol::{DateTime, Timestamp};
use clap::{Arg, ArgAction, Command};
use serde::Serialize;

use super::cli::Given;
use super::{gather, print};
use crate::clock;
use crate::config::{Checked, Journal};
use crate::journal::file;
use crate::journal::finding::{Finding, Status};
use crate::journal::redis;

/// The years, in seconds since 1970, between which a clock may be right: 2026 to 2100.
const YEARS: std::ops::Range<i64> = 1_767_225_600..4_102_444_800;

pub(super) const NAME: &str = "doctor";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Check settings, clock and journal, and say what to change; a server may be running")
        .long_about(
            "Check settings, clock and journal as a server with these settings would use them, and say \
             what to change. Nothing is changed, and a server may be running. Run it as the user of the \
             server. The exit status is 1 if there is a fault.",
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print one JSON document: faults, and for each check name, status, detail, advice"),
        )
}

pub(super) fn run(given: &Given, json: bool) -> anyhow::Result<ExitCode> {
    let Checked { config, warnings } = gather(given).check();
    let config = config?;
    let mut findings: Vec<_> = match warnings.is_empty() {
        true => vec![Finding::good("settings", "all are right")],
        false => warnings
            .into_iter()
            .map(|warning| Finding::note("settings", warning, "see docs/settings.md"))
            .collect(),
    };
    findings.push(wall_clock(clock::now()));
    let examined = match &config.journal {
        Journal::Memory => {
            vec![Finding::good(
                "journal",
                "in memory: a restart forgets it (journal = file keeps it)",
            )]
        }
        Journal::File { directory, sync } => file::doctor::examine(directory, *sync),
        Journal::Redis(journal) => {
            if config.cookie_secret.is_none() {
                findings.push(Finding::note(
                    "sign-ins",
                    "without a cookie_secret, who signed in to the admin page of one server is not \
                     signed in to the others",
                    "give all servers the same cookie_secret",
                ));
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.context("the runtime could not be started")?;
            let examined = runtime.block_on(redis::examine(journal));
            // A pending lookup of a host name must not delay the exit.
            runtime.shutdown_background();
            examined
        }
    };
    findings.extend(examined);
    let faults = findings.iter().filter(|finding| finding.status == Status::Fault).count();
    if json {
        #[derive(Serialize)]
        struct Report<'a> {
            faults: usize,
            checks: &'a [Finding],
        }
        let report = Report { faults, checks: &findings };
        let text =
            serde_json::to_string_pretty(&report).context("findings have no form in JSON")?;
        print(&(text + "\n"))?;
    } else {
        print(&findings.iter().map(shown).collect::<String>())?;
    }
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks that the clock of this machine, which says `now`, may be right.
fn wall_clock(now: Timestamp) -> Finding {
    const NAME: &str = "clock";
    let shown = format!("{}Z", DateTime::from(now));
    if YEARS.contains(&(now.as_micros() / 1_000_000)) {
        return Finding::good(NAME, shown);
    }
    let advice = "run a time service such as chrony: signatures of backends are refused";
    Finding::fault(NAME, format!("{shown} cannot be the time"), advice)
}

/// Returns the lines of a finding, as `channelstream doctor` prints them.
fn shown(finding: &Finding) -> String {
    let word = match finding.status {
        Status::Good => "good   ",
        Status::Note => "note   ",
        Status::Fault => "FAULT  ",
        Status::Skipped => "skipped",
    };
    let plain = |text: &str| text.chars().map(super::shown).collect::<String>();
    let mut lines = format!("{word}  {:<16}  {}\n", finding.name, plain(&finding.detail));
    if let Some(advice) = &finding.advice {
        lines.push_str(&format!("{:27}-> {}\n", "", plain(advice)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_cannot_be_is_a_fault() {
        let status = |seconds: i64| wall_clock(Timestamp::from_micros(seconds * 1_000_000)).status;
        assert_eq!(status(0), Status::Fault, "a machine without a battery");
        assert_eq!(status(1_780_000_000), Status::Good);
        assert_eq!(status(5_000_000_000), Status::Fault);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let finding = Finding::note("journal", "a\u{1b}[31m", "b\nc");
        let lines = shown(&finding);
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert!(!lines.contains('\u{1b}'), "{lines}");
    }
}
