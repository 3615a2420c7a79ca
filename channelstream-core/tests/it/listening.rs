//! Sockets and polls: takeover, which listener gets the events, and what an end means (contract §6,
//! §12).

use channelstream_core::state::{Closing, ListenerKind, Refusal, Reply};

use crate::world::{End, World, millis, secs};

#[test]
fn unknown_connections_cannot_be_listened_on() {
    let mut w = World::new();
    for kind in [ListenerKind::Socket, ListenerKind::Poll] {
        assert_eq!(w.open("nobody", kind).unwrap_err(), Refusal::UnknownConnection);
    }
}

/// Oddity 20 of the reference is repaired.
#[test]
fn a_newer_socket_takes_over_and_the_end_of_the_older_one_changes_nothing() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.say("room", "1");
    w.socket("ann");
    assert_eq!(w.listeners[0].end, Some(End::Superseded));
    w.say("room", "2");
    w.advance(secs(60));
    w.say("room", "3");
    w.expect("ann", &["room bot: 1", "room bot: 2", "room bot: 3"]);
    assert_eq!(w.listeners[1].got.len(), 2, "the newer one takes the events");
}

#[test]
fn unsent_events_migrate_to_the_newer_listener() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.stall("ann");
    for text in ["1", "2", "3"] {
        w.say("room", text);
    }
    w.flow("ann", 1);
    w.socket("ann");
    w.say("room", "4");
    w.expect("ann", &["room bot: 1", "room bot: 2", "room bot: 3", "room bot: 4"]);
}

#[test]
fn migrated_events_that_are_not_sent_are_caught_up() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.poll("ann");
    w.say("room", "1");
    w.poll("ann");
    w.say("room", "2");
    w.end("ann", Closing::Otherwise);
    w.socket("ann");
    w.expect("ann", &["~room bot: 1", "~room bot: 2"]);
}

#[test]
fn a_newer_poll_takes_the_place_of_the_older_one_which_ends_empty() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.poll("ann");
    w.say("room", "1");
    w.poll("ann");
    w.answer("ann");
    assert_eq!(w.listeners[0].end, Some(End::Superseded));
    assert!(w.listeners[0].got.is_empty());
    w.expect("ann", &["room bot: 1"]);
}

#[test]
fn a_socket_takes_over_from_a_poll() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.poll("ann");
    w.say("room", "1");
    w.socket("ann");
    assert_eq!(w.listeners[0].end, Some(End::Superseded));
    w.expect("ann", &["room bot: 1"]);
}

#[test]
fn a_poll_beside_a_socket_stays_empty() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.say("room", "1");
    w.socket("ann");
    assert!(matches!(w.open("ann", ListenerKind::Poll), Ok(Reply::Occupied)));
    w.say("room", "2");
    w.expect("ann", &["~room bot: 1", "room bot: 2"]);
    assert!(w.listeners[1].got.is_empty());
    w.close("ann");
    w.poll("ann");
    w.answer("ann");
    w.expect("ann", &[]);
}

#[test]
fn an_open_listener_is_activity() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.connect("ben", &["room"]);
    w.poll("ben");
    w.advance(secs(3600));
    assert!(w.knows("ann") && w.knows("ben"));
    w.say("room", "hello");
    w.expect("ann", &["room bot: hello"]);
}

#[test]
fn the_end_of_a_poll_is_activity() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.advance(secs(14));
    w.poll("ann");
    w.advance(secs(5));
    w.answer("ann");
    w.advance(millis(14_999));
    assert!(w.knows("ann"));
    w.advance(millis(2));
    assert!(!w.knows("ann"));
}

#[test]
fn a_connection_that_polls_stays_for_days() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    for round in 0..20_000 {
        w.poll("ann");
        w.advance(secs(5));
        if round % 1000 == 0 {
            w.say("room", "ping");
        }
        w.answer("ann");
        w.advance(secs(9));
    }
    assert_eq!(w.take("ann").len(), 20);
    assert!(w.knows("ann"));
    assert!(w.state.knows_user("ann"), "oddity 27, repaired");
}

#[test]
fn a_socket_closed_by_the_peer_ends_the_connection() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.advance(secs(60));
    w.close("ann");
    assert!(w.knows("ann"), "until it is reaped");
    w.advance(millis(501));
    assert!(!w.knows("ann"));
}

#[test]
fn a_socket_closed_by_the_server_leaves_the_time_of_an_idle_connection() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.advance(secs(60));
    w.end("ann", Closing::Otherwise);
    w.advance(secs(14));
    assert!(w.knows("ann"));
    w.advance(millis(1_001));
    assert!(!w.knows("ann"));
}

#[test]
fn a_socket_that_opens_within_the_grace_revives_the_connection_for_good() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.close("ann");
    w.advance(millis(499));
    w.socket("ann");
    w.advance(secs(100));
    assert!(w.listens("ann"));
    w.close("ann");
    w.advance(millis(499));
    w.poll("ann");
    w.answer("ann");
    w.advance(secs(14));
    assert!(w.knows("ann"), "a poll revives it as well, with the time of a poll");
}

#[test]
fn late_reports_of_ended_listeners_change_nothing() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.disconnect("ann");
    w.advance(secs(1));
    w.join("ann", &["room"]);
    let connection = w.id("ann");
    for listener in [0, 77] {
        w.apply(channelstream_core::state::Command::Close {
            connection,
            listener: channelstream_core::state::ListenerId::new(listener),
            how: Closing::ByPeer,
            sent: channelstream_core::state::Sent { up_to: u64::MAX, but: Vec::new() },
        })
        .unwrap();
    }
    w.say("room", "hello");
    w.advance(secs(60));
    w.expect("ann", &["room bot: hello"]);
    assert!(w.listens("ann"));
}
