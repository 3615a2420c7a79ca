//! `Verdict`: what came of a case.

use std::fmt::Display;
use std::io;

use serde::Serialize;

/// What a script returns: its value, or how the client departed from it.
pub(super) type Played<T = ()> = Result<T, Deviation>;

/// How a client departed from a rule.
#[derive(Debug)]
pub(super) struct Deviation {
    pub(super) expected: String,
    pub(super) came: String,
}

impl Deviation {
    pub(super) fn new(expected: impl Display, came: impl Display) -> Self {
        Self { expected: expected.to_string(), came: came.to_string() }
    }
}

/// The script could not write to the client: it has left, or does not read.
impl From<io::Error> for Deviation {
    fn from(error: io::Error) -> Self {
        let came = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it reads nothing".to_owned(),
            _ => format!("it closed the TCP connection ({error})"),
        };
        Self::new("the client reads what the server sends", came)
    }
}

/// Whether a client keeps to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Passed,
    /// It departs from what it should do.
    Warned,
    /// It departs from what it must do.
    Failed,
}

/// What came of a case, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) case: &'static str,
    /// `None` for the cases of publishers.
    pub(super) transport: Option<&'static str>,
    pub(super) rule: &'static str,
    pub(super) status: Status,
    /// What had to come, if it did not.
    pub(super) expected: Option<String>,
    /// What came instead.
    pub(super) came: Option<String>,
    /// The end of what the client wrote to standard error, unless it passed.
    pub(super) stderr: Option<String>,
    pub(super) seconds: f64,
}
