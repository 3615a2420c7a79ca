//! The spans of writing: from when a command was appended until its events are written to all listeners of
//! this node.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use channelstream_core::state::Delivery;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanKind};
use opentelemetry_sdk::trace::Span;

use super::traced::Applying;
use crate::clock::{TimeOfDay, time_of_day};
use crate::metrics::delivery::Accepted;

/// How many spans may be open. Further publishes have none.
const MOST: usize = 1024;

/// How long a span waits for listeners that do not read.
const LONGEST: Duration = Duration::from_secs(10);

/// The publishes of sampled requests that are being written, by when they were accepted.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// How many there are, so that the lock is not taken while there are none.
    count: AtomicUsize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    writes: HashMap<Accepted, Write>,
    /// In the order in which they began, also those that are done.
    order: VecDeque<(Instant, Accepted)>,
}

/// One publish that is being written. Its span ends when this is dropped, with the last write.
#[derive(Debug)]
struct Write {
    span: Span,
    /// Events that are to be written, one for each listener.
    events: u64,
    written: u64,
    last: TimeOfDay,
}

impl Writes {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("nothing that holds the map can panic")
    }

    /// Begins the span of writing what comes of a command. Called before any of it can be written.
    pub(crate) fn begin(&self, applying: &Applying, accepted: Accepted, deliveries: &[Delivery]) {
        let listeners = deliveries.iter().map(|delivery| match delivery {
            Delivery::Event { to, .. } => to.len() as u64,
            _ => 0,
        });
        let events: u64 = listeners.sum();
        let now = Instant::now();
        let mut open = self.open();
        while let Some((begun, oldest)) = open.order.front().copied()
            && (now.duration_since(begun) > LONGEST || !open.writes.contains_key(&oldest))
        {
            open.order.pop_front();
            open.writes.remove(&oldest);
        }
        // Two publishes of the same microsecond cannot be told apart.
        if events > 0
            && open.order.len() < MOST
            && !open.writes.contains_key(&accepted)
            && let Some(span) =
                applying.parent.child("write", SpanKind::Producer, applying.appended)
        {
            let write = Write { span, events, written: 0, last: time_of_day() };
            open.writes.insert(accepted, write);
            open.order.push_back((now, accepted));
        }
        self.count.store(open.writes.len(), Ordering::Release);
    }

    /// Notes that events were written. Ends the span with the last.
    pub(crate) fn written(&self, accepted: Accepted, events: u64) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut open = self.open();
        let Some(write) = open.writes.get_mut(&accepted) else { return };
        write.written += events;
        write.last = time_of_day();
        if write.written >= write.events {
            open.writes.remove(&accepted);
            self.count.store(open.writes.len(), Ordering::Release);
        }
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.span.set_attributes([
            KeyValue::new("messaging.system", "channelstream"),
            KeyValue::new("messaging.operation.name", "write"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.batch.message_count", count(self.written)),
            KeyValue::new("channelstream.events", count(self.events)),
        ]);
        self.span.end_with_timestamp(self.last);
    }
}
