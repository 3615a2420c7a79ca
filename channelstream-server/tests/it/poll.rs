//! Long polls: gathering, waking, JSONP, aborts, takeover, ends (contract §6, §12, §13).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use channelstream_server::Config;
use serde_json::{Value, json};

use crate::app::{App, Line, PATIENCE, Request, Site, eventually, numbers};

/// Polls that are not woken within a test, so that what ends one is seen.
fn sleepy() -> Config {
    Config { wake_connections_after: PATIENCE * 3, ..Config::default() }
}

fn listen(connection: &str) -> Request {
    Request::new("GET", &format!("/listen?conn_id={connection}"))
}

/// A TCP connection with a waiting poll.
fn waiting(site: Site, connection: &str) -> Line {
    let listeners = || {
        let text = site.send(&Request::new("GET", "/admin/debug").signed()).body;
        let count = text.lines().find_map(|line| line.strip_prefix("listeners: "));
        count.unwrap().parse::<usize>().unwrap()
    };
    let before = listeners();
    let mut line = Line::open(site.0);
    line.write(&listen(connection).bytes());
    eventually("the poll waits", || listeners() == before + 1);
    line
}

#[test]
fn a_poll_gathers_until_it_is_quiet() {
    let app = App::start(sleepy());
    let connection = app.connect("alice", &["room"]);
    let mut line = waiting(app.site, &connection);
    let begun = Instant::now();
    app.publish("room", 1);
    app.publish("room", 2);
    assert_eq!(numbers(&line.answer(false).unwrap().events()), [1, 2]);
    assert!(begun.elapsed() >= Duration::from_millis(250));
    app.publish("room", 3);
    let begun = Instant::now();
    let events = app.poll(&connection);
    assert_eq!(numbers(&events), [3]);
    assert_eq!(events[0]["catchup"], true);
    assert!(begun.elapsed() >= Duration::from_millis(250), "also with events that were ready");
}

#[test]
fn a_poll_answers_though_the_channel_never_rests() {
    let app = App::start(sleepy());
    let connection = app.connect("alice", &["room"]);
    let site = app.site;
    let enough = Arc::new(AtomicBool::new(false));
    let publisher = thread::spawn({
        let enough = Arc::clone(&enough);
        move || {
            let mut number = 0;
            while !enough.load(Ordering::Relaxed) {
                number += 1;
                site.publish("room", number);
                thread::sleep(Duration::from_millis(25));
            }
            number
        }
    });
    // If it did not answer while the traffic lasts, it would not answer at all.
    let mut got = Vec::new();
    for _ in 0..2 {
        let begun = Instant::now();
        got.extend(app.poll(&connection));
        assert!(begun.elapsed() >= Duration::from_millis(250));
    }
    enough.store(true, Ordering::Relaxed);
    let last = publisher.join().unwrap();
    while numbers(&got).last() != Some(&last) {
        got.extend(app.poll(&connection));
    }
    assert_eq!(numbers(&got), (1..=last).collect::<Vec<_>>());
}

#[test]
fn an_empty_poll_ends_when_it_is_time_to_wake() {
    let wake = Duration::from_millis(700);
    let app = App::start(Config { wake_connections_after: wake, ..Config::default() });
    let connection = app.connect("alice", &["room"]);
    let begun = Instant::now();
    let answer = app.send(&listen(&connection));
    assert_eq!((answer.status, answer.body.as_str()), (200, "[]"));
    assert!(begun.elapsed() >= wake);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn a_callback_makes_it_a_harmless_script() {
    let app = App::start(Config::default());
    let connection = app.connect("alice", &["room"]);
    let text = "</script><!-- \u{2028}\u{2029}\u{1f3b5} \" \\ '";
    let message = json!([{"user": "a<b", "channel": "room", "message": {"</k>\u{2028}": text}}]);
    app.call("/message", &message);
    let path = format!("/listen?conn_id={connection}&callback=on.event_1");
    let answer = app.get(&path);
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/javascript"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(!answer.body.contains(['<', '\u{2028}', '\u{2029}']), "{}", answer.body);
    let list = answer.body.strip_prefix("on.event_1(").unwrap();
    let list = list.trim_end_matches(';').strip_suffix(')').unwrap();
    let events: Vec<Value> = serde_json::from_str(list).unwrap();
    assert_eq!(events[0]["message"], message[0]["message"]);
    assert_eq!(events[0]["user"], "a<b");
    // An empty name is none; a bad one is refused before anything is taken out.
    app.publish("room", 1);
    for bad in ["a;alert(1)//", "%3Cscript%3E", "1a", "a..b", "%F0%9F%98%80", "%FF", "a b"] {
        let bad = bad.replace(' ', "+");
        let answer = app.get(&format!("/listen?conn_id={connection}&callback={bad}"));
        assert_eq!(answer.status, 422, "{bad}: {answer:?}");
        assert!(answer.json()["callback"].is_array(), "{answer:?}");
    }
    let answer = app.get(&format!("/listen?conn_id={connection}&callback="));
    assert_eq!(numbers(&answer.events()), [1]);
}

/// What a poller got of a stream of numbers, and how many of its polls it broke off unanswered.
struct Heard {
    numbers: Vec<u64>,
    broken_off: usize,
}

/// Polls with pauses until `last` is received. If `aborts` is true, it breaks off each third poll.
fn hear(site: Site, connection: &str, last: u64, pause: Duration, aborts: bool) -> Heard {
    let mut heard = Heard { numbers: Vec::new(), broken_off: 0 };
    for round in 0_u32.. {
        let mut line = Line::open(site.0);
        line.write(&listen(connection).bytes());
        if aborts && round % 3 == 2 {
            thread::sleep(Duration::from_millis(u64::from(round * 67 % 320)));
            line.finish();
        }
        // What the server wrote before it saw the abort has arrived, and counts.
        match line.answer(false) {
            Some(answer) => heard.numbers.extend(numbers(&answer.events())),
            None => heard.broken_off += 1,
        }
        if heard.numbers.last() == Some(&last) {
            break;
        }
        thread::sleep(pause * (round % 4));
    }
    heard
}

#[test]
fn nothing_is_lost_between_polls_nor_by_aborts() {
    const BURSTS: u64 = 20;
    const EACH: u64 = 15;
    const LAST: u64 = BURSTS * EACH;
    let app = App::start(sleepy());
    let site = app.site;
    let poller = |user: &str, pause: Duration, aborts: bool| {
        let connection = site.connect(user, &["stream"]);
        thread::spawn(move || hear(site, &connection, LAST, pause, aborts))
    };
    let pollers = [
        poller("back-to-back", Duration::ZERO, false),
        poller("pausing", Duration::from_millis(120), false),
        poller("aborting", Duration::ZERO, true),
    ];
    for number in 1..=LAST {
        site.publish("stream", number);
        // Polls end in the pauses, and begin at any time.
        let pause = if number % EACH == 0 { 270 } else { 2 };
        thread::sleep(Duration::from_millis(pause));
    }
    let heard = pollers.map(|poller| poller.join().unwrap());
    for heard in &heard {
        assert_eq!(heard.numbers, (1..=LAST).collect::<Vec<_>>());
    }
    let broken_off = heard.map(|heard| heard.broken_off);
    assert!(broken_off[..2] == [0, 0] && broken_off[2] > 0, "{broken_off:?}");
}

#[test]
fn a_newer_poll_takes_over() {
    let app = App::start(sleepy());
    let connection = app.connect("alice", &["room"]);
    let mut older = waiting(app.site, &connection);
    let mut newer = Line::open(app.site.0);
    newer.write(&listen(&connection).bytes());
    assert_eq!(older.answer(false).unwrap().body, "[]");
    app.publish("room", 1);
    assert_eq!(numbers(&newer.answer(false).unwrap().events()), [1]);
}

#[test]
fn a_poll_beside_a_socket_stays_empty() {
    let wake = Duration::from_millis(600);
    let app = App::start(Config { wake_connections_after: wake, ..Config::default() });
    let connection = app.connect("alice", &["room"]);
    let mut socket = app.socket(&connection);
    app.publish("room", 1);
    assert_eq!(numbers(&[socket.event()]), [1]);
    let begun = Instant::now();
    let mut line = waiting(app.site, &connection);
    app.publish("room", 2);
    assert_eq!(line.answer(false).unwrap().body, "[]");
    assert!(begun.elapsed() >= wake);
    assert_eq!(numbers(&[socket.event()]), [2]);
}

#[test]
fn a_poll_beside_a_socket_listens_once_that_is_gone() {
    let app = App::start(sleepy());
    let site = app.site;
    let connection = site.connect("alice", &["room"]);
    let mut socket = site.socket(&connection);
    let mut poll = waiting(site, &connection);
    site.publish("room", 1);
    assert_eq!(numbers(&[socket.event()]), [1]);
    socket.close(1000);
    assert_eq!(socket.closed(), Some(1000));
    drop(socket);
    // Twice as long as a closed connection that nobody opens again is kept.
    thread::sleep(Duration::from_secs(1));
    site.publish("room", 2);
    assert_eq!(numbers(&poll.answer(false).unwrap().events()), [2]);
}

#[test]
fn a_socket_takes_over_from_a_poll() {
    let app = App::start(sleepy());
    let connection = app.connect("alice", &["room"]);
    let mut line = waiting(app.site, &connection);
    let mut socket = app.socket(&connection);
    assert_eq!(line.answer(false).unwrap().body, "[]");
    app.publish("room", 1);
    assert_eq!(numbers(&[socket.event()]), [1]);
}

#[test]
fn a_poll_ends_at_once_with_its_connection_or_the_server() {
    let mut app = App::start(sleepy());
    let connection = app.connect("alice", &["room"]);
    let mut line = waiting(app.site, &connection);
    assert_eq!(app.get(&format!("/disconnect?conn_id={connection}")).ok(), true);
    assert_eq!(line.answer(false).unwrap().body, "[]");
    let answer = app.send(&listen(&connection).header("accept", "application/json"));
    assert_eq!((answer.status, &answer.json()["code"]), (401, &json!("401 Unauthorized")));

    let connection = app.connect("alice", &["room"]);
    let mut line = waiting(app.site, &connection);
    app.begin_to_stop();
    assert_eq!(line.answer(false).unwrap().body, "[]");
    assert!(line.answer(false).is_none(), "the TCP connection ends");
}

#[test]
fn head_is_a_poll_without_its_body() {
    let wake = Duration::from_millis(300);
    let app = App::start(Config { wake_connections_after: wake, ..Config::default() });
    let connection = app.connect("alice", &["room"]);
    let mut line = Line::open(app.site.0);
    let answer = line.send(&Request::new("HEAD", &format!("/listen?conn_id={connection}")));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    app.publish("room", 1);
    assert_eq!(
        numbers(&line.send(&listen(&connection)).events()),
        [1],
        "the TCP connection stays open"
    );
    for (query, status, body) in [
        ("", 422, r#"["Wrong UUID format"]"#),
        ("?conn_id=", 422, r#"["Wrong UUID format"]"#),
        ("?conn_id=%FF", 422, r#"["Wrong UUID format"]"#),
    ] {
        let answer = line.send(&Request::new("GET", &format!("/listen{query}")));
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{query}");
    }
}

#[test]
fn who_missed_more_than_its_outbox_holds_is_caught_up_once_and_fully() {
    let app = App::start(Config { outbox_frames: 5, ..Config::default() });
    let connection = app.connect("alice", &["a", "b"]);
    // The channel that is caught up last has the older frames.
    (1..=8).for_each(|number| app.publish("b", number));
    (11..=18).for_each(|number| app.publish("a", number));
    let expected: Vec<u64> = (11..=18).chain(1..=8).collect();
    assert_eq!(numbers(&app.poll(&connection)), expected);
    app.publish("a", 19);
    assert_eq!(numbers(&app.poll(&connection)), [19]);
}
