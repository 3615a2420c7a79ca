//! `Client`: the program under test, driven over its standard input and output.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::stage::Happening;

/// The longest line of the program, which may repeat the largest message that a server sends.
const LONGEST_LINE: u64 = 8 * 1024 * 1024;
/// The most bytes of all lines of a case.
const MOST: u64 = 64 * 1024 * 1024;
/// How much of the end of standard error is kept.
const KEPT: usize = 4 * 1024;
/// How often the end of the program is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// What the program writes.
pub(super) enum Line {
    /// A JSON object.
    Object(Value),
    /// Something else, and why it is none.
    Nonsense(String),
    /// It closed its standard output.
    End,
}

/// A running program. Dropping it kills it and its children, and waits for it.
pub(super) struct Client {
    child: Child,
    orders: Option<ChildStdin>,
    complaints: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    is_over: bool,
}

impl Client {
    /// Starts the program, whose lines are sent to `to`.
    pub(super) fn start(command: &str, to: SyncSender<Happening>) -> io::Result<Self> {
        let mut child = shell(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (orders, lines, errors) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(lines), Some(mut errors)) = (lines, errors) else {
            return Err(io::Error::other("the program has no standard output"));
        };
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&complaints);
        let hears = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = errors.read(&mut buffer) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..count]);
                let excess = kept.len().saturating_sub(KEPT);
                kept.drain(..excess);
            }
        });
        let reads = thread::spawn(move || {
            let mut lines = BufReader::new(lines).take(MOST);
            loop {
                let line = next(&mut lines);
                let is_last = !matches!(line, Line::Object(_));
                // Whoever does not listen any more has ended the case.
                if to.send(Happening::Line(line)).is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Self { child, orders, complaints, readers: vec![hears, reads], is_over: false })
    }

    /// Returns the id of the process, which is also that of its group.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to the program.
    pub(super) fn order(&mut self, order: &Value) -> io::Result<()> {
        let Some(orders) = &mut self.orders else {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        };
        orders.write_all(format!("{order}\n").as_bytes())?;
        orders.flush()
    }

    /// Waits until the program has ended; returns `None` if it does not in time.
    pub(super) fn wait(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        self.orders = None;
        let begun = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            if ended.is_some() || begun.elapsed() >= patience {
                return Ok(ended);
            }
            thread::sleep(LOOK);
        }
    }

    /// Kills the program with its children, and returns the end of what it wrote to standard error.
    pub(super) fn end(mut self) -> String {
        self.kill();
        // Also a grandchild that has left the group may hold them open.
        for reader in self.readers.drain(..) {
            let begun = Instant::now();
            while !reader.is_finished() && begun.elapsed() < Duration::from_secs(1) {
                thread::sleep(LOOK);
            }
        }
        let complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&complaints).trim().to_owned()
    }

    fn kill(&mut self) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        self.orders = None;
        kill_group(self.child.id());
        // On systems without groups of processes, and if it has ended, that is an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.kill();
    }
}

fn next(lines: &mut io::Take<BufReader<impl io::Read>>) -> Line {
    let mut line = Vec::new();
    match lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
        Ok(0) if lines.limit() > 0 => return Line::End,
        Ok(count) if line.last() == Some(&b'\n') && count > 0 => {}
        Ok(_) if lines.limit() == 0 => {
            return Line::Nonsense(format!("more than {MOST} bytes on standard output"));
        }
        Ok(count) if count as u64 == LONGEST_LINE => {
            return Line::Nonsense(format!("a line of more than {LONGEST_LINE} bytes"));
        }
        Ok(_) => return Line::Nonsense(format!("a line without an end: {}", shown(&line))),
        Err(_) => return Line::End,
    }
    match serde_json::from_slice(&line) {
        Ok(value @ Value::Object(_)) => Line::Object(value),
        _ => Line::Nonsense(format!("a line that is no JSON object: {}", shown(&line))),
    }
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(200)]).trim_end().to_owned()
}

/// The command line, which the shell splits. The program has a group of its own, so that it can be
/// killed with all that it has started.
#[cfg(unix)]
fn shell(command: &str) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).process_group(0);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(command);
    shell
}

/// Kills a program that [`Client::start`] has started, with its children.
pub(super) fn kill_group(id: u32) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw) {
        // It may have ended.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    #[cfg(not(unix))]
    let _ = id;
}
