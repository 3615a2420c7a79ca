//! Ten thousand open sockets: each gets each message once and in order, and costs little memory.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

#[path = "it/app.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod app;
#[path = "it/process.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod process;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use app::{Line, Request, Site, eventually, numbered};
use process::Process;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const SOCKETS: usize = 10_000;
const MESSAGES: u64 = 100;

/// What an idle connection may cost: its listener, its user and its place in the channel.
const BYTES_EACH: u64 = 3 * 1024;

/// Handshakes at once; the system keeps so many lines for the server until it accepts them.
const AT_ONCE: usize = 500;

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
            "GET /ws?conn_id={connection} HTTP/1.1\r\nhost: push.test\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut listener = Self { stream, rest: Vec::new() };
        loop {
            listener.more().await;
            let head = &listener.rest;
            if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
                listener.rest.drain(..end + 4);
                return listener;
            }
        }
    }

    async fn more(&mut self) {
        loop {
            self.stream.readable().await.unwrap();
            let mut buffer = [0; 8192];
            match self.stream.try_read(&mut buffer) {
                Ok(0) => panic!("the server has closed a socket"),
                Ok(count) => return self.rest.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("a socket broke: {error}"),
            }
        }
    }

    /// Reads messages until all have come, one after another.
    async fn hear_all(mut self) -> Self {
        let mut next = 1;
        while next <= MESSAGES {
            self.more().await;
            let mut at = 0;
            while let Some(frame) = frame(&self.rest[at..]) {
                at += frame.len();
                if frame == b"\x89\x00" {
                    // A ping; the mask of an empty payload does not matter.
                    assert_eq!(self.stream.try_write(b"\x8a\x80\0\0\0\0").unwrap(), 6);
                    continue;
                }
                assert_eq!(frame[0], 0x81, "{frame:?}");
                let header = if frame[1] == 126 { 4 } else { 2 };
                let text = std::str::from_utf8(&frame[header..]).unwrap();
                if text == "[]" {
                    continue;
                }
                let (_, number) = text.split_once("\"n\":").unwrap();
                let digits = number.split_once('}').unwrap().0;
                assert_eq!(digits.parse::<u64>().unwrap(), next, "{text}");
                next += 1;
            }
            self.rest.drain(..at);
        }
        assert!(self.rest.is_empty(), "more than was sent");
        self
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

async fn open_all(address: SocketAddr, connections: Vec<String>) -> Vec<Listener> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = JoinSet::new();
    for connection in connections {
        let places = Arc::clone(&places);
        opening.spawn(async move {
            let _place = places.acquire().await.unwrap();
            Listener::open(address, &connection).await
        });
    }
    opening.join_all().await
}

#[test]
#[expect(clippy::print_stdout, reason = "the figure is asked for beside the verdict")]
fn ten_thousand_sockets_hear_everything_and_cost_little() {
    // Connections have to wait for their sockets while the others are made.
    let process = Process::start(&["--gc-conns-after", "300"]);
    let site = Site(process.address);
    let debug = Request::new("GET", "/admin/debug").signed();
    site.connect("somebody", &["all"]);
    let before = memory(process.id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listeners = runtime.block_on(open_all(site.0, connect_all(site)));
    let told = format!("\nlisteners: {SOCKETS}\n");
    eventually("all listen", || site.send(&debug).body.contains(&told));

    let each = (memory(process.id()) - before) / SOCKETS as u64;
    println!("idle: {each} bytes a connection, {before} bytes before the first");

    let publisher = thread::spawn(move || {
        let mut line = Line::open(site.0);
        for number in 1..=MESSAGES {
            let request = Request::call("/message", &numbered("all", number));
            assert_eq!(line.send(&request).status, 200);
        }
    });
    runtime.block_on(async {
        let mut hearing: JoinSet<Listener> =
            listeners.into_iter().map(Listener::hear_all).collect();
        let heard = async {
            let mut heard = Vec::with_capacity(SOCKETS);
            while let Some(listener) = hearing.join_next().await {
                heard.push(listener.unwrap());
            }
            heard
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await.expect("it takes too long");
        assert_eq!(heard.len(), SOCKETS);
    });
    publisher.join().unwrap();
    assert!(each <= BYTES_EACH, "{each} bytes a connection");
}
