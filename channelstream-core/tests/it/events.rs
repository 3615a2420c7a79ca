//! The exact form of each event on the wire, live and caught up (contract §7).

use channelstream_core::protocol::{
    Address, Bounds, ChannelSettings, Connect, DateTime, Edit, NewMessage, Uuid, parse,
    read_messages,
};
use serde_json::{Value, json};

use crate::world::{World, announcing, new_text, secs, to, user_state};

const ID: &str = "00000000-0000-0000-0000-000000000007";

/// The events that ann received, as JSON. Random ids are replaced.
fn got(w: &mut World) -> Vec<Value> {
    let got = w.take("ann");
    got.iter()
        .map(|got| {
            let mut value: Value = serde_json::from_str(&got.event.encode(got.catchup)).unwrap();
            if value["uuid"] != ID {
                assert!(value["uuid"].as_str().unwrap().parse::<Uuid>().is_ok());
                value["uuid"] = "made up".into();
            }
            value
        })
        .collect()
}

/// The events of `happen` as ann receives them live, and as catch-up.
fn both_ways(settings: ChannelSettings, happen: impl Fn(&mut World)) -> [Vec<Value>; 2] {
    [true, false].map(|live| {
        let mut w = World::new();
        w.configure("room", settings);
        w.connect("ann", &["room"]);
        if live {
            w.socket("ann");
        }
        happen(&mut w);
        if !live {
            w.socket("ann");
        }
        got(&mut w)
    })
}

/// Asserts that `live` is received live, and the same with a true `catchup` as catch-up.
#[track_caller]
fn assert_both(both: &[Vec<Value>; 2], live: &[Value]) {
    assert_eq!(both[0], live);
    let mut after = live.to_vec();
    for event in &mut after {
        event["catchup"] = true.into();
    }
    assert_eq!(both[1], after);
}

#[test]
fn messages() {
    let both = both_ways(ChannelSettings::default(), |w| {
        w.say_as(7, "room", "hello");
        w.post(NewMessage::new("bot", Address::channel("room")));
        w.post(NewMessage {
            no_history: true,
            timestamp: DateTime::parse("2020-02-03 4:05Z"),
            ..NewMessage::new("bot", Address::users(["ann"]))
        });
    });
    let want = [
        json!({"uuid": ID, "type": "message", "user": "bot", "channel": "room",
            "message": {"text": "hello"}, "timestamp": "2024-01-01T00:00:00", "edited": null,
            "catchup": false}),
        json!({"uuid": "made up", "type": "message", "user": "bot", "channel": "room",
            "timestamp": "2024-01-01T00:00:00", "edited": null, "catchup": false}),
        json!({"uuid": "made up", "type": "message", "user": "bot", "channel": null,
            "timestamp": "2020-02-03T04:05:00Z", "edited": null, "catchup": false}),
    ];
    assert_both(&both, &want);
}

#[test]
fn edits_and_deletes() {
    let both = both_ways(ChannelSettings::default(), |w| {
        w.edit(Edit::new(Uuid::from_u128(7), Address::channel("room")));
        w.edit(Edit {
            user: Some("else".to_owned()),
            timestamp: DateTime::parse("2020-02-03T04:05+01:00"),
            edited: DateTime::parse("2020-02-03T04:06:07.5Z"),
            ..new_text(7, Address::users(["ann"]), "new")
        });
        w.delete(7, Address::users(["ann"]));
    });
    let want = [
        json!({"uuid": ID, "type": "message:edit", "channel": "room",
            "edited": "2024-01-01T00:00:00"}),
        json!({"uuid": ID, "type": "message:edit", "channel": null, "user": "else",
            "message": {"text": "new"}, "timestamp": "2020-02-03T04:05:00+01:00",
            "edited": "2020-02-03T04:06:07.500000Z"}),
        json!({"uuid": ID, "type": "message:delete", "channel": null}),
    ];
    assert_both(&both, &want);
}

#[test]
fn a_message_that_was_edited_before_catch_up_says_so() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.say_as(7, "room", "hello");
    w.advance(secs(1));
    w.edit(new_text(7, Address::channel("room"), "bye"));
    w.socket("ann");
    let want = json!({"uuid": ID, "type": "message", "user": "bot", "channel": "room",
        "message": {"text": "bye"}, "timestamp": "2024-01-01T00:00:00",
        "edited": "2024-01-01T00:00:01", "catchup": true});
    assert_eq!(got(&mut w)[0], want);
}

#[test]
fn presence() {
    let settings = ChannelSettings { broadcast_presence_with_user_lists: true, ..announcing() };
    let both = both_ways(settings, |w| {
        w.connect_with(
            "ben",
            Connect {
                user_state: user_state(r#"{"a": 1, "b": 2}"#),
                state_public_keys: vec!["a".to_owned()],
                ..Connect::new("ben").channels(["room"])
            },
        );
        w.unsubscribe("ben", &["room"]);
    });
    let want = [
        json!({"uuid": "made up", "type": "presence", "user": "ben", "channel": "room",
            "timestamp": "2024-01-01T00:00:00", "catchup": false, "message": {"action": "joined"},
            "users": [{"user": "ann", "state": {}}, {"user": "ben", "state": {"a": 1}}],
            "state": {"a": 1}}),
        json!({"uuid": "made up", "type": "presence", "user": "ben", "channel": "room",
            "timestamp": "2024-01-01T00:00:00", "catchup": false, "message": {"action": "parted"},
            "users": [{"user": "ann", "state": {}}], "state": null}),
    ];
    assert_both(&both, &want);
}

#[test]
fn presence_without_lists() {
    let both = both_ways(announcing(), |w| {
        w.connect("ben", &["room"]);
    });
    let want = json!({"uuid": "made up", "type": "presence", "user": "ben", "channel": "room",
        "timestamp": "2024-01-01T00:00:00", "catchup": false, "message": {"action": "joined"},
        "users": [], "state": {}});
    assert_both(&both, &[want]);
}

#[test]
fn state_changes() {
    let settings = ChannelSettings { notify_state: true, ..ChannelSettings::default() };
    let both = both_ways(settings, |w| {
        w.connect_with(
            "ben",
            Connect {
                state_public_keys: vec!["a".to_owned()],
                ..Connect::new("ben").channels(["room"])
            },
        );
        w.set_state("ben", r#"{"a": 1, "b": 2}"#);
    });
    let want = json!({"uuid": "made up", "type": "user_state_change", "user": "ben",
        "channel": "room", "timestamp": "2024-01-01T00:00:00", "catchup": false,
        "message": {"state": {"a": 1}, "changed": [{"key": "a", "value": 1}]}});
    assert_both(&both, &[want]);
}

#[test]
fn addresses_and_history_flags_are_never_shown() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    let address = Address {
        pm_users: vec!["ann".to_owned()],
        exclude_users: vec!["ben".to_owned()],
        ..Address::channel("room")
    };
    w.post(NewMessage { no_history: true, address: address.clone(), ..to("room", "x") });
    w.edit(Edit { no_history: true, ..new_text(7, address.clone(), "x") });
    w.delete(7, address);
    let got = got(&mut w);
    assert_eq!(got.len(), 3);
    for event in got {
        for hidden in ["no_history", "pm_users", "exclude_users"] {
            assert!(event.get(hidden).is_none(), "{event}");
        }
    }
}

#[test]
fn payloads_travel_exactly_as_they_were_sent() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    let sent = r#"{"n":1.10,"big":123456789012345678901234567890,"n":2,"e":"\u00e9"}"#;
    let body = format!(r#"[{{"user": "bot", "channel": "room", "message": {sent}}}]"#);
    let body = parse(body.as_bytes(), Bounds::default()).unwrap();
    let messages = read_messages(&body).unwrap();
    w.apply(channelstream_core::state::Command::Publish(messages)).unwrap();
    let event = w.take("ann").pop().unwrap().event.encode(false);
    assert!(event.contains(sent), "{event}");
}
