//! Clocks: deadlines follow own time, whatever the wall clock does. Own time runs
//! evenly and stands still while the server is away.

use std::time::Duration;

use channelstream_core::protocol::{Connect, Timestamp};
use channelstream_core::state::{
    Command, ConnectionId, Envelope, Moment, NodeId, Rules, Stamp, State,
};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof};
use proptest::{prop_assert_eq, proptest};

use crate::random::ops;
use crate::world::{NODE, World, announcing, hours, millis, remembering, secs, summary};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// The error of the wall clock at each step of a story.
const WALLS: [(&str, [i64; 6]); 4] = [
    ("right", [0; 6]),
    ("back an hour", [0, -HOUR, -HOUR, -HOUR, -HOUR, -HOUR]),
    ("an hour ahead", [0, HOUR, HOUR, HOUR, HOUR, HOUR]),
    ("four days ahead for a moment", [0, 4 * DAY, 0, 0, 0, 0]),
];

/// Connections, users and channels come and go. Returns everything observable except times.
fn story(wall: [i64; 6]) -> Vec<String> {
    let mut w = World::new();
    let mut seen = Vec::new();
    w.configure("room", announcing());
    w.configure("kept", remembering(5));
    w.say("kept", "hello");
    w.join("zoe", &["room"]);
    w.join("ann", &["room"]);
    w.connect("idle", &["room"]);
    w.connect("waiting", &[]);
    w.set_state("ann", r#"{"a": 1}"#);
    let chapters: [&dyn Fn(&mut World); 6] = [
        &|w| w.advance(secs(1)),
        &|w| {
            w.connect("new", &["room"]);
            w.advance(secs(1));
        },
        &|w| {
            assert!(w.disconnect("ann"));
            w.advance(secs(1));
        },
        &|w| w.advance(secs(15)),
        &|w| {
            w.say("kept", "again");
            w.advance(hours(30));
        },
        &|w| w.advance(hours(50)),
    ];
    for (number, (chapter, off)) in chapters.into_iter().zip(wall).enumerate() {
        w.wall_is_off = off;
        chapter(&mut w);
        seen.extend(w.take("zoe").iter().map(summary));
        let there = ["ann", "idle", "waiting", "new"].map(|label| w.knows(label));
        let users = ["ann", "idle"].map(|user| w.state.knows_user(user));
        let channels: Vec<_> = w.info().channels.keys().map(ToString::to_string).collect();
        let due = w.state.next_deadline();
        seen.push(format!(
            "{number} {there:?} {users:?} {channels:?} {due:?} {:?}",
            w.listens("ann")
        ));
    }
    seen
}

#[test]
fn a_wall_clock_that_steps_changes_nothing_but_timestamps() {
    let want = story([0; 6]);
    assert!(want.iter().any(|seen| seen == "room -ann"), "{want:?}");
    for (name, wall) in WALLS {
        assert_eq!(story(wall), want, "{name}");
    }
}

#[test]
fn timestamps_are_wall_time() {
    let mut w = World::new();
    w.configure("room", remembering(5));
    let shown = |w: &mut World, off| {
        w.wall_is_off = off;
        w.say("room", "x");
        let view = w.channel("room");
        let newest = view.history.last().unwrap().timestamp.to_string();
        assert_eq!(view.last_active.to_string(), newest);
        newest
    };
    assert_eq!(shown(&mut w, 0), "2024-01-01T00:00:00");
    assert_eq!(shown(&mut w, 4 * DAY), "2024-01-05T00:00:00");
    assert_eq!(shown(&mut w, -HOUR), "2023-12-31T23:00:00");
    w.advance(secs(1));
    assert_eq!(
        shown(&mut w, -HOUR),
        "2023-12-31T23:00:01",
        "own time continues from the restored one"
    );
}

/// Two threads may take stamps in one order and append their commands in another.
#[test]
fn a_late_stamp_does_not_turn_time_back() {
    let mut w = World::new();
    w.configure("room", remembering(5));
    w.connect("ann", &["room"]);
    w.advance(secs(10));
    let due = w.state.next_deadline();
    w.now = Moment::default();
    w.say("room", "late");
    assert_eq!(w.state.next_deadline(), due);
    assert_eq!(w.channel("room").last_active.to_string(), "2024-01-01T00:00:10");
}

/// Lets time pass with a tick every two seconds, as on a node.
fn pass(w: &mut World, time: Duration) {
    let end = w.now.after(time);
    while w.now < end {
        w.advance(end.since(w.now).min(secs(2)));
    }
}

/// A machine is suspended, or a process stopped, for days. Meanwhile no client could show activity.
#[test]
fn an_outage_counts_as_a_few_seconds() {
    let mut w = World::with(Rules::default());
    w.configure("kept", remembering(5));
    w.say("kept", "hello");
    w.join("zoe", &["kept"]);
    w.connect("ann", &["kept"]);
    w.jump(hours(200));
    w.say("kept", "there again");
    assert!(w.knows("ann"));
    assert_eq!(w.history("kept"), ["hello", "there again"]);
    pass(&mut w, millis(9_999));
    assert!(w.knows("ann"), "only five seconds count");
    pass(&mut w, millis(1));
    assert!(!w.knows("ann"));
}

#[test]
fn own_time_is_as_fast_as_wall_time() {
    let mut w = World::with(Rules::default());
    w.connect("ann", &["room"]);
    pass(&mut w, millis(14_999));
    assert!(w.knows("ann"));
    pass(&mut w, millis(1));
    assert!(!w.knows("ann"));
    pass(&mut w, hours(24) - secs(1));
    assert!(w.state.knows_user("ann"));
    pass(&mut w, secs(1));
    assert!(!w.state.knows_user("ann"));
}

#[test]
fn a_restored_state_goes_on_from_its_own_time() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.advance(secs(10));
    w.state = State::restore(&w.state.snapshot()).unwrap().for_node(NODE);
    assert_eq!(w.state.latest_stamp(), w.now, "the clock of the next process begins here");
    w.advance(millis(4_999));
    assert!(w.knows("ann"));
    w.advance(millis(1));
    assert!(!w.knows("ann"));
}

/// A server that loses many connections at once still answers the other clients.
#[test]
fn many_deadlines_at_once_are_handled_in_portions() {
    const MANY: u64 = 3500;
    let mut state = State::new(Rules::default());
    let mut now = Moment::default();
    let apply = |state: &mut State, moment, command| {
        state.apply(Envelope {
            node: NodeId::new(1),
            number: 0,
            stamp: Stamp { now: Timestamp::default(), moment, seed: 1 },
            command,
            repeat: None,
        })
    };
    for number in 0..MANY {
        let connection = ConnectionId::from_u128(number.into());
        let request = Box::new(Connect::new(format!("user{number}")).channels(["room"]));
        apply(&mut state, now, Command::Connect { connection, request }).reply.unwrap();
    }
    let mut connections = vec![state.counts().connections];
    for _ in 0..8 {
        now = now.after(secs(2));
        apply(&mut state, now, Command::Tick);
        connections.push(state.counts().connections);
    }
    // The first portion at 15 s, the others without any delay.
    while state.next_deadline() == Some(now) {
        apply(&mut state, now, Command::Tick);
        connections.push(state.counts().connections);
    }
    assert_eq!(*connections.last().unwrap(), 0);
    for pair in connections.windows(2) {
        assert!(pair[0] - pair[1] <= 1000, "{connections:?}");
    }
    assert_eq!(state.counts().users, 3500, "whose deadline is another");
}

/// Errors of a wall clock in microseconds.
fn wild() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), -SECOND..SECOND, -DAY..DAY, -1000 * DAY..1000 * DAY]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_wild_wall_clock_changes_no_delivery(ops in ops(60), walls in vec(wild(), 60)) {
        let (mut calm, mut wild) = (World::new(), World::new());
        for (op, off) in ops.iter().zip(walls) {
            op.happen(&mut calm);
            wild.wall_is_off = off;
            op.happen(&mut wild);
            prop_assert_eq!(wild.state.next_deadline(), calm.state.next_deadline());
        }
        prop_assert_eq!(wild.listeners.len(), calm.listeners.len());
        for (wild, calm) in wild.listeners.iter().zip(&calm.listeners) {
            prop_assert_eq!(wild.end, calm.end);
            prop_assert_eq!(wild.got.len(), calm.got.len());
            for (wild, calm) in wild.got.iter().zip(&calm.got) {
                prop_assert_eq!((wild.sequence, summary(wild)), (calm.sequence, summary(calm)));
            }
        }
    }
}
