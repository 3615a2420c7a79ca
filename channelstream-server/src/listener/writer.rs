//! The writer: writes to the listeners that have something due, then lets new events in.
//!
//! A write costs about five microseconds, nearly all of it in the kernel, so being cheap means making
//! few writes. Between portions of listeners the writer yields: waiting requests are served meanwhile,
//! and the events they add leave with the writes that come anyway. This works where requests and the
//! writer share a thread. Yielding delays the listeners that are still to be written to, so portions
//! grow as long as nothing new comes of it. Behind a few listeners alone it would only delay the next
//! request, whose sender may wait for this processor.
//!
//! The outbox keeps events from being lost or doubled. The writer only ensures that an outbox is
//! written to once for each time it is scheduled, and again when its socket takes more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::yield_now;

use super::outbox::{Left, Outbox};
use crate::metrics::Metrics;
use crate::metrics::delivery::Written;

/// The number of listeners in a portion while new events keep coming.
const MIN_PORTION: usize = 24;

/// The largest number of listeners in a portion. Each portion that nothing new follows doubles the
/// next.
const MAX_PORTION: usize = 256;

/// How often the writer yields between portions: a request needs the IO driver and some turns of its
/// own task before its events are there.
const YIELDS: usize = 4;

/// How long a peer may take to close the connection after the server's close frame.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(5);

/// Writes to the listeners with something due.
#[derive(Debug)]
pub(crate) struct Writer {
    due: Mutex<Due>,
    wake: Notify,
    /// Listeners that read on. Each is there at most once.
    asking: mpsc::UnboundedSender<Arc<Outbox>>,
    metrics: Arc<Metrics>,
}

/// The list of listeners with something due.
#[derive(Debug, Default)]
struct Due {
    outboxes: VecDeque<Arc<Outbox>>,
    /// Whether any came since the last portion.
    grew: bool,
}

impl Writer {
    /// Creates a writer for listeners that ask for portions through `asking`.
    pub(super) fn new(asking: mpsc::UnboundedSender<Arc<Outbox>>, metrics: Arc<Metrics>) -> Self {
        Self { due: Mutex::default(), wake: Notify::new(), asking, metrics }
    }

    /// Counts the events that were written, with the time until now.
    pub(super) fn count(&self, written: &mut Written) {
        self.metrics.delivery.count(written);
    }

    /// Asks for the next portion of a listener. Its outbox makes sure that it asks only once.
    pub(super) fn ask(&self, outbox: Arc<Outbox>) {
        // At the server's end nobody answers any more.
        let _ = self.asking.send(outbox);
    }

    fn due(&self) -> std::sync::MutexGuard<'_, Due> {
        self.due.lock().expect("nothing that holds the list can panic")
    }

    /// Puts a listener on the list. Its outbox makes sure that it is there only once.
    pub(super) fn add(&self, outbox: Arc<Outbox>) {
        let mut due = self.due();
        if due.outboxes.is_empty() {
            self.wake.notify_one();
        }
        due.outboxes.push_back(outbox);
        due.grew = true;
    }

    /// Writes forever.
    pub(super) async fn run(self: Arc<Self>) {
        let mut portion = Vec::with_capacity(MAX_PORTION);
        let mut size = MIN_PORTION;
        let mut written = Written::default();
        loop {
            {
                let mut due = self.due();
                let grew = std::mem::take(&mut due.grew);
                size = if grew { MIN_PORTION } else { MAX_PORTION.min(size * 2) };
                let count = due.outboxes.len().min(size);
                portion.extend(due.outboxes.drain(..count));
            }
            if portion.is_empty() {
                self.wake.notified().await;
                continue;
            }
            let has_many = portion.len() >= MIN_PORTION;
            for outbox in portion.drain(..) {
                write(outbox, &mut written);
                if written.end_write() {
                    self.count(&mut written);
                }
            }
            self.count(&mut written);
            if has_many {
                for _ in 0..YIELDS {
                    yield_now().await;
                }
            }
        }
    }
}

fn write(outbox: Arc<Outbox>, written: &mut Written) {
    let Left { is_blocked, begins_to_close } = outbox.write(written);
    if is_blocked {
        tokio::spawn(Arc::clone(&outbox).unblocked());
    }
    if begins_to_close {
        tokio::spawn(async move {
            tokio::time::sleep(CLOSING_TIMEOUT).await;
            outbox.cut();
        });
    }
}
