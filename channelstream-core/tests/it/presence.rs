//! Presence: which listeners receive it, when, and with which list (contract §7, §8).

use channelstream_core::protocol::{ChannelSettings, Connect};
use channelstream_core::state::Closing;

use crate::world::{World, announcing, json, millis, secs, user_state};

fn listing() -> ChannelSettings {
    ChannelSettings { broadcast_presence_with_user_lists: true, ..announcing() }
}

#[test]
fn only_channels_with_notify_presence_send_presence() {
    let mut w = World::new();
    w.configure("loud", announcing());
    w.join("zoe", &["loud", "quiet"]);
    w.connect("ann", &["loud", "quiet"]);
    w.expect("zoe", &["loud +ann"]);
    w.unsubscribe("ann", &["quiet", "loud"]);
    w.expect("zoe", &["loud -ann"]);
}

#[test]
fn the_first_connection_joins_and_the_last_one_parts() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.join("zoe", &["room"]);
    w.connect("ann/1", &["room"]);
    w.connect("ann/2", &["room"]);
    w.expect("zoe", &["room +ann"]);
    w.unsubscribe("ann/1", &["room"]);
    w.expect("zoe", &[]);
    w.unsubscribe("ann/2", &["room"]);
    w.expect("zoe", &["room -ann"]);
}

#[test]
fn no_connection_receives_the_presence_of_its_own_user() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.join("ann/1", &["room"]);
    w.join("ann/2", &[]);
    w.subscribe("ann/2", &["room"]);
    w.unsubscribe("ann/1", &["room"]);
    w.unsubscribe("ann/2", &["room"]);
    w.subscribe("ann/2", &["room"]);
    w.expect("ann/1", &[]);
    w.expect("ann/2", &[]);
}

#[test]
fn catch_up_contains_the_presence_of_others_only() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.connect("ann", &["room"]);
    w.connect("ben", &["room"]);
    w.unsubscribe("ann", &["room"]);
    w.subscribe("ann", &["room"]);
    w.socket("ann");
    w.expect("ann", &["~room +ben"]);
    w.socket("ben");
    w.expect("ben", &["~room -ann", "~room +ann"]);
}

#[test]
fn lists_contain_a_user_who_joins_but_not_one_who_parts() {
    let mut w = World::new();
    w.configure("room", listing());
    w.join("zoe", &["room"]);
    w.connect("ann", &["room"]);
    w.connect("ben", &["room"]);
    w.unsubscribe("ann", &["room"]);
    w.expect("zoe", &["room +ann [ann zoe]", "room +ben [ann ben zoe]", "room -ann [ben zoe]"]);
}

#[test]
fn events_carry_public_state_only() {
    let mut w = World::new();
    w.configure("room", listing());
    w.join("zoe", &["room"]);
    w.connect_with(
        "ann",
        Connect {
            user_state: user_state(r#"{"open": 1, "closed": 2}"#),
            state_public_keys: vec!["open".to_owned()],
            ..Connect::new("ann").channels(["room"])
        },
    );
    let joined = w.take("zoe").pop().unwrap();
    let event = joined.event.encode(false);
    assert!(event.contains(r#""state":{"open":1}"#), "{event}");
    assert!(event.contains(r#"{"user":"ann","state":{"open":1}}"#), "{event}");
    assert!(!event.contains("closed"), "{event}");
    w.unsubscribe("ann", &["room"]);
    let parted = w.take("zoe").pop().unwrap().event.encode(false);
    assert!(parted.contains(r#""state":null"#), "{parted}");
}

#[test]
fn connecting_joins_in_order_of_name_and_subscribing_in_the_order_given() {
    let mut w = World::new();
    for channel in ["b", "c", "a"] {
        w.configure(channel, announcing());
    }
    w.join("zoe", &["a", "b", "c"]);
    w.connect("ann", &["c", "b", "a"]);
    w.expect("zoe", &["a +ann", "b +ann", "c +ann"]);
    w.unsubscribe("ann", &["c", "a", "b"]);
    w.expect("zoe", &["c -ann", "a -ann", "b -ann"]);
    w.subscribe("ann", &["b", "a", "c"]);
    w.expect("zoe", &["b +ann", "a +ann", "c +ann"]);
}

#[test]
fn reaped_connections_part_in_order_of_creation() {
    let mut w = World::new();
    for channel in ["b", "c", "a"] {
        w.configure(channel, announcing());
    }
    w.join("zoe", &["a", "b", "c"]);
    w.connect("ann", &["a", "b", "c"]);
    w.take("zoe");
    w.advance(secs(16));
    w.expect("zoe", &["b -ann", "c -ann", "a -ann"]);
}

/// Oddity 30 of the reference is repaired.
#[test]
fn only_users_who_joined_part() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.join("zoe", &["room"]);
    w.connect("ann", &["other"]);
    assert!(w.unsubscribe("ann", &["room", "nowhere"]).unsubscribed_from.is_empty());
    w.unsubscribe("ann", &["other"]);
    w.unsubscribe("ann", &["other"]);
    w.expect("zoe", &[]);
    assert!(!w.info().channels.contains_key("nowhere"));
}

#[test]
fn the_settings_at_the_time_of_the_event_apply() {
    let mut w = World::new();
    w.join("zoe", &["room"]);
    w.connect("ann", &["room"]);
    w.configure("room", announcing());
    w.connect("ben", &["room"]);
    w.unsubscribe("ann", &["room"]);
    w.configure("room", ChannelSettings::default());
    w.unsubscribe("ben", &["room"]);
    w.expect("zoe", &["room +ben", "room -ann"]);
}

#[test]
fn a_page_that_reloads_causes_no_presence() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.join("zoe", &["room"]);
    w.join("ann", &["room"]);
    w.take("zoe");
    w.close("ann");
    w.advance(millis(400));
    w.socket("ann");
    w.advance(secs(60));
    w.expect("zoe", &[]);
    w.close("ann");
    w.advance(millis(600));
    w.expect("zoe", &["room -ann"]);
}

#[test]
fn a_second_connection_keeps_the_user_present() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.join("zoe", &["room"]);
    w.join("ann/1", &["room"]);
    w.close("ann/1");
    w.join("ann/2", &["room"]);
    w.advance(secs(5));
    w.expect("zoe", &["room +ann"]);
    assert!(!w.knows("ann/1"));
    w.end("ann/2", Closing::Otherwise);
    w.advance(secs(14));
    w.expect("zoe", &[]);
    w.advance(secs(2));
    w.expect("zoe", &["room -ann"]);
}

#[test]
fn several_connections_of_a_user_expire_together_and_part_once() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.join("zoe", &["room"]);
    for label in ["ann/1", "ann/2", "ann/3"] {
        w.connect(label, &["room"]);
    }
    w.advance(millis(15_001));
    w.expect("zoe", &["room +ann", "room -ann"]);
    assert_eq!(json(&w.channel("room").users), r#"["zoe"]"#);
    assert_eq!(w.channel("room").total_connections, 1);
}
