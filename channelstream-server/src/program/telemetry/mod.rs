//! The log: lines on standard error, as text or JSON. Logging never waits for the reader.

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};
use crate::metrics::process::LOG_LINES_DROPPED;
use queue::Queue;

/// How long the process waits at its end for lines that are not written yet.
const LAST: Duration = Duration::from_secs(2);

/// The log lines of this process.
static QUEUE: Queue = Queue::new(&LOG_LINES_DROPPED);

/// The log of this process. Dropping it waits until all lines are written, for two seconds at most.
#[derive(Debug)]
#[must_use = "dropped at the end of the process, it waits for the last lines"]
pub(crate) struct Log(());

/// Sends the log of this process to standard error, panics included. Does nothing if a log is set up
/// already.
///
/// A separate thread writes the lines. While standard error is not read, up to 1 MiB of lines waits.
/// Further lines are dropped and counted, and a warning reports them once lines can be written again.
///
/// # Errors
/// Fails if the system cannot start another thread.
pub(crate) fn init(level: &LogLevel, format: LogFormat) -> io::Result<Log> {
    let mut lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level.directives()))
        .with_writer(|| Line)
        // Its complaint that standard error is gone would go to standard error, and panic.
        .log_internal_errors(false);
    if !is_terminal() {
        lines = lines.with_ansi(false);
    }
    let outcome = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    // The only failure is that a log was set up before.
    if outcome.is_ok() {
        thread::Builder::new().name("log".to_owned()).spawn(write)?;
        std::panic::set_hook(Box::new(log_panic));
    }
    Ok(Log(()))
}

impl Log {
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
