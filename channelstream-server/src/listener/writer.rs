//! The writer: drains the listeners with something due, then lets new frames in.
//!
//! A write costs about five microseconds, nearly all of it in the kernel. So the way to be cheap
//! is to make few: between portions of listeners the writer gives way, requests that wait are
//! served meanwhile, and what they add is carried by the writes that come anyway. This works
//! where requests and writer share a thread. Giving way costs those their time who are still to
//! be written to, so portions grow as long as nothing new comes of it.
//!
//! What keeps frames from being lost or doubled is in the outbox. The writer adds: an outbox with
//! something due is on the list once, and comes to it again when its socket takes more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::listener::outbox::{Outbox, Written};

/// Listeners written to before the writer gives way, while new frames keep coming,
const LEAST: usize = 24;

/// and the most of them. Each portion that nothing new follows doubles the next.
const MOST: usize = 256;

/// How often it gives way then: a request needs the IO driver and some turns of its own task
/// before its frames are there.
const TURNS: usize = 4;

/// How long a peer may take to close a line after the server's close frame.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(5);

/// Writes to the listeners with something due.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    due: Mutex<Due>,
    wake: Notify,
}

/// The list of listeners with something due.
#[derive(Debug, Default)]
struct Due {
    outboxes: VecDeque<Arc<Outbox>>,
    /// Whether any came since the last portion.
    grew: bool,
}

impl Writer {
    fn due(&self) -> std::sync::MutexGuard<'_, Due> {
        self.due.lock().expect("nothing that holds the list can panic")
    }

    /// Puts a listener on the list. It must not be on it already, which its outbox knows.
    pub(crate) fn add(&self, outbox: Arc<Outbox>) {
        let mut due = self.due();
        if due.outboxes.is_empty() {
            self.wake.notify_one();
        }
        due.outboxes.push_back(outbox);
        due.grew = true;
    }

    /// Writes for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut portion = Vec::with_capacity(MOST);
        let mut size = LEAST;
        loop {
            {
                let mut due = self.due();
                let grew = std::mem::take(&mut due.grew);
                size = if grew { LEAST } else { MOST.min(size * 2) };
                let count = due.outboxes.len().min(size);
                portion.extend(due.outboxes.drain(..count));
            }
            if portion.is_empty() {
                self.wake.notified().await;
                continue;
            }
            for outbox in portion.drain(..) {
                self.write(&outbox);
            }
            for _ in 0..TURNS {
                yield_now().await;
            }
        }
    }

    fn write(self: &Arc<Self>, outbox: &Arc<Outbox>) {
        if outbox.write() == Written::Blocked {
            let (writer, outbox) = (Arc::clone(self), Arc::clone(outbox));
            tokio::spawn(async move {
                if outbox.unblocked().await {
                    writer.add(outbox);
                }
            });
        }
        if outbox.begins_to_close() {
            let outbox = Arc::clone(outbox);
            tokio::spawn(async move {
                tokio::time::sleep(CLOSING_TIMEOUT).await;
                outbox.cut();
            });
        }
    }
}
