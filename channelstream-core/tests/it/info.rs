//! Channel information and the admin stats (contract §4, §10).

use channelstream_core::protocol::{Connect, InfoOptions, Uuid};

use crate::world::{World, json, remembering, secs, to_users, user_state};

/// ann and ben are in a, ben is in b, nobody is in c. One key of ann's state is public.
fn three_channels() -> World {
    let mut w = World::new();
    w.configure("c", remembering(5));
    w.say("c", "hello");
    w.connect_with(
        "ann",
        Connect {
            user_state: user_state(r#"{"open": 1, "closed": 2}"#),
            state_public_keys: vec!["open".to_owned()],
            ..Connect::new("ann").channels(["a"])
        },
    );
    w.connect("ben/1", &["b", "a"]);
    w.connect("ben/2", &["a"]);
    w
}

#[test]
fn all_channels_with_everything_by_default() {
    let w = three_channels();
    let info = w.info();
    assert_eq!(info.channels.len(), 3);
    let a = &info.channels["a"];
    assert_eq!(json(&a.users), r#"["ann","ben"]"#);
    assert_eq!((a.total_users, a.total_connections), (2, 3));
    assert_eq!(json(&a.long_name), "null");
    assert_eq!(info.channels["c"].history.len(), 1);
    let mut users: Vec<_> = info.users.iter().map(json).collect();
    users.sort();
    let want = [r#"{"user":"ann","state":{"open":1,"closed":2}}"#, r#"{"user":"ben","state":{}}"#];
    assert_eq!(users, want);
}

#[test]
fn named_channels_once_each_and_unknown_ones_left_out() {
    let w = three_channels();
    let ask = |names: &[&str]| {
        let channels = Some(names.iter().map(|name| (*name).to_owned()).collect());
        w.state.info(&InfoOptions { channels, ..InfoOptions::default() })
    };
    let info = ask(&["b", "nowhere", "b"]);
    assert_eq!(info.channels.len(), 1);
    assert_eq!(json(&info.users), r#"[{"user":"ben","state":{}}]"#);
    assert_eq!(json(&ask(&[])), r#"{"channels":{},"users":[]}"#);
}

#[test]
fn options_leave_things_out() {
    let w = three_channels();
    let info = w.state.info(&InfoOptions {
        include_history: false,
        include_users: false,
        exclude_channels: vec!["b".to_owned()],
        ..InfoOptions::default()
    });
    assert_eq!(info.channels.len(), 2);
    assert!(info.users.is_empty() && info.channels["c"].history.is_empty());
    let a = &info.channels["a"];
    assert_eq!((a.users.len(), a.total_users, a.total_connections), (0, 0, 3));
    let info = w
        .state
        .info(&InfoOptions { exclude_channels: vec!["a".to_owned()], ..InfoOptions::default() });
    assert_eq!(json(&info.users), r#"[{"user":"ben","state":{}}]"#, "users of shown channels");
}

#[test]
fn lengths_of_histories_only_if_requested() {
    let w = three_channels();
    let ask = |include_history_length| {
        let options = InfoOptions { include_history_length, ..InfoOptions::default() };
        w.state.info(&InfoOptions { include_history: false, ..options })
    };
    assert!(!json(&ask(false)).contains("history_length"));
    let whole = w.state.info(&InfoOptions::default());
    for (name, channel) in ask(true).channels {
        let length = whole.channels[&name].history.len();
        assert_eq!((channel.history.len(), channel.history_length), (0, Some(length)), "{name}");
    }
}

#[test]
fn only_the_public_state_if_requested() {
    let w = three_channels();
    let info = w.state.info(&InfoOptions { return_public_state: true, ..InfoOptions::default() });
    let text = json(&info);
    assert!(text.contains(r#"{"user":"ann","state":{"open":1}}"#) && !text.contains("closed"));
}

#[test]
fn last_active_moves_with_messages_and_events() {
    let mut w = three_channels();
    w.advance(secs(1));
    w.say("a", "hello");
    assert_eq!(w.channel("a").last_active.to_string(), "2024-01-01T00:00:01");
    assert_eq!(w.channel("b").last_active.to_string(), "2024-01-01T00:00:00");
}

#[test]
fn stats_count_users_connections_channels_and_messages() {
    let mut w = three_channels();
    w.say("a", "hello");
    w.post(to_users(&["ben"], "psst"));
    w.connect("cat", &[]);
    w.disconnect("cat");
    w.advance(secs(1));
    let stats = w.state.admin_stats();
    assert_eq!(stats.remembered_user_count, 3);
    assert_eq!(stats.unique_user_count, 2);
    assert_eq!(stats.total_connections, 3);
    assert_eq!(stats.total_channels, 3);
    assert_eq!((stats.total_messages, stats.total_unique_messages), (3 + 2, 3));
    assert_eq!(stats.channels["c"].history.len(), 1);
    let ann = stats.users.iter().find(|user| &*user.user == "ann").unwrap();
    assert_eq!(json(&ann.state), r#"{"open":1}"#);
    assert_eq!(ann.connections, [Uuid::from(w.id("ann"))]);
    let ben = stats.users.iter().find(|user| &*user.user == "ben").unwrap();
    assert_eq!(ben.connections.len(), 2);
}
