//! Event streams over plain HTTP: form, heartbeats, takeover, ends, readers that do not read (contract
//! §14).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use channelstream_server::Config;
use serde_json::{Value, json};

use crate::app::{App, PATIENCE, Request, Site, eventually, numbered, numbers};
use crate::process::Process;

const SSE: &str = "/sse";
const NDJSON: &str = "/stream";
/// How much of a short heartbeat interval makes a test quick.
const BEAT: Duration = Duration::from_millis(200);

/// Heartbeats that do not come within a test.
fn quiet() -> Config {
    Config { heartbeat_interval: PATIENCE * 3, ..Config::default() }
}

/// An open stream.
struct Stream {
    stream: TcpStream,
    head: String,
    /// What was read and not decoded.
    raw: Vec<u8>,
    /// What was decoded and not looked at.
    text: String,
    is_over: bool,
}

impl Stream {
    fn open(address: SocketAddr, path: &str, connection: &str) -> Self {
        let request = Request::new("GET", &format!("{path}?conn_id={connection}"));
        Self::request(address, &request)
    }

    fn request(address: SocketAddr, request: &Request) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&request.bytes()).unwrap();
        let mut opened = Self {
            stream,
            head: String::new(),
            raw: Vec::new(),
            text: String::new(),
            is_over: false,
        };
        let end = loop {
            if let Some(at) = opened.raw.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(opened.more(), "no head: {:?}", opened.raw);
        };
        opened.head = String::from_utf8(opened.raw.drain(..end).collect()).unwrap();
        opened
    }

    /// Opens one that has to be good, and reads what comes before all events.
    fn good(site: Site, path: &str, connection: &str) -> Self {
        let mut stream = Self::open(site.0, path, connection);
        assert!(stream.head.starts_with("HTTP/1.1 200 "), "{}", stream.head);
        if path == SSE {
            assert_eq!(stream.block().unwrap(), "retry: 3000");
        }
        stream
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// Reads more. Returns `false` at the end of the TCP connection.
    fn more(&mut self) -> bool {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.raw.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came: {error}"),
        }
    }

    /// Decodes the chunks that are there.
    fn decode(&mut self) {
        while let Some(at) = self.raw.windows(2).position(|bytes| bytes == b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..at]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let Some(chunk) = self.raw.get(at + 2..at + 2 + size + 2) else { return };
            self.text += std::str::from_utf8(&chunk[..size]).unwrap();
            assert_eq!(&chunk[size..], b"\r\n");
            self.raw.drain(..at + 2 + size + 2);
            self.is_over |= size == 0;
        }
    }

    /// What comes before the next `end`; nothing at the end of the stream.
    fn until(&mut self, end: &str) -> Option<String> {
        loop {
            self.decode();
            if let Some((before, after)) = self.text.split_once(end) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.text = after;
                return Some(before);
            }
            if self.is_over {
                assert_eq!(self.text, "");
                return None;
            }
            assert!(self.more(), "the stream broke off: {:?}", self.text);
        }
    }

    /// The next block of an event stream.
    fn block(&mut self) -> Option<String> {
        self.until("\n\n")
    }

    /// The next event of an event stream, comments and the first cursor aside.
    fn event(&mut self) -> Value {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "nothing but heartbeats");
            let block = self.block().expect("an event was to come");
            if block.starts_with(':') {
                continue;
            }
            let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
            let event: Value = serde_json::from_str(field("data: ").expect(&block)).unwrap();
            assert_eq!(Some(event["type"].as_str().unwrap()), field("event: "), "{block}");
            assert!(field("id: ").is_some_and(|id| !id.is_empty()), "{block}");
            if event["type"] != "cursor" {
                return event;
            }
        }
    }

    fn events(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.event()).collect()
    }

    /// Everything up to the end of the stream.
    fn rest(&mut self) -> String {
        while !self.is_over {
            self.decode();
            if !self.is_over {
                assert!(self.more(), "the stream broke off: {:?}", self.text);
            }
        }
        std::mem::take(&mut self.text)
    }
}

fn listeners(site: Site) -> usize {
    let text = site.send(&Request::new("GET", "/admin/debug").signed()).body;
    let count = text.lines().find_map(|line| line.strip_prefix("listeners: "));
    count.unwrap().parse().unwrap()
}

/// How many listeners ended for this reason.
fn ended(site: Site, reason: &str) -> u64 {
    let stats = site.send(&Request::new("GET", "/admin/stats.json").signed()).ok();
    stats["metrics"]["listeners_ended_total"][reason].as_u64().unwrap()
}

fn gone(site: Site) {
    eventually("the listener is gone", || listeners(site) == 0);
}

#[test]
fn an_event_stream_has_retry_events_and_heartbeats() {
    let app = App::start(Config { heartbeat_interval: BEAT, ..Config::default() });
    let connection = app.connect("ann", &["room"]);
    app.publish("room", 1);
    let mut stream = Stream::open(app.site.0, SSE, &connection);
    assert!(stream.head.starts_with("HTTP/1.1 200 "), "{}", stream.head);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("access-control-allow-origin", "*"),
        ("transfer-encoding", "chunked"),
    ] {
        assert_eq!(stream.header(name), Some(value), "{name}");
    }
    assert_eq!(stream.block().unwrap(), "retry: 3000");
    let missed = stream.event();
    assert_eq!((&missed["message"], &missed["catchup"]), (&json!({"n": 1}), &json!(true)));
    app.publish("room", 2);
    assert_eq!(stream.event()["message"], json!({"n": 2}));
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(stream.block().unwrap(), ":");
    }
    assert!(begun.elapsed() >= BEAT * 2, "heartbeats come only when they are due");
    // Every event has its type, which is what a page listens for.
    let id = app.call("/message", &numbered("room", 3))[0]["uuid"].clone();
    assert_eq!(stream.event()["type"], "message");
    let edit =
        json!([{"uuid": id, "channel": "room", "message": {"data: ": "\ndata: ", "type": "\n"}}]);
    app.send(&Request::new("PATCH", "/message").signed().json(&edit)).ok();
    let edited = stream.event();
    assert_eq!(
        (&edited["type"], &edited["message"]),
        (&json!("message:edit"), &edit[0]["message"])
    );
    app.send(
        &Request::new("DELETE", "/message")
            .signed()
            .json(&json!([{"uuid": id, "channel": "room"}])),
    )
    .ok();
    assert_eq!(stream.event()["type"], "message:delete");
    app.get(&format!("/disconnect?conn_id={connection}"));
    assert_eq!(stream.rest().trim_start_matches(":\n\n"), "");
}

#[test]
fn a_stream_of_lines_has_one_event_a_line() {
    let app = App::start(Config { heartbeat_interval: BEAT, ..Config::default() });
    let connection = app.connect("ann", &["room"]);
    let mut stream = Stream::good(app.site, NDJSON, &connection);
    assert_eq!(stream.header("content-type"), Some("application/x-ndjson"));
    let first: Value = serde_json::from_str(&stream.until("\n").unwrap()).unwrap();
    assert_eq!(first["type"], "cursor");
    assert_eq!(stream.until("\n").unwrap(), "", "a heartbeat");
    app.publish("room", 1);
    let event = loop {
        match stream.until("\n").unwrap() {
            line if line.is_empty() => {}
            line => break serde_json::from_str::<Value>(&line).unwrap(),
        }
    };
    assert_eq!(event["message"], json!({"n": 1}));
    app.get(&format!("/disconnect?conn_id={connection}"));
    assert_eq!(stream.rest().trim_start_matches('\n'), "");
}

#[test]
fn requests_that_open_no_stream() {
    let config = Config { max_listeners: 1, ..quiet() };
    let app = App::start(config);
    let connection = app.connect("ann", &["room"]);
    for path in [SSE, NDJSON] {
        let answer = app.get(path);
        assert_eq!(
            (answer.status, answer.json()["conn_id"][0].clone()),
            (422, json!("Field may not be null."))
        );
        let answer = app.get(&format!("{path}?conn_id=x"));
        assert_eq!(
            (answer.status, answer.json()["conn_id"][0].clone()),
            (422, json!("Not a valid UUID."))
        );
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(
                app.send(&Request::new(method, path).json(&json!({}))).status,
                404,
                "{method}"
            );
        }
        let unknown = format!("{path}?conn_id=6f1c1a52-0d2e-4d0b-9a55-2b6d3c1f0a10");
        for method in ["GET", "HEAD"] {
            let stream = Stream::request(app.site.0, &Request::new(method, &unknown));
            assert!(stream.head.starts_with("HTTP/1.1 204 "), "{}", stream.head);
        }
        // HEAD takes nothing and opens nothing.
        app.publish("room", 1);
        let target = format!("{path}?conn_id={connection}");
        let mut stream = Stream::request(
            app.site.0,
            &Request::new("HEAD", &target).header("connection", "close"),
        );
        assert!(stream.head.starts_with("HTTP/1.1 200 "), "{}", stream.head);
        assert_eq!(stream.header("x-accel-buffering"), Some("no"));
        assert!(!stream.more() && stream.raw.is_empty());
        assert_eq!(listeners(app.site), 0);
        let open = Stream::good(app.site, path, &connection);
        let other = app.connect("bob", &["room"]);
        let answer = app.get(&format!("{path}?conn_id={other}"));
        assert_eq!(answer.status, 503, "{answer:?}");
        drop(open);
        gone(app.site);
    }
    let app = App::start(Config { enforce_https: true, ..Config::default() });
    assert_eq!(app.get(&format!("{SSE}?conn_id={connection}")).status, 406);
}

#[test]
fn the_newest_listener_gets_everything_whatever_it_is() {
    let app = App::start(quiet());
    let site = app.site;
    let connection = app.connect("ann", &["room"]);
    let over = AtomicBool::new(false);
    let mut got = Vec::new();
    let mut stream = Stream::good(site, SSE, &connection);
    let last = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                number += 1;
                site.publish("room", number);
            }
            number
        });
        for _ in 0..10 {
            got.extend(numbers(&stream.events(3)));
            let mut socket = site.socket(&connection);
            got.extend(superseded(&mut stream));
            got.extend(numbers(&socket.events(3)));
            let mut older = Stream::good(site, SSE, &connection);
            while let Some(event) = socket.event_or_close() {
                got.extend(numbers(&[event]));
            }
            got.extend(numbers(&older.events(3)));
            stream = Stream::good(site, SSE, &connection);
            got.extend(superseded(&mut older));
        }
        over.store(true, Ordering::Relaxed);
        publisher.join().unwrap()
    });
    while got.last() != Some(&last) {
        got.extend(numbers(&stream.events(1)));
    }
    assert_eq!(got, (1..=last).collect::<Vec<_>>());
    // A poll gets the events when the stream has gone, and a stream what came between.
    drop(stream);
    gone(site);
    site.publish("room", last + 1);
    assert_eq!(numbers(&site.poll(&connection)), [last + 1]);
    site.publish("room", last + 2);
    let mut stream = Stream::good(site, NDJSON, &connection);
    let mut line = || serde_json::from_str::<Value>(&stream.until("\n").unwrap()).unwrap();
    assert_eq!(line()["type"], "cursor");
    assert_eq!(numbers(&[line()]), [last + 2]);
}

/// The numbers that were on their way to a stream from which another listener has taken over.
fn superseded(stream: &mut Stream) -> Vec<u64> {
    let rest = stream.rest();
    assert!(rest.ends_with(": superseded by a newer listener\n\nretry: 86400000\n\n"), "{rest}");
    data(&rest)
}

/// The numbers of the messages in blocks.
fn data(blocks: &str) -> Vec<u64> {
    let events = blocks.lines().filter_map(|line| line.strip_prefix("data: "));
    numbers(&events.map(|event| serde_json::from_str(event).unwrap()).collect::<Vec<_>>())
}

#[test]
fn a_client_that_leaves_or_closes_its_side_gets_the_rest_when_it_comes_back() {
    let app = App::start(quiet());
    let connection = app.connect("ann", &["room"]);
    for number in 1..=3 {
        let stream = Stream::good(app.site, SSE, &connection);
        assert_eq!(listeners(app.site), 1);
        match number {
            1 => drop(stream),
            2 => stream.stream.shutdown(Shutdown::Write).unwrap(),
            _ => {
                socket2::SockRef::from(&stream.stream).set_linger(Some(Duration::ZERO)).unwrap();
                drop(stream);
            }
        }
        gone(app.site);
        app.publish("room", number);
        let mut stream = Stream::good(app.site, SSE, &connection);
        assert_eq!(numbers(&stream.events(1)), [number]);
        drop(stream);
        gone(app.site);
    }
}

#[test]
fn a_reader_that_does_not_read_is_behind_and_then_cut() {
    let config = Config {
        outbox_bytes: 1_000_000,
        ping_interval: BEAT,
        ping_timeout: BEAT,
        heartbeat_interval: BEAT,
        answer_timeout: PATIENCE * 3,
        ..Config::default()
    };
    let app = App::start(config);
    let connection = app.connect("ann", &["room"]);
    let stream = Stream::good(app.site, SSE, &connection);
    let payload = "x".repeat(500_000);
    let message = json!([{"user": "x", "channel": "room", "message": {"text": payload}}]);
    let begun = Instant::now();
    while listeners(app.site) == 1 {
        assert!(begun.elapsed() < PATIENCE, "it stays");
        app.call("/message", &message);
    }
    assert_eq!((ended(app.site, "slow"), ended(app.site, "stalled")), (0, 1));
    drop(stream);
}

/// Its outbox has place for everything, but what it does not read is never taken.
#[test]
fn a_reader_that_reads_nothing_of_what_waits_has_stalled() {
    let config = Config {
        outbox_bytes: 100_000_000,
        stored_bytes: 100_000_000,
        ping_interval: BEAT,
        ping_timeout: BEAT,
        heartbeat_interval: BEAT,
        answer_timeout: PATIENCE * 3,
        ..Config::default()
    };
    let app = App::start(config);
    let connection = app.connect("ann", &["room"]);
    let mut stream = Stream::good(app.site, NDJSON, &connection);
    let payload = "x".repeat(500_000);
    for number in 1..=40 {
        let message =
            json!([{"user": "x", "channel": "room", "message": {"n": number, "text": payload}}]);
        app.call("/message", &message);
    }
    gone(app.site);
    assert_eq!(ended(app.site, "stalled"), 1);
    assert_eq!(ended(app.site, "slow"), 0);
    // What it did not get comes to the next one.
    drop(stream);
    stream = Stream::good(app.site, SSE, &connection);
    let rest = numbers(&[stream.event()]);
    assert!(rest[0] > 1, "{rest:?}");
}

#[test]
fn a_reader_that_is_slow_for_a_while_stays() {
    let app = App::start(Config { outbox_bytes: 64_000_000, outbox_frames: 1000, ..quiet() });
    let connection = app.connect("ann", &["room"]);
    let mut stream = Stream::good(app.site, SSE, &connection);
    let payload = "x".repeat(300_000);
    for number in 0..60 {
        let message =
            json!([{"user": "x", "channel": "room", "message": {"n": number, "text": payload}}]);
        app.call("/message", &message);
    }
    assert_eq!(numbers(&stream.events(60)), (0..60).collect::<Vec<_>>());
}

#[test]
fn a_stream_that_is_always_full_does_not_hold_up_others() {
    let app = App::start(Config { outbox_bytes: 64_000_000, outbox_frames: 100_000, ..quiet() });
    let site = app.site;
    let over = AtomicBool::new(false);
    let mut full = Stream::good(site, NDJSON, &site.connect("loud", &["loud"]));
    let mut other = Stream::good(site, SSE, &site.connect("quiet", &["quiet"]));
    thread::scope(|scope| {
        scope.spawn(|| {
            let message =
                json!({"user": "x", "channel": "loud", "message": {"text": "x".repeat(10_000)}});
            let messages = json!(vec![message; 20]);
            while !over.load(Ordering::Relaxed) {
                site.call("/message", &messages);
            }
        });
        scope.spawn(|| {
            let mut buffer = vec![0; 1024 * 1024];
            full.stream.set_read_timeout(Some(BEAT)).unwrap();
            while !over.load(Ordering::Relaxed) {
                // A pause of the publisher is none of the server.
                let _ = full.stream.read(&mut buffer);
            }
        });
        for number in 0..20 {
            site.publish("quiet", number);
            assert_eq!(numbers(&other.events(1)), [number]);
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_drain_ends_streams_in_time_and_tells_each_when_to_come_back() {
    let mut process = Process::start(&["--shutdown-timeout", "10", "--heartbeat-interval", "60"]);
    let site = Site(process.address);
    let streams: Vec<_> = (0..200)
        .map(|number| Stream::good(site, SSE, &site.connect(&format!("user {number}"), &["room"])))
        .collect();
    // One that is blocked must not hold up the drain.
    let stuck = Stream::good(site, SSE, &site.connect("stuck", &["stuck"]));
    let message =
        json!({"user": "x", "channel": "stuck", "message": {"text": "x".repeat(500_000)}});
    (0..16).for_each(|_| drop(site.call("/message", &json!([message]))));
    process.signal("TERM");
    let mut times = Vec::new();
    for mut stream in streams {
        let rest = stream.rest();
        let (cursor, last) =
            rest.split_once(": the server is shutting down\n\nretry: ").expect(&rest);
        assert!(cursor.ends_with("data: {\"type\":\"cursor\"}\n\n"), "{rest}");
        times.push(last.trim_end().parse::<u64>().unwrap());
        assert!(!stream.more(), "the TCP connection ends");
    }
    assert!(times.iter().all(|time| (3000..=13_000).contains(time)), "{times:?}");
    let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(most - least > 5000, "spread over the drain: {times:?}");
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
    assert!(!process.log().contains("shutdown timed out"), "{}", process.log());
    drop(stuck);
}

/// Shows that a proxy at this address, before this server, holds nothing of a stream back.
pub(crate) fn passes_each_event_on_at_once(app: &App, address: SocketAddr) {
    for path in [SSE, NDJSON] {
        let connection = app.connect("ann", &["room"]);
        let mut stream = Stream::open(address, path, &connection);
        assert!(stream.head.starts_with("HTTP/1.1 200 "), "{}", stream.head);
        for number in 1..=5 {
            // Nothing comes behind it that could push it through a buffer.
            app.publish("room", number);
            loop {
                let line = stream.until("\n").unwrap();
                if line.contains(&format!(r#"{{"n":{number}}}"#)) {
                    break;
                }
            }
        }
    }
}
