//! What outsiders can fill has an end, says so, and is free again afterwards.

use std::net::Shutdown;
use std::time::Duration;

use serde_json::json;

use crate::app::{eventually, signature};
use crate::raw::{CLOSE, Frame, Line, PING, Response, Socket, TEXT, TestServer, close};

#[track_caller]
fn assert_unavailable(answer: &Response, setting: &str) {
    answer.assert_problem(503);
    assert_eq!(answer.json()["outcome"], "not_done", "{answer:?}");
    assert_put_off(answer, setting);
}

/// The answer names the setting that is the bound, and when to come again.
#[track_caller]
fn assert_put_off(answer: &Response, setting: &str) {
    assert!(answer.text().contains(setting), "{answer:?}");
    let seconds = answer.header("retry-after").and_then(|text| text.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| seconds > 0), "{answer:?}");
}

#[test]
fn lines_over_the_bound_get_503_without_having_to_ask() {
    let server = TestServer::with(|config| config.max_connections = 3);
    let mut lines: Vec<Line> = (0..3).map(|_| server.line()).collect();
    for line in &mut lines {
        line.request("GET", "/disconnect?conn_id=00000000-0000-0000-0000-000000000000", &[], "");
        assert_eq!(line.answer().status, 200);
    }
    for _ in 0..3 {
        let mut over = server.line();
        assert_unavailable(&over.answer(), "max_connections");
        over.assert_closed();
    }
    // Those that are open are served, and one that ends makes place.
    let mut first = lines.remove(0);
    first.request("GET", "/nowhere", &[], "");
    assert_eq!(first.answer().status, 404);
    drop(first);
    eventually("there is place again", || server.get("/nowhere").status == 404);
}

#[test]
fn requests_over_the_bound_from_one_address_get_429() {
    let server = TestServer::with(|config| {
        config.max_requests_per_address = 5;
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
    });
    let ask = |path: &str, address: &str| {
        server.request("GET", path, &[("x-forwarded-for", address)], "")
    };
    for _ in 0..5 {
        assert_eq!(ask("/nowhere", "203.0.113.5").status, 404);
    }
    for path in ["/nowhere", "/ws", "/listen", "/admin/sign_in"] {
        let answer = ask(path, "203.0.113.5");
        answer.assert_problem(429);
        assert_put_off(&answer, "max_requests_per_address");
    }
    assert_eq!(ask("/nowhere", "203.0.113.6").status, 404, "another address is none of its");
    // Nor are backends, of which one may ask for everybody.
    for _ in 0..10 {
        server.assert_alive();
    }
}

#[test]
fn listeners_over_the_bound_get_503() {
    let server = TestServer::with(|config| config.max_listeners = 2);
    let (one, two, three) =
        (server.connect("a", &["a"]), server.connect("b", &["a"]), server.connect("c", &["a"]));
    let mut first = server.websocket(&one);
    let mut poll = server.line();
    poll.request("GET", &format!("/listen?conn_id={two}"), &[], "");
    eventually("the poll is open", || server.debug_figure("listeners") == 2);
    let mut line = server.line();
    line.write(Socket::handshake(&three));
    assert_unavailable(&line.answer(), "max_listeners");
    assert_unavailable(&server.get(&format!("/listen?conn_id={three}")), "max_listeners");
    // Those that listen are not harmed.
    server.publish("a", &json!({"n": 1}));
    assert_eq!(first.event()["message"]["n"], 1);
    assert_eq!(poll.answer().json()[0]["message"]["n"], 1);
    first.send(CLOSE, &close(1000, b""));
    first.assert_close(&close(1000, b""));
    eventually("there is place again", || server.debug_figure("listeners") == 0);
    server.websocket(&three);
}

#[test]
fn who_does_not_read_is_closed_and_gets_the_rest_on_return_once_and_in_order() {
    const COUNT: u64 = 80;
    let server = TestServer::with(|config| {
        config.outbox_bytes = 500_000;
        config.gc_conns_after = Duration::from_secs(600);
    });
    let lazy = server.connect("lazy", &["a"]);
    let keen = server.connect("keen", &["a"]);
    let mut stalled = server.websocket(&lazy);
    let mut reading = server.websocket(&keen);
    let text = "x".repeat(40_000);
    for number in 0..COUNT {
        server.publish("a", &json!({"n": number, "text": text}));
        assert_eq!(reading.event()["message"]["n"], number, "others are not held up");
    }
    eventually("the stalled one is given up", || server.debug_figure("listeners") == 1);
    let mut numbers = Vec::new();
    while let Some(frame) = stalled.next_frame() {
        if frame.first == TEXT && frame.payload != b"[]" {
            let events: serde_json::Value = serde_json::from_slice(&frame.payload).unwrap();
            numbers.push(events[0]["message"]["n"].as_u64().unwrap());
        }
    }
    let before = numbers.len();
    let mut again = server.websocket(&lazy);
    while numbers.last() != Some(&(COUNT - 1)) {
        numbers.push(again.event()["message"]["n"].as_u64().unwrap());
    }
    assert!(0 < before && before < numbers.len(), "{before} before the end");
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
    server.publish("a", &json!({"n": COUNT}));
    assert_eq!(again.event()["message"]["n"], COUNT);
}

#[test]
fn the_outbox_is_bounded_in_frames_too_and_says_why_it_closes() {
    let server = TestServer::with(|config| {
        config.outbox_frames = 5;
        config.outbox_bytes = 1 << 30;
    });
    let connection = server.connect("lazy", &["a"]);
    let mut stalled = server.websocket(&connection);
    let body = json!([{"user": "p", "channel": "a", "message": {"text": "x".repeat(900_000)}}]);
    for _ in 0..30 {
        assert_eq!(server.post("/message", &body).status, 200);
    }
    // As soon as it reads again it learns what happened.
    let mut last = None;
    while let Some(frame) = stalled.next_frame() {
        last = Some(frame);
        if last.as_ref().is_some_and(|frame| frame.first == CLOSE) {
            break;
        }
    }
    let Some(Frame { first: CLOSE, payload }) = last else { panic!("cut without a close frame") };
    assert_eq!(payload[..2], 1008_u16.to_be_bytes());
    assert!(str::from_utf8(&payload[2..]).unwrap().contains("slow"), "{payload:?}");
}

#[test]
fn a_slow_reader_gets_its_pong_before_what_waits() {
    let server = TestServer::with(|config| config.outbox_bytes = 1 << 30);
    let connection = server.connect("slow", &["a"]);
    let mut socket = server.websocket(&connection);
    let body = json!([{"user": "p", "channel": "a", "message": {"text": "x".repeat(900_000)}}]);
    for _ in 0..40 {
        assert_eq!(server.post("/message", &body).status, 200);
    }
    for number in 0..200_u8 {
        socket.send(PING, &[number]);
    }
    // Makes sure that the pings have been read.
    server.assert_alive();
    let frames: Vec<_> = (0..40).map(|_| socket.frame()).collect();
    let pongs = frames.iter().filter(|frame| frame.first != TEXT).count();
    assert!((1..40).contains(&pongs), "some, not one for each: {pongs}");
}

#[test]
fn failed_sign_ins_are_bounded_by_address_and_forgotten_in_time() {
    let server = TestServer::with(|config| {
        config.max_failed_sign_ins = 3;
        config.failed_sign_ins_window = Duration::from_secs(3);
    });
    let sign_in = |form: &str| server.request("POST", "/admin/sign_in", &[("accept", "*/*")], form);
    let right = "username=admin&password=admin_secret";
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(sign_in("username=admin&password=x").status, 200));
        }
    });
    for form in ["username=admin&password=x", right, ""] {
        let answer = sign_in(form);
        answer.assert_problem(429);
        let seconds = answer.header("retry-after").and_then(|text| text.parse::<u32>().ok());
        assert!(seconds.is_some_and(|seconds| (1..=4).contains(&seconds)), "{answer:?}");
        assert_eq!(answer.header("set-cookie"), None);
    }
    // The form can be looked at, and signed requests are not touched.
    assert_eq!(server.get("/admin/sign_in").status, 200);
    server.assert_alive();
    eventually("the failures are forgotten", || sign_in(right).status == 302);
}

#[test]
fn many_sign_ins_at_once_are_not_more_guesses() {
    let server = TestServer::with(|config| config.max_failed_sign_ins = 3);
    let (begin, rest) = ("username=admin&", "password=x");
    let length = begin.len() + rest.len();
    let head = format!(
        "POST /admin/sign_in HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
    );
    // All are looked at before any has failed.
    let mut lines: Vec<_> = (0..8).map(|_| server.line()).collect();
    for line in &mut lines {
        line.write(format!("{head}{begin}"));
    }
    server.assert_alive();
    for line in &mut lines {
        line.write(rest);
    }
    let mut answers: Vec<_> = lines.iter_mut().map(|line| line.answer().status).collect();
    answers.sort_unstable();
    assert_eq!(answers, [200, 200, 200, 429, 429, 429, 429, 429]);
}

#[test]
fn bounds_of_bodies_can_be_set() {
    let server = TestServer::with(|config| {
        config.max_body_size = 1000;
        config.max_json_depth = 3;
        config.max_json_elements = 20;
    });
    let fits = format!("[{}]", " ".repeat(998));
    assert_eq!(server.send("POST", "/message", &fits).status, 200);
    let refused = |body: String, status, setting: &str| {
        let answer = server.send("POST", "/message", body);
        answer.assert_problem(status);
        assert!(answer.text().contains(setting), "{answer:?}");
    };
    refused(fits + " ", 413, "max_body_size");
    let message =
        |inner: &str| format!(r#"[{{"user":"a","channel":"b","message":{{"k":{inner}}}}}]"#);
    assert_eq!(server.send("POST", "/message", message("1")).status, 200);
    refused(message("[]"), 400, "max_json_depth");
    let list = |count| format!("[{}]", vec!["1"; count].join(","));
    refused(list(30), 400, "max_json_elements");
    assert_eq!(server.send("POST", "/message", list(10)).status, 422);
}

#[test]
fn who_has_no_rights_is_read_little() {
    let server = TestServer::start();
    let id = server.connect("ann", &["a"]);
    let body = |length: usize| {
        let body = json!({"conn_id": id}).to_string();
        " ".repeat(length - body.len()) + &body
    };
    let ask = |headers: &[(&str, &str)], body| server.request("POST", "/disconnect", headers, body);
    let refused = ask(&[], body(8 * 1024 + 1));
    refused.assert_problem(413);
    assert!(refused.text().contains("8192"), "{refused:?}");
    let elsewhere = [("x-channelstream-secret", &*signature()), ("origin", "http://evil.test")];
    ask(&elsewhere, body(8 * 1024 + 1)).assert_problem(413);
    assert_eq!(ask(&[], body(8 * 1024)).json(), true, "enough for every id");
    let signed = [("x-channelstream-secret", &*signature())];
    assert_eq!(ask(&signed, body(100_000)).status, 200, "a backend may");
}

#[test]
fn whatever_is_half_done_goes_away() {
    const EACH: usize = 10;
    let server = TestServer::with(|config| {
        config.head_timeout = Duration::from_millis(500);
        config.gc_conns_after = Duration::from_secs(1);
        config.gc_waiting_conns_after = Duration::from_secs(1);
        config.wake_connections_after = Duration::from_secs(1);
    });
    let mut half_heads = Vec::new();
    for round in 0..EACH {
        let connect = || match round % 2 {
            0 => server.connect(&format!("user{round}"), &["a"]),
            _ => server.connect(&format!("user{round}"), &[]),
        };
        // Never used.
        connect();
        // A handshake without its last line.
        let mut line = server.line();
        line.write(Socket::handshake(&connect()).trim_end());
        half_heads.push(line);
        // One whose answer is never read.
        server.line().write(Socket::handshake(&connect()));
        // A socket that is cut, and one that is half closed.
        drop(server.websocket(&connect()));
        let socket = server.websocket(&connect());
        socket.line.stream().shutdown(Shutdown::Write).unwrap();
        half_heads.push(socket.line);
        // A poll that is abandoned.
        server.line().request("GET", &format!("/listen?conn_id={}", connect()), &[], "");
    }
    eventually("all connections are gone", || {
        let figures = server.figures();
        figures["total_connections"] == 0 && figures["unique_user_count"] == 0
    });
    eventually("all listeners are gone", || server.debug_figure("listeners") == 0);
    for line in &mut half_heads {
        let _ = line.rest();
    }
    eventually("all TCP connections are gone", || server.debug_figure("tcp_connections") == 1);
}
