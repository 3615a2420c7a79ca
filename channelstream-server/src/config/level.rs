//! Which log lines are written, and their format.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;

use crate::suggest::nearest;

/// The format of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Which log lines are written: a level, or validated directives for `tracing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(String);

impl LogLevel {
    /// Returns the directives in the syntax of `EnvFilter`.
    #[must_use]
    pub fn directives(&self) -> &str {
        &self.0
    }
}

/// A text that is neither a level nor a directive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no level (DEBUG, INFO, WARNING, ERROR, CRITICAL) and no tracing directive{hint}")]
pub struct LogLevelError {
    hint: String,
}

const LEVELS: &[(&str, &str)] = &[
    ("debug", "debug"),
    ("info", "info"),
    ("warning", "warn"),
    ("error", "error"),
    ("critical", "error"),
    ("warn", "warn"),
    ("fatal", "error"),
    ("notset", "trace"),
    ("trace", "trace"),
    ("off", "off"),
];

impl FromStr for LogLevel {
    type Err = LogLevelError;

    /// Parses a level as Python's `logging` spells it, in any case, or directives.
    fn from_str(text: &str) -> Result<Self, LogLevelError> {
        let word = text.trim().to_lowercase();
        if let Some((_, level)) = LEVELS.iter().find(|(name, _)| *name == word) {
            return Ok(Self((*level).into()));
        }
        // To tracing a bare word is the name of a module, so that a misspelt level would be taken
        // for one and turn the log off.
        let bare = text.split(',').map(str::trim).find(|directive| {
            !directive.contains(['=', '['])
                && !LEVELS.iter().any(|(_, level)| level.eq_ignore_ascii_case(directive))
        });
        if let Some(bare) = bare {
            let levels = LEVELS.iter().map(|(name, _)| *name);
            let meant = nearest(&bare.to_lowercase(), levels).map(str::to_uppercase);
            let hint = meant.map(|level| format!("; did you mean {level}?")).unwrap_or_default();
            return Err(LogLevelError { hint });
        }
        match EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.trim().into())),
            Err(error) => Err(LogLevelError { hint: format!(": {error}") }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_the_reference_and_of_tracing_are_read() {
        for (text, directives) in [
            ("DEBUG", "debug"),
            ("info", "info"),
            ("Warning", "warn"),
            ("WARN", "warn"),
            ("ERROR", "error"),
            ("CRITICAL", "error"),
            (" trace ", "trace"),
            ("off", "off"),
            ("warn,channelstream_server=debug", "warn,channelstream_server=debug"),
            ("channelstream_server::http=trace", "channelstream_server::http=trace"),
            ("[request]=debug", "[request]=debug"),
        ] {
            assert_eq!(text.parse(), Ok(LogLevel(directives.into())), "{text}");
        }
    }

    #[test]
    fn misspelt_levels_are_refused_with_a_hint() {
        for (text, hint) in [
            ("INOF", "did you mean INFO?"),
            ("debgu", "did you mean DEBUG?"),
            ("a=loud", "level"),
            ("verbose", ""),
        ] {
            let error = text.parse::<LogLevel>().expect_err(text).to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
