//! Cursors: who holds one receives everything after it, once and in order, or a gap (contract §14).

use channelstream_core::protocol::{
    Address, ChannelConfig, ChannelSettings, Cursor, Epoch, NewMessage, Opening, Uuid,
};
use channelstream_core::state::{Closing, Keep, Rules, Since};

use crate::growing::append;
use crate::world::{World, announcing, message, new_text, rules, secs, to, to_users};

fn small(events: usize) -> World {
    let keep = Keep { events, bytes: usize::MAX };
    World::with(Rules { channel_events: keep, user_events: keep, ..rules() })
}

/// A client comes back with the cursor that it holds.
#[track_caller]
fn come_back(w: &mut World, label: &str) {
    let cursor = w.cursor(label).expect("it was told a cursor");
    w.follow(label, Since::Cursor(cursor));
    w.catch_up(label);
}

#[test]
fn who_has_no_cursor_is_told_one_and_misses_nothing_since_the_connect() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.say("room", "early");
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.expect("ann", &["~cursor", "~room bot: early"]);
    w.say("room", "live");
    w.expect("ann", &["room bot: live"]);
}

#[test]
fn what_lay_in_a_broken_line_is_read_again() {
    let mut w = World::new();
    w.connect("ann", &["room", "other"]);
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.say("room", "1");
    w.take("ann");
    let cursor = w.cursor("ann").unwrap();
    w.say("other", "2");
    w.post(to_users(&["ann"], "3"));
    w.say("room", "4");
    w.take("ann");
    w.end("ann", Closing::Otherwise);
    w.say("room", "5");
    w.follow("ann", Since::Cursor(cursor));
    w.catch_up("ann");
    w.expect("ann", &["~other bot: 2", "~private bot: 3", "~room bot: 4", "~room bot: 5"]);
}

#[test]
fn catch_up_is_net() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.follow("ann", Since::Record);
    w.say_as(1, "room", "first");
    w.catch_up("ann");
    w.end("ann", Closing::Otherwise);
    w.take("ann");
    let room = || Address::channel("room");
    for text in ["a", "b"] {
        w.edit(new_text(1, room(), text));
    }
    w.say_as(2, "room", "second");
    for text in ["c", "d"] {
        w.edit(new_text(2, room(), text));
    }
    w.say_as(3, "room", "third");
    w.delete(3, room());
    come_back(&mut w, "ann");
    w.expect("ann", &["~room edit 1: b", "~room bot: d*", "~room delete 3"]);
}

#[test]
fn a_newest_edit_says_what_older_ones_said() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.follow("ann", Since::Record);
    w.say_as(1, "room", "first");
    w.catch_up("ann");
    w.end("ann", Closing::Otherwise);
    w.take("ann");
    w.edit(new_text(1, Address::channel("room"), "new text"));
    let mut edit = new_text(1, Address::channel("room"), "");
    (edit.payload, edit.user) = (None, Some("ben".to_owned()));
    w.edit(edit);
    come_back(&mut w, "ann");
    let got = w.take("ann");
    let [only] = &got[..] else { panic!("not one") };
    let json = only.event.encode(true);
    assert!(json.contains("ben") && json.contains("new text"), "{json}");
}

#[test]
fn what_is_evicted_is_told_once_for_each_channel_in_its_place() {
    let mut w = small(2);
    w.connect("ann", &["a", "b", "c"]);
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.end("ann", Closing::Otherwise);
    w.take("ann");
    for n in 1..=4 {
        w.say("a", &n.to_string());
        w.say("b", &n.to_string());
    }
    w.say("c", "all of it");
    w.post(to_users(&["ann"], "1"));
    w.post(to_users(&["ann"], "2"));
    w.post(to_users(&["ann"], "3"));
    come_back(&mut w, "ann");
    let want = [
        "~a gap evicted",
        "~b gap evicted",
        "~a bot: 3",
        "~b bot: 3",
        "~a bot: 4",
        "~b bot: 4",
        "~c bot: all of it",
        "~private gap evicted",
        "~private bot: 2",
        "~private bot: 3",
    ];
    w.expect("ann", &want);
    w.end("ann", Closing::Otherwise);
    come_back(&mut w, "ann");
    w.expect("ann", &[]);
}

#[test]
fn a_channel_that_stores_nothing_tells_a_gap() {
    let mut w = World::new();
    w.configure("room", ChannelSettings { store_frames: false, ..ChannelSettings::default() });
    w.connect("ann", &["room"]);
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.say("room", "live");
    w.end("ann", Closing::Otherwise);
    w.say("room", "missed");
    w.take("ann");
    come_back(&mut w, "ann");
    w.expect("ann", &["~room gap evicted"]);
}

#[test]
fn a_large_event_evicts_by_bytes() {
    let keep = Keep { events: 100, bytes: 3000 };
    let mut w = World::with(Rules { channel_events: keep, ..rules() });
    w.connect("ann", &["room"]);
    w.say("room", "small");
    w.say("room", &"x".repeat(10_000));
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    let got = w.take("ann");
    assert_eq!(got.len(), 3, "a cursor, a gap, and the newest whatever its size");
}

#[test]
fn a_new_connection_of_the_user_recovers_within_the_window() {
    let mut w = World::new();
    w.configure("room", announcing());
    w.connect("ann", &["room"]);
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.say("room", "heard");
    w.close("ann");
    w.take("ann");
    let cursor = w.cursor("ann").unwrap();
    w.advance(secs(60));
    assert!(!w.knows("ann"), "its connection has expired");
    w.say("room", "missed");
    w.post(to_users(&["ann"], "missed too"));
    w.advance(secs(60));
    w.connect("ann/new", &["room"]);
    w.follow("ann/new", Since::Cursor(cursor));
    w.catch_up("ann/new");
    w.expect("ann/new", &["~room bot: missed", "~private bot: missed too"]);
}

#[test]
fn who_stays_away_for_longer_is_told() {
    let mut w = World::new();
    w.connect("ann", &["room", "quiet"]);
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.close("ann");
    w.take("ann");
    let cursor = w.cursor("ann").unwrap();
    w.advance(secs(1000));
    w.say("room", "missed");
    w.connect("ann", &["room", "quiet"]);
    w.say("room", "new");
    w.follow("ann", Since::Cursor(cursor));
    w.catch_up("ann");
    let want = ["~private gap window", "~quiet gap window", "~room gap window", "~room bot: new"];
    let mut got: Vec<_> = w.take("ann").iter().map(crate::world::summary).collect();
    got[..3].sort_unstable();
    assert_eq!(got, want);
    // Once told, it is told.
    w.end("ann", Closing::Otherwise);
    come_back(&mut w, "ann");
    w.expect("ann", &[]);
}

#[test]
fn who_left_or_was_disconnected_recovers_nothing() {
    let mut w = World::new();
    w.connect("ann", &["room", "secret"]);
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.take("ann");
    let cursor = w.cursor("ann").unwrap();
    w.unsubscribe("ann", &["secret"]);
    w.say("secret", "not for ann");
    w.subscribe("ann", &["secret"]);
    w.say("secret", "for ann");
    w.end("ann", Closing::Otherwise);
    w.take("ann");
    w.follow("ann", Since::Cursor(cursor));
    w.catch_up("ann");
    w.expect("ann", &["~secret bot: for ann"]);
    // A backend that disconnects a user ends what the user may recover.
    let cursor = w.cursor("ann").unwrap();
    w.disconnect("ann");
    w.advance(secs(5));
    w.say("room", "not for ann");
    w.connect("ann", &["room"]);
    w.follow("ann", Since::Cursor(cursor));
    w.catch_up("ann");
    let got: Vec<_> = w.take("ann").iter().map(crate::world::summary).collect();
    assert!(!got.iter().any(|line| line.contains("not for ann")), "{got:?}");
}

#[test]
fn a_cursor_of_another_life_is_told_and_what_is_there_follows() {
    let mut w = World::new();
    w.connect("ann", &["a", "b"]);
    w.say("a", "1");
    w.say("b", "2");
    for stranger in [
        Cursor { epoch: Epoch::new(7), sequence: 1, is_net: false },
        Cursor { epoch: w.state.epoch(), sequence: 1_000, is_net: false },
    ] {
        w.follow("ann", Since::Cursor(stranger));
        w.catch_up("ann");
        let got: Vec<_> = w.take("ann").iter().map(crate::world::summary).collect();
        let gaps = got.iter().filter(|line| line.ends_with("gap epoch")).count();
        assert_eq!((gaps, got.len()), (3, 5), "{got:?}");
        assert_eq!(got[3..], ["~a bot: 1", "~b bot: 2"]);
    }
}

#[test]
fn a_channel_that_was_joined_after_the_cursor_has_no_gap() {
    let mut w = small(1);
    w.connect("ann", &["a"]);
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.take("ann");
    w.connect("bob", &["b"]);
    w.say("b", "before");
    w.say("b", "before");
    let cursor = w.cursor("ann").unwrap();
    w.subscribe("ann", &["b"]);
    w.say("b", "after");
    w.end("ann", Closing::Otherwise);
    w.take("ann");
    w.follow("ann", Since::Cursor(cursor));
    w.catch_up("ann");
    w.expect("ann", &["~b bot: after"]);
}

#[test]
fn a_slow_listener_reads_on_and_then_lives() {
    let mut w = small(1000);
    w.connect("ann", &["a", "b"]);
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.take("ann");
    w.fall_behind("ann");
    for n in 0..600 {
        w.say(if n % 3 == 0 { "a" } else { "b" }, &n.to_string());
    }
    assert!(w.read_on("ann"), "more than a portion");
    w.post(to("a", "600"));
    w.catch_up("ann");
    w.say("b", "601");
    let got: Vec<_> = w.take("ann").iter().map(crate::world::summary).collect();
    assert_eq!(got.len(), 602);
    for (n, line) in got.iter().enumerate() {
        assert!(line.ends_with(&format!(": {n}")), "{n}: {line}");
    }
    assert!(got[600].starts_with('~') && !got[601].starts_with('~'));
}

#[test]
fn the_last_cursor_stands_behind_all_that_was_read() {
    let mut w = World::new();
    w.connect("ann", &["room", "other"]);
    w.connect("bob", &["other"]);
    w.post(to("room", "").open(Opening::new([""; 0])));
    // What others receive does not keep the cursor back.
    w.post(message(Address { pm_users: vec!["bob".to_owned()], ..Address::channel("other") }, "x"));
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    assert_eq!(w.cursor("ann").unwrap().sequence, w.state.sequence());
    assert_eq!(w.take("ann").len(), 2);
    w.end("ann", Closing::Otherwise);
    come_back(&mut w, "ann");
    w.expect("ann", &[]);
}

/// A world that reads so many events at a time, in which ann follows the room from the beginning.
fn following(events: usize) -> World {
    let mut w = World::with(Rules { portion: Keep { events, bytes: usize::MAX }, ..rules() });
    w.connect("ann", &["room"]);
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.take("ann");
    w
}

fn open_message(w: &mut World, id: u128) {
    let opening = Some(Box::new(Opening::new(["ann"])));
    w.post(NewMessage { uuid: Some(Uuid::from_u128(id)), opening, ..to("room", "a") });
}

#[test]
fn who_read_what_a_message_had_grown_by_gets_the_rest() {
    let mut w = following(10);
    w.end("ann", Closing::Otherwise);
    open_message(&mut w, 1);
    w.say("room", "between");
    w.append(append(1).text("text", "b"));
    come_back(&mut w, "ann");
    w.expect("ann", &["~room bot: ab 1 open", "~room bot: between"]);
    w.end("ann", Closing::Otherwise);
    w.append(append(1).text("text", "c"));
    come_back(&mut w, "ann");
    // Not the append of what it has already, from which it could not go on.
    w.expect("ann", &[r#"~room append 1: {"text":"c"} 1-2"#]);
}

#[test]
fn an_edit_of_a_growing_message_is_read_with_what_came_after_it() {
    let mut w = following(1);
    w.end("ann", Closing::Otherwise);
    w.say("room", "first");
    open_message(&mut w, 1);
    w.follow("ann", Since::Cursor(w.cursor("ann").unwrap()));
    w.read_on("ann");
    w.edit(new_text(1, Address::channel("room"), "e"));
    w.append(append(1).text("text", "f"));
    w.catch_up("ann");
    w.expect("ann", &["~room bot: first", "~room bot: ef* 2 open", "~room edit 1: ef 2 open"]);
}

#[test]
fn who_is_cut_off_between_two_edits_gets_both() {
    let mut w = following(1);
    w.say_as(1, "room", "first");
    w.end("ann", Closing::Otherwise);
    w.take("ann");
    w.edit(new_text(1, Address::channel("room"), "new text"));
    w.say("room", "between");
    let mut edit = new_text(1, Address::channel("room"), "");
    (edit.payload, edit.user) = (None, Some("ben".to_owned()));
    w.edit(edit);
    w.follow("ann", Since::Cursor(w.cursor("ann").unwrap()));
    w.read_on("ann");
    w.expect("ann", &["~room bot: between"]);
    w.end("ann", Closing::Otherwise);
    come_back(&mut w, "ann");
    w.expect("ann", &["~room edit 1: new text"]);
}

#[test]
fn an_edit_that_was_due_while_the_listener_was_behind_is_told() {
    let mut w = following(1);
    w.end("ann", Closing::Otherwise);
    let as_edits = ChannelConfig { append_as_edit: Some(true), ..ChannelConfig::default() };
    w.configure("room", as_edits);
    come_back(&mut w, "ann");
    open_message(&mut w, 1);
    w.append(append(1).text("text", "b"));
    w.append(append(1).text("text", "c"));
    w.expect("ann", &["room bot: a 0 open", "room edit 1: ab 1 open"]);
    w.say("room", "behind the append");
    w.expect("ann", &["room bot: behind the append"]);
    w.fall_behind("ann");
    w.advance(secs(1));
    w.catch_up("ann");
    w.expect("ann", &["~room edit 1: abc 2 open"]);
}

#[test]
fn an_edit_of_a_message_from_before_the_membership_comes_as_itself() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.close("ann");
    w.take("ann");
    let cursor = w.cursor("ann").unwrap();
    w.advance(secs(1000));
    w.say_as(1, "room", "missed");
    w.connect("ann", &["room"]);
    w.edit(new_text(1, Address::channel("room"), "new text"));
    w.follow("ann", Since::Cursor(cursor));
    w.catch_up("ann");
    let got: Vec<_> = w.take("ann").iter().map(crate::world::summary).collect();
    assert_eq!(got.last().unwrap(), "~room edit 1: new text", "{got:?}");
}
