//! Edits and deletes: what they change and who receives them, also if nothing is found (contract
//! §8).

use channelstream_core::protocol::{Address, ChannelSettings, DateTime, Edit, NewMessage, Uuid};

use crate::world::{World, new_text, remembering, secs, to, to_users};

fn room() -> Address {
    Address::channel("room")
}

fn ann() -> Address {
    Address::users(["ann"])
}

#[test]
fn a_message_in_the_history_and_its_stored_event_are_edited_together() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    w.join("zoe", &["room"]);
    w.connect("ann", &["room"]);
    w.say_as(1, "room", "first");
    w.say_as(2, "room", "second");
    w.edit(new_text(1, room(), "changed"));
    assert_eq!(w.history("room"), ["changed", "second"]);
    assert!(w.channel("room").history[0].edited.is_some());
    w.expect("zoe", &["room bot: first", "room bot: second", "room edit 1: changed"]);
    w.socket("ann");
    let want = ["~room bot: changed*", "~room bot: second", "~room edit 1: changed"];
    w.expect("ann", &want);
}

#[test]
fn a_message_that_is_only_in_the_stored_events_is_edited_there() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.say_as(1, "room", "first");
    w.edit(new_text(1, room(), "changed"));
    w.socket("ann");
    w.expect("ann", &["~room bot: changed*", "~room edit 1: changed"]);
}

#[test]
fn a_message_that_left_the_stored_events_is_edited_in_the_history_only() {
    let mut w = World::new();
    w.configure("room", remembering(1000));
    w.connect("ann", &["room"]);
    w.say_as(1, "room", "first");
    for n in 0..100 {
        w.say("room", &n.to_string());
    }
    w.edit(new_text(1, room(), "changed"));
    assert_eq!(w.history("room")[0], "changed");
    w.socket("ann");
    let got: Vec<_> = w.take("ann").iter().map(crate::world::summary).collect();
    assert_eq!(got.len(), 100);
    assert_eq!(got[0], "~room bot: 1", "the edit took the last place of the hundred");
}

#[test]
fn an_edit_changes_only_the_given_fields() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    w.say_as(1, "room", "text");
    let before = w.channel("room").history[0].clone();
    w.advance(secs(1));
    let answer =
        w.edit(Edit { user: Some("else".to_owned()), ..Edit::new(Uuid::from_u128(1), room()) });
    let after = w.channel("room").history[0].clone();
    assert_eq!(after.user, "else");
    assert_eq!(after.timestamp, before.timestamp);
    assert_eq!(w.history("room"), ["text"]);
    assert_eq!(after.edited, answer.edited, "the present time, if none was given");
    assert_eq!(after.edited.unwrap().to_string(), "2024-01-01T00:00:01");
    let (said, edited) = (time("2020-01-01T00:00"), time("2021-01-01T00:00Z"));
    w.edit(Edit {
        timestamp: Some(said),
        edited: Some(edited),
        ..Edit::new(Uuid::from_u128(1), room())
    });
    let after = w.channel("room").history[0].clone();
    assert_eq!((after.user.as_str(), after.timestamp, after.edited), ("else", said, Some(edited)));
}

fn time(text: &str) -> DateTime {
    DateTime::parse(text).unwrap()
}

#[test]
fn of_messages_with_one_id_the_first_is_edited_and_all_are_deleted() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    w.connect("ann", &["room"]);
    w.say_as(1, "room", "a");
    w.say_as(1, "room", "b");
    w.edit(new_text(1, room(), "c"));
    assert_eq!(w.history("room"), ["c", "b"]);
    w.delete(1, room());
    assert!(w.history("room").is_empty());
    w.socket("ann");
    w.expect("ann", &["~room edit 1: c", "~room delete 1"]);
}

#[test]
fn deletes_remove_a_message_everywhere() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    w.join("zoe", &["room"]);
    w.connect("ann", &["room"]);
    w.say_as(1, "room", "first");
    w.say_as(2, "room", "second");
    w.delete(1, room());
    assert_eq!(w.history("room"), ["second"]);
    w.expect("zoe", &["room bot: first", "room bot: second", "room delete 1"]);
    w.socket("ann");
    w.expect("ann", &["~room bot: second", "~room delete 1"]);
    w.delete(1, room());
    w.expect("ann", &["room delete 1"]);
}

/// Oddity 40 of the reference is kept.
#[test]
fn edits_of_unknown_messages_are_announced_and_stored() {
    let mut w = World::new();
    w.join("zoe", &["room"]);
    w.connect("ann", &["room"]);
    w.edit(new_text(8, room(), "x"));
    w.delete(9, room());
    w.expect("zoe", &["room edit 8: x", "room delete 9"]);
    w.socket("ann");
    w.expect("ann", &["~room edit 8: x", "~room delete 9"]);
}

#[test]
fn edits_and_deletes_use_their_own_address() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    for label in ["ann", "ben", "cat"] {
        w.join(label, &["room"]);
    }
    w.post(NewMessage {
        uuid: Some(Uuid::from_u128(1)),
        address: Address { pm_users: vec!["ann".to_owned()], ..room() },
        ..to("room", "for ann")
    });
    let address = Address { exclude_users: vec!["ann".to_owned()], ..room() };
    w.edit(new_text(1, address, "for others"));
    w.delete(1, Address { pm_users: vec!["cat".to_owned()], ..room() });
    w.expect("ann", &["room bot: for ann"]);
    w.expect("ben", &["room edit 1: for others"]);
    w.expect("cat", &["room edit 1: for others", "room delete 1"]);
    assert!(w.history("room").is_empty());
}

#[test]
fn a_message_of_another_channel_is_not_changed() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    w.configure("other", remembering(10));
    w.say_as(1, "room", "first");
    w.edit(new_text(1, Address::channel("other"), "changed"));
    w.delete(1, Address::channel("other"));
    assert_eq!(w.history("room"), ["first"]);
}

#[test]
fn private_messages_are_edited_with_each_named_user() {
    let mut w = World::new();
    for label in ["ann", "ben"] {
        w.connect(label, &["room"]);
    }
    for id in [1, 2] {
        let text = id.to_string();
        w.post(NewMessage { uuid: Some(Uuid::from_u128(id)), ..to_users(&["ann", "ben"], &text) });
    }
    w.edit(new_text(1, ann(), "changed"));
    w.delete(2, ann());
    w.delete(1, Address::users(["nobody"]));
    w.socket("ann");
    w.socket("ben");
    let want = ["~private bot: changed*", "~private edit 1: changed", "~private delete 2"];
    w.expect("ann", &want);
    w.expect("ben", &["~private bot: 1", "~private bot: 2"]);
}

#[test]
fn a_private_edit_does_not_reach_into_channels() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    w.connect("ann", &["room"]);
    w.say_as(1, "room", "first");
    w.edit(new_text(1, ann(), "changed"));
    w.delete(1, ann());
    assert_eq!(w.history("room"), ["first"]);
}

#[test]
fn without_an_address_that_exists_nothing_happens() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    for address in [Address::default(), Address::channel("nowhere"), Address::users(["nobody"])] {
        assert!(w.edit(new_text(1, address.clone(), "x")).edited.is_some(), "it is answered");
        assert_eq!(w.delete(1, address.clone()).address, address);
    }
    w.expect("ann", &[]);
    assert!(!w.info().channels.contains_key("nowhere"));
}

#[test]
fn an_edit_changes_no_stats_except_the_time_of_the_channel() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.say_as(1, "room", "first");
    w.advance(secs(1));
    w.edit(new_text(1, room(), "changed"));
    w.delete(1, room());
    let stats = w.state.admin_stats();
    assert_eq!((stats.total_messages, stats.total_unique_messages), (1, 1));
    assert_eq!(w.channel("room").last_active.to_string(), "2024-01-01T00:00:01");
}

#[test]
fn a_live_listener_keeps_what_it_was_sent() {
    let mut w = World::new();
    w.configure("room", ChannelSettings::default());
    w.join("ann", &["room"]);
    w.stall("ann");
    w.say_as(1, "room", "first");
    w.edit(new_text(1, room(), "changed"));
    w.flow("ann", 2);
    w.expect("ann", &["room bot: first", "room edit 1: changed"]);
}
