//! Shutdown: running requests are finished, waiting clients are answered, and the exit code is 0.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::{Line, Request, Site, eventually, numbered, numbers};
use crate::process::Process;

/// Polls are not woken, and what is stuck is not cut, before a test would have failed.
const LONG: [&str; 6] =
    ["--wake-connections-after", "300", "--shutdown-timeout", "25", "--body-timeout", "300"];

/// Does not count the request that asks.
fn wait_for_two_listeners_and_a_request(site: Site) {
    let debug = Request::new("GET", "/admin/debug").signed();
    eventually("two listen and one posts", || {
        site.send(&debug).body.contains("\nlisteners: 2\nrequests_in_flight: 2\n")
    });
}

#[test]
fn what_is_under_way_is_finished_on_sigterm() {
    for threads in ["1", "3"] {
        what_is_under_way_is_finished(&[&LONG[..], &["--threads", threads]].concat());
    }
}

fn what_is_under_way_is_finished(flags: &[&str]) {
    let mut process = Process::start(flags);
    let site = Site(process.address);
    let connections = ["alice", "bob"].map(|user| site.connect(user, &["room"]));
    let mut socket = site.socket(&connections[0]);
    let mut poll = Line::open(process.address);
    poll.write(&Request::new("GET", &format!("/listen?conn_id={}", connections[1])).bytes());
    let mut idle = Line::open(process.address);
    assert_eq!(idle.send(&Request::new("GET", "/admin/sign_in")).status, 200);
    let mut untouched = Line::open(process.address);
    let message = json!([{"user": "x", "channel": "room", "message": {"n": 1}}]);
    let request = Request::call("/message", &message).bytes();
    let (begin, rest) = request.split_at(request.len() - 5);
    let mut posting = Line::open(process.address);
    posting.write(begin);
    wait_for_two_listeners_and_a_request(site);

    process.signal("TERM");
    process.wait_for("the shutdown", |log| log.contains("shutting down").then_some(()));
    assert!(idle.answer(false).is_none(), "idle TCP connections end");
    drop(untouched.answer(false));
    eventually("it accepts no more", || TcpStream::connect(process.address).is_err());
    assert!(!process.log().contains("stopped"), "it waits for what is under way");
    posting.write(rest);
    assert_eq!(posting.answer(false).unwrap().status, 200);
    assert!(posting.answer(false).is_none(), "then the TCP connection ends");
    // Accepted messages reach the listeners.
    assert_eq!(socket.event()["message"], json!({"n": 1}));
    assert_eq!(socket.closed(), Some(1001));
    assert_eq!(numbers(&poll.answer(false).unwrap().events()), [1]);
    drop(socket);
    let status = process.ended();
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert!(!process.log().contains("shutdown timed out"), "{}", process.log());
}

#[test]
fn a_request_that_is_stuck_holds_listeners_for_half_of_the_time() {
    let flags = ["--shutdown-timeout", "4", "--body-timeout", "300"];
    let mut process = Process::start(&flags);
    let site = Site(process.address);
    let mut socket = site.socket(&site.connect("alice", &["room"]));
    let mut poll = Line::open(process.address);
    let waiting = site.connect("bob", &["room"]);
    poll.write(&Request::new("GET", &format!("/listen?conn_id={waiting}")).bytes());
    let request = Request::call("/message", &numbered("room", 1)).bytes();
    let mut posting = Line::open(process.address);
    posting.write(&request[..request.len() - 5]);
    wait_for_two_listeners_and_a_request(site);
    let begun = Instant::now();
    process.signal("TERM");
    assert_eq!(socket.closed(), Some(1001));
    assert_eq!(poll.answer(false).unwrap().body, "[]");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(socket);
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
    assert!(process.log().contains("closing listeners now"));
    drop(posting);
}

#[test]
fn sigint_ends_it_as_well_and_frames_go_out_before_the_close() {
    let mut process = Process::start(&LONG);
    let site = Site(process.address);
    let connection = site.connect("alice", &["room"]);
    let mut socket = site.socket(&connection);
    (1..=50).for_each(|number| site.publish("room", number));
    process.signal("INT");
    assert_eq!(numbers(&socket.events(50)), (1..=50).collect::<Vec<_>>());
    assert_eq!(socket.closed(), Some(1001));
    drop(socket);
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
}

#[test]
fn listeners_are_closed_one_portion_after_the_other() {
    // The smallest portion is one in 20 ms.
    let mut process = Process::start(&["--drain-rate", "1", "--shutdown-timeout", "60"]);
    let site = Site(process.address);
    let mut sockets: Vec<_> = (0..50)
        .map(|number| site.socket(&site.connect(&format!("user {number}"), &["room"])))
        .collect();
    let begin = Instant::now();
    process.signal("TERM");
    for socket in &mut sockets {
        assert_eq!(socket.closed(), Some(1001));
    }
    assert!(begin.elapsed() >= Duration::from_millis(49 * 20), "{:?}", begin.elapsed());
    drop(sockets);
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
}

#[test]
fn stuck_peers_do_not_hold_it() {
    let mut process = Process::start(&[
        "--shutdown-timeout",
        "1",
        "--body-timeout",
        "300",
        "--head-timeout",
        "300",
        "--outbox-bytes",
        "100000000",
        "--outbox-frames",
        "100000",
    ]);
    let site = Site(process.address);
    // Clients that never close, never read, or stop in the middle of a body or a head.
    let sockets = ["alice", "bob"].map(|user| site.socket(&site.connect(user, &["room"])));
    let text = "x".repeat(500_000);
    let message = json!([{"user": "x", "channel": "room", "message": {"text": text}}]);
    for _ in 0..20 {
        site.call("/message", &message);
    }
    let request = Request::call("/message", &message).bytes();
    let lines = [1000, 20].map(|length| {
        let mut line = Line::open(process.address);
        line.write(&request[..length]);
        line
    });
    let begun = Instant::now();
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
    assert!(begun.elapsed() >= Duration::from_secs(1), "they get the time that is set");
    assert!(process.log().contains("shutdown timed out"), "{}", process.log());
    drop((sockets, lines));
}

#[test]
fn the_next_server_takes_the_port_at_once() {
    let mut process = Process::start(&LONG);
    let site = Site(process.address);
    let connection = site.connect("alice", &["room"]);
    let mut socket = site.socket(&connection);
    process.signal("TERM");
    assert_eq!(socket.closed(), Some(1001));
    drop(socket);
    assert_eq!(process.ended().code(), Some(0));
    let port = process.address.port().to_string();
    let next = Process::start(&["--port", &port]);
    assert_eq!(Site(next.address).socket(&connection).closed(), Some(1000), "it knows nobody");
}
