//! Growing messages: for who joins late, takes edits, or waits for a publisher that stays silent.

use channelstream_core::protocol::{Address, ChannelConfig, Cursor, Opening};
use channelstream_core::state::{Appends, Closing, Keep, ListenerKind, Reply, Rules, Since};

use crate::growing::{growing, id, more, room};
use crate::world::{World, hours, new_text, rules, secs, summary, to};

#[test]
fn what_was_there_before_a_membership_is_not_for_the_member() {
    let mut w = growing();
    w.append(more("secret"));
    w.connect("zoe", &["room"]);
    for sequence in [0, 1, 2] {
        let cursor = Cursor { epoch: w.state.epoch(), sequence, is_net: false };
        w.follow("zoe", Since::Cursor(cursor));
        w.catch_up("zoe");
        let got: Vec<_> = w.take("zoe").iter().map(summary).collect();
        assert!(!got.iter().any(|line| line.contains("secret")), "{got:?}");
    }
    // What comes afterwards is, and the page has the rest from its backend, if that wants it to.
    let cursor = w.cursor("zoe").unwrap_or(Cursor { sequence: 2, ..Cursor::default() });
    w.end("zoe", Closing::Otherwise);
    w.append(more("b"));
    w.follow("zoe", Since::Cursor(cursor));
    w.catch_up("zoe");
    w.expect("zoe", &[r#"~room append 1: {"text":"b"} 1-2"#]);
    // Where nobody knows any more what came since, it is a gap.
    w.end("zoe", Closing::Otherwise);
    w.edit(new_text(1, room(), "x"));
    w.append(more("c"));
    w.take("zoe");
    w.follow("zoe", Since::Cursor(Cursor { is_net: true, ..cursor }));
    w.catch_up("zoe");
    w.expect("zoe", &["~room edit 1: xc 4 open"]);
}

#[test]
fn an_edit_in_place_of_appends_reaches_who_was_away_when_it_was_due() {
    let mut w = growing();
    let reply = w.open_as("ann", ListenerKind::Socket, Appends::AsEdits, Some(Since::Record));
    assert!(matches!(reply, Ok(Reply::Opened)), "{reply:?}");
    w.catch_up("ann");
    w.append(more("b"));
    w.append(more("c"));
    w.say("room", "other");
    w.take("ann");
    let cursor = w.cursor("ann").unwrap();
    w.end("ann", Closing::Otherwise);
    w.advance(secs(1));
    let since = Some(Since::Cursor(cursor));
    let reply = w.open_as("ann", ListenerKind::Socket, Appends::AsEdits, since);
    assert!(matches!(reply, Ok(Reply::Opened)), "{reply:?}");
    w.catch_up("ann");
    w.expect("ann", &["~room edit 1: abc 2 open"]);
}

#[test]
fn an_edit_goes_to_those_whom_the_message_is_for() {
    let mut w = growing();
    w.join("bob", &["room"]);
    let narrow = Address { pm_users: vec!["bob".to_owned()], ..room() };
    w.edit(new_text(1, narrow, "new"));
    w.append(more("!"));
    let want = ["room edit 1: new 1 open", r#"room append 1: {"text":"!"} 1-2"#];
    w.expect("ann", &want);
    w.expect("bob", &want);
}

#[test]
fn a_message_that_stays_stalled_has_failed() {
    let mut w = growing();
    w.advance(secs(31));
    w.expect("ann", &["room append 1: {} 0-1 stalled"]);
    w.advance(secs(3500));
    w.append(more("b"));
    w.expect("ann", &[r#"room append 1: {"text":"b"} 1-2 open"#]);
    w.advance(secs(3600));
    w.expect("ann", &["room append 1: {} 2-3 stalled"]);
    w.advance(secs(100));
    w.expect("ann", &["room append 1: {} 3-4 failed"]);
}

#[test]
fn a_message_that_is_forgotten_after_its_last_edit_leaves_a_gap_up_to_that_edit() {
    let only_one = Keep { events: 1, bytes: usize::MAX };
    let mut w = World::with(Rules { channel_events: only_one, ..rules() });
    w.configure("room", ChannelConfig { append_as_edit: Some(true), ..ChannelConfig::default() });
    w.connect("ann", &["room"]);
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.take("ann");
    w.post(to("room", "a").id(id(1)).open(Opening::new(["ann"])));
    // Another message takes its room. It has failed, but the edit that says so comes later.
    w.jump(hours(2));
    w.say("room", "other");
    let cursor = w.take("ann").pop().unwrap().cursor;
    w.end("ann", Closing::Otherwise);
    w.advance(secs(1));
    w.follow("ann", Since::Cursor(cursor));
    w.catch_up("ann");
    w.expect("ann", &["~room gap evicted"]);
}
