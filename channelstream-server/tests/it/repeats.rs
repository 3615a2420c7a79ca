//! `Idempotency-Key`: a signed request with a key is carried out once, whatever comes again.

use std::thread;
use std::time::Duration;

use channelstream_server::Config;
use serde_json::{Value, json};

use crate::app::{Answer, App, Line, Request, Site, eventually, numbered, numbers};

fn keyed(method: &str, path: &str, key: &str, body: &Value) -> Request {
    Request::new(method, path).signed().header("idempotency-key", key).json(body)
}

fn post(app: &Site, key: &str, number: u64) -> Answer {
    app.send(&keyed("POST", "/message", key, &numbered("news", number)))
}

/// A server with a channel that has a history.
fn start(config: Config) -> App {
    let app = App::start(config);
    app.configure("news", &json!({"store_history": true, "history_size": 1000}));
    app
}

fn history(app: &Site) -> Vec<u64> {
    numbers(app.channel("news")["history"].as_array().unwrap())
}

#[track_caller]
fn assert_replayed(answer: &Answer, replayed: &str) {
    assert_eq!(answer.header("idempotency-replayed"), Some(replayed), "{answer:?}");
}

#[test]
fn every_call_of_a_backend_is_carried_out_once() {
    let app = start(Config::default());
    let ann = app.connect("ann", &["news"]);
    let mut socket = app.socket(&ann);
    let id = uuid::Uuid::from_u128(7);
    let of_nobody = uuid::Uuid::from_u128(8);
    for (number, (method, path, body, status)) in [
        ("POST", "/connect", json!({"username": "ben", "channels": ["news", "b"]}), 200),
        ("POST", "/subscribe", json!({"conn_id": ann, "channels": ["b", "c"]}), 200),
        ("POST", "/unsubscribe", json!({"conn_id": ann, "channels": ["c"]}), 200),
        ("POST", "/user_state", json!({"user": "ann", "user_state": {"a": 1.50}}), 200),
        (
            "POST",
            "/message",
            json!([{"user": "a", "channel": "news", "uuid": id, "message": {}}]),
            200,
        ),
        ("POST", "/message", json!([{"user": "a", "pm_users": ["ann"], "message": {"n": 1}}]), 200),
        ("PATCH", "/message", json!([{"uuid": id, "channel": "news", "message": {"n": 2}}]), 200),
        ("DELETE", "/message", json!([{"uuid": id, "channel": "news"}]), 200),
        ("POST", "/channel_config", json!({"news": {"notify_presence": true}}), 200),
        ("DELETE", "/channels", json!({"channels": ["b", "none"]}), 200),
        ("POST", "/disconnect", json!({"conn_id": ann}), 200),
        ("POST", "/disconnect", json!({"conn_id": of_nobody}), 200),
        ("POST", "/subscribe", json!({"conn_id": of_nobody, "channels": ["b"]}), 422),
        ("POST", "/user_state", json!({"user": "zoe", "user_state": {}}), 422),
    ]
    .into_iter()
    .enumerate()
    {
        let request = keyed(method, path, &format!("key-{number}"), &body);
        let first = app.send(&request);
        assert_eq!(first.status, status, "{method} {path}: {first:?}");
        assert_replayed(&first, "false");
        for _ in 0..2 {
            let again = app.send(&request);
            assert_replayed(&again, "true");
            assert_eq!((again.status, &again.body), (first.status, &first.body), "{method} {path}");
        }
    }
    // message, private message, edit, delete: each once.
    let heard: Vec<_> = socket.events(4);
    let types: Vec<_> = heard.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["message", "message", "message:edit", "message:delete"]);
    let users = app.channel("news")["users"].clone();
    assert!(users.as_array().unwrap().contains(&json!("ben")), "{users}");
    assert!(app.channel("news")["total_connections"].as_u64().unwrap() <= 2);
}

#[test]
fn a_key_belongs_to_one_request() {
    let app = start(Config::default());
    let first = post(&app, "k", 1);
    let other = |request: Request| {
        let answer = app.send(&request);
        assert_eq!(
            (answer.status, answer.json()),
            (422, json!({"request": ["Idempotency-Key belongs to another request."]}))
        );
        assert_replayed(&answer, "false");
    };
    let body = numbered("news", 1);
    other(keyed("POST", "/message", "k", &numbered("news", 2)));
    other(keyed("POST", "/message?conn_id=1", "k", &body));
    other(keyed("POST", "/message", "k", &body).header("prefer", "return=representation"));
    other(keyed("POST", "/message", "k", &body).header("prefer", "handling=lenient"));
    other(keyed("PATCH", "/message", "k", &json!([])));
    other(keyed("POST", "/channel_config", "k", &json!({})));
    other(keyed("POST", "/message", "k", &body).body(format!("{body} ")));
    // A quoted key is the same key, and headers that change no answer do not count.
    let again = keyed("POST", "/message", r#""k""#, &body).header("user-agent", "x");
    assert_eq!(app.send(&again).body, first.body);
    assert_eq!(history(&app), [1]);
}

#[test]
fn an_invalid_key_is_a_400_and_does_nothing() {
    let app = start(Config::default());
    let body = numbered("news", 1);
    let send = |value: &[u8]| {
        let mut bytes = Request::new("POST", "/message").signed().json(&body).bytes();
        let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        bytes.splice(at..at, [b"\r\nidempotency-key: ", value].concat());
        let mut line = Line::open(app.0);
        line.write(&bytes);
        line.answer(false).unwrap()
    };
    let long = "k".repeat(256);
    let huge = "k".repeat(15_000);
    for value in [
        &b""[..],
        b"a b",
        b"\"\"",
        b"\"a",
        b"\"a\\",
        b"\"a\\b\"",
        b"\"a\" \"b\"",
        b"\xff",
        "\u{e9}".as_bytes(),
        b"a\r\nidempotency-key: a",
        b"\"a\"\r\nIdempotency-Key: b",
        long.as_bytes(),
        huge.as_bytes(),
    ] {
        let answer = send(value);
        assert_eq!(answer.status, 400, "{}", value.escape_ascii());
        let message = answer.json()["message"].to_string();
        assert!(message.contains("Idempotency-Key"), "{message}");
        assert_eq!(answer.header("idempotency-replayed"), None);
    }
    assert!(history(&app).is_empty());
    assert_eq!(send(&long.as_bytes()[1..]).status, 200);
    assert_eq!(history(&app), [1]);
}

#[test]
fn without_a_signature_or_effect_the_header_does_nothing() {
    let app =
        start(Config { tutorial: channelstream_server::config::Tutorial::On, ..Config::default() });
    let ann = app.connect("ann", &["news"]);
    let plain =
        |method: &str, path: &str| Request::new(method, path).header("idempotency-key", "k");
    // Anybody.
    let body = json!({"conn_id": ann});
    for known in [true, true] {
        let answer = app.send(&plain("POST", "/disconnect").json(&body));
        assert_eq!((answer.ok(), answer.header("idempotency-replayed")), (known.into(), None));
    }
    assert_eq!(app.send(&plain("POST", "/message").json(&numbered("news", 1))).status, 403);
    let odd = Request::new("POST", "/disconnect").header("idempotency-key", "\"").json(&body);
    assert_eq!(app.send(&odd).status, 200);
    // The tutorial.
    for number in [2, 2] {
        let tutorial = plain("POST", "/tutorial/message")
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/json")
            .json(&numbered("news", number));
        let answer = app.send(&tutorial);
        assert_eq!(
            (answer.status, answer.header("idempotency-replayed")),
            (200, None),
            "{answer:?}"
        );
    }
    assert_eq!(history(&app), [2, 2]);
    // Questions.
    let info = keyed("POST", "/info", "k", &json!({"info": {}}));
    assert_eq!(app.send(&info).header("idempotency-replayed"), None);
    assert_replayed(&post(&app, "k", 3), "false");
    let get = app.send(&plain("GET", &format!("/disconnect?conn_id={ann}")).signed());
    assert_eq!(get.header("idempotency-replayed"), None);
    // Who changes the signature is not believed because of a key.
    let forged = plain("POST", "/message").header("x-channelstream-secret", "x.y.z");
    assert_eq!(app.send(&forged.json(&numbered("news", 3))).status, 401);
}

#[test]
fn what_is_refused_before_it_is_carried_out_leaves_the_key_free() {
    let app = start(Config { max_body_size: 1000, ..Config::default() });
    let invalid = keyed("POST", "/message", "k", &json!([{"channel": "news"}]));
    assert_eq!(app.send(&invalid).status, 422);
    assert_eq!(app.send(&keyed("POST", "/message", "k", &json!(0)).body("{")).status, 400);
    assert_eq!(
        app.send(&keyed("POST", "/message", "k", &json!(0)).body("x".repeat(1001))).status,
        413
    );
    assert_replayed(&post(&app, "k", 1), "false");
    assert_eq!(history(&app), [1]);
}

#[test]
fn with_a_key_each_message_has_its_number() {
    let app = start(Config::default());
    let body = json!([
        {"user": "a", "channel": "news", "message": {"n": 1}},
        {"user": "a", "channel": "none", "message": {"n": 2}},
        {"user": "a", "channel": "news", "message": {"n": 3}},
        {"user": "a", "message": {"n": 4}},
    ]);
    let answer = app.send(&keyed("POST", "/message", "k", &body)).ok();
    let seq: Vec<_> = answer.as_array().unwrap().iter().map(|posted| &posted["seq"]).collect();
    assert_eq!(seq.len(), 3, "as ever, a message without an address is left out");
    let (epoch, first) = seq[0].as_str().unwrap().split_once('-').unwrap();
    let first: u64 = first.parse().unwrap();
    let cursor = |number: u64| json!(format!("{epoch}-{number}"));
    assert_eq!(seq, [&cursor(first), &Value::Null, &cursor(first + 1)]);
    assert_eq!(answer[0]["recipients"], Value::Null);
    let prefer = ("prefer", "return=representation");
    let request = Request::call("/message", &body).header(prefer.0, prefer.1);
    assert_eq!(app.send(&request).ok()[2]["seq"], cursor(first + 3));
    let plain = app.call("/message", &body);
    assert!(!plain.to_string().contains("seq"), "{plain}");
}

#[test]
fn of_fifty_at_once_one_is_carried_out() {
    let app = start(Config { threads: 2, ..Config::default() });
    let ann = app.connect("ann", &["news"]);
    let mut socket = app.socket(&ann);
    let site = app.site;
    let threads: Vec<_> = (0..50).map(|_| thread::spawn(move || post(&site, "k", 1))).collect();
    let answers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(answers.iter().all(|answer| answer.body == answers[0].body && answer.status == 200));
    let first =
        answers.iter().filter(|answer| answer.header("idempotency-replayed") == Some("false"));
    assert_eq!(first.count(), 1);
    app.publish("news", 2);
    assert_eq!(numbers(&socket.events(2)), [1, 2]);
    assert_eq!(history(&app), [1, 2]);
}

/// A client whose TCP connections break at every possible point repeats one request.
#[test]
fn of_a_thousand_repeats_on_connections_that_break_one_is_carried_out() {
    let app = start(Config::default());
    let request = keyed("POST", "/message", "k", &numbered("news", 1)).bytes();
    let mut bodies = Vec::new();
    for number in 0..1000 {
        let mut line = Line::open(app.0);
        match number % 4 {
            // Cut within the request.
            0 => line.write(&request[..request.len() * (number % 100) / 100]),
            // Cut before the answer.
            1 => line.write(&request),
            // The sending half ends.
            2 => {
                line.write(&request);
                line.finish();
                bodies.extend(line.answer(false).map(|answer| answer.body));
            }
            _ => {
                line.write(&request);
                bodies.push(line.answer(false).unwrap().body);
            }
        }
    }
    assert!(bodies.len() >= 250 && bodies.iter().all(|body| *body == bodies[0]));
    assert_replayed(&post(&app, "k", 1), "true");
    assert_eq!(history(&app), [1]);
}

#[test]
fn an_answer_is_forgotten_after_the_window() {
    let app = start(Config { idempotency_window: Duration::from_millis(300), ..Config::default() });
    post(&app, "k", 1);
    eventually("it is carried out again", || {
        post(&app, "k", 1).header("idempotency-replayed") == Some("false")
    });
    assert_eq!(history(&app), [1, 1]);
}

#[test]
fn a_full_store_forgets_the_oldest_and_counts_it() {
    let app = start(Config { max_idempotency_keys: 10, ..Config::default() });
    for number in 0..15 {
        post(&app, &format!("k{number}"), number);
    }
    assert_replayed(&post(&app, "k14", 14), "true");
    assert_replayed(&post(&app, "k5", 5), "true");
    assert_replayed(&post(&app, "k4", 4), "false");
    let debug = app.send(&Request::new("GET", "/admin/debug").signed()).body;
    for line in [
        "kept_answers: 10\n",
        "kept_answers_evicted_total: 6\n",
        "answers_replayed_total: 2\n",
        "refusals_total{limit=\"max_idempotency_keys or max_idempotency_bytes\"}: 6\n",
    ] {
        assert!(debug.contains(line), "{line}{debug}");
    }
}

#[test]
fn answers_take_no_more_than_their_bytes() {
    let bytes = 300_000;
    let app = start(Config { max_idempotency_bytes: bytes, ..Config::default() });
    let kept = || {
        let debug = app.send(&Request::new("GET", "/admin/debug").signed()).body;
        let line = debug.lines().find_map(|line| line.strip_prefix("kept_answers_bytes: "));
        line.unwrap().parse::<usize>().unwrap()
    };
    let body =
        |size: usize| json!([{"user": "a", "channel": "news", "message": {"t": "x".repeat(size)}}]);
    for number in 0..20 {
        let answer = app.send(&keyed("POST", "/message", &format!("{number}"), &body(50_000)));
        assert_eq!(answer.status, 200);
        assert!(kept() <= bytes);
    }
    assert!(kept() > bytes / 2);
    let before = kept();
    assert_eq!(app.send(&keyed("POST", "/message", "large", &body(bytes))).status, 200);
    assert_eq!(kept(), before, "one large answer does not push out all others");
}

#[test]
fn a_request_whose_client_is_gone_is_answered_to_the_repeat() {
    let app = start(Config::default());
    let mut line = Line::open(app.0);
    line.write(&keyed("POST", "/message", "k", &numbered("news", 1)).bytes());
    eventually("it is carried out", || history(&app) == [1]);
    drop(line);
    assert_replayed(&post(&app, "k", 1), "true");
    assert_eq!(history(&app), [1]);
}
