//! Raw TCP connections that send any bytes, and websocket frames whole or broken.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use channelstream_server::Config;
use serde_json::{Value, json};
use socket2::{Domain, Socket as Socket2, Type};

use crate::app::{App, PATIENCE, signature};

/// A server on a free port. It stops when this is dropped.
pub(crate) struct TestServer {
    app: App,
}

impl TestServer {
    /// With the defaults.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// With changes to the defaults.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Self { app: App::start(config) }
    }

    /// Starts the shutdown, which goes on in the background.
    pub(crate) fn begin_to_stop(&mut self) {
        self.app.begin_to_stop();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.app.site.0
    }

    /// Opens a TCP connection.
    pub(crate) fn line(&self) -> Line {
        Line::to(self.address())
    }

    /// Sends one request on a TCP connection of its own, with `Connection: close`.
    #[track_caller]
    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Response {
        let mut line = self.line();
        line.request(method, target, &[headers, &[("connection", "close")]].concat(), body);
        line.answer_to(method)
    }

    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Response {
        self.request("GET", target, &[], "")
    }

    /// A signed request with any bytes as its body.
    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Response {
        let signature = signature();
        self.request(method, path, &[("x-channelstream-secret", &signature)], body)
    }

    /// A signed POST.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Response {
        self.send("POST", path, body.to_string())
    }

    /// Connects a user to channels. Returns the id of the connection.
    #[track_caller]
    pub(crate) fn connect(&self, user: &str, channels: &[&str]) -> String {
        let answer = self.post("/connect", &json!({"username": user, "channels": channels}));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["conn_id"].as_str().unwrap().to_owned()
    }

    /// Publishes an object to a channel.
    #[track_caller]
    pub(crate) fn publish(&self, channel: &str, message: &Value) {
        let body = json!([{"user": "publisher", "channel": channel, "message": message}]);
        let answer = self.post("/message", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// The admin stats.
    #[track_caller]
    pub(crate) fn figures(&self) -> Value {
        let answer = self.send("GET", "/admin/admin.json", "");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// A number of `/admin/debug`, such as `tcp_connections` or `listeners`.
    #[track_caller]
    pub(crate) fn debug_figure(&self, name: &str) -> u64 {
        let text = self.send("GET", "/admin/debug", "").text();
        let figure = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        figure.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("{name}: {text}"))
    }

    /// A websocket on a connection, opened.
    #[track_caller]
    pub(crate) fn websocket(&self, connection: &str) -> Socket {
        Socket::open(self.line(), connection)
    }

    /// Shows that the server still serves.
    #[track_caller]
    pub(crate) fn assert_alive(&self) {
        let answer = self.send("GET", "/info", "");
        assert_eq!(answer.status, 200, "no longer alive: {answer:?}");
    }
}

/// A TCP connection to the server that sends bytes unchanged.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    /// Bytes that were read but not taken.
    read: Vec<u8>,
}

impl Line {
    #[track_caller]
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// From another of the machine's own addresses.
    #[track_caller]
    pub(crate) fn from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket = Socket2::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    #[track_caller]
    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    #[track_caller]
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The same to a server that may have closed. Returns `true` if it took everything.
    pub(crate) fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// A well-formed request with a length.
    #[track_caller]
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) {
        let body = body.as_ref();
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.peer());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || method == "POST" {
            head += &format!("content-length: {}\r\n", body.len());
        }
        self.try_write([head.as_bytes(), b"\r\n", body].concat());
    }

    fn peer(&self) -> SocketAddr {
        self.stream.peer_addr().unwrap()
    }

    /// Reads once more. Returns `false` at the end, also if the TCP connection was reset.
    #[track_caller]
    fn read_more(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(count) => {
                    self.read.extend_from_slice(&piece[..count]);
                    return count > 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                Err(error) => panic!(
                    "nothing came ({error}); so far {:?}",
                    self.read.escape_ascii().to_string()
                ),
            }
        }
    }

    /// Exactly `count` bytes; `None` if the TCP connection ends before.
    #[track_caller]
    pub(crate) fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            if !self.read_more() {
                return None;
            }
        }
        Some(self.read.drain(..count).collect())
    }

    /// Everything that arrives until the server closes.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.read_more() {}
        std::mem::take(&mut self.read)
    }

    /// Waits for the server to close and expects nothing before.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "more before the close: {}", rest.escape_ascii());
    }

    /// Closes on this side, and waits for the server to do so with nothing before.
    #[track_caller]
    pub(crate) fn assert_closed_by_both(&mut self) {
        // The server may have closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.assert_closed();
    }

    /// The next answer.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Response {
        self.answer_to("GET")
    }

    /// The next answer, to a request with this method: one to HEAD has no body.
    #[track_caller]
    pub(crate) fn answer_to(&mut self, method: &str) -> Response {
        self.next_answer(method).expect("the TCP connection was closed without an answer")
    }

    /// The next answer; none if the server closes without one.
    #[track_caller]
    pub(crate) fn next_answer(&mut self, method: &str) -> Option<Response> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more() {
                let left = self.read.escape_ascii().to_string();
                assert_eq!(left, "", "the TCP connection was closed in the middle of a head");
                return None;
            }
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let first = lines.next().unwrap();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no status line: {head:?}"));
        let headers: Vec<_> = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("no header: {head:?}")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Response { status, headers, body: Vec::new() };
        if status >= 200 && method != "HEAD" {
            answer.body = match answer.header("content-length") {
                Some(length) => self.bytes(length.parse().unwrap()).expect("the whole body"),
                None if answer.header("transfer-encoding").is_some() => panic!("chunked: {head}"),
                None => self.rest(),
            };
        }
        Some(answer)
    }
}

/// An answer of the server.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Expects an error page in JSON (contract §2).
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let body = self.json();
        for key in ["message", "code", "title"] {
            assert!(body[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {body}");
        }
        let code = body["code"].as_str().unwrap();
        assert!(code.starts_with(&status.to_string()), "{body}");
    }
}

/// A frame as it came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Final bit, reserved bits and opcode.
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

/// First bytes of whole frames.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// The bytes of a client's frame, masked.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        length @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The payload of a close frame.
pub(crate) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

/// A websocket on a raw TCP connection.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) line: Line,
}

impl Socket {
    /// The head of a good handshake.
    pub(crate) fn handshake(connection: &str) -> String {
        format!(
            "GET /ws?conn_id={connection} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    }

    #[track_caller]
    pub(crate) fn open(mut line: Line, connection: &str) -> Self {
        line.write(Self::handshake(connection));
        Self::opened(line)
    }

    /// Reads the answer to a good handshake.
    #[track_caller]
    pub(crate) fn opened(mut line: Line) -> Self {
        let answer = line.answer();
        assert_eq!(answer.status, 101, "{answer:?}");
        let accept = answer.header("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Self { line }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) {
        self.line.write(masked(first, payload));
    }

    /// The next frame, heartbeats too; `None` if the TCP connection ends.
    #[track_caller]
    pub(crate) fn next_frame(&mut self) -> Option<Frame> {
        let head = self.line.bytes(2)?;
        assert_eq!(head[1] & 0x80, 0, "a server's frame is not masked");
        let length = match head[1] {
            126 => self.line.bytes(2)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            127 => self.line.bytes(8)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            short => usize::from(short),
        };
        Some(Frame { first: head[0], payload: self.line.bytes(length)? })
    }

    /// The next frame that is no heartbeat.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Frame {
        loop {
            let frame = self.next_frame().expect("the line was cut without a close frame");
            if frame.payload != b"[]" {
                return frame;
            }
        }
    }

    /// The next event.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Value {
        let frame = self.frame();
        assert_eq!(frame.first, TEXT, "{frame:?}");
        let events: Value = serde_json::from_slice(&frame.payload).unwrap();
        assert_eq!(events.as_array().map(Vec::len), Some(1), "one event a frame: {events}");
        events[0].clone()
    }

    /// Expects a close frame with this payload, except for heartbeats before it. The server
    /// ends the TCP connection once the client answers with a close frame.
    #[track_caller]
    pub(crate) fn assert_close(&mut self, payload: &[u8]) {
        assert_eq!(self.frame(), Frame { first: CLOSE, payload: payload.to_vec() });
        self.assert_ended();
    }

    /// Expects a close frame with this code and any reason.
    #[track_caller]
    pub(crate) fn assert_close_code(&mut self, code: u16) {
        let frame = self.frame();
        assert_eq!(frame.first, CLOSE, "{frame:?}");
        let got = frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        assert_eq!(got, Some(code), "{frame:?}");
        assert!(str::from_utf8(&frame.payload[2..]).is_ok(), "{frame:?}");
        self.assert_ended();
    }

    /// Expects nothing after the close frame except the end.
    #[track_caller]
    fn assert_ended(&mut self) {
        self.line.try_write(masked(CLOSE, &close(1000, b"")));
        self.line.assert_closed_by_both();
    }
}
