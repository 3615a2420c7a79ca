//! The answer of `POST /reload`.

use serde::{Deserialize, Serialize};

/// What a reload of the settings changed. The names are those of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reloaded {
    /// Settings that have changed and count now.
    pub changed: Vec<String>,
    /// Settings that are different in what was read, and count after a restart of the server.
    pub needs_restart: Vec<String>,
    /// Settings that work and are probably not what is meant. No text contains a secret.
    pub warnings: Vec<String>,
}

impl Reloaded {
    /// Creates the answer.
    #[must_use]
    pub fn new(changed: Vec<String>, needs_restart: Vec<String>, warnings: Vec<String>) -> Self {
        Self { changed, needs_restart, warnings }
    }
}
