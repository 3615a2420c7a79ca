//! Where log lines go: to standard error, as text or JSON.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};

/// Sends the log of this process to standard error. If it is sent somewhere already (a second call,
/// a program that embeds the server), nothing changes.
pub fn init(level: &LogLevel, format: LogFormat) {
    let mut lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level.directives()))
        .with_writer(io::stderr)
        // It would complain on standard error that standard error is gone, and panic.
        .log_internal_errors(false);
    if !io::stderr().is_terminal() {
        lines = lines.with_ansi(false);
    }
    // The only failure is that a log was set up before.
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}
