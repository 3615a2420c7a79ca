//! Cursors over real sockets: what a client that holds one receives after its line broke (contract §14).

use channelstream_server::Config;
use serde_json::{Value, json};

use crate::app::{App, Request, Site, Socket, eventually, numbers};

fn start() -> App {
    App::start(Config::default())
}

/// The cursor of the newest event.
fn newest(events: &[Value]) -> String {
    events.last().unwrap()["seq"].as_str().unwrap().to_owned()
}

/// Polls with a cursor until nothing more comes at once. Returns the events and the newest cursor.
fn poll_all(site: Site, connection: &str, since: &str) -> (Vec<Value>, String) {
    let (mut all, mut since) = (Vec::new(), since.to_owned());
    loop {
        let events = site.get(&format!("/listen?conn_id={connection}&since={since}")).events();
        if events.is_empty() {
            return (all, since);
        }
        since = newest(&events);
        all.extend(events);
    }
}

fn quick() -> Config {
    Config { wake_connections_after: std::time::Duration::from_millis(100), ..Config::default() }
}

#[test]
fn only_who_asks_for_cursors_sees_them() {
    let app = start();
    let (plain, with) = (app.connect("ann", &["news"]), app.connect("bob", &["news"]));
    let mut plain = app.socket(&plain);
    let mut with = Socket::open_at(app.0, &format!("/ws?conn_id={with}&since="));
    let cursor = with.event();
    assert_eq!(cursor["type"], "cursor");
    app.publish("news", 1);
    let event = with.event();
    assert!(event["seq"].as_str().unwrap() > cursor["seq"].as_str().unwrap());
    let mut event = event;
    event.as_object_mut().unwrap().remove("seq");
    assert_eq!(event, plain.event());
}

#[test]
fn what_lay_in_a_connection_that_broke_comes_again() {
    let app = start();
    let id = app.connect("ann", &["news"]);
    let mut socket = Socket::open_at(app.0, &format!("/ws?conn_id={id}&since="));
    app.publish("news", 0);
    let mut got = vec![socket.event(), socket.event()];
    for number in 1..=20 {
        app.publish("news", number);
    }
    socket.reset();
    let mut socket = Socket::open_at(app.0, &format!("/ws?conn_id={id}&since={}", newest(&got)));
    app.publish("news", 21);
    while numbers(&got).last() != Some(&21) {
        got.push(socket.event());
    }
    assert_eq!(numbers(&got), (0..=21).collect::<Vec<_>>());
}

#[test]
fn polls_hold_their_own_cursor_and_lose_nothing() {
    let app = App::start(Config { stored_frames: 2000, ..quick() });
    let id = app.connect("ann", &["news"]);
    let (first, since) = poll_all(app.site, &id, "");
    assert_eq!(first[0]["type"], "cursor");
    for number in 0..1500 {
        app.publish("news", number);
    }
    let (events, newest) = poll_all(app.site, &id, &since);
    assert_eq!(numbers(&events), (0..1500).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event["catchup"] == true));
    // An answer that was lost is asked for again.
    let (again, same) = poll_all(app.site, &id, &since);
    assert_eq!((again, same), (events, newest));
}

#[test]
fn more_than_is_stored_is_one_gap_in_its_place() {
    let app = App::start(quick());
    let id = app.connect("ann", &["news", "other"]);
    let (_, since) = poll_all(app.site, &id, "");
    app.publish("other", 1000);
    for number in 0..150 {
        app.publish("news", number);
    }
    let (events, _) = poll_all(app.site, &id, &since);
    assert_eq!(events.len(), 102);
    assert_eq!(events[0]["message"]["n"], 1000);
    let gap = &events[1];
    assert_eq!(
        (&gap["type"], &gap["channel"], &gap["reason"]),
        (&json!("gap"), &json!("news"), &json!("evicted"))
    );
    assert_eq!(numbers(&events[2..]), (50..150).collect::<Vec<_>>());
}

#[test]
fn a_new_connection_by_the_backend_goes_on_with_the_old_cursor() {
    let app =
        App::start(Config { gc_conns_after: std::time::Duration::from_millis(100), ..quick() });
    let id = app.connect("ann", &["news"]);
    let (_, since) = poll_all(app.site, &id, "");
    app.publish("news", 1);
    let connections = || app.channel("news")["total_connections"].clone();
    eventually("the connection expires", || connections() == 0);
    app.publish("news", 2);
    let id = app.connect("ann", &["news"]);
    let (events, _) = poll_all(app.site, &id, &since);
    assert_eq!(numbers(&events), [1, 2]);
    assert!(events.iter().all(|event| event["type"] == "message"));
}

#[test]
fn a_restart_is_told() {
    let app = App::start(quick());
    let id = app.connect("ann", &["news"]);
    let (_, since) = poll_all(app.site, &id, "");
    app.stop();
    let app = App::start(quick());
    let id = app.connect("ann", &["news"]);
    app.publish("news", 1);
    let (events, since) = poll_all(app.site, &id, &since);
    let mut stats = app.send(&Request::new("GET", "/admin/stats.json").signed()).ok();
    let stats = stats["metrics"].take();
    assert_eq!(stats["gaps_total"], json!({"evicted": 0, "epoch": 2, "window": 0}));
    assert!(stats["portions_read_total"].as_u64() > Some(1), "{stats}");
    let reasons: Vec<_> = events.iter().filter_map(|event| event["reason"].as_str()).collect();
    assert_eq!(reasons, ["epoch", "epoch"], "of the channel and of private messages");
    assert_eq!(numbers(&events), [1]);
    let (events, _) = poll_all(app.site, &id, &since);
    assert!(events.is_empty());
}

#[test]
fn what_is_no_cursor_is_refused() {
    let app = start();
    let id = app.connect("ann", &["news"]);
    for since in ["x", "1", "-", "0000000g-1", "7f3a-1", "%ff", &"1".repeat(5000)] {
        let answer = app.get(&format!("/listen?conn_id={id}&since={since}"));
        assert_eq!(answer.status, 422, "{since}");
        assert_eq!(answer.json(), json!({"since": ["Not a cursor."]}), "{since}");
    }
    app.publish("news", 1);
    assert_eq!(numbers(&app.poll(&id)), [1], "nothing was taken away");
}

#[test]
fn connect_tells_the_cursor_to_who_asks() {
    let app = App::start(quick());
    let body = json!({"username": "ann", "channels": ["news"]});
    let request = Request::call("/connect", &body);
    assert!(app.send(&request).ok().get("cursor").is_none());
    let answer = app.send(&request.header("Prefer", "return=representation")).ok();
    app.publish("news", 1);
    let (id, since) = (answer["conn_id"].as_str().unwrap(), answer["cursor"].as_str().unwrap());
    let (events, _) = poll_all(app.site, id, since);
    assert_eq!(numbers(&events), [1]);
}

#[test]
fn a_slow_reader_stays_open_and_gets_everything() {
    let config = Config {
        stored_frames: 100_000,
        stored_bytes: 1 << 30,
        outbox_frames: 50,
        ..Config::default()
    };
    let app = App::start(config);
    let id = app.connect("ann", &["news"]);
    let mut slow = Socket::open_at(app.0, &format!("/ws?conn_id={id}&since="));
    assert_eq!(slow.event()["type"], "cursor");
    let pad = "x".repeat(20_000);
    let count = 1000;
    for number in 0..count {
        let message = json!({"n": number, "pad": pad});
        let body = json!([{"user": "tests", "channel": "news", "message": message}]);
        app.call("/message", &body);
    }
    for number in 0..count {
        assert_eq!(slow.event()["message"]["n"], number);
    }
    app.publish("news", count);
    let live = slow.event();
    assert_eq!((&live["message"]["n"], &live["catchup"]), (&json!(count), &json!(false)));
}

#[test]
fn a_slow_reader_that_missed_more_than_is_stored_is_told_and_goes_on() {
    let app = App::start(Config { outbox_frames: 10, ..Config::default() });
    let id = app.connect("ann", &["news"]);
    let mut slow = Socket::open_at(app.0, &format!("/ws?conn_id={id}&since="));
    let pad = "x".repeat(20_000);
    for number in 0..2000 {
        let message = json!({"n": number, "pad": pad});
        let body = json!([{"user": "tests", "channel": "news", "message": message}]);
        app.call("/message", &body);
    }
    let mut got = vec![slow.event()];
    while numbers(&got).last() != Some(&1999) {
        got.push(slow.event());
    }
    let gaps: Vec<_> = got.iter().filter(|event| event["type"] == "gap").collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let place = got.iter().position(|event| event["type"] == "gap").unwrap();
    let (before, after) = (numbers(&got[..place]), numbers(&got[place..]));
    assert_eq!(before, (0..before.len() as u64).collect::<Vec<_>>());
    assert_eq!(after, (1900..2000).collect::<Vec<_>>());
}

#[test]
fn listeners_with_and_without_cursors_take_over_from_each_other() {
    let app = App::start(quick());
    let id = app.connect("ann", &["news"]);
    app.publish("news", 0);
    let mut plain = app.socket(&id);
    assert_eq!(numbers(&[plain.event()]), [0]);
    // From where the older one was.
    let mut with = Socket::open_at(app.0, &format!("/ws?conn_id={id}&since="));
    assert_eq!(with.event()["type"], "cursor");
    app.publish("news", 1);
    let event = with.event();
    assert_eq!(numbers(std::slice::from_ref(&event)), [1]);
    let mut other = Socket::open_at(app.0, &format!("/ws?conn_id={id}&since={}", newest(&[event])));
    app.publish("news", 2);
    assert_eq!(numbers(&[other.event()]), [2]);
    let mut plain = app.socket(&id);
    app.publish("news", 3);
    assert_eq!(numbers(&[plain.event()]), [3]);
}

#[test]
fn a_poll_that_waits_behind_a_socket_misses_nothing_of_what_the_socket_was_sent() {
    let app = start();
    let id = app.connect("ann", &["news"]);
    let mut socket = Socket::open_at(app.0, &format!("/ws?conn_id={id}&since="));
    let cursor = newest(&[socket.event()]);
    let site = app.site;
    let poll = format!("/listen?conn_id={id}&since={cursor}");
    let polled = std::thread::spawn(move || site.get(&poll).events());
    let debug = Request::new("GET", "/admin/debug").signed();
    eventually("the poll waits", || app.send(&debug).body.contains("\nlisteners: 2\n"));
    app.publish("news", 1);
    assert_eq!(numbers(&[socket.event()]), [1]);
    socket.reset();
    assert_eq!(numbers(&polled.join().unwrap()), [1], "the client still has the old cursor");
}
