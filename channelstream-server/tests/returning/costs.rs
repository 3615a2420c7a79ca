//! What growth costs: the processor time of the server for an append through a pipe, and for the same text
//! as edits of the whole message, one for each token.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::{Line, Request, Site, signature};
use crate::process::Process;
use crate::wire::{How, Wire};

const LISTENERS: usize = 3;
/// Between two tokens of an answer.
const TOKEN: Duration = Duration::from_millis(10);

struct Size {
    answers: usize,
    tokens: usize,
}

fn size() -> Size {
    match crate::is_full() {
        true => Size { answers: 50, tokens: 500 },
        false => Size { answers: 10, tokens: 200 },
    }
}

/// The processor time of all threads of a process.
fn cpu(process: u32) -> Duration {
    let nanoseconds = fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|task| {
        let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn channel(number: usize) -> String {
    format!("answer{number}")
}

/// Opens the listeners of all answers, and counts what comes to them.
fn listen(site: Site, size: &Size) -> Arc<AtomicU64> {
    let events = Arc::new(AtomicU64::new(0));
    for number in 0..size.answers * LISTENERS {
        let connection = site.connect(&format!("user{number}"), &[&channel(number / LISTENERS)]);
        let mut wire = Wire::open(site, How::WebSocket, &connection, "").unwrap();
        let events = Arc::clone(&events);
        // It ends with the server.
        thread::Builder::new()
            .stack_size(128 * 1024)
            .spawn(move || {
                while !wire.is_over() {
                    let heard = wire.next_within(Duration::from_secs(1));
                    events.fetch_add(u64::from(heard.is_some()), Ordering::Relaxed);
                }
            })
            .unwrap();
    }
    events
}

/// Sends all answers through pipes. Returns how many changes they made.
fn through_pipes(site: Site, size: &Size) -> u64 {
    let mut pipes: Vec<TcpStream> = (0..size.answers)
        .map(|number| {
            let mut stream = TcpStream::connect(site.0).unwrap();
            stream.set_nodelay(true).unwrap();
            let head = format!(
                "POST /message/stream?channel={}&user=bot HTTP/1.1\r\nhost: localhost\r\n\
                 x-channelstream-secret: {}\r\ntransfer-encoding: chunked\r\n\
                 content-type: text/plain\r\nconnection: close\r\n\r\n",
                channel(number),
                signature()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    for token in 0..size.tokens {
        pace(begun, TOKEN, token);
        pipes.iter_mut().for_each(|pipe| pipe.write_all(b"6\r\ntoken \r\n").unwrap());
    }
    let end = |mut pipe: TcpStream| -> u64 {
        pipe.write_all(b"0\r\n\r\n").unwrap();
        let mut answer = String::new();
        pipe.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let item: Value = serde_json::from_str(body).unwrap();
        assert_eq!(item["status"], "done", "{item}");
        item["rev"].as_u64().unwrap()
    };
    pipes.into_iter().map(end).sum()
}

/// Sends the same as edits, each with the whole text so far. Returns how many there were.
fn by_edits(site: Site, size: &Size) -> u64 {
    let mut line = Line::open(site.0);
    let mut ids = Vec::new();
    for number in 0..size.answers {
        let message = json!([{"user": "bot", "channel": channel(number), "message": {"text": ""}}]);
        let posted = line.send(&Request::call("/message", &message)).ok();
        ids.push(posted[0]["uuid"].as_str().unwrap().to_owned());
    }
    let (begun, mut text) = (Instant::now(), String::new());
    for token in 0..size.tokens {
        pace(begun, TOKEN, token);
        text += "token ";
        for (number, id) in ids.iter().enumerate() {
            let edit = json!([{"uuid": id, "channel": channel(number), "message": {"text": text}}]);
            let request = Request::new("PATCH", "/message").signed().json(&edit);
            assert_eq!(line.send(&request).status, 200);
        }
    }
    (size.answers * size.tokens) as u64
}

fn pace(begun: Instant, step: Duration, number: usize) {
    let due = begun + step * u32::try_from(number).unwrap();
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// What answers cost by one way of sending them.
struct Cost {
    change: Duration,
    delivery: Duration,
    token: Duration,
}

fn measure(size: &Size, send: fn(Site, &Size) -> u64) -> Cost {
    let process = Process::start(&[]);
    let site = Site(process.address);
    let events = listen(site, size);
    let (before, heard) = (cpu(process.id()), events.load(Ordering::Relaxed));
    let changes = send(site, size);
    let begun = Instant::now();
    let of = || events.load(Ordering::Relaxed) - heard;
    while of() < changes * LISTENERS as u64 {
        assert!(begun.elapsed() < crate::PATIENCE, "{} events of {changes} changes", of());
        thread::sleep(Duration::from_millis(20));
    }
    let time = cpu(process.id()) - before;
    let divided = |by: u64| time / u32::try_from(by).unwrap();
    Cost {
        change: divided(changes),
        delivery: divided(changes * LISTENERS as u64),
        token: divided((size.answers * size.tokens) as u64),
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are asked for beside the verdict")]
fn a_token_costs_less_through_a_pipe_than_by_an_edit() {
    let size = size();
    let (pipe, edits) = (measure(&size, through_pipes), measure(&size, by_edits));
    println!("{} answers of {} tokens, {LISTENERS} listeners each", size.answers, size.tokens);
    for (name, cost) in [("pipe", &pipe), ("edits", &edits)] {
        let Cost { change, delivery, token } = cost;
        println!("{name}: {change:?} a change, {delivery:?} a delivery, {token:?} a token");
    }
    assert!(pipe.token < edits.token, "{:?} a token, {:?} by edits", pipe.token, edits.token);
}
