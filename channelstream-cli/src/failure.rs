//! `Failure`: the error of a command, a hint about it, and the exit code.

use std::fmt::Display;
use std::io;

use channelstream_client::{Error, ErrorKind, StatusCode, StreamError};

/// The error of a command.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    hint: Option<String>,
    code: u8,
}

/// The exit code of a command that was refused or failed.
const FAILED: u8 = 1;
/// The exit code of wrong usage.
const USAGE: u8 = 2;

impl Failure {
    /// Creates a failure for wrong usage, with exit code 2.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { error: anyhow::Error::msg(text.into()), hint: None, code: USAGE }
    }

    /// Creates a failure for a failed call to the server. `origin` says where the secret came from.
    pub(crate) fn of_client(error: Error, origin: &impl Display) -> Self {
        let hint = hint(&error, origin);
        let code = if error.kind() == ErrorKind::Builder { USAGE } else { FAILED };
        Self { error: error.into(), hint, code }
    }

    /// Creates a failure for a message that grows no further.
    pub(crate) fn of_stream(error: StreamError, origin: &impl Display) -> Self {
        let hint = error.call().and_then(|error| hint(error, origin));
        Self { error: error.into(), hint, code: FAILED }
    }

    /// Creates a failure for a failed request of many messages; `line` is the line of the file that
    /// caused it, if known.
    pub(crate) fn of_publishing(error: &Error, line: Option<u64>, origin: &impl Display) -> Self {
        let mut text = line.map_or_else(String::new, |line| format!("line {line}: "));
        text.push_str(&error.to_string());
        if std::error::Error::source(error).is_some() {
            text.push_str(&format!(": {}", root(error)));
        }
        Self { error: anyhow::Error::msg(text), hint: hint(error, origin), code: FAILED }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets a more specific exit code.
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Returns `true` if the reader of standard output has closed it, which is not an error.
    pub(crate) fn is_closed_output(&self) -> bool {
        self.error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.code
    }

    /// Returns a line with the error and its root cause, and a line with the hint, if there is one.
    pub(crate) fn lines(&self) -> Vec<String> {
        let (what, root) = (self.error.to_string(), self.error.root_cause().to_string());
        let text = if what == root { what } else { format!("{what}: {root}") };
        let mut lines = vec![format!("channelstream: {text}")];
        lines.extend(self.hint.as_deref().map(|hint| format!("hint: {hint}")));
        lines
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { error, hint: None, code: FAILED }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

/// The hint about a proxy of the environment.
pub(crate) const NO_PROXY: &str =
    "NO_PROXY lists hosts that bypass the proxy of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY";

/// Returns the text of the root cause.
fn root(error: &Error) -> String {
    let mut root: &dyn std::error::Error = error;
    while let Some(inner) = root.source() {
        root = inner;
    }
    root.to_string()
}

/// Returns a hint about an error of the client.
fn hint(error: &Error, origin: &impl Display) -> Option<String> {
    let text = match (error.kind(), error.status()) {
        (ErrorKind::Builder, _) if error.to_string().contains("root certificates") => {
            "they came from --ca-file, CHANNELSTREAM_CA_FILE or a profile".to_owned()
        }
        (ErrorKind::Builder, _) => "an example of an address: http://127.0.0.1:8000".to_owned(),
        (ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::BadAnswer, _)
            if error.proxy().is_some() =>
        {
            NO_PROXY.to_owned()
        }
        (_, Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED)) => {
            "set user and password in HTTP_PROXY or HTTPS_PROXY: http://user:password@host"
                .to_owned()
        }
        (ErrorKind::Connect, _) if root(error).contains("certificate") => {
            "`channelstream doctor` diagnoses the certificate; --ca-file sets the trusted ones"
                .to_owned()
        }
        (ErrorKind::Connect, _) => {
            "is the server running? --url or CHANNELSTREAM_URL set its address".to_owned()
        }
        (_, Some(StatusCode::UNAUTHORIZED)) => {
            format!("the secret differs from the server's, or the clocks differ ({origin})")
        }
        (_, Some(StatusCode::FORBIDDEN)) if error.to_string().contains("well-known default") => {
            "use 127.0.0.1 or localhost as the address".to_owned()
        }
        (_, Some(StatusCode::FORBIDDEN)) => {
            "the server's setting allow_posting_from does not include this machine's address"
                .to_owned()
        }
        (_, Some(StatusCode::UNPROCESSABLE_ENTITY)) => return None,
        (ErrorKind::Unavailable, _) if error.proxy().is_some() => {
            format!("see the server's log, if the request reached it; {NO_PROXY}")
        }
        (ErrorKind::Unavailable, _) => "see the server's log".to_owned(),
        (ErrorKind::Timeout | ErrorKind::BadAnswer | ErrorKind::Refused, _) => {
            "is that a channelstream server? check scheme, port and path of its address".to_owned()
        }
        _ => return None,
    };
    Some(text)
}
