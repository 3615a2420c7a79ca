//! `/connect` and `/disconnect`: new users, reused ids, final ends (contract §5, §12).

use channelstream_core::protocol::{Connect, InfoOptions};
use channelstream_core::state::Refusal;

use crate::world::{End, World, announcing, json, millis, remembering, secs, user_state};

#[test]
fn channels_are_answered_sorted_with_repetitions() {
    let mut w = World::new();
    let connected = w.connect("ann", &["b", "a", "b", "é", "Z"]);
    assert_eq!(connected.channels, ["Z", "a", "b", "b", "é"]);
    assert_eq!(connected.username.as_ref(), "ann");
    let shown: Vec<_> = connected.channels_info.channels.keys().map(|name| &**name).collect();
    assert_eq!(shown, ["Z", "a", "b", "é"]);
    assert_eq!(w.channel("b").total_connections, 1);
}

#[test]
fn settings_are_for_new_channels_only() {
    let mut w = World::new();
    let request = |label: &str, size| Connect {
        channel_configs: [("room", remembering(size)), ("x", announcing())]
            .map(|(name, settings)| (name.to_owned(), settings.into()))
            .into(),
        ..Connect::new(label).channels(["room"])
    };
    w.connect_with("ann", request("ann", 3));
    w.connect_with("ben", request("ben", 5));
    assert_eq!(w.channel("room").settings, remembering(3));
    assert!(!w.info().channels.contains_key("x"), "an entry alone creates nothing");
}

#[test]
fn the_answer_describes_what_was_requested() {
    let mut w = World::new();
    w.configure("room", remembering(3));
    w.say("room", "hello");
    let info = InfoOptions {
        include_history: false,
        return_public_state: true,
        exclude_channels: vec!["other".to_owned()],
        channels: Some(Vec::new()),
        ..InfoOptions::default()
    };
    let connected = w.connect_with(
        "ann",
        Connect {
            user_state: user_state(r#"{"a": 1, "b": 2}"#),
            state_public_keys: vec!["a".to_owned()],
            info,
            ..Connect::new("ann").channels(["room", "other"])
        },
    );
    assert_eq!(connected.channels, ["other", "room"]);
    assert_eq!(connected.channels_info.channels.len(), 1);
    assert!(connected.channels_info.channels["room"].history.is_empty());
    assert_eq!(json(&connected.channels_info.users), r#"[{"user":"ann","state":{"a":1}}]"#);
    assert_eq!(json(&connected.state), r#"{"a":1,"b":2}"#);
}

/// Oddity 17 of the reference is repaired.
#[test]
fn the_same_user_may_use_an_id_again() {
    let mut w = World::new();
    w.configure("b", announcing());
    w.join("zoe", &["b"]);
    w.join("ann", &["a"]);
    let again = w.connect("ann", &["a", "b"]);
    assert_eq!(again.channels, ["a", "b"]);
    w.expect("zoe", &["b +ann"]);
    w.say("a", "1");
    w.say("b", "2");
    w.expect("ann", &["a bot: 1", "b bot: 2"]);
    assert_eq!(w.channel("a").total_connections, 1);
    assert_eq!(w.state.admin_stats().total_connections, 2);
    w.advance(secs(60));
    assert!(w.knows("ann") && w.listens("ann"), "the second connect takes nothing from the first");
    assert_eq!(w.subscribe("ann", &["c"]).channels.len(), 3);
}

#[test]
fn another_user_may_not() {
    let mut w = World::new();
    w.connect("ann", &["a"]);
    let nothing = w.after_nothing(1);
    let refused = w.try_connect("ann", Connect::new("ben").channels(["b"])).unwrap_err();
    assert_eq!(refused, Refusal::ForeignConnection);
    assert!(json(&refused.field_errors()).starts_with(r#"{"conn_id":"#));
    assert!(w.state.snapshot() == nothing, "a refused request changes nothing");
}

#[test]
fn connecting_again_counts_as_activity() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.advance(secs(14));
    w.connect("ann", &["room"]);
    w.advance(secs(14));
    assert!(w.knows("ann"));
    w.advance(secs(2));
    assert!(!w.knows("ann"));
}

#[test]
fn connecting_again_revives_a_closed_connection() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.close("ann");
    w.connect("ann", &["room"]);
    w.advance(secs(14));
    assert!(w.knows("ann"));
}

#[test]
fn a_disconnected_connection_ends_when_it_is_reaped() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.join("zoe", &["room"]);
    w.join("ann", &["room"]);
    w.take("zoe");
    assert!(w.disconnect("ann"));
    assert!(w.disconnect("ann"), "known until then");
    w.expect("zoe", &[]);
    w.advance(secs(1));
    w.expect("zoe", &["room -ann"]);
    assert_eq!(w.end_of("ann"), Some(End::Ended));
    assert!(!w.disconnect("ann") && !w.knows("ann"));
}

/// Oddity 22 of the reference is repaired.
#[test]
fn an_ended_connection_stays_ended() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.disconnect("ann");
    w.advance(millis(300));
    w.say("room", "still there?");
    w.expect("ann", &["room bot: still there?"]);
    w.disconnect("ann");
    w.close("ann");
    let refused = w.open("ann", channelstream_core::state::ListenerKind::Socket).unwrap_err();
    assert_eq!(refused, Refusal::UnknownConnection);
    w.advance(millis(201));
    assert!(!w.knows("ann"));
}

#[test]
fn the_id_of_an_ended_connection_can_be_used_again() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.join("zoe", &["room"]);
    w.join("ann", &["room", "other"]);
    w.disconnect("ann");
    w.connect("ann", &["room"]);
    w.expect("zoe", &["room +ann", "room -ann", "room +ann"]);
    assert_eq!(w.end_of("ann"), Some(End::Ended));
    assert!(w.channel("other").users.is_empty());
    w.advance(secs(14));
    assert!(w.knows("ann"));
    let free_again = {
        w.disconnect("ann");
        w.try_connect("ann", Connect::new("ben").channels(["room"]))
    };
    assert_eq!(free_again.unwrap().username.as_ref(), "ben");
}

/// Oddity 18 of the reference is repaired.
#[test]
fn a_connection_without_channels_ends_like_any_other() {
    let mut w = World::new();
    w.join("ann", &[]);
    w.disconnect("ann");
    w.advance(secs(1));
    assert_eq!(w.end_of("ann"), Some(End::Ended));
    w.join("ben", &[]);
    w.close("ben");
    w.advance(secs(1));
    assert!(!w.knows("ben"));
}

#[test]
fn unknown_connections_are_answered_false() {
    assert!(!World::new().disconnect("nobody"));
}
