//! Channels that are deleted, and the settings that new ones get by their names.

use channelstream_core::protocol::{ChannelConfig, ChannelSettings, Connect, DeleteChannels};
use channelstream_core::state::stored::LEVEL;
use channelstream_core::state::{ChannelDefaults, Command, Pattern, Reply, Rules, State};

use crate::world::{NODE, World, announcing, hours, remembering, rules};

/// Deletes channels. Returns those that existed and those that did not.
fn delete(w: &mut World, channels: &[&str]) -> (Vec<String>, Vec<String>) {
    let request = DeleteChannels::new(channels.iter().copied());
    match w.apply(Command::DeleteChannels(request)).unwrap() {
        Reply::ChannelsDeleted(answer) => {
            let texts =
                |names: Vec<std::sync::Arc<str>>| names.iter().map(|n| n.to_string()).collect();
            (texts(answer.deleted), texts(answer.unknown))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn history_and_stored_events_go_with_a_channel() {
    let mut w = World::new();
    w.configure("room", remembering(10));
    w.join("ann", &["room", "other"]);
    w.connect("away", &["room"]);
    w.say("room", "before");
    let before = w.channel("room").uuid;

    assert_eq!(
        delete(&mut w, &["room", "nowhere", "room"]),
        (vec!["room".to_owned()], vec!["nowhere".to_owned()])
    );
    assert!(!w.info().channels.contains_key("room"));
    assert_eq!(w.channel("other").total_connections, 1);

    // A later channel of that name is empty.
    w.take("ann");
    w.configure("room", remembering(10));
    let room = w.channel("room");
    assert!(room.history.is_empty() && room.users.is_empty() && room.uuid != before);
    w.say("room", "after");
    assert!(w.take("ann").is_empty());
    w.socket("away");
    assert!(w.take("away").is_empty(), "stored events are gone");
}

#[test]
fn listeners_of_a_deleted_channel_receive_who_parts() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.configure("quiet", ChannelSettings::default());
    for user in ["ann", "ben", "cat"] {
        w.join(user, &["room", "quiet"]);
    }
    for user in ["ann", "ben", "cat"] {
        w.take(user);
    }
    delete(&mut w, &["quiet", "room"]);
    let received: Vec<_> = ["ann", "ben", "cat"].map(|user| w.take(user).len()).into();
    // Each user receives the presence of those who parted before.
    assert_eq!(received, [0, 1, 2]);
    assert_eq!(delete(&mut w, &["room"]).1, ["room"]);
}

#[test]
fn a_deleted_channel_with_many_members_sends_no_presence() {
    let mut w = World::new();
    w.configure("room", announcing());
    let names: Vec<_> = (0..101).map(|number| format!("user-{number}")).collect();
    for name in &names {
        w.connect(name, &["room"]);
    }
    w.join("last", &["room"]);
    w.take("last");
    delete(&mut w, &["room"]);
    assert!(w.take("last").is_empty());
    assert!(w.info().channels.is_empty());
}

#[test]
fn members_of_a_deleted_channel_get_the_timeout_without_channels() {
    let rules = rules();
    let mut w = World::with(rules.clone());
    w.connect("ann", &["room"]);
    delete(&mut w, &["room"]);
    let id = w.id("ann");
    w.advance(rules.connection_timeout * 2);
    assert!(w.state.knows_connection(id), "no longer the time of one in a channel");
    w.advance(rules.waiting_timeout);
    assert!(!w.state.knows_connection(id));
    // No deadline is left.
    w.advance(hours(200));
    assert!(w.state.next_deadline().is_none());
}

#[test]
fn replicas_agree_and_restore() {
    let mut w = World::new();
    w.configure("room", announcing());
    for user in ["ann", "ben"] {
        w.join(user, &["room", "other"]);
    }
    delete(&mut w, &["room"]);
    let mut replica = State::new(crate::world::rules()).at_level(LEVEL).for_node(NODE);
    for envelope in &w.log {
        replica.apply(envelope.clone());
    }
    assert_eq!(replica.snapshot(), w.state.snapshot());
    let restored = State::restore(&w.state.snapshot()).unwrap().for_node(NODE);
    assert_eq!(restored.snapshot(), w.state.snapshot());
}

fn defaults(pattern: &str, settings: ChannelConfig) -> ChannelDefaults {
    ChannelDefaults { pattern: Pattern::new(pattern), settings }
}

/// Channels `orders-*` keep 50 messages, those for tests none; all others have the usual settings.
fn by_name() -> World {
    let kept = ChannelConfig {
        store_history: Some(true),
        history_size: Some(50),
        ..ChannelConfig::default()
    };
    World::with(Rules {
        channel_defaults: vec![
            defaults("orders-test-*", ChannelConfig::default()),
            defaults("orders-*", kept),
        ],
        ..Rules::default()
    })
}

#[test]
fn new_channels_get_the_settings_of_the_first_pattern() {
    let mut w = by_name();
    w.connect("ann", &["orders-7", "orders-test-7", "order"]);
    let kept = remembering(50);
    assert_eq!(w.channel("orders-7").settings, kept);
    assert_eq!(w.channel("orders-test-7").settings, ChannelSettings::default());
    assert_eq!(w.channel("order").settings, ChannelSettings::default());
    // A channel that an empty configuration creates has them too.
    w.configure("orders-8", ChannelConfig::default());
    assert_eq!(w.channel("orders-8").settings, kept);
    // So has a channel that was deleted and is created again.
    w.configure("orders-7", ChannelSettings::default());
    delete(&mut w, &["orders-7"]);
    w.connect("ann", &["orders-7"]);
    assert_eq!(w.channel("orders-7").settings, kept);
}

#[test]
fn fields_of_a_request_override_the_defaults() {
    let mut w = by_name();
    let given = ChannelConfig { history_size: Some(5), ..ChannelConfig::default() };
    let request = Connect {
        channel_configs: [("orders-7".to_owned(), given)].into(),
        ..Connect::new("ann").channels(["orders-7"])
    };
    w.connect_with("ann", request.clone());
    assert_eq!(w.channel("orders-7").settings, remembering(5));
    // It changes nothing in a channel that exists.
    let other = ChannelConfig { history_size: Some(9), ..given };
    let request = Connect { channel_configs: [("orders-7".to_owned(), other)].into(), ..request };
    w.connect_with("ann", request);
    assert_eq!(w.channel("orders-7").settings, remembering(5));
    // A configuration sets all six: what it leaves out goes back to the default of this channel.
    w.configure("orders-7", ChannelConfig { notify_state: Some(true), ..ChannelConfig::default() });
    let settings = ChannelSettings { notify_state: true, ..remembering(50) };
    assert_eq!(w.channel("orders-7").settings, settings);
}

#[test]
fn new_rules_are_for_new_channels() {
    let mut w = World::new();
    w.connect("ann", &["orders-1"]);
    let rules =
        Rules { channel_defaults: vec![defaults("*", remembering(3).into())], ..Rules::default() };
    w.apply(Command::Rules(Box::new(rules))).unwrap();
    w.connect("ben", &["orders-2"]);
    assert_eq!(w.channel("orders-1").settings, ChannelSettings::default(), "as it was");
    assert_eq!(w.channel("orders-2").settings, remembering(3));
}
