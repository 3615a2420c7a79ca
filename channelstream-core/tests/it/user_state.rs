//! The state of users: what is a change, what others see, and who receives it (contract §5, §7).

use channelstream_core::protocol::{ChannelSettings, Connect, SetUserState};
use channelstream_core::state::Refusal;

use crate::world::{World, announcing, json, user_state};

fn telling() -> ChannelSettings {
    ChannelSettings { notify_state: true, ..ChannelSettings::default() }
}

fn keys(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

#[test]
fn fresh_state_is_for_new_users_and_keys_are_kept() {
    let mut w = World::new();
    let connected = w.connect_with(
        "ann/1",
        Connect {
            fresh_user_state: user_state(r#"{"a": "fresh", "b": "fresh"}"#),
            user_state: user_state(r#"{"b": "update", "c": "update"}"#),
            state_public_keys: keys(&["a", "b"]),
            ..Connect::new("ann")
        },
    );
    assert_eq!(json(&connected.state), r#"{"a":"fresh","b":"update","c":"update"}"#);
    assert_eq!(json(&connected.public_state), r#"{"a":"fresh","b":"update"}"#);
    let connected = w.connect_with(
        "ann/2",
        Connect {
            fresh_user_state: user_state(r#"{"a": "again", "d": "again"}"#),
            ..Connect::new("ann")
        },
    );
    assert_eq!(json(&connected.state), r#"{"a":"fresh","b":"update","c":"update"}"#);
    assert_eq!(json(&connected.public_state), "{}", "absent public keys become none");
}

#[test]
fn null_for_an_absent_key_and_equal_numbers_change_nothing() {
    let mut w = World::new();
    w.connect("ann", &[]);
    let set = w.set_state("ann", r#"{"n": null, "one": 1, "text": "x"}"#);
    assert_eq!(json(&set.user_state), r#"{"one":1,"text":"x"}"#);
    let set = w.set_state("ann", r#"{"one": true, "text": "y", "other": null}"#);
    assert_eq!(json(&set.changed_state), r#"[{"key":"text","value":"y"}]"#);
    assert_eq!(json(&set.user_state), r#"{"one":1,"text":"y"}"#);
    let set = w.set_state("ann", r#"{"text": null, "one": 1.0, "zero": false}"#);
    assert_eq!(
        json(&set.changed_state),
        r#"[{"key":"text","value":null},{"key":"zero","value":false}]"#
    );
    assert_eq!(json(&set.user_state), r#"{"one":1,"text":null,"zero":false}"#);
}

#[test]
fn a_change_is_sent_in_each_channel_with_notify_state_also_to_the_user() {
    let mut w = World::new();
    for channel in ["b", "a"] {
        w.configure(channel, telling());
    }
    w.configure("elsewhere", telling());
    w.join("zoe", &["a", "b", "quiet", "elsewhere"]);
    w.join("ann", &["a", "b", "quiet"]);
    w.connect("ann/2", &["a"]);
    w.try_set_state(SetUserState {
        state_public_keys: Some(keys(&["x"])),
        ..SetUserState::new("ann", user_state(r#"{"x": 1, "y": 2}"#))
    })
    .unwrap();
    let change = [r#"b ann {"x":1} [x=1]"#, r#"a ann {"x":1} [x=1]"#];
    w.expect("zoe", &change);
    w.expect("ann", &change);
}

#[test]
fn private_changes_are_sent_without_the_changed_keys() {
    let mut w = World::new();
    w.configure("room", telling());
    w.join("ann", &["room"]);
    w.set_state("ann", r#"{"secret": 1}"#);
    w.expect("ann", &["room ann {} []"]);
}

#[test]
fn without_a_change_nothing_is_sent() {
    let mut w = World::new();
    w.configure("room", telling());
    w.join("ann", &["room"]);
    w.set_state("ann", r#"{"a": 1}"#);
    w.take("ann");
    w.set_state("ann", r#"{"a": 1.0}"#);
    let set = w
        .try_set_state(SetUserState {
            state_public_keys: Some(keys(&["a"])),
            ..SetUserState::new("ann", user_state("{}"))
        })
        .unwrap();
    assert_eq!(json(&set.public_keys), r#"["a"]"#);
    w.expect("ann", &[]);
}

#[test]
fn public_keys_stay_unless_they_are_given() {
    let mut w = World::new();
    w.connect_with(
        "ann",
        Connect { state_public_keys: keys(&["a"]), ..Connect::new("ann").channels(["room"]) },
    );
    w.configure("room", telling());
    w.socket("ann");
    assert_eq!(json(&w.set_state("ann", r#"{"a": 1}"#).public_keys), r#"["a"]"#);
    let emptied = SetUserState {
        state_public_keys: Some(Vec::new()),
        ..SetUserState::new("ann", user_state(r#"{"a": 2}"#))
    };
    assert_eq!(json(&w.try_set_state(emptied).unwrap().public_keys), "[]");
    w.expect("ann", &[r#"room ann {"a":1} [a=1]"#, "room ann {} []"]);
}

#[test]
fn connecting_sends_no_change_of_state() {
    let mut w = World::new();
    w.configure("room", telling());
    w.join("zoe", &["room"]);
    w.connect("ann", &["room"]);
    w.connect_with(
        "ann/2",
        Connect {
            user_state: user_state(r#"{"a": 1}"#),
            state_public_keys: keys(&["a"]),
            ..Connect::new("ann").channels(["room"])
        },
    );
    w.expect("zoe", &[]);
}

#[test]
fn changes_are_stored_for_users_who_are_away() {
    let mut w = World::new();
    w.configure("room", telling());
    w.connect("zoe", &["room"]);
    w.connect("ann", &["room"]);
    w.set_state("ann", r#"{"a": 1}"#);
    w.socket("zoe");
    w.expect("zoe", &["~room ann {} []"]);
}

#[test]
fn a_sent_change_is_not_altered_by_later_ones() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.connect("zoe", &["room"]);
    w.connect_with(
        "ann",
        Connect {
            user_state: user_state(r#"{"a": 1}"#),
            state_public_keys: keys(&["a"]),
            ..Connect::new("ann").channels(["room"])
        },
    );
    w.set_state("ann", r#"{"a": 2}"#);
    w.socket("zoe");
    let joined = w.take("zoe").pop().unwrap().event.encode(true);
    assert!(joined.contains(r#""state":{"a":1}"#), "{joined}");
}

#[test]
fn unknown_users_are_refused() {
    let mut w = World::new();
    let refused = w.try_set_state(SetUserState::new("nobody", user_state("{}")));
    assert_eq!(refused.unwrap_err(), Refusal::UnknownUser);
    assert_eq!(json(&Refusal::UnknownUser.field_errors()), r#"{"user":["Unknown user"]}"#);
}
