//! A plain HTTP/1.1 client that sends paths and headers unchanged.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// One request; the path holds the query too and is sent as it stands.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// Header lines in order.
#[derive(Debug, Default)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    /// Sets a header in place of an earlier one of that name.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.0.push((name.to_owned(), value.into()));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// All values of a header, one for each line.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_that_name = move |known: &str| known.eq_ignore_ascii_case(name);
        self.0.iter().filter(move |(known, _)| of_that_name(known)).map(|(_, value)| value.as_str())
    }

    /// The value of a header, repeated lines joined by commas.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.all(name).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The names in lower case, each once for every line.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, _)| name.to_ascii_lowercase())
    }
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends `request` to `host` (`address:port`) over a connection of its own, and reads the answer.
///
/// Redirects are not followed. `timeout` bounds each single read.
pub(crate) fn exchange(host: &str, request: &Request, timeout: Duration) -> Result<Response> {
    let stream = TcpStream::connect(host).with_context(|| format!("no connection to {host}"))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_nodelay(true)?;
    (&stream).write_all(&written(host, request)).context("sending the request")?;
    let mut stream = BufReader::new(stream);
    loop {
        let response = read_answer(&mut stream, &request.method).context("reading the answer")?;
        if response.status >= 200 {
            return Ok(response);
        }
    }
}

fn written(host: &str, request: &Request) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    let mut line = |name: &str, value: &str| head += &format!("{name}: {value}\r\n");
    if request.headers.get("host").is_none() {
        line("Host", host);
    }
    for (name, value) in &request.headers.0 {
        line(name, value);
    }
    line("Connection", "keep-alive");
    // an empty body has a length too, save where a body would be unusual
    if !request.body.is_empty() || !matches!(request.method.as_str(), "GET" | "HEAD") {
        line("Content-Length", &request.body.len().to_string());
    }
    let mut bytes = (head + "\r\n").into_bytes();
    bytes.extend_from_slice(&request.body);
    bytes
}

fn read_answer(stream: &mut impl BufRead, method: &str) -> Result<Response> {
    let start = read_line(stream)?;
    let mut words = start.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    ensure!(version.starts_with("HTTP/1."), "not a status line: {start}");
    let status = words.next().unwrap_or_default();
    let status = status.parse::<u16>().with_context(|| format!("not a status: {status}"))?;
    let headers = read_headers(stream)?;
    let mut body = Vec::new();
    let chunked = headers.get("transfer-encoding").is_some_and(|v| v.contains("chunked"));
    if method == "HEAD" || status < 200 || matches!(status, 204 | 304) {
    } else if chunked {
        read_chunks(stream, &mut body)?;
    } else if let Some(length) = headers.get("content-length") {
        let length = length.parse().with_context(|| format!("not a length: {length}"))?;
        read_exactly(stream, length, &mut body)?;
    } else {
        stream.read_to_end(&mut body)?;
    }
    Ok(Response { status, headers, body })
}

fn read_headers(stream: &mut impl BufRead) -> Result<Headers> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok(Headers(headers));
        }
        let (name, value) =
            line.split_once(':').with_context(|| format!("not a header line: {line}"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let line = read_line(stream)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size =
            u64::from_str_radix(size, 16).with_context(|| format!("not a chunk size: {line}"))?;
        if size == 0 {
            read_headers(stream)?;
            return Ok(());
        }
        read_exactly(stream, size, body)?;
        ensure!(read_line(stream)?.is_empty(), "chunk longer than its size");
    }
}

fn read_exactly(stream: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> Result<()> {
    let read = stream.take(length).read_to_end(body)?;
    ensure!(u64::try_from(read) == Ok(length), "body ends after {read} of {length} bytes");
    Ok(())
}

fn read_line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        bail!("connection closed inside the head");
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line.into_iter().map(char::from).collect())
}

/// The cookies of one caller, kept as a browser at a plain `http` address would.
#[derive(Default)]
pub(crate) struct CookieJar(Vec<Cookie>);

struct Cookie {
    name: String,
    value: String,
    path: String,
}

impl CookieJar {
    /// Takes what an answer of `host` (`address:port`) sets and takes away.
    pub(crate) fn keep(&mut self, host: &str, headers: &Headers) {
        let address = host.split(':').next().unwrap_or_default();
        for line in headers.all("set-cookie") {
            let mut parts = line.split(';').map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                (name.trim(), value.trim())
            });
            let (name, value) = parts.next().unwrap_or_default();
            let attributes: Vec<_> = parts.collect();
            let attribute = |wanted: &str| {
                let of_that_name = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case(wanted);
                attributes.iter().find(of_that_name).map(|(_, value)| *value)
            };
            let foreign = attribute("domain").is_some_and(|domain| domain != address);
            if foreign || attribute("secure").is_some() {
                continue;
            }
            let path = attribute("path").unwrap_or("/").to_owned();
            self.0.retain(|known| known.name != name || known.path != path);
            if attribute("max-age") != Some("0") {
                self.0.push(Cookie { name: name.to_owned(), value: value.to_owned(), path });
            }
        }
    }

    /// The `Cookie` header of a request for `path`, if there is something to send.
    pub(crate) fn header(&self, path: &str) -> Option<String> {
        let fitting = self.0.iter().filter(|cookie| path.starts_with(&cookie.path));
        let pairs: Vec<_> = fitting.map(|c| format!("{}={}", c.name, c.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}
