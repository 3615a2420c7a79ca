//! Growing messages: for who joins late, takes edits, or waits for a publisher that stays silent.

use channelstream_core::protocol::{Address, Cursor};
use channelstream_core::state::{Appends, Closing, ListenerKind, Reply, Since};

use crate::growing::{growing, more, room};
use crate::world::{new_text, secs, summary};

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
