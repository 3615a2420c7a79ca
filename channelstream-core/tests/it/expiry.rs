//! Expiry: idle connections, absent users, empty channels (contract §9, §13).

use channelstream_core::state::Rules;

use crate::world::{End, World, announcing, hours, millis, remembering, rules, secs};

#[test]
fn a_connection_in_a_channel_ends_after_15_seconds_without_a_listener() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.advance(millis(14_999));
    assert!(w.knows("ann"));
    w.advance(millis(1));
    assert!(!w.knows("ann"));
    assert!(w.channel("room").users.is_empty());
    assert_eq!(w.channel("room").total_connections, 0);
}

#[test]
fn messages_do_not_keep_a_connection_without_a_listener() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    for _ in 0..16 {
        w.advance(secs(1));
        w.say("room", "tick");
    }
    assert!(!w.knows("ann"));
}

/// Oddity 18 of the reference is repaired.
#[test]
fn a_connection_without_channels_waits_five_minutes() {
    let mut w = World::new();
    w.connect("ann", &[]);
    w.advance(millis(299_999));
    assert!(w.knows("ann"));
    w.advance(millis(1));
    assert!(!w.knows("ann"));
}

#[test]
fn a_connection_that_waited_long_has_time_to_open_a_socket_after_joining() {
    let mut w = World::new();
    w.connect("ann", &[]);
    w.connect("ben", &[]);
    w.advance(secs(200));
    w.subscribe("ann", &["room"]);
    w.subscribe("ben", &["room"]);
    w.advance(millis(400));
    w.socket("ann");
    w.advance(millis(200));
    assert!(w.knows("ann") && !w.knows("ben"));
}

#[test]
fn a_connection_that_left_its_last_channel_gets_the_timeout_without_channels() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.advance(secs(10));
    w.unsubscribe("ann", &["room"]);
    w.advance(secs(289));
    assert!(w.knows("ann"));
    w.advance(secs(1));
    assert!(!w.knows("ann"));
}

#[test]
fn a_user_is_removed_a_day_after_the_last_connection() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.set_state("ann", r#"{"a": 1}"#);
    w.advance(hours(48));
    assert!(w.state.knows_user("ann"), "connected users are not removed");
    w.close("ann");
    w.advance(millis(500));
    w.advance(millis(24 * 3_600_000 - 1));
    assert!(w.state.knows_user("ann"));
    w.advance(millis(1));
    assert!(!w.state.knows_user("ann"));
    assert_eq!(w.connect("ann", &[]).state.len(), 0, "and has a new state");
}

#[test]
fn a_user_who_comes_back_within_the_day_keeps_the_state() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.set_state("ann", r#"{"a": 1}"#);
    w.close("ann");
    w.advance(hours(23));
    assert_eq!(w.connect("ann", &["room"]).state.len(), 1);
    w.advance(hours(23));
    w.set_state("ann", r#"{"b": 1}"#);
    w.advance(hours(23));
    assert!(w.state.knows_user("ann"), "setting state is activity of a user");
    w.advance(hours(2));
    assert!(!w.state.knows_user("ann"));
}

/// Oddity 19 of the reference is repaired.
#[test]
fn a_channel_is_removed_72_hours_after_the_last_member() {
    let mut w = World::new();
    w.configure("room", remembering(5));
    w.say("room", "hello");
    w.join("ann", &["room"]);
    w.advance(hours(100));
    assert_eq!(w.history("room"), ["hello"], "channels with members stay");
    w.unsubscribe("ann", &["room"]);
    w.advance(millis(72 * 3_600_000 - 1));
    assert_eq!(w.history("room"), ["hello"]);
    w.advance(millis(1));
    assert!(!w.info().channels.contains_key("room"));
}

#[test]
fn a_channel_that_never_had_members_goes_as_well() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.advance(hours(71));
    w.say("room", "anybody?");
    w.advance(hours(71));
    assert!(w.info().channels.contains_key("room"), "a message is activity");
    w.advance(hours(1));
    assert!(w.info().channels.is_empty());
}

#[test]
fn a_member_who_comes_back_keeps_a_channel() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    let uuid = w.channel("room").uuid;
    w.advance(hours(71));
    w.join("ben", &["room"]);
    w.advance(hours(200));
    assert_eq!(w.channel("room").uuid, uuid);
    w.close("ben");
    w.advance(hours(71));
    assert_eq!(w.channel("room").uuid, uuid);
}

#[test]
fn a_channel_that_is_created_again_has_another_id() {
    let mut w = World::new();
    w.configure("room", remembering(5));
    let uuid = w.channel("room").uuid;
    w.advance(hours(73));
    w.connect("ann", &["room"]);
    assert_ne!(w.channel("room").uuid, uuid);
    assert!(!w.channel("room").settings.store_history);
}

#[test]
fn deadlines_pass_before_a_late_command() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.join("zoe", &["room"]);
    w.connect("ann", &["room"]);
    w.take("zoe");
    w.jump(hours(30));
    w.say("room", "late");
    w.expect("zoe", &["room -ann", "room bot: late"]);
    w.jump(hours(30));
    let again = w.connect("ann", &["room"]);
    assert!(again.state.is_empty());
    w.expect("zoe", &["room +ann"]);
}

#[test]
fn an_end_reaches_the_listener_after_what_was_sent_before() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    w.stall("ann");
    w.say("room", "1");
    w.disconnect("ann");
    w.advance(secs(1));
    assert_eq!(w.end_of("ann"), Some(End::Ended));
    assert!(!w.knows("ann"));
}

#[test]
fn there_is_no_deadline_while_everybody_listens() {
    let mut w = World::new();
    assert_eq!(w.state.next_deadline(), None);
    w.join("ann", &["room"]);
    assert_eq!(w.state.next_deadline(), None);
    w.close("ann");
    assert_eq!(w.state.next_deadline(), Some(w.now.after(millis(500))));
}

#[test]
fn a_connection_that_left_its_last_channel_late_has_time_to_join_another() {
    let mut w = World::with(Rules { connection_timeout: secs(600), ..rules() });
    w.connect("ann", &["a"]);
    w.connect("ben", &["a"]);
    w.advance(secs(400));
    w.unsubscribe("ann", &["a"]);
    w.unsubscribe("ben", &["a"]);
    w.advance(millis(400));
    w.subscribe("ann", &["b"]);
    w.advance(millis(200));
    assert!(w.knows("ann") && !w.knows("ben"));
}
