//! Several servers on one journal: each answers for all, and clients may go to any of them.

use std::collections::BTreeSet;
use std::time::Duration;

use channelstream_server::{Config, SharedJournal};
use serde_json::{Value, json};

use crate::app::{App, Frame, Line, Request, Site, Socket, eventually, numbered, numbers};

/// Three servers on one journal.
fn three_with(config: &Config) -> [App; 3] {
    let journal = SharedJournal::new();
    [(); 3].map(|()| App::start_on(&journal, config.clone()))
}

fn three() -> [App; 3] {
    three_with(&Config::default())
}

fn sites(apps: &[App]) -> Vec<Site> {
    apps.iter().map(|app| app.site).collect()
}

/// What a server answers about everything.
fn all_of(site: Site) -> Value {
    let info = site.call("/info", &json!({"info": {"return_public_state": true}}));
    let mut figures = site.send(&Request::new("GET", "/admin/admin.json").signed()).ok();
    for of_its_own in ["uptime", "started"] {
        figures.as_object_mut().unwrap().remove(of_its_own);
    }
    json!({"info": info, "figures": figures})
}

/// Asserts that all servers answer the same right now.
#[track_caller]
fn same(sites: &[Site]) {
    let first = all_of(sites[0]);
    for site in &sites[1..] {
        assert_eq!(all_of(*site), first);
    }
}

#[test]
fn a_connection_of_one_node_listens_on_another_to_what_a_third_publishes() {
    let [a, b, c] = three();
    let ann = a.connect("ann", &["room"]);
    let mut socket = b.socket(&ann);
    c.publish("room", 1);
    assert_eq!(numbers(&[socket.event()]), [1]);
    for node in [&a, &b, &c] {
        assert_eq!(node.channel("room")["users"], json!(["ann"]));
    }
}

#[test]
fn all_answer_the_same_after_each_step() {
    let apps = three();
    let sites = sites(&apps);
    let mut step = 0;
    let mut on = || {
        step += 1;
        sites[step % 3]
    };
    let settings = json!({
        "notify_presence": true, "store_history": true, "history_size": 5, "notify_state": true,
    });
    on().configure("room", &settings);
    same(&sites);
    let ids: Vec<_> = (0..6)
        .map(|number| {
            let id = on().connect(&format!("user {}", number % 4), &["room", "hall"]);
            same(&sites);
            id
        })
        .collect();
    let mut sockets: Vec<_> = ids.iter().map(|id| on().socket(id)).collect();
    same(&sites);
    let state = json!({
        "user": "user 1", "user_state": {"mood": "good"}, "state_public_keys": ["mood"],
    });
    on().call("/user_state", &state);
    same(&sites);
    for number in 0..12 {
        on().publish("room", number);
        same(&sites);
    }
    let message = on().call("/message", &numbered("room", 12));
    let uuid = &message[0]["uuid"];
    let change = |method, body: Value| Request::new(method, "/message").signed().json(&body);
    let edit = json!([{"uuid": uuid, "channel": "room", "message": {"n": 13}}]);
    on().send(&change("PATCH", edit)).ok();
    same(&sites);
    on().send(&change("DELETE", json!([{"uuid": uuid, "channel": "room"}]))).ok();
    same(&sites);
    on().call("/unsubscribe", &json!({"conn_id": ids[0], "channels": ["room"]}));
    same(&sites);
    on().call("/subscribe", &json!({"conn_id": ids[0], "channels": ["attic"]}));
    same(&sites);
    on().call("/disconnect", &json!({"conn_id": ids[1]}));
    same(&sites);
    let first = sockets.remove(0);
    drop(first);
    same(&sites);
}

#[test]
fn polls_that_go_round_get_each_message_once() {
    let apps = three_with(&Config {
        wake_connections_after: Duration::from_secs(10),
        ..Config::default()
    });
    let sites = sites(&apps);
    let id = sites[0].connect("ann", &["room"]);
    for number in 0..30 {
        let node = usize::try_from(number).unwrap();
        sites[node % 3].publish("room", number);
        assert_eq!(numbers(&sites[(node + 1 + node / 7) % 3].poll(&id)), [number]);
    }
}

#[test]
fn a_poll_that_waits_is_taken_over_by_one_elsewhere() {
    let [a, b, c] = three();
    let id = a.connect("ann", &["room"]);
    let mut older = Line::open(a.0);
    older.write(&Request::new("GET", &format!("/listen?conn_id={id}")).bytes());
    eventually("the poll waits", || listeners(a.site) == 1);
    let mut newer = Line::open(b.0);
    newer.write(&Request::new("GET", &format!("/listen?conn_id={id}")).bytes());
    assert_eq!(older.answer(false).unwrap().events(), Vec::<Value>::new());
    c.publish("room", 1);
    assert_eq!(numbers(&newer.answer(false).unwrap().events()), [1]);
}

fn figure(site: Site, name: &str) -> u64 {
    let debug = site.send(&Request::new("GET", "/admin/debug").signed()).body;
    let (_, rest) = debug.split_once(&format!("\n{name}: ")).unwrap();
    rest.lines().next().unwrap().parse().unwrap()
}

fn listeners(site: Site) -> u64 {
    figure(site, "listeners")
}

fn nodes(site: Site) -> u64 {
    figure(site, "nodes")
}

#[test]
fn a_socket_elsewhere_takes_over_and_gets_what_the_older_one_did_not() {
    let [a, b, c] = three();
    let id = a.connect("ann", &["room"]);
    let mut older = a.socket(&id);
    c.publish("room", 1);
    assert_eq!(numbers(&[older.event()]), [1]);
    let mut newer = b.socket(&id);
    assert_eq!(older.closed(), Some(1000));
    c.publish("room", 2);
    assert_eq!(numbers(&[newer.event()]), [2]);
    let mut third = a.socket(&id);
    assert_eq!(newer.closed(), Some(1000));
    c.publish("room", 3);
    assert_eq!(numbers(&[third.event()]), [3]);
}

/// Reads what a socket that was taken over still has. An event that was partly sent came elsewhere.
fn rest(socket: &mut Socket) -> Vec<u64> {
    let mut events = Vec::new();
    loop {
        match socket.next() {
            Frame::Event(event) => events.push(event),
            Frame::Heartbeat => {}
            Frame::Close(_) | Frame::End => return numbers(&events),
        }
    }
}

#[test]
fn what_a_stalled_socket_did_not_get_comes_elsewhere_once() {
    const COUNT: u64 = 1000;
    let [a, b, c] = three_with(&Config {
        stored_frames: 2000,
        stored_bytes: 100 << 20,
        outbox_frames: 2000,
        outbox_bytes: 100 << 20,
        ..Config::default()
    });
    let id = a.connect("ann", &["room"]);
    let mut older = a.socket(&id);
    let pad = "x".repeat(20_000);
    let mut line = Line::open(c.0);
    let mut publish = |number: u64| {
        let message =
            json!([{"user": "p", "channel": "room", "message": {"n": number, "pad": pad}}]);
        line.send(&Request::call("/message", &message)).ok();
    };
    (0..COUNT).for_each(&mut publish);
    let mut newer = b.socket(&id);
    publish(COUNT);
    let mut events = Vec::new();
    while numbers(&events).last() != Some(&COUNT) {
        events.push(newer.event());
    }
    let events = numbers(&events);
    let seen = rest(&mut older);
    assert!(!seen.is_empty() && seen.len() < 900, "{}", seen.len());
    assert!(seen.iter().chain(&events).copied().eq(0..=COUNT), "{} then {}", seen.len(), events[0]);
}

#[test]
fn who_holds_a_cursor_goes_on_anywhere() {
    let [a, b, c] = three();
    let id = a.connect("ann", &["room"]);
    let mut socket = Socket::open_at(a.0, &format!("/ws?conn_id={id}&since="));
    let mut newest = socket.event();
    assert_eq!(newest["type"], "cursor");
    for (number, node) in (0..9).zip([&b, &c, &a].into_iter().cycle()) {
        c.publish("room", 2 * number);
        let event = socket.event();
        assert_eq!(event["message"]["n"], 2 * number);
        newest = event;
        // What comes while it is on its way comes there, whatever came here.
        a.publish("room", 2 * number + 1);
        let since = newest["seq"].as_str().unwrap();
        if number % 2 == 0 {
            socket.reset();
        }
        socket = Socket::open_at(node.0, &format!("/ws?conn_id={id}&since={since}"));
        newest = socket.event();
        assert_eq!(newest["message"]["n"], 2 * number + 1);
    }
}

#[test]
fn who_has_no_cursor_yet_takes_over_elsewhere_and_gets_nothing_twice() {
    let apps = three();
    let ann = apps[0].connect("ann", &["room"]);
    let mut older: Option<Socket> = None;
    for (round, app) in (0..).zip(apps.iter().cycle()).take(6) {
        let mut socket = Socket::open_at(app.site.0, &format!("/ws?conn_id={ann}&since="));
        if let Some(mut older) = older {
            assert_eq!(older.closed_after_events(), Some(1000));
        }
        // This waits for the older one, or comes behind what is read.
        app.publish("room", round);
        assert_eq!(socket.event()["type"], "cursor");
        assert_eq!(numbers(&[socket.event()]), [round]);
        older = Some(socket);
    }
}

#[test]
fn a_key_counts_on_all_nodes() {
    let [a, b, c] = three();
    let id = a.connect("ann", &["room"]);
    let mut socket = b.socket(&id);
    let request = Request::call("/message", &numbered("room", 1)).header("idempotency-key", "k");
    let answers = [&a, &b, &c].map(|node| node.send(&request).ok());
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    c.publish("room", 2);
    assert_eq!(numbers(&socket.events(2)), [1, 2]);
}

/// A watcher on a node, which hears who comes and goes.
fn watch(site: Site) -> Socket {
    site.configure("room", &json!({"notify_presence": true}));
    let watcher = site.connect("watcher", &["room"]);
    site.socket(&watcher)
}

#[test]
fn nobody_parts_when_a_node_drains() {
    let [a, b, c] = three();
    let mut watcher = watch(c.site);
    let mut clients: Vec<_> = (0..20)
        .map(|number| {
            let id = b.connect(&format!("user {number}"), &["room"]);
            let socket = a.socket(&id);
            (id, socket)
        })
        .collect();
    c.publish("room", 1);
    for (_, socket) in &mut clients {
        while numbers(&[socket.event()]) != [1] {}
    }
    let a_site = a.site;
    let stopping = std::thread::spawn(move || a.stop());
    for (id, socket) in &mut clients {
        assert_eq!(socket.closed(), Some(1001));
        *socket = b.socket(id);
    }
    stopping.join().unwrap();
    assert_eq!(nodes(b.site), 2, "it has left");
    assert!(std::net::TcpStream::connect(a_site.0).is_err());
    same(&[b.site, c.site]);
    b.publish("room", 2);
    for (_, socket) in &mut clients {
        assert_eq!(numbers(&[socket.event()]), [2], "nothing twice");
    }
    loop {
        let event = watcher.event();
        assert_ne!(event["message"]["action"], "parted");
        if numbers(&[event]) == [2] {
            break;
        }
    }
    assert_eq!(b.channel("room")["users"].as_array().unwrap().len(), 21);
}

#[test]
fn a_node_that_dies_takes_nothing_with_it() {
    let [a, b, c] = three();
    let mut watcher = watch(c.site);
    let id = a.connect("ann", &["room"]);
    let with_cursor = a.connect("bob", &["room"]);
    let mut plain = a.socket(&id);
    let mut follower = Socket::open_at(a.0, &format!("/ws?conn_id={with_cursor}&since="));
    for number in 1..=3 {
        c.publish("room", number);
    }
    while numbers(&[plain.event()]) != [3] {}
    let mut since = Value::Null;
    while since["message"]["n"] != 3 {
        since = follower.event();
    }
    a.kill();
    c.publish("room", 4);
    let mut plain = b.socket(&id);
    let since = since["seq"].as_str().unwrap();
    let mut follower = Socket::open_at(b.0, &format!("/ws?conn_id={with_cursor}&since={since}"));
    c.publish("room", 5);
    assert_eq!(numbers(&follower.events(2)), [4, 5]);
    let mut seen = BTreeSet::new();
    while !seen.contains(&5) {
        let event = plain.event();
        let Some(number) = event["message"]["n"].as_u64() else { continue };
        assert!(number > 3 || event["catchup"] == true, "{event}");
        assert!(seen.insert(number));
    }
    assert!(seen.contains(&4));
    b.publish("room", 6);
    loop {
        let event = watcher.event();
        assert_ne!(event["message"]["action"], "parted");
        if numbers(&[event]) == [6] {
            break;
        }
    }
    same(&[b.site, c.site]);
}

#[test]
fn a_node_that_joins_later_knows_everything() {
    let journal = SharedJournal::new();
    let a = App::start_on(&journal, Config::default());
    let id = a.connect("ann", &["room"]);
    a.publish("room", 1);
    let b = App::start_on(&journal, Config::default());
    same(&[a.site, b.site]);
    let mut socket = b.socket(&id);
    assert_eq!(numbers(&[socket.event()]), [1]);
    a.stop();
    b.publish("room", 2);
    assert_eq!(numbers(&[socket.event()]), [2]);
}

#[test]
fn a_node_that_did_nothing_for_long_closes_what_others_took_for_dead() {
    let [a, b, c] = three();
    let id = a.connect("ann", &["room"]);
    let mut older = a.socket(&id);
    c.publish("room", 1);
    assert_eq!(numbers(&[older.event()]), [1]);
    a.block(Duration::from_secs(13));
    // Time passes for the others, who take it for dead.
    assert_eq!(older.closed(), Some(1012));
    let mut newer = b.socket(&id);
    c.publish("room", 2);
    let mut events = vec![newer.event()];
    while numbers(&events).last() != Some(&2) {
        events.push(newer.event());
    }
    same(&[a.site, b.site, c.site]);
    eventually("it is one of them again", || nodes(b.site) == 3);
    assert_eq!(figure(b.site, "digests_differed_total"), 0);
    // It goes on.
    let mut again = a.socket(&id);
    // What comes before that is still for the newer one.
    assert_eq!(newer.closed_after_events(), Some(1000));
    b.publish("room", 3);
    assert_eq!(numbers(&[again.event()]), [3]);
}
