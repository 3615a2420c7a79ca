//! `Listeners`: reads the connections of all listeners on one thread, and counts each message once.
//!
//! This must cost less than what it measures. Therefore all listeners read into one buffer, frames are
//! parsed in place, and only an incomplete frame is copied.

use std::io::{ErrorKind, Read as _, Write as _};
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use crate::connection::{Connection, length};
use crate::peer::{DIGITS, MARK, Peer};
use crate::transport::{Stream, Transport};

const BUFFER: usize = 1 << 20;

/// The receive buffer in bytes of a stalled listener.
const STALLED: usize = 4096;

/// The numbers of messages that were not delivered correctly, and of websockets that the peer closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeliveryErrors {
    pub(crate) missing: usize,
    pub(crate) doubled: usize,
    pub(crate) reordered: usize,
    pub(crate) wrong_channel: usize,
    pub(crate) closed: usize,
}

impl DeliveryErrors {
    pub(crate) fn named(self) -> [(&'static str, usize); 5] {
        [
            ("missing", self.missing),
            ("doubled", self.doubled),
            ("reordered", self.reordered),
            ("wrong_channel", self.wrong_channel),
            ("closed", self.closed),
        ]
    }
}

impl AddAssign for DeliveryErrors {
    fn add_assign(&mut self, other: Self) {
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.wrong_channel += other.wrong_channel;
        self.closed += other.closed;
    }
}

/// The time at which each message was sent, by its number, in microseconds of one clock.
pub(crate) struct Sent {
    begun: Instant,
    at: Vec<AtomicU64>,
}

impl Sent {
    /// Returns the microseconds from the beginning to a point in time.
    pub(crate) fn clock(&self, point: Instant) -> u64 {
        let time = point.saturating_duration_since(self.begun);
        time.as_secs() * 1_000_000 + u64::from(time.subsec_micros())
    }

    /// Records the time at which a message is sent.
    pub(crate) fn note(&self, id: usize, point: Instant) {
        self.at[id].store(self.clock(point), Ordering::Release);
    }
}

struct Listener {
    stream: Stream<TcpStream>,
    transport: Transport,
    /// The request by which it listens.
    request: Vec<u8>,
    channel: usize,
    /// The beginning of an incomplete frame or answer.
    rest: Vec<u8>,
    /// A bit for each message of the channel, set once it has arrived.
    seen: Vec<u64>,
    /// The highest number that has arrived, plus one.
    next: usize,
    stalled: bool,
    open: bool,
}

/// The listeners of one workload, and what they have received.
pub(crate) struct Listeners {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    buffer: Vec<u8>,
    channels: usize,
    pub(crate) sent: Arc<Sent>,
    /// The time from sending to receiving, for each message and listener, in microseconds.
    pub(crate) latencies: Vec<u64>,
    pub(crate) errors: DeliveryErrors,
}

impl Listeners {
    /// Creates the listeners for messages with numbers below `messages`. The channel of a message is
    /// its number modulo `channels`.
    pub(crate) fn new(channels: usize, messages: usize) -> Result<Self> {
        let at = (0..messages).map(|_| AtomicU64::new(0)).collect();
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            listeners: Vec::new(),
            buffer: vec![0; BUFFER],
            channels,
            sent: Arc::new(Sent { begun: Instant::now(), at }),
            latencies: Vec::new(),
            errors: DeliveryErrors::default(),
        })
    }

    /// Connects and opens `count` more websockets one after another, spread over the channels.
    pub(crate) fn open(&mut self, peer: &Peer, count: usize) -> Result<()> {
        self.open_by(Transport::WebSocket, peer, count)
    }

    /// The same with another kind of listeners.
    pub(crate) fn open_by(
        &mut self,
        transport: Transport,
        peer: &Peer,
        count: usize,
    ) -> Result<()> {
        let mut backend = peer.open()?;
        for number in self.listeners.len()..self.listeners.len() + count {
            let channel = number % self.channels;
            if let Some(connect) = peer.connect(number, channel) {
                backend.call(&connect).context("connecting a listener")?;
            }
            let mut connection = peer.open()?;
            let request = peer.listen(transport, number, channel);
            connection.write(&request)?;
            check(transport, &mut connection)?;
            let (mut stream, rest) = connection.into_parts();
            stream.socket().set_nonblocking(true)?;
            let mut stream = stream.map(TcpStream::from_std);
            let readable = Interest::READABLE;
            self.poll.registry().register(stream.socket(), Token(number), readable)?;
            let seen = vec![0; self.sent.at.len() / self.channels / 64 + 1];
            self.listeners.push(Listener {
                stream,
                transport,
                request,
                channel,
                rest,
                seen,
                next: 0,
                stalled: false,
                open: true,
            });
        }
        Ok(())
    }

    /// Returns the number of listeners that a message is for, without stalled ones.
    pub(crate) fn audience(&self, id: usize) -> usize {
        let channel = id % self.channels;
        let members = self.listeners.iter().skip(channel).step_by(self.channels);
        members.filter(|listener| !listener.stalled).count()
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Waits at most `timeout` for data and reads it. Returns the number of deliveries: messages that
    /// are new to their listener. Those to stalled listeners are not counted.
    pub(crate) fn turn(&mut self, timeout: Duration) -> Result<usize> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(1));
        match self.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
            other => other?,
        }
        let now = self.sent.clock(Instant::now());
        let mut received = 0;
        for event in &events {
            received += self.read(event.token().0, event.is_read_closed(), now);
        }
        self.events = events;
        Ok(received)
    }

    /// Reads for some time.
    pub(crate) fn idle(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.turn(left.min(Duration::from_millis(20)))?;
        }
        Ok(())
    }

    /// Stops reading one listener. From now on no message is expected for it.
    pub(crate) fn stall(&mut self, number: usize) -> Result<()> {
        let listener = &mut self.listeners[number];
        listener.stalled = true;
        let socket = listener.stream.socket();
        SockRef::from(&*socket).set_recv_buffer_size(STALLED)?;
        Ok(self.poll.registry().deregister(socket)?)
    }

    /// Resumes reading a stalled listener.
    pub(crate) fn resume(&mut self, number: usize) -> Result<()> {
        let socket = self.listeners[number].stream.socket();
        Ok(self.poll.registry().register(socket, Token(number), Interest::READABLE)?)
    }

    /// Returns the number of messages that a listener has received.
    pub(crate) fn received(&self, number: usize) -> u32 {
        self.listeners[number].seen.iter().map(|bits| bits.count_ones()).sum()
    }

    /// Reads all available data. Readiness is reported once, so data that is left would stay unread.
    fn read(&mut self, number: usize, ending: bool, now: u64) -> usize {
        let mut received = 0;
        loop {
            let listener = &mut self.listeners[number];
            if !listener.open {
                return received;
            }
            let kept = listener.rest.len();
            if self.buffer.len() < kept + BUFFER / 2 {
                self.buffer.resize(kept + BUFFER, 0);
            }
            self.buffer[..kept].copy_from_slice(&listener.rest);
            let count = match listener.stream.read(&mut self.buffer[kept..]) {
                Ok(0) => return received + self.end(number),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return received,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return received + self.end(number),
            };
            listener.rest.clear();
            let buffer = std::mem::take(&mut self.buffer);
            let bytes = &buffer[..kept + count];
            let transport = self.listeners[number].transport;
            received += match transport {
                Transport::WebSocket | Transport::Tls => self.frames(number, bytes, now),
                Transport::EventStream => self.pieces(number, bytes, now),
                Transport::LongPoll => self.answers(number, bytes, now),
            };
            let full = kept + count == buffer.len();
            self.buffer = buffer;
            // One read returns one record of TLS.
            if !full && !ending && transport != Transport::Tls {
                return received;
            }
        }
    }

    fn end(&mut self, number: usize) -> usize {
        let listener = &mut self.listeners[number];
        listener.open = false;
        if !listener.stalled {
            self.errors.closed += 1;
        }
        0
    }

    fn frames(&mut self, number: usize, mut bytes: &[u8], now: u64) -> usize {
        let mut received = 0;
        while let Some((code, payload, rest)) = frame(bytes) {
            bytes = rest;
            match code {
                1 => received += self.messages(number, payload, now),
                8 => {
                    self.end(number);
                    return received;
                }
                9 => {
                    // The mask is zero, so the payload stays as it is.
                    let length = u8::try_from(payload.len()).unwrap_or(125).min(125);
                    let mut pong = vec![0x8a, 0x80 | length, 0, 0, 0, 0];
                    pong.extend_from_slice(payload);
                    // If the socket is too full for a pong, the peer will close it.
                    let _ = self.listeners[number].stream.write(&pong);
                }
                _ => {}
            }
        }
        self.listeners[number].rest.extend_from_slice(bytes);
        received
    }

    /// Counts the messages in the pieces of an answer that does not end. A piece has whole messages.
    fn pieces(&mut self, number: usize, bytes: &[u8], now: u64) -> usize {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.listeners[number].rest.extend_from_slice(&bytes[whole..]);
        self.messages(number, &bytes[..whole], now)
    }

    /// Counts the messages in the answers to polls, and polls again after each.
    fn answers(&mut self, number: usize, mut bytes: &[u8], now: u64) -> usize {
        let mut received = 0;
        while let Some((body, rest)) = answer(bytes) {
            bytes = rest;
            received += self.messages(number, body, now);
            let Listener { stream, request, .. } = &mut self.listeners[number];
            if stream.write_all(request).is_err() {
                return received + self.end(number);
            }
        }
        self.listeners[number].rest.extend_from_slice(bytes);
        received
    }

    /// Counts the messages in some bytes by the numbers in their texts.
    fn messages(&mut self, number: usize, payload: &[u8], now: u64) -> usize {
        let mut received = 0;
        let mut at = 0;
        while let Some(found) = memchr::memchr(MARK, &payload[at..]) {
            let first = at + found + 1;
            let Some(digits) = payload.get(first..first + DIGITS) else { break };
            at = first + DIGITS + 1;
            let id = digits.iter().fold(0, |id, digit| 10 * id + usize::from(digit & 15));
            received += self.message(number, id, now);
            if at >= payload.len() {
                break;
            }
        }
        received
    }

    fn message(&mut self, number: usize, id: usize, now: u64) -> usize {
        let listener = &mut self.listeners[number];
        let known = self.sent.at.get(id).filter(|_| id % self.channels == listener.channel);
        let Some(sent) = known else {
            self.errors.wrong_channel += 1;
            return 0;
        };
        let place = id / self.channels;
        let (word, bit) = (&mut listener.seen[place / 64], 1 << (place % 64));
        if *word & bit != 0 {
            self.errors.doubled += 1;
            return 0;
        }
        *word |= bit;
        if id < listener.next {
            self.errors.reordered += 1;
        } else {
            listener.next = id + 1;
        }
        if listener.stalled {
            return 0;
        }
        self.latencies.push(now.saturating_sub(sent.load(Ordering::Acquire)));
        1
    }
}

/// Checks that a listener listens. The answer to a poll comes with the first message.
fn check(transport: Transport, connection: &mut Connection) -> Result<()> {
    let expected = match transport {
        Transport::WebSocket | Transport::Tls => "HTTP/1.1 101",
        Transport::EventStream => "HTTP/1.1 200",
        Transport::LongPoll => return Ok(()),
    };
    let head = connection.head()?;
    ensure!(head.starts_with(expected), "it does not listen: {head:?}");
    Ok(())
}

/// Returns the body of a server's first answer, and the bytes that follow it. Returns `None` if the answer
/// is incomplete.
fn answer(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let length = length(str::from_utf8(&bytes[..end]).ok()?)?;
    bytes[end..].split_at_checked(length)
}

/// Returns the opcode and payload of a server's first websocket frame, and the bytes that follow it.
/// Returns `None` if the frame is incomplete.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            (10, usize::try_from(length).ok()?)
        }
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(head..)?.get(..length)?;
    Some((bytes[0] & 15, payload, &bytes[head + length..]))
}

#[cfg(test)]
mod tests {

    use super::{DeliveryErrors, Listener, Listeners, Stream, Transport};

    /// Returns one listener, in channel 0 of 2, and its peer, which sends nothing.
    fn listeners() -> (Listeners, std::net::TcpListener) {
        let mut listeners = Listeners::new(2, 100).unwrap();
        let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(peer.local_addr().unwrap()).unwrap();
        listeners.listeners.push(Listener {
            stream: Stream::Plain(mio::net::TcpStream::from_std(stream)),
            transport: Transport::WebSocket,
            request: b"again".to_vec(),
            channel: 0,
            rest: Vec::new(),
            seen: vec![0; 2],
            next: 0,
            stalled: false,
            open: true,
        });
        (listeners, peer)
    }

    fn frames(ids: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for id in ids {
            let text = format!("[{{\"text\":\"!{id:08}!{}\"}}]", "x".repeat(id * 3));
            crate::yardstick::append_frame(&mut bytes, text.as_bytes());
        }
        bytes
    }

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        let (mut listeners, _peer) = listeners();
        // 6 comes after 8, and again; 1 is for the other channel, and 1000 was never sent.
        let received = listeners.frames(0, &frames(&[0, 2, 4, 8, 6, 6, 1, 1000]), 0);
        assert_eq!((received, listeners.received(0), listeners.latencies.len()), (5, 5, 5));
        let errors = DeliveryErrors {
            doubled: 1,
            reordered: 1,
            wrong_channel: 2,
            ..DeliveryErrors::default()
        };
        assert_eq!(listeners.errors, errors);
        listeners.frames(0, &[0x88, 0], 0);
        assert_eq!(listeners.errors, DeliveryErrors { closed: 1, ..errors });
    }

    #[test]
    fn answers_and_event_streams_may_come_in_any_pieces() {
        let text = |id| format!("[{{\"text\":\"!{id:08}!x\"}}]\n");
        let poll = |id| format!("HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{}", text(id));
        let event = |id| format!("1c\r\ndata: {}\r\n", text(id));
        let polls: String = (0..100).step_by(2).map(poll).collect();
        let events: String = (0..100).step_by(2).map(event).collect();
        type Count = fn(&mut Listeners, usize, &[u8], u64) -> usize;
        for (bytes, count) in [(polls, Listeners::answers as Count), (events, Listeners::pieces)] {
            for size in [1, 2, 3, 30, 1000] {
                let (mut listeners, _peer) = listeners();
                let mut received = 0;
                for piece in bytes.as_bytes().chunks(size) {
                    let mut all = std::mem::take(&mut listeners.listeners[0].rest);
                    all.extend_from_slice(piece);
                    received += count(&mut listeners, 0, &all, 0);
                }
                let errors = listeners.errors;
                assert_eq!((received, errors), (50, DeliveryErrors::default()), "{size}: {bytes}");
            }
        }
    }

    #[test]
    fn frames_may_come_in_any_pieces() {
        let bytes = frames(&(0..100).step_by(2).collect::<Vec<_>>());
        for size in [1, 2, 3, 30, 1000] {
            let (mut listeners, _peer) = listeners();
            let mut received = 0;
            for piece in bytes.chunks(size) {
                let mut all = std::mem::take(&mut listeners.listeners[0].rest);
                all.extend_from_slice(piece);
                received += listeners.frames(0, &all, 0);
            }
            assert_eq!(
                (received, listeners.errors),
                (50, DeliveryErrors::default()),
                "pieces of {size}"
            );
        }
    }
}
