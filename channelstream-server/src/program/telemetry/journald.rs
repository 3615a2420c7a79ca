//! The priority of each line, where systemd-journald reads the log.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Returns `true` if standard error is the stream to journald that the environment names, and not something
/// that it was redirected to since.
#[cfg(target_os = "linux")]
pub(super) fn reads_standard_error() -> bool {
    use rustix::fs::fstat;

    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let Ok(stderr) = fstat(rustix::stdio::stderr()) else { return false };
    named == format!("{}:{}", stderr.st_dev, stderr.st_ino)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reads_standard_error() -> bool {
    false
}

/// A format whose lines begin with the priority that journald takes from them.
pub(super) struct WithPriority<F> {
    pub(super) format: F,
    pub(super) is_on: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.is_on {
            write!(line, "<{}>", priority(*event.metadata().level()))?;
        }
        self.format.format_event(context, line, event)
    }
}

/// The priority of syslog for a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
