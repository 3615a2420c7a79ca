//! A run: events with consecutive numbers that go to the same listeners, and travel as one.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use channelstream_core::protocol::Cursor;
use channelstream_core::state::{Delivery, Sequence};

use crate::metrics::delivery::Accepted;
use crate::wire::Encoding;

/// The events of a run. Each encoding of them is made once, for the first listener that has it; all
/// others share the bytes.
#[derive(Debug)]
pub(super) struct Run {
    first: Cursor,
    is_catchup: bool,
    /// When the request was accepted, if the time of delivery is measured.
    accepted: Option<Accepted>,
    /// The events as JSON.
    events: Vec<String>,
    /// By the number of the encoding.
    encoded: [OnceLock<Bytes>; Encoding::ALL.len()],
}

impl Run {
    /// Creates the run of these events, given as JSON; `first` is the cursor of the first.
    pub(super) fn new(first: Cursor, is_catchup: bool, events: Vec<String>) -> Self {
        Self { first, is_catchup, accepted: None, events, encoded: Default::default() }
    }

    /// Lets the time of its delivery be measured, unless it is catch-up.
    pub(super) fn since(self, accepted: Option<Accepted>) -> Self {
        Self { accepted: accepted.filter(|_| !self.is_catchup), ..self }
    }

    pub(super) fn accepted(&self) -> Option<Accepted> {
        self.accepted
    }

    pub(super) fn sequences(&self) -> Range<Sequence> {
        let first = self.first.sequence;
        first..first + self.events.len() as Sequence
    }

    pub(super) fn is_catchup(&self) -> bool {
        self.is_catchup
    }

    #[expect(
        clippy::redundant_clone,
        reason = "a clone of a clone is cheaper, and listeners make many"
    )]
    pub(super) fn encoded(&self, encoding: Encoding) -> &Bytes {
        let encode = || encoding.events(self.first, &self.events).clone();
        self.encoded[encoding as usize].get_or_init(encode)
    }
}

/// Returns `true` if two deliveries can travel as one: events with consecutive numbers for the same
/// listeners, as the messages of one request are.
pub(super) fn continues(one: &Delivery, next: &Delivery) -> bool {
    match (one, next) {
        (
            Delivery::Event { to: these, sequence: one, catchup: was, .. },
            Delivery::Event { to: those, sequence: next, catchup: is, .. },
        ) => *next == one + 1 && was == is && these == those,
        _ => false,
    }
}

/// Returns the JSON of a delivery, unless it is no event.
pub(super) fn json(delivery: &Delivery) -> Option<String> {
    match delivery {
        Delivery::Event { event, catchup, .. } => Some(event.encode(*catchup)),
        Delivery::End { .. } | Delivery::TakesOver { .. } => None,
    }
}
