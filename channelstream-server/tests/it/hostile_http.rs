//! Malformed HTTP: one answer for each request, a reason for each refusal, no request smuggling.

use std::time::Duration;

use serde_json::json;

use crate::app::signature;
use crate::raw::{Line, Response, TestServer};

/// A request that ends its TCP connection. Its answer is `false`.
const LAST: &str = "GET /disconnect?conn_id=00000000-0000-0000-0000-000000000000 HTTP/1.1\r\n\
                    host: localhost\r\nconnection: close\r\n\r\n";

/// All answers to these bytes, until the server closes.
#[track_caller]
pub(crate) fn answers(server: &TestServer, bytes: impl AsRef<[u8]>) -> Vec<Response> {
    let mut line = server.line();
    line.try_write(bytes);
    std::iter::from_fn(|| line.next_answer("GET")).collect()
}

/// A signed request with these header lines, and whatever follows.
fn signed(request_line: &str, headers: &str, body: &str) -> String {
    let signature = signature();
    format!(
        "{request_line}\r\nhost: localhost\r\nx-channelstream-secret: {signature}\r\n{headers}\r\n{body}"
    )
}

/// Expects one refusal with its reason, and the end of the TCP connection after it.
#[track_caller]
fn assert_refused(server: &TestServer, bytes: impl AsRef<[u8]>, status: u16) {
    let shown =
        String::from_utf8_lossy(&bytes.as_ref()[..bytes.as_ref().len().min(200)]).into_owned();
    let answers = answers(server, bytes);
    assert_eq!(answers.len(), 1, "{shown}: {answers:?}");
    assert_eq!(answers[0].status, status, "{shown}: {answers:?}");
    answers[0].assert_problem(status);
    server.assert_alive();
}

#[test]
fn heads_that_cannot_be_read_are_400_in_json() {
    let server = TestServer::start();
    for head in [
        "\u{1f3b5}\r\n\r\n",
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTP/1.1\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : x\r\n\r\n",
        "GET / HTTP/1.1\r\nho st: x\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\n: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\0y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: localhost\r\n folded: y\r\n\r\n",
        "GET http:// HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "POST /info HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        "POST /info HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "POST /info HTTP/1.1\r\ncontent-length: +1\r\n\r\nx",
        "POST /info HTTP/1.1\r\ncontent-length: 1e1\r\n\r\nx",
        "POST /info HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\nx",
        "POST /info HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        "POST /info HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST /info HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n",
        "POST /info HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
        "POST /info HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03 client hello \0\0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "\0\0\0\0\0\0\0\0",
        "<policy-file-request/>\0",
        "{\"message\": 1}\n\n",
    ] {
        assert_refused(&server, head, 400);
    }
    server.assert_alive();
}

#[test]
fn heads_over_the_bound_are_refused_with_a_reason_however_large() {
    let server = TestServer::start();
    let head = |headers: &str| format!("GET /info HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    assert_refused(&server, head(&format!("x: {}\r\n", "y".repeat(20_000))), 431);
    assert_refused(&server, head(&"x: y\r\n".repeat(200)), 431);
    assert_refused(&server, head(&format!("x: {}\r\n", "y".repeat(20_000_000))), 431);
    let long = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "y".repeat(100_000));
    assert_refused(&server, long, 431);
    // The limit applies to the whole head.
    let most = head(&format!("x: {}\r\n", "y".repeat(15_000)));
    assert_eq!(server.request("GET", "/nowhere", &[("x", &"y".repeat(15_000))], "").status, 404);
    assert!(most.len() < 16_384);
}

#[test]
fn slow_heads_are_closed_while_others_are_served() {
    let server = TestServer::with(|config| config.head_timeout = Duration::from_millis(500));
    let mut slow: Vec<Line> = (0..20).map(|_| server.line()).collect();
    for (at, byte) in b"GET /info HT".iter().enumerate() {
        for line in &mut slow {
            // TCP connections that were closed meanwhile cannot receive it.
            line.try_write([*byte]);
        }
        if at % 4 == 0 {
            server.assert_alive();
        }
    }
    for line in &mut slow {
        line.assert_closed();
    }
}

#[test]
fn slow_bodies_are_408() {
    let server = TestServer::with(|config| config.body_timeout = Duration::from_millis(300));
    for headers in ["content-length: 10\r\n", "transfer-encoding: chunked\r\n"] {
        assert_refused(&server, signed("POST /message HTTP/1.1", headers, "5\r\n["), 408);
    }
}

#[test]
fn bodies_come_in_chunks_of_all_kinds() {
    let server = TestServer::start();
    let connection = server.connect("ann", &["a"]);
    let mut socket = server.websocket(&connection);
    let body = r#"[{"user":"p","channel":"a","message":{"n":1}}]"#;
    let length = body.len();
    let bytewise: String = body.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    for chunks in [
        format!("{length:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("{length:X}\r\n{body}\r\n000\r\n\r\n"),
        format!("000{length:x};name=value;q=\"x\"\r\n{body}\r\n0;last\r\n\r\n"),
        format!("{length:x}\r\n{body}\r\n0\r\nx-trailer: y\r\ncontent-length: 7\r\n\r\n"),
        format!("{bytewise}0\r\n\r\n"),
    ] {
        let request = signed("POST /message HTTP/1.1", "transfer-encoding: chunked\r\n", &chunks);
        let got = answers(&server, request + LAST);
        assert_eq!(
            got.iter().map(|answer| answer.status).collect::<Vec<_>>(),
            [200, 200],
            "{chunks}"
        );
        assert_eq!(socket.event()["message"]["n"], 1);
    }
}

#[test]
fn broken_chunks_are_400_and_end_the_line() {
    let server = TestServer::start();
    let extension = format!("1;{}\r\n[\r\n", "x".repeat(20_000));
    let trailer = format!("2\r\n[]\r\n0\r\n{}\r\n", "x: y\r\n".repeat(5_000));
    for chunks in [
        "x\r\n",
        "-1\r\n[]\r\n",
        "0x2\r\n[]\r\n",
        "\r\n\r\n",
        "2\r\n[]x\r\n",
        "2\r\n[]0\r\n\r\n",
        "ffffffffffffffffffff\r\n[]",
        "2 2\r\n[]\r\n0\r\n\r\n",
        "2[]\r\n",
        extension.as_str(),
        trailer.as_str(),
    ] {
        let headers = "transfer-encoding: chunked\r\n";
        let got = answers(&server, signed("POST /message HTTP/1.1", headers, chunks) + LAST);
        assert_eq!(got.len(), 1, "{chunks:.50}: {got:?}");
        got[0].assert_problem(400);
    }
    server.assert_alive();
}

#[test]
fn nothing_is_smuggled_behind_two_lengths() {
    let server = TestServer::start();
    // With one length the second request is part of the body, with the other it is not.
    for (headers, body) in [
        ("content-length: 4\r\ntransfer-encoding: chunked\r\n", "2\r\n[]\r\n0\r\n\r\n"),
        ("transfer-encoding: chunked\r\ncontent-length: 4\r\n", "2\r\n[]\r\n0\r\n\r\n"),
        ("content-length: 500\r\ntransfer-encoding: chunked\r\n", "2\r\n[]\r\n0\r\n\r\n"),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "2\r\n[]\r\n0\r\n\r\n"),
        ("transfer-encoding: identity, chunked\r\n", "2\r\n[]\r\n0\r\n\r\n"),
        ("transfer-encoding: identity\r\ncontent-length: 2\r\n", "[]"),
        ("content-length: 2\r\ncontent-length: 2\r\n", "[]"),
        ("content-length: 2, 2\r\n", "[]"),
        ("content-length: 2\r\ntransfer-encoding:\u{b}chunked\r\n", "[]"),
    ] {
        let got = answers(&server, signed("POST /message HTTP/1.1", headers, body) + LAST);
        match &got[..] {
            [first, last] => {
                assert_eq!((first.status, first.text().as_str()), (200, "[]"), "{headers}");
                assert_eq!((last.status, last.text().as_str()), (200, "false"), "{headers}");
            }
            // Bytes after it are not read.
            [only] if only.status == 200 => {
                assert_eq!(only.text(), "[]", "{headers}");
                assert_eq!(only.header("connection"), Some("close"), "{headers}");
            }
            [refusal] => refusal.assert_problem(400),
            other => panic!("{headers}: {other:?}"),
        }
    }
    server.assert_alive();
}

#[test]
fn compressed_bodies_are_415_and_name_the_header() {
    let server = TestServer::start();
    let signature = signature();
    for coding in ["gzip", "br", "deflate, gzip", "GZIP", "\u{ff}"] {
        let headers =
            [("x-channelstream-secret", signature.as_str()), ("content-encoding", coding)];
        let answer = server.request("POST", "/message", &headers, b"\x1f\x8b\x08\0\0");
        answer.assert_problem(415);
        assert!(
            answer.json()["message"].as_str().unwrap().contains("content-encoding"),
            "{answer:?}"
        );
    }
    for coding in ["identity", "Identity", ""] {
        let headers =
            [("x-channelstream-secret", signature.as_str()), ("content-encoding", coding)];
        assert_eq!(server.request("POST", "/message", &headers, "[]").status, 200, "{coding}");
    }
}

#[test]
fn who_expects_a_continue_gets_it_unless_the_answer_is_known() {
    let server = TestServer::start();
    let expect = "expect: 100-continue\r\n";
    let mut line = server.line();
    line.write(signed("POST /message HTTP/1.1", &format!("{expect}content-length: 2\r\n"), ""));
    assert_eq!(line.answer().status, 100);
    line.write("[]");
    let answer = line.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "[]"));

    let large = format!("{expect}content-length: 99999999\r\n");
    let got = answers(&server, signed("POST /message HTTP/1.1", &large, ""));
    assert_eq!(got.iter().map(|answer| answer.status).collect::<Vec<_>>(), [413]);
    let unsigned = "POST /message HTTP/1.1\r\nhost: localhost\r\nx-channelstream-secret: bad\r\n\
                    expect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    let got = answers(&server, unsigned);
    assert_eq!(got.iter().map(|answer| answer.status).collect::<Vec<_>>(), [401]);
}

#[test]
fn http_1_0_is_kept_open_on_request_only_and_never_chunked() {
    let server = TestServer::start();
    let mut line = server.line();
    let keep = "connection: keep-alive\r\ncontent-length: 2\r\n";
    for _ in 0..50 {
        line.write(signed("POST /message HTTP/1.0", keep, "[]"));
        let answer = line.answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "[]"));
        assert_eq!(answer.header("connection"), Some("keep-alive"));
        assert_eq!(answer.header("content-length"), Some("2"));
    }
    line.write(signed("POST /message HTTP/1.0", "content-length: 2\r\n", "[]"));
    assert_eq!(line.answer().status, 200);
    line.assert_closed();
    let connection = server.connect("ann", &["a"]);
    server.publish("a", &json!({"n": 1}));
    let got = answers(&server, format!("GET /listen?conn_id={connection} HTTP/1.0\r\n\r\n"));
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].json()[0]["message"]["n"], 1);
}

#[test]
fn connection_upgrade_without_an_upgrade_is_an_ordinary_request() {
    let server = TestServer::start();
    let connection = server.connect("ann", &["a"]);
    let upgrade = "connection: upgrade\r\n";
    let mut line = server.line();
    line.write(signed("POST /message HTTP/1.1", &format!("{upgrade}content-length: 2\r\n"), "[]"));
    assert_eq!(line.answer().text(), "[]");
    server.publish("a", &json!({"n": 1}));
    line.write(signed(&format!("GET /listen?conn_id={connection} HTTP/1.1"), upgrade, ""));
    assert_eq!(line.answer().json()[0]["message"]["n"], 1);
    line.write(signed("GET /static/nothing HTTP/1.1", upgrade, ""));
    assert_eq!(line.answer().status, 404);
    // The same with an upgrade that we do not know.
    for upgrade in ["h2c", "websocket", "TLS/1.0", "\u{ff}"] {
        let headers = format!("connection: upgrade\r\nupgrade: {upgrade}\r\n");
        line = server.line();
        line.write(signed("GET /info HTTP/1.1", &headers, ""));
        assert_eq!(line.answer().status, 200, "{upgrade}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = TestServer::start();
    let ids: Vec<String> = (0..30).map(|n| server.connect(&format!("user{n}"), &[])).collect();
    let unknown = "00000000-0000-0000-0000-000000000000";
    let mut bytes = String::new();
    for id in &ids {
        for id in [id.as_str(), unknown] {
            bytes += &format!("GET /disconnect?conn_id={id} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        }
    }
    let got = answers(&server, bytes + LAST);
    let texts: Vec<_> = got.iter().map(Response::text).collect();
    assert_eq!(texts.len(), 61);
    assert!(texts[..60].chunks(2).all(|pair| pair == ["true", "false"]), "{texts:?}");
}

#[test]
fn paths_lead_to_their_endpoint_or_to_a_404_that_helps() {
    let server = TestServer::start();
    let address = server.address();
    let absolute = format!("http://{address}/connect");
    for path in ["/%63onnect", "/c%6Fnnect", "/connect?", "/connect?x=%FF&&", &absolute] {
        let answer = server.post(path, &json!({"username": "ann"}));
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    // The host in the target counts, and by its name the default secret does not.
    let foreign = "http://elsewhere.test:1/connect?x=y";
    server.post(foreign, &json!({"username": "ann"})).assert_problem(403);
    let json = [("accept", "application/json")];
    for path in ["//connect", "/connect/", "/Connect", "/connect%2F", "/conect", "/connect/."] {
        let answer = server.request("POST", path, &json, "{}");
        answer.assert_problem(404);
        assert!(answer.text().contains("/connect"), "{path}: {answer:?}");
    }
    for path in [
        "/",
        "/%83",
        "/connect%",
        "/%",
        "/%2",
        "/%zz",
        "/connect%00",
        "/%00",
        "/connect;x=y",
        "/./connect",
        "/../connect",
        "/x/../connect",
        "/static/../admin",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static/",
        "/static",
        "/static//etc/passwd",
        "/static/%FF",
        "/messages",
        "/ws/",
        "/%c0%ae/",
        "/admin/x",
        "/connect%0d%0aset-cookie:%20x",
        "/%F0%9F%8E%B5",
    ] {
        for method in ["GET", "POST", "BREW"] {
            server.request(method, path, &json, "").assert_problem(404);
        }
    }
    for target in ["*", "/nowhere", "//", "/connect"] {
        assert_eq!(server.request("OPTIONS", target, &[], "").status, 200, "{target}");
    }
    // Neither a path nor an address for a server.
    for target in ["connect", "x:y", "", "?conn_id=x", "#", "elsewhere.test:80"] {
        for method in ["GET", "CONNECT"] {
            let answer = server.request(method, target, &json, "");
            assert!(matches!(answer.status, 400 | 404), "{method} {target}: {answer:?}");
            answer.assert_problem(answer.status);
        }
    }
    server.assert_alive();
}

#[test]
fn head_is_get_without_the_body() {
    let server = TestServer::start();
    let unknown = "00000000-0000-0000-0000-000000000000";
    let mut line = server.line();
    for target in ["/nowhere", "/info", "/admin/sign_in", &format!("/disconnect?conn_id={unknown}")]
    {
        line.request("HEAD", target, &[], "");
        let head = line.answer_to("HEAD");
        line.request("GET", target, &[], "");
        let get = line.answer();
        assert_eq!(head.status, get.status, "{target}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{target}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{target}");
    }
    line.request("HEAD", &format!("/listen?conn_id={unknown}"), &[], "");
    assert_eq!(line.answer_to("HEAD").status, 401);
    line.write(LAST);
    assert_eq!(line.answer().text(), "false", "nothing is left on the TCP connection");
}

#[test]
fn head_changes_nothing() {
    let server = TestServer::start();
    let connection = server.connect("ann", &["a"]);
    let mut line = server.line();
    let mut head = |target: &str| {
        line.request("HEAD", target, &[], "");
        line.answer_to("HEAD")
    };
    let listen = format!("/listen?conn_id={connection}");
    assert_eq!(head(&listen).status, 200, "at once, although nothing waits");
    server.publish("a", &json!({"n": 1}));
    let answer = head(&listen);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(server.get(&listen).json()[0]["message"]["n"], 1, "nothing was taken");
    let disconnect = format!("/disconnect?conn_id={connection}");
    let answer = head(&disconnect);
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("4")));
    assert_eq!(head(&listen).status, 200, "the connection is there yet");
    assert_eq!(head("/admin/sign_out").header("set-cookie"), None);
    assert!(server.get("/admin/sign_out").header("set-cookie").is_some());
    assert_eq!(server.get(&disconnect).text(), "true");
}

#[test]
fn methods_that_are_not_known_are_404() {
    let server = TestServer::start();
    let json = [("accept", "application/json")];
    for method in ["BREW", "get", "TRACE", "PROPFIND", "M-SEARCH", "PRI", "X!#$%&'*+-.^_`|~"] {
        server.request(method, "/connect", &json, "").assert_problem(404);
    }
    for (method, path) in
        [("GET", "/message"), ("PUT", "/message"), ("GET", "/connect"), ("DELETE", "/connect")]
    {
        server.request(method, path, &json, "").assert_problem(404);
    }
}

#[test]
fn a_body_that_breaks_off_has_no_effect() {
    let server = TestServer::start();
    let connection = server.connect("ann", &["a"]);
    let mut socket = server.websocket(&connection);
    let body = r#"[{"user":"p","channel":"a","message":{"n":1}}]"#;
    for headers in ["content-length: 1000\r\n", "transfer-encoding: chunked\r\n"] {
        for body in [body.to_owned(), format!("{:x}\r\n{body}\r\n", body.len())] {
            let mut line = server.line();
            line.write(signed("POST /message HTTP/1.1", headers, &body));
        }
    }
    crate::app::eventually("the TCP connections are gone", || {
        server.debug_figure("tcp_connections") == 2
    });
    server.publish("a", &json!({"n": 2}));
    assert_eq!(socket.event()["message"]["n"], 2, "nothing came before");
}

#[test]
fn forged_headers_of_proxies_give_nothing() {
    let server = TestServer::with(|config| config.allow_posting_from = "10.0.0.1".parse().unwrap());
    let signature = signature();
    for name in ["x-forwarded-for", "forwarded", "x-real-ip", "client-ip", "x-client-ip"] {
        let headers = [("x-channelstream-secret", signature.as_str()), (name, "10.0.0.1")];
        let answer = server.request("POST", "/info", &headers, "");
        assert_eq!(answer.status, 403, "{name}: {answer:?}");
    }
    let server = TestServer::with(|config| config.enforce_https = true);
    for name in ["x-forwarded-proto", "x-scheme", "x-url-scheme", "forwarded", "x-forwarded-ssl"] {
        let headers = [("x-channelstream-secret", signature.as_str()), (name, "https")];
        let answer = server.request("POST", "/info", &headers, "");
        assert_eq!(answer.status, 406, "{name}: {answer:?}");
    }
}

#[test]
fn a_signature_may_stand_in_the_query_but_the_header_wins() {
    let server = TestServer::start();
    let good = signature();
    assert_eq!(server.get(&format!("/info?secret={good}")).status, 200);
    assert_eq!(server.get("/info?secret=").status, 403);
    let bad = [("x-channelstream-secret", "bad")];
    assert_eq!(server.request("GET", &format!("/info?secret={good}"), &bad, "").status, 401);
}

/// A proxy that keeps its TCP connections sends the next request of somebody else into one that looks open.
#[test]
fn a_refusal_before_the_body_keeps_the_line_or_says_that_it_closes() {
    let server =
        TestServer::with(|config| config.allow_posting_from = "127.0.0.9".parse().unwrap());
    let mut line = server.line();
    for _ in 0..3 {
        line.write(signed("POST /connect HTTP/1.1", "content-length: 20\r\n", ""));
        // What the server has of the request is its head, so that it could answer.
        assert_eq!(server.get("/healthz").status, 200);
        line.write(r#"{"username":"guest"}"#);
        let answer = line.answer();
        assert_eq!((answer.status, answer.header("connection")), (403, None), "{answer:?}");
    }
    // A short one that does not come, one that is too long to wait for, and one that is asked for.
    for headers in [
        "content-length: 20\r\n",
        "content-length: 100000\r\n",
        "transfer-encoding: chunked\r\n",
        "content-length: 20\r\nexpect: 100-continue\r\n",
    ] {
        let mut line = server.line();
        line.write(signed("POST /connect HTTP/1.1", headers, ""));
        let answer = line.answer();
        assert_eq!(answer.status, 403, "{headers}: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{headers}: {answer:?}");
        line.assert_closed();
    }
}
