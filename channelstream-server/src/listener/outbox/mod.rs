//! Outbox: the bounded queue of websocket frames to one listener, and how they reach it.
//!
//! The invariant: each event frame that was pushed is in one place. It has gone to the socket
//! whole, or waits in `items` or `held`, or is named in `dropped`, or came after `overflowed`; a
//! frame that is out in part waits still. One lock guards them all, so [`Outbox::sent`] tells
//! exactly which frames are out, and lets none out from then on; the state stores the rest for the
//! return. Only the handing over to a newer listener moves frames, under the same lock; what was
//! out in part is sent whole there, and the older line breaks off in the middle of it. Hence no
//! frame is lost and none comes twice.

mod ending;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::state::{ListenerId, Sent, Sequence};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::tcp;
use crate::wire::websocket::{HEARTBEAT, PING, first_frame, is_pong};

pub(crate) use ending::Ending;

/// How long the system may go on with what it took for a peer whose line was cut: those frames count
/// as sent.
const REST: Duration = Duration::from_secs(30);

/// How much may wait for one listener.
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
}

/// The way out to one listener. Whatever is pushed leaves in order, or stays to be named as
/// unsent when the listener closes.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) id: ListenerId,
    way: Way,
    queue: Mutex<Queue>,
    /// Whether the socket is full, and somebody waits for it to take more.
    blocked: AtomicBool,
    /// Whether the time runs in which the peer has to let go.
    closing: AtomicBool,
    /// Heartbeats since the peer was last heard of.
    silent: AtomicU32,
    /// Heartbeats since the socket last took anything of what waits.
    stalled: AtomicU32,
}

/// How long a peer is believed to be there that says nothing, or takes nothing of what waits for it,
/// in heartbeats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// After so many it is asked by a ping,
    pub(crate) asked_after: u32,
    /// and after so many more given up.
    pub(crate) given_up_after: u32,
}

/// Where frames leave.
#[derive(Debug)]
pub(crate) enum Way {
    /// Written to a socket by the writer.
    Socket(TcpStream),
    /// Taken by a poll, which is woken.
    Poll(Notify),
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Frames that are not to be written here: they came behind the end, or the peer has closed.
    /// A newer listener takes them over.
    held: VecDeque<Item>,
    /// What is in `items` and `held`.
    waiting: Bounds,
    /// How many bytes of the first item the socket has taken; then that is a single frame.
    written: usize,
    /// Frames that were given up without being sent.
    dropped: Vec<Range<Sequence>>,
    /// What may wait beyond the bounds, until all is out.
    spared: Bounds,
    /// Set when a frame found no place: the newest number before it.
    overflowed: Option<Sequence>,
    /// Why nothing more is to be sent but what is queued.
    end: Option<Ending>,
    /// Nothing more is written: all is out that should be, or the line is broken.
    finished: bool,
    /// Whether the writer has the outbox on its list.
    due: bool,
}

/// A frame, or several in a row that came together and leave together.
#[derive(Debug)]
struct Item {
    /// Numbers of the event frames; empty for control frames and heartbeats.
    sequences: Range<Sequence>,
    bytes: Bytes,
}

impl Item {
    /// A control frame or a heartbeat.
    fn control(bytes: Bytes) -> Self {
        Self { sequences: 0..0, bytes }
    }

    fn is_event(&self) -> bool {
        !self.sequences.is_empty()
    }

    fn size(&self) -> Bounds {
        let events = self.sequences.clone().count();
        Bounds { frames: events.max(1), bytes: self.bytes.len() }
    }

    /// Takes off the first frame, where there are more.
    fn split_first(&mut self) -> Option<Self> {
        let Range { start, end } = self.sequences;
        if end - start < 2 {
            return None;
        }
        let bytes = self.bytes.split_to(first_frame(&self.bytes));
        self.sequences.start += 1;
        Some(Self { sequences: start..start + 1, bytes })
    }
}

/// For which of two outboxes the writer has to come.
#[derive(Debug)]
pub(crate) struct HandedOver {
    pub(crate) older: bool,
    pub(crate) newer: bool,
}

/// What is left to do after a round of writing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Nothing.
    All,
    /// The socket takes no more for now: come again when it does.
    Blocked,
}

impl Outbox {
    pub(crate) fn new(id: ListenerId, way: Way) -> Self {
        Self {
            id,
            way,
            queue: Mutex::default(),
            blocked: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            silent: AtomicU32::new(0),
            stalled: AtomicU32::new(0),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing that holds an outbox can panic")
    }

    /// How much waits.
    pub(crate) fn waiting(&self) -> Bounds {
        self.queue().waiting
    }

    /// The socket, where it is one.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match &self.way {
            Way::Socket(stream) => Some(stream),
            Way::Poll(_) => None,
        }
    }

    /// Queues the event frames with these numbers. Where there is no place for them, the listener
    /// is at its end: what waits is given up, and it will be told in [`Outbox::sent`] that they
    /// were not sent. So will what comes behind the end: nobody reads beyond a close frame.
    ///
    /// Tells whether the writer has to come.
    pub(crate) fn push(
        &self,
        sequences: Range<Sequence>,
        bytes: &Bytes,
        catchup: bool,
        bounds: Bounds,
    ) -> bool {
        let mut queue = self.queue();
        if queue.overflowed.is_some() {
            return false;
        }
        let item = Item { sequences, bytes: bytes.clone() };
        let size = item.size();
        // Who was closed for being slow has missed more than the bounds and must be able to come
        // back: what is caught up on is bounded by how many frames are stored. It also does not
        // come in the order of numbers, so that no number could tell where it was cut off.
        if catchup {
            queue.spared.add(size);
        }
        // One item has a place always: else its listener could never get it.
        let is_empty = queue.items.is_empty() && queue.held.is_empty();
        let full = !is_empty
            && (queue.waiting.frames + size.frames > bounds.frames + queue.spared.frames
                || queue.waiting.bytes + size.bytes > bounds.bytes + queue.spared.bytes);
        if full {
            queue.overflowed = Some(item.sequences.start - 1);
            // A poll is answered with what it has; who does not read is not worth the memory.
            if self.socket().is_some() {
                queue.give_up();
            }
            queue.end(Ending::Slow);
        } else if queue.end.is_some() {
            queue.waiting.add(size);
            queue.held.push_back(item);
            return false;
        } else {
            queue.put(item);
        }
        self.call(queue)
    }

    /// Sends a pong before everything that waits, in the place of one that waits already.
    pub(crate) fn pong(&self, bytes: Bytes) -> bool {
        let mut queue = self.queue();
        if queue.finished || queue.end.is_some() {
            return false;
        }
        // Not by the writer: its list is for events, and must not grow with what peers send.
        if queue.items.is_empty() {
            return self.send_alone(queue, bytes);
        }
        let place = queue.front();
        if queue.items.get(place).is_some_and(|item| is_pong(&item.bytes)) {
            queue.waiting.bytes += bytes.len();
            let older = mem::replace(&mut queue.items[place].bytes, bytes);
            queue.waiting.bytes -= older.len();
        } else {
            queue.put_first(bytes);
        }
        self.call(queue)
    }

    /// Notes that the peer is there.
    pub(crate) fn heard(&self) {
        self.silent.store(0, Ordering::Relaxed);
    }

    /// Sends a control frame or a heartbeat at once, while nothing else waits. What the socket does
    /// not take of it waits.
    fn send_alone(&self, mut queue: MutexGuard<'_, Queue>, frame: Bytes) -> bool {
        let Way::Socket(stream) = &self.way else { return false };
        match stream.try_write(&frame) {
            Ok(count) if count == frame.len() => return false,
            Ok(count) => queue.written = count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false, // who reads the socket will see what is wrong with it
        }
        queue.put(Item::control(frame));
        self.call(queue)
    }

    /// Sends a heartbeat, unless something waits: that shows life as well, once it is out. A peer
    /// that was silent for long is also asked whether it is there, or given up; so is one that speaks
    /// and does not read.
    pub(crate) fn beat(&self, patience: Patience) -> bool {
        let longest = patience.asked_after + patience.given_up_after;
        let silent = self.silent.fetch_add(1, Ordering::Relaxed) + 1;
        if silent >= longest {
            return self.end(Ending::Silent);
        }
        if self.blocked.load(Ordering::Acquire)
            && self.stalled.fetch_add(1, Ordering::Relaxed) + 1 >= longest
        {
            return self.end(Ending::Stalled);
        }
        let mut queue = self.queue();
        if queue.end.is_some() || queue.finished {
            return false;
        }
        if silent == patience.asked_after {
            if queue.items.is_empty() {
                queue.put(Item::control(HEARTBEAT.clone()));
            }
            queue.put_first(PING.clone());
            return self.call(queue);
        }
        if !queue.items.is_empty() {
            return false;
        }
        self.send_alone(queue, HEARTBEAT.clone())
    }

    /// Nothing more comes; what is queued is still sent, and then a close frame.
    pub(crate) fn end(&self, ending: Ending) -> bool {
        let mut queue = self.queue();
        queue.end(ending) && self.call(queue)
    }

    /// The peer has closed or broken the protocol: what waits is held back, `frame` is the last.
    pub(crate) fn close(&self, frame: Bytes) -> bool {
        let mut queue = self.queue();
        if queue.finished {
            return false;
        }
        queue.hold();
        if queue.end.is_none() {
            queue.end = Some(Ending::Ended);
            queue.put(Item::control(frame));
        }
        self.call(queue)
    }

    /// Whether the server wants an end.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.queue().end
    }

    /// Gives all that `self` has not sent to the newer listener, to be sent before all else.
    pub(crate) fn hand_over(&self, newer: &Self) -> HandedOver {
        let mut old = self.queue();
        old.hold();
        old.take_back();
        let mut items = mem::take(&mut old.held);
        old.weigh();
        let (dropped, overflowed) = (mem::take(&mut old.dropped), old.overflowed.take());
        old.end(Ending::Superseded);
        let older = self.call(old);

        let mut new = newer.queue();
        items.append(&mut new.items);
        new.items = items;
        new.weigh();
        // What is handed over has had its place.
        new.spared = new.waiting;
        if overflowed.is_some() {
            new.dropped = dropped;
            new.overflowed = overflowed;
            new.give_up();
        }
        HandedOver { older, newer: newer.call(new) }
    }

    /// What was sent to the older listener, if that was at its end for being slow: then this one was
    /// handed nothing over, and takes nothing until it [goes on](Self::go_on).
    pub(crate) fn left_behind(&self) -> Option<Sent> {
        let queue = self.queue();
        let up_to = queue.overflowed.filter(|_| queue.end.is_none())?;
        Some(Sent { up_to, but: queue.dropped.iter().cloned().flatten().collect() })
    }

    /// What the older listener had not been sent is known, and comes anew.
    pub(crate) fn go_on(&self) {
        let mut queue = self.queue();
        if queue.end.is_none() {
            queue.overflowed = None;
            queue.dropped = Vec::new();
        }
    }

    /// What of the frames up to `latest` was really sent. So that this stays true, no frame begins
    /// to leave from now on.
    pub(crate) fn sent(&self, latest: Sequence) -> Sent {
        let mut queue = self.queue();
        queue.hold();
        queue.take_back();
        queue.end.get_or_insert(Ending::Ended);
        let waiting = queue.held.iter().map(|item| &item.sequences);
        let but = queue.dropped.iter().chain(waiting).cloned().flatten().collect();
        Sent { up_to: queue.overflowed.unwrap_or(latest), but }
    }

    /// Takes out everything that waits, for a poll.
    pub(crate) fn take(&self) -> Vec<Bytes> {
        let mut queue = self.queue();
        let items = mem::take(&mut queue.items);
        queue.weigh();
        items.into_iter().filter(Item::is_event).map(|item| item.bytes).collect()
    }

    /// Whether no event waits.
    pub(crate) fn is_empty(&self) -> bool {
        !self.queue().items.iter().any(Item::is_event)
    }

    /// Waits until something was pushed or the end came, since the last wait.
    pub(crate) async fn changed(&self) {
        if let Way::Poll(notify) = &self.way {
            notify.notified().await;
        }
    }

    /// Notes that something is due; whether the writer has to be told.
    fn call(&self, mut queue: MutexGuard<'_, Queue>) -> bool {
        match &self.way {
            Way::Poll(notify) => {
                drop(queue);
                notify.notify_one();
                false
            }
            Way::Socket(_) => !mem::replace(&mut queue.due, true),
        }
    }

    /// Writes what is due, as much as the socket takes. Each write carries all that fits. The first
    /// time a socket is found full, `Blocked` asks the caller to wait for it.
    pub(crate) fn write(&self) -> Written {
        /// Slices in one system call; more would not make it cheaper.
        const SLICES: usize = 64;
        let Way::Socket(stream) = &self.way else { return Written::All };
        let mut queue = self.queue();
        queue.due = false;
        if self.blocked.load(Ordering::Acquire) {
            return Written::All; // somebody waits for it already
        }
        while !queue.items.is_empty() && !queue.finished {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, item) in slices.iter_mut().zip(&queue.items) {
                let from = if count == 0 { queue.written } else { 0 };
                *slice = IoSlice::new(&item.bytes[from..]);
                count += 1;
            }
            let outcome = match &slices[..count] {
                [only] => stream.try_write(only), // cheaper by a twentieth
                several => stream.try_write_vectored(several),
            };
            match outcome {
                Ok(written) => queue.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.store(true, Ordering::Release);
                    return Written::Blocked;
                }
                Err(_) => queue.finished = true, // who reads the socket will see it
            }
        }
        if queue.end.is_some() {
            queue.finished = true;
            // The peer reads to the close frame and then closes; if it is gone, so much the better.
            let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Write);
        }
        Written::All
    }

    /// Waits until the socket takes more; whether the writer has to come then.
    pub(crate) async fn unblocked(&self) -> bool {
        if let Way::Socket(stream) = &self.way {
            // An error is found again by the write that follows.
            let _ = stream.writable().await;
        }
        self.stalled.store(0, Ordering::Relaxed);
        self.blocked.store(false, Ordering::Release);
        self.call(self.queue())
    }

    /// Whether the listener is at its end and the time for it has not been set running.
    pub(crate) fn begins_to_close(&self) -> bool {
        self.ending().is_some() && !self.closing.swap(true, Ordering::AcqRel)
    }

    /// Cuts the line: for a peer that takes neither frames nor the close frame.
    pub(crate) fn cut(&self) {
        self.queue().finished = true;
        if let Way::Socket(stream) = &self.way {
            tcp::bound_rest(stream, REST);
            let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Queue {
    fn put(&mut self, item: Item) {
        self.waiting.add(item.size());
        self.items.push_back(item);
    }

    /// Where a control frame goes that must not wait: a frame that is half out is finished first.
    fn front(&self) -> usize {
        usize::from(self.written > 0)
    }

    /// Puts a control frame before everything that waits.
    fn put_first(&mut self, bytes: Bytes) {
        let item = Item::control(bytes);
        self.waiting.add(item.size());
        self.items.insert(self.front(), item);
    }

    /// Drops the frames that wait, but for the rest of one that has left in part.
    fn give_up(&mut self) {
        self.hold();
        let held = mem::take(&mut self.held);
        self.dropped.extend(held.into_iter().map(|item| item.sequences));
        self.weigh();
    }

    /// Sets the frames that wait aside, but for the rest of one that has left in part.
    fn hold(&mut self) {
        let behind = self.items.split_off(self.front());
        let (mut events, rest): (VecDeque<_>, VecDeque<_>) =
            behind.into_iter().partition(Item::is_event);
        self.items.extend(rest);
        events.append(&mut self.held);
        self.held = events;
    }

    /// Takes a frame back that has left in part, to be sent whole elsewhere. The line breaks off in
    /// the middle of it; but a peer that has closed is owed a close frame, and the rest before it:
    /// what comes after its own close it no longer looks at.
    fn take_back(&mut self) {
        let Some(half) = self.items.front_mut().filter(|_| self.written > 0) else { return };
        if !half.is_event() {
            return;
        }
        let sequences = mem::take(&mut half.sequences);
        let bytes = half.bytes.clone();
        if self.end != Some(Ending::Ended) {
            self.items = VecDeque::new();
            self.written = 0;
            self.end.get_or_insert(Ending::Superseded);
        }
        self.held.push_front(Item { sequences, bytes });
        self.weigh();
    }

    /// Finds anew what waits.
    fn weigh(&mut self) {
        self.waiting = Bounds::default();
        self.items.iter().chain(&self.held).for_each(|item| self.waiting.add(item.size()));
    }

    /// Puts a close frame behind what waits, unless there is one; whether there was none.
    fn end(&mut self, ending: Ending) -> bool {
        if self.end.is_some() {
            return false;
        }
        self.end = Some(ending);
        if !self.finished {
            self.put(Item::control(ending.close_frame()));
        }
        true
    }

    /// Takes off what the socket has taken.
    fn advance(&mut self, written: usize) {
        let mut written = self.written + written;
        while let Some(item) = self.items.front_mut() {
            if written < item.bytes.len() {
                // What is out of an item and what is half out are told apart.
                let Some(first) = (written > 0).then(|| item.split_first()).flatten() else {
                    break;
                };
                self.items.push_front(first);
                continue;
            }
            written -= item.bytes.len();
            let size = item.size();
            self.waiting.frames -= size.frames;
            self.waiting.bytes -= size.bytes;
            self.items.pop_front();
        }
        self.written = written;
        if self.items.is_empty() {
            self.spared = Bounds::default();
        }
        // A burst is over: its room is given back.
        if self.items.is_empty() && self.items.capacity() > 16 {
            self.items = VecDeque::new();
        }
    }
}
