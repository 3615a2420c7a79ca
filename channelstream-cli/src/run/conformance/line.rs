//! `Line`: an open transport, over which a script sends to the client.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::door::Visit;
use super::events::Event;
use super::frames::{self, Opcode};
use super::verdict::{Deviation, Played};
use crate::args::ListenTransport;

/// How long a peer may take to answer a close frame.
const CLOSING: Duration = Duration::from_secs(2);

/// An open transport.
pub(super) struct Line {
    pub(super) transport: ListenTransport,
    /// Nothing for polls, each of which has its own.
    stream: Option<TcpStream>,
    /// The poll that waits for an answer.
    pub(super) poll: Option<Visit>,
    /// The connection that it listens on.
    pub(super) conn_id: String,
    /// The cursor behind what was sent.
    pub(super) cursor: String,
}

impl Line {
    pub(super) fn new(
        transport: ListenTransport,
        visit: Visit,
        conn_id: String,
        cursor: String,
    ) -> Self {
        let (stream, poll) = match transport {
            ListenTransport::Poll => (None, Some(visit)),
            _ => (Some(visit.stream), None),
        };
        Self { transport, stream, poll, conn_id, cursor }
    }

    /// Returns the bytes by which events are sent, of which a script may send a part.
    pub(super) fn bytes(&self, events: &[Event]) -> Vec<u8> {
        match self.transport {
            ListenTransport::Sse => {
                let blocks: String = events.iter().map(Event::block).collect();
                chunk(blocks.as_bytes())
            }
            _ => {
                events.iter().flat_map(|event| text_frame(&format!("[{}]", event.json()))).collect()
            }
        }
    }

    /// Sends text: a frame of a websocket, or a piece of an event stream.
    pub(super) fn text(&mut self, text: &str) -> Played {
        let bytes = match self.transport {
            ListenTransport::Sse => chunk(text.as_bytes()),
            _ => text_frame(text),
        };
        self.write(&bytes)
    }

    /// Writes bytes to the TCP connection.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Played {
        Ok(self.stream()?.write_all(bytes)?)
    }

    /// Cuts the TCP connection.
    pub(super) fn cut(self) {
        let stream = self.stream.or(self.poll.map(|visit| visit.stream));
        if let Some(stream) = stream {
            // The peer may have been faster.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Closes a websocket as a server does, which waits for the answer.
    pub(super) fn close(mut self, code: u16, reason: &str) -> Played {
        let mut stream = self.stream()?;
        frames::close(&mut stream, code, reason)?;
        stream.set_read_timeout(Some(CLOSING))?;
        // What it was about to send, such as a heartbeat of its own, comes first.
        while !matches!(frames::read(&mut stream), Ok((8, _)) | Err(_)) {}
        let _ = stream.shutdown(Shutdown::Both);
        Ok(())
    }

    /// Ends an event stream in order, after this last text.
    pub(super) fn end(mut self, last: &str) -> Played {
        let mut bytes = if last.is_empty() { Vec::new() } else { chunk(last.as_bytes()) };
        bytes.extend_from_slice(b"0\r\n\r\n");
        self.write(&bytes)?;
        let _ = self.stream()?.shutdown(Shutdown::Write);
        Ok(())
    }

    /// Sends a ping, and waits for its pong.
    pub(super) fn ping(&mut self, payload: &[u8]) -> Played {
        let mut stream = self.stream()?;
        stream.write_all(&frames::frame(Opcode::Ping, true, payload))?;
        loop {
            match frames::read(&mut stream) {
                Ok((opcode, answer)) if opcode == Opcode::Pong as u8 && answer == payload => {
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) => {
                    return Err(Deviation::new("a pong with the payload of the ping", error));
                }
            }
        }
    }

    fn stream(&mut self) -> io::Result<&TcpStream> {
        self.stream.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }
}

/// Returns a frame of text.
pub(super) fn text_frame(text: &str) -> Vec<u8> {
    frames::frame(Opcode::Text, true, text.as_bytes())
}

/// Returns a chunk of the chunked coding.
pub(super) fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}
