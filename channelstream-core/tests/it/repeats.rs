//! Repeats: a request with a key is carried out once, whatever comes again.

use std::time::Duration;

use channelstream_core::protocol::{
    Address, Change, ChannelConfig, ChannelSettings, Configure, Connect, Delete, DeleteChannels,
    NewMessage, SetUserState, Subscribe, Unsubscribe, Uuid,
};
use channelstream_core::state::{Command, Refusal, Reply, Rules, State};
use proptest::prelude::ProptestConfig;
use proptest::{prop_assert, prop_assert_eq, proptest};

use crate::random::{Op, keyed, ops};
use crate::world::{NODE, World, json, millis, new_text, rules, secs, to, user_state};

const WINDOW: Duration = Duration::from_secs(60);

fn world() -> World {
    World::with(Rules { idempotency_window: WINDOW, ..rules() })
}

/// A world in which ann listens in a channel that has a history.
fn room() -> World {
    let mut w = world();
    w.configure("room", ChannelSettings { store_history: true, ..ChannelSettings::default() });
    w.join("ann", &["room"]);
    w
}

fn say(text: &str) -> Command {
    Command::Publish(vec![to("room", text)])
}

fn history(w: &mut World) -> usize {
    w.info().channels["room"].history.len()
}

/// The reply or refusal as it would be answered.
fn told(reply: &Result<Reply, Refusal>) -> String {
    match reply {
        Ok(reply) => json(reply),
        Err(refusal) => json(&refusal.field_errors()),
    }
}

/// Each kind of request that a backend makes.
fn requests(w: &mut World) -> Vec<Command> {
    let (ann, ben) = (w.id("ann"), w.id("ben"));
    let address = || Address::channel("room");
    let configs =
        [("room", ChannelConfig { notify_presence: Some(true), ..ChannelConfig::default() })];
    vec![
        Command::Connect {
            connection: ben,
            request: Box::new(Connect {
                user_state: user_state(r#"{"n": 1.50, "t": "\u00e9"}"#),
                ..Connect::new("ben").channels(["room", "other"])
            }),
        },
        Command::Subscribe(Subscribe::new(ann, ["other", "third"])),
        Command::Unsubscribe(Unsubscribe::new(ann, ["third"])),
        Command::SetUserState(SetUserState::new("ann", user_state(r#"{"a": 1e2, "b": null}"#))),
        Command::Configure(Configure::new(configs)),
        Command::Publish(vec![
            NewMessage { uuid: Some(Uuid::from_u128(7)), ..to("room", "one") },
            to("room", "two"),
            to("nowhere", "three"),
            NewMessage::new("bot", Address::default()),
        ]),
        Command::Change(vec![Change::Edit(new_text(7, address(), "changed"))]),
        Command::Delete(vec![Delete::new(Uuid::from_u128(7), address())]),
        Command::DeleteChannels(DeleteChannels::new(["other", "none"])),
        Command::Disconnect(ben),
        Command::Subscribe(Subscribe::new(Uuid::from_u128(99), ["room"])),
    ]
}

#[test]
fn every_request_is_carried_out_once_and_answered_alike() {
    let mut w = room();
    for (number, command) in requests(&mut w).into_iter().enumerate() {
        let key = format!("key {number}");
        let first = w.apply_once(&key, 1, command.clone());
        assert!(!w.replayed);
        let (nothing, heard) = (w.after_nothing(3), w.take("ann").len());
        for _ in 0..3 {
            let again = w.apply_once(&key, 1, command.clone());
            assert!(w.replayed, "{command:?}");
            assert_eq!(told(&again), told(&first), "{command:?}");
        }
        assert!(w.state.snapshot() == nothing, "nothing happens: {command:?}");
        assert!(w.take("ann").is_empty() || heard == 0, "nobody hears of it: {command:?}");
    }
}

#[test]
fn the_first_answer_stays_though_the_world_goes_on() {
    let mut w = room();
    let ben = Command::Connect {
        connection: w.id("ben"),
        request: Box::new(Connect::new("ben").channels(["room"])),
    };
    let connected = w.apply_once("c", 1, ben.clone());
    let posted = w.apply_once("p", 2, say("hello"));
    let Ok(Reply::Published(messages)) = &posted else { panic!("{posted:?}") };
    let id = messages[0].uuid.as_u128();
    w.edit(new_text(id, Address::channel("room"), "changed"));
    w.say("room", "more");
    w.delete(id, Address::channel("room"));
    w.disconnect("ben");
    w.advance(secs(2));
    assert_eq!(told(&w.apply_once("p", 2, say("hello"))), told(&posted));
    assert_eq!(told(&w.apply_once("c", 1, ben)), told(&connected));
    assert!(!w.knows("ben"), "a repeat does not connect again");
}

#[test]
fn a_refusal_is_an_answer_too() {
    let mut w = world();
    let subscribe = Command::Subscribe(Subscribe::new(w.id("ann"), ["room"]));
    let refused = w.apply_once("k", 1, subscribe.clone());
    assert_eq!(refused.unwrap_err(), Refusal::UnknownConnection);
    w.connect("ann", &[]);
    let again = w.apply_once("k", 1, subscribe.clone());
    assert_eq!((again.unwrap_err(), w.replayed), (Refusal::UnknownConnection, true));
    assert!(w.apply_once("another", 1, subscribe).is_ok());
}

#[test]
fn a_key_belongs_to_one_request() {
    let mut w = room();
    w.apply_once("k", 1, say("one")).unwrap();
    let nothing = w.after_nothing(1);
    let refused = w.apply_once("k", 2, say("two")).unwrap_err();
    assert_eq!((refused, w.replayed), (Refusal::KeyReused, false));
    assert!(w.state.snapshot() == nothing, "the first answer is still there, and nothing else");
    assert!(w.apply_once("k", 1, say("one")).is_ok() && w.replayed);
    assert_eq!(history(&mut w), 1);
}

#[test]
fn requests_without_a_key_are_no_repeats() {
    let mut w = room();
    w.apply(say("one")).unwrap();
    w.apply(say("one")).unwrap();
    assert!(!w.replayed);
    assert_eq!((history(&mut w), w.state.counts().kept_answers), (2, 0));
}

#[test]
fn an_answer_is_kept_for_the_window() {
    let mut w = room();
    w.apply_once("k", 1, say("one")).unwrap();
    w.advance(WINDOW - millis(1));
    w.apply_once("k", 1, say("one")).unwrap();
    assert!(w.replayed, "a repeat does not prolong it");
    w.jump(millis(1));
    w.apply_once("k", 2, say("two")).unwrap();
    assert!(!w.replayed);
    assert_eq!(history(&mut w), 2);
}

#[test]
fn many_answers_are_forgotten_with_few_ticks() {
    let mut w = World::with(Rules {
        idempotency_window: WINDOW,
        connection_timeout: WINDOW * 100,
        ..rules()
    });
    w.connect("ann", &["room"]);
    for number in 0..1000 {
        w.apply_once(&format!("k{number}"), 1, say("x")).unwrap();
        w.jump(millis(1));
    }
    assert_eq!(w.state.counts().kept_answers, 1000);
    let before = w.log.len();
    w.advance(WINDOW + secs(10));
    assert_eq!((w.state.counts().kept_answers, w.state.counts().kept_bytes), (0, 0));
    assert_eq!(w.state.counts().evicted_answers, 0);
    assert!(w.log.len() - before <= 5, "{} ticks", w.log.len() - before);
}

#[test]
fn the_oldest_are_forgotten_over_the_bounds() {
    let mut w = World::with(Rules { idempotency_keys: 3, ..rules() });
    for number in 0..5 {
        w.apply_once(&format!("k{number}"), 1, say("x")).unwrap();
    }
    let counts = w.state.counts();
    assert_eq!((counts.kept_answers, counts.evicted_answers), (3, 2));
    for (number, known) in [(2, true), (3, true), (4, true), (0, false), (2, false)] {
        w.apply_once(&format!("k{number}"), 1, say("x")).unwrap();
        assert_eq!(w.replayed, known, "{number}");
    }
}

#[test]
fn bytes_are_a_bound_too_and_one_answer_does_not_push_all_others_out() {
    let bytes = 10_000;
    let mut w = World::with(Rules { idempotency_bytes: bytes, ..rules() });
    let long = "x".repeat(3000);
    for number in 0..20 {
        w.apply_once(&format!("k{number}"), 1, say(&long)).unwrap();
        assert!(w.state.counts().kept_bytes <= bytes);
    }
    let kept = w.state.counts().kept_answers;
    assert!((1..=3).contains(&kept), "{kept}");
    w.apply_once("large", 1, say(&"x".repeat(bytes))).unwrap();
    assert_eq!(w.state.counts().kept_answers, kept);
    assert_eq!(w.state.counts().evicted_answers, 20 - kept as u64 + 1);
    w.apply_once("k19", 1, say(&long)).unwrap();
    assert!(w.replayed);
}

#[test]
fn a_restored_state_knows_every_kind_of_answer() {
    let mut w = room();
    let commands = requests(&mut w);
    let mut first = Vec::new();
    for (number, command) in commands.iter().enumerate() {
        first.push(told(&w.apply_once(&format!("k{number}"), 1, command.clone())));
    }
    let (bytes, deadline) = (w.state.snapshot(), w.state.next_deadline());
    w.state = State::restore(&bytes).unwrap().for_node(NODE);
    assert!(w.state.snapshot() == bytes && w.state.next_deadline() == deadline);
    for (number, command) in commands.into_iter().enumerate() {
        let again = w.apply_once(&format!("k{number}"), 1, command.clone());
        assert!(w.replayed, "{command:?}");
        assert_eq!(told(&again), first[number], "{command:?}");
    }
    w.advance(WINDOW + secs(6));
    assert_eq!(w.state.counts().kept_answers, 0);
}

#[test]
fn bounds_that_shrink_count_for_what_is_kept_as_soon_as_something_comes() {
    let mut w = World::new();
    for number in 0..10 {
        w.apply_once(&format!("k{number}"), 1, say("x")).unwrap();
    }
    let rules = Rules { idempotency_keys: 4, ..rules() };
    w.apply(Command::Rules(Box::new(rules))).unwrap();
    w.apply_once("new", 1, say("x")).unwrap();
    assert_eq!(w.state.counts().kept_answers, 4);
}

#[test]
fn each_message_has_the_number_of_its_event() {
    let mut w = room();
    let Ok(Reply::Published(posted)) = w.apply(Command::Publish(vec![
        to("room", "one"),
        to("nowhere", "two"),
        NewMessage::new("bot", Address::users(["ann"])),
        NewMessage::new("bot", Address::users(["nobody"])),
        to("room", "three"),
    ])) else {
        panic!("it is accepted")
    };
    let seq: Vec<_> =
        posted.iter().map(|posted| posted.receipt.seq.map(|seq| seq.sequence)).collect();
    let heard: Vec<_> = w.take("ann").iter().map(|got| Some(got.sequence)).collect();
    assert_eq!([seq[0], seq[2], seq[4]][..], heard[..]);
    assert_eq!((seq[1], seq[3]), (None, None));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, a command that comes again at once changes nothing.
    #[test]
    fn a_repeat_changes_nothing(ops in ops(60), keyed in keyed()) {
        let mut w = World::new();
        for op in ops {
            op.happen(&mut w);
        }
        let Op::Repeated { key, command } = keyed else { panic!("{keyed:?}") };
        let first = w.apply_once(key, 1, command.clone());
        let refused = matches!(first, Err(Refusal::KeyReused));
        let nothing = w.after_nothing(1);
        let again = w.apply_once(key, 1, command);
        prop_assert_eq!(w.replayed, !refused);
        prop_assert_eq!(told(&again), told(&first));
        prop_assert!(w.state.snapshot() == nothing);
    }
}
