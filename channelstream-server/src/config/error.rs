//! Mistakes in the settings, all reported at once, and the origins of values.

use std::fmt;
use std::path::PathBuf;

use super::table::{Setting, setting};

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The default: none was given.
    Default,
    /// A line of an ini file, counted from 1; 0 is the file as a whole.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag on the command line, with its dashes.
    Flag(String),
    /// The JSON document on the command line.
    Json,
    /// A random value that was generated just now.
    Fresh,
    /// The file named by a `*_file` setting.
    SecretFile {
        /// The file.
        path: PathBuf,
        /// The origin of the setting that names the file.
        named_by: Box<Self>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
            Self::Json => f.write_str("JSON"),
            Self::Fresh => f.write_str("generated at random"),
            Self::SecretFile { path, named_by } => write!(f, "{} ({named_by})", path.display()),
        }
    }
}

/// One setting as it was given. `Debug` shows `***` for secrets and unknown keys.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Value {
    /// The key as in the ini file, which may be unknown.
    pub(crate) key: String,
    /// The text as given, or why it could not be read (which must not contain a secret).
    pub(crate) text: Result<String, String>,
    /// The origin of the text.
    pub(crate) origin: Origin,
}

impl Value {
    /// A value that was read.
    #[must_use]
    pub(crate) fn new(key: impl Into<String>, text: impl Into<String>, origin: Origin) -> Self {
        Self { key: key.into(), text: Ok(text.into()), origin }
    }

    /// Returns `true` if the text is empty or white space.
    pub(crate) fn is_blank(&self) -> bool {
        self.text.as_ref().is_ok_and(|text| text.trim().is_empty())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = setting(&self.key).is_some_and(|setting| !setting.kind.is_secret());
        let hidden = Ok(String::from("***"));
        let text = if public { &self.text } else { &hidden };
        f.debug_tuple("Value").field(&self.key).field(text).field(&self.origin).finish()
    }
}

/// One mistake. Displays as `origin: key = "value": problem`, secrets as `***`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    origin: Origin,
    /// Key and value as displayed.
    subject: Option<String>,
    problem: String,
}

impl Mistake {
    /// A mistake of an origin as a whole. The text must not contain a secret.
    pub(crate) fn at(origin: Origin, problem: impl Into<String>) -> Self {
        Self { origin, subject: None, problem: problem.into() }
    }

    /// A mistake in a setting. The problem must not contain the value of a secret.
    pub(crate) fn in_setting(
        setting: &Setting,
        text: Option<&str>,
        origin: &Origin,
        problem: impl Into<String>,
    ) -> Self {
        let subject = match text {
            Some(_) if setting.kind.may_hold_secrets() => format!("{} = ***", setting.key),
            Some(text) => format!("{} = {text:?}", setting.key),
            None => setting.key.into(),
        };
        Self { origin: origin.clone(), subject: Some(subject), problem: problem.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Some(subject) => write!(f, "{}: {subject}: {}", self.origin, self.problem),
            None => write!(f, "{}: {}", self.origin, self.problem),
        }
    }
}

/// All mistakes in the settings; never empty. Displays one mistake a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub(crate) struct ConfigErrors(Vec<Mistake>);

impl ConfigErrors {
    /// Returns the mistakes as an error, if there are any.
    pub(crate) fn from_mistakes(mistakes: Vec<Mistake>) -> Option<Self> {
        (!mistakes.is_empty()).then_some(Self(mistakes))
    }

    /// Returns the mistakes, in the order in which they were found.
    #[cfg(test)]
    pub(crate) fn mistakes(&self) -> &[Mistake] {
        &self.0
    }
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("\n")
}
