//! Outbox: the bounded queue of websocket frames to one listener, and how they reach it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use channelstream_core::state::{ListenerId, Sent, Sequence};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::frame_codec::{Close, CloseCode, HEARTBEAT, PING, close_frame, is_pong};

/// How much may wait for one listener.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

/// The way out to one listener. Whatever is pushed leaves in order, or stays to be named as
/// unsent when the listener closes.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) id: ListenerId,
    way: Way,
    queue: Mutex<Queue>,
    /// Whether the writer has it on its list.
    due: AtomicBool,
    /// Whether the socket is full, and somebody waits for it to take more.
    blocked: AtomicBool,
    /// Whether the time runs in which the peer has to let go.
    closing: AtomicBool,
    /// Heartbeats since the peer was last heard of.
    silent: AtomicU32,
}

/// How long a silent peer is believed to be there, in heartbeats.
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
    /// Bytes in `items`.
    bytes: usize,
    /// How many bytes of the first item the socket has taken.
    written: usize,
    /// Frames that were dropped from `items` without being sent.
    dropped: Vec<Sequence>,
    /// What may wait beyond the bounds, until all is out.
    spared: Bounds,
    /// Set when a frame found no place: the newest number before it.
    overflowed: Option<Sequence>,
    /// Why nothing more is to be sent but what is queued.
    end: Option<Ending>,
    /// Nothing more is written: all is out that should be, or the line is broken.
    finished: bool,
}

#[derive(Debug)]
struct Item {
    /// Number of the event frame; none for control frames and heartbeats.
    sequence: Option<Sequence>,
    bytes: Bytes,
}

/// Why a listener comes to its end by the server's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The connection is over, or is unknown.
    Ended,
    /// A newer listener took over.
    Superseded,
    /// Too much waited for it.
    Slow,
    /// It did not answer a ping.
    Silent,
    /// The server has no place for it, or is too far behind.
    Full,
    /// The server shuts down.
    Shutdown,
}

impl Ending {
    pub(crate) fn close_frame(self) -> Bytes {
        let (code, reason) = match self {
            Self::Ended => (CloseCode::NORMAL, ""),
            Self::Superseded => (CloseCode::NORMAL, "superseded by a newer listener"),
            Self::Slow => (CloseCode::POLICY, "reads too slowly: its outbox is full"),
            Self::Silent => (CloseCode::POLICY, "a ping was not answered"),
            Self::Full => (CloseCode::TRY_LATER, "the server is full, try again later"),
            Self::Shutdown => (CloseCode::GOING_AWAY, "the server is shutting down"),
        };
        close_frame(Some(Close { code, reason }))
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
            due: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            silent: AtomicU32::new(0),
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing that holds an outbox can panic")
    }

    /// The socket, where it is one.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match &self.way {
            Way::Socket(stream) => Some(stream),
            Way::Poll(_) => None,
        }
    }

    /// Queues a frame. Where there is no place for it, the listener is at its end: what waits is
    /// given up, and it will be told in [`Outbox::sent`] that it was not sent.
    ///
    /// Tells whether the writer has to come.
    pub(crate) fn push(
        &self,
        sequence: Sequence,
        bytes: &Bytes,
        catchup: bool,
        bounds: Bounds,
    ) -> bool {
        let mut queue = self.queue();
        if queue.overflowed.is_some() {
            return false;
        }
        // Who was closed for being slow has missed more than the bounds and must be able to come
        // back: what a socket catches up on is bounded by how many frames are stored.
        if catchup && self.socket().is_some() {
            queue.spared.frames += 1;
            queue.spared.bytes += bytes.len();
        }
        let full = queue.items.len() >= bounds.frames + queue.spared.frames
            || (!queue.items.is_empty()
                && queue.bytes + bytes.len() > bounds.bytes + queue.spared.bytes);
        if full {
            queue.overflowed = Some(sequence - 1);
            // A poll is answered with what it has; who does not read is not worth the memory.
            if self.socket().is_some() {
                queue.give_up();
            }
            queue.end(Ending::Slow);
        } else {
            queue.put(Item { sequence: Some(sequence), bytes: bytes.clone() });
        }
        drop(queue);
        self.call()
    }

    /// Queues a pong before everything that waits, in the place of one that waits already.
    pub(crate) fn pong(&self, bytes: Bytes) -> bool {
        let mut queue = self.queue();
        if queue.finished || queue.end.is_some() {
            return false;
        }
        let place = queue.front();
        if queue.items.get(place).is_some_and(|item| is_pong(&item.bytes)) {
            let old = std::mem::replace(&mut queue.items[place].bytes, bytes);
            let new = queue.items[place].bytes.len();
            queue.bytes = queue.bytes - old.len() + new;
        } else {
            queue.put_first(bytes);
        }
        drop(queue);
        self.call()
    }

    /// Notes that the peer is there.
    pub(crate) fn heard(&self) {
        self.silent.store(0, Ordering::Relaxed);
    }

    /// Sends a heartbeat, unless something waits: that shows life as well, once it is out. A peer
    /// that was silent for long is also asked whether it is there, or given up.
    pub(crate) fn beat(&self, patience: Patience) -> bool {
        let silent = self.silent.fetch_add(1, Ordering::Relaxed) + 1;
        if silent >= patience.asked_after + patience.given_up_after {
            return self.end(Ending::Silent);
        }
        let mut queue = self.queue();
        if queue.end.is_some() || queue.finished {
            return false;
        }
        if silent == patience.asked_after {
            if queue.items.is_empty() {
                queue.put(Item { sequence: None, bytes: HEARTBEAT.clone() });
            }
            queue.put_first(PING.clone());
            drop(queue);
            return self.call();
        }
        if !queue.items.is_empty() {
            return false;
        }
        let Way::Socket(stream) = &self.way else { return false };
        match stream.try_write(&HEARTBEAT) {
            Ok(count) if count == HEARTBEAT.len() => return false,
            Ok(count) => queue.written = count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false, // who reads the socket will see what is wrong with it
        }
        queue.put(Item { sequence: None, bytes: HEARTBEAT.clone() });
        drop(queue);
        self.call()
    }

    /// Nothing more comes; what is queued is still sent, and then a close frame.
    pub(crate) fn end(&self, ending: Ending) -> bool {
        let ends_now = self.queue().end(ending);
        ends_now && self.call()
    }

    /// The peer has closed or broken the protocol: what waits is given up, `frame` is the last.
    pub(crate) fn close(&self, frame: Bytes) -> bool {
        let mut queue = self.queue();
        if queue.finished {
            return false;
        }
        queue.give_up();
        queue.end.get_or_insert(Ending::Ended);
        queue.put(Item { sequence: None, bytes: frame });
        drop(queue);
        self.call()
    }

    /// Whether the server wants an end.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.queue().end
    }

    /// Gives all that `self` has not sent to the newer listener, to be sent before all else.
    pub(crate) fn hand_over(&self, newer: &Self) -> HandedOver {
        let mut old = self.queue();
        let mut items = VecDeque::new();
        let mut stay = VecDeque::new();
        let half_out = old.written > 0;
        for item in std::mem::take(&mut old.items) {
            // A frame that has left in part counts as unsent, but is finished for the line's sake.
            if item.sequence.is_none() || (half_out && stay.is_empty()) {
                stay.push_back(Item { sequence: None, bytes: item.bytes.clone() });
            }
            if item.sequence.is_some() {
                items.push_back(item);
            }
        }
        old.bytes = stay.iter().map(|item| item.bytes.len()).sum();
        old.items = stay;
        let (dropped, overflowed) = (std::mem::take(&mut old.dropped), old.overflowed.take());
        old.end(Ending::Superseded);
        drop(old);

        let mut new = newer.queue();
        new.bytes += items.iter().map(|item| item.bytes.len()).sum::<usize>();
        items.append(&mut new.items);
        new.items = items;
        if overflowed.is_some() {
            new.dropped = dropped;
            new.overflowed = overflowed;
            new.give_up();
            new.end(Ending::Slow);
        }
        drop(new);
        HandedOver { older: self.call(), newer: newer.call() }
    }

    /// What of the frames up to `latest` was really sent.
    pub(crate) fn sent(&self, latest: Sequence) -> Sent {
        let queue = self.queue();
        let waiting = queue.items.iter().filter_map(|item| item.sequence);
        let but = queue.dropped.iter().copied().chain(waiting).collect();
        Sent { up_to: queue.overflowed.unwrap_or(latest), but }
    }

    /// Takes out everything that waits, for a poll.
    pub(crate) fn take(&self) -> Vec<(Sequence, Bytes)> {
        let mut queue = self.queue();
        queue.bytes = 0;
        let items = std::mem::take(&mut queue.items);
        items.into_iter().filter_map(|item| Some((item.sequence?, item.bytes))).collect()
    }

    /// Whether no event waits.
    pub(crate) fn is_empty(&self) -> bool {
        !self.queue().items.iter().any(|item| item.sequence.is_some())
    }

    /// Waits until something was pushed or the end came, since the last wait.
    pub(crate) async fn changed(&self) {
        if let Way::Poll(notify) = &self.way {
            notify.notified().await;
        }
    }

    /// Notes that something is due; whether the writer has to be told.
    fn call(&self) -> bool {
        match &self.way {
            Way::Poll(notify) => {
                notify.notify_one();
                false
            }
            Way::Socket(_) => !self.due.swap(true, Ordering::AcqRel),
        }
    }

    /// Writes what is due, as much as the socket takes. Each write carries all that fits. The first
    /// time a socket is found full, `Blocked` asks the caller to wait for it.
    pub(crate) fn write(&self) -> Written {
        /// Slices in one system call; more would not make it cheaper.
        const SLICES: usize = 64;
        let Way::Socket(stream) = &self.way else { return Written::All };
        self.due.store(false, Ordering::Release);
        if self.blocked.load(Ordering::Acquire) {
            return Written::All; // somebody waits for it already
        }
        let mut queue = self.queue();
        while !queue.items.is_empty() && !queue.finished {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, item) in slices.iter_mut().zip(&queue.items) {
                let from = if count == 0 { queue.written } else { 0 };
                *slice = IoSlice::new(&item.bytes[from..]);
                count += 1;
            }
            match stream.try_write_vectored(&slices[..count]) {
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
        self.blocked.store(false, Ordering::Release);
        self.call()
    }

    /// Whether the listener is at its end and the time for it has not been set running.
    pub(crate) fn begins_to_close(&self) -> bool {
        self.ending().is_some() && !self.closing.swap(true, Ordering::AcqRel)
    }

    /// Cuts the line: for a peer that takes neither frames nor the close frame.
    pub(crate) fn cut(&self) {
        self.queue().finished = true;
        if let Way::Socket(stream) = &self.way {
            let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Queue {
    fn put(&mut self, item: Item) {
        self.bytes += item.bytes.len();
        self.items.push_back(item);
    }

    /// Where a control frame goes that must not wait: a frame that is half out is finished first.
    fn front(&self) -> usize {
        usize::from(self.written > 0)
    }

    /// Puts a control frame before everything that waits.
    fn put_first(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.items.insert(self.front(), Item { sequence: None, bytes });
    }

    /// Drops what waits, but for the rest of a frame that has left in part.
    fn give_up(&mut self) {
        let keep = self.front();
        self.dropped.extend(self.items.drain(keep..).filter_map(|item| item.sequence));
        self.bytes = self.items.iter().map(|item| item.bytes.len()).sum();
    }

    /// Puts a close frame behind what waits, unless there is one; whether there was none.
    fn end(&mut self, ending: Ending) -> bool {
        if self.end.is_some() {
            return false;
        }
        self.end = Some(ending);
        if !self.finished {
            self.put(Item { sequence: None, bytes: ending.close_frame() });
        }
        true
    }

    /// Takes off what the socket has taken.
    fn advance(&mut self, written: usize) {
        let mut written = self.written + written;
        while let Some(item) = self.items.front() {
            if written < item.bytes.len() {
                break;
            }
            written -= item.bytes.len();
            self.bytes -= item.bytes.len();
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
