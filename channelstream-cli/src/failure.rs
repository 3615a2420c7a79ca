//! Why a command failed, what to do about it, and the exit code that says so.

use std::io;

use channelstream_client::{Error, ErrorKind, StatusCode};

use crate::access::Origin;

/// What a command that failed leaves behind.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    hint: Option<String>,
    code: u8,
}

/// Exit codes: refused or failed, and wrong usage.
const FAILED: u8 = 1;
const USAGE: u8 = 2;

impl Failure {
    /// The command was called wrongly: exit code 2.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { error: anyhow::Error::msg(text.into()), hint: None, code: USAGE }
    }

    /// A call to the server failed; the secret for it came from `origin`.
    pub(crate) fn of_client(error: Error, origin: &Origin) -> Self {
        let hint = hint(&error, origin);
        let code = if error.kind() == ErrorKind::Builder { USAGE } else { FAILED };
        Self { error: error.into(), hint, code }
    }

    /// A request of many messages failed, perhaps because of that on this line.
    pub(crate) fn of_publishing(error: &Error, line: Option<u64>, origin: &Origin) -> Self {
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

    /// With an exit code that tells more than that it failed.
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Whether whoever read our output has gone, which is their good right.
    pub(crate) fn is_closed_output(&self) -> bool {
        self.error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.code
    }

    /// One line with what happened and its root, and perhaps one with what to do about it.
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

/// What to do about a proxy in between.
pub(crate) const NO_PROXY: &str =
    "NO_PROXY lists hosts that are asked without the proxy of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY";

/// What is at the bottom of it.
fn root(error: &Error) -> String {
    let mut root: &dyn std::error::Error = error;
    while let Some(inner) = root.source() {
        root = inner;
    }
    root.to_string()
}

fn hint(error: &Error, origin: &Origin) -> Option<String> {
    let text = match (error.kind(), error.status()) {
        (ErrorKind::Builder, _) if error.to_string().contains("root certificates") => {
            "they were taken from --ca-file, CHANNELSTREAM_CA_FILE or a profile".to_owned()
        }
        (ErrorKind::Builder, _) => "an address is such as http://127.0.0.1:8000".to_owned(),
        (ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::BadAnswer, _)
            if error.proxy().is_some() =>
        {
            NO_PROXY.to_owned()
        }
        (_, Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED)) => {
            "HTTP_PROXY or HTTPS_PROXY have to name user and password: http://user:password@host"
                .to_owned()
        }
        (ErrorKind::Connect, _) if root(error).contains("certificate") => {
            "`channelstream doctor` tells what is wrong with it; --ca-file names those that are \
             trusted"
                .to_owned()
        }
        (ErrorKind::Connect, _) => {
            "is the server running? --url or CHANNELSTREAM_URL say where it is".to_owned()
        }
        (_, Some(StatusCode::UNAUTHORIZED)) => {
            format!("the secret is not the server's, or the clocks differ ({origin})")
        }
        (_, Some(StatusCode::FORBIDDEN)) if error.to_string().contains("well-known default") => {
            "ask it by 127.0.0.1 or localhost".to_owned()
        }
        (_, Some(StatusCode::FORBIDDEN)) => {
            "the server's setting allow_posting_from does not have this machine's address"
                .to_owned()
        }
        (_, Some(StatusCode::UNPROCESSABLE_ENTITY)) => return None,
        (ErrorKind::Unavailable, _) if error.proxy().is_some() => {
            format!("the server's log says why, if it was asked at all; {NO_PROXY}")
        }
        (ErrorKind::Unavailable, _) => "the server's log says why".to_owned(),
        (ErrorKind::Timeout | ErrorKind::BadAnswer | ErrorKind::Refused, _) => {
            "is that a channelstream server? look at scheme, port and path of its address"
                .to_owned()
        }
        _ => return None,
    };
    Some(text)
}
