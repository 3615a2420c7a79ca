//! The yardsticks: the cost of writing frames to sockets and nothing else.
//!
//! Both accept `GET /N` as the websocket of a listener in channel N, and `POST /N` as messages to that
//! channel, one per line of the body. They keep no state, parse no JSON and check nothing, since their
//! only client is the load generator. They have one thread, which serves sockets in the order of their
//! events.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::process::START;

const LISTENER: Token = Token(usize::MAX);

/// The number of listeners of a channel that the log serves before it looks for new requests.
const PORTION: usize = 64;

/// The answer to the only key that the load generator uses.
const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
    connection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const DONE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A TCP connection: of a listener if it has a channel, else of a publisher.
struct Peer {
    stream: TcpStream,
    inbox: Vec<u8>,
    channel: Option<usize>,
    /// `limit1`: the frames that wait for the socket, and the bytes of the first that were written.
    queue: VecDeque<Rc<[u8]>>,
    written: usize,
    /// `log`: the position in the channel's log up to which it was sent, and whether the socket is full.
    cursor: u64,
    full: bool,
}

/// A channel: its listeners, and for `log` the frames that not all of them have been sent.
#[derive(Default)]
struct Channel {
    members: Vec<usize>,
    log: Vec<u8>,
    /// The number of bytes that were removed from the beginning of the log.
    base: u64,
    /// The next member to serve in this round.
    next: usize,
    running: bool,
}

impl Channel {
    fn end(&self) -> u64 {
        self.base + self.log.len() as u64
    }
}

/// A yardstick of either kind.
struct Server {
    logs: bool,
    poll: Poll,
    acceptor: TcpListener,
    peers: Vec<Option<Peer>>,
    channels: HashMap<usize, Channel>,
    /// `log`: the channels with pending frames.
    due: VecDeque<usize>,
    buffer: Vec<u8>,
}

/// Serves on a free port until the process is killed; as `log` if `logs` is `true`, else as `limit1`.
pub(crate) fn serve(logs: bool) -> Result<()> {
    let poll = Poll::new()?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut acceptor = TcpListener::bind(any).context("no free port")?;
    poll.registry().register(&mut acceptor, LISTENER, Interest::READABLE)?;
    eprintln!("{START}http://{};", acceptor.local_addr()?);
    let mut server = Server {
        logs,
        poll,
        acceptor,
        peers: Vec::new(),
        channels: HashMap::new(),
        due: VecDeque::new(),
        buffer: vec![0; 64 * 1024],
    };
    let mut events = Events::with_capacity(512);
    loop {
        let timeout = (!server.due.is_empty()).then_some(Duration::ZERO);
        match server.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                server.accept()?;
                continue;
            }
            let number = event.token().0;
            if event.is_writable() {
                server.flush(number);
            }
            if event.is_readable() {
                server.read(number);
            }
        }
        server.portion();
    }
}

impl Server {
    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.acceptor.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accepting a connection"),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.peers.len());
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, both)?;
            self.peers.push(Some(Peer {
                stream,
                inbox: Vec::new(),
                channel: None,
                queue: VecDeque::new(),
                written: 0,
                cursor: 0,
                full: false,
            }));
        }
    }

    /// Reads all available data of a TCP connection. Data of listeners is ignored.
    fn read(&mut self, number: usize) {
        loop {
            let Some(peer) = &mut self.peers[number] else { return };
            match peer.stream.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => {
                    if peer.channel.is_none() {
                        peer.inbox.extend_from_slice(&self.buffer[..count]);
                        if self.requests(number).is_none() {
                            break;
                        }
                    }
                    // A short read has emptied the socket.
                    if count < self.buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if let Some(channel) = self.peers[number].take().and_then(|peer| peer.channel) {
            self.channels.entry(channel).or_default().members.retain(|member| *member != number);
        }
    }

    /// Serves all complete requests. Returns `None` if one is invalid.
    fn requests(&mut self, number: usize) -> Option<()> {
        loop {
            let peer = self.peers[number].as_mut()?;
            let Some(end) = memmem::find(&peer.inbox, b"\r\n\r\n") else { return Some(()) };
            let head = std::str::from_utf8(&peer.inbox[..end]).ok()?;
            let channel = head.split(' ').nth(1)?.strip_prefix('/')?.parse().ok()?;
            if head.starts_with("GET ") {
                peer.inbox = Vec::new();
                peer.channel = Some(channel);
                peer.stream.write_all(ACCEPTED).ok()?;
                let channel = self.channels.entry(channel).or_default();
                peer.cursor = channel.end();
                channel.members.push(number);
                return Some(());
            }
            let length = head.split("content-length: ").nth(1)?.lines().next()?;
            let body = end + 4..end + 4 + length.parse::<usize>().ok()?;
            if peer.inbox.len() < body.end {
                return Some(());
            }
            let mut frames = Vec::with_capacity(body.len() + 16);
            for message in peer.inbox[body.clone()].split(|byte| *byte == b'\n') {
                append_frame(&mut frames, message);
            }
            peer.inbox.drain(..body.end);
            if self.logs {
                let log = self.channels.entry(channel).or_default();
                log.log.extend_from_slice(&frames);
                if !std::mem::replace(&mut log.running, true) {
                    self.due.push_back(channel);
                }
            } else {
                self.write_to_all(channel, &frames.into());
            }
            self.peers[number].as_mut()?.stream.write_all(DONE).ok()?;
        }
    }

    /// `limit1`: writes frames once to each listener.
    fn write_to_all(&mut self, channel: usize, frames: &Rc<[u8]>) {
        let Some(channel) = self.channels.get(&channel) else { return };
        for member in &channel.members {
            let Some(peer) = &mut self.peers[*member] else { continue };
            if peer.queue.is_empty() {
                let written = peer.stream.write(frames).unwrap_or(0);
                if written == frames.len() {
                    continue;
                }
                peer.written = written;
            }
            peer.queue.push_back(Rc::clone(frames));
        }
    }

    /// Continues to write to a socket that was full.
    fn flush(&mut self, number: usize) {
        let Some(peer) = &mut self.peers[number] else { return };
        if peer.full {
            peer.full = false;
            if let Some(channel) = peer.channel.and_then(|channel| self.channels.get(&channel)) {
                send_log(peer, channel);
            }
        }
        while let Some(frames) = peer.queue.front() {
            peer.written += peer.stream.write(&frames[peer.written..]).unwrap_or(0);
            if peer.written < frames.len() {
                return;
            }
            peer.written = 0;
            peer.queue.pop_front();
        }
    }

    /// `log`: serves some listeners of the first channel with pending frames. At the end of a round,
    /// removes from the log what all listeners have received.
    fn portion(&mut self) {
        let Some(number) = self.due.pop_front() else { return };
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let end = channel.members.len().min(channel.next + PORTION);
        for member in &channel.members[channel.next.min(end)..end] {
            if let Some(peer) = self.peers[*member].as_mut().filter(|peer| !peer.full) {
                send_log(peer, channel);
            }
        }
        channel.next = end;
        if end == channel.members.len() {
            channel.next = 0;
            let log_end = channel.end();
            let peers = channel.members.iter().filter_map(|member| self.peers[*member].as_ref());
            let least = peers.clone().map(|peer| peer.cursor).min().unwrap_or(log_end);
            let idle = peers.clone().all(|peer| peer.full || peer.cursor == log_end);
            channel.log.drain(..distance(channel.base, least));
            channel.base = least;
            if idle {
                channel.running = false;
                return;
            }
        }
        self.due.push_back(number);
    }
}

fn send_log(peer: &mut Peer, channel: &Channel) {
    while peer.cursor < channel.end() {
        match peer.stream.write(&channel.log[distance(channel.base, peer.cursor)..]) {
            Ok(count) => peer.cursor += count as u64,
            Err(_) => {
                peer.full = true;
                return;
            }
        }
    }
}

/// Returns the distance from a position in a log to a later one that is still in memory.
fn distance(from: u64, to: u64) -> usize {
    usize::try_from(to - from).expect("the log is in memory")
}

/// Appends a text as an unmasked websocket frame.
pub(crate) fn append_frame(frames: &mut Vec<u8>, text: &[u8]) {
    frames.push(0x81);
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(short @ ..126), _) => frames.push(short),
        (_, Ok(medium)) => {
            frames.push(126);
            frames.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frames.push(127);
            frames.extend_from_slice(&(text.len() as u64).to_be_bytes());
        }
    }
    frames.extend_from_slice(text);
}
