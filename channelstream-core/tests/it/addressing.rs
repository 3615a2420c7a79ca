//! The receivers of a message: channels, private messages, exclusion, and how deliveries are
//! counted (contract §5, §8).

use channelstream_core::protocol::{Address, ChannelSettings, NewMessage, Receipt};
use channelstream_core::state::{Command, Reply};

use crate::world::{Got, World, json, message, payload, to, to_users};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn posted(w: &World) -> (u64, u64) {
    let stats = w.state.admin_stats();
    (stats.total_messages, stats.total_unique_messages)
}

/// ann (two connections) and ben are in the room, cat is elsewhere. All listen.
fn three() -> World {
    let mut w = World::new();
    for (label, channel) in
        [("ann/1", "room"), ("ann/2", "room"), ("ben", "room"), ("cat", "elsewhere")]
    {
        w.join(label, &[channel]);
    }
    w
}

#[test]
fn a_channel_message_goes_to_every_connection_in_it() {
    let mut w = three();
    w.say("room", "hello");
    for label in ["ann/1", "ann/2", "ben"] {
        w.expect(label, &["room bot: hello"]);
    }
    w.expect("cat", &[]);
    assert_eq!(posted(&w), (3, 1));
}

#[test]
fn the_sender_gets_it_too() {
    let mut w = three();
    w.post(NewMessage { user: "ben".to_owned(), ..to("room", "mine") });
    w.expect("ben", &["room ben: mine"]);
}

#[test]
fn users_can_be_included_and_excluded_and_exclusion_wins() {
    let mut w = three();
    let address = |pm: &[&str], exclude: &[&str]| Address {
        pm_users: names(pm),
        exclude_users: names(exclude),
        ..Address::channel("room")
    };
    w.post(message(address(&[], &["ann", "nobody"]), "without ann"));
    w.post(message(address(&["ann", "ann", "cat", "nobody"], &[]), "for ann"));
    w.post(message(address(&["ann", "ben"], &["ben"]), "for ann again"));
    w.post(message(address(&["nobody"], &[]), "for nobody"));
    for label in ["ann/1", "ann/2"] {
        w.expect(label, &["room bot: for ann", "room bot: for ann again"]);
    }
    w.expect("ben", &["room bot: without ann"]);
    w.expect("cat", &[]);
    assert_eq!(posted(&w), (5, 4));
}

/// Oddity 36 of the reference is kept.
#[test]
fn private_messages_arrive_once_per_mention_and_ignore_exclusion() {
    let mut w = three();
    let address = Address {
        exclude_users: names(&["ann"]),
        ..Address::users(["ann", "cat", "nobody", "ann"])
    };
    w.post(message(address, "psst"));
    for label in ["ann/1", "ann/2"] {
        w.expect(label, &["private bot: psst", "private bot: psst"]);
    }
    w.expect("cat", &["private bot: psst"]);
    w.expect("ben", &[]);
    assert_eq!(posted(&w), (5, 1));
}

#[test]
fn mentions_are_stored_once_each() {
    let mut w = World::new();
    w.connect("ann", &[]);
    w.post(to_users(&["ann", "ann"], "psst"));
    w.socket("ann");
    w.expect("ann", &["~private bot: psst", "~private bot: psst"]);
}

#[test]
fn deliveries_count_also_without_a_listener() {
    let mut w = World::new();
    w.connect("ann/1", &["room"]);
    w.connect("ann/2", &["room"]);
    w.say("room", "hello");
    w.post(to_users(&["ann"], "psst"));
    assert_eq!(posted(&w), (4, 2));
}

#[test]
fn messages_without_receivers_are_dropped_and_unknown_names_are_ignored() {
    let mut w = World::new();
    assert!(w.post(message(Address::default(), "x")).is_none());
    assert!(
        w.post(message(Address { exclude_users: names(&["a"]), ..Address::default() }, "x"))
            .is_none()
    );
    assert_eq!(posted(&w), (0, 0));
    assert!(w.post(to("nowhere", "x")).is_some());
    assert!(w.post(to_users(&["nobody"], "x")).is_some());
    assert_eq!(posted(&w), (0, 2));
    assert!(w.info().channels.is_empty());
}

#[test]
fn several_messages_are_sent_in_order_and_answered_whole() {
    let mut w = World::new();
    w.join("ann", &["room"]);
    let messages = vec![
        to("room", "1"),
        message(Address::default(), "dropped"),
        to_users(&["ann"], "2"),
        to("room", "3"),
    ];
    let Ok(Reply::Published(answer)) = w.apply(Command::Publish(messages)) else { panic!() };
    let problems: Vec<_> = answer.iter().map(|posted| posted.receipt.problem.as_deref()).collect();
    assert_eq!(problems, [None, Some("no address"), None, None]);
    w.expect("ann", &["room bot: 1", "private bot: 2", "room bot: 3"]);
    assert_ne!(answer[0].uuid, answer[2].uuid, "a missing id is created");
    assert_ne!(answer[0].uuid, answer[3].uuid);
}

/// The receipt of one message: recipients, whether it was stored, and the problem.
fn receipt(w: &mut World, message: NewMessage) -> (u64, bool, Option<String>) {
    let Ok(Reply::Published(answer)) = w.apply(Command::Publish(vec![message])) else { panic!() };
    let Receipt { recipients, stored, problem, .. } = answer[0].receipt.clone();
    (recipients.unwrap(), stored.unwrap(), problem.map(Into::into))
}

#[test]
fn a_receipt_counts_listeners_and_says_whether_it_was_stored() {
    let mut w = World::new();
    assert_eq!(receipt(&mut w, to("room", "x")), (0, false, Some("no such channel".into())));
    let nobody = to_users(&["ann", "bob"], "x");
    assert_eq!(receipt(&mut w, nobody), (0, false, Some("no such user".into())));
    w.join("ann", &["room"]);
    assert_eq!(receipt(&mut w, to("room", "x")), (1, true, None));
    assert_eq!(receipt(&mut w, to_users(&["ann", "bob"], "x")), (1, true, None));
    w.configure("room", ChannelSettings { store_frames: false, ..ChannelSettings::default() });
    assert_eq!(receipt(&mut w, to("room", "x")), (1, false, None));
    let history =
        ChannelSettings { store_frames: false, store_history: true, ..Default::default() };
    w.configure("room", history);
    assert_eq!(receipt(&mut w, to("room", "x")), (1, true, None));
    let unheard = NewMessage { no_history: true, ..to("room", "x") };
    assert_eq!(receipt(&mut w, unheard), (1, false, None));
    w.configure("room", ChannelSettings { history_size: 0, ..history });
    assert_eq!(receipt(&mut w, to("room", "x")), (1, false, None));
    w.close("ann");
    assert_eq!(
        receipt(&mut w, to("room", "x")),
        (0, false, None),
        "nobody receives it, not even later"
    );
}

#[test]
fn an_answer_has_every_field_and_a_message_only_if_given() {
    let mut w = World::new();
    let answer = w.post(NewMessage::new("bot", Address::channel("room"))).unwrap();
    let id = answer.uuid;
    assert_eq!(
        json(&answer),
        format!(
            concat!(
                r#"{{"uuid":"{}","user":"bot","channel":"room","pm_users":[],"exclude_users":[],"#,
                r#""no_history":false,"timestamp":"2024-01-01T00:00:00","edited":null}}"#
            ),
            id
        )
    );
    let given = NewMessage {
        payload: Some(payload("x")),
        ..NewMessage::new("bot", Address::channel("room"))
    };
    assert!(json(&w.post(given).unwrap()).contains(r#""message":{"text":"x"}"#));
}

#[test]
fn a_connection_that_leaves_a_channel_gets_no_more_of_its_events() {
    let mut w = three();
    w.unsubscribe("ann/1", &["room"]);
    w.say("room", "hello");
    w.expect("ann/1", &[]);
    w.expect("ann/2", &["room bot: hello"]);
}

/// The message is one delivery and is encoded once, however many users it names.
#[test]
fn a_private_message_has_one_number_for_all_who_are_named_once() {
    let mut w = World::new();
    w.join("ann", &[]);
    w.join("ben", &[]);
    w.post(to_users(&["ann", "ben", "ann"], "psst"));
    let numbers = |got: Vec<Got>| got.iter().map(|got| got.sequence).collect::<Vec<_>>();
    let (ann, ben) = (numbers(w.take("ann")), numbers(w.take("ben")));
    assert_eq!((ann.len(), &ann[..1]), (2, &ben[..]));
    assert!(ann[1] > ann[0]);
}
