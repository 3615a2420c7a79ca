//! The history of a channel: what is kept, how much, and when it is trimmed (contract §8).

use channelstream_core::protocol::{Address, ChannelSettings, NewMessage};

use crate::world::{World, json, message, remembering, to, to_users};

#[test]
fn a_history_keeps_the_newest_messages() {
    let mut w = World::new();
    w.configure("three", remembering(3));
    w.configure("none", ChannelSettings::default());
    for n in 1..=5 {
        w.say("three", &n.to_string());
        w.say("none", &n.to_string());
    }
    assert_eq!(w.history("three"), ["3", "4", "5"]);
    assert!(w.history("none").is_empty());
}

#[test]
fn ten_are_kept_by_default() {
    let mut w = World::new();
    w.configure("room", ChannelSettings { store_history: true, ..ChannelSettings::default() });
    for n in 1..=12 {
        w.say("room", &n.to_string());
    }
    assert_eq!(w.history("room").len(), 10);
}

#[test]
fn only_a_new_message_trims_a_history() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    for text in ["a", "b", "c"] {
        w.say("room", text);
    }
    w.configure("room", remembering(2));
    assert_eq!(w.history("room"), ["a", "b", "c"]);
    w.post(NewMessage { no_history: true, ..to("room", "passing") });
    assert_eq!(w.history("room"), ["a", "b", "c"]);
    w.configure("room", ChannelSettings { history_size: 2, ..ChannelSettings::default() });
    w.say("room", "not kept");
    assert_eq!(
        w.history("room"),
        ["a", "b", "c"],
        "stored messages stay when the setting is turned off"
    );
    w.configure("room", remembering(2));
    w.say("room", "d");
    assert_eq!(w.history("room"), ["c", "d"]);
}

/// Oddity 31 of the reference is repaired.
#[test]
fn a_history_of_size_0_keeps_nothing() {
    let mut w = World::new();
    w.configure("room", remembering(3));
    w.say("room", "a");
    w.configure("room", remembering(0));
    w.say("room", "b");
    assert!(w.history("room").is_empty());
}

#[test]
fn messages_outside_the_history_are_caught_up_too() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    w.connect("ann", &["room"]);
    w.post(NewMessage { no_history: true, ..to("room", "passing") });
    assert!(w.history("room").is_empty());
    w.socket("ann");
    w.expect("ann", &["~room bot: passing"]);
}

/// Oddity 35 of the reference is kept.
#[test]
fn a_channel_message_for_some_users_is_in_the_history() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    let address = Address {
        pm_users: vec!["ann".to_owned()],
        exclude_users: vec!["ben".to_owned()],
        ..Address::channel("room")
    };
    w.post(message(address, "for ann"));
    let kept = json(&w.channel("room"));
    assert_eq!(w.history("room"), ["for ann"]);
    assert!(kept.contains(r#""pm_users":["ann"],"exclude_users":["ben"]"#), "{kept}");
}

#[test]
fn private_messages_are_in_no_history() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    w.connect("ann", &["room"]);
    w.post(to_users(&["ann"], "psst"));
    assert!(w.history("room").is_empty());
}

#[test]
fn a_history_contains_only_messages() {
    let mut w = World::new();
    w.configure(
        "room",
        ChannelSettings { notify_presence: true, notify_state: true, ..remembering(10) },
    );
    w.connect("ann", &["room"]);
    w.set_state("ann", r#"{"a": 1}"#);
    w.delete(1, Address::channel("room"));
    assert!(w.history("room").is_empty());
}

#[test]
fn an_entry_has_the_fields_of_the_contract() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    w.say_as(7, "room", "hello");
    assert_eq!(
        json(&w.channel("room").history[0].uuid),
        r#""00000000-0000-0000-0000-000000000007""#
    );
    let kept = json(&w.channel("room"));
    let entry = concat!(
        r#""history":[{"type":"message","catchup":false,"#,
        r#""uuid":"00000000-0000-0000-0000-000000000007","user":"bot","message":{"text":"hello"},"#,
        r#""channel":"room","pm_users":[],"exclude_users":[],"no_history":false,"#,
        r#""timestamp":"2024-01-01T00:00:00","edited":null}]"#
    );
    assert!(kept.contains(entry), "{kept}");
}

#[test]
fn the_history_outlives_the_last_member() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    w.connect("ann", &["room"]);
    w.say("room", "hello");
    w.unsubscribe("ann", &["room"]);
    w.advance(crate::world::hours(24));
    assert_eq!(w.history("room"), ["hello"]);
}
