//! The queue of one outbox: what waits, what is held back, what was given up. Its lock is the outbox's.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use channelstream_core::state::Sequence;

use super::reader::Reader;
use crate::metrics::delivery::{Accepted, Written};
use crate::wire::{Encoding, Ending};

/// A number of events and of bytes: what waits, or how much may wait.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

impl Bounds {
    fn add(&mut self, more: Self) {
        self.frames += more.frames;
        self.bytes += more.bytes;
    }

    fn remove(&mut self, less: Self) {
        self.frames -= less.frames;
        self.bytes -= less.bytes;
    }
}

/// The bounds of all outboxes, as they are set now.
#[derive(Debug)]
pub(crate) struct SetBounds {
    frames: AtomicUsize,
    bytes: AtomicUsize,
}

impl SetBounds {
    pub(crate) fn new(Bounds { frames, bytes }: Bounds) -> Self {
        Self { frames: AtomicUsize::new(frames), bytes: AtomicUsize::new(bytes) }
    }

    pub(crate) fn get(&self) -> Bounds {
        let (frames, bytes) = (&self.frames, &self.bytes);
        Bounds { frames: frames.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed) }
    }

    pub(crate) fn set(&self, Bounds { frames, bytes }: Bounds) {
        self.frames.store(frames, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) items: VecDeque<Item>,
    /// Events that are not to be written here: they came after the end, or the peer has closed. A
    /// newer listener takes them over.
    pub(super) held: VecDeque<Item>,
    /// The size of `items` and `held`.
    pub(super) waiting: Bounds,
    /// How many bytes of the first item the socket has taken. Unless this is 0, that item is a single
    /// event.
    pub(super) written: usize,
    /// Events that were given up without being sent.
    pub(super) dropped: Vec<Range<Sequence>>,
    /// How much may wait beyond the bounds, until the queue is empty.
    pub(super) spared: Bounds,
    /// The newest number before the first event that did not fit, if there was one.
    pub(super) overflowed: Option<Sequence>,
    /// Whether the state waits for what an older listener was sent, and sends nothing until then.
    pub(super) waits: bool,
    /// Why nothing more is sent than what is queued.
    pub(super) end: Option<Ending>,
    /// Whether nothing more is written: all is out that should be, or the connection is broken.
    pub(super) finished: bool,
    /// The reading of a listener that holds a cursor.
    pub(super) reader: Option<Box<Reader>>,
    /// Whether the writer has the outbox on its list.
    pub(super) scheduled: bool,
}

/// An event, or several consecutive ones that came together and leave together.
#[derive(Debug)]
pub(super) struct Item {
    /// The numbers of the events; empty for control frames and heartbeats.
    pub(super) sequences: Range<Sequence>,
    pub(super) bytes: Bytes,
    /// When the events were accepted, if the time of delivery is measured.
    pub(super) accepted: Option<Accepted>,
}

impl Item {
    /// Creates the item of a control frame or a heartbeat.
    pub(super) fn control(bytes: Bytes) -> Self {
        Self { sequences: 0..0, bytes, accepted: None }
    }

    pub(super) fn is_event(&self) -> bool {
        !self.sequences.is_empty()
    }

    fn size(&self) -> Bounds {
        let events = self.sequences.clone().count();
        Bounds { frames: events.max(1), bytes: self.bytes.len() }
    }

    /// Splits off the first event, if there is more than one.
    fn split_first(&mut self, encoding: Encoding) -> Option<Self> {
        let Range { start, end } = self.sequences;
        if end - start < 2 {
            return None;
        }
        let bytes = self.bytes.split_to(encoding.first(&self.bytes));
        self.sequences.start += 1;
        Some(Self { sequences: start..start + 1, bytes, accepted: self.accepted })
    }

    /// Notes that it was written.
    fn count(&self, encoding: Encoding, written: &mut Written) {
        if let Some(accepted) = self.accepted {
            let events = self.sequences.end - self.sequences.start;
            written.add(accepted, encoding.transport(), events);
        }
    }
}

impl Queue {
    /// Raises the bounds by the size of an item of catch-up. A client that was closed for being slow has
    /// missed more than the bounds, and must be able to come back. Catch-up is bounded by the number
    /// of stored events. It also does not come in the order of numbers, so that no number could tell
    /// where it was cut off.
    pub(super) fn spare(&mut self, item: &Item) {
        self.spared.add(item.size());
    }

    /// Returns `true` if an item fits into the bounds. An empty queue has place for any item: otherwise
    /// its listener could never receive it.
    pub(super) fn has_place(&self, item: &Item, bounds: Bounds) -> bool {
        let size = item.size();
        let is_empty = self.items.is_empty() && self.held.is_empty();
        is_empty
            || (self.waiting.frames + size.frames <= bounds.frames + self.spared.frames
                && self.waiting.bytes + size.bytes <= bounds.bytes + self.spared.bytes)
    }

    /// Puts an item behind everything that waits.
    pub(super) fn put(&mut self, item: Item) {
        self.waiting.add(item.size());
        self.items.push_back(item);
    }

    /// Returns the number up to which everything has left, or `None` if that is all there was. Catch-up does
    /// not come in the order of numbers.
    pub(super) fn sent_whole(&self) -> Option<Sequence> {
        let waiting = self.items.iter().chain(&self.held).map(|item| &item.sequences);
        let kept = waiting.chain(&self.dropped).filter(|numbers| !numbers.is_empty());
        let first = kept.map(|numbers| numbers.start.saturating_sub(1)).min();
        [first, self.overflowed, self.behind_since()].into_iter().flatten().min()
    }

    /// Keeps an item for a newer listener: nobody reads it here.
    pub(super) fn put_held(&mut self, item: Item) {
        self.waiting.add(item.size());
        self.held.push_back(item);
    }

    /// Returns the index for an urgent control frame: an event that is partly sent is finished first.
    pub(super) fn front(&self) -> usize {
        usize::from(self.written > 0)
    }

    /// Puts a control frame before everything that waits.
    pub(super) fn put_first(&mut self, bytes: Bytes) {
        let item = Item::control(bytes);
        self.waiting.add(item.size());
        self.items.insert(self.front(), item);
    }

    /// Puts a pong before everything that waits, in the place of one that waits already.
    pub(super) fn put_pong(&mut self, bytes: Bytes, encoding: Encoding) {
        let front = self.front();
        match self.items.get_mut(front).filter(|item| encoding.is_pong(&item.bytes)) {
            Some(older) => {
                self.waiting.remove(older.size());
                older.bytes = bytes;
                self.waiting.add(older.size());
            }
            None => self.put_first(bytes),
        }
    }

    /// Drops the events that wait, except the rest of one that is partly sent.
    pub(super) fn give_up(&mut self) {
        self.hold();
        let held = mem::take(&mut self.held);
        self.dropped.extend(held.into_iter().map(|item| item.sequences));
        self.recount();
    }

    /// Holds the events that wait back, except the rest of one that is partly sent.
    pub(super) fn hold(&mut self) {
        let behind = self.items.split_off(self.front());
        let (mut events, rest): (VecDeque<_>, VecDeque<_>) =
            behind.into_iter().partition(Item::is_event);
        self.items.extend(rest);
        events.append(&mut self.held);
        self.held = events;
    }

    /// Takes back an event that is partly sent, so that it is sent whole elsewhere. The connection
    /// breaks off in the middle of it. A peer that has closed is owed a close frame, and the rest
    /// before it; it ignores whatever comes after its own close.
    pub(super) fn take_back(&mut self) {
        let Some(partial) = self.items.front_mut().filter(|_| self.written > 0) else { return };
        if !partial.is_event() {
            return;
        }
        let sequences = mem::take(&mut partial.sequences);
        let (bytes, accepted) = (partial.bytes.clone(), partial.accepted.take());
        if !matches!(self.end, Some(Ending::Ended | Ending::Closed)) {
            self.items = VecDeque::new();
            self.written = 0;
            self.end.get_or_insert(Ending::Superseded);
        }
        self.held.push_front(Item { sequences, bytes, accepted });
        self.recount();
    }

    /// Counts again what waits.
    pub(super) fn recount(&mut self) {
        self.waiting = Bounds::default();
        self.items.iter().chain(&self.held).for_each(|item| self.waiting.add(item.size()));
    }

    /// Puts the closing bytes behind everything that waits. Returns `false` if the queue was at its end
    /// already.
    pub(super) fn end(&mut self, ending: Ending, encoding: Encoding) -> bool {
        self.end_with(ending, encoding.close(ending))
    }

    /// The same with other closing bytes than those of the ending.
    pub(super) fn end_with(&mut self, ending: Ending, close: Option<Bytes>) -> bool {
        if self.end.is_some() {
            return false;
        }
        self.end = Some(ending);
        if let Some(close) = close.filter(|_| !self.finished) {
            self.put(Item::control(close));
        }
        true
    }

    /// Takes out everything that waits.
    pub(super) fn take(&mut self, encoding: Encoding, written: &mut Written) -> Vec<Bytes> {
        let items = mem::take(&mut self.items);
        self.recount();
        items.iter().for_each(|item| item.count(encoding, written));
        items.into_iter().map(|item| item.bytes).collect()
    }

    /// Takes out one item, and more as long as all are no larger than `most` bytes together.
    pub(super) fn take_portion(
        &mut self,
        most: usize,
        encoding: Encoding,
        written: &mut Written,
    ) -> Vec<Bytes> {
        let mut portion = Vec::new();
        let mut left = most;
        while let Some(item) = self.items.front() {
            let length = item.bytes.len();
            if length > left && !portion.is_empty() {
                break;
            }
            left = left.saturating_sub(length);
            item.count(encoding, written);
            let size = item.size();
            self.waiting.remove(size);
            portion.extend(self.items.pop_front().map(|item| item.bytes));
        }
        self.shrink();
        portion
    }

    /// Gives back what only a queue with something in it needs.
    fn shrink(&mut self) {
        if !self.items.is_empty() {
            return;
        }
        self.spared = Bounds::default();
        // A burst is over: its memory is given back.
        if self.items.capacity() > 16 {
            self.items = VecDeque::new();
        }
    }

    /// Removes what the socket has taken: `taken` more bytes.
    pub(super) fn advance(&mut self, taken: usize, encoding: Encoding, written: &mut Written) {
        let mut taken = self.written + taken;
        while let Some(item) = self.items.front_mut() {
            if taken < item.bytes.len() {
                // The events of the item that are out are split from the one that is partly out.
                let Some(first) = (taken > 0).then(|| item.split_first(encoding)).flatten() else {
                    break;
                };
                self.items.push_front(first);
                continue;
            }
            taken -= item.bytes.len();
            item.count(encoding, written);
            let size = item.size();
            self.waiting.remove(size);
            self.items.pop_front();
        }
        self.written = taken;
        self.shrink();
    }
}
