//! The websocket as RFC 6455 wants it (§4 to §7), byte by byte and against an independent client.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::app::{PATIENCE, eventually};
use crate::raw::{
    BINARY, CLOSE, Frame, PING, PONG, Response, Socket, TEXT, TestServer, close, masked,
};

/// First bytes of frames of which more are to come, and of continuations.
const FIRST_TEXT: u8 = 0x01;
const FIRST_BINARY: u8 = 0x02;
const MIDDLE: u8 = 0x00;
const LAST: u8 = 0x80;

/// A server with one connection in channel `a`.
fn server() -> (TestServer, String) {
    let server = TestServer::start();
    let connection = server.connect("ann", &["a"]);
    (server, connection)
}

/// Sends these bytes on a new socket.
fn after(server: &TestServer, bytes: &[u8]) -> Socket {
    let mut socket = server.websocket(&server.connect("ann", &["a"]));
    socket.line.try_write(bytes);
    socket
}

const GOOD: [(&str, &str); 4] = [
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The answer to a handshake in which the lines of one header are replaced.
fn handshake(server: &TestServer, connection: &str, name: &str, values: &[&str]) -> Response {
    let mut headers: Vec<_> = GOOD.into_iter().filter(|(other, _)| *other != name).collect();
    headers.extend(values.iter().map(|value| (name, *value)));
    let mut line = server.line();
    line.request("GET", &format!("/ws?conn_id={connection}"), &headers, "");
    line.answer()
}

#[test]
fn handshakes_are_taken_as_browsers_and_proxies_write_them() {
    let (server, connection) = server();
    for (name, values) in [
        ("connection", &["keep-alive, Upgrade"][..]),
        ("connection", &["keep-alive", "Upgrade"]),
        ("connection", &["UPGRADE"]),
        ("connection", &["keep-alive \t,\t upgrade\t , x"]),
        ("upgrade", &["WebSocket"]),
        ("upgrade", &["h2c, websocket"]),
        ("sec-websocket-extensions", &["permessage-deflate; client_max_window_bits", "x"]),
        ("sec-websocket-protocol", &["chat, superchat"]),
        ("origin", &["null"]),
        ("content-length", &["0"]),
    ] {
        let answer = handshake(&server, &connection, name, values);
        assert_eq!(answer.status, 101, "{name}: {values:?}: {answer:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(answer.header("upgrade").is_some_and(|it| it.eq_ignore_ascii_case("websocket")));
        assert!(answer.header("connection").is_some_and(|it| it.eq_ignore_ascii_case("upgrade")));
        assert_eq!(answer.header("sec-websocket-extensions"), None, "none is chosen");
        assert_eq!(answer.header("sec-websocket-protocol"), None, "none is chosen");
    }
    let other = handshake(&server, &connection, "sec-websocket-key", &["x3JJHMbDL1EzLkh9GBhXDw=="]);
    assert_eq!(other.header("sec-websocket-accept"), Some("HSmrc0sMlYUkAGmm5OPpG2HaGWk="));
}

#[test]
fn broken_handshakes_are_told_why() {
    let (server, connection) = server();
    let key = GOOD[3].1;
    for (name, values, status) in [
        ("upgrade", &[][..], 426),
        ("upgrade", &["h2c"], 426),
        ("upgrade", &["websockets"], 426),
        ("connection", &[], 426),
        ("connection", &["keep-alive"], 426),
        ("connection", &["xupgradex"], 426),
        ("sec-websocket-version", &[], 426),
        ("sec-websocket-version", &["12"], 426),
        ("sec-websocket-version", &["13, 8"], 426),
        ("sec-websocket-version", &["\u{ff}"], 426),
        ("sec-websocket-key", &[], 400),
        ("sec-websocket-key", &[key, key], 400),
        ("sec-websocket-key", &[""], 400),
        ("sec-websocket-key", &["x"], 400),
        ("sec-websocket-key", &["\u{ff}"], 400),
        ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZWU="], 400),
    ] {
        let answer = handshake(&server, &connection, name, values);
        answer.assert_problem(status);
        if status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{name}: {values:?}");
            assert!(answer.header("upgrade").is_some(), "{name}: {values:?}");
        }
    }
    for method in ["POST", "PUT", "OPTIONS", "DELETE", "FOO"] {
        let target = format!("/ws?conn_id={connection}");
        let mut line = server.line();
        line.request(method, &target, &GOOD, "");
        line.answer().assert_problem(400);
    }
    let mut line = server.line();
    line.write(Socket::handshake(&connection).replace("HTTP/1.1", "HTTP/1.0"));
    let answer = line.answer();
    answer.assert_problem(400);
    assert!(answer.json()["message"].as_str().unwrap().contains("HTTP/1.0"), "{answer:?}");
    server.assert_alive();
}

#[test]
fn bad_ids_are_4xx_and_unknown_ones_are_closed_at_once() {
    let server = TestServer::start();
    for (query, status) in [
        ("", 422),
        ("?conn_id", 422),
        ("?conn_id=", 422),
        ("?conn_id=x", 422),
        ("?conn_id=%FF", 422),
    ] {
        let mut line = server.line();
        line.request("GET", &format!("/ws{query}"), &GOOD, "");
        let answer = line.answer();
        assert_eq!(answer.status, status, "{query}: {answer:?}");
        assert!(answer.json()["conn_id"].is_array(), "{query}: {answer:?}");
    }
    let mut unknown = server.websocket("00000000-0000-0000-0000-000000000000");
    unknown.assert_close(&close(1000, b""));
}

#[test]
fn pings_are_answered_and_pongs_passed_over() {
    let (server, connection) = server();
    let mut socket = server.websocket(&connection);
    for payload in [&b""[..], b"x", &[0xff; 125]] {
        socket.send(PONG, payload);
        socket.send(PING, payload);
        assert_eq!(socket.frame(), Frame { first: PONG, payload: payload.to_vec() });
    }
    // Of many in one piece the newest counts.
    let many: Vec<u8> = (0..100_u8).flat_map(|number| masked(PING, &[number])).collect();
    socket.line.write(many);
    let mut last = None;
    while last != Some(vec![99]) {
        let frame = socket.frame();
        assert_eq!(frame.first, PONG);
        assert!(last < Some(frame.payload.clone()), "in order");
        last = Some(frame.payload);
    }
    server.publish("a", &json!({"n": 1}));
    assert_eq!(socket.event()["message"]["n"], 1);
}

#[test]
fn frames_may_stand_in_the_handshakes_segment_and_come_bytewise() {
    let (server, connection) = server();
    let mut line = server.line();
    line.write([Socket::handshake(&connection).as_bytes(), &masked(PING, b"early")].concat());
    let mut socket = Socket::opened(line);
    assert_eq!(socket.frame(), Frame { first: PONG, payload: b"early".to_vec() });
    let long =
        [masked(FIRST_TEXT, &[b'x'; 200]), masked(PING, b"late"), masked(LAST, b"y")].concat();
    for byte in long {
        socket.line.write([byte]);
    }
    assert_eq!(socket.frame(), Frame { first: PONG, payload: b"late".to_vec() });
    let mut line = server.line();
    for byte in Socket::handshake(&connection).bytes() {
        line.write([byte]);
    }
    let mut newer = Socket::opened(line);
    newer.send(CLOSE, &close(1000, b"bye"));
    newer.assert_close(&close(1000, b"bye"));
}

#[test]
fn messages_of_all_lengths_and_in_all_pieces_are_taken() {
    let (server, connection) = server();
    let mut socket = server.websocket(&connection);
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
        socket.send(TEXT, &vec![b'x'; length]);
        socket.send(BINARY, &vec![0xff; length]);
    }
    // Text in fragments, cut inside of characters, with control frames in between.
    let text = "\u{e9}\u{20ac}\u{1f3b5}".as_bytes();
    for at in 0..=text.len() {
        socket.send(FIRST_TEXT, &text[..at]);
        socket.send(PONG, b"");
        socket.send(MIDDLE, b"");
        socket.send(PING, &[u8::try_from(at).unwrap()]);
        socket.send(LAST, &text[at..]);
        assert_eq!(socket.frame().payload, [u8::try_from(at).unwrap()]);
    }
    socket.send(FIRST_BINARY, b"\xff");
    socket.send(LAST, b"\xfe");
    // A length in more bytes than it needs, and masks of all kinds.
    socket.line.write([TEXT, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, b'x']);
    socket.line.write([TEXT, 0x81, 0xff, 0xff, 0xff, 0xff, b'x' ^ 0xff]);
    socket.send(PING, b"end");
    assert_eq!(socket.frame(), Frame { first: PONG, payload: b"end".to_vec() });
}

#[test]
fn breaches_of_the_protocol_are_closed_with_the_right_code() {
    let server = TestServer::start();
    let unmasked = |first: u8, payload: &[u8]| {
        [&[first, u8::try_from(payload.len()).unwrap()], payload].concat()
    };
    let mut long_ping = masked(TEXT, &[0; 126]);
    long_ping[0] = PING;
    let huge = [TEXT, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4].to_vec();
    let mut cases: Vec<(String, Vec<u8>, u16)> = vec![
        ("text without mask".into(), unmasked(TEXT, b"x"), 1002),
        ("ping without mask".into(), unmasked(PING, b""), 1002),
        ("close without mask".into(), unmasked(CLOSE, &close(1000, b"")), 1002),
        ("fragmented ping".into(), masked(PING & 0x7f, b""), 1002),
        ("fragmented pong".into(), masked(PONG & 0x7f, b""), 1002),
        ("fragmented close".into(), masked(CLOSE & 0x7f, b""), 1002),
        ("ping over 125".into(), long_ping, 1002),
        ("stray continuation".into(), masked(LAST, b"x"), 1002),
        ("stray middle".into(), masked(MIDDLE, b"x"), 1002),
        (
            "message in a message".into(),
            [masked(FIRST_TEXT, b"x"), masked(TEXT, b"y")].concat(),
            1002,
        ),
        ("length with the top bit".into(), huge, 1002),
        ("not UTF-8".into(), masked(TEXT, b"\xff"), 1007),
        ("overlong".into(), masked(TEXT, b"\xc0\x80"), 1007),
        ("surrogate".into(), masked(TEXT, b"\xed\xa0\x80"), 1007),
        ("half a character".into(), masked(TEXT, b"\xe2\x82"), 1007),
        (
            "not UTF-8 over fragments".into(),
            [masked(FIRST_TEXT, b"\xe2"), masked(LAST, b"\x28\xa1")].concat(),
            1007,
        ),
    ];
    for bit in [0x40, 0x20, 0x10] {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            cases.push((format!("reserved {bit:x} {opcode:x}"), masked(opcode | bit, b""), 1002));
        }
    }
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        cases.push((format!("opcode {opcode:x}"), masked(0x80 | opcode, b"x"), 1002));
    }
    for (what, bytes, code) in &cases {
        let mut socket = after(&server, bytes);
        let frame = socket.frame();
        assert_eq!(frame.first, CLOSE, "{what}: {frame:?}");
        assert_eq!(frame.payload[..2], code.to_be_bytes(), "{what}: {frame:?}");
        assert!(str::from_utf8(&frame.payload[2..]).is_ok(), "{what}: {frame:?}");
        socket.line.assert_closed_by_both();
    }
    server.assert_alive();
}

#[test]
fn text_that_cannot_become_utf_8_is_closed_before_its_frame_ends() {
    let server = TestServer::start();
    let mut whole = masked(TEXT, &[b"\xff", &[b'x'; 1000][..]].concat());
    whole.truncate(100);
    after(&server, &whole).assert_close_code(1007);
}

#[test]
fn close_codes_both_ways() {
    let server = TestServer::start();
    let longest = [b'x'; 123];
    for (payload, answer) in [
        (vec![], Some(vec![])),
        (close(1000, b""), Some(close(1000, b""))),
        (close(1000, "\u{e9}nd".as_bytes()), Some(close(1000, "\u{e9}nd".as_bytes()))),
        (close(1001, b""), Some(close(1001, b""))),
        (close(1002, b""), Some(close(1002, b""))),
        (close(1003, b""), Some(close(1003, b""))),
        (close(1007, b""), Some(close(1007, b""))),
        (close(1011, b""), Some(close(1011, b""))),
        (close(1014, b""), Some(close(1014, b""))),
        (close(3000, b"reason"), Some(close(3000, b"reason"))),
        (close(4999, &longest), Some(close(4999, &longest))),
        (close(0, b""), None),
        (close(999, b""), None),
        (close(1004, b""), None),
        (close(1005, b""), None),
        (close(1006, b""), None),
        (close(1015, b""), None),
        (close(1016, b""), None),
        (close(2999, b""), None),
        (close(5000, b""), None),
        (close(65535, b""), None),
        (vec![3], None),
    ] {
        let mut socket = after(&server, &masked(CLOSE, &payload));
        match answer {
            Some(answer) => socket.assert_close(&answer),
            None => socket.assert_close_code(1002),
        }
    }
    after(&server, &masked(CLOSE, &close(1000, b"\xff"))).assert_close_code(1007);
    let mut long = masked(TEXT, &close(1000, &[b'x'; 124]));
    long[0] = CLOSE;
    after(&server, &long).assert_close_code(1002);
}

#[test]
fn a_closed_socket_ends_its_connection_and_what_follows_is_passed_over() {
    let server = TestServer::start();
    let configs = json!({"a": {"notify_presence": true}});
    let watcher = json!({"username": "watcher", "channels": ["a"], "channel_configs": configs});
    let watcher = server.post("/connect", &watcher).json()["conn_id"].clone();
    let mut watcher = server.websocket(watcher.as_str().unwrap());
    let connection = server.connect("ann", &["a"]);
    assert_eq!(watcher.event()["message"]["action"], "joined");
    let mut socket = server.websocket(&connection);
    let bytes =
        [masked(CLOSE, &close(1000, b"")), masked(PING, b"dead"), vec![0xff; 50_000]].concat();
    socket.line.write(bytes);
    socket.assert_close(&close(1000, b""));
    let parted = watcher.event();
    assert_eq!((&parted["user"], &parted["message"]["action"]), (&json!("ann"), &json!("parted")));
    server.websocket(&connection).assert_close(&close(1000, b""));
}

#[test]
fn messages_over_the_bound_are_closed_with_1009() {
    let server = TestServer::with(|config| config.max_client_message = 1000);
    let announced = [&[TEXT, 0x80 | 127][..], &(1_u64 << 62).to_be_bytes(), &[1, 2, 3, 4]].concat();
    let fragments = [masked(FIRST_TEXT, &[b'x'; 600]), masked(LAST, &[b'x'; 401])].concat();
    for bytes in [masked(TEXT, &[b'x'; 1001]), masked(BINARY, &[0; 70_000]), announced, fragments] {
        after(&server, &bytes).assert_close_code(1009);
    }
    let mut socket = after(&server, &masked(TEXT, &[b'x'; 1000]));
    socket.send(PING, b"fits");
    assert_eq!(socket.frame().payload, b"fits");
}

#[test]
fn lines_that_are_cut_in_the_middle_of_anything_go_away() {
    let server = TestServer::start();
    for bytes in [&b""[..], b"\x81", b"\x81\xfe\x01", b"\x89\x85\x01\x02\x03\x04ab", b"\x88"] {
        drop(after(&server, bytes));
    }
    eventually("all sockets are gone", || server.debug_figure("listeners") == 0);
    eventually("all TCP connections are gone", || server.debug_figure("tcp_connections") == 1);
}

/// A runtime for the independent client.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("in time") })
}

#[test]
fn an_independent_client_gets_many_and_large_messages_in_order() {
    const LENGTHS: [usize; 10] = [0, 1, 100, 125, 126, 127, 4_000, 65_400, 65_536, 300_000];
    const COUNT: usize = 100;
    // On a machine that does much else the client may fall behind.
    let server = TestServer::with(|config| config.outbox_bytes = 1 << 30);
    let connection = server.connect("ann", &["a"]);
    std::thread::scope(|scope| {
        let server = &server;
        block_on(async move {
            let url = format!("ws://{}/ws?conn_id={connection}", server.address());
            let (mut client, answer) = tokio_tungstenite::connect_async(url).await.unwrap();
            assert_eq!(answer.status(), 101);
            scope.spawn(move || {
                for (number, length) in LENGTHS.iter().cycle().take(COUNT).enumerate() {
                    let text = "\u{e9}".repeat(length / 2);
                    server.publish("a", &json!({"n": number, "text": text}));
                }
            });
            let mut next = 0;
            while next < COUNT {
                if next % 20 == 0 {
                    client.send(Message::Ping(vec![7; 125].into())).await.unwrap();
                    client.send(Message::text("anything")).await.unwrap();
                }
                let Message::Text(text) = client.next().await.unwrap().unwrap() else { continue };
                let events: Vec<Value> = serde_json::from_str(&text).unwrap();
                for event in events {
                    assert_eq!(event["message"]["n"], next, "each once and in order");
                    let length = event["message"]["text"].as_str().unwrap().len();
                    assert_eq!(length, LENGTHS[next % LENGTHS.len()] / 2 * 2);
                    next += 1;
                }
            }
            let frame = CloseFrame { code: CloseCode::Library(4321), reason: "done".into() };
            client.close(Some(frame.clone())).await.unwrap();
            let answered = loop {
                if let Message::Close(answered) = client.next().await.unwrap().unwrap() {
                    break answered;
                }
            };
            assert_eq!(answered, Some(frame));
            assert!(client.next().await.is_none(), "the TCP connection ends properly");
        });
    });
}

#[test]
fn an_independent_client_hears_heartbeats_and_the_end() {
    let mut server =
        TestServer::with(|config| config.heartbeat_interval = Duration::from_millis(50));
    let connection = server.connect("ann", &["a"]);
    block_on(async {
        let url = format!("ws://{}/ws?conn_id={connection}", server.address());
        let (mut client, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        for _ in 0..3 {
            assert_eq!(client.next().await.unwrap().unwrap(), Message::text("[]"));
        }
        server.begin_to_stop();
        let end = loop {
            match client.next().await.unwrap().unwrap() {
                Message::Close(end) => break end,
                other => assert_eq!(other, Message::text("[]")),
            }
        };
        assert_eq!(end.map(|end| end.code), Some(CloseCode::Away));
    });
}
