//! Traces: the spans that the program exports to a collector, of a publish and of nothing else.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
#![allow(clippy::disallowed_methods, reason = "a test may wait")]
#![cfg(unix)]

#[path = "../it/app.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod app;
mod collector;
#[path = "../it/process.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod process;

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use serde_json::json;

use app::{Request, Site, numbered, numbers, signature_with};
use collector::{Collector, INTERNAL, PRODUCER, SERVER, Span};
use process::{PROGRAM, Process};

const SECRET: &str = "MARK-of-the-api-secret";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "00f067aa0ba902b7";

/// A certificate for localhost.
const CERTIFICATE: &str = include_str!("../../../channelstream-client/tests/it/tls/server.pem");
const KEY: &str = include_str!("../../../channelstream-client/tests/it/tls/server.key");
const ISSUER: &str = include_str!("../../../channelstream-client/tests/it/tls/ca.pem");

/// Starts a server that exports its spans to a collector, soon after they end.
fn start(collector: &Collector, more: &[(&str, &str)]) -> Process {
    let endpoint = format!("http://{}", collector.address);
    let common = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20MARK-of-the-collector"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let environment: Vec<_> =
        common.iter().chain(more).map(|(name, value)| (*name, OsStr::new(*value))).collect();
    let flags = ["--secret", SECRET, "--log-level", "trace"];
    Process::start_in(&flags, &environment)
}

/// A signed call within a trace.
fn call(path: &str, body: &serde_json::Value, traceparent: Option<&str>) -> Request {
    let request = Request::new("POST", path).json(body);
    let request = request.header("x-channelstream-secret", &signature_with(SECRET));
    match traceparent {
        Some(traceparent) => request.header("traceparent", traceparent),
        None => request,
    }
}

fn connect(site: Site, user: &str) -> String {
    let body = json!({"username": user, "channels": ["MARK-room"]});
    let unsampled = format!("00-{OTHER}-{CALLER}-00");
    let answer = site.send(&call("/connect", &body, Some(&unsampled)));
    answer.ok()["conn_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_publish_is_three_spans_of_the_trace_of_its_backend() {
    let collector = Collector::start();
    let mut process = start(&collector, &[]);
    let site = Site(process.address);
    let mut sockets = ["ann", "bob"].map(|user| site.socket(&connect(site, user)));
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let message = json!([{"user": "x", "channel": "MARK-room", "message": {"text": "MARK-text"}}]);
    assert_eq!(site.send(&call("/message", &message, Some(&traceparent))).status, 200);
    sockets.iter_mut().for_each(|socket| drop(socket.event()));

    let [request, apply, write] = collector.wait_for("three spans", |spans| {
        let named = |name| spans.iter().find(|span| span.name == name).cloned();
        Some([named("POST /message")?, named("apply")?, named("write")?])
    });
    for span in [&request, &apply, &write] {
        assert_eq!(span.trace(), TRACE, "{span:?}");
        assert!(span.start <= span.end, "{span:?}");
    }
    assert_eq!((request.parent(), request.kind), (CALLER.to_owned(), SERVER));
    assert_eq!((apply.parent(), apply.kind), (request.id(), INTERNAL));
    assert_eq!((write.parent(), write.kind), (request.id(), PRODUCER));
    assert_eq!(request.text("http.request.method"), "POST");
    assert_eq!(request.text("http.route"), "/message");
    assert_eq!(request.number("http.response.status_code"), 200);
    assert_eq!(write.number("messaging.batch.message_count"), 2);
    assert!(request.start <= write.start && write.start <= apply.start, "appended, then applied");
    assert!(write.end >= apply.start, "written after it was applied");
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
    assert!(!process.log().contains("MARK"), "{}", process.log());

    let exported = collector.exported();
    assert!(exported.iter().all(|export| export.path == "/v1/traces"));
    let sent = |text: &str| exported.iter().any(|export| export.contains(text));
    assert!(sent("channelstream-server"), "the name of the service");
    assert!(!sent("MARK"), "a secret, a channel or a message is exported");
    let header = "authorization: bearer mark-of-the-collector";
    assert!(exported.iter().all(|export| export.head.to_lowercase().contains(header)));
}

#[test]
fn only_sampled_requests_of_backends_have_spans() {
    let collector = Collector::start();
    let mut process = start(&collector, &[]);
    let site = Site(process.address);
    let connection = connect(site, "ann");
    let traceparent = format!("00-{OTHER}-{CALLER}-01");
    // By nobody, by a client, and by somebody with another secret.
    let forged = Request::call("/message", &numbered("MARK-room", 1));
    assert_eq!(site.send(&forged.header("traceparent", &traceparent)).status, 401);
    let cancel =
        Request::new("POST", "/cancel").json(&json!({})).header("traceparent", &traceparent);
    assert_ne!(site.send(&cancel).status, 200);
    let listen = Request::new("HEAD", &format!("/listen?conn_id={connection}"));
    assert_eq!(site.send(&listen.header("traceparent", &traceparent)).status, 200);
    // Without a trace, the ratio of the server decides, which is all.
    assert_eq!(site.send(&call("/message", &numbered("no-room", 1), None)).status, 200);
    assert_eq!(site.send(&call("/message", &json!([{"user": 1}]), None)).status, 422);
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0));

    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace() != OTHER), "{spans:#?}");
    let requests: Vec<&Span> = spans.iter().filter(|span| span.kind == SERVER).collect();
    let statuses = requests.iter().map(|span| span.number("http.response.status_code"));
    assert_eq!(statuses.collect::<Vec<_>>(), [200, 422]);
    assert!(requests.iter().all(|span| span.parent.is_empty()), "{spans:#?}");
    assert!(spans.iter().all(|span| span.name != "write"), "nobody was written to: {spans:#?}");
}

#[test]
fn a_ratio_of_zero_exports_what_backends_sample_alone() {
    let collector = Collector::start();
    let mut process = start(&collector, &[("OTEL_TRACES_SAMPLER_ARG", "0")]);
    let site = Site(process.address);
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    assert_eq!(site.send(&call("/info", &json!({"info": {}}), None)).status, 200);
    assert_eq!(site.send(&call("/info", &json!({"info": {}}), Some(&traceparent))).status, 200);
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0));
    let spans = collector.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert_eq!(spans[0].trace(), TRACE);
}

#[test]
fn a_collector_that_does_not_answer_holds_neither_publishes_nor_the_end() {
    let collector = Collector::silent();
    // Only the server itself bounds the wait at its end.
    let patient = [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "300000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
    ];
    let mut process = start(&collector, &patient);
    let site = Site(process.address);
    let mut socket = site.socket(&connect(site, "ann"));
    let publish = |number| {
        let request = call("/message", &numbered("MARK-room", number), None);
        assert_eq!(site.send(&request).status, 200);
    };
    publish(0);
    assert_eq!(numbers(&[socket.event()]), [0]);
    collector.wait_for_export();
    for number in 1..100 {
        publish(number);
        assert_eq!(numbers(&[socket.event()]), [number]);
    }
    process.wait_for("a warning", |log| log.contains("SpanDroppingStarted").then_some(()));
    drop(socket);
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
    assert!(process.log().contains("the last spans may not have reached"), "{}", process.log());
}

#[test]
fn an_https_collector_gets_spans_if_its_certificate_is_trusted() {
    let collector = Collector::secure(CERTIFICATE, KEY);
    let endpoint = format!("https://localhost:{}", collector.address.port());
    let trusted = tempfile::NamedTempFile::new().unwrap();
    let authorities = trusted.path().to_str().unwrap();
    let export = || {
        let more = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("SSL_CERT_FILE", authorities)];
        let mut process = start(&collector, &more);
        let answer = Site(process.address).send(&call("/info", &json!({"info": {}}), None));
        assert_eq!(answer.status, 200);
        process.signal("TERM");
        assert_eq!(process.ended().code(), Some(0), "{}", process.log());
        process.log()
    };
    // Another authority is trusted alone.
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-keyout", "/dev/null", "-subj", "/CN=other", "-out", authorities])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let log = export();
    assert!(log.contains("ExportError"), "{log}");
    assert!(collector.exported().is_empty(), "{log}");
    std::fs::write(&trusted, ISSUER).unwrap();
    export();
    assert_eq!(collector.spans().len(), 1);
    assert_eq!(collector.exported()[0].path, "/v1/traces");
}

#[test]
fn without_a_collector_nothing_is_exported() {
    let collector = Collector::start();
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let mut process = start(&collector, &[off]);
        let site = Site(process.address);
        assert_eq!(site.send(&call("/info", &json!({"info": {}}), None)).status, 200);
        process.signal("TERM");
        assert_eq!(process.ended().code(), Some(0));
    }
    assert!(collector.exported().is_empty());
}

#[test]
fn a_wrong_variable_stops_the_start_and_is_named() {
    for (name, value, told) in [
        ("OTEL_TRACES_SAMPLER", "parent", "not one of always_on"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", "not a number from 0 to 1"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "only http/protobuf is supported"),
        ("OTEL_TRACES_EXPORTER", "jaeger", "only otlp is supported"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://MARK:MARK@\u{7f} x", "OTEL_EXPORTER_OTLP_*"),
    ] {
        let output = Command::new(PROGRAM)
            .args(["--port", "0"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env(name, value)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {log}");
        assert!(log.contains("traces cannot be exported") && log.contains(told), "{name}: {log}");
        assert!(!log.contains("MARK"), "{log}");
    }
}
