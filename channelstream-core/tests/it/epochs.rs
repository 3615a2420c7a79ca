//! Epochs: a life of the order goes on after a restart, perhaps without its newest events, and cursors
//! of before are still understood (contract §14).

use channelstream_core::protocol::{Cursor, Epoch, Opening, Uuid};
use channelstream_core::state::{Command, Rules, Since, State};

use crate::growing::append;
use crate::world::{NODE, World, secs, summary, to, to_users};

fn begin(w: &mut World, epoch: u64) {
    w.apply(Command::Begin { epoch: Epoch::new(epoch), alone: false }).unwrap();
}

/// Takes what the state has on disk, to come back to it.
fn copy(w: &World) -> State {
    State::restore(&w.state.snapshot()).unwrap().for_node(NODE)
}

/// What a client reads that comes back with a cursor.
fn read(w: &mut World, cursor: Cursor) -> Vec<String> {
    w.follow("ann", Since::Cursor(cursor));
    w.catch_up("ann");
    w.take("ann").iter().map(summary).collect()
}

#[test]
fn a_cursor_of_an_earlier_epoch_goes_on_without_a_gap() {
    let mut w = World::new();
    begin(&mut w, 10);
    w.connect("ann", &["room"]);
    w.say("room", "1");
    let middle = w.state.cursor();
    w.say("room", "2");
    let end = w.state.cursor();
    begin(&mut w, 20);
    w.say("room", "3");
    begin(&mut w, 30);
    assert_eq!(read(&mut w, middle), ["~room bot: 2", "~room bot: 3"]);
    assert_eq!(read(&mut w, end), ["~room bot: 3"]);
    let now = w.cursor("ann").unwrap();
    assert_eq!(now, w.state.cursor(), "the newest epoch counts");
    w.say("room", "4");
    w.expect("ann", &["room bot: 4"]);
    assert_eq!(read(&mut w, now), ["~room bot: 4"], "as if it had been lost on the way");
}

#[test]
fn a_cursor_from_behind_the_end_of_its_epoch_goes_back_to_it_and_is_told() {
    let mut w = World::new();
    begin(&mut w, 10);
    w.connect("ann", &["room", "other"]);
    for text in ["1", "2"] {
        w.say("room", text);
    }
    let saved = copy(&w);
    w.say("room", "lost");
    w.post(to_users(&["ann"], "lost"));
    let beyond = w.state.cursor();
    w.state = saved;
    begin(&mut w, 20);
    for text in ["3", "4", "5"] {
        w.say("room", text);
    }
    let got = read(&mut w, beyond);
    let mut gaps = got[..3].to_vec();
    gaps.sort_unstable();
    assert_eq!(gaps, ["~other gap epoch", "~private gap epoch", "~room gap epoch"]);
    assert_eq!(got[3..], ["~room bot: 3", "~room bot: 4", "~room bot: 5"], "nothing twice");
    let now = w.cursor("ann").unwrap();
    assert_eq!(read(&mut w, now), [""; 0], "it is told once");
}

#[test]
fn the_gap_of_a_lost_end_is_told_once_however_many_portions_follow() {
    let mut w = World::new();
    begin(&mut w, 10);
    w.connect("ann", &["room"]);
    let saved = copy(&w);
    w.say("room", "lost");
    let beyond = w.state.cursor();
    w.state = saved;
    begin(&mut w, 20);
    for number in 0..90 {
        w.say("room", &format!("{number} {}", "x".repeat(2_000)));
    }
    w.follow("ann", Since::Cursor(beyond));
    assert!(w.read_on("ann"), "more than a portion");
    w.catch_up("ann");
    let got: Vec<_> = w.take("ann").iter().map(summary).collect();
    assert_eq!(got.iter().filter(|line| line.contains("gap")).count(), 2, "one for each place");
    assert_eq!(got.len(), 92);
}

#[test]
fn what_a_growing_message_lost_is_replaced_by_what_it_is() {
    let mut w = World::new();
    begin(&mut w, 10);
    w.connect("ann", &["room"]);
    w.post(to("room", "a").id(Uuid::from_u128(1)).open(Opening::new(["ann"])));
    let saved = copy(&w);
    w.append(append(1).text("text", "b"));
    let beyond = w.state.cursor();
    w.state = saved;
    begin(&mut w, 20);
    w.append(append(1).text("text", "c"));
    let got = read(&mut w, beyond);
    assert!(got.contains(&"~room bot: ac 1 open".to_owned()), "whole: {got:?}");
}

#[test]
fn a_cursor_of_no_epoch_of_this_life_reads_all_and_is_told() {
    let mut w = World::new();
    begin(&mut w, 10);
    w.connect("ann", &["room"]);
    w.say("room", "1");
    begin(&mut w, 20);
    w.say("room", "2");
    for epoch in [0, 9, 15, 21] {
        let got = read(&mut w, Cursor { epoch: Epoch::new(epoch), sequence: 1, is_net: false });
        assert_eq!(got.len(), 4, "{got:?}");
        assert_eq!(got[2..], ["~room bot: 1", "~room bot: 2"]);
    }
}

#[test]
fn an_outage_is_no_time() {
    let mut w = World::with(Rules::default());
    w.connect("ann", &["room"]);
    w.jump(secs(100_000));
    begin(&mut w, 20);
    w.tick();
    assert!(w.knows("ann"));
}
