//! A restart: what was answered is there, and nobody has parted.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{Frame, Request, Site, Socket, numbers};
use crate::journal::{Journal, keep_all, kept};
use crate::process::Process;
use crate::visitor::Visitor;

/// Ends a server by `signal`, and starts another one on its journal and address.
fn restart(mut server: Process, signal: &str, journal: &Journal) -> Process {
    let port = server.address.port().to_string();
    server.signal(signal);
    server.ended();
    journal.start(&["--port", &port, "--shutdown-timeout", "1"])
}

fn state_of(site: Site, user: &str) -> Value {
    let info = json!({"info": {"include_connections": true, "include_users": true}});
    let answer = site.call("/info", &info);
    answer["users"].as_array().unwrap().iter().find(|found| found["user"] == user).unwrap().clone()
}

#[test]
fn what_was_answered_is_there_after_any_end() {
    let journal = Journal::new();
    let mut server = journal.start(&["--shutdown-timeout", "1"]);
    let site = Site(server.address);
    keep_all(site, "news");
    site.configure("quiet", &json!({"notify_presence": true}));
    let connect = json!({"username": "ann", "channels": ["news", "quiet"],
        "fresh_user_state": {"seen": 1}, "state_public_keys": ["seen"]});
    let connection = site.call("/connect", &connect)["conn_id"].as_str().unwrap().to_owned();
    let expected = state_of(site, "ann");
    let key = Request::call("/message", &crate::app::numbered("news", 0))
        .header("idempotency-key", "only-once");
    site.send(&key).ok();
    let mut socket = site.socket(&connection);
    for (round, signal) in (1..).zip(["KILL", "TERM", "KILL", "KILL"]) {
        site.publish("news", round);
        while let event = socket.event()
            && numbers(std::slice::from_ref(&event)) != [round]
        {
            // A process that was killed could not tell what it had sent last.
            assert_eq!(event["catchup"], true, "{event}");
        }
        server = restart(server, signal, &journal);
        assert_eq!(kept(site, "news"), (0..=round).collect::<Vec<_>>(), "after {signal}");
        assert_eq!(state_of(site, "ann"), expected);
        let again = site.send(&key);
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again:?}");
        let settings = site.channel("quiet")["settings"].take();
        assert_eq!(settings["notify_presence"], true);
        // The connection outlives the process.
        socket = Socket::open(server.address, &connection);
    }
    site.publish("news", 99);
    while numbers(&[socket.event()]) != [99] {}
}

#[test]
fn presence_announces_nothing_that_a_restart_did() {
    let journal = Journal::new();
    let mut server = journal.start(&["--shutdown-timeout", "1"]);
    let site = Site(server.address);
    site.configure("room", &json!({"notify_presence": true}));
    let ann = site.connect("ann", &["room"]);
    let bob = site.connect("bob", &["room"]);
    let mut watcher = Visitor::new(server.address, ann);
    watcher.listen(&AtomicBool::new(false), |event| event["user"] == "bob");
    watcher.events.clear();
    for (round, signal) in (1..).zip(["KILL", "TERM", "KILL"]) {
        let mut socket = site.socket(&bob);
        server = restart(server, signal, &journal);
        // Bob's socket ends with the server, and his connection does not.
        while !matches!(socket.next(), Frame::End) {}
        site.publish("room", round);
        watcher.listen(&AtomicBool::new(false), |event| event["message"]["n"] == round);
    }
    let kinds: Vec<_> =
        watcher.events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert!(kinds.iter().all(|kind| ["message", "cursor"].contains(kind)), "{:?}", watcher.events);
    assert_eq!(numbers(&watcher.events), [1, 2, 3]);
}

#[test]
fn the_time_between_two_processes_counts_for_nobody() {
    let journal = Journal::new();
    let mut server = journal.start(&["--gc-conns-after", "2"]);
    let port = server.address.port().to_string();
    let site = Site(server.address);
    let connection = site.connect("ann", &["room"]);
    let _socket = site.socket(&connection);
    server.signal("KILL");
    server.ended();
    std::thread::sleep(Duration::from_secs(3));
    let _server = journal.start(&["--port", &port, "--gc-conns-after", "2"]);
    let head = Request::new("HEAD", &format!("/listen?conn_id={connection}"));
    assert_eq!(site.send(&head).status, 200, "it has not expired");
    // From here on it does.
    crate::app::eventually("the connection expires", || site.send(&head).status != 200);
}
