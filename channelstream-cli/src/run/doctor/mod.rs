//! `doctor`: one check after the other, and what to do about what is wrong.

mod checks;
mod lines;
mod listening;
mod probe;
mod tls;

use std::io::{Write as _, stdout};

use serde::Serialize;

use self::checks::Subject;
use crate::args::{AccessArgs, DoctorArgs, OutputArgs};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{self, Colour};
use crate::reader::{self, Reader};

pub(super) async fn examine(access: &AccessArgs, args: &DoctorArgs) -> Result<(), Failure> {
    let mut findings = Findings::new(args.output);
    let subject = Subject::new(access)?;
    let (mut interrupt, mut reader) = (Interrupt::new()?, Reader::new());
    let outcome = tokio::select! {
        outcome = checks::all(&subject, args, &mut findings) => outcome,
        () = interrupt.heard() => Err(anyhow::anyhow!("interrupted").into()),
        () = reader.gone(), if !args.output.quiet => Err(reader::failure()),
    };
    tokio::select! {
        () = subject.guests.leave() => {}
        () = interrupt.heard() => {}
    }
    outcome?;
    findings.end()
}

/// How far we come, if there are faults; the exit codes that tell it.
#[derive(Clone, Copy)]
enum Reach {
    Parts = 1,
    Nowhere = 3,
    Refused = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Good,
    /// Worth knowing; nothing is broken by it.
    Note,
    Fault,
    Skipped,
}

/// What one check found.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    status: Status,
    detail: String,
    advice: Option<String>,
}

/// What was found so far; for people it is printed as it is found.
struct Findings {
    output: OutputArgs,
    coloured: bool,
    reach: Reach,
    checks: Vec<Finding>,
}

impl Findings {
    fn new(output: OutputArgs) -> Self {
        Self { output, coloured: output::is_coloured(), reach: Reach::Parts, checks: Vec::new() }
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
        let (word, colour) = match finding.status {
            Status::Good => ("good   ", Colour::Green),
            Status::Note => ("note   ", Colour::Yellow),
            Status::Fault => ("FAULT  ", Colour::Red),
            Status::Skipped => ("skipped", Colour::Dim),
        };
        let word = output::painted(word, colour, self.coloured);
        let detail = output::plain(&finding.detail);
        let mut out = stdout();
        writeln!(out, "{word}  {:<16}  {detail}", finding.name)?;
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
            1 => "there is a fault".to_owned(),
            _ => format!("there are {faults} faults"),
        };
        Err(Failure::from(anyhow::Error::msg(text)).with_code(self.reach as u8))
    }
}
