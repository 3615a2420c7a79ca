//! `Door`: the scripted server's end of HTTP, which hands each request to the script.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::stage::Happening;

/// The most bytes of a head, and of a body.
const MOST: u64 = 4 * 1024 * 1024;

/// The headers that the server sends to pages of all origins.
const CROSS_ORIGIN: &str = "Access-Control-Allow-Origin: *\r\n\
    Access-Control-Allow-Methods: GET, POST, OPTIONS, PUT, DELETE, PATCH\r\n\
    Access-Control-Allow-Headers: Content-Type, Cache-Control, Last-Event-ID\r\n";

/// A listening socket on a free port of loopback. Its thread ends with it.
pub(super) struct Door {
    pub(super) url: String,
    is_shut: Arc<AtomicBool>,
}

/// One request, and the TCP connection that it came on.
pub(super) struct Visit {
    pub(super) method: String,
    pub(super) path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    /// When all of it had arrived.
    pub(super) at: Instant,
    pub(super) stream: TcpStream,
}

impl Door {
    /// Opens a door, whose visits are sent to `to`.
    pub(super) fn open(to: SyncSender<Happening>, patience: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let is_shut = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&is_shut);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if watched.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(stream), to) = (stream, to.clone()) else { continue };
                thread::spawn(move || {
                    let set = stream
                        .set_read_timeout(Some(patience))
                        .and_then(|()| stream.set_write_timeout(Some(patience)))
                        .and_then(|()| stream.set_nodelay(true));
                    // A TCP connection without a request is none of the script's business.
                    if let (Ok(()), Ok(visit)) = (set, Visit::read(stream)) {
                        let _ = to.send(Happening::Visit(Box::new(visit)));
                    }
                });
            }
        });
        Ok(Self { url, is_shut })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.is_shut.store(true, Ordering::Release);
        // The thread waits for a visitor.
        if let Some(address) = self.url.strip_prefix("http://") {
            let _ = TcpStream::connect(address);
        }
    }
}

impl Visit {
    fn read(stream: TcpStream) -> io::Result<Self> {
        let mut reader = BufReader::new(stream.try_clone()?).take(MOST);
        let first = String::from_utf8(line(&mut reader)?).map_err(|_| bad())?;
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(bad());
        };
        let mut headers = Vec::new();
        loop {
            let line = line(&mut reader)?;
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|byte| *byte == b':').ok_or_else(bad)?;
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut visit = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: pairs(query),
            headers,
            body: Vec::new(),
            at: Instant::now(),
            stream,
        };
        visit.body = if visit.text("transfer-encoding").eq_ignore_ascii_case("chunked") {
            chunks(&mut reader)?
        } else {
            exactly(&mut reader, visit.text("content-length").parse().unwrap_or(0))?
        };
        visit.at = Instant::now();
        Ok(visit)
    }

    /// Returns the value of a header; empty if there is none.
    pub(super) fn header(&self, name: &str) -> &[u8] {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map_or(&[], |(_, value)| value)
    }

    /// Returns the value of a header as a text.
    pub(super) fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.header(name)).into_owned()
    }

    /// Returns a parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    /// Returns `true` if any header or parameter has this text in it.
    pub(super) fn has(&self, text: &str) -> bool {
        let is_in = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        self.headers.iter().any(|(_, value)| is_in(value))
            || self.query.iter().any(|(_, value)| is_in(value.as_bytes()))
    }

    /// Answers with JSON, and closes the TCP connection.
    pub(super) fn answer(self, status: &str, more: &str, body: &Value) -> io::Result<()> {
        self.answer_as(status, "application/json", more, &body.to_string())
    }

    /// Answers, and closes the TCP connection. `more` are further header lines with their ends.
    pub(super) fn answer_as(
        mut self,
        status: &str,
        kind: &str,
        more: &str,
        body: &str,
    ) -> io::Result<()> {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n{CROSS_ORIGIN}{more}\r\n"
        );
        // In one piece: a client may leave after the head.
        let told = self.stream.write_all(format!("{head}{body}").as_bytes());
        let _ = self.stream.shutdown(Shutdown::Write);
        told
    }

    /// Answers without a body.
    pub(super) fn answer_empty(mut self, status: &str) -> io::Result<()> {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{CROSS_ORIGIN}\r\n");
        let told = self.stream.write_all(head.as_bytes());
        let _ = self.stream.shutdown(Shutdown::Write);
        told
    }

    /// Begins an answer of chunks.
    pub(super) fn begin(&mut self, kind: &str) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\n\
             X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n{CROSS_ORIGIN}\r\n"
        );
        self.stream.write_all(head.as_bytes())
    }
}

fn bad() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// Reads a line, and returns it without its end.
fn line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let line = line.strip_suffix(b"\n").ok_or_else(bad)?;
    Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

fn exactly(reader: &mut impl BufRead, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(bad()) }
}

/// Reads a body in the chunked coding; it has no trailers.
fn chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = String::from_utf8(line(reader)?).map_err(|_| bad())?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| bad())?;
        body.extend(exactly(reader, size)?);
        line(reader)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let code = more.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match (first, code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = more;
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
