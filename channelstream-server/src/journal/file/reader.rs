//! The reader: gives out what was written, and writes itself while that does not wait for the disk.

use std::future::poll_fn;
use std::sync::Weak;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::super::Given;
use super::pen::{BATCH, Passed, Shared};

/// The size from which on the writer writes: it takes more than a moment.
const MUCH: usize = 1 << 16;

/// The time after which a write has waited for the disk.
pub(super) const LONG: Duration = Duration::from_millis(20);

/// The end of a journal in files that gives out.
#[derive(Debug)]
pub(crate) struct Reader {
    /// It is gone once the writer has ended.
    shared: Weak<Shared>,
    passed: mpsc::Receiver<Passed>,
    pub(super) has_turn: bool,
}

impl Reader {
    pub(super) fn new(
        shared: Weak<Shared>,
        passed: mpsc::Receiver<Passed>,
        has_turn: bool,
    ) -> Self {
        Self { shared, passed, has_turn }
    }

    /// Waits for what was written, and appends up to `most` of it to `batch`. Returns how much, which is 0
    /// if the journal is closed.
    pub(crate) async fn next(&mut self, batch: &mut Vec<Given>, most: usize) -> usize {
        poll_fn(|cx| self.poll_next(cx, batch, most)).await
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Given>,
        most: usize,
    ) -> Poll<usize> {
        while let Poll::Ready(passed) = self.passed.poll_recv(cx) {
            match passed {
                None => return Poll::Ready(0),
                Some(Passed::Turn) => self.has_turn = true,
                Some(Passed::Given(given)) => {
                    batch.push(given);
                    return Poll::Ready(1 + self.take_passed(batch, most));
                }
            }
        }
        if self.has_turn { self.poll_write(cx, batch, most) } else { Poll::Pending }
    }

    /// Takes what was passed beside a first one. Returns how much.
    fn take_passed(&mut self, batch: &mut Vec<Given>, most: usize) -> usize {
        let mut count = 0;
        while count + 1 < most
            && let Ok(passed) = self.passed.try_recv()
        {
            match passed {
                Passed::Turn => self.has_turn = true,
                Passed::Given(given) => {
                    batch.push(given);
                    count += 1;
                }
            }
        }
        count
    }

    /// Writes what waits, and gives it out. Passes on the turn instead if that may wait for the disk.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Given>,
        most: usize,
    ) -> Poll<usize> {
        // Without it, what was passed has come to its end.
        let Some(shared) = self.shared.upgrade() else { return Poll::Pending };
        let Some(mut pen) = shared.try_pen() else {
            self.pass(&shared);
            return Poll::Pending;
        };
        let may_write = pen.may_be_lent()
            && ready!(pen.poll_take(cx, most.min(BATCH)))
            && pen.size() < MUCH
            && !pen.log.is_full();
        if !may_write {
            self.pass(&shared);
            return Poll::Pending;
        }
        let (begun, was_behind) = (Instant::now(), pen.log.is_behind());
        if let Err(fault) = pen.write() {
            pen.fail(fault);
            self.pass(&shared);
            return Poll::Pending;
        }
        let time = begun.elapsed();
        let given = pen.give();
        let count = given.len();
        batch.extend(given);
        if time >= LONG {
            pen.was_slow(time);
        }
        if !pen.may_be_lent() {
            self.pass(&shared);
        } else if pen.has_news(was_behind) {
            shared.call();
        }
        Poll::Ready(count)
    }

    fn pass(&mut self, shared: &Shared) {
        self.has_turn = false;
        shared.pass();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The writer finds out that nobody reads.
        if let Some(shared) = self.shared.upgrade() {
            shared.pass();
        }
    }
}
