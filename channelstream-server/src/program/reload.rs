//! Reload: where the program has its settings from, so that they can be read again.

use std::error::Error;

use super::cli::Given;
use super::telemetry::Level;
use super::{files, gather};
use crate::config::{Checked, Config};
use crate::reload::{Read, Source};

/// The flags, the file that they name, or the environment; and the log, which has a setting of its own.
pub(super) struct Reading {
    pub(super) given: Given,
    pub(super) level: Level,
}

impl Source for Reading {
    fn read(&self) -> Result<Read, Box<dyn Error + Send + Sync>> {
        let Checked { config, warnings } = gather(&self.given).check();
        Ok(Read { config: config?, warnings })
    }

    fn apply(&self, config: &Config) {
        self.level.set(&config.log_level);
        if let Some(warning) = files::raise_limit(config) {
            tracing::warn!("{warning}");
        }
    }
}
