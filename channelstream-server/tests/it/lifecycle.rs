//! Connections over time: bursts of joins and ends, order, reloads, dead TCP connections, restarts.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use channelstream_server::Config;
use serde_json::{Value, json};

use crate::app::{App, Line, Request, Site, Socket, eventually, numbered, numbers};

/// Offsets spread over -2 to 2 ms, the same in each run.
fn offset(round: u32) -> i64 {
    i64::from(round.wrapping_mul(2_654_435_761) >> 20) - 2048
}

fn micros(count: i64) -> Duration {
    Duration::from_micros(u64::try_from(count).unwrap_or(0))
}

/// Reads presence until the mark: how many joined and parted.
fn presence_before(watcher: &mut Socket, mark: u64) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    let mut present = 0;
    loop {
        let event = watcher.event();
        match event["message"]["action"].as_str() {
            Some("joined") => present += 1,
            Some(_) => present -= 1,
            None if event["message"]["n"] == mark => return counts,
            None => continue,
        }
        assert!(present >= 0, "parted before joined");
        *counts.entry(event["message"]["action"].as_str().unwrap().to_owned()).or_default() += 1;
    }
}

#[test]
fn subscribing_while_the_connection_ends_leaves_nobody_behind() {
    const ROUNDS: u32 = 300;
    const AT_ONCE: u32 = 6;
    let app = App::start(Config::default());
    app.configure("storm", &json!({"notify_presence": true}));
    let mut watcher = app.socket(&app.connect("watcher", &["storm"]));
    let site = app.site;
    let storm = |part: u32| {
        thread::spawn(move || {
            for round in (0..ROUNDS).filter(|round| round % AT_ONCE == part) {
                let connection = site.connect(&format!("user {round}"), &["calm"]);
                let mut socket = site.socket(&connection);
                let mut line = Line::open(site.0);
                let body = json!({"conn_id": connection, "channels": ["storm"]});
                let subscribing = thread::spawn(move || {
                    thread::sleep(micros(offset(round)));
                    line.send(&Request::call("/subscribe", &body))
                });
                thread::sleep(micros(-offset(round)));
                match round % 3 {
                    0 => assert_eq!(
                        site.get(&format!("/disconnect?conn_id={connection}")).ok(),
                        true
                    ),
                    1 => socket.close(1001),
                    _ => drop(socket),
                }
                let answer = subscribing.join().unwrap();
                assert!([200, 422].contains(&answer.status), "{answer:?}");
            }
        })
    };
    let storms: Vec<_> = (0..AT_ONCE).map(storm).collect();
    storms.into_iter().for_each(|storm| storm.join().unwrap());
    eventually("all are gone", || {
        let count = |channel: &str| app.channel(channel)["total_connections"].as_u64().unwrap();
        count("storm") == 1 && count("calm") == 0
    });
    assert_eq!(app.channel("storm")["users"], json!(["watcher"]));
    app.publish("storm", 1);
    let counts = presence_before(&mut watcher, 1);
    assert_eq!(counts.get("joined"), counts.get("parted"));
    let figures = app.send(&Request::new("GET", "/admin/admin.json").signed()).ok();
    assert_eq!(figures["total_connections"], 1);
    let debug = app.send(&Request::new("GET", "/admin/debug").signed()).body;
    assert!(debug.contains("\nlisteners: 1\n"), "{debug}");
}

#[test]
fn two_publishers_make_one_order_for_everybody() {
    const EACH: u64 = 250;
    const TOTAL: usize = 500;
    let app = App::start(Config::default());
    app.configure("news", &json!({"store_history": true, "history_size": 1000}));
    let site = app.site;
    let by_socket = (0..10).map(|listener| {
        let mut socket = site.socket(&site.connect(&format!("socket {listener}"), &["news"]));
        thread::spawn(move || numbers(&socket.events(TOTAL)))
    });
    let by_poll = (0..3).map(|listener| {
        let connection = site.connect(&format!("poll {listener}"), &["news"]);
        thread::spawn(move || {
            let mut got = Vec::new();
            while got.len() < TOTAL {
                got.extend(numbers(&site.poll(&connection)));
            }
            got
        })
    });
    let listeners: Vec<_> = by_socket.chain(by_poll).collect();
    let publish = |first: u64| {
        thread::spawn(move || {
            let mut line = Line::open(site.0);
            for number in first..first + EACH {
                let request = Request::call("/message", &numbered("news", number));
                assert_eq!(line.send(&request).status, 200);
                if number == first + EACH / 2 {
                    // Somebody else breaks off in the middle of a body.
                    let bytes = Request::call("/message", &numbered("news", 999_999)).bytes();
                    Line::open(site.0).write(&bytes[..bytes.len() - 9]);
                }
                thread::sleep(Duration::from_millis(4));
            }
        })
    };
    for publisher in [publish(1000), publish(2000)] {
        publisher.join().unwrap();
    }
    let history: Vec<Value> =
        serde_json::from_value(app.channel("news")["history"].take()).unwrap();
    let order = numbers(&history);
    assert_eq!(order.len(), TOTAL, "the request that was broken off had no effect");
    for first in [1000, 2000] {
        let own: Vec<_> = order.iter().copied().filter(|n| n - n % 1000 == first).collect();
        assert_eq!(own, (first..first + EACH).collect::<Vec<_>>(), "each one's own order is kept");
    }
    for listener in listeners {
        assert_eq!(listener.join().unwrap(), order);
    }
}

#[test]
fn reloading_a_page_tells_nobody() {
    let app = App::start(Config::default());
    let settings = json!({"notify_presence": true, "broadcast_presence_with_user_lists": true});
    app.configure("room", &settings);
    let mut watcher = app.socket(&app.connect("watcher", &["room"]));
    let mut page = app.socket(&app.connect("alice", &["room"]));
    assert_eq!(watcher.event()["message"]["action"], "joined");
    for _ in 0..50 {
        page.close(1001);
        assert_eq!(page.closed(), Some(1001));
        thread::sleep(Duration::from_millis(50));
        page = app.socket(&app.connect("alice", &["room"]));
    }
    eventually("the old ones are gone", || app.channel("room")["total_connections"] == 2);
    app.publish("room", 1);
    assert_eq!(presence_before(&mut watcher, 1), HashMap::new());
    assert_eq!(app.channel("room")["users"], json!(["alice", "watcher"]));
    assert_eq!(numbers(&[page.event()]), [1]);
}

/// What becomes of a connection when its older socket comes to its end as `end` says.
fn a_newer_socket_survives(end: fn(Site, &str, Socket)) {
    let app = App::start(Config::default());
    app.configure("room", &json!({"notify_presence": true}));
    let mut watcher = app.socket(&app.connect("watcher", &["room"]));
    let connection = app.connect("alice", &["room"]);
    let mut older = app.socket(&connection);
    app.publish("room", 1);
    assert_eq!(numbers(&[older.event()]), [1]);
    let mut newer = app.socket(&connection);
    app.publish("room", 2);
    end(app.site, &connection, older);
    app.publish("room", 3);
    // Longer than a connection is kept whose socket was closed.
    thread::sleep(Duration::from_millis(1000));
    app.publish("room", 4);
    assert_eq!(numbers(&newer.events(3)), [2, 3, 4]);
    assert_eq!(presence_before(&mut watcher, 4), HashMap::from([("joined".to_owned(), 1)]));
    assert_eq!(app.channel("room")["total_connections"], 2);
}

#[test]
fn the_end_of_an_old_line_does_not_end_the_connection() {
    let ends: [fn(Site, &str, Socket); 3] = [
        |_, _, mut older| {
            assert_eq!(older.closed(), Some(1000));
            older.close(1000);
        },
        |_, _, older| drop(older),
        // Frozen: it is the server that gives it up, five seconds after its close frame.
        |_, _, older| {
            thread::sleep(Duration::from_millis(6000));
            drop(older);
        },
    ];
    for test in ends.map(|end| thread::spawn(move || a_newer_socket_survives(end))) {
        test.join().unwrap();
    }
}

#[test]
fn a_server_that_was_restarted_knows_nobody_and_replays_nothing() {
    let before = App::start(Config::default());
    let [with_socket, with_poll] = ["alice", "bob"].map(|user| before.connect(user, &["room"]));
    let mut socket = before.socket(&with_socket);
    (1..=10).for_each(|number| before.publish("room", number));
    assert_eq!(numbers(&socket.events(10)), (1..=10).collect::<Vec<_>>());
    assert_eq!(numbers(&before.poll(&with_poll)), (1..=10).collect::<Vec<_>>());
    let closing = thread::spawn(move || socket.closed());
    before.stop();
    assert_eq!(closing.join().unwrap(), Some(1001));

    let after = App::start(Config::default());
    assert_eq!(after.socket(&with_socket).closed(), Some(1000));
    assert_eq!(after.get(&format!("/listen?conn_id={with_poll}")).status, 401);
    // The way back of a client: the same ids, as new connections.
    for (user, connection) in [("alice", &with_socket), ("bob", &with_poll)] {
        let body = json!({"username": user, "conn_id": connection, "channels": ["room"]});
        assert_eq!(after.call("/connect", &body)["conn_id"], **connection);
    }
    after.publish("room", 11);
    assert_eq!(numbers(&[after.socket(&with_socket).event()]), [11]);
    assert_eq!(numbers(&after.poll(&with_poll)), [11]);
}

#[test]
fn an_id_that_was_ended_begins_anew() {
    let app = App::start(Config::default());
    app.configure("room", &json!({"notify_presence": true}));
    let mut watcher = app.socket(&app.connect("watcher", &["room"]));
    let connection = app.connect("alice", &["room"]);
    let mut older = app.socket(&connection);
    assert_eq!(app.get(&format!("/disconnect?conn_id={connection}")).ok(), true);
    // Before the end has been carried out, the application gives the id again.
    let body = json!({"username": "alice", "conn_id": connection, "channels": ["room"]});
    app.call("/connect", &body);
    let mut newer = app.socket(&connection);
    assert_eq!(older.closed(), Some(1000));
    // Longer than it takes to end what was disconnected.
    thread::sleep(Duration::from_millis(1000));
    app.publish("room", 1);
    assert_eq!(numbers(&[newer.event()]), [1]);
    let events = watcher.events(3);
    let actions: Vec<_> = events.iter().map(|event| &event["message"]["action"]).collect();
    assert_eq!(actions, ["joined", "parted", "joined"]);
    assert_eq!(numbers(&[watcher.event()]), [1]);
    assert_eq!(app.channel("room")["total_connections"], 2);
}

#[test]
fn an_id_that_the_application_made_is_kept_and_belongs_to_one_user() {
    let app = App::start(Config::default());
    let id = uuid::Uuid::new_v4().to_string();
    // A page may be faster than its application.
    assert_eq!(app.socket(&id).closed(), Some(1000));
    let body = |user: &str| json!({"username": user, "conn_id": id, "channels": ["app_1"]});
    assert_eq!(app.call("/connect", &body("alice"))["conn_id"], *id);
    let mut socket = app.socket(&id);
    let answer = app.send(&Request::call("/connect", &body("mallory")));
    assert_eq!(answer.status, 422);
    assert!(answer.json()["conn_id"].is_array(), "{answer:?}");
    let again = json!({"username": "alice", "conn_id": id, "channels": ["app_2"]});
    assert_eq!(app.call("/connect", &again)["conn_id"], *id);
    app.publish("app_1", 1);
    app.publish("app_2", 2);
    assert_eq!(numbers(&socket.events(2)), [1, 2]);
    assert_eq!(app.channel("app_1")["users"], json!(["alice"]));
}
