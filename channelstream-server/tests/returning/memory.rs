//! Memory: hundreds of listeners come back to a channel that stores much, and read it or do not.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::app::{Line, Request, Site};
use crate::process::Process;
use crate::wire::{How, Wire};

const LISTENERS: usize = 500;
const EVENTS: usize = 100;
const EVENT: usize = 10_000;
/// What all of them may cost together.
const GROWTH: u64 = 40 << 20;

/// Memory of a process in bytes, without what the system holds for its sockets.
pub(crate) fn memory(process: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

/// A TCP connection of a peer that takes little before it reads.
pub(crate) fn narrow(site: Site, bytes: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(bytes).unwrap();
    socket.connect(&site.0.into()).unwrap();
    socket.into()
}

/// The time of a question that the backend asks, in the middle of a few.
pub(crate) fn ask(line: &mut Line) -> Duration {
    let info =
        json!({"info": {"channels": ["news"], "include_history": false, "include_users": false}});
    let begun = Instant::now();
    assert_eq!(line.send(&Request::call("/info", &info)).status, 200);
    begun.elapsed()
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are asked for beside the verdict")]
fn those_who_come_back_to_much_cost_little() {
    let process = Process::start(&["--gc-conns-after=300"]);
    let site = Site(process.address);
    let mut line = Line::open(site.0);
    let first = site.connect("first", &["news"]);
    let mut wire = Wire::open(site, How::WebSocket, &first, "").unwrap();
    let cursor = wire.next_within(crate::PATIENCE).unwrap().cursor;
    let connect = |number: usize| {
        let body = json!({"username": format!("user{number}"), "channels": ["news"],
            "info": {"include_users": false, "include_history": false}});
        line.send(&Request::call("/connect", &body)).ok()["conn_id"].as_str().unwrap().to_owned()
    };
    let connections: Vec<String> = (0..LISTENERS).map(connect).collect();
    let pad = "x".repeat(EVENT);
    for number in 0..EVENTS {
        let message =
            json!([{"user": "bot", "channel": "news", "message": {"n": number, "pad": pad}}]);
        assert_eq!(line.send(&Request::call("/message", &message)).status, 200);
    }
    let idle = (0..50).map(|_| ask(&mut line)).max().unwrap();
    let before = memory(process.id());
    let mut longest = Duration::ZERO;
    let mut highest = 0;
    let mut wires: Vec<Wire> = connections
        .iter()
        .enumerate()
        .map(|(number, connection)| {
            let how = [How::WebSocket, How::EventStream, How::Lines][number % 3];
            let wire = Wire::open_on(narrow(site, 8 * 1024), how, connection, &cursor).unwrap();
            if number % 10 == 0 {
                longest = longest.max(ask(&mut line));
                highest = highest.max(memory(process.id()));
            }
            wire
        })
        .collect();
    // Until nothing more happens, so that all that can wait for them waits.
    let mut unread = 0;
    for _ in 0..10 {
        longest = longest.max(ask(&mut line));
        std::thread::sleep(Duration::from_millis(100));
        unread = memory(process.id()).saturating_sub(before);
        highest = highest.max(before + unread);
    }
    for number in 0..EVENTS {
        for (index, wire) in wires.iter_mut().enumerate() {
            let event = wire.next_within(crate::PATIENCE).expect("an event was to come").event;
            assert_eq!(event["message"]["n"], number);
            if index % 100 == 0 {
                longest = longest.max(ask(&mut line));
                highest = highest.max(memory(process.id()));
            }
        }
    }
    let grown = highest.saturating_sub(before);
    println!(
        "{} kB more while {LISTENERS} do not read, {} kB at most; a question takes {longest:?}, \
         {idle:?} before",
        unread / 1024,
        grown / 1024
    );
    assert!(grown < GROWTH, "{grown} bytes");
    let most = idle * 20 + Duration::from_millis(200);
    assert!(longest < most, "a question took {longest:?}, {idle:?} before");
}
