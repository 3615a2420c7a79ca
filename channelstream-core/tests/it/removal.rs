//! Users whose connections are ended all at once, and who are refused for a while.

use std::time::Duration;

use channelstream_core::protocol::{Bounds, Connect, DisconnectUser, parse};
use channelstream_core::state::{Command, ListenerKind, Refusal, Rules, State};

use crate::world::{End, NODE, World, announcing, millis, remembering, rules, secs};

/// The connection of a listener that was ended last, and what it was told.
fn ended(w: &mut World) -> Vec<(String, Option<String>)> {
    let ended = w.listeners.iter().filter(|entry| entry.end == Some(End::Ended));
    ended.map(|entry| (entry.label.clone(), entry.told.as_deref().map(str::to_owned))).collect()
}

fn refused(w: &mut World, user: &str) -> Option<(u64, Option<String>)> {
    match w.try_connect(&format!("{user}/again"), Connect::new(user)) {
        Ok(_) => None,
        Err(Refusal::UserRefused { seconds, reason }) => Some((seconds, reason)),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn all_connections_of_a_user_end_at_once_and_are_told_why() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.join("ann/1", &["room", "other"]);
    w.join("ann/2", &["room"]);
    w.connect("ann/3", &[]);
    w.join("ben", &["room"]);
    w.take("ben");

    let reply = w.disconnect_user(DisconnectUser::new("ann").reason("spam"));
    assert_eq!((&*reply.user, reply.connections, reply.refused_for), ("ann", 3, 0));
    let told = || Some("spam".to_owned());
    assert_eq!(ended(&mut w), [("ann/1".to_owned(), told()), ("ann/2".to_owned(), told())]);
    assert_eq!(w.channel("room").total_connections, 1, "at once");
    let parted = w.take("ben");
    assert_eq!(parted.len(), 1, "once, not for each connection");

    assert_eq!(w.disconnect_user(DisconnectUser::new("ann")).connections, 0, "there are none");
    assert_eq!(refused(&mut w, "ann"), None);
    let reply = w.disconnect_user(DisconnectUser::new("ben"));
    assert_eq!(reply.connections, 1);
    assert_eq!(ended(&mut w)[2], ("ben".to_owned(), None));
}

#[test]
fn a_user_is_refused_for_as_long_as_was_said() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    let request = || DisconnectUser::new("ann").reason("spam").refuse_for(300);
    assert_eq!(w.disconnect_user(request()).refused_for, 300);
    let before = w.state.snapshot();
    assert_eq!(refused(&mut w, "ann"), Some((300, Some("spam".to_owned()))));
    assert!(w.info().channels.contains_key("room"));
    assert_eq!(refused(&mut w, "ben"), None, "others are not");
    assert!(before.len() < w.state.snapshot().len());
    w.advance(millis(299_500));
    assert_eq!(refused(&mut w, "ann"), Some((1, Some("spam".to_owned()))));
    // Without the field it stays; with it, it begins anew.
    assert_eq!(w.disconnect_user(DisconnectUser::new("ann")).refused_for, 1);
    assert_eq!(w.disconnect_user(DisconnectUser::new("ann").refuse_for(10)).refused_for, 10);
    assert_eq!(refused(&mut w, "ann"), Some((10, None)));
    w.advance(secs(10));
    assert_eq!(refused(&mut w, "ann"), None);
}

#[test]
fn a_user_is_let_in_again_and_may_be_refused_before_it_ever_came() {
    let mut w = World::new();
    let reply = w.disconnect_user(DisconnectUser::new("eve").refuse_for(60));
    assert_eq!((reply.connections, reply.refused_for), (0, 60));
    assert_eq!(refused(&mut w, "eve"), Some((60, None)));
    assert!(!w.state.knows_user("eve"), "what is refused changes nothing");
    assert_eq!(w.disconnect_user(DisconnectUser::new("eve").refuse_for(0)).refused_for, 0);
    assert_eq!(refused(&mut w, "eve"), None);
    // Nothing of it stays.
    w.disconnect_user(DisconnectUser::new("eve").refuse_for(1));
    w.disconnect_user(DisconnectUser::new("eve").refuse_for(0));
    w.advance(rules().user_timeout + rules().channel_timeout);
    assert_eq!(w.state.next_deadline(), None);
}

#[test]
fn a_state_wakes_for_users_to_forget() {
    let mut w = World::new();
    for number in 0..1000 {
        w.disconnect_user(DisconnectUser::new(format!("user{number}")).refuse_for(60));
    }
    assert!(w.state.next_deadline().is_some());
    let full = w.state.snapshot().len();
    w.advance(secs(61));
    assert_eq!(w.state.next_deadline(), None);
    assert!(w.state.snapshot().len() < full / 10, "they are forgotten");
}

#[test]
fn who_was_disconnected_recovers_nothing() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    w.connect("ann/1", &["room"]);
    w.say("room", "before");
    // It falls silent, and would be remembered.
    w.advance(secs(60));
    assert_eq!(w.channel("room").total_connections, 0);
    w.disconnect_user(DisconnectUser::new("ann"));
    w.join("ann/2", &["room"]);
    assert!(w.take("ann/2").is_empty());
}

#[test]
fn a_connection_that_was_ended_is_not_counted_again() {
    let mut w = World::new();
    w.connect("ann/1", &["room"]);
    w.connect("ann/2", &["room"]);
    w.disconnect("ann/1");
    assert_eq!(w.disconnect_user(DisconnectUser::new("ann")).connections, 1);
    assert!(matches!(w.open("ann/1", ListenerKind::Socket), Err(Refusal::UnknownConnection)));
}

#[test]
fn refused_users_are_in_snapshots_and_the_same_on_all_nodes() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.disconnect_user(DisconnectUser::new("ann").reason("spam").refuse_for(300));
    w.disconnect_user(DisconnectUser::new("eve").refuse_for(30));
    w.state = State::restore(&w.state.snapshot()).unwrap().for_node(NODE);
    assert_eq!(refused(&mut w, "ann"), Some((300, Some("spam".to_owned()))));
    w.advance(secs(30));
    assert_eq!(refused(&mut w, "eve"), None);
    assert_eq!(refused(&mut w, "ann"), Some((270, Some("spam".to_owned()))));

    let mut w = World::of_nodes(3, Rules::default());
    w.disconnect_user(DisconnectUser::new("ann").refuse_for(300));
    w.check_nodes();
}

#[test]
fn a_journal_at_the_level_before_refuses_it() {
    let mut w = World::at_level(rules(), 1);
    w.join("ann", &["room"]);
    let request = DisconnectUser::new("ann").refuse_for(300);
    let command = Command::DisconnectUser(Box::new(request));
    assert_eq!(command.since(), 2);
    assert_eq!(w.apply(command).unwrap_err(), Refusal::LevelTooLow);
    assert_eq!(w.channel("room").total_connections, 1);
    let restored = State::restore(&w.state.snapshot()).unwrap();
    assert_eq!(restored.level(), 1);
}

#[test]
fn bodies_are_checked() {
    let errors = |json: &str| {
        let body = parse(json.as_bytes(), Bounds::default()).unwrap();
        let read = DisconnectUser::read(&body);
        read.err().map(|rejected| serde_json::to_string(&rejected.errors).unwrap())
    };
    for good in [
        r#"{"user": "ann"}"#,
        r#"{"user": "ann", "reason": "spam", "refuse_for": 0}"#,
        r#"{"user": "ann", "refuse_for": 2678400}"#,
    ] {
        assert_eq!(errors(good), None, "{good}");
    }
    let (long, wide) = ("x".repeat(124), "\u{e9}".repeat(123));
    assert_eq!(errors(&format!(r#"{{"user": "a", "reason": "{wide}"}}"#)), None);
    for (bad, field) in [
        (r#"{}"#.to_owned(), "user"),
        (r#"{"user": ""}"#.to_owned(), "user"),
        (r#"{"user": "a", "reason": ""}"#.to_owned(), "reason"),
        (r#"{"user": "a", "reason": 7}"#.to_owned(), "reason"),
        (r#"{"user": "a", "reason": "a\nb"}"#.to_owned(), "control"),
        (format!(r#"{{"user": "a", "reason": "{long}"}}"#), "between 1 and 123"),
        (r#"{"user": "a", "refuse_for": -1}"#.to_owned(), "refuse_for"),
        (r#"{"user": "a", "refuse_for": 2678401}"#.to_owned(), "refuse_for"),
    ] {
        let found = errors(&bad).unwrap_or_default();
        assert!(found.contains(field), "{bad}: {found}");
    }
    assert_eq!(Duration::from_secs(DisconnectUser::LONGEST), Duration::from_secs(31 * 24 * 3600));
}
