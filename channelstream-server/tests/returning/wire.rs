//! A client that holds a cursor, over any transport, and the ways in which its line breaks.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::app::{PATIENCE, Request, Site};

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    WebSocket,
    EventStream,
    Lines,
    Poll,
}

impl How {
    pub(crate) const ALL: [Self; 4] = [Self::WebSocket, Self::EventStream, Self::Lines, Self::Poll];

    fn path(self) -> &'static str {
        match self {
            Self::WebSocket => "/ws",
            Self::EventStream => "/sse",
            Self::Lines => "/stream",
            Self::Poll => "/listen",
        }
    }
}

/// How a line breaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// The TCP connection is reset.
    Reset,
    /// The client reads no more, and the line stays open to the server.
    Silent,
    /// The client has nothing more to send, and reads no more.
    HalfClosed,
}

/// An event, and the cursor that the client holds after it.
pub(crate) struct Heard {
    pub(crate) event: Value,
    pub(crate) cursor: String,
}

/// One open line.
pub(crate) struct Wire {
    how: How,
    stream: TcpStream,
    raw: Vec<u8>,
    /// What came out of the chunks of an answer.
    body: Vec<u8>,
    is_over: bool,
    /// The events of a poll, newest first.
    polled: Vec<Value>,
    /// How many bytes came.
    pub(crate) bytes: usize,
}

fn seq(event: &Value) -> String {
    event["seq"].as_str().unwrap_or_else(|| panic!("without a cursor: {event}")).to_owned()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

impl Wire {
    /// Opens a line from a cursor; an empty one is that of a new client. Returns `None` if the connection
    /// is unknown.
    pub(crate) fn open(site: Site, how: How, connection: &str, since: &str) -> Option<Self> {
        let stream = TcpStream::connect(site.0).unwrap();
        Self::open_on(stream, how, connection, since)
    }

    pub(crate) fn open_on(
        stream: TcpStream,
        how: How,
        connection: &str,
        since: &str,
    ) -> Option<Self> {
        stream.set_nodelay(true).unwrap();
        let path = format!("{}?conn_id={connection}&since={since}", how.path());
        let mut request = Request::new("GET", &path);
        if how == How::WebSocket {
            request = request
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        }
        let (raw, body, polled) = (Vec::new(), Vec::new(), Vec::new());
        let mut wire = Self { how, stream, raw, body, is_over: false, polled, bytes: 0 };
        wire.stream.write_all(&request.bytes()).unwrap();
        if how == How::Poll {
            return Some(wire); // its answer comes when there is something
        }
        let head = wire.head(Instant::now() + PATIENCE).expect("an answer");
        match head.split(' ').nth(1) {
            Some("101" | "200") => Some(wire),
            Some("204") => None,
            _ => panic!("{head}"),
        }
    }

    fn head(&mut self, until: Instant) -> Option<String> {
        loop {
            if let Some(end) = find(&self.raw, b"\r\n\r\n") {
                return Some(String::from_utf8(self.raw.drain(..end + 4).collect()).unwrap());
            }
            if !self.more(until) {
                return None;
            }
        }
    }

    /// Reads more. Returns `false` if nothing came in time, or the line ended.
    fn more(&mut self, until: Instant) -> bool {
        let Some(left) = until.checked_duration_since(Instant::now()) else { return false };
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.is_over |= count == 0;
                self.bytes += count;
                self.raw.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                false
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.is_over = true;
                false
            }
            Err(error) => panic!("the line cannot be read: {error}"),
        }
    }

    /// Whether the line has ended, so that the client has to come back.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next event; none if the line is over or nothing comes in time.
    pub(crate) fn next_within(&mut self, time: Duration) -> Option<Heard> {
        let until = Instant::now() + time;
        loop {
            let next = match self.how {
                How::WebSocket => self.frame(),
                How::EventStream => self.block(),
                How::Lines => self.line(),
                How::Poll => self.answer(until),
            };
            if next.is_some() || self.is_over || !self.more(until) {
                return next;
            }
        }
    }

    /// The next event, which has to come.
    pub(crate) fn next(&mut self) -> Heard {
        self.next_within(PATIENCE).expect("an event was to come")
    }

    fn frame(&mut self) -> Option<Heard> {
        loop {
            let raw = &self.raw;
            let (first, second) = (*raw.first()?, *raw.get(1)?);
            let (begin, length) = match second {
                126 => (4, usize::from(u16::from_be_bytes(raw.get(2..4)?.try_into().unwrap()))),
                127 => {
                    let length = u64::from_be_bytes(raw.get(2..10)?.try_into().unwrap());
                    (10, usize::try_from(length).unwrap())
                }
                short => (2, usize::from(short)),
            };
            let payload = raw.get(begin..begin + length)?.to_vec();
            self.raw.drain(..begin + length);
            match first {
                0x81 => {
                    let mut events: Vec<Value> = serde_json::from_slice(&payload).unwrap();
                    if let Some(event) = events.pop() {
                        return Some(Heard { cursor: seq(&event), event });
                    }
                }
                // A ping; the mask of an empty payload does not matter. The line may be gone.
                0x89 => drop(self.stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0])),
                0x88 => {
                    self.is_over = true;
                    return None;
                }
                other => panic!("a frame that begins with {other:#x}"),
            }
        }
    }

    /// Takes what is whole out of the chunks.
    fn decode(&mut self) {
        while let Some(at) = find(&self.raw, b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..at]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let Some(chunk) = self.raw.get(at + 2..at + 2 + size) else { return };
            if self.raw.len() < at + 2 + size + 2 {
                return;
            }
            self.body.extend_from_slice(chunk);
            self.raw.drain(..at + 2 + size + 2);
            self.is_over |= size == 0;
        }
    }

    fn until(&mut self, end: &[u8]) -> Option<String> {
        self.decode();
        let at = find(&self.body, end)?;
        let text = self.body.drain(..at + end.len()).take(at).collect();
        Some(String::from_utf8(text).unwrap())
    }

    fn block(&mut self) -> Option<Heard> {
        loop {
            let block = self.until(b"\n\n")?;
            let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                let event = serde_json::from_str(data).unwrap();
                return Some(Heard { event, cursor: id.to_owned() });
            }
        }
    }

    fn line(&mut self) -> Option<Heard> {
        loop {
            let line = self.until(b"\n")?;
            if !line.is_empty() {
                let event: Value = serde_json::from_str(&line).unwrap();
                return Some(Heard { cursor: seq(&event), event });
            }
        }
    }

    /// The next event of the answer to a poll, which ends the line when there is no more in it.
    fn answer(&mut self, until: Instant) -> Option<Heard> {
        if self.polled.is_empty() {
            let end = find(&self.raw, b"\r\n\r\n")?;
            let head = String::from_utf8(self.raw[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned)
            });
            let length: usize = length.unwrap().parse().unwrap();
            while self.raw.len() < end + 4 + length {
                if !self.more(until) {
                    return None;
                }
            }
            let body = &self.raw[end + 4..];
            if head.split(' ').nth(1) == Some("200") {
                self.polled = serde_json::from_slice(body).unwrap();
                self.polled.reverse();
            } else {
                assert_eq!(head.split(' ').nth(1), Some("401"), "{head}");
            }
            self.raw.clear();
        }
        let event = self.polled.pop();
        self.is_over = event.is_none();
        event.map(|event| Heard { cursor: seq(&event), event })
    }

    /// Breaks the line. What is returned keeps it open to the server.
    pub(crate) fn cut(self, cut: Cut) -> Option<TcpStream> {
        match cut {
            Cut::Reset => {
                socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
                None
            }
            Cut::Silent => Some(self.stream),
            Cut::HalfClosed => {
                // The server may have closed it.
                let _ = self.stream.shutdown(Shutdown::Write);
                Some(self.stream)
            }
        }
    }
}
