//! The log: lines on standard error, as text or JSON. Logging never waits for the reader.

mod journald;
mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::thread;
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::config::{LogFormat, LogLevel};
use crate::metrics::process::LOG_LINES_DROPPED;
use journald::WithPriority;
use queue::Queue;

/// How long the process waits at its end for lines that are not written yet.
const LAST: Duration = Duration::from_secs(2);

/// The log lines of this process.
static QUEUE: Queue = Queue::new(&LOG_LINES_DROPPED);

/// The log of this process. Dropping it waits until all lines are written, for two seconds at most.
#[derive(Debug)]
#[must_use = "dropped at the end of the process, it waits for the last lines"]
pub(crate) struct Log(Level);

/// Which lines are logged.
#[derive(Clone, Debug)]
pub(crate) struct Level(Handle<EnvFilter, Registry>);

/// Sends the log of this process to standard error, panics included. Does nothing if a log is set up
/// already.
///
/// A separate thread writes the lines. While standard error is not read, up to 1 MiB of lines waits.
/// Further lines are dropped and counted, and a warning reports them once lines can be written again.
///
/// # Errors
/// Fails if the system cannot start another thread.
pub(crate) fn init(level: &LogLevel, format: LogFormat) -> io::Result<Log> {
    let (filter, handle) = reload::Layer::new(filter(level));
    // Its complaint that standard error is gone would go to standard error, and panic.
    let mut lines = fmt::layer().with_writer(|| Line).log_internal_errors(false);
    if !is_terminal() {
        lines = lines.with_ansi(false);
    }
    let is_on = journald::reads_standard_error();
    let registry = tracing_subscriber::registry().with(filter);
    let outcome = match format {
        // The journal has times of its own.
        LogFormat::Text if is_on => registry
            .with(lines.without_time().map_event_format(|format| WithPriority { format, is_on }))
            .try_init(),
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry
            .with(lines.json().map_event_format(|format| WithPriority { format, is_on }))
            .try_init(),
    };
    // The only failure is that a log was set up before.
    if outcome.is_ok() {
        thread::Builder::new().name("log".to_owned()).spawn(write)?;
        std::panic::set_hook(Box::new(log_panic));
    }
    Ok(Log(Level(handle)))
}

/// Returns the filter of a level. h2 warns of what its peers do, so that they could fill the log; what they do is
/// bounded and counted here. Who wants its lines names it.
fn filter(level: &LogLevel) -> EnvFilter {
    let directives = level.directives();
    if directives.contains("h2") {
        EnvFilter::new(directives)
    } else {
        EnvFilter::new(format!("{directives},h2=off"))
    }
}

impl Level {
    /// Lets other lines be logged from now on.
    pub(crate) fn set(&self, level: &LogLevel) {
        // The only failure is that the log is gone, with the process.
        let _ = self.0.reload(filter(level));
    }
}

impl Log {
    /// Returns what sets which lines are logged.
    pub(crate) fn level(&self) -> Level {
        self.0.clone()
    }

    /// Writes lines that are no log events, after those that were logged before.
    pub(crate) fn say(&self, lines: &str) {
        QUEUE.push(lines.as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        QUEUE.flush(LAST);
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing is written here")]
fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Writes lines forever.
#[expect(clippy::disallowed_methods, reason = "on a thread that does nothing else")]
fn write() {
    QUEUE.write_to(&mut io::stderr(), |dropped| {
        tracing::warn!(dropped, "log lines dropped: standard error was not read or not writable");
    });
}

/// Logs a panic through the queue: the default hook would wait for the reader of standard error.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("(no text)");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(place, "panicked: {text}\n{backtrace}"),
        _ => tracing::error!(place, "panicked: {text}"),
    }
}

/// Puts the lines of the subscriber into the queue.
struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        QUEUE.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
