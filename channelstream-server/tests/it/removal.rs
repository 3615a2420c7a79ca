//! `POST /disconnect_user`: all connections of a user end, and it is refused for a while (contract §14).

use channelstream_server::config::{Journal, JournalSync};
use channelstream_server::{Config, SharedJournal};
use serde_json::{Value, json};

use crate::app::{Answer, App, Request, Site, eventually};
use crate::raw::{CLOSE, Line, Socket, close};

fn remove(site: &Site, body: &Value) -> Answer {
    site.send(&Request::call("/disconnect_user", body))
}

/// The same once the journal is at the level that knows it.
fn remove_when_possible(site: &Site, body: &Value) -> Value {
    let mut answer = remove(site, body);
    eventually("the level is raised", || {
        if answer.status == 503 {
            assert_eq!(answer.json()["outcome"], "not_done", "{answer:?}");
            answer = remove(site, body);
        }
        answer.status != 503
    });
    answer.ok()
}

fn connect(site: &Site, user: &str) -> Answer {
    site.send(&Request::call("/connect", &json!({"username": user, "channels": ["room"]})))
}

#[test]
fn sockets_and_streams_end_with_the_reason() {
    let app = App::start(Config::default());
    let (one, two) = (app.connect("ann", &["room"]), app.connect("ann", &["room"]));
    let (three, other) = (app.connect("ann", &[]), app.connect("ben", &["room"]));
    let mut socket = Socket::open(Line::to(app.site.0), &one);
    let mut stream = Line::to(app.site.0);
    stream.write(format!("GET /sse?conn_id={two} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    let mut begun = Vec::new();
    while !String::from_utf8_lossy(&begun).contains("event: cursor") {
        begun.extend(stream.bytes(1).unwrap());
    }
    let reason = "spam, see https://example.com/rules — é";
    let answer = remove(&app, &json!({"user": "ann", "reason": reason})).ok();
    assert_eq!(answer, json!({"user": "ann", "connections": 3, "refused_for": 0}));
    let frame = socket.frame();
    assert_eq!((frame.first, frame.payload), (CLOSE, close(1000, reason.as_bytes())));
    // The end of the stream is that of the TCP connection too.
    drop(stream.stream().shutdown(std::net::Shutdown::Write));
    let rest = String::from_utf8_lossy(&stream.rest()).into_owned();
    assert!(rest.contains(&format!(": {reason}\n\n")), "{rest}");
    assert_eq!(app.get(&format!("/listen?conn_id={three}")).status, 401, "at once");
    let users = app.channel("room")["users"].to_string();
    assert!(!users.contains("ann") && users.contains("ben"), "{users}");
    assert_eq!(app.get(&format!("/disconnect?conn_id={other}")).ok(), json!(true));
    connect(&app, "ann").ok();
}

#[test]
fn a_refused_user_is_told_why_and_for_how_long() {
    let app = App::start(Config::default());
    let answer = remove(&app, &json!({"user": "ann", "reason": "<b>spam</b>", "refuse_for": 300}));
    assert_eq!(answer.ok(), json!({"user": "ann", "connections": 0, "refused_for": 300}));
    let refused = connect(&app, "ann");
    assert_eq!(refused.status, 403, "{refused:?}");
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("may not connect") && message.contains("<b>spam</b>"), "{message}");
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((290..=300).contains(&after), "{after}");
    let page = Request::call("/connect", &json!({"username": "ann"})).header("accept", "text/html");
    let page = app.send(&page);
    assert_eq!(page.status, 403);
    assert!(!page.body.contains("<b>spam"), "{}", page.body);
    connect(&app, "ben").ok();
    assert_eq!(remove(&app, &json!({"user": "ann", "refuse_for": 0})).ok()["refused_for"], 0);
    connect(&app, "ann").ok();
}

#[test]
fn only_backends_may_do_it_and_a_repeat_does_nothing() {
    let app = App::start(Config::default());
    app.connect("ann", &["room"]);
    let body = json!({"user": "ann", "refuse_for": 60});
    let unsigned = Request::new("POST", "/disconnect_user").json(&body);
    assert_eq!(app.send(&unsigned).status, 403);
    assert_eq!(
        app.send(&Request::new("POST", "/tutorial/disconnect_user").json(&body)).status,
        404
    );
    assert_eq!(app.channel("room")["total_users"], 1);
    let once = || Request::call("/disconnect_user", &body).header("idempotency-key", "k");
    let (first, second) = (app.send(&once()), app.send(&once()));
    assert_eq!((first.ok()["connections"].as_u64(), first.ok()), (Some(1), second.ok()));
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    for bad in [
        json!({}),
        json!([]),
        json!({"user": "", "refuse_for": 60}),
        json!({"user": "ann", "reason": "a\nb"}),
        json!({"user": "ann", "reason": "x".repeat(124)}),
        json!({"user": "ann", "refuse_for": -1}),
        json!({"user": "ann", "refuse_for": u64::MAX}),
    ] {
        assert_eq!(remove(&app, &bad).status, 422, "{bad}");
    }
}

#[test]
fn a_restart_does_not_let_the_user_in() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    let start = || {
        let journal = Journal::File { directory: directory.clone(), sync: JournalSync::Always };
        App::start(Config { journal, ..Config::default() })
    };
    let app = start();
    let body = json!({"user": "ann", "reason": "spam", "refuse_for": 300});
    remove_when_possible(&app, &body);
    app.stop();
    let app = start();
    let refused = connect(&app, "ann");
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.body.contains("spam"), "{refused:?}");
    connect(&app, "ben").ok();
}

#[test]
fn it_holds_on_all_nodes() {
    let journal = SharedJournal::new();
    let nodes = [(); 2].map(|()| App::start_on(&journal, Config::default()));
    let there = nodes[1].connect("ann", &["room"]);
    let mut socket = Socket::open(Line::to(nodes[1].site.0), &there);
    let body = json!({"user": "ann", "reason": "spam", "refuse_for": 300});
    assert_eq!(remove_when_possible(&nodes[0], &body)["connections"], 1);
    let frame = socket.frame();
    assert_eq!((frame.first, frame.payload), (CLOSE, close(1000, b"spam")));
    assert_eq!(nodes.each_ref().map(|node| connect(node, "ann").status), [403; 2]);
}
