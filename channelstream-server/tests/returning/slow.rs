//! A tenth reads slowly: with cursors all stay open, and in the end they have what the others have, or a
//! gap that is true. The others and the memory of the server notice nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, LocalSet};

use crate::app::{Line, Request, Site, eventually};
use crate::memory::{memory, narrow};
use crate::process::Process;
use crate::wire::{How, Wire};

struct Size {
    sockets: usize,
    slow: usize,
    /// How many messages come in a second, and for how many seconds.
    rate: u32,
    seconds: u32,
    /// How many bytes a slow one reads in a second.
    pace: usize,
    /// After how many seconds of silence it is asked, and again, after how many it is given up.
    silence: u32,
}

fn size() -> Size {
    match crate::is_full() {
        // More messages a second to so many take more than the two processors of a small machine.
        true => Size { sockets: 5000, slow: 500, rate: 10, seconds: 80, pace: 1024, silence: 20 },
        false => Size { sockets: 300, slow: 30, rate: 40, seconds: 10, pace: 2048, silence: 3 },
    }
}

/// Starts a server that gives up who is silent for twice this time.
fn start(silence: u32) -> Process {
    let silence = silence.to_string();
    Process::start(&[
        "--heartbeat-interval=1",
        "--ping-interval",
        &silence,
        "--ping-timeout",
        &silence,
        "--gc-conns-after=300",
        "--outbox-bytes=65536",
    ])
}

/// Bytes beside each number.
const PADDING: usize = 1200;

/// What all sockets of a run share.
struct Run {
    begun: Instant,
    last: u64,
    is_over: AtomicBool,
    /// How late each message came to those who read, in microseconds.
    delays: Mutex<Vec<u64>>,
}

struct Socket {
    stream: TcpStream,
    raw: Vec<u8>,
}

impl Socket {
    async fn open(address: SocketAddr, connection: &str, is_slow: bool) -> Self {
        let mut stream = match is_slow {
            true => {
                let stream = narrow(Site(address), 4096);
                stream.set_nonblocking(true).unwrap();
                TcpStream::from_std(stream).unwrap()
            }
            false => TcpStream::connect(address).await.unwrap(),
        };
        let request = format!(
            "GET /ws?conn_id={connection}&since= HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut socket = Self { stream, raw: Vec::new() };
        loop {
            socket.read(4096).await;
            let end = socket.raw.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                assert!(socket.raw.starts_with(b"HTTP/1.1 101 "));
                socket.raw.drain(..end + 4);
                return socket;
            }
        }
    }

    /// Reads at most so many bytes.
    async fn read(&mut self, most: usize) {
        loop {
            self.stream.readable().await.unwrap();
            let mut buffer = [0; 16 * 1024];
            let most = most.min(buffer.len());
            match self.stream.try_read(&mut buffer[..most]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("the socket broke: {error}"),
                Ok(0) => panic!("the socket was ended"),
                Ok(count) => return self.raw.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// The next event that is there whole.
    fn event(&mut self) -> Option<Value> {
        loop {
            let (first, second) = (*self.raw.first()?, *self.raw.get(1)?);
            let (begin, length) = match second {
                126 => {
                    (4, usize::from(u16::from_be_bytes(self.raw.get(2..4)?.try_into().unwrap())))
                }
                short => (2, usize::from(short)),
            };
            let payload = self.raw.get(begin..begin + length)?.to_vec();
            self.raw.drain(..begin + length);
            match first {
                0x81 => {
                    let mut events: Vec<Value> = serde_json::from_slice(&payload).unwrap();
                    if let Some(event) = events.pop() {
                        return Some(event);
                    }
                }
                // The mask of an empty payload does not matter.
                0x89 => drop(self.stream.try_write(&[0x8a, 0x80, 0, 0, 0, 0])),
                _ => panic!("it was closed: {}", payload.escape_ascii()),
            }
        }
    }

    /// Listens to the last message. Returns how many gaps it was told.
    async fn listen(mut self, run: Arc<Run>, pace: Option<usize>) -> usize {
        let (mut next, mut gaps, mut is_behind_gap) = (1, 0, false);
        let mut delays = Vec::new();
        while next <= run.last {
            let Some(event) = self.event() else {
                match pace.filter(|_| !run.is_over.load(Ordering::Relaxed)) {
                    Some(pace) => {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        self.read(pace).await;
                    }
                    None => self.read(usize::MAX).await,
                }
                continue;
            };
            match event["type"].as_str().unwrap() {
                "cursor" => {}
                "gap" => {
                    assert_eq!(
                        (&event["channel"], &event["reason"]),
                        (&json!("all"), &json!("evicted"))
                    );
                    assert!(!is_behind_gap, "two gaps in a row");
                    (gaps, is_behind_gap) = (gaps + 1, true);
                }
                _ => {
                    let number = event["message"]["n"].as_u64().unwrap();
                    assert_eq!(number > next, is_behind_gap, "{number} where {next} is next");
                    assert!(number >= next);
                    (next, is_behind_gap) = (number + 1, false);
                    let sent = event["message"]["at"].as_u64().unwrap();
                    let now = u64::try_from(run.begun.elapsed().as_micros()).unwrap();
                    delays.push(now - sent);
                }
            }
        }
        if pace.is_none() {
            run.delays.lock().unwrap().append(&mut delays);
        }
        gaps
    }
}

fn publish(site: Site, rate: u32, run: &Run) {
    let mut line = Line::open(site.0);
    let padding = "x".repeat(PADDING);
    for number in 1..=run.last {
        let due = run.begun + Duration::from_secs(1) * u32::try_from(number).unwrap() / rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if number == run.last {
            // The slow ones read at full speed from here on.
            run.is_over.store(true, Ordering::Relaxed);
        }
        let at = u64::try_from(run.begun.elapsed().as_micros()).unwrap();
        let message = json!([{"user": "bot", "channel": "all",
            "message": {"n": number, "at": at, "padding": padding}}]);
        assert_eq!(line.send(&Request::call("/message", &message)).status, 200);
    }
}

/// Returns the delay that 99 of 100 messages to those who read keep below, by how much the server grew,
/// and how many gaps the slow ones were told.
fn run(size: &Size, slow: usize) -> (u64, u64, usize) {
    let process = start(size.silence);
    let site = Site(process.address);
    let mut line = Line::open(site.0);
    let connect = |number: usize| {
        let body = json!({"username": format!("user{number}"), "channels": ["all"],
            "info": {"include_users": false, "include_history": false}});
        line.send(&Request::call("/connect", &body)).ok()["conn_id"].as_str().unwrap().to_owned()
    };
    let connections: Vec<String> = (0..size.sockets).map(connect).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let mut sockets = Vec::new();
        for (number, connection) in connections.iter().enumerate() {
            sockets.push(Socket::open(site.0, connection, number < slow).await);
        }
        let before = memory(process.id());
        let run = Arc::new(Run {
            begun: Instant::now(),
            last: u64::from(size.rate * size.seconds),
            is_over: AtomicBool::new(false),
            delays: Mutex::default(),
        });
        let pace = size.pace;
        let listening: Vec<JoinHandle<usize>> = sockets
            .into_iter()
            .enumerate()
            .map(|(number, socket)| {
                tokio::task::spawn_local(
                    socket.listen(Arc::clone(&run), (number < slow).then_some(pace)),
                )
            })
            .collect();
        let (rate, of_publisher) = (size.rate, Arc::clone(&run));
        let publisher = thread::spawn(move || publish(site, rate, &of_publisher));
        let mut gaps = 0;
        for one in listening {
            gaps += tokio::time::timeout(crate::PATIENCE * 2, one).await.unwrap().unwrap();
        }
        publisher.join().unwrap();
        let grown = memory(process.id()).saturating_sub(before);
        let mut delays = std::mem::take(&mut *run.delays.lock().unwrap());
        delays.sort_unstable();
        (delays[delays.len() * 99 / 100], grown, gaps)
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are asked for beside the verdict")]
fn a_slow_tenth_stays_open_and_nobody_notices() {
    let size = size();
    let (calm, calm_grown, none) = run(&Size { seconds: size.seconds / 2, ..size }, 0);
    assert_eq!(none, 0, "who reads is told no gap");
    let (p99, grown, gaps) = run(&size, size.slow);
    println!(
        "p99 {p99} µs, {calm} µs without slow ones; {} kB more, {} kB without; {gaps} gaps",
        grown / 1024,
        calm_grown / 1024
    );
    assert!(gaps > 0, "the slow ones were not slow");
    assert!(p99 < 5 * calm + 100_000, "p99 {p99} µs, {calm} µs without slow ones");
    let most = calm_grown + (16 << 20) + size.slow as u64 * 160 * 1024;
    assert!(grown < most, "{grown} bytes more, {calm_grown} without slow ones");
}

#[test]
fn who_takes_nothing_is_ended() {
    let process = start(1);
    let site = Site(process.address);
    let connection = site.connect("dead", &["all"]);
    let wire = Wire::open_on(narrow(site, 4096), How::WebSocket, &connection, "");
    let padding = "x".repeat(20_000);
    for number in 0..50 {
        let message = json!({"n": number, "padding": padding});
        site.call("/message", &json!([{"user": "bot", "channel": "all", "message": message}]));
    }
    let debug = Request::new("GET", "/admin/debug").signed();
    eventually("it is ended", || site.send(&debug).body.contains("\nlisteners: 0\n"));
    drop(wire);
}
