//! Attacks on signatures over whole requests: replays, changes, odd headers, downgrades (contract §14).

use channelstream_server::config::Secret;
use channelstream_server::{Config, SharedJournal};
use channelstream_signer::unix_now;
use serde_json::{Value, json};

use crate::app::{Answer, App, Request, Site, signature, signature_with};
use crate::raw::{Response, TestServer};
use crate::whole::{HEADER, Whole};

const BODY: &str = r#"[{"user":"u","channel":"c","message":{"n":1}}]"#;

/// The request that is signed, with this header.
fn request(whole: &Whole<'_>, header: &str) -> Request {
    let request = Request::new(whole.method, whole.path).header(HEADER, header);
    let request =
        if whole.key.is_empty() { request } else { request.header("idempotency-key", whole.key) };
    request.body(whole.body.unwrap_or_default())
}

fn send(site: &Site, whole: &Whole<'_>) -> Answer {
    site.send(&request(whole, &whole.sign()))
}

/// Asserts that an answer is a 401 that says this.
#[track_caller]
fn assert_refused(answer: &Answer, reason: &str) {
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    let body = answer.json();
    assert_eq!(body["request"], "Bad Signature", "{answer:?}");
    assert!(body["reason"].as_str().unwrap().contains(reason), "{reason}: {answer:?}");
}

/// How many messages the channel `c` has.
fn posted(app: &App) -> usize {
    app.channel("c")["history"].as_array().map_or(0, Vec::len)
}

/// A server whose channel `c` has a history.
fn start(config: Config) -> App {
    let app = App::start(config);
    app.configure("c", &json!({"store_history": true, "history_size": 100}));
    app
}

fn debug(app: &App) -> String {
    app.send(&Request::new("GET", "/admin/debug").signed()).body
}

#[test]
fn all_methods_of_the_api_take_it() {
    let app = start(Config::default());
    let post = |path, body: &Value| send(&app, &Whole::new("POST", path, &body.to_string())).ok();
    let connected = post("/connect", &json!({"username": "u", "channels": ["c"]}));
    assert_eq!(connected["channels"], json!(["c"]));
    let uuid = send(&app, &Whole::new("POST", "/message", BODY)).ok()[0]["uuid"].take();
    let edit = json!([{"uuid": uuid, "channel": "c", "message": {"n": 2}}]).to_string();
    send(&app, &Whole::new("PATCH", "/message", &edit)).ok();
    assert_eq!(app.channel("c")["history"][0]["message"], json!({"n": 2}));
    let delete = json!([{"uuid": uuid, "channel": "c"}]).to_string();
    send(&app, &Whole::new("DELETE", "/message", &delete)).ok();
    assert_eq!(posted(&app), 0);
    send(&app, &Whole::new("POST", "/message", BODY)).ok();
    for path in ["/info", "/info?", "/info?a=%20b&a", "/%69nfo", "/admin/debug"] {
        assert_eq!(send(&app, &Whole::new("GET", path, "")).status, 200, "{path}");
        assert_eq!(send(&app, &Whole::new("HEAD", path, "")).status, 200, "{path}");
    }
    let missing = send(&app, &Whole::new("POST", "/nowhere", ""));
    assert_eq!(missing.status, 404, "{missing:?}");
    let fields = send(&app, &Whole::new("POST", "/connect", "{}"));
    assert_eq!(fields.status, 422, "{fields:?}");
}

#[test]
fn a_replay_is_refused_and_does_nothing() {
    let app = start(Config::default());
    for key in ["", "\"a-key\""] {
        let whole = Whole { key, ..Whole::new("POST", "/message", BODY) };
        let header = whole.sign();
        let before = posted(&app);
        assert_eq!(app.send(&request(&whole, &header)).status, 200);
        for _ in 0..3 {
            assert_refused(&app.send(&request(&whole, &header)), "counted before");
        }
        assert_eq!(posted(&app), before + 1);
    }
    // A repeat with a signature of its own is one.
    let whole = Whole { key: "\"a-key\"", ..Whole::new("POST", "/message", BODY) };
    let answer = send(&app, &whole);
    assert_eq!(answer.header("idempotency-replayed"), Some("true"), "{answer:?}");
    assert_eq!(posted(&app), 2);
    assert!(debug(&app).contains("signatures_replayed_total: 6\n"));
}

#[test]
fn many_at_once_count_once() {
    let app = start(Config { threads: 2, ..Config::default() });
    let whole = Whole::new("POST", "/message", BODY);
    let request = request(&whole, &whole.sign());
    let site = app.site;
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| site.send(&request).status)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 7, "{statuses:?}");
    assert_eq!(posted(&app), 1);
}

#[test]
fn a_signature_is_for_one_request_only() {
    let app = start(Config::default());
    let signed = Whole { key: "k", ..Whole::new("POST", "/message", BODY) };
    for (what, sent) in [
        ("method", Whole { method: "PATCH", ..signed.clone() }),
        ("path", Whole { path: "/connect", ..signed.clone() }),
        ("encoded path", Whole { path: "/%6dessage", ..signed.clone() }),
        ("encoded slash", Whole { path: "/%2fmessage", ..signed.clone() }),
        ("query", Whole { path: "/message?conn_id=x", ..signed.clone() }),
        ("empty query", Whole { path: "/message?", ..signed.clone() }),
        ("no key", Whole { key: "", ..signed.clone() }),
        ("another key", Whole { key: "l", ..signed.clone() }),
        ("the key in quotes", Whole { key: "\"k\"", ..signed.clone() }),
    ] {
        let answer = app.send(&request(&sent, &signed.sign()));
        assert_refused(&answer, "not that of this method");
        assert_ne!(send(&app, &Whole { key: "", ..sent }).status, 401, "{what}");
    }
    let before = posted(&app);
    for body in ["", "[]", " ", &BODY.replace('1', "2"), &format!("{BODY} "), &BODY[1..]] {
        let sent = Whole { body: Some(body.as_bytes()), ..signed.clone() };
        assert_refused(&app.send(&request(&sent, &signed.sign())), "another one than was signed");
    }
    let twice = request(&signed, &signed.sign()).header("idempotency-key", "k");
    assert_refused(&app.send(&twice), "several headers Idempotency-Key");
    assert_eq!(posted(&app), before);
}

#[test]
fn the_body_is_what_arrives() {
    let server = TestServer::start();
    let raw = |header: &str, rest: &[u8]| -> Response {
        let mut line = server.line();
        let head = format!("POST /message HTTP/1.1\r\nhost: localhost\r\n{HEADER}: {header}\r\n");
        line.write([head.as_bytes(), rest].concat());
        // A body that is cut off ends with the sending half.
        drop(line.stream().shutdown(std::net::Shutdown::Write));
        line.answer_to("POST")
    };
    let chunked = |pieces: &[&str]| {
        let mut bytes = "transfer-encoding: chunked\r\n\r\n".to_owned();
        for piece in pieces {
            bytes += &format!("{:x};x=y\r\n{piece}\r\n", piece.len());
        }
        bytes + "0\r\n\r\n"
    };
    let length = |length: usize, body: &str| format!("content-length: {length}\r\n\r\n{body}");
    let (first, second) = BODY.split_at(20);
    let longer = format!("{BODY}[]");
    for (what, rest, expected) in [
        ("whole", length(BODY.len(), BODY), 200),
        ("in chunks", chunked(&[first, second]), 200),
        ("in one chunk", chunked(&[BODY]), 200),
        ("chunks in another order", chunked(&[second, first]), 401),
        ("a chunk is missing", chunked(&[first]), 401),
        ("a chunk more", chunked(&[BODY, " "]), 401),
        ("shorter by its length", length(20, BODY), 401),
        ("longer", length(longer.len(), &longer), 401),
        ("cut off", length(BODY.len(), first), 400),
        ("no body", "\r\n".to_owned(), 401),
    ] {
        let answer = raw(&Whole::new("POST", "/message", BODY).sign(), rest.as_bytes());
        assert_eq!(answer.status, expected, "{what}: {answer:?}");
    }
    server.assert_alive();
}

#[test]
fn a_stranger_makes_the_server_read_nothing() {
    let server = TestServer::with(|config| config.max_body_size = 100_000);
    let large = "x".repeat(50_000);
    let good = Whole::new("POST", "/message", &large);
    let forged = Whole { secret: "guess", ..good.clone() }.sign();
    let mut line = server.line();
    let head = format!(
        "POST /message HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50000\r\n{HEADER}: {forged}\r\n\r\n"
    );
    line.write(head);
    assert_eq!(line.answer_to("POST").status, 401, "before any of the body");
    let answer = server.request("POST", "/message", &[(HEADER, &good.sign())], &large);
    answer.assert_problem(400);
    let larger = "x".repeat(100_001);
    let signature = Whole::new("POST", "/message", &larger).sign();
    let answer = server.request("POST", "/message", &[(HEADER, &signature)], &larger);
    answer.assert_problem(413);
    server.assert_alive();
}

#[test]
fn pipelined_requests_are_each_on_their_own() {
    let app = start(Config::default());
    let whole = Whole::new("POST", "/message", BODY);
    let header = whole.sign();
    let other = r#"[{"user":"u","channel":"c","message":{"n":7}}]"#;
    let smuggled = Whole { body: Some(other.as_bytes()), ..whole.clone() };
    let mut line = crate::app::Line::open(app.site.0);
    let requests = [
        request(&whole, &header),
        request(&whole, &header),
        request(&smuggled, &header),
        request(&smuggled, &whole.sign()),
        request(&smuggled, &smuggled.sign()),
    ];
    line.write(&requests.iter().flat_map(Request::bytes).collect::<Vec<_>>());
    let statuses = [(); 5].map(|()| line.answer(false).unwrap().status);
    assert_eq!(statuses, [200, 401, 401, 401, 200]);
    assert_eq!(posted(&app), 2);
}

/// The headers that the signer's vectors say are malformed, as far as HTTP carries them.
#[test]
fn malformed_headers_are_refused() {
    let vectors = include_str!("../../../channelstream-signer/tests/vectors/request-v1.json");
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    let server = TestServer::start();
    let mut tried = 0;
    for (why, header) in vectors["malformed"].as_object().unwrap() {
        let header = header.as_str().unwrap();
        // HTTP drops blanks around a value, and takes no control characters.
        if header.trim() != header || header.contains(char::is_control) {
            continue;
        }
        let answer = server.request("GET", "/info", &[(HEADER, header)], "");
        assert_eq!(answer.status, 401, "{why}: {answer:?}");
        assert!(answer.json()["reason"].as_str().unwrap().contains("the header is not"), "{why}");
        tried += 1;
    }
    assert!(tried > 40, "only {tried}");
    let mut line = server.line();
    let head = format!("GET /info HTTP/1.1\r\nhost: x\r\n{HEADER}: ");
    line.write([head.as_bytes(), b"v1 t=1,n=\xff\xfe", b"\r\n\r\n"].concat());
    assert_eq!(line.answer().status, 401);
    server.assert_alive();
}

#[test]
fn the_stronger_scheme_decides() {
    let app = start(Config::default());
    let whole = Whole::new("GET", "/info", "");
    let (good, bad) = (whole.sign(), Whole { secret: "guess", ..whole.clone() }.sign());
    let old = "x-channelstream-secret";
    let info = || Request::new("GET", "/info");
    let status = |request: Request| app.send(&request).status;
    assert_eq!(status(info().header(HEADER, &good).header(old, "bad")), 200);
    assert_eq!(status(info().header(old, &signature()).header(HEADER, &bad)), 401);
    assert_eq!(status(info().header(old, &signature()).header(HEADER, &good)), 401, "a replay");
    assert_eq!(status(info().header(old, &signature()).header(HEADER, "")), 401, "empty");
    let twice = info().header(HEADER, &whole.sign()).header(HEADER, &whole.sign());
    assert_refused(&app.send(&twice), "several headers X-Channelstream-Signature");
    // Neither scheme takes a signature of the other.
    assert_eq!(status(info().header(old, &whole.sign())), 401);
    assert_eq!(status(info().header(HEADER, &signature())), 401);
    let in_query = format!("/info?secret={}", whole.sign().replace(' ', "%20"));
    assert_eq!(status(Request::new("GET", &in_query)), 401);
}

#[test]
fn the_old_scheme_can_be_refused() {
    let app = App::start(Config { require_signed_bodies: true, ..Config::default() });
    let status = |request: Request| app.send(&request).status;
    for old in [signature(), signature_with("guess"), "bad".to_owned()] {
        let refused = Request::new("GET", "/info").header("x-channelstream-secret", &old);
        assert_refused(&app.send(&refused), "require_signed_bodies");
        let in_query = format!("/info?secret={}", old.replace('/', "%2F"));
        assert_refused(&app.send(&Request::new("GET", &in_query)), "require_signed_bodies");
    }
    assert_eq!(status(Request::new("GET", "/info")), 403, "no signature at all");
    assert_eq!(status(Request::new("GET", "/info").header("x-channelstream-secret", "")), 403);
    assert_eq!(send(&app, &Whole::new("GET", "/info", "")).status, 200);
    let connected =
        send(&app, &Whole::new("POST", "/connect", r#"{"username":"u","channels":[]}"#));
    let connection = connected.ok()["conn_id"].as_str().unwrap().to_owned();
    assert_eq!(status(Request::new("GET", &format!("/disconnect?conn_id={connection}"))), 200);
}

#[test]
fn the_time_is_within_a_minute_in_both_directions() {
    for validate_requests in [true, false] {
        let app = App::start(Config { validate_requests, ..Config::default() });
        let at = |time: u64| send(&app, &Whole { time, ..Whole::new("GET", "/info", "") });
        let now = unix_now();
        assert_refused(&at(now - 61), "seconds ago");
        assert_refused(&at(0), "seconds ago");
        assert_refused(&at(now + 90), "in the future");
        assert_refused(&at(999_999_999_999), "in the future");
        assert_eq!(at(now + 50).status, 200);
        // A replay of what an earlier life of the server took cannot be told from this.
        let before = at(now - 30);
        assert_eq!(before.status, 503, "{before:?}");
        assert_eq!(before.json()["outcome"], "not_done");
        assert!(before.header("retry-after").is_some(), "{before:?}");
    }
}

#[test]
fn a_restart_revives_nothing() {
    let whole = Whole::new("POST", "/message", BODY);
    let header = whole.sign();
    let first = start(Config::default());
    assert_eq!(first.send(&request(&whole, &header)).status, 200);
    first.stop();
    // The clock goes on meanwhile.
    crate::app::eventually("the second of the signature is over", || unix_now() > whole.time);
    let second = start(Config::default());
    let answer = second.send(&request(&whole, &header));
    assert_eq!((answer.status, posted(&second)), (503, 0), "{answer:?}");
}

#[test]
fn secrets_are_as_in_the_old_scheme() {
    let secrets = ["newest", "older"].map(Secret::new).into();
    let app = App::start(Config { secrets, ..Config::default() });
    let with = |secret| send(&app, &Whole { secret, ..Whole::new("GET", "/info", "") }).status;
    assert_eq!(["newest", "older", "older", "secret", ""].map(with), [200, 200, 200, 401, 401]);
    let old = Request::new("GET", "/admin/debug")
        .header("x-channelstream-secret", &signature_with("older"));
    let debug = app.send(&old).body;
    for line in [
        "signatures_total{scheme=\"body\",secret=\"1\"}: 1\n",
        "signatures_total{scheme=\"body\",secret=\"2\"}: 2\n",
        "signatures_total{scheme=\"timestamp\",secret=\"1\"}: 0\n",
        "signatures_total{scheme=\"timestamp\",secret=\"2\"}: 1\n",
        "nonces: 3\n",
    ] {
        assert!(debug.contains(line), "{line}{debug}");
    }
    for secrets in [vec![], vec![Secret::new("")]] {
        let app = App::start(Config { secrets, ..Config::default() });
        let nothing = Whole { secret: "", ..Whole::new("GET", "/info", "") };
        assert_eq!(send(&app, &nothing).status, 401, "no secret opens nothing");
    }
}

#[test]
fn addresses_and_well_known_secrets_count_as_ever() {
    let elsewhere = "10.0.0.0/8".parse().unwrap();
    let shut = App::start(Config { allow_posting_from: elsewhere, ..Config::default() });
    let whole = Whole::new("GET", "/info", "");
    assert_eq!(send(&shut, &whole).status, 403);
    assert_eq!(shut.send(&request(&whole, "not even looked at")).status, 403);

    let app = App::start(Config::default());
    // One that was signed before the server started would not count.
    let whole = Whole::new("GET", "/info", "");
    let of_a_page = request(&whole, &whole.sign()).header("origin", "https://evil.example");
    let answer = app.send(&of_a_page);
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.body.contains("well-known default"), "{answer:?}");
}

#[test]
fn the_prefix_of_a_proxy_is_not_signed() {
    let app = App::start(Config::default());
    let whole = Whole::new("GET", "/info?a=b", "");
    let sent = |path: &str, prefix: &str| {
        let request = Request::new("GET", path).header(HEADER, &whole.sign());
        app.send(&request.header("x-script-name", prefix)).status
    };
    assert_eq!(sent("/push/info?a=b", "/push"), 200);
    assert_eq!(sent("/info?a=b", "/push"), 200);
    assert_eq!(sent("/push/push/info?a=b", "/push"), 401);
    assert_eq!(sent("/%70ush/info?a=b", "/push"), 401);
    assert_eq!(sent("/push/info?a=b", "/other"), 401);
}

#[test]
fn a_full_memory_refuses_and_forgets_nothing() {
    let app = start(Config { max_nonces: 3, ..Config::default() });
    let first = Whole::new("POST", "/message", BODY);
    let header = first.sign();
    assert_eq!(app.send(&request(&first, &header)).status, 200);
    for _ in 0..2 {
        assert_eq!(send(&app, &Whole::new("GET", "/info", "")).status, 200);
    }
    let full = send(&app, &Whole::new("POST", "/message", BODY));
    assert_eq!(full.status, 503, "{full:?}");
    assert_eq!(full.json()["outcome"], "not_done");
    assert!(full.json()["message"].as_str().unwrap().contains("max_nonces"), "{full:?}");
    assert_eq!(full.header("retry-after"), Some("1"));
    assert_refused(&app.send(&request(&first, &header)), "counted before");
    // Forged ones take no room.
    let forged = Whole { secret: "guess", ..first };
    assert_eq!(send(&app, &forged).status, 401);
    assert_eq!(posted(&app), 1);
    let debug = debug(&app);
    for line in ["nonces: 3\n", "refusals_total{limit=\"max_nonces\"}: 1\n"] {
        assert!(debug.contains(line), "{line}{debug}");
    }
}

#[test]
fn streams_alone_take_a_body_that_is_not_signed() {
    let app = start(Config::default());
    let path = "/message/stream?channel=c&user=u";
    let stream = Whole { body: None, ..Whole::new("POST", path, "") };
    let sent = |header: &str, body: &str| {
        app.send(&Request::new("POST", path).header(HEADER, header).body(body))
    };
    let header = stream.sign();
    assert_eq!(sent(&header, "Hello!").ok()["status"], "done");
    assert_refused(&sent(&header, "Hello!"), "counted before");
    assert_refused(&sent(&Whole::new("POST", path, "Hello!").sign(), "Hello!"), "sign h=-");
    assert_eq!(posted(&app), 1);
    for path in ["/message", "/connect", "/info", "/nowhere"] {
        let unsigned = Whole { path, ..stream.clone() };
        assert_refused(&send(&app, &unsigned), "for streams alone");
    }
}

/// What holds where several servers share a journal: each remembers what it has seen itself. A key is
/// signed, and known to all of them.
#[test]
fn a_replay_to_another_node_is_recognized_by_its_key_only() {
    let journal = SharedJournal::new();
    let nodes = [(); 2].map(|()| App::start_on(&journal, Config::default()));
    nodes[0].configure("c", &json!({"store_history": true, "history_size": 100}));
    let to_both = |key: &str| {
        let whole = Whole { key, ..Whole::new("POST", "/message", BODY) };
        let header = whole.sign();
        nodes.each_ref().map(|node| node.send(&request(&whole, &header)))
    };
    let answers = to_both("k");
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200; 2]);
    assert_eq!(answers[1].header("idempotency-replayed"), Some("true"));
    assert_eq!(answers[0].body, answers[1].body);
    assert_eq!(posted(&nodes[0]), 1);
    assert_eq!(to_both("").map(|answer| answer.status), [200; 2]);
    assert_eq!(posted(&nodes[0]), 3, "without a key it counts on each node once");
}
