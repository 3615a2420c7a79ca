//! What a check of a journal has found, for the operator.

use serde::Serialize;

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Good,
    /// Worth knowing, but nothing is broken.
    Note,
    Fault,
    /// It could not be checked.
    Skipped,
}

/// The result of one check, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) status: Status,
    pub(crate) detail: String,
    pub(crate) advice: Option<String>,
}

impl Finding {
    pub(crate) fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status: Status::Good, detail: detail.into(), advice: None }
    }

    pub(crate) fn skipped(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status: Status::Skipped, detail: detail.into(), advice: None }
    }

    pub(crate) fn note(
        name: &'static str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let advice = Some(advice.into());
        Self { name, status: Status::Note, detail: detail.into(), advice }
    }

    pub(crate) fn fault(
        name: &'static str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let advice = Some(advice.into());
        Self { name, status: Status::Fault, detail: detail.into(), advice }
    }

    /// Returns the finding as a line of the log.
    pub(crate) fn line(&self) -> String {
        match &self.advice {
            Some(advice) => format!("{}: {advice}", self.detail),
            None => self.detail.clone(),
        }
    }
}
