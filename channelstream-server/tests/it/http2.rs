//! HTTP/2 with prior knowledge: the same answers, polls and streams as over HTTP/1.1.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::app::{PATIENCE, eventually, signature};
use crate::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE, REQUEST_TIMEOUT, RST_STREAM, SETTINGS, block, frame,
};
use crate::process::Process;
use crate::raw::TestServer;

/// A connection of HTTP/2, and the runtime that drives it.
struct Client {
    runtime: Runtime,
    sender: SendRequest<String>,
    connection: JoinHandle<()>,
    authority: String,
}

impl Client {
    fn open(address: std::net::SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (sender, connection) = runtime.block_on(async {
            let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
            let (sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
            (sender, tokio::spawn(async { drop(connection.await) }))
        });
        Self { runtime, sender, connection, authority: address.to_string() }
    }

    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let url = format!("http://{}{path}", self.authority);
        Request::builder().method(method).uri(url).version(Version::HTTP_2)
    }

    fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { timeout(PATIENCE, future).await }).unwrap()
    }

    /// Sends a request and waits for the head of the answer.
    fn begin(&mut self, request: Request<String>) -> Response<Incoming> {
        let answer = self.sender.send_request(request);
        self.wait_for(answer).unwrap()
    }

    /// Sends a request and waits for the answer.
    fn send(&mut self, request: Request<String>) -> Response<String> {
        let (head, body) = self.begin(request).into_parts();
        let pieces = pieces(body).collect::<Vec<_>>();
        let pieces = self.wait_for(pieces);
        let body = String::from_utf8(pieces.concat()).unwrap();
        Response::from_parts(head, body)
    }

    /// A signed call of the backend API.
    fn call(&mut self, path: &str, body: &Value) -> Response<String> {
        let request = self.request("POST", path).header("x-channelstream-secret", signature());
        self.send(request.body(body.to_string()).unwrap())
    }

    fn connect(&mut self, user: &str) -> String {
        let answer = self.call("/connect", &json!({"username": user, "channels": ["a"]}));
        assert_eq!(answer.status(), 200, "{answer:?}");
        let body: Value = serde_json::from_str(answer.body()).unwrap();
        body["conn_id"].as_str().unwrap().to_owned()
    }

    fn publish(&mut self, number: u64) {
        let message = json!([{"user": "p", "channel": "a", "message": {"n": number}}]);
        assert_eq!(self.call("/message", &message).status(), 200);
    }
}

/// The pieces of a body as they come.
fn pieces(body: Incoming) -> impl futures_util::Stream<Item = Bytes> {
    stream::unfold(body, |mut body| async {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await?;
        Some((frame.unwrap().into_data().unwrap_or_default(), body))
    })
}

#[test]
fn answers_are_those_of_http_1() {
    let server = TestServer::start();
    let mut client = Client::open(server.address());
    for (method, path) in [
        ("GET", "/healthz"),
        ("GET", "/nowhere"),
        ("POST", "/message"),
        ("GET", "/listen?conn_id=x"),
        ("HEAD", "/healthz"),
        ("OPTIONS", "/message"),
        ("GET", "/static/channelstream/index.js"),
        ("GET", "/ws?conn_id=00000000-0000-0000-0000-000000000000"),
    ] {
        let plain = server.request(method, path, &[], "");
        let answer = client.send(client.request(method, path).body(String::new()).unwrap());
        assert_eq!(answer.version(), Version::HTTP_2);
        if path.starts_with("/ws") {
            // A websocket is for HTTP/1.1.
            assert!(answer.status().is_client_error(), "{answer:?}");
            continue;
        }
        assert_eq!(answer.status().as_u16(), plain.status, "{method} {path}");
        assert_eq!(*answer.body(), plain.text(), "{method} {path}");
        let header = |name: &str| answer.headers().get(name).map(|it| it.to_str().unwrap());
        for name in ["content-type", "content-length", "cache-control", "x-content-type-options"] {
            // That there is no body is said in another way.
            if plain.header(name) != Some("0") {
                assert_eq!(header(name), plain.header(name), "{method} {path} {name}");
            }
        }
        for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
            assert_eq!(header(name), None, "{method} {path}");
        }
    }
    let id = client.connect("ann");
    client.publish(1);
    let poll = client.request("GET", &format!("/listen?conn_id={id}")).body(String::new()).unwrap();
    let answer = client.send(poll);
    assert!(answer.body().contains(r#""n":1"#), "{answer:?}");
}

#[test]
fn the_host_is_named_once() {
    let server = TestServer::start();
    for (authority, host, status) in [
        (Some("a.example"), None, 0x8d),
        (None, Some("a.example"), 0x8d),
        (Some("a.example"), Some("a.example"), 0x8d),
        (Some("a.example"), Some("b.example"), 0x8c),
        (Some("a b"), None, 0),
        (None, None, 0x8c),
    ] {
        let mut headers = vec![(":method", "GET"), (":scheme", "http"), (":path", "/nowhere")];
        headers.extend(authority.map(|authority| (":authority", authority)));
        headers.extend(host.map(|host| ("host", host)));
        let mut frames = Frames::open(server.address(), &[]);
        frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&headers)));
        // 404 and 400 have an index of their own in the table of HPACK.
        let answer = std::iter::from_fn(|| frames.next())
            .find(|frame| frame.stream == 1)
            .unwrap_or_else(|| panic!("{authority:?} {host:?}"));
        match status {
            0 => assert!(answer.kind != HEADERS || answer.payload[0] != 0x88),
            status => assert_eq!(answer.payload[0], status, "{authority:?} {host:?}"),
        }
    }
}

#[test]
fn connect_is_refused() {
    let server = TestServer::start();
    let mut frames = Frames::open(server.address(), &[]);
    let headers = block(&[(":method", "CONNECT"), (":authority", "localhost:80")]);
    frames.write(&frame(HEADERS, END_HEADERS, 1, &headers));
    let answer = frames.next_of(HEADERS).unwrap();
    assert!(matches!(answer.payload[0], 0x8c | 0x8d | 0x48 | 0x08), "{answer:?}");
    server.assert_alive();
}

#[test]
fn what_only_begins_like_http_2_is_a_request_of_http_1() {
    let server = TestServer::start();
    for (head, status) in [
        ("PRI /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
        ("PRIVATE /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
    ] {
        let mut line = server.line();
        for byte in head.as_bytes().chunks(1) {
            line.write(byte);
        }
        assert_eq!(line.next_answer("GET").unwrap().status, status, "{head}");
    }
}

#[test]
fn polls_and_streams_are_listeners_and_end_with_their_stream() {
    let server = TestServer::with(|config| {
        config.wake_connections_after = Duration::from_secs(300);
        config.gc_conns_after = Duration::from_secs(300);
    });
    let mut client = Client::open(server.address());
    let mut other = Client::open(server.address());
    let (polls, streams) = (client.connect("polls"), client.connect("streams"));
    let path = format!("/sse?conn_id={streams}");
    let answer = client.begin(client.request("GET", &path).body(String::new()).unwrap());
    assert_eq!(answer.status(), 200);
    let mut events = Box::pin(pieces(answer.into_body()));
    let path = format!("/listen?conn_id={polls}");
    let poll = client.request("GET", &path).body(String::new()).unwrap();
    let poll = client.runtime.spawn(client.sender.send_request(poll));
    eventually("both listen", || server.debug_figure("listeners") == 2);
    assert_eq!(server.debug_figure("tcp_connections"), 3, "two of HTTP/2 and that of the question");
    other.publish(7);
    let poll = client.wait_for(poll).unwrap().unwrap();
    let body = client.wait_for(pieces(poll.into_body()).collect::<Vec<_>>()).concat();
    assert!(String::from_utf8_lossy(&body).contains(r#""n":7"#));
    let mut text = String::new();
    while !text.contains(r#""n":7"#) {
        let piece = client.wait_for(events.next()).unwrap();
        text += &String::from_utf8_lossy(&piece);
    }
    // The connection goes on when a stream is reset.
    drop(events);
    eventually("the stream is gone", || server.debug_figure("listeners") == 0);
    client.publish(8);
    // And what is left of it ends with the connection.
    let poll = client.request("GET", &path).body(String::new()).unwrap();
    let poll = client.runtime.spawn(client.sender.send_request(poll));
    drop(client.wait_for(poll));
    let poll = client.request("GET", &path).body(String::new()).unwrap();
    client.runtime.spawn(client.sender.send_request(poll));
    eventually("it listens again", || server.debug_figure("listeners") == 1);
    drop(client);
    eventually("the poll is gone", || server.debug_figure("listeners") == 0);
    eventually("the connection is gone", || server.debug_figure("tcp_connections") == 2);
}

#[test]
fn bodies_have_their_limits_of_size_and_time() {
    let server = TestServer::with(|config| {
        config.max_body_size = 100_000;
        config.body_timeout = Duration::from_secs(2);
    });
    let mut client = Client::open(server.address());
    let large = json!([{"user": "p", "channel": "a", "message": {"text": "x".repeat(90_000)}}]);
    assert_eq!(client.call("/message", &large).status(), 200);
    let too_large =
        json!([{"user": "p", "channel": "a", "message": {"text": "x".repeat(110_000)}}]);
    assert_eq!(client.call("/message", &too_large).status(), 413);
    // A body that does not come.
    let mut frames = Frames::open(server.address(), &[]);
    let signature = signature();
    let headers = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/message"),
        ("x-channelstream-secret", &signature),
        ("content-length", "10"),
    ]);
    frames.write(&frame(HEADERS, END_HEADERS, 1, &headers));
    let answer = frames.next_of(HEADERS).unwrap();
    assert!(answer.payload.starts_with(&REQUEST_TIMEOUT), "{answer:?}");
    client.publish(1);
}

#[test]
fn an_idle_connection_is_closed_and_one_that_listens_is_not() {
    let server = TestServer::with(|config| {
        config.head_timeout = Duration::from_secs(1);
        config.wake_connections_after = Duration::from_secs(3);
    });
    let mut idle = Frames::open(server.address(), &[]);
    let mut client = Client::open(server.address());
    let id = client.connect("ann");
    let path = format!("/listen?conn_id={id}");
    // A poll that waits for longer than the time for a head.
    let answer = client.send(client.request("GET", &path).body(String::new()).unwrap());
    assert_eq!(answer.body(), "[]");
    assert!(idle.rest().iter().any(|frame| frame.kind == GOAWAY));
    eventually("the other is idle too", || client.connection.is_finished());
}

#[test]
fn a_drain_answers_polls_and_waits_for_no_idle_connection() {
    let mut process = Process::start(&["--shutdown-timeout", "25"]);
    let mut client = Client::open(process.address);
    // It answers no ping.
    let mut silent = Frames::open(process.address, &[]);
    let id = client.connect("ann");
    let path = format!("/listen?conn_id={id}");
    let poll = client.request("GET", &path).body(String::new()).unwrap();
    let poll = client.runtime.spawn(client.sender.send_request(poll));
    let site = crate::app::Site(process.address);
    let debug = crate::app::Request::new("GET", "/admin/debug").signed();
    eventually("it listens", || site.send(&debug).body.contains("listeners: 1\n"));
    process.signal("TERM");
    let answer = client.wait_for(poll).unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert!(silent.rest().iter().any(|frame| frame.kind == GOAWAY));
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
    assert!(!process.log().contains("shutdown timed out"), "{}", process.log());
}

#[test]
fn a_thousand_requests_of_one_connection_are_answered() {
    let server = TestServer::start();
    let mut client = Client::open(server.address());
    let requests: Vec<_> = (0..1000)
        .map(|_| {
            let request = client.request(Method::GET.as_str(), "/healthz").body(String::new());
            client.runtime.spawn(client.sender.send_request(request.unwrap()))
        })
        .collect();
    for answer in requests {
        let answer = client.wait_for(answer).unwrap().unwrap();
        assert_eq!(answer.status(), 200);
    }
}

#[test]
fn a_proxy_names_the_client_whose_requests_are_counted() {
    let server = TestServer::with(|config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.allow_metrics_from = "192.0.2.1".parse().unwrap();
        config.max_requests_per_address = 5;
    });
    let mut client = Client::open(server.address());
    let mut status = |path: &str, from: &str| {
        let request = client.request("GET", path).header("x-forwarded-for", from);
        client.send(request.body(String::new()).unwrap()).status().as_u16()
    };
    assert_eq!(status("/metrics", "192.0.2.1"), 200);
    assert_eq!(status("/metrics", "192.0.2.2"), 403);
    let statuses: Vec<_> = (0..6).map(|_| status("/nowhere", "192.0.2.3")).collect();
    assert_eq!(statuses, [404, 404, 404, 404, 404, 429]);
}

#[test]
fn connections_beyond_the_limit_are_refused_before_they_begin() {
    let server = TestServer::with(|config| config.max_connections = 2);
    let open: Vec<_> = (0..2)
        .map(|_| {
            let mut frames = Frames::open(server.address(), &[]);
            frames.next().unwrap();
            frames
        })
        .collect();
    let mut line = server.line();
    line.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    line.next_answer("GET").unwrap().assert_problem(503);
    drop(open);
    eventually("there is place again", || {
        let mut line = server.line();
        line.request("GET", "/nowhere", &[], "");
        line.next_answer("GET").is_some_and(|answer| answer.status == 404)
    });
}

#[test]
fn the_settings_bound_what_a_client_may_do_and_offer_no_websockets() {
    /// The setting by which a server takes websockets over HTTP/2 (RFC 8441).
    const CONNECT_PROTOCOL: u16 = 8;
    let server = TestServer::start();
    let mut frames = Frames::open(server.address(), &[]);
    let settings = frames.next_of(SETTINGS).unwrap().payload;
    let settings: Vec<_> = settings
        .chunks(6)
        .map(|it| {
            let key = u16::from_be_bytes(it[..2].try_into().unwrap());
            (key, u32::from_be_bytes(it[2..].try_into().unwrap()))
        })
        .collect();
    let value = |key| settings.iter().find(|(it, _)| *it == key).map(|(_, value)| *value);
    assert_eq!(value(CONNECT_PROTOCOL), None);
    assert_eq!(value(MAX_CONCURRENT_STREAMS), Some(100));
    assert_eq!(value(MAX_HEADER_LIST_SIZE), Some(16 * 1024));
}

#[test]
fn trailers_are_passed_over() {
    let server = TestServer::start();
    let signature = signature();
    let headers = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/message"),
        ("x-channelstream-secret", &signature),
    ]);
    let body = json!([{"user": "p", "channel": "a", "message": {"n": 1}}]).to_string();
    let trailers = block(&[("x-channelstream-secret", "forged")]);
    let mut frames = Frames::open(server.address(), &[]);
    frames.write(&frame(HEADERS, END_HEADERS, 1, &headers));
    frames.write(&frame(DATA, 0, 1, body.as_bytes()));
    frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers));
    // 200 is in the table of HPACK.
    assert_eq!(frames.next_of(HEADERS).unwrap().payload[0], 0x88);
}

#[test]
fn headers_of_one_connection_alone_are_malformed() {
    let server = TestServer::start();
    for (name, value) in
        [("connection", "close"), ("transfer-encoding", "chunked"), ("X-Upper", "1")]
    {
        let headers = block(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", "/nowhere"),
            (name, value),
        ]);
        let mut frames = Frames::open(server.address(), &[]);
        frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &headers));
        let answer = std::iter::from_fn(|| frames.next())
            .find(|frame| frame.stream == 1 || frame.kind == GOAWAY)
            .unwrap();
        assert!(matches!(answer.kind, RST_STREAM | GOAWAY), "{name}: {answer:?}");
    }
    server.assert_alive();
}

#[test]
fn the_access_log_names_the_protocol() {
    let process = Process::start(&["--access-log", "true"]);
    let mut client = Client::open(process.address);
    let request = client.request("GET", "/admin/sign_in").body(String::new()).unwrap();
    assert_eq!(client.begin(request).status(), 200);
    process.wait_for("the line", |log| log.contains("protocol=\"h2\"").then_some(()));
}
