//! What a follower listens by: a websocket, an event stream, or lines of JSON.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::wire::{Incoming, PATIENCE, Socket, more, read_head, reset};

/// How a follower listens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// A narrow websocket has little room in the system's buffers.
    Socket {
        narrow: bool,
    },
    EventStream,
    Lines,
}

impl How {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Socket { .. } => "/ws",
            Self::EventStream => "/sse",
            Self::Lines => "/stream",
        }
    }
}

pub(crate) enum Ear {
    Socket(Socket),
    Stream(Stream),
}

/// An answer that does not end, with one event after the other.
pub(crate) struct Stream {
    stream: TcpStream,
    read: Vec<u8>,
    /// What came out of the chunks.
    body: Vec<u8>,
    /// What is between two events.
    end: &'static [u8],
}

impl Ear {
    /// Opens one on a connection; `None` if the connection is unknown, which a websocket tells later.
    pub(crate) async fn open(
        address: SocketAddr,
        how: How,
        id: &str,
        since: &str,
    ) -> io::Result<Option<Self>> {
        let end: &[u8] = match how {
            How::Socket { narrow } => {
                let socket = Socket::open(address, &format!("{id}&since={since}"), narrow).await?;
                return Ok(Some(Self::Socket(socket)));
            }
            How::EventStream => b"\n\n",
            How::Lines => b"\n",
        };
        let path = how.name();
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let target = format!("{path}?conn_id={id}&since={since}");
        let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut read = Vec::new();
        let head = timeout(PATIENCE, read_head(&mut stream, &mut read)).await;
        match head.map_err(|_| ErrorKind::TimedOut)?? {
            (200, _) => Ok(Some(Self::Stream(Stream { stream, read, body: Vec::new(), end }))),
            (204, _) => Ok(None),
            (status, _) => Err(io::Error::other(format!("{path} was answered {status}"))),
        }
    }

    /// What comes next; none if nothing does until then.
    pub(crate) async fn next(&mut self, until: Instant) -> Option<Incoming> {
        match self {
            Self::Socket(socket) => socket.next(until).await,
            Self::Stream(stream) => stream.next(until).await,
        }
    }

    /// Leaves in order, as far as there is an order.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.close().await,
            Self::Stream(stream) => stream.stream.shutdown().await,
        }
    }

    /// Says that nothing more is sent.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.finish().await,
            Self::Stream(stream) => stream.stream.shutdown().await,
        }
    }

    /// Resets the TCP connection.
    pub(crate) fn cut(self) {
        match self {
            Self::Socket(socket) => socket.cut(),
            Self::Stream(stream) => reset(stream.stream),
        }
    }
}

impl Stream {
    async fn next(&mut self, until: Instant) -> Option<Incoming> {
        loop {
            while let Some(text) = self.piece() {
                if let Some(event) = event(&text) {
                    return Some(Incoming::Text(format!("[{event}]").into_bytes()));
                }
            }
            let read = timeout_at(until, more(&mut self.stream, &mut self.read)).await.ok()?;
            let is_over = match read.is_ok() {
                true => self.decode(),
                false => true,
            };
            if is_over && !contains(&self.body, self.end) {
                let whole = self.read.is_empty() && self.body.is_empty();
                return Some(Incoming::End { orderly: read.is_ok(), whole });
            }
        }
    }

    /// Takes what is whole out of the chunks. Returns `true` behind the last one.
    fn decode(&mut self) -> bool {
        while let Some(at) = find(&self.read, b"\r\n") {
            let size = std::str::from_utf8(&self.read[..at]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let (begin, end) = (at + 2, at + 2 + size + 2);
            if self.read.len() < end {
                return false;
            }
            self.body.extend_from_slice(&self.read[begin..end - 2]);
            self.read.drain(..end);
            if size == 0 {
                return true;
            }
        }
        false
    }

    /// The next event, comment or heartbeat that is whole.
    fn piece(&mut self) -> Option<String> {
        let at = find(&self.body, self.end)?;
        let text = self.body.drain(..at + self.end.len()).take(at).collect();
        Some(String::from_utf8(text).unwrap())
    }
}

/// An event with its cursor, as websockets have it.
fn event(piece: &str) -> Option<String> {
    if piece.starts_with('{') {
        return Some(piece.to_owned());
    }
    let field = |name| piece.lines().find_map(|line| line.strip_prefix(name));
    let (id, data) = (field("id: ")?, field("data: ")?);
    Some(format!("{},\"seq\":\"{id}\"}}", data.strip_suffix('}')?))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    find(bytes, what).is_some()
}
