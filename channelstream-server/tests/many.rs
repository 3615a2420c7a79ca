//! Ten thousand open sockets: each gets each message once and in order and costs little memory,
//! also while a tenth of them does not read, and all come back at once after a restart.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
#![allow(clippy::disallowed_methods, reason = "a test may wait")]

#[path = "it/app.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod app;
#[path = "it/process.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod process;

use std::fs;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use app::{Line, Request, Site, eventually};
use process::Process;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const SOCKETS: usize = 10_000;
const MESSAGES: u64 = 100;

/// Sockets that stop reading, and how many messages of this many bytes are more than the system
/// takes for them; fewer than a channel stores, or they could not catch up.
const STALLED: usize = SOCKETS / 10;
const LARGE_MESSAGES: u64 = 60;
const LARGE: usize = 8_000;

/// What may wait for one that does not read. All wait for the same bytes, so memory stays below the
/// sum, with what the allocator has not given back yet.
const OUTBOX: usize = 64 * 1024;

/// What an idle connection may cost: its listener, its user and its place in the channel.
const BYTES_EACH: u64 = 3 * 1024;

/// Concurrent handshakes. The system's backlog holds so many TCP connections until the server
/// accepts them.
const AT_ONCE: usize = 500;

/// Between two heartbeats on a socket.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// For all messages to arrive, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(90);

/// Memory of a process in bytes, with its share of what it shares.
fn memory(process: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

/// One socket, read without a buffer of its own.
struct Listener {
    stream: TcpStream,
    /// What was read but makes no whole frame yet.
    rest: Vec<u8>,
}

impl Listener {
    async fn open(address: SocketAddr, connection: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /ws?conn_id={connection} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut listener = Self { stream, rest: Vec::new() };
        loop {
            assert!(listener.more().await, "the TCP connection ends before the answer");
            let head = &listener.rest;
            if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
                listener.rest.drain(..end + 4);
                return listener;
            }
        }
    }

    /// Waits for more to read. Returns `false` at the end of the TCP connection.
    async fn more(&mut self) -> bool {
        loop {
            self.stream.readable().await.unwrap();
            let mut buffer = [0; 8192];
            match self.stream.try_read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return false,
                Ok(count) => {
                    self.rest.extend_from_slice(&buffer[..count]);
                    return true;
                }
            }
        }
    }

    /// Reads the messages with these numbers, one after another, and no more.
    async fn hear(mut self, numbers: RangeInclusive<u64>) -> Self {
        for number in numbers {
            assert_eq!(self.next().await, Some(number));
        }
        let is_number = |bytes: &[u8]| bytes == b"\"n\":";
        assert!(!self.rest.windows(4).any(is_number), "more than was sent");
        self
    }

    /// Reads to the end that the server has set: the last number that came.
    async fn hear_to_the_end(mut self) -> Option<u64> {
        let mut last = None;
        while let Some(number) = self.next().await {
            assert!(last.is_none_or(|last| number == last + 1), "{number} after {last:?}");
            last = Some(number);
        }
        last
    }

    /// Waits for a heartbeat.
    async fn beat(mut self) -> Self {
        while self.frame().await.expect("it is not closed") != b"\x81\x02[]" {}
        self
    }

    /// The number of the next message; none at the end that the server has set.
    async fn next(&mut self) -> Option<u64> {
        loop {
            let frame = self.frame().await?;
            let header = if frame[1] == 126 { 4 } else { 2 };
            let text = std::str::from_utf8(&frame[header..]).unwrap();
            if text != "[]" {
                let (_, number) = text.split_once("\"n\":").unwrap();
                let end = number.find([',', '}']).unwrap();
                return Some(number[..end].parse().unwrap());
            }
        }
    }

    /// The next text frame; none at the end that the server has set.
    async fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            while let Some(frame) = frame(&self.rest) {
                let frame = frame.to_vec();
                self.rest.drain(..frame.len());
                match frame[0] {
                    0x81 => return Some(frame),
                    // A ping; the mask of an empty payload does not matter.
                    0x89 => assert_eq!(self.stream.try_write(b"\x8a\x80\0\0\0\0").unwrap(), 6),
                    0x88 => return None,
                    _ => panic!("{frame:?}"),
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }
}

/// The first frame in some bytes, if it is whole. Events here are short.
fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let length = match *bytes.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())),
        short @ ..126 => 2 + usize::from(short),
        _ => panic!("a frame that is too long or masked"),
    };
    bytes.get(..length)
}

/// Connects a user for each socket: the ids of the connections.
fn connect_all(site: Site) -> Vec<String> {
    let mut line = Line::open(site.0);
    let mut connect = |number: usize| {
        let info = json!({"include_users": false, "include_history": false});
        let body = json!({"username": format!("user {number}"), "channels": ["all"], "info": info});
        let answer = line.send(&Request::call("/connect", &body)).ok();
        answer["conn_id"].as_str().unwrap().to_owned()
    };
    (0..SOCKETS).map(&mut connect).collect()
}

/// Opens a socket for each connection, so many at once.
async fn open_all(address: SocketAddr, connections: &[String], at_once: usize) -> Vec<Listener> {
    let places = Arc::new(Semaphore::new(at_once));
    let opening = connections.iter().map(|connection| {
        let (places, connection) = (Arc::clone(&places), connection.clone());
        tokio::spawn(async move {
            let _place = places.acquire().await.unwrap();
            Listener::open(address, &connection).await
        })
    });
    all(opening.collect()).await
}

/// What comes of all of these, in their order.
async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let outcomes = async {
        let mut outcomes = Vec::with_capacity(tasks.len());
        for task in tasks {
            outcomes.push(task.await.unwrap());
        }
        outcomes
    };
    tokio::time::timeout(PATIENCE, outcomes).await.expect("it takes too long")
}

fn all_hear(listeners: Vec<Listener>, numbers: RangeInclusive<u64>) -> Vec<JoinHandle<Listener>> {
    listeners.into_iter().map(|listener| tokio::spawn(listener.hear(numbers.clone()))).collect()
}

/// Publishes on a thread of its own; `padding` bytes beside each number.
fn publish(site: Site, numbers: RangeInclusive<u64>, padding: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut line = Line::open(site.0);
        let padding = "x".repeat(padding);
        for number in numbers {
            let message = json!([{
                "type": "message", "user": "bot", "channel": "all",
                "message": {"n": number, "padding": padding},
            }]);
            assert_eq!(line.send(&Request::call("/message", &message)).status, 200);
        }
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are asked for beside the verdict")]
fn ten_thousand_sockets() {
    // Connections have to wait for their sockets while the others are made, and an outbox shall
    // be full soon.
    let outbox = OUTBOX.to_string();
    let flags = ["--gc-conns-after", "300", "--outbox-bytes", &outbox, "--drain-rate", "100000"];
    let mut process = Process::start(&flags);
    let site = Site(process.address);
    let listen = |count: usize| {
        let told = format!("\nlisteners: {count}\n");
        let debug = Request::new("GET", "/admin/debug").signed();
        eventually("all listen", || site.send(&debug).body.contains(&told));
    };
    site.connect("somebody", &["all"]);
    let before = memory(process.id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let connections = connect_all(site);
    let listeners = runtime.block_on(open_all(site.0, &connections, AT_ONCE));
    listen(SOCKETS);
    let idle = memory(process.id());
    let each = (idle - before) / SOCKETS as u64;
    println!("idle: {each} bytes a connection, {before} bytes before the first");
    assert!(each <= BYTES_EACH, "{each} bytes a connection");

    // All hear all.
    let publisher = publish(site, 1..=MESSAGES, 0);
    let mut listeners = runtime.block_on(all(all_hear(listeners, 1..=MESSAGES)));
    publisher.join().unwrap();

    // A tenth does not read: the others hear all, it is closed, and hears the rest on its return.
    let large = MESSAGES + 1..=MESSAGES + LARGE_MESSAGES;
    let stalled: Vec<Listener> = listeners.drain(..STALLED).collect();
    for first in large.clone().step_by(5) {
        // As much as fits an outbox, so that a client that reads is never closed, however slow the
        // machine.
        let few = first..=first + 4;
        let publisher = publish(site, few.clone(), LARGE);
        listeners = runtime.block_on(all(all_hear(listeners, few)));
        publisher.join().unwrap();
    }
    let grown = memory(process.id()).saturating_sub(idle);
    println!("stalled: {grown} bytes for {STALLED} that do not read");
    assert!(grown <= (STALLED * OUTBOX) as u64, "{grown} bytes for those that do not read");
    listen(SOCKETS - STALLED);
    let heard = stalled.into_iter().map(|listener| tokio::spawn(listener.hear_to_the_end()));
    let heard = runtime.block_on(all(heard.collect()));
    let back = runtime.block_on(open_all(site.0, &connections[..STALLED], AT_ONCE));
    let rest = heard.into_iter().zip(back).map(|(last, listener)| {
        let next = last.map_or(*large.start(), |last| last + 1);
        assert!(next <= *large.end(), "it was closed for no reason");
        tokio::spawn(listener.hear(next..=*large.end()))
    });
    let back = runtime.block_on(all(rest.collect()));
    listen(SOCKETS);

    // After a restart all come back at once, and none waits for its heartbeat longer than usual
    // but for the time of the storm itself.
    drop((listeners, back));
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
    let port = site.0.port().to_string();
    let process = Process::start(&[&flags[..], &["--port", &port]].concat());
    let begin = Instant::now();
    let connections = connect_all(site);
    let listeners = runtime.block_on(open_all(site.0, &connections, SOCKETS));
    let storm = begin.elapsed();
    let opened = Instant::now();
    let beats = listeners.into_iter().map(|listener| tokio::spawn(listener.beat()));
    let listeners = runtime.block_on(all(beats.collect()));
    println!("restart: {storm:?} for all, then {:?} to the last heartbeat", opened.elapsed());
    assert!(opened.elapsed() <= HEARTBEAT + storm, "{:?}", opened.elapsed());
    let publisher = publish(site, 1..=1, 0);
    runtime.block_on(all(all_hear(listeners, 1..=1)));
    publisher.join().unwrap();
    drop(process);
}
