//! Clients that hold what they do not use: answers unread, sides closed, sockets that only speak.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket as System, Type};

use crate::app::{PATIENCE, Site, eventually, signature};
use crate::process::Process;
use crate::raw::{CLOSE, Line, PING, Socket, TEXT, TestServer, masked};

/// More than any other wait of these tests.
const LONG: Duration = Duration::from_secs(300);

/// What the server has to write and a peer does not read: more than the system takes.
fn large_answers() -> String {
    let head = "GET /static/channelstream/index.js.map HTTP/1.1\r\nhost: localhost\r\n\r\n";
    head.repeat(24)
}

/// A TCP connection that takes so many bytes without being read.
fn connected(address: SocketAddr, window: usize) -> TcpStream {
    let system = System::new(Domain::IPV4, Type::STREAM, None).unwrap();
    system.set_recv_buffer_size(window).unwrap();
    system.connect(&address.into()).unwrap();
    let stream = TcpStream::from(system);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One with a small window, which asks and does not read.
fn unread(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = connected(address, 2048);
    // One that was refused may be closed by now.
    let _ = stream.write_all(request.as_bytes());
    stream
}

/// Asks for so many frames of 50 kB that are stored for a new connection.
fn catch_up(site: Site, user: &str, frames: usize) -> String {
    let id = site.connect(user, &[user]);
    let text = "x".repeat(50_000);
    for number in 0..frames {
        let message = json!({"n": number, "text": text});
        site.call("/message", &json!([{"user": "p", "channel": user, "message": message}]));
    }
    format!("GET /listen?conn_id={id} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

#[test]
fn a_thousand_that_do_not_read_shut_nobody_out_and_are_gone_in_time() {
    const MANY: usize = 1000;
    let server = TestServer::with(|config| config.answer_timeout = Duration::from_secs(3));
    let unread: Vec<_> = (0..MANY).map(|_| unread(server.address(), &large_answers())).collect();
    server.assert_alive();
    eventually("they are gone", || server.debug_figure("tcp_connections") == 1);
    server.assert_alive();
    drop(unread);
}

#[test]
fn connections_that_fill_the_limit_unread_give_their_places_back() {
    const MANY: usize = 40;
    let server = TestServer::with(|config| {
        config.max_connections = MANY;
        config.answer_timeout = Duration::from_secs(3);
    });
    let mut held: Vec<_> = (0..MANY).map(|_| unread(server.address(), &large_answers())).collect();
    let mut refused = 0;
    eventually("there is place again", || {
        let mut line = server.line();
        line.request("GET", "/nowhere", &[("connection", "close")], "");
        let Some(answer) = line.next_answer("GET") else { return false };
        if answer.status == 404 {
            return true;
        }
        answer.assert_problem(503);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        refused += 1;
        false
    });
    assert!(refused > 0, "the limit was not reached");
    eventually("all are gone", || server.debug_figure("tcp_connections") == 1);
    // What they had not read is not waited for either: the connection is reset.
    for stream in &mut held {
        let mut rest = Vec::new();
        let kind = stream.read_to_end(&mut rest).map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::ConnectionReset), "behind {} bytes", rest.len());
    }
}

#[test]
fn polls_with_catch_up_that_nobody_reads_are_given_up() {
    let server = TestServer::with(|config| config.answer_timeout = Duration::from_secs(1));
    let site = Site(server.address());
    let requests: Vec<_> =
        (0..8).map(|number| catch_up(site, &format!("user{number}"), 100)).collect();
    let polls: Vec<_> = requests.iter().map(|request| unread(site.0, request)).collect();
    eventually("they are gone", || server.debug_figure("tcp_connections") == 1);
    drop(polls);
}

#[test]
fn who_reads_slowly_gets_all_of_its_answer() {
    let server = TestServer::with(|config| config.answer_timeout = Duration::from_secs(3));
    let request = catch_up(Site(server.address()), "slow", 20);
    let mut slow = connected(server.address(), 64 * 1024);
    slow.write_all(request.as_bytes()).unwrap();
    // A fifth of a megabyte a second: longer than the time in which something must be read.
    let (mut piece, mut total) = ([0; 4096], 0);
    loop {
        match slow.read(&mut piece).unwrap() {
            0 => break,
            count => total += count,
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!(total > 1_000_000, "{total}");
}

#[test]
fn who_reads_a_byte_now_and_then_is_given_up() {
    let server = TestServer::with(|config| config.answer_timeout = Duration::from_secs(1));
    let request = catch_up(Site(server.address()), "trickling", 100);
    let mut trickling = unread(server.address(), &request);
    eventually("it is gone", || {
        // Behind the reset there is nothing to read.
        let _ = trickling.read(&mut [0; 1]);
        server.debug_figure("tcp_connections") == 1
    });
}

/// TCP connections that a server at this port has closed while its peer has not taken all.
#[cfg(target_os = "linux")]
fn half_gone(port: u16) -> usize {
    // FIN_WAIT1, with the local address behind the number of the row.
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    let is_one = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|address| address.ends_with(&local))
            && fields.nth(1) == Some("04")
    };
    table.lines().filter(is_one).count()
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_system_holds_behind_a_close_goes_in_time_too() {
    let server = TestServer::with(|config| config.answer_timeout = Duration::from_secs(2));
    // More than the peer takes, and less than the system does.
    let request = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let request = format!("{request}x-channelstream-secret: {}\r\n\r\n", signature());
    let unread = unread(server.address(), &request);
    let port = server.address().port();
    eventually("the server has let go of it", || half_gone(port) == 1);
    eventually("the system has too", || half_gone(port) == 0);
    drop(unread);
}

#[test]
fn idle_lines_end_with_head_timeout() {
    let server = TestServer::with(|config| config.head_timeout = Duration::from_millis(500));
    let mut untouched = server.line();
    let mut kept = server.line();
    kept.request("GET", "/nowhere", &[], "");
    assert_eq!(kept.answer().status, 404);
    untouched.assert_closed();
    kept.assert_closed();
    // A poll that waits is not idle, however long it waits.
    let connection = server.connect("ann", &["a"]);
    let mut poll = server.line();
    poll.request("GET", &format!("/listen?conn_id={connection}"), &[], "");
    assert_eq!(poll.answer().text(), "[]");
}

#[test]
fn a_poll_that_waits_is_no_unread_answer() {
    let server = TestServer::with(|config| {
        config.answer_timeout = Duration::from_millis(100);
        config.wake_connections_after = Duration::from_secs(1);
    });
    let connection = server.connect("ann", &["a"]);
    let answer = server.get(&format!("/listen?conn_id={connection}"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "[]"));
}

#[test]
fn the_drain_does_not_wait_for_who_does_not_read() {
    let mut process = Process::start(&["--answer-timeout", "300", "--shutdown-timeout", "25"]);
    let site = Site(process.address);
    let unread: Vec<_> = (0..3)
        .map(|number| unread(site.0, &catch_up(site, &format!("user{number}"), 100)))
        .collect();
    for stream in &unread {
        assert_eq!(stream.peek(&mut [0; 1]).unwrap(), 1, "the answer has begun");
    }
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
    assert!(!process.log().contains("shutdown timed out"), "{}", process.log());
    drop(unread);
}

#[test]
fn the_drain_does_not_wait_for_heads_that_are_not_complete() {
    let mut process = Process::start(&["--shutdown-timeout", "25"]);
    let begun: Vec<_> = ["G", "\r\n", "GET / HTTP/1.1\r\nhost: localhost\r\n", ""]
        .iter()
        .map(|head| {
            let mut stream = connected(process.address, 2048);
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    // Accepted in the order in which they came.
    Site(process.address).connect("ann", &[]);
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
    assert!(!process.log().contains("shutdown timed out"), "{}", process.log());
    drop(begun);
}

#[test]
fn sockets_that_never_read_are_given_up_silent_or_not() {
    let beat = Duration::from_millis(100);
    let server = TestServer::with(|config| {
        config.heartbeat_interval = beat;
        config.ping_interval = beat * 3;
        config.ping_timeout = beat * 3;
        config.outbox_bytes = 1 << 30;
    });
    let sockets: Vec<_> = ["silent", "talks"]
        .iter()
        .map(|user| server.websocket(&server.connect(user, &["a"])))
        .collect();
    let [silent, mut talks] = <[Socket; 2]>::try_from(sockets).unwrap();
    let body = json!([{"user": "p", "channel": "a", "message": {"text": "x".repeat(900_000)}}]);
    for _ in 0..20 {
        assert_eq!(server.post("/message", &body).status, 200);
    }
    eventually("both are gone", || {
        talks.line.try_write(masked(PING, b"here"));
        server.debug_figure("listeners") == 0
    });
    drop(silent);
}

#[test]
fn who_closes_its_side_behind_a_request_gets_the_answer() {
    for threads in [1, 4] {
        let server = TestServer::with(|config| config.threads = threads);
        let mut socket = server.websocket(&server.connect("ann", &["a"]));
        for number in 0..50 {
            let body = json!([{"user": "p", "channel": "a", "message": {"n": number}}]).to_string();
            let request = format!(
                "POST /message HTTP/1.1\r\nhost: localhost\r\nx-channelstream-secret: {}\r\n\
                 content-length: {}\r\n\r\n{body}",
                signature(),
                body.len()
            );
            let mut line = server.line();
            // One after the other, and both before the end.
            line.write(request.repeat(2));
            line.stream().shutdown(Shutdown::Write).unwrap();
            for _ in 0..2 {
                let answer = line.next_answer("POST");
                assert_eq!(answer.map(|answer| answer.status), Some(200), "{threads}: {number}");
                assert_eq!(socket.event()["message"]["n"], number);
            }
            line.assert_closed();
        }
        // A large answer as well.
        let mut line = server.line();
        line.write(large_answers());
        line.stream().shutdown(Shutdown::Write).unwrap();
        let answers: Vec<_> = std::iter::from_fn(|| line.next_answer("GET")).collect();
        assert_eq!(answers.len(), 24);
        eventually("the TCP connections are gone", || server.debug_figure("tcp_connections") == 2);
    }
}

#[test]
fn a_poll_ends_with_its_peer_and_takes_no_events_along() {
    for threads in [1, 4] {
        let server = TestServer::with(|config| {
            config.threads = threads;
            config.wake_connections_after = LONG;
            config.gc_conns_after = LONG;
        });
        let connection = server.connect("ann", &["a"]);
        let poll = |server: &TestServer| {
            let mut poll = server.line();
            poll.request("GET", &format!("/listen?conn_id={connection}"), &[], "");
            eventually("the poll is open", || server.debug_figure("listeners") == 1);
            poll
        };
        // One half closes, one is gone altogether, one goes while its events are gathered.
        let half = poll(&server);
        half.stream().shutdown(Shutdown::Write).unwrap();
        eventually("the listener is closed", || server.debug_figure("listeners") == 0);
        drop(poll(&server));
        eventually("the listener is closed", || server.debug_figure("listeners") == 0);
        let gathers = poll(&server);
        server.publish("a", &json!({"n": 1}));
        drop(gathers);
        eventually("the listener is closed", || server.debug_figure("listeners") == 0);
        server.publish("a", &json!({"n": 2}));
        let answer = server.get(&format!("/listen?conn_id={connection}"));
        let numbers: Vec<_> = answer.json().as_array().unwrap().clone();
        let numbers: Vec<_> = numbers.iter().map(|event| event["message"]["n"].clone()).collect();
        assert_eq!(numbers, [1, 2]);
        drop(half);
    }
}

#[test]
fn a_half_closed_websocket_ends() {
    let server = TestServer::start();
    let connection = server.connect("ann", &["a"]);
    let mut line = server.line();
    line.write(Socket::handshake(&connection));
    line.stream().shutdown(Shutdown::Write).unwrap();
    drop(Socket::opened(line));
    eventually("it is gone", || server.debug_figure("listeners") == 0);
}

/// The numbers of the events that come until the end, or until `last`.
fn numbers(socket: &mut Socket, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last)
        && let Some(frame) = socket.next_frame()
        && frame.first != CLOSE
    {
        if frame.first == TEXT && frame.payload != b"[]" {
            let events: serde_json::Value = serde_json::from_slice(&frame.payload).unwrap();
            numbers.push(events[0]["message"]["n"].as_u64().unwrap());
        }
    }
    numbers
}

#[test]
fn who_takes_over_from_a_socket_that_overflowed_stays_and_misses_nothing() {
    const COUNT: u64 = 80;
    for threads in [1, 3] {
        let server = TestServer::with(|config| {
            config.threads = threads;
            config.outbox_bytes = 500_000;
        });
        let connection = server.connect("lazy", &["a"]);
        let mut stalled = server.websocket(&connection);
        let mut keen = server.websocket(&server.connect("keen", &["a"]));
        let text = "x".repeat(40_000);
        for number in 0..COUNT {
            server.publish("a", &json!({"n": number, "text": text}));
            assert_eq!(keen.event()["message"]["n"], number);
        }
        // The older one is open yet: it is given time to take the close frame.
        assert_eq!(server.debug_figure("listeners"), 2);
        let mut newer = server.websocket(&connection);
        let rest = numbers(&mut newer, COUNT - 1);
        let first = numbers(&mut stalled, COUNT);
        assert!(!first.is_empty() && !rest.is_empty(), "{first:?} {rest:?}");
        assert_eq!([first, rest].concat(), (0..COUNT).collect::<Vec<_>>(), "{threads}");
        server.publish("a", &json!({"n": COUNT}));
        assert_eq!(newer.event()["message"]["n"], COUNT, "it stays open");
    }
}

#[test]
fn a_poll_after_a_poll_that_overflowed_gets_the_rest() {
    let server = TestServer::with(|config| {
        config.outbox_frames = 5;
        config.wake_connections_after = Duration::from_secs(10);
    });
    let connection = server.connect("ann", &["a"]);
    let path = format!("/listen?conn_id={connection}");
    let mut poll = server.line();
    poll.request("GET", &path, &[], "");
    eventually("the poll is open", || server.debug_figure("listeners") == 1);
    for number in 0..20 {
        server.publish("a", &json!({"n": number}));
    }
    let mut got = Vec::new();
    let mut answer = poll.answer();
    while got.len() < 20 {
        for event in answer.json().as_array().unwrap() {
            got.push(event["message"]["n"].as_u64().unwrap());
        }
        if got.len() < 20 {
            answer = server.get(&path);
        }
    }
    assert_eq!(got, (0..20).collect::<Vec<_>>());
}

#[test]
fn half_closed_lines_end_behind_the_last_answer() {
    let server = TestServer::start();
    let mut lines: Vec<Line> = (0..20).map(|_| server.line()).collect();
    for line in &mut lines {
        line.write("GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n");
        line.stream().shutdown(Shutdown::Write).unwrap();
    }
    eventually("half closed TCP connections end", || server.debug_figure("tcp_connections") == 1);
}
