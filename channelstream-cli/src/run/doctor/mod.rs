//! `doctor`: runs checks in sequence, and advises what to do about faults.

mod checks;
mod listening;
mod probe;
mod socket;
mod tls;

use std::io::{Write as _, stdout};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use self::checks::Subject;
use crate::args::{AccessArgs, DoctorArgs, OutputArgs};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
use crate::reader::{self, Reader};

pub(super) async fn diagnose(access: &AccessArgs, args: &DoctorArgs) -> Result<(), Failure> {
    let mut findings = Findings::new(args.output);
    let subject = Subject::new(access)?;
    let (mut interrupt, mut reader) = (Interrupt::new()?, Reader::new());
    let outcome = tokio::select! {
        outcome = checks::all(&subject, args, &mut findings) => outcome,
        () = interrupt.received() => Err(anyhow::anyhow!("interrupted").into()),
        () = reader.closed(), if !args.output.quiet => Err(reader::failure()),
    };
    tokio::select! {
        () = subject.connections.end() => {}
        () = interrupt.received() => {}
    }
    outcome?;
    findings.end()
}

/// How far the server was reached if there are faults; the values are the exit codes.
#[derive(Clone, Copy)]
enum Reach {
    /// The server works in part.
    Parts = 1,
    /// No channelstream server was reached.
    Nowhere = 3,
    /// The server refuses requests.
    Refused = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Good,
    /// Worth knowing, but nothing is broken.
    Note,
    Fault,
    Skipped,
}

/// The result of one check.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    status: Status,
    detail: String,
    advice: Option<String>,
}

/// The results so far. For people each one is printed immediately.
struct Findings {
    output: OutputArgs,
    reach: Reach,
    checks: Vec<Finding>,
}

impl Findings {
    fn new(output: OutputArgs) -> Self {
        Self { output, reach: Reach::Parts, checks: Vec::new() }
    }

    fn good(&mut self, name: &'static str, detail: impl Into<String>) -> Result<(), Failure> {
        self.add(name, Status::Good, detail.into(), None)
    }

    fn skipped(&mut self, name: &'static str, detail: impl Into<String>) -> Result<(), Failure> {
        self.add(name, Status::Skipped, detail.into(), None)
    }

    fn note(
        &mut self,
        name: &'static str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Result<(), Failure> {
        self.add(name, Status::Note, detail.into(), Some(advice.into()))
    }

    fn fault(
        &mut self,
        name: &'static str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Result<(), Failure> {
        self.add(name, Status::Fault, detail.into(), Some(advice.into()))
    }

    fn add(
        &mut self,
        name: &'static str,
        status: Status,
        detail: String,
        advice: Option<String>,
    ) -> Result<(), Failure> {
        let finding = Finding { name, status, detail, advice };
        if !self.output.json && !self.output.quiet {
            self.print(&finding)?;
        }
        self.checks.push(finding);
        Ok(())
    }

    fn print(&self, finding: &Finding) -> Result<(), Failure> {
        let (word, style) = match finding.status {
            Status::Good => ("good   ", AnsiColor::Green.on_default()),
            Status::Note => ("note   ", AnsiColor::Yellow.on_default()),
            Status::Fault => ("FAULT  ", AnsiColor::Red.on_default()),
            Status::Skipped => ("skipped", Style::new().dimmed()),
        };
        let detail = output::plain(&finding.detail);
        let mut out = anstream::stdout();
        writeln!(out, "{style}{word}{style:#}  {:<16}  {detail}", finding.name)?;
        if let Some(advice) = &finding.advice {
            writeln!(out, "{:27}-> {}", "", output::plain(advice))?;
        }
        Ok(out.flush()?)
    }

    fn end(self) -> Result<(), Failure> {
        let faults = self.checks.iter().filter(|check| check.status == Status::Fault).count();
        if self.output.json {
            #[derive(Serialize)]
            struct Report {
                faults: usize,
                checks: Vec<Finding>,
            }
            output::json(&mut stdout(), &Report { faults, checks: self.checks })?;
        }
        let text = match faults {
            0 => return Ok(()),
            1 => "1 fault found".to_owned(),
            _ => format!("{faults} faults found"),
        };
        Err(Failure::from(anyhow::Error::msg(text)).with_code(self.reach as u8))
    }
}
