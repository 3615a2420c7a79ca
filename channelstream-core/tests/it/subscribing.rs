//! `/subscribe`, `/unsubscribe` and `/channel_config`: what they do and answer (contract §5).

use channelstream_core::protocol::{ChannelSettings, Configure, InfoOptions, Subscribe};
use channelstream_core::state::{Command, Refusal};

use crate::world::{World, announcing, json, millis, remembering, secs};

#[test]
fn subscribing_answers_all_channels_and_which_are_new() {
    let mut w = World::new();
    w.connect("ann", &["m"]);
    let answer = w.subscribe("ann", &["z", "a", "m", "a"]);
    assert_eq!(json(&answer.channels), r#"["a","m","z"]"#);
    assert_eq!(json(&answer.subscribed_to), r#"["a","z"]"#);
    let shown: Vec<_> = answer.channels_info.channels.keys().map(|name| &**name).collect();
    assert_eq!(shown, ["a", "m", "z"]);
    assert_eq!(json(&answer.channels_info.users), r#"[{"user":"ann","state":{}}]"#);
}

#[test]
fn unsubscribing_answers_what_is_left_and_what_was_left() {
    let mut w = World::new();
    w.connect("ann", &["a", "b", "c"]);
    w.connect("ben", &["d"]);
    let answer = w.unsubscribe("ann", &["c", "nowhere", "d", "a", "c"]);
    assert_eq!(json(&answer.channels), r#"["b"]"#);
    assert_eq!(json(&answer.unsubscribed_from), r#"["a","c"]"#);
    assert_eq!(answer.channels_info.channels.len(), 1);
    assert!(!w.info().channels.contains_key("nowhere"));
}

#[test]
fn a_new_channel_gets_its_settings() {
    let mut w = World::new();
    w.connect("ann", &["old"]);
    let id = w.id("ann");
    let configs = [("old", announcing()), ("new", remembering(4))];
    let configs = configs.map(|(name, settings)| (name.to_owned(), settings.into()));
    w.try_subscribe(Subscribe {
        channel_configs: configs.into(),
        info: InfoOptions { include_users: false, ..InfoOptions::default() },
        ..Subscribe::new(id, ["old", "new"])
    })
    .unwrap();
    assert_eq!(w.channel("old").settings, ChannelSettings::default());
    assert_eq!(w.channel("new").settings, remembering(4));
}

#[test]
fn unknown_connections_are_refused() {
    let mut w = World::new();
    let id = w.id("nobody");
    let refused = w.try_subscribe(Subscribe::new(id, ["a"])).unwrap_err();
    assert_eq!(refused, Refusal::UnknownConnection);
    assert_eq!(json(&refused.field_errors()), r#"{"conn_id":["Unknown connection"]}"#);
    assert!(w.info().channels.is_empty(), "and nothing was created");
    let request = channelstream_core::protocol::Unsubscribe::new(id, ["a"]);
    assert_eq!(w.try_unsubscribe(request).unwrap_err(), Refusal::UnknownConnection);
}

#[test]
fn subscribing_is_no_activity() {
    let mut w = World::new();
    w.connect("ann", &["a"]);
    w.advance(secs(14));
    w.subscribe("ann", &["b"]);
    w.unsubscribe("ann", &["b"]);
    w.advance(millis(1_001));
    assert!(!w.knows("ann"));
}

/// Oddity 33 of the reference is kept.
#[test]
fn configuring_resets_what_is_not_mentioned() {
    let mut w = World::new();
    w.configure("room", ChannelSettings { notify_presence: true, ..remembering(3) });
    let info =
        w.configure("room", ChannelSettings { notify_state: true, ..ChannelSettings::default() });
    let settings = ChannelSettings { notify_state: true, ..ChannelSettings::default() };
    assert_eq!(info.channels["room"].settings, settings);
    assert_eq!(w.channel("room").settings, settings);
}

#[test]
fn configuring_answers_without_history_and_users() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.configure("room", remembering(3));
    w.say("room", "hello");
    let info = w.configure("room", remembering(3));
    let view = &info.channels["room"];
    assert!(view.history.is_empty() && view.users.is_empty() && info.users.is_empty());
    assert_eq!((view.total_users, view.total_connections), (0, 1));
    assert_eq!(w.history("room"), ["hello"]);
}

#[test]
fn null_settings_create_a_channel_and_do_not_change_an_existing_one() {
    let mut w = World::new();
    w.configure("old", remembering(3));
    let channels = ["old", "new"].map(|name| (name.to_owned(), None)).into_iter().collect();
    w.apply(Command::Configure(Configure { channels })).unwrap();
    assert_eq!(w.channel("old").settings, remembering(3));
    assert_eq!(w.channel("new").settings, ChannelSettings::default());
}
