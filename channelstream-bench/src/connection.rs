//! `Connection`: a blocking keep-alive HTTP connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use memchr::memmem;

use crate::transport::{Stream, Tls};

/// The timeout of an answer, long enough for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A TCP connection, and the bytes that were read beyond the last answer.
pub(crate) struct Connection {
    stream: Stream<TcpStream>,
    rest: Vec<u8>,
}

impl Connection {
    /// Opens a connection, with TLS if the server speaks it.
    pub(crate) fn open(address: SocketAddr, tls: Option<&Tls>) -> Result<Self> {
        let stream = TcpStream::connect(address).context("opening a connection")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let stream = match tls {
            None => Stream::Plain(stream),
            Some(tls) => tls.begin(stream)?,
        };
        Ok(Self { stream, rest: Vec::new() })
    }

    /// Returns the stream, and the bytes that were read from it beyond the last answer.
    pub(crate) fn into_parts(self) -> (Stream<TcpStream>, Vec<u8>) {
        (self.stream, self.rest)
    }

    /// Sends a request and returns the body of its answer, which must be a success.
    pub(crate) fn call(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.write(request)?;
        self.answer()
    }

    /// Sends one or more requests without waiting for answers.
    pub(crate) fn write(&mut self, requests: &[u8]) -> Result<()> {
        self.stream.write_all(requests).context("writing a request")
    }

    /// Returns the body of the next answer, which must be a success.
    pub(crate) fn answer(&mut self) -> Result<Vec<u8>> {
        let head = self.head()?;
        let length = length(&head).with_context(|| format!("no length in {head:?}"))?;
        while self.rest.len() < length {
            self.fill()?;
        }
        let body: Vec<u8> = self.rest.drain(..length).collect();
        ensure!(head.starts_with("HTTP/1.1 200"), "{head:?} {}", body.escape_ascii());
        Ok(body)
    }

    /// Returns the head of the next answer.
    pub(crate) fn head(&mut self) -> Result<String> {
        let end = loop {
            if let Some(end) = memmem::find(&self.rest, b"\r\n\r\n") {
                break end + 4;
            }
            self.fill()?;
        };
        let head: Vec<u8> = self.rest.drain(..end).collect();
        Ok(String::from_utf8(head)?)
    }

    fn fill(&mut self) -> Result<()> {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer).context("reading an answer")?;
        ensure!(count > 0, "the server closed a connection");
        self.rest.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}

/// Returns the length of the body that follows a head.
pub(crate) fn length(head: &str) -> Option<usize> {
    head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}
