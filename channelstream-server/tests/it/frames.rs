//! Raw frames of HTTP/2, written by hand over a TCP connection without TLS.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::app::PATIENCE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Settings that a server announces.
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
/// The setting of the window that new streams have.
pub(crate) const INITIAL_WINDOW: u16 = 4;

/// The statuses 408 and 431, as h2 begins a block with them.
pub(crate) const REQUEST_TIMEOUT: [u8; 5] = [0x48, 0x83, 0x68, 0x0f, 0x7f];
pub(crate) const HEAD_TOO_LARGE: [u8; 5] = [0x48, 0x83, 0x69, 0x90, 0xff];

/// A frame that was received.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers as a block without compression.
pub(crate) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    /// A length of seven bits, or more behind them (RFC 7541 §5.1).
    fn text(text: &str, into: &mut Vec<u8>) {
        match text.len() {
            short @ ..127 => into.push(u8::try_from(short).unwrap()),
            long => {
                into.push(127);
                let mut rest = long - 127;
                while rest >= 128 {
                    into.push(u8::try_from(rest % 128 + 128).unwrap());
                    rest /= 128;
                }
                into.push(u8::try_from(rest).unwrap());
            }
        }
        into.extend_from_slice(text.as_bytes());
    }
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        text(name, &mut block);
        text(value, &mut block);
    }
    block
}

/// The block of a request without more headers.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)])
}

/// A connection.
pub(crate) struct Frames {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Frames {
    /// Opens a connection with some settings of the client.
    pub(crate) fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut this = Self { stream, read: Vec::new() };
        let settings = settings
            .iter()
            .flat_map(|(key, value)| [&key.to_be_bytes()[..], &value.to_be_bytes()[..]].concat());
        let settings: Vec<u8> = settings.collect();
        this.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        this.write(&frame(SETTINGS, 0, 0, &settings));
        this
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Returns `false` if the server has closed the connection.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a request without a body.
    pub(crate) fn request(&mut self, stream: u32, method: &str, path: &str) {
        self.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &request(method, path)));
    }

    /// The next frame; `None` if the server has closed the connection. A ping is answered.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let next = self.read_next()?;
        if next.kind == PING && next.flags & ACK == 0 {
            self.try_write(&frame(PING, ACK, 0, &next.payload));
        }
        Some(next)
    }

    fn read_next(&mut self) -> Option<Frame> {
        loop {
            if let Some((head, rest)) = self.read.split_first_chunk::<9>() {
                let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8;
                let length = length | usize::from(head[2]);
                if rest.len() >= length {
                    let frame = Frame {
                        kind: head[3],
                        flags: head[4],
                        stream: u32::from_be_bytes(head[5..9].try_into().unwrap()),
                        payload: rest[..length].to_vec(),
                    };
                    self.read.drain(..9 + length);
                    return Some(frame);
                }
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => self.read.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next frame of a kind; others are passed over.
    pub(crate) fn next_of(&mut self, kind: u8) -> Option<Frame> {
        std::iter::from_fn(|| self.next()).find(|frame| frame.kind == kind)
    }

    /// Reads until the server closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Bounds how long a write may wait for the server to read.
    pub(crate) fn write_timeout(&self, time: Duration) {
        self.stream.set_write_timeout(Some(time)).unwrap();
    }
}
