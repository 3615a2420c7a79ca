//! Pings: a silent client is asked whether it is there, and given up if it does not answer.

use std::time::Duration;

use serde_json::json;

use crate::raw::{CLOSE, Frame, PING, PONG, TEXT, TestServer};

const INTERVAL: Duration = Duration::from_millis(100);

fn server() -> TestServer {
    TestServer::with(|config| {
        config.heartbeat_interval = INTERVAL;
        config.ping_interval = INTERVAL * 3;
        config.ping_timeout = INTERVAL * 3;
    })
}

#[test]
fn who_answers_stays_and_is_asked_again() {
    let server = server();
    let mut socket = server.websocket(&server.connect("ann", &["a"]));
    for _ in 0..4 {
        loop {
            match socket.frame() {
                Frame { first: PING, payload } => {
                    assert!(payload.is_empty());
                    break socket.send(PONG, b"");
                }
                Frame { first: TEXT, payload } => assert_eq!(payload, b"[]"),
                other => panic!("{:#x} {:?}", other.first, other.payload),
            }
        }
    }
    server.publish("a", &json!({"n": 1}));
    assert_eq!(socket.event()["message"]["n"], 1);
}

#[test]
fn who_does_not_answer_is_given_up_and_gets_what_it_missed_on_return() {
    let server = server();
    let connection = server.connect("ann", &["a"]);
    let mut socket = server.websocket(&connection);
    let (mut pings, mut heartbeats) = (0, 0);
    let close = loop {
        match socket.next_frame().unwrap() {
            Frame { first: PING, .. } => pings += 1,
            Frame { first: CLOSE, payload } => break payload,
            Frame { first: TEXT, payload } => {
                assert_eq!(payload, b"[]");
                heartbeats += 1;
            }
            other => panic!("{:#x}", other.first),
        }
    };
    assert_eq!(heartbeats, 5, "one an interval, with the ping as without it, until it is given up");
    assert_eq!((pings, &close[..2]), (1, &1008_u16.to_be_bytes()[..]));
    server.publish("a", &json!({"n": 1}));
    drop(socket);
    let mut again = server.websocket(&connection);
    assert_eq!(again.event()["message"]["n"], 1);
}
