//! Snapshots: all of the state, in bytes that are the same for the same state.

use channelstream_core::protocol::{Address, ChannelSettings, Connect};
use channelstream_core::state::stored::{LEVEL, UnknownLevel};
use channelstream_core::state::{SnapshotError, State};

use crate::world::{
    NODE, World, announcing, hours, json, new_text, rules, secs, to_users, user_state,
};

/// A state with a bit of everything: user states, histories, stored events, listeners, deadlines.
fn lively() -> World {
    let mut w = World::new();
    w.configure(
        "room",
        ChannelSettings { store_history: true, notify_state: true, ..announcing() },
    );
    w.configure("empty", ChannelSettings::default());
    w.connect_with(
        "ann",
        Connect {
            user_state: user_state(r#"{"a": 1.50, "b": "\u00e9", "c": null}"#),
            state_public_keys: vec!["a".to_owned()],
            ..Connect::new("ann").channels(["room", "é"])
        },
    );
    w.socket("ann");
    w.connect("ben", &["room"]);
    w.poll("ben");
    w.connect("cat", &[]);
    w.say_as(1, "room", "one");
    w.say_as(2, "room", "two");
    w.edit(new_text(1, Address::channel("room"), "changed"));
    w.delete(2, Address::channel("room"));
    w.post(to_users(&["ben", "cat"], "psst"));
    w.set_state("ann", r#"{"a": 2}"#);
    w.answer("ben");
    w.join("dan", &["room"]);
    w.stall("dan");
    w.say("room", "unsent");
    w.close("dan");
    w
}

fn restored(w: &World) -> State {
    State::restore(&w.state.snapshot()).unwrap().for_node(NODE)
}

#[test]
fn nothing_is_lost() {
    let w = lively();
    let copy = restored(&w);
    assert_eq!(copy.snapshot(), w.state.snapshot());
    assert_eq!(copy.next_deadline(), w.state.next_deadline());
    assert_eq!(copy.sequence(), w.state.sequence());
    assert_eq!(json(&copy.admin_stats()), json(&w.state.admin_stats()));
}

#[test]
fn life_goes_on_after_a_restart() {
    let mut w = lively();
    w.state = restored(&w);
    w.take("ann");
    w.say("room", "after");
    w.expect("ann", &["room bot: after"]);
    w.socket("dan");
    w.expect("dan", &["~room bot: unsent", "~room bot: after"]);
    w.advance(secs(16));
    w.expect("ann", &["room -ben"]);
    w.close("ann");
    w.close("dan");
    w.advance(hours(100));
    assert_eq!(w.state.admin_stats().remembered_user_count, 0);
    assert!(w.info().channels.is_empty());
}

#[test]
fn bytes_that_are_no_snapshot_are_refused() {
    let bytes = lively().state.snapshot();
    for end in 0..bytes.len() {
        let cut = State::restore(&bytes[..end]);
        assert!(matches!(cut, Err(SnapshotError::Damaged)), "{end}");
    }
    for garbage in [&b"{}"[..], b"[]", b"null", b"\xff", br#"{"version": 1}"#] {
        assert!(State::restore(garbage).is_err());
    }
}

#[test]
fn every_wrong_byte_is_noticed() {
    let bytes = lively().state.snapshot();
    for place in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[place] ^= 1;
        assert!(State::restore(&wrong).is_err(), "{place}");
    }
}

#[test]
fn another_level_is_named() {
    let bytes = lively().state.snapshot();
    let (name, rest) = bytes.split_at(b"channelstream-state ".len());
    let level = LEVEL.to_string();
    let rest = rest.strip_prefix(level.as_bytes()).unwrap();
    let other = [name, b"99", rest].concat();
    let error = State::restore(&other).unwrap_err();
    assert!(matches!(error, SnapshotError::Level(UnknownLevel { found: 99, .. })), "{error}");
    assert!(error.to_string().contains("99"));
}

#[test]
fn an_empty_state_is_restored_as_empty() {
    let new = State::new(rules()).at_level(LEVEL);
    let copy = State::restore(&new.snapshot()).unwrap().for_node(NODE);
    assert_eq!(copy.snapshot(), new.snapshot());
    assert_eq!(copy.next_deadline(), None);
}
