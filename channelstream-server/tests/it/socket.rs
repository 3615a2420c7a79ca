//! Websockets: heartbeats, catch-up, takeover, reconnection, ends (contract §6, §8, §9, §13).

use std::thread;
use std::time::{Duration, Instant};

use channelstream_server::Config;
use serde_json::json;

use crate::app::{App, Frame, Request, Socket, eventually, numbers};

/// A channel with presence events, and a user who listens there.
fn watched(app: &App, channel: &str) -> Socket {
    app.configure(channel, &json!({"notify_presence": true}));
    let watcher = app.connect("watcher", &[channel]);
    app.socket(&watcher)
}

/// Asserts that a watcher received no presence: the next event is the mark.
fn heard_nothing_before(app: &App, watcher: &mut Socket, channel: &str, mark: u64) {
    app.publish(channel, mark);
    let event = watcher.event();
    assert_eq!(event["message"]["n"], mark, "{event}");
}

#[test]
fn heartbeats_count_from_the_opening_however_late_that_is() {
    let interval = Duration::from_millis(500);
    let app = App::start(Config {
        heartbeat_interval: interval,
        gc_conns_after: Duration::from_millis(2500),
        ..Config::default()
    });
    let connection = app.connect("late", &["room"]);
    // Longer than one interval, so that a heartbeat counted from the connect would never come.
    thread::sleep(interval * 3 / 2);
    let mut socket = app.socket(&connection);
    let opened = Instant::now();
    // A whole interval passes but for the step by which the server counts.
    let least = interval * 9 / 10;
    // Without heartbeats, the connection would be reaped in this time.
    for beat in 1..=8 {
        assert_eq!(socket.next(), Frame::Heartbeat);
        assert!(opened.elapsed() >= least * beat, "beat {beat} after {:?}", opened.elapsed());
    }
    app.publish("room", 1);
    assert_eq!(numbers(&[socket.event()]), [1]);
}

#[test]
fn a_newer_socket_takes_over_and_nothing_is_lost_or_told() {
    const COUNT: u64 = 300;
    let app = App::start(Config::default());
    let mut watcher = watched(&app, "room");
    let connection = app.connect("alice", &["room"]);
    assert_eq!(watcher.event()["message"]["action"], "joined");
    let mut older = app.socket(&connection);
    let site = app.site;
    let publisher = thread::spawn(move || (1..=COUNT).for_each(|n| site.publish("room", n)));
    let mut got = older.events(20);
    let mut newer = app.socket(&connection);
    got.extend(std::iter::from_fn(|| older.event_or_close()));
    // The older one closes as a browser does, after the newer one has opened.
    older.close(1000);
    assert_eq!(older.next(), Frame::End);
    drop(older);
    got.extend(newer.events(usize::try_from(COUNT).unwrap() - got.len()));
    publisher.join().unwrap();
    assert_eq!(numbers(&got), (1..=COUNT).collect::<Vec<_>>());
    assert_eq!(numbers(&watcher.events(usize::try_from(COUNT).unwrap())).len(), got.len());
    // Longer than a closed connection is kept.
    thread::sleep(Duration::from_millis(1000));
    heard_nothing_before(&app, &mut watcher, "room", 0);
    assert_eq!(numbers(&[newer.event()]), [0]);
    assert_eq!(app.channel("room")["total_connections"], 2);
}

#[test]
fn what_an_older_socket_did_not_take_goes_to_the_newer_one() {
    const COUNT: u64 = 200;
    let app = App::start(Config { outbox_bytes: 100_000_000, ..Config::default() });
    let connection = app.connect("alice", &["room"]);
    let mut older = app.socket(&connection);
    // More than the system buffers for a client that does not read.
    let text = "x".repeat(100_000);
    for number in 1..=COUNT {
        let message = json!({"n": number, "text": text});
        app.call("/message", &json!([{"user": "x", "channel": "room", "message": message}]));
    }
    let mut newer = app.socket(&connection);
    let taken_over = numbers(&[newer.event()])[0];
    let rest = newer.events(usize::try_from(COUNT - taken_over).unwrap());
    assert_eq!(numbers(&rest), (taken_over + 1..=COUNT).collect::<Vec<_>>());
    // A frame that was sent in part breaks off there, and is sent whole to the newer one.
    let mut taken = Vec::new();
    loop {
        match older.next() {
            Frame::Heartbeat => {}
            Frame::Event(event) => taken.push(event),
            Frame::Close(Some(1000)) | Frame::End => break,
            other => panic!("events and the end were to come, not {other:?}"),
        }
    }
    let taken = numbers(&taken);
    assert_eq!(taken, (1..=taken.len() as u64).collect::<Vec<_>>());
    let last = taken.len() as u64;
    assert!(last < COUNT, "everything was taken by a socket that did not read");
    assert_eq!(last + 1, taken_over);
}

#[test]
fn a_socket_that_comes_back_at_once_was_never_away() {
    let app = App::start(Config::default());
    let mut watcher = watched(&app, "room");
    let connection = app.connect("alice", &["room"]);
    assert_eq!(watcher.event()["message"]["action"], "joined");
    let mut socket = app.socket(&connection);
    app.publish("room", 1);
    assert_eq!(numbers(&[socket.event()]), [1]);
    socket.close(1001);
    assert_eq!(socket.closed(), Some(1001));
    app.publish("room", 2);
    // Well within the half second that is granted.
    thread::sleep(Duration::from_millis(50));
    let mut socket = app.socket(&connection);
    app.publish("room", 3);
    let events = socket.events(2);
    assert_eq!(numbers(&events), [2, 3], "what was sent before does not come again");
    assert_eq!((&events[0]["catchup"], &events[1]["catchup"]), (&json!(true), &json!(false)));
    thread::sleep(Duration::from_millis(1000));
    assert_eq!(numbers(&watcher.events(3)), [1, 2, 3]);
    heard_nothing_before(&app, &mut watcher, "room", 4);
}

#[test]
fn a_closed_socket_ends_the_connection() {
    let app = App::start(Config::default());
    let mut watcher = watched(&app, "room");
    let connection = app.connect("alice", &["room"]);
    assert_eq!(watcher.event()["message"]["action"], "joined");
    let mut socket = app.socket(&connection);
    socket.close(1000);
    assert_eq!((socket.closed(), socket.next()), (Some(1000), Frame::End));
    let event = watcher.event();
    assert_eq!((&event["user"], &event["message"]["action"]), (&json!("alice"), &json!("parted")));
    assert_eq!(app.socket(&connection).closed(), Some(1000));
}

#[test]
fn catch_up_is_by_channel_then_private_and_only_what_is_meant_for_the_user() {
    let app = App::start(Config::default());
    let connection = app.connect("alice", &["b", "a"]);
    app.publish("b", 1);
    app.tell("alice", 2);
    app.publish("a", 3);
    app.publish("b", 4);
    app.call(
        "/message",
        &json!([
            {"user": "x", "channel": "a", "exclude_users": ["alice"], "message": {"n": 5}},
            {"user": "x", "channel": "a", "pm_users": ["bob"], "message": {"n": 6}},
            {"user": "x", "channel": "a", "pm_users": ["alice"], "message": {"n": 7}},
        ]),
    );
    let mut socket = app.socket(&connection);
    let events = socket.events(5);
    assert_eq!(numbers(&events), [3, 7, 1, 4, 2]);
    assert!(events.iter().all(|event| event["catchup"] == true), "{events:?}");
    app.publish("a", 8);
    let event = socket.event();
    assert_eq!((&event["message"]["n"], &event["catchup"]), (&json!(8), &json!(false)));
}

#[test]
fn disconnect_closes_with_1000_and_is_for_good() {
    let app = App::start(Config::default());
    let connection = app.connect("alice", &["room"]);
    let mut socket = app.socket(&connection);
    let disconnect = format!("/disconnect?conn_id={connection}");
    assert_eq!(app.get(&disconnect).ok(), true);
    assert_eq!(socket.closed(), Some(1000));
    eventually("the connection is gone", || app.get(&disconnect).ok() == false);
    assert_eq!(app.channel("room")["total_connections"], 0);
    assert_eq!(app.socket(&connection).closed(), Some(1000));
    assert_eq!(app.get(&format!("/listen?conn_id={connection}")).status, 401);
    let subscribe = json!({"conn_id": connection, "channels": ["room"]});
    let answer = app.send(&Request::call("/subscribe", &subscribe));
    assert_eq!((answer.status, answer.json()), (422, json!({"conn_id": ["Unknown connection"]})));
}

#[test]
fn two_connections_of_one_user_are_one_presence() {
    let app = App::start(Config::default());
    let mut watcher = watched(&app, "room");
    let mut sockets = [(); 2].map(|()| {
        let connection = app.connect("alice", &["room"]);
        app.socket(&connection)
    });
    assert_eq!(watcher.event()["message"]["action"], "joined");
    app.publish("room", 1);
    app.tell("alice", 2);
    for socket in &mut sockets {
        assert_eq!(numbers(&socket.events(2)), [1, 2]);
    }
    assert_eq!(numbers(&[watcher.event()]), [1]);
    let [mut one, mut other] = sockets;
    one.close(1001);
    eventually("one is gone", || app.channel("room")["total_connections"] == 2);
    app.publish("room", 3);
    assert_eq!(numbers(&[other.event(), watcher.event()]), [3, 3], "nobody has parted");
    other.close(1001);
    assert_eq!(watcher.event()["message"]["action"], "parted");
    assert_eq!(app.channel("room")["users"], json!(["watcher"]));
}
