//! Notices: what an application may want to hear, and that nothing depends on whether it does.

use channelstream_core::protocol::{DeleteChannels, Opening, Status};
use channelstream_core::state::stored::LEVEL;
use channelstream_core::state::{Closing, Command, Notice, State};

use crate::growing::{append, id, more};
use crate::world::{NODE, World, announcing, hours, millis, name, rules, secs, to, to_users};

/// A world whose state collects notices.
fn heard() -> World {
    let mut w = World::new();
    w.state.collect_notices(true);
    w
}

/// A notice in short: `room *`, `room +ann`, `room -ann`, `room .`, `ann ended Silent 0`, `room 1 done`.
fn short(notice: &Notice) -> String {
    match notice {
        Notice::Occupied { channel } => format!("{channel} *"),
        Notice::Vacated { channel } => format!("{channel} ."),
        Notice::Joined { channel, user } => format!("{channel} +{user}"),
        Notice::Parted { channel, user } => format!("{channel} -{user}"),
        Notice::Ended { user, why, left } => format!("{user} ended {why:?} {left}"),
        Notice::Closed { message, channel, status } => {
            let place = channel.as_deref().unwrap_or("private");
            format!("{place} {} {}", message.as_u128(), name(*status))
        }
    }
}

/// Takes the notices so far, which have to be these.
#[track_caller]
fn hears(w: &mut World, want: &[&str]) {
    let got: Vec<_> = std::mem::take(&mut w.notices).iter().map(short).collect();
    assert_eq!(got, want);
}

#[test]
fn a_channel_is_occupied_by_its_first_member_and_vacated_by_its_last() {
    let mut w = heard();
    w.connect("ann", &["room", "hall"]);
    hears(&mut w, &["hall *", "hall +ann", "room *", "room +ann"]);
    w.connect("ben", &["room"]);
    hears(&mut w, &["room +ben"]);
    w.unsubscribe("ann", &["room"]);
    hears(&mut w, &["room -ann"]);
    w.unsubscribe("ben", &["room"]);
    hears(&mut w, &["room -ben", "room ."]);
    w.subscribe("ben", &["room"]);
    hears(&mut w, &["room *", "room +ben"]);
}

#[test]
fn a_user_joins_with_the_first_connection_and_parts_with_the_last() {
    let mut w = heard();
    w.connect("ann/1", &["room"]);
    hears(&mut w, &["room *", "room +ann"]);
    w.connect("ann/2", &["room"]);
    w.connect("ann/2", &["room"]);
    hears(&mut w, &[]);
    w.disconnect("ann/1");
    hears(&mut w, &[]);
    w.advance(millis(500));
    hears(&mut w, &["ann ended Disconnected 1"]);
    w.disconnect("ann/2");
    w.advance(millis(500));
    hears(&mut w, &["room -ann", "room .", "ann ended Disconnected 0"]);
}

#[test]
fn a_client_that_comes_back_in_time_vacates_nothing() {
    let mut w = heard();
    w.join("ann", &["room"]);
    hears(&mut w, &["room *", "room +ann"]);
    // A page that reloads.
    w.close("ann");
    w.advance(millis(499));
    w.socket("ann");
    // A line that breaks.
    w.end("ann", Closing::Otherwise);
    w.advance(secs(14));
    w.socket("ann");
    // A second window of the same page takes over.
    w.socket("ann");
    w.advance(hours(1));
    hears(&mut w, &[]);
}

#[test]
fn a_connection_ends_for_a_reason() {
    let mut w = heard();
    w.join("closes", &["room"]);
    w.join("silent", &["room"]);
    w.join("disconnected", &["room"]);
    w.notices.clear();
    w.close("closes");
    w.advance(secs(1));
    hears(&mut w, &["room -closes", "closes ended Closed 0"]);
    w.end("silent", Closing::Otherwise);
    w.advance(secs(16));
    hears(&mut w, &["room -silent", "silent ended Silent 0"]);
    w.disconnect("disconnected");
    // The id is used again before the rest of the connection is gone.
    w.connect("disconnected", &["room"]);
    let gone = ["room -disconnected", "room .", "disconnected ended Disconnected 0"];
    hears(&mut w, &[&gone[..], &["room *", "room +disconnected"]].concat());
}

#[test]
fn a_channel_that_is_deleted_is_vacated_and_ends_no_connection() {
    let mut w = heard();
    w.configure("empty", announcing());
    for number in 0..101 {
        w.connect(&format!("u{number}"), &["room"]);
    }
    w.notices.clear();
    let request = DeleteChannels::new(["room", "empty", "nowhere"]);
    w.apply(Command::DeleteChannels(request)).unwrap();
    let got: Vec<_> = w.notices.iter().map(short).collect();
    assert_eq!(got.len(), 102, "all part, also those whose presence is not sent");
    assert_eq!(got[101], "room .");
    assert!(got[..101].iter().all(|one| one.starts_with("room -u")), "{got:?}");
}

#[test]
fn a_growing_message_closes_once() {
    let mut w = heard();
    w.connect("ann", &["room"]);
    let open = |number, message: channelstream_core::protocol::NewMessage| {
        message.id(id(number)).open(Opening::new(["ann"]))
    };
    for number in 1..=4 {
        w.post(open(number, to("room", "a")));
    }
    w.post(open(5, to_users(&["ann"], "a")));
    w.notices.clear();
    w.append(more("b"));
    hears(&mut w, &[]);
    w.append(more("c").status(Status::Done));
    w.append(append(1).status(Status::Done));
    hears(&mut w, &["room 1 done"]);
    w.cancel("ann", 2).unwrap();
    w.cancel("ann", 2).unwrap();
    hears(&mut w, &["room 2 cancelled"]);
    w.append(append(3).status(Status::Failed));
    w.append(append(5).status(Status::Done));
    hears(&mut w, &["room 3 failed", "private 5 done"]);
    // The publisher of the fourth one is gone: it stalls, and then it has failed.
    w.socket("ann");
    w.advance(hours(48));
    hears(&mut w, &["room 4 failed"]);
}

#[test]
fn refusals_and_repeats_give_no_notice() {
    let mut w = heard();
    w.connect("ann", &["room"]);
    let connection = w.id("ann");
    let foreign = channelstream_core::protocol::Connect::new("ben").channels(["hall"]);
    w.apply(Command::Connect { connection, request: Box::new(foreign) }).unwrap_err();
    w.notices.clear();
    let last = w.log.last().unwrap().clone();
    let outcome = w.state.apply(last);
    assert!(!outcome.is_new && outcome.notices.is_empty());
    hears(&mut w, &[]);
}

/// A node that tells an application and one that does not have the same state, and the digests of all nodes
/// stay the same.
#[test]
fn notices_follow_from_the_envelopes_and_leave_no_trace() {
    let mut w = heard();
    w.join("ann", &["room"]);
    w.connect("ben", &["room", "hall"]);
    w.post(to("room", "a").id(id(1)).open(Opening::new(["ann"])));
    w.append(more("b").status(Status::Done));
    w.advance(hours(1));
    w.unsubscribe("ann", &["room"]);
    let begin = || State::new(rules()).at_level(LEVEL).for_node(NODE);
    let (mut deaf, mut hearing) = (begin(), begin());
    hearing.collect_notices(true);
    let mut again = Vec::new();
    for envelope in &w.log {
        assert!(deaf.apply(envelope.clone()).notices.is_empty());
        again.extend(hearing.apply(envelope.clone()).notices);
    }
    assert!(again.len() > 5 && again == w.notices, "{again:?}");
    assert_eq!(deaf.snapshot(), w.state.snapshot());
    assert_eq!(deaf.digest(), w.state.digest());
}
