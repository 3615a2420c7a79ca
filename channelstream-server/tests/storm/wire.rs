//! The wire: minimal HTTP and websocket clients on real TCP connections.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use channelstream_signer::TimestampSigner;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::dice::Dice;

/// How long anything that has to happen may take, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a request may be refused or in doubt, whatever breaks meanwhile.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// The servers, which are one for their clients.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) dice: RefCell<Dice>,
    /// Servers end and come back all the time, and the journal goes away.
    pub(crate) breaks: bool,
}

impl Site {
    /// The address of any of the servers.
    pub(crate) fn any(&self) -> SocketAddr {
        match self.addresses[..] {
            [only] => only,
            _ => *self.dice.borrow_mut().of(&self.addresses),
        }
    }

    /// Whether to go to another server with the next request.
    pub(crate) fn moves(&self) -> bool {
        self.addresses.len() > 1 && self.dice.borrow_mut().one_in(3)
    }

    /// Sends one request to one server after the other, until one answers what became of it. Whatever
    /// happens meanwhile, it is carried out once. Returns the last failure if there is no answer for long.
    pub(crate) async fn insist(
        &self,
        method: &str,
        target: &str,
        body: &str,
    ) -> io::Result<Answer> {
        let key = format!("{:032x}", self.dice.borrow_mut().wide());
        let begun = Instant::now();
        loop {
            let answer = self.attempt(method, target, body, &key).await;
            let is_final = matches!(&answer, Ok((status, _)) if *status != 503);
            if is_final || begun.elapsed() > LONG_PATIENCE {
                return answer;
            }
            let pause = self.dice.borrow_mut().pause(100);
            sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        method: &str,
        target: &str,
        body: &str,
        key: &str,
    ) -> io::Result<Answer> {
        let mut line = Line::open(self.any()).await?;
        line.request_once(method, target, body, key).await
    }
}

/// Status and body of an answer.
pub(crate) type Answer = (u16, Vec<u8>);

/// A TCP connection for HTTP with keep-alive.
pub(crate) struct Line {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Line {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// One request and its answer.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        target: &str,
        body: &str,
    ) -> io::Result<Answer> {
        self.request_once(method, target, body, "").await
    }

    /// The same with a key, if it is not empty, by which the request is carried out once.
    async fn request_once(
        &mut self,
        method: &str,
        target: &str,
        body: &str,
        key: &str,
    ) -> io::Result<Answer> {
        let key =
            if key.is_empty() { String::new() } else { format!("idempotency-key: {key}\r\n") };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nx-channelstream-secret: {}\r\n\
             {}{key}content-length: {}\r\n\r\n{body}",
            TimestampSigner::new("secret").sign("/storm"),
            if target == "/connect" { "prefer: return=representation\r\n" } else { "" },
            body.len()
        );
        self.write(request.as_bytes()).await?;
        self.answer().await
    }

    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        timeout(PATIENCE, self.read_answer()).await.map_err(|_| ErrorKind::TimedOut)?
    }

    async fn read_answer(&mut self) -> io::Result<Answer> {
        let (status, head) = read_head(&mut self.stream, &mut self.read).await?;
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, length)| length.parse().ok())
            .ok_or(ErrorKind::InvalidData)?;
        while self.read.len() < length {
            more(&mut self.stream, &mut self.read).await?;
        }
        Ok((status, self.read.drain(..length).collect()))
    }

    /// Resets the TCP connection.
    pub(crate) fn cut(self) {
        reset(self.stream);
    }
}

pub(crate) async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(read).await? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

pub(crate) async fn read_head(
    stream: &mut TcpStream,
    read: &mut Vec<u8>,
) -> io::Result<(u16, String)> {
    let end = loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, read).await?;
    };
    let head = String::from_utf8(read.drain(..end).collect()).map_err(io::Error::other)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(ErrorKind::InvalidData)?, head))
}

pub(crate) fn reset(stream: TcpStream) {
    // Where it is closed already there is nothing left to reset.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}

/// What comes over a websocket.
#[derive(Debug)]
pub(crate) enum Incoming {
    Text(Vec<u8>),
    Pong,
    Close(u16, String),
    /// The TCP connection has ended: in order, after everything that was sent, or by a reset; with
    /// a whole frame, or in the middle of one.
    End {
        orderly: bool,
        whole: bool,
    },
}

impl Incoming {
    pub(crate) const fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

/// A websocket of a client.
pub(crate) struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
    /// Taken from `read` so far.
    taken: usize,
}

impl Socket {
    /// Opens one. A narrow one has little room in the system's buffers on both sides, so that a
    /// client which does not read is soon felt by the server.
    pub(crate) async fn open(address: SocketAddr, id: &str, narrow: bool) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if narrow {
            SockRef::from(&socket).set_tcp_mss(1000)?;
            socket.set_recv_buffer_size(4096)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let mut socket = Self { stream, read: Vec::new(), taken: 0 };
        let request = format!(
            "GET /ws?conn_id={id} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write(request.as_bytes()).await?;
        let head = timeout(PATIENCE, read_head(&mut socket.stream, &mut socket.read)).await;
        match head.map_err(|_| ErrorKind::TimedOut)?? {
            (101, _) => Ok(socket),
            (status, _) => Err(io::Error::other(format!("a handshake was answered {status}"))),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.map_err(|_| ErrorKind::TimedOut)?
    }

    /// Asks for a pong; the mask of nothing does not matter.
    pub(crate) async fn ping(&mut self) -> io::Result<()> {
        self.write(b"\x89\x80\0\0\0\0").await
    }

    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.write(b"\x88\x82\0\0\0\0\x03\xe8").await
    }

    /// Says that nothing more is sent, and reads on.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    pub(crate) fn cut(self) {
        reset(self.stream);
    }

    /// What comes next; none if nothing does until then. Pings are answered.
    pub(crate) async fn next(&mut self, until: Instant) -> Option<Incoming> {
        loop {
            if let Some((first, payload)) = self.frame() {
                match first {
                    0x81 => return Some(Incoming::Text(payload)),
                    0x8a => return Some(Incoming::Pong),
                    0x89 => {
                        // If the TCP connection is broken, reading fails.
                        let _ = self.write(b"\x8a\x80\0\0\0\0").await;
                    }
                    0x88 => {
                        let code =
                            payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                        let reason = payload.get(2..).unwrap_or_default();
                        let reason = String::from_utf8_lossy(reason).into_owned();
                        return Some(Incoming::Close(code, reason));
                    }
                    other => panic!("a websocket frame that begins with {other:#x}"),
                }
                continue;
            }
            self.read.drain(..std::mem::take(&mut self.taken));
            match timeout_at(until, more(&mut self.stream, &mut self.read)).await.ok()? {
                Ok(()) => {}
                Err(error) => {
                    let orderly = error.kind() == ErrorKind::UnexpectedEof;
                    let whole = self.read.is_empty();
                    return Some(Incoming::End { orderly, whole });
                }
            }
        }
    }

    /// First byte and payload of a whole frame.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = &self.read[self.taken..];
        let (head, length) = match *read.get(1)? {
            127 => (10, u64::from_be_bytes(*read.get(2..)?.first_chunk()?)),
            126 => (4, u64::from(u16::from_be_bytes(*read.get(2..)?.first_chunk()?))),
            short => (2, u64::from(short)),
        };
        let end = head + usize::try_from(length).unwrap();
        let frame = (read[0], read.get(head..end)?.to_vec());
        self.taken += end;
        Some(frame)
    }
}
