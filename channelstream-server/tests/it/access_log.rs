//! The access log: one line at `info` for each finished request, with the trace of its caller.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::app::{Line, PATIENCE, Request, Site, eventually};
use crate::process::Process;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn traceparent() -> String {
    format!("00-{TRACE}-{SPAN}-01")
}

fn start(more: &[&str]) -> Process {
    let flags = [&["--access-log", "true", "--log-format", "json"], more].concat();
    Process::start(&flags)
}

/// The lines about requests so far.
fn lines(process: &Process) -> Vec<Value> {
    let log = process.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "channelstream_server::access").collect()
}

/// Waits for the line of a path, and returns its fields.
fn line(process: &Process, path: &str) -> Value {
    process.wait_for(path, |_| {
        let found = lines(process).into_iter().find(|line| line["fields"]["path"] == path)?;
        assert_eq!(found["level"], "INFO");
        Some(found["fields"].clone())
    })
}

#[test]
fn each_request_is_a_line_when_it_is_finished() {
    let process = start(&["--wake-connections-after", "0.1"]);
    let site = Site(process.address);
    let answer = site.get("/nowhere?name=MARK");
    let told = line(&process, "/nowhere");
    assert_eq!(told["message"], "request finished");
    assert_eq!(told["peer"], "127.0.0.1");
    assert_eq!(told["method"], "GET");
    assert_eq!(told["status"], 404);
    assert_eq!(told["bytes"], answer.body.len());
    assert_eq!(told["protocol"], "http/1.1");
    assert!(told["ms"].is_f64() && told["request"].is_u64(), "{told}");
    assert!(told.get("trace_id").is_none() && told.get("span_id").is_none(), "{told}");

    assert_eq!(site.send(&Request::new("HEAD", "/admin/sign_in")).status, 200);
    let told = line(&process, "/admin/sign_in");
    assert_eq!((&told["bytes"], &told["method"]), (&json!(0), &json!("HEAD")));
    let alice = site.connect("alice", &["room"]);
    assert_eq!(line(&process, "/connect")["status"], 200);
    site.poll(&alice);
    assert!(line(&process, "/listen")["ms"].as_f64().unwrap() >= 100.0);
    assert!(!process.log().contains("MARK"), "the query is logged");
}

#[test]
fn sockets_and_streams_are_a_line_at_their_end() {
    let process = start(&[]);
    let site = Site(process.address);
    let mut socket = site.socket(&site.connect("alice", &["room"]));
    let mut stream = TcpStream::connect(site.0).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let bob = site.connect("bob", &["room"]);
    stream.write_all(&Request::new("GET", &format!("/stream?conn_id={bob}")).bytes()).unwrap();
    let mut read = Vec::new();
    while !read.windows(6).any(|bytes| bytes == b"cursor") {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the stream ended");
        read.extend_from_slice(&buffer[..count]);
    }
    site.publish("room", 1);
    socket.event();
    line(&process, "/message");
    let is_open = |path: &str| lines(&process).iter().all(|line| line["fields"]["path"] != path);
    assert!(is_open("/ws") && is_open("/stream"), "{}", process.log());
    socket.close(1000);
    drop(stream);
    let told = line(&process, "/ws");
    assert_eq!(told["status"], 101);
    assert!(told.get("bytes").is_none(), "{told}");
    let told = line(&process, "/stream");
    assert_eq!((&told["status"], &told["message"]), (&json!(200), &json!("request finished")));
    assert!(told["bytes"].as_u64().unwrap() > 0, "{told}");
}

#[test]
fn a_request_whose_client_leaves_before_the_answer_is_a_line_without_a_status() {
    let process = start(&["--wake-connections-after", "300"]);
    let site = Site(process.address);
    let connection = site.connect("alice", &["room"]);
    let mut poll = Line::open(site.0);
    poll.write(&Request::new("GET", &format!("/listen?conn_id={connection}")).bytes());
    eventually("the poll waits", || {
        let stats = Request::new("GET", "/admin/stats.json").signed();
        site.send(&stats).ok()["metrics"]["listeners"] == 1
    });
    drop(poll);
    let told = line(&process, "/listen");
    assert_eq!(told["message"], "request aborted");
    assert!(told.get("status").is_none() && told.get("bytes").is_none(), "{told}");
}

#[test]
fn probes_are_lines_only_if_they_fail() {
    let process = start(&["--allow-metrics-from", "192.0.2.1"]);
    let site = Site(process.address);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(site.get(path).status, 200);
    }
    assert_eq!(site.get("/metrics").status, 403);
    assert_eq!(line(&process, "/metrics")["status"], 403);
    assert_eq!(lines(&process).len(), 1, "{}", process.log());
}

#[test]
fn no_request_forges_a_line() {
    let mut process = Process::start(&["--access-log", "true"]);
    let site = Site(process.address);
    let trace = format!("{}%0d", traceparent());
    site.send(
        &Request::new("GET", "/a%0AWARN%20forged%1b[31m%e2%80%a8").header("traceparent", &trace),
    );
    site.get("/%ff");
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0));
    let log = process.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("request finished")).collect();
    assert_eq!(told.len(), 2, "{log}");
    assert!(told[0].contains("\\nWARN forged") && !told[0].contains('\x1b'), "{log}");
    assert!(told[1].contains("(undecodable)"), "{log}");
    assert!(!log.contains(TRACE), "{log}");
}

#[test]
fn the_lines_of_a_request_name_its_trace_at_every_level() {
    for level in ["info", "warn,channelstream_server::program=info"] {
        let process = start(&["--log-level", level]);
        let site = Site(process.address);
        let reload = Request::new("POST", "/reload").signed().header("traceparent", &traceparent());
        assert_eq!(site.send(&reload).status, 200);
        let found = process.wait_for("a line with the trace", |log| {
            let line = log.lines().find(|line| line.contains(TRACE))?;
            serde_json::from_str::<Value>(line).ok()
        });
        assert_eq!(
            (&found["span"]["trace_id"], &found["span"]["span_id"]),
            (&json!(TRACE), &json!(SPAN))
        );
        if level == "info" {
            let told = line(&process, "/reload");
            assert_eq!((&told["trace_id"], &told["span_id"]), (&json!(TRACE), &json!(SPAN)));
        }
        let plain = site.send(&Request::new("POST", "/reload").signed());
        let traced = site.send(&reload);
        let names = |answer: &crate::app::Answer| -> Vec<String> {
            answer.headers.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(&plain), names(&traced), "the answer is as ever");
    }
}
