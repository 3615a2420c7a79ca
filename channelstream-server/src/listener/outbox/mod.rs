//! Outbox: the bounded queue of events to one listener, and how they reach it.
//!
//! The invariant: each event that was pushed is in exactly one place. It has gone to the socket whole,
//! or it waits in `items` or `held`, or it is named in `dropped`, or it came after `overflowed`. An
//! event that is partly sent still waits. One lock guards all of these, so [`Outbox::sent`] reports
//! exactly which events are out, and lets no event out from then on; the state stores the rest for
//! the client's return. Only a takeover by a newer listener moves events to another outbox, and the shard
//! does that as one command, so that nothing comes in between. An event that was partly sent is sent
//! whole there, and the older connection breaks off in the middle of it. Hence no event is lost and
//! none comes twice.
//!
//! An outbox schedules itself: whatever makes something due unlocks the queue and then puts the outbox
//! on the list of its shard's writer, which writes to the socket or wakes the task that pulls.

mod queue;
mod reader;
#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::state::{ConnectionId, ListenerId, Sent, Sequence, Since};
use tokio::sync::Notify;

use super::run::Run;
use super::writer::Writer;
use crate::metrics::delivery::Written;
use crate::socket::Socket;
use crate::wire::{Encoding, Transport};
use queue::{Item, Queue};
use reader::Reader;

pub(crate) use crate::wire::Ending;
pub(crate) use queue::{Bounds, SetBounds};
pub(crate) use reader::EncodedPortion;

/// How long the system may go on with what it took for a peer whose connection was cut. Those events
/// count as sent.
const REST: Duration = Duration::from_secs(30);

/// The way out to one listener. Whatever is pushed leaves in order, or remains to be named as unsent
/// when the listener closes.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) id: ListenerId,
    sink: Sink,
    encoding: Encoding,
    /// Serves the sockets of the shard in which the listener is.
    writer: Arc<Writer>,
    queue: Mutex<Queue>,
    /// Whether the socket is full, and a task waits for it to take more.
    blocked: AtomicBool,
    /// Whether the time has begun in which the peer must close.
    closing: AtomicBool,
    /// Heartbeats since the peer last sent anything.
    silent: AtomicU32,
    /// Heartbeats since the socket last took anything of what waits.
    stalled: AtomicU32,
}

/// How long a peer may send nothing, or take nothing of what waits for it; counted in heartbeats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keepalive {
    /// How long a peer may be silent before it receives a ping.
    pub(crate) ping_after: u32,
    /// How much longer it may be silent before it is given up.
    pub(crate) end_after: u32,
}

/// Where events leave.
#[derive(Debug)]
pub(crate) enum Sink {
    /// The writer writes them to a socket.
    Socket(Socket),
    /// A task takes them and is woken when there are some.
    Pull(Notify),
}

/// What is left to do after a round of writing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// The socket takes no more for now. The caller must wait in [`Outbox::unblocked`].
    pub(super) is_blocked: bool,
    /// The listener is at its end, and the time begins in which the peer must close. It begins once; HTTP
    /// itself bounds the time of a task that pulls.
    pub(super) begins_to_close: bool,
}

impl Outbox {
    pub(super) fn new(
        id: ListenerId,
        sink: Sink,
        encoding: Encoding,
        writer: Arc<Writer>,
        reader: Option<(ConnectionId, Since)>,
    ) -> Arc<Self> {
        let reader = reader.map(|(connection, since)| Reader::new(connection, since));
        let queue = Queue { reader, ..Queue::default() };
        Arc::new(Self {
            id,
            sink,
            encoding,
            writer,
            queue: Mutex::new(queue),
            blocked: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            silent: AtomicU32::new(0),
            stalled: AtomicU32::new(0),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing that holds an outbox can panic")
    }

    /// Unlocks the queue and puts the outbox on the list of the writer. A task that pulls is on it as
    /// well, so that its writes also carry what comes shortly after.
    #[inline]
    fn schedule(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        let is_scheduled = mem::replace(&mut queue.scheduled, true);
        drop(queue);
        if !is_scheduled {
            self.writer.add(Arc::clone(self));
        }
    }

    /// Returns `true` if the client holds a cursor.
    fn has_cursor(&self) -> bool {
        self.queue().reader.is_some()
    }

    /// Returns the transport, how much waits, and whether the listener is behind.
    pub(super) fn backlog(&self) -> (Transport, Bounds, bool) {
        let queue = self.queue();
        (self.encoding.transport(), queue.waiting, queue.is_behind())
    }

    /// Returns how much waits.
    pub(crate) fn waiting(&self) -> Bounds {
        self.queue().waiting
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Returns the socket if the sink is one.
    pub(crate) fn socket(&self) -> Option<&Socket> {
        match &self.sink {
            Sink::Socket(stream) => Some(stream),
            Sink::Pull(_) => None,
        }
    }

    /// Queues the events of a run. If there is no place for them, the listener is at its end: what
    /// waits is given up, and [`Outbox::sent`] reports that it was not sent. The same holds for what
    /// comes after the end, since nobody reads beyond a close frame. A listener that holds a cursor
    /// falls behind instead.
    pub(super) fn push(self: &Arc<Self>, run: &Run, bounds: Bounds) {
        let bytes = run.encoded(self.encoding).clone();
        let item = Item { sequences: run.sequences(), bytes, accepted: run.accepted() };
        let mut queue = self.queue();
        if queue.overflowed.is_some() || queue.is_behind() {
            return;
        }
        if run.is_catchup() {
            queue.spare(&item);
        }
        if !queue.has_place(&item, bounds) {
            if queue.fall_behind(item.sequences.start.saturating_sub(1)) {
                return; // what waits is still to go; then it asks for the rest
            }
            queue.overflowed = Some(item.sequences.start - 1);
            // A poll is answered with what it has; a peer that does not read is not worth the memory.
            if self.socket().is_some() {
                queue.give_up();
            }
            queue.end(Ending::Slow, self.encoding);
        } else if queue.end.is_some() {
            // A newer listener takes it over, or reads it itself.
            if !queue.fall_behind(item.sequences.start.saturating_sub(1)) {
                queue.put_held(item);
            }
            return;
        } else {
            queue.put(item);
        }
        self.schedule(queue);
    }

    /// Sends a pong before everything that waits, in the place of one that waits already.
    pub(crate) fn pong(self: &Arc<Self>, bytes: Bytes) {
        let mut queue = self.queue();
        if queue.finished || queue.end.is_some() {
            return;
        }
        // Not by the writer: its list is for events and must not grow with what peers send.
        if queue.items.is_empty() {
            return self.send_alone(queue, bytes);
        }
        queue.put_pong(bytes, self.encoding);
        self.schedule(queue);
    }

    /// Notes that the peer sent something.
    pub(crate) fn heard(&self) {
        self.silent.store(0, Ordering::Relaxed);
    }

    /// Sends a control frame or a heartbeat at once, while nothing else waits. What the socket does
    /// not take of it waits.
    fn send_alone(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>, frame: Bytes) {
        let Sink::Socket(stream) = &self.sink else { return };
        match stream.try_write(&frame) {
            Ok(count) if count == frame.len() => {
                if stream.try_flush().is_err() {
                    self.schedule(queue);
                }
                return;
            }
            Ok(count) => queue.written = count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return, // the task that reads the socket will find the error
        }
        queue.put(Item::control(frame));
        self.schedule(queue);
    }

    /// Sends a heartbeat, unless something waits: that shows life as well, once it is out. A peer
    /// that was silent for long receives a ping, and later is given up. So is a peer that sends and
    /// does not read.
    pub(super) fn heartbeat(self: &Arc<Self>, keepalive: Keepalive) {
        let longest = keepalive.ping_after + keepalive.end_after;
        let is_stalled = self.blocked.load(Ordering::Acquire) && !self.press();
        let silent = self.silent.fetch_add(1, Ordering::Relaxed) + 1;
        if silent >= longest {
            self.end(Ending::Silent);
            return;
        }
        if is_stalled && self.stalled.fetch_add(1, Ordering::Relaxed) + 1 >= longest {
            self.end(Ending::Stalled);
            return;
        }
        let mut queue = self.queue();
        if queue.end.is_some() || queue.finished {
            return;
        }
        let heartbeat = self.encoding.heartbeat().filter(|_| queue.items.is_empty());
        let ping = self.encoding.ping().filter(|_| silent == keepalive.ping_after);
        match (ping, heartbeat) {
            (Some(ping), heartbeat) => {
                heartbeat.into_iter().for_each(|bytes| queue.put(Item::control(bytes)));
                queue.put_first(ping);
                self.schedule(queue);
            }
            (None, Some(heartbeat)) => self.send_alone(queue, heartbeat),
            (None, None) => {}
        }
    }

    /// Writes to a socket that the system does not call writable yet. The system does so only when many
    /// kilobytes are free, which takes a slow peer longer than it may be silent; it accepts more as soon
    /// as the peer has taken some. Returns `false` if something waits and nothing was accepted.
    fn press(self: &Arc<Self>) -> bool {
        let Sink::Socket(stream) = &self.sink else { return true };
        let mut queue = self.queue();
        let mut is_moving = queue.items.is_empty();
        let mut written = Written::default();
        while let Some(first) = queue.items.front().filter(|_| !queue.finished) {
            // An error is found by the task that waits for the socket.
            let Ok(count) = stream.press(&first.bytes[queue.written..]) else {
                break;
            };
            is_moving = true;
            queue.advance(count, self.encoding, &mut written);
        }
        self.writer.count(&mut written);
        if is_moving {
            self.is_taking();
        }
        if queue.asks() {
            drop(queue);
            self.writer.ask(Arc::clone(self));
        }
        is_moving
    }

    /// Notes that the peer takes what waits. So it is there, even if pings are behind much of it.
    fn is_taking(&self) {
        self.stalled.store(0, Ordering::Relaxed);
        self.heard();
    }

    /// Ends the listener: what is queued is still sent, then the reason.
    pub(crate) fn end(self: &Arc<Self>, ending: Ending) {
        let mut queue = self.queue();
        if queue.end(ending, self.encoding) {
            self.schedule(queue);
        }
    }

    /// Ends the listener because its user was disconnected, and gives the reason to the peer.
    pub(crate) fn end_because(self: &Arc<Self>, reason: &str) {
        let close = self.encoding.close_because(Ending::Ended, reason);
        let mut queue = self.queue();
        if queue.end_with(Ending::Ended, close) {
            self.schedule(queue);
        }
    }

    /// Ends the listener because the peer has closed or broken the protocol: the events that wait are
    /// held back, and `frame` is the last.
    pub(crate) fn close(self: &Arc<Self>, frame: Bytes) {
        let mut queue = self.queue();
        if queue.finished {
            return;
        }
        queue.hold();
        if queue.end.is_none() {
            queue.end = Some(Ending::Closed);
            queue.put(Item::control(frame));
        }
        self.schedule(queue);
    }

    /// Returns why the listener is at its end, if it is.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.queue().end
    }

    /// Moves all that is not sent to the newer listener, where it is sent before everything else, in the
    /// encoding of that one. `latest` is the number of the newest event that was delivered.
    ///
    /// A listener that holds a cursor takes over nothing, since it reads on from there. What was not
    /// sent to one that holds a cursor comes from the state, as after a slow listener.
    pub(super) fn migrate(self: &Arc<Self>, newer: &Arc<Self>, latest: Sequence) {
        let mut old = self.queue();
        old.hold();
        old.take_back();
        if newer.has_cursor() {
            let first = old.held.front().map(|item| item.sequences.start.saturating_sub(1));
            let unsent =
                old.dropped.first().map(|sequences| sequences.start.saturating_sub(1)).or(first);
            let sent = unsent.or(old.overflowed).or(old.behind_since()).unwrap_or(latest);
            old.held.clear();
            old.recount();
            let waits = old.waits;
            old.end(Ending::Superseded, self.encoding);
            self.schedule(old);
            // One that waited was sent nothing. What one before it was sent is still to come.
            if !waits {
                newer.queue().begin_behind(sent);
            }
            return;
        }
        if old.reader.is_some() {
            old.give_up();
            old.overflowed = old.behind_since().or(Some(latest));
        }
        let mut items = mem::take(&mut old.held);
        old.recount();
        let (dropped, overflowed) = (mem::take(&mut old.dropped), old.overflowed.take());
        old.end(Ending::Superseded, self.encoding);
        self.schedule(old);

        for Item { bytes, .. } in &mut items {
            *bytes = self.encoding.transcode(bytes, newer.encoding);
        }
        let mut new = newer.queue();
        items.append(&mut new.items);
        new.items = items;
        new.recount();
        // What is taken over has had its place.
        new.spared = new.waiting;
        if overflowed.is_some() {
            new.dropped = dropped;
            new.overflowed = overflowed;
            new.give_up();
        }
        newer.schedule(new);
    }

    /// Returns what was sent to the older listener, if that was at its end for being slow. Then this
    /// one has taken over nothing, and takes nothing until it [resumes](Self::resume).
    pub(super) fn sent_before(&self) -> Option<Sent> {
        let queue = self.queue();
        let up_to = queue.overflowed.filter(|_| queue.end.is_none())?;
        Some(Sent { up_to, but: queue.dropped.iter().cloned().flatten().collect() })
    }

    /// Notes that the listener waits for what an older one on another node was sent, or no more. At its end
    /// it stays as it is.
    pub(super) fn take_over(self: &Arc<Self>, is_done: bool) {
        let mut queue = self.queue();
        if queue.end.is_none() {
            queue.waits = !is_done;
        }
        if is_done && queue.asks() {
            drop(queue);
            self.writer.ask(Arc::clone(self));
        }
    }

    /// Ends the listener because a newer one, on another node, takes over: nothing more is sent to it but
    /// the reason.
    pub(super) fn supersede(self: &Arc<Self>) {
        let mut queue = self.queue();
        queue.hold();
        queue.take_back();
        queue.end(Ending::Superseded, self.encoding);
        self.schedule(queue);
    }

    /// Returns the number up to which everything was sent, or `None` if that is all there was.
    pub(super) fn sent_whole(&self) -> Option<Sequence> {
        self.queue().sent_whole()
    }

    /// Takes events again: what the older listener was not sent is known and comes again.
    pub(super) fn resume(&self) {
        let mut queue = self.queue();
        if queue.end.is_none() {
            queue.overflowed = None;
            queue.dropped = Vec::new();
        }
    }

    /// Returns which of the events up to `latest` were really sent. So that this stays true, no event
    /// begins to leave from now on.
    pub(super) fn sent(&self, latest: Sequence) -> Sent {
        let mut queue = self.queue();
        queue.hold();
        queue.take_back();
        queue.end.get_or_insert(Ending::Ended);
        if queue.waits {
            return Sent::default();
        }
        let waiting = queue.held.iter().map(|item| &item.sequences);
        let but = queue.dropped.iter().chain(waiting).cloned().flatten().collect();
        let up_to = queue.overflowed.or(queue.behind_since()).unwrap_or(latest);
        Sent { up_to, but }
    }

    /// Takes out everything that waits, for a task that pulls. It counts as sent.
    pub(crate) fn take(&self) -> Vec<Bytes> {
        let mut written = Written::default();
        let taken = self.queue().take(self.encoding, &mut written);
        self.writer.count(&mut written);
        taken
    }

    /// Takes out what waits first: one item, and more as long as all are no larger than `most` bytes
    /// together. It counts as sent.
    pub(crate) fn take_portion(&self, most: usize) -> Vec<Bytes> {
        let mut written = Written::default();
        let portion = self.queue().take_portion(most, self.encoding, &mut written);
        self.writer.count(&mut written);
        portion
    }

    /// Returns `true` if nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue().items.is_empty()
    }

    /// Waits until something was pushed or the end came, since the last wait.
    pub(crate) async fn changed(&self) {
        if let Sink::Pull(notify) = &self.sink {
            notify.notified().await;
        }
    }

    /// Writes what is due, as much as the socket takes, or wakes the task that pulls. Each write carries
    /// all that fits. Adds the events that are out to `written`.
    pub(super) fn write(self: &Arc<Self>, written: &mut Written) -> Left {
        let mut queue = self.queue();
        queue.scheduled = false;
        let Sink::Socket(stream) = &self.sink else {
            drop(queue);
            if let Sink::Pull(notify) = &self.sink {
                notify.notify_one();
            }
            return Left { is_blocked: false, begins_to_close: false };
        };
        // If it was blocked, a task waits for the socket already.
        let was_blocked = self.blocked.load(Ordering::Acquire);
        let is_out = !was_blocked && self.write_to(stream, &mut queue, written);
        let begins_to_close = queue.end.is_some() && !self.closing.swap(true, Ordering::AcqRel);
        let asks = is_out && queue.asks();
        drop(queue);
        if asks {
            self.writer.ask(Arc::clone(self));
        }
        Left { is_blocked: !was_blocked && !is_out, begins_to_close }
    }

    /// Writes to a socket. Returns `false` if it takes no more for now.
    fn write_to(&self, stream: &Socket, queue: &mut Queue, written: &mut Written) -> bool {
        /// Slices in one system call; more would not make it cheaper.
        const SLICES: usize = 64;
        let would_block = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        while !queue.items.is_empty() && !queue.finished {
            let outcome = if let (1, Some(only)) = (queue.items.len(), queue.items.front()) {
                stream.try_write(&only.bytes[queue.written..]) // cheaper by a twentieth
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let mut count = 0;
                for (slice, item) in slices.iter_mut().zip(&queue.items) {
                    let from = if count == 0 { queue.written } else { 0 };
                    *slice = IoSlice::new(&item.bytes[from..]);
                    count += 1;
                }
                stream.try_write_vectored(&slices[..count])
            };
            match outcome {
                Ok(count) => queue.advance(count, self.encoding, written),
                Err(error) if would_block(&error) => {
                    self.blocked.store(true, Ordering::Release);
                    return false;
                }
                Err(_) => queue.finished = true, // the task that reads the socket will find the error
            }
        }
        // What is encrypted may be in the way of what follows.
        if !queue.finished && stream.try_flush().is_err_and(|error| would_block(&error)) {
            self.blocked.store(true, Ordering::Release);
            return false;
        }
        if queue.end.is_some() {
            queue.finished = true;
            // The peer reads up to the close frame and then closes. If it is gone, nothing is left to
            // do.
            let _ = stream.close(std::net::Shutdown::Write);
        }
        true
    }

    /// Waits until the socket takes more, and then has it written.
    pub(super) async fn unblocked(self: Arc<Self>) {
        if let Sink::Socket(stream) = &self.sink {
            // The write that follows finds the error again.
            let _ = stream.writable().await;
        }
        self.is_taking();
        self.blocked.store(false, Ordering::Release);
        self.schedule(self.queue());
    }

    /// Cuts the connection of a peer that takes neither events nor the close frame.
    pub(super) fn cut(&self) {
        self.queue().finished = true;
        if let Sink::Socket(stream) = &self.sink {
            stream.bound_rest(REST);
            let _ = stream.close(std::net::Shutdown::Both);
        }
    }
}
