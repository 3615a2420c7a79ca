//! Catch-up: everything that was not sent yet, once and in order, within bounds (contract §8).

use channelstream_core::protocol::{Address, ChannelSettings};
use channelstream_core::state::Closing;

use crate::world::{World, announcing, message, millis, secs, to_users};

#[test]
fn the_first_socket_receives_everything_since_the_connect() {
    let mut w = World::new();
    w.connect("zoe", &["room"]);
    w.say("room", "before");
    w.connect("ann", &["room"]);
    w.say("room", "after");
    w.socket("ann");
    w.say("room", "live");
    w.expect("ann", &["~room bot: after", "room bot: live"]);
}

#[test]
fn catch_up_sends_channels_by_name_and_private_events_last() {
    let mut w = World::new();
    w.connect("ann", &["b"]);
    w.subscribe("ann", &["a", "Z"]);
    w.post(to_users(&["ann"], "1"));
    for (channel, text) in [("b", "2"), ("a", "3"), ("b", "4"), ("Z", "5"), ("a", "6")] {
        w.say(channel, text);
    }
    w.socket("ann");
    let want = ["~Z bot: 5", "~a bot: 3", "~a bot: 6", "~b bot: 2", "~b bot: 4", "~private bot: 1"];
    w.expect("ann", &want);
}

#[test]
fn a_channel_stores_a_hundred_events_and_a_user_fifty() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    for n in 1..=103 {
        w.say("room", &n.to_string());
    }
    for n in 1..=52 {
        w.post(to_users(&["ann"], &n.to_string()));
    }
    w.socket("ann");
    let got = w.take("ann");
    assert_eq!(got.len(), 150);
    let received: Vec<_> = got.iter().map(crate::world::summary).collect();
    assert_eq!((&*received[0], &*received[99]), ("~room bot: 4", "~room bot: 103"));
    assert_eq!((&*received[100], &*received[149]), ("~private bot: 3", "~private bot: 52"));
}

#[test]
fn events_of_every_kind_are_stored() {
    let mut w = World::new();
    w.configure("room", ChannelSettings { notify_state: true, ..announcing() });
    w.connect("ann", &["room"]);
    w.connect("ben", &["room"]);
    w.set_state("ben", r#"{"a": 1}"#);
    w.say("room", "hello");
    w.edit(crate::world::new_text(9, Address::channel("room"), "gone"));
    w.delete(9, Address::channel("room"));
    w.unsubscribe("ben", &["room"]);
    w.socket("ann");
    let want = [
        "~room +ben",
        "~room ben {} []",
        "~room bot: hello",
        "~room edit 9: gone",
        "~room delete 9",
        "~room -ben",
    ];
    w.expect("ann", &want);
}

#[test]
fn a_channel_may_store_nothing() {
    let mut w = World::new();
    w.configure("room", ChannelSettings { store_frames: false, ..ChannelSettings::default() });
    w.connect("ann", &["room"]);
    w.say("room", "missed");
    w.post(to_users(&["ann"], "kept"));
    w.configure("room", ChannelSettings::default());
    w.say("room", "stored");
    w.socket("ann");
    w.expect("ann", &["~room bot: stored", "~private bot: kept"]);
}

#[test]
fn catch_up_leaves_out_events_for_other_users() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    let only = |user: &str| Address { pm_users: vec![user.to_owned()], ..Address::channel("room") };
    let without =
        |user: &str| Address { exclude_users: vec![user.to_owned()], ..Address::channel("room") };
    w.post(message(only("ben"), "for ben"));
    w.post(message(only("ann"), "for ann"));
    w.post(message(without("ann"), "without ann"));
    w.post(message(without("ben"), "without ben"));
    w.post(message(Address { exclude_users: vec!["ann".to_owned()], ..only("ann") }, "neither"));
    w.socket("ann");
    w.expect("ann", &["~room bot: for ann", "~room bot: without ben"]);
}

#[test]
fn between_polls_nothing_is_lost_or_repeated() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.poll("ann");
    w.say("room", "1");
    w.answer("ann");
    w.say("room", "2");
    w.poll("ann");
    w.say("room", "3");
    w.answer("ann");
    w.poll("ann");
    w.answer("ann");
    w.expect("ann", &["room bot: 1", "~room bot: 2", "room bot: 3"]);
}

#[test]
fn events_of_a_poll_that_broke_before_its_answer_are_caught_up() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.say("room", "1");
    w.poll("ann");
    w.say("room", "2");
    w.end("ann", Closing::Otherwise);
    w.expect("ann", &[]);
    w.say("room", "3");
    w.poll("ann");
    w.answer("ann");
    w.expect("ann", &["~room bot: 1", "~room bot: 2", "~room bot: 3"]);
}

#[test]
fn a_stalled_socket_is_caught_up_from_where_it_stopped() {
    let mut w = World::new();
    w.join("ann", &["a", "b"]);
    w.say("a", "1");
    w.stall("ann");
    for (channel, text) in [("b", "2"), ("a", "3"), ("b", "4")] {
        w.say(channel, text);
    }
    w.post(to_users(&["ann"], "5"));
    w.flow("ann", 1);
    w.close("ann");
    w.say("b", "6");
    w.socket("ann");
    let want = ["a bot: 1", "b bot: 2", "~a bot: 3", "~b bot: 4", "~b bot: 6", "~private bot: 5"];
    w.expect("ann", &want);
}

/// Oddity 21, repaired.
#[test]
fn a_socket_that_opens_again_gets_each_event_once() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.say("room", "1");
    w.close("ann");
    w.socket("ann");
    w.expect("ann", &["room bot: 1"]);
    w.close("ann");
    w.say("room", "2");
    w.advance(millis(400));
    w.socket("ann");
    w.close("ann");
    w.socket("ann");
    w.expect("ann", &["~room bot: 2"]);
}

#[test]
fn an_event_that_was_not_sent_twice_is_caught_up_once() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.stall("ann");
    w.say("room", "1");
    w.say("room", "2");
    w.close("ann");
    w.socket("ann");
    w.expect("ann", &["~room bot: 1", "~room bot: 2"]);
    w.close("ann");
    w.socket("ann");
    w.expect("ann", &[]);
}

#[test]
fn a_channel_joined_later_is_caught_up_from_the_same_number() {
    let mut w = World::new();
    w.connect("zoe", &["room"]);
    w.say("room", "before the connection");
    w.connect("ann", &[]);
    w.say("room", "before the subscription");
    w.subscribe("ann", &["room"]);
    w.socket("ann");
    w.expect("ann", &["~room bot: before the subscription"]);
}

#[test]
fn a_channel_joined_while_listening_is_not_caught_up() {
    let mut w = World::new();
    w.connect("zoe", &["room"]);
    w.join("ann", &[]);
    w.say("room", "1");
    w.subscribe("ann", &["room"]);
    w.say("room", "2");
    w.close("ann");
    w.socket("ann");
    w.expect("ann", &["room bot: 2"]);
}

#[test]
fn channels_that_were_left_are_not_caught_up() {
    let mut w = World::new();
    w.connect("ann", &["room", "other"]);
    w.say("room", "1");
    w.say("other", "2");
    w.unsubscribe("ann", &["room"]);
    w.socket("ann");
    w.expect("ann", &["~other bot: 2"]);
}

#[test]
fn a_message_that_was_deleted_meanwhile_is_not_caught_up() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.stall("ann");
    w.say_as(1, "room", "oops");
    w.close("ann");
    w.delete(1, Address::channel("room"));
    w.socket("ann");
    w.expect("ann", &["~room delete 1"]);
}

#[test]
fn messages_before_the_user_are_not_kept() {
    let mut w = World::new();
    let answered = w.post(to_users(&["ann"], "too early"));
    assert!(answered.is_some());
    w.join("ann", &[]);
    w.expect("ann", &[]);
    assert_eq!(w.state.admin_stats().total_messages, 0);
}

#[test]
fn a_connection_receives_nothing_older_than_itself() {
    let mut w = World::new();
    w.connect("ann/1", &["room"]);
    w.advance(secs(20));
    assert!(!w.knows("ann/1"));
    w.post(to_users(&["ann"], "while you were out"));
    w.join("ann/2", &["room"]);
    w.expect("ann/2", &[]);
}
