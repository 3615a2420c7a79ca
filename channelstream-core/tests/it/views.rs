//! Views for the admin area: windows of lists, one channel, one user (not part of the contract).

use channelstream_core::protocol::{ChannelSettings, Connect};
use channelstream_core::state::{Keep, ListenerKind, RowOrder, Rules, UserRow, Window, Windowed};

use crate::world::{World, json, remembering, rules, secs, user_state};

fn window(search: &str, order: RowOrder, offset: usize, limit: usize) -> Window {
    Window { search: search.to_owned(), order, offset, limit }
}

fn names(w: &World, wanted: &Window) -> Vec<String> {
    w.state.list_channels(wanted).rows.iter().map(|row| row.name.to_string()).collect()
}

#[test]
fn windows_of_channels_together_are_the_whole_list_in_order() {
    let mut w = World::new();
    for number in 0..100 {
        // Neither the order of creation nor the number of connections follows the names.
        let name = format!("room-{:02}", (number * 37) % 100);
        w.connect(&format!("user{}/{number}", number % 7), &[&name]);
        for more in 0..number % 5 {
            w.connect(&format!("more{more}/{number}"), &[&name]);
        }
    }
    for order in [RowOrder::Name, RowOrder::Connections, RowOrder::Active] {
        let whole = names(&w, &window("", order, 0, 1000));
        assert_eq!(whole.len(), 100);
        for size in [1, 7, 30, 99, 100] {
            let parts: Vec<String> = (0..100)
                .step_by(size)
                .flat_map(|offset| names(&w, &window("", order, offset, size)))
                .collect();
            assert_eq!(parts, whole, "{order:?} by {size}");
        }
    }
    let by_name = names(&w, &window("", RowOrder::Name, 0, 3));
    assert_eq!(by_name, ["room-00", "room-01", "room-02"]);
    let busy = w.state.list_channels(&window("", RowOrder::Connections, 0, 100)).rows;
    assert!(busy.is_sorted_by(|a, b| {
        (b.connections, &a.name) <= (a.connections, &b.name) || a.connections > b.connections
    }));
    assert_eq!((busy[0].connections, busy[99].connections), (5, 1));
}

#[test]
fn a_search_ignores_case_and_a_window_beyond_the_end_is_empty() {
    let mut w = World::new();
    for name in ["Über", "news", "NEWSROOM", "old"] {
        w.connect("ann", &[name]);
    }
    let found = w.state.list_channels(&window("news", RowOrder::Name, 0, 10));
    assert_eq!((found.total, found.found, found.rows.len()), (4, 2, 2));
    assert_eq!(names(&w, &window("üBER", RowOrder::Name, 0, 10)), ["Über"]);
    let beyond = w.state.list_channels(&window("", RowOrder::Name, 9, 10));
    assert_eq!((beyond.found, beyond.offset, beyond.rows.len()), (4, 4, 0));
    assert!(names(&w, &window("", RowOrder::Name, 0, 0)).is_empty());
    let most = window("", RowOrder::Name, 1, usize::MAX);
    assert_eq!(names(&w, &most).len(), 3);
    assert!(names(&World::new(), &window("", RowOrder::Name, 0, 10)).is_empty());
}

#[test]
fn channels_by_activity() {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.connect("ann", &[name]);
        w.advance(secs(1));
    }
    w.say("a", "hello");
    assert_eq!(names(&w, &window("", RowOrder::Active, 0, 10)), ["a", "c", "b"]);
}

#[test]
fn users_connected_or_remembered_and_members() {
    let mut w = World::new();
    w.connect("ann", &["a"]);
    w.connect("ben/1", &["a", "b"]);
    w.connect("ben/2", &["b"]);
    w.connect("cat", &["b"]);
    w.disconnect("cat");
    w.advance(secs(1));
    let all = window("", RowOrder::Connections, 0, 10);
    let pairs = |list: Windowed<UserRow>| -> Vec<(String, usize)> {
        list.rows.into_iter().map(|row| (row.name.to_string(), row.connections)).collect()
    };
    let pair = |name: &str, connections| (name.to_owned(), connections);
    let users = |connected| pairs(w.state.list_users(&all, connected));
    assert_eq!(users(true), [pair("ben", 2), pair("ann", 1)]);
    assert_eq!(users(false), [pair("ben", 2), pair("ann", 1), pair("cat", 0)]);
    let members = |channel| w.state.list_members(channel, &all).map(pairs);
    assert_eq!(members("a"), Some(vec![pair("ann", 1), pair("ben", 1)]));
    assert_eq!(members("b"), Some(vec![pair("ben", 2)]));
    assert_eq!(members("nowhere"), None);
    let counts = w.state.counts();
    assert_eq!((counts.users, counts.users_connected, counts.connections), (3, 2, 3));
    assert_eq!((counts.channels, counts.posted, counts.delivered), (2, 0, 0));
}

#[test]
fn one_channel_and_its_history_newest_first() {
    let mut w = World::new();
    w.configure("a", remembering(3));
    w.connect("ann", &["a"]);
    for text in ["1", "2", "3", "4"] {
        w.say("a", text);
    }
    let facts = w.state.channel_details("a").unwrap();
    assert_eq!((facts.history, facts.stored_events), (3, 4));
    assert_eq!((facts.row.users, facts.row.connections), (1, 1));
    assert_eq!(facts.settings.history_size, 3);
    let newest = w.state.newest_history("a", 2);
    let texts: Vec<_> = newest.iter().map(|message| json(&message.payload)).collect();
    assert!(texts[0].contains('4') && texts[1].contains('3') && texts.len() == 2, "{texts:?}");
    assert!(w.state.channel_details("b").is_none() && w.state.newest_history("b", 2).is_empty());
}

#[test]
fn events_of_a_channel_since_a_number_and_whether_some_are_missing() {
    let mut w =
        World::with(Rules { channel_events: Keep { events: 4, bytes: usize::MAX }, ..rules() });
    w.connect("ann", &["a"]);
    let since = w.state.sequence();
    let events = |w: &World, after, limit| {
        let events = w.state.events_after("a", after, limit);
        (events.events.iter().map(|(number, _)| *number).collect::<Vec<_>>(), events.gap)
    };
    assert_eq!(events(&w, since, 10), (vec![], false));
    w.say("a", "1");
    w.say("a", "2");
    assert_eq!(events(&w, since, 10), (vec![since + 1, since + 2], false));
    assert_eq!(events(&w, since + 1, 10), (vec![since + 2], false));
    assert_eq!(events(&w, since, 1), (vec![since + 2], true));
    for text in ["3", "4", "5"] {
        w.say("a", text);
    }
    assert_eq!(events(&w, since, 10), ((since + 2..=since + 5).collect(), true));
    assert_eq!(events(&w, since + 2, 10), ((since + 3..=since + 5).collect(), false));
    assert_eq!(events(&w, since + 5, 10), (vec![], false));
    w.configure("b", ChannelSettings { store_frames: false, ..ChannelSettings::default() });
    w.say("b", "1");
    assert!(w.state.events_after("b", 0, 10).events.is_empty());
    assert!(w.state.events_after("nowhere", 0, 10).events.is_empty());
}

#[test]
fn one_user_with_connections_and_their_listeners() {
    let mut w = World::new();
    w.connect_with(
        "ann/1",
        Connect {
            user_state: user_state(r#"{"open": 1, "closed": 2}"#),
            state_public_keys: vec!["open".to_owned()],
            ..Connect::new("ann").channels(["a", "b"])
        },
    );
    w.connect("ann/2", &["a"]);
    w.socket("ann/2");
    let facts = w.state.user_details("ann", 10).unwrap();
    assert_eq!(json(&facts.state), r#"{"open":1,"closed":2}"#);
    assert_eq!(facts.total_connections, 2);
    let [first, second] = &facts.connections[..] else { panic!("{facts:?}") };
    assert_eq!((first.id, first.listener, first.total_channels), (w.id("ann/1"), None, 2));
    assert_eq!((second.id, second.listener), (w.id("ann/2"), Some(ListenerKind::Socket)));
    assert_eq!(json(&first.channels), r#"["a","b"]"#);
    let less = w.state.user_details("ann", 1).unwrap();
    assert_eq!((less.total_connections, less.connections.len()), (2, 1));
    assert_eq!((less.connections[0].total_channels, less.connections[0].channels.len()), (2, 1));
    assert!(w.state.user_details("nobody", 1).is_none());
}
