//! A server inside the test, and blocking HTTP and websocket clients for it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc as std_mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use channelstream_server::{Config, LocalAddr, Server, SharedJournal};
use channelstream_signer::TimestampSigner;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// How long tests wait for anything on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The address of a server, and the requests that tests send to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site(pub(crate) SocketAddr);

/// A server on a thread of its own. It ends when this is dropped.
pub(crate) struct App {
    pub(crate) site: Site,
    /// Where the metrics are, if they have an address of their own.
    pub(crate) metrics: Option<Site>,
    stop: Option<oneshot::Sender<End>>,
    /// Blocks the thread of the server.
    block: mpsc::UnboundedSender<Duration>,
    thread: Option<JoinHandle<()>>,
}

/// How a server ends. Dropping the sender lets it drain.
enum End {
    /// At once, as if its process died.
    Killed,
}

impl App {
    /// Starts a server on a free port.
    pub(crate) fn start(config: Config) -> Self {
        Self::start_by(config, None)
    }

    /// Starts a server on a free port and a journal that others share.
    pub(crate) fn start_on(journal: &SharedJournal, config: Config) -> Self {
        Self::start_by(config, Some(journal.clone()))
    }

    fn start_by(config: Config, journal: Option<SharedJournal>) -> Self {
        let (ready, sites) = std_mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (block, mut blocks) = mpsc::unbounded_channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let config = Config { port: 0, ..config };
                let server = match journal {
                    Some(journal) => Server::bind_on(config, &journal).await.unwrap(),
                    None => Server::bind(config).await.unwrap(),
                };
                let metrics = server.metrics_addrs().first().and_then(LocalAddr::tcp).map(Site);
                ready.send((Site(server.local_addr().unwrap()), metrics)).unwrap();
                tokio::spawn(async move {
                    while let Some(time) = blocks.recv().await {
                        thread::sleep(time);
                    }
                });
                let (drain, drains) = oneshot::channel::<()>();
                let killed = async {
                    if stopped.await.is_ok() {
                        return;
                    }
                    drop(drain);
                    std::future::pending().await
                };
                tokio::select! {
                    () = killed => {}
                    ended = server.run(async { drop(drains.await) }) => ended.unwrap(),
                }
            });
        });
        let (site, metrics) = sites.recv().unwrap();
        Self { site, metrics, stop: Some(stop), block, thread: Some(thread) }
    }

    /// Starts the shutdown, which goes on in the background.
    pub(crate) fn begin_to_stop(&mut self) {
        self.stop = None;
    }

    /// Ends the server as if its process died, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        drop(self.stop.take().unwrap().send(End::Killed));
        self.thread.take().unwrap().join().unwrap();
    }

    /// Lets the server do nothing for so long, as if its process was stopped.
    pub(crate) fn block(&self, time: Duration) {
        self.block.send(time).unwrap();
    }

    /// Stops the server and waits until it is gone.
    pub(crate) fn stop(mut self) {
        self.begin_to_stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl std::ops::Deref for App {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Site {
    /// Sends one request on a TCP connection of its own.
    pub(crate) fn send(&self, request: &Request) -> Answer {
        Line::open(self.0).send(request)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&Request::new("GET", path))
    }

    /// A signed call of the backend API that succeeds.
    pub(crate) fn call(&self, path: &str, body: &Value) -> Value {
        self.send(&Request::call(path, body)).ok()
    }

    /// Connects a user to channels. Returns the id of the connection.
    pub(crate) fn connect(&self, user: &str, channels: &[&str]) -> String {
        let answer = self.call("/connect", &json!({"username": user, "channels": channels}));
        answer["conn_id"].as_str().unwrap().to_owned()
    }

    /// Gives channels their settings.
    pub(crate) fn configure(&self, channel: &str, settings: &Value) {
        self.call("/channel_config", &json!({ channel: settings }));
    }

    /// Posts a message with a number to a channel.
    pub(crate) fn publish(&self, channel: &str, number: u64) {
        self.call("/message", &numbered(channel, number));
    }

    /// Posts a message with a number to the connections of a user.
    pub(crate) fn tell(&self, user: &str, number: u64) {
        let message = json!({"user": "tests", "pm_users": [user], "message": {"n": number}});
        self.call("/message", &json!([message]));
    }

    /// A poll of a connection and its events.
    pub(crate) fn poll(&self, connection: &str) -> Vec<Value> {
        self.get(&format!("/listen?conn_id={connection}")).events()
    }

    /// Opens a websocket on a connection.
    pub(crate) fn socket(&self, connection: &str) -> Socket {
        Socket::open(self.0, connection)
    }

    /// Returns the information about a channel.
    pub(crate) fn channel(&self, channel: &str) -> Value {
        let info = json!({"info": {"channels": [channel]}});
        self.call("/info", &info)["channels"][channel].take()
    }
}

/// The body that posts one message with a number.
pub(crate) fn numbered(channel: &str, number: u64) -> Value {
    json!([{"user": "tests", "channel": channel, "message": {"n": number}}])
}

/// The numbers of messages, in their order.
pub(crate) fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().filter_map(|event| event["message"]["n"].as_u64()).collect()
}

/// Waits until a condition is true.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "in vain waited for: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A good signature with the default secret.
pub(crate) fn signature() -> String {
    signature_with("secret")
}

/// A signature with a secret.
pub(crate) fn signature_with(secret: &str) -> String {
    TimestampSigner::new(secret).sign("/tests")
}

/// A request to be sent.
#[derive(Clone)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self { method: method.into(), path: path.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// A signed call of the backend API.
    pub(crate) fn call(path: &str, body: &Value) -> Self {
        Self::new("POST", path).signed().json(body)
    }

    pub(crate) fn signed(self) -> Self {
        self.header("x-channelstream-secret", &signature())
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// As it stands on the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += "host: localhost\r\n";
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.method != "GET" && self.method != "HEAD" {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        [head.as_bytes(), &self.body].concat()
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The JSON of an answer that has to be a good one.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// The events of a poll.
    pub(crate) fn events(&self) -> Vec<Value> {
        serde_json::from_value(self.ok()).unwrap()
    }
}

/// One TCP connection that sends one HTTP request after another.
pub(crate) struct Line {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Line {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// The same with a longer timeout.
    pub(crate) fn patient(self, patience: Duration) -> Self {
        self.stream.set_read_timeout(Some(patience)).unwrap();
        self
    }

    pub(crate) fn send(&mut self, request: &Request) -> Answer {
        self.write(&request.bytes());
        self.answer(request.method == "HEAD").expect("the TCP connection ended without an answer")
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Closes the sending half.
    pub(crate) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next answer; `None` if the TCP connection ended before one began.
    pub(crate) fn answer(&mut self, without_body: bool) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more() {
                assert!(self.read.is_empty(), "half an answer: {:?}", self.read);
                return None;
            }
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: String::new() };
        if !without_body && status != 101 {
            let length: usize = answer.header("content-length").unwrap().parse().unwrap();
            while self.read.len() < length {
                assert!(self.more(), "half an answer: {answer:?}");
            }
            answer.body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        }
        Some(answer)
    }

    /// Reads more. Returns `false` at the end of the TCP connection.
    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

/// What a websocket received.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    Heartbeat,
    Event(Value),
    Close(Option<u16>),
    /// The TCP connection has ended.
    End,
}

/// A websocket.
pub(crate) struct Socket {
    line: Line,
}

impl Socket {
    pub(crate) fn open(address: SocketAddr, connection: &str) -> Self {
        Self::open_at(address, &format!("/ws?conn_id={connection}"))
    }

    /// Opens a websocket at a path with a query.
    pub(crate) fn open_at(address: SocketAddr, path: &str) -> Self {
        let request = Request::new("GET", path)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let mut line = Line::open(address);
        let answer = line.send(&request);
        assert_eq!(answer.status, 101, "{answer:?}");
        Self { line }
    }

    /// The next frame; `None` if none arrives in time.
    pub(crate) fn next_within(&mut self, time: Duration) -> Option<Frame> {
        let until = Instant::now() + time;
        loop {
            if let Some(frame) = self.parse() {
                return Some(frame);
            }
            let left = until.checked_duration_since(Instant::now())?.max(Duration::from_millis(1));
            self.line.stream.set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 16 * 1024];
            match self.line.stream.read(&mut buffer) {
                Ok(0) => return Some(Frame::End),
                Ok(count) => self.line.read.extend_from_slice(&buffer[..count]),
                Err(error) if is_timeout(&error) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Some(Frame::End);
                }
                Err(error) => panic!("the socket cannot be read: {error}"),
            }
        }
    }

    /// The next frame of those that were read. A ping is answered, as browsers do.
    fn parse(&mut self) -> Option<Frame> {
        loop {
            let (first, payload) = self.take_frame()?;
            return Some(match first {
                0x81 => {
                    let mut events: Vec<Value> = serde_json::from_slice(&payload).unwrap();
                    assert!(events.len() <= 1, "one event a frame: {events:?}");
                    events.pop().map_or(Frame::Heartbeat, Frame::Event)
                }
                0x88 => Frame::Close(
                    payload.get(..2).map(|code| u16::from_be_bytes(code.try_into().unwrap())),
                ),
                0x89 => {
                    assert!(payload.is_empty(), "the server's pings carry nothing");
                    // The mask of an empty payload does not matter.
                    self.line.write(&[0x8a, 0x80, 0, 0, 0, 0]);
                    continue;
                }
                other => panic!("a frame that begins with {other:#x}"),
            });
        }
    }

    /// First byte and payload of the next frame that is whole.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = &self.line.read;
        let first = *read.first()?;
        let (begin, length) = match *read.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes(read.get(2..4)?.try_into().unwrap()))),
            127 => {
                let length = u64::from_be_bytes(read.get(2..10)?.try_into().unwrap());
                (10, usize::try_from(length).unwrap())
            }
            short => (2, usize::from(short)),
        };
        let payload = read.get(begin..begin + length)?.to_vec();
        self.line.read.drain(..begin + length);
        Some((first, payload))
    }

    /// The next frame, which has to come.
    pub(crate) fn next(&mut self) -> Frame {
        self.next_within(PATIENCE).expect("nothing came")
    }

    /// The next frame that is no heartbeat, which has to come.
    fn next_but_heartbeats(&mut self) -> Frame {
        let until = Instant::now() + 3 * PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.next_within(left).expect("nothing but heartbeats came") {
                Frame::Heartbeat => {}
                frame => return frame,
            }
        }
    }

    /// The next event, heartbeats aside; none if the socket was closed with 1000.
    pub(crate) fn event_or_close(&mut self) -> Option<Value> {
        match self.next_but_heartbeats() {
            Frame::Event(event) => Some(event),
            Frame::Close(Some(1000)) => None,
            other => panic!("an event was to come, not {other:?}"),
        }
    }

    /// The next event, which has to come.
    pub(crate) fn event(&mut self) -> Value {
        self.event_or_close().expect("closed")
    }

    /// The next `count` events.
    pub(crate) fn events(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.event()).collect()
    }

    /// The code with which the server closes, with nothing but heartbeats before.
    pub(crate) fn closed(&mut self) -> Option<u16> {
        match self.next_but_heartbeats() {
            Frame::Close(code) => code,
            other => panic!("a close frame was to come, not {other:?}"),
        }
    }

    /// The same with events before it.
    pub(crate) fn closed_after_events(&mut self) -> Option<u16> {
        loop {
            match self.next() {
                Frame::Heartbeat | Frame::Event(_) => {}
                Frame::Close(code) => return code,
                Frame::End => panic!("the TCP connection ended without a close frame"),
            }
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.line.write(bytes);
    }

    /// Resets the TCP connection; what it holds is lost.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.line.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Sends a close frame.
    pub(crate) fn close(&mut self, code: u16) {
        let [high, low] = code.to_be_bytes();
        // The mask of zeros leaves the payload as it is.
        self.line.write(&[0x88, 0x82, 0, 0, 0, 0, high, low]);
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
