//! The error of every call: opaque, with a kind to decide by and no secret in its text.

use std::error::Error as StdError;

use channelstream_core::protocol::{Fault, Faults};
use http::StatusCode;
use thiserror::Error;

use crate::client::Endpoint;

/// How many faults are spelt out in an error's text; [`Error::faults`] has all.
const FAULTS_SHOWN: usize = 5;

/// Why a call failed.
///
/// Decide by [`kind`](Self::kind); the text is for people and may change. Neither the text nor the
/// `Debug` output nor any source has the secret, a signature, or user, password or query of an
/// address in it.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

#[derive(Debug, Error)]
#[error("{text}")]
struct Inner {
    kind: ErrorKind,
    text: String,
    status: Option<StatusCode>,
    faults: Option<Faults>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What went wrong, as far as a program would decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server could not be reached: nothing was sent.
    Connect,
    /// No whole answer came in time. The request may have been carried out.
    Timeout,
    /// The server refused: a 4xx, or a redirect, by which it refuses its admin area. Nothing was
    /// carried out, and the same request will be refused again.
    Refused,
    /// The server, or a proxy before it, failed or is busy: a 5xx. Later it may work.
    Unavailable,
    /// The answer broke off, is too large, or is not what the protocol says. The request may
    /// have been carried out.
    BadAnswer,
    /// The client cannot be built from these settings, or the request not from these values.
    Builder,
}

impl Error {
    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The status of the answer, if there was one and it was no success.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// Whether the time was over before the answer was there.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::Timeout
    }

    /// What is wrong with each field of the request, if the server said so with a 422
    /// (contract §4).
    #[must_use]
    pub fn faults(&self) -> Option<&Faults> {
        self.0.faults.as_ref()
    }

    fn new(kind: ErrorKind, text: String) -> Self {
        Self(Box::new(Inner { kind, text, status: None, faults: None, source: None }))
    }

    fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    pub(crate) fn settings(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Builder, text.into())
    }

    pub(crate) fn settings_because(
        text: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self::settings(text).because(source)
    }

    /// The request could not be sent, or the answer not be read. `server` is an address without
    /// user, password and query.
    pub(crate) fn transport(endpoint: Endpoint, server: &str, source: reqwest::Error) -> Self {
        let (kind, text) = if source.is_timeout() {
            (ErrorKind::Timeout, format!("no answer to {endpoint} in time"))
        } else if source.is_connect() {
            (ErrorKind::Connect, format!("cannot reach {server} for {endpoint}"))
        } else if source.is_builder() {
            (ErrorKind::Builder, format!("cannot make the request {endpoint}"))
        } else {
            (ErrorKind::BadAnswer, format!("the answer to {endpoint} broke off"))
        };
        Self::new(kind, text).because(source.without_url())
    }

    /// The answer has another status than success.
    pub(crate) fn status_of(endpoint: Endpoint, status: StatusCode, body: &[u8]) -> Self {
        let (kind, how) = if status.is_client_error() || status.is_redirection() {
            (ErrorKind::Refused, "was refused")
        } else if status.is_server_error() {
            (ErrorKind::Unavailable, "failed")
        } else {
            (ErrorKind::BadAnswer, "was answered")
        };
        let mut error = Self::new(kind, format!("{endpoint} {how} with {status}"));
        error.0.status = Some(status);
        if status == StatusCode::UNPROCESSABLE_ENTITY {
            error.0.faults = serde_json::from_slice(body).ok();
        }
        if let Some(faults) = &error.0.faults {
            error.0.text.push_str(&told(faults));
        }
        error
    }

    pub(crate) fn too_large(endpoint: Endpoint, limit: usize) -> Self {
        let text = format!("the answer to {endpoint} is larger than {limit} bytes");
        Self::new(ErrorKind::BadAnswer, text)
    }

    /// The answer is no JSON, or not the JSON that belongs to the endpoint. What serde says is
    /// left out but for the place, since it may quote the answer.
    pub(crate) fn unreadable(endpoint: Endpoint, fault: &serde_json::Error) -> Self {
        let what = if fault.is_data() { "not what the protocol says" } else { "not JSON" };
        let (line, column) = (fault.line(), fault.column());
        let text = format!("the answer to {endpoint} is {what} (at line {line}, column {column})");
        Self::new(ErrorKind::BadAnswer, text)
    }
}

/// The first faults in one line, such as `: 0.user: Not a valid string.`
fn told(faults: &Faults) -> String {
    let mut lines = Vec::new();
    collect("", faults, &mut lines);
    let more = lines.len().saturating_sub(FAULTS_SHOWN);
    lines.truncate(FAULTS_SHOWN);
    let mut text = format!(": {}", lines.join("; "));
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

fn collect(path: &str, faults: &Faults, lines: &mut Vec<String>) {
    for (field, fault) in faults.iter() {
        match fault {
            Fault::Texts(texts) => lines.push(format!("{path}{field}: {}", texts.join(" "))),
            Fault::Inner(inner) => collect(&format!("{path}{field}."), inner, lines),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
mod tests {
    use super::*;
    use crate::client::MESSAGE;

    #[test]
    fn statuses_have_kinds() {
        for (status, kind) in [
            (302, ErrorKind::Refused),
            (401, ErrorKind::Refused),
            (422, ErrorKind::Refused),
            (500, ErrorKind::Unavailable),
            (503, ErrorKind::Unavailable),
            (101, ErrorKind::BadAnswer),
            (700, ErrorKind::BadAnswer),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = Error::status_of(MESSAGE, status, b"");
            assert_eq!((error.kind(), error.status()), (kind, Some(status)));
            assert!(error.faults().is_none());
        }
    }

    #[test]
    fn faults_are_told_by_their_path_and_not_without_end() {
        let told = |body: &str| {
            Error::status_of(MESSAGE, StatusCode::UNPROCESSABLE_ENTITY, body.as_bytes()).to_string()
        };
        assert_eq!(
            told(r#"{"0": {"user": ["One.", "Two."], "pm_users": {"3": ["Three."]}}}"#),
            "POST /message was refused with 422 Unprocessable Entity: 0.user: One. Two.; \
             0.pm_users.3: Three."
        );
        let many: Vec<_> = (0..7).map(|n| format!(r#""{n}": ["No."]"#)).collect();
        let text = told(&format!("{{{}}}", many.join(",")));
        assert!(text.ends_with("; 4: No.; and 2 more"), "{text}");
        assert!(told("[]").ends_with("Entity"));
    }
}
