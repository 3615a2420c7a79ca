//! The queue of log lines: logging never blocks, and lines beyond the limit are dropped and counted.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::metrics::Counter;

/// The most bytes of lines that may wait. At `info` that is more than a server logs in a day, at
/// `debug` it is some thousands of requests.
const MOST: usize = 1024 * 1024;

/// The pause before a retry when the output would block.
const PAUSE: Duration = Duration::from_millis(20);

/// Lines that wait to be written.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// Lines that found no room or could not be written.
    dropped: &'static Counter,
}

struct Waiting {
    lines: Vec<u8>,
    /// Whether lines that were taken from here are not written yet.
    is_writing: bool,
}

impl Queue {
    /// An empty queue that counts in `dropped` the lines it loses.
    pub(super) const fn new(dropped: &'static Counter) -> Self {
        let waiting = Waiting { lines: Vec::new(), is_writing: false };
        Self { waiting: Mutex::new(waiting), changed: Condvar::new(), dropped }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing that holds the lines can panic")
    }

    /// Appends one or more lines, unless there is no room.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.lines.len() + line.len() > MOST {
            self.dropped.add(count(line));
            return;
        }
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        self.changed.notify_all();
    }

    /// Writes lines forever. Calls `report` with the number of dropped lines once others can be
    /// written again.
    pub(super) fn write_to(&self, out: &mut impl Write, report: impl Fn(u64)) {
        let mut reported = 0;
        loop {
            let (lines, dropped) = self.take();
            let outcome = write_all(out, &lines);
            if outcome.is_ok() && dropped > reported {
                report(dropped - reported);
                reported = dropped;
            }
            let mut waiting = self.waiting();
            if let Err(rest) = outcome {
                self.dropped.add(count(rest));
            }
            waiting.is_writing = false;
            drop(waiting);
            self.changed.notify_all();
        }
    }

    /// Waits for lines and takes them all. Also returns how many were dropped so far.
    #[expect(clippy::disallowed_methods, reason = "the thread that writes does nothing else")]
    fn take(&self) -> (Vec<u8>, u64) {
        let mut waiting = self
            .changed
            .wait_while(self.waiting(), |waiting| waiting.lines.is_empty())
            .expect("nothing that holds the lines can panic");
        waiting.is_writing = true;
        (std::mem::take(&mut waiting.lines), self.dropped.get())
    }

    /// Waits until all lines are written, for `within` at most.
    #[expect(clippy::disallowed_methods, reason = "nobody is served any more")]
    pub(super) fn flush(&self, within: Duration) {
        let is_busy = |waiting: &mut Waiting| !waiting.lines.is_empty() || waiting.is_writing;
        // The process ends either way.
        let _ = self.changed.wait_timeout_while(self.waiting(), within, is_busy);
    }
}

/// Writes all lines, or returns those that could not be written.
#[expect(clippy::disallowed_methods, reason = "the thread does nothing but writing")]
fn write_all<'lines>(out: &mut impl Write, lines: &'lines [u8]) -> Result<(), &'lines [u8]> {
    let mut rest = lines;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(rest),
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares the terminal or pipe may have made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(_) => return Err(rest),
        }
    }
    Ok(())
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test may wait")]

    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// An output that accepts as many bytes as the test allows, and fails on `None`.
    struct Output {
        may: Receiver<Option<usize>>,
        seen: Sender<Vec<u8>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Ok(Some(most)) = self.may.recv() else {
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            let count = bytes.len().min(most);
            self.seen.send(bytes[..count].to_vec()).unwrap();
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue, the sender that lets its output continue, and what came out.
    fn queue() -> (&'static Queue, Sender<Option<usize>>, Receiver<Vec<u8>>) {
        let queue: &'static Queue = Box::leak(Box::new(Queue::new(Box::leak(Box::default()))));
        let ((allow, may), (seen, sees)) = (channel(), channel());
        thread::spawn(move || {
            let report = |dropped| queue.push(format!("{dropped} dropped\n").as_bytes());
            queue.write_to(&mut Output { may, seen }, report);
        });
        (queue, allow, sees)
    }

    #[test]
    fn lines_without_room_are_dropped_and_reported_later() {
        let (queue, allow, sees) = queue();
        queue.push(b"first\n");
        let begun = Instant::now();
        while !queue.waiting().is_writing {
            assert!(begun.elapsed() < LONG, "the line was not taken");
            thread::sleep(Duration::from_millis(1));
        }
        // The output is stuck from here on, and nobody waits for it.
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        (0..1024 + 7).for_each(|_| queue.push(&line));
        assert_eq!(queue.dropped.get(), 7);
        queue.flush(Duration::from_millis(1));
        allow.send(Some(3)).unwrap();
        assert_eq!(sees.recv_timeout(LONG).unwrap(), b"fir");
        allow.send(Some(MOST)).unwrap();
        assert_eq!(sees.recv_timeout(LONG).unwrap(), b"st\n");
        allow.send(Some(MOST)).unwrap();
        assert_eq!(sees.recv_timeout(LONG).unwrap(), line.repeat(1024));
        allow.send(Some(MOST)).unwrap();
        assert_eq!(sees.recv_timeout(LONG).unwrap(), b"7 dropped\n");
        queue.flush(LONG);
        assert_eq!(queue.dropped.get(), 7);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_reported_when_others_can() {
        let (queue, allow, sees) = queue();
        queue.push(b"one\ntwo\n");
        allow.send(Some(6)).unwrap();
        assert_eq!(sees.recv_timeout(LONG).unwrap(), b"one\ntw");
        allow.send(None).unwrap();
        queue.flush(LONG);
        assert_eq!(queue.dropped.get(), 1, "an unreported loss adds no further lines");
        queue.push(b"three\n");
        allow.send(Some(MOST)).unwrap();
        assert_eq!(sees.recv_timeout(LONG).unwrap(), b"three\n");
        allow.send(Some(MOST)).unwrap();
        assert_eq!(sees.recv_timeout(LONG).unwrap(), b"1 dropped\n");
    }
}
