//! What a limit refuses is counted for the admin, whatever the limit.

use serde_json::json;

use crate::app::eventually;
use crate::raw::{Line, Socket, TEXT, TestServer};

#[track_caller]
fn assert_counted(server: &TestServer, limit: &str, count: u64) {
    let figure = format!("refusals_total{{limit=\"{limit}\"}}");
    eventually(&figure, || server.debug_figure(&figure) == count);
}

#[test]
fn requests_that_are_too_large() {
    let server = TestServer::with(|config| {
        config.max_body_size = 1000;
        config.max_json_depth = 5;
        config.max_json_elements = 20;
    });
    let refused =
        |body: String, status| server.send("POST", "/message", body).assert_problem(status);
    refused(" ".repeat(1001), 413);
    refused("[".repeat(6), 400);
    refused(format!("[{}]", "1,".repeat(30)), 400);
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    for _ in 0..2 {
        let mut line = server.line();
        line.write(&large);
        line.answer().assert_problem(431);
    }
    for (limit, count) in [
        ("max_body_size", 1),
        ("max_json_depth", 1),
        ("max_json_elements", 1),
        ("max_head_size", 2),
    ] {
        assert_counted(&server, limit, count);
    }
}

#[test]
fn listeners_that_are_too_many_or_too_slow_or_say_too_much() {
    let server = TestServer::with(|config| {
        config.max_listeners = 2;
        config.max_client_message = 10;
        config.outbox_bytes = 200_000;
    });
    let mut loud = server.websocket(&server.connect("loud", &["a"]));
    let mut slow = server.websocket(&server.connect("slow", &["a"]));
    let third = server.connect("third", &["a"]);
    server.get(&format!("/listen?conn_id={third}")).assert_problem(503);
    let mut line: Line = server.line();
    line.write(Socket::handshake(&third));
    line.answer().assert_problem(503);
    assert_counted(&server, "max_listeners", 2);
    loud.send(TEXT, b"12345678901");
    loud.assert_close_code(1009);
    assert_counted(&server, "max_client_message", 1);
    let text = "x".repeat(900_000);
    for _ in 0..20 {
        server.publish("a", &json!({"text": text}));
    }
    while slow.next_frame().is_some() {}
    assert_counted(&server, "outbox_frames or outbox_bytes", 1);
}
