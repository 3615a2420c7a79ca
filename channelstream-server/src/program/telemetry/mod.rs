//! The log: lines to standard error, as text or JSON, without anybody waiting for its reader.

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};
use queue::Queue;

/// How long the end of the process waits for lines that are not written yet.
const LAST: Duration = Duration::from_secs(2);

/// The lines of this process.
static QUEUE: Queue = Queue::new();

/// The log of this process. Dropping it waits until all lines are written, two seconds at most.
#[derive(Debug)]
#[must_use = "dropped at the end of the process, it waits for the last lines"]
pub(crate) struct Log(());

/// Sends the log of this process to standard error, panics included. If it is sent somewhere
/// already (a second call, a program that embeds the server), nothing changes.
///
/// Lines are written by a thread of their own. When standard error is not read, 1 MiB of lines
/// waits; what comes beyond is dropped, counted, and told as a warning when lines can be written again.
///
/// # Errors
/// If the system has no place for another thread.
pub(crate) fn init(level: &LogLevel, format: LogFormat) -> io::Result<Log> {
    let mut lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level.directives()))
        .with_writer(|| Line)
        // It would complain on standard error that standard error is gone, and panic.
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
        std::panic::set_hook(Box::new(tell_of_panic));
    }
    Ok(Log(()))
}

impl Log {
    /// Writes lines that are no events, behind those that were logged before.
    pub(crate) fn say(&self, lines: &str) {
        QUEUE.push(lines.as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        QUEUE.flush(LAST);
    }
}

/// How many lines were dropped since the start.
pub(crate) fn dropped_lines() -> u64 {
    QUEUE.dropped()
}

#[expect(clippy::disallowed_methods, reason = "nothing is written here")]
fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Writes lines for ever.
#[expect(clippy::disallowed_methods, reason = "on a thread that does nothing else")]
fn write() {
    QUEUE.write_to(&mut io::stderr(), |dropped| {
        tracing::warn!(dropped, "log lines dropped: standard error was not read or not writable");
    });
}

/// Panics are told like everything else: the usual way waits for the reader of standard error.
fn tell_of_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("(no text)");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(place, "panicked: {text}\n{backtrace}"),
        _ => tracing::error!(place, "panicked: {text}"),
    }
}

/// Takes one line, or as many as are given at once.
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
