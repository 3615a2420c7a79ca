//! Stored forms: entries come back as they were, damage is an error, and the bytes do not change unnoticed.

use std::fmt::Write as _;
use std::sync::Arc;
use std::{env, fs};

use channelstream_core::protocol::{
    Address, AppendRequest, Change, ChannelConfig, Configure, Connect, DateTime, Delete,
    DeleteChannels, DisconnectUser, Edit, Epoch, Event, InfoOptions, Message, NewMessage, Opening,
    SetUserState, Status, Subscribe, Timestamp, Unsubscribe, Uuid,
};
use channelstream_core::state::stored::{
    LEVEL, Levels, OLDEST, StoredError, UnknownLevel, decode, encode,
};
use channelstream_core::state::{
    Alive, Appends, CatchUp, ChannelDefaults, Closing, Command, ConnectionId, Envelope, ListenerId,
    ListenerKind, Moment, NodeId, Pattern, Position, Repeat, Rules, Sent, SnapshotError, Stamp,
    State,
};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any};
use proptest::proptest;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::value::RawValue;

use crate::random::{op_or_removal, ops_and_removals};
use crate::world::{
    NODE, World, announcing, decoded, encoded, millis, rules, to_users, user_state,
};

fn envelope(command: Command) -> Envelope {
    let now = Timestamp::from_micros(1_704_067_200_123_456);
    let stamp = Stamp { now, moment: Moment::default().after(millis(1500)), seed: 1 << 100 | 7 };
    Envelope { node: NodeId::new(0x1234_5678), number: 300, stamp, command, repeat: None }
}

fn some_settings() -> ChannelConfig {
    ChannelConfig {
        history_size: Some(300),
        notify_state: Some(true),
        history_ttl: Some(600),
        ..ChannelConfig::default()
    }
}

/// Rules with a pattern.
fn patterned() -> Rules {
    let pattern = Pattern::new("orders-*");
    let channel_defaults = vec![ChannelDefaults { pattern, settings: some_settings() }];
    Rules { channel_defaults, ..rules() }
}

/// JSON as nobody would write it a second time.
fn odd_json(json: &str) -> Arc<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap().into()
}

fn said() -> NewMessage {
    NewMessage {
        payload: Some(odd_json(r#"{ "n": 1.500, "big": 12345678901234567890, "t": "\u00e9" }"#)),
        uuid: Some(Uuid::from_u128(5)),
        timestamp: DateTime::parse("2024-01-02T03:04:05.000006+02:00"),
        no_history: true,
        opening: Some(Box::new(Opening::new(["ann"]).append_timeout(20))),
        ..NewMessage::new("bot", Address { pm_users: vec!["ann".into()], ..Address::channel("é") })
    }
}

/// The name of a command. Each has an entry in [`samples`].
fn name(command: &Command) -> &'static str {
    match command {
        Command::Connect { .. } => "connect",
        Command::Subscribe(_) => "subscribe",
        Command::Unsubscribe(_) => "unsubscribe",
        Command::SetUserState(_) => "set user state",
        Command::Configure(_) => "configure",
        Command::DeleteChannels(_) => "delete channels",
        Command::Publish(_) => "publish",
        Command::Change(_) => "change",
        Command::Cancel { .. } => "cancel",
        Command::Delete(_) => "delete",
        Command::Disconnect(_) => "disconnect",
        Command::Open { .. } => "open",
        Command::Close { .. } => "close",
        Command::Tick => "tick",
        Command::Begin { .. } => "begin",
        Command::Alive(_) => "alive",
        Command::Leave => "leave",
        Command::Rules(_) => "rules",
        Command::Raise(_) => "raise",
        Command::DisconnectUser(_) => "disconnect user",
    }
}

/// An entry of each command, with every field in use.
fn samples() -> Vec<Envelope> {
    let connection = ConnectionId::from_u128(0xc0 << 120 | 1);
    let listener = ListenerId::new(9);
    let address = || Address { exclude_users: vec!["ben".into()], ..Address::channel("room") };
    let info = InfoOptions { exclude_channels: vec!["x".into()], ..InfoOptions::default() };
    let append = AppendRequest::new(Uuid::from_u128(6), Some("room".into()));
    let commands = vec![
        Command::Connect {
            connection,
            request: Box::new(Connect {
                conn_id: Some(connection.into()),
                fresh_user_state: user_state(r#"{"a": 1.50, "b": "\u00e9"}"#),
                user_state: user_state(r#"{"c": null}"#),
                state_public_keys: vec!["a".into()],
                channel_configs: [("room".to_owned(), some_settings())].into_iter().collect(),
                info: info.clone(),
                ..Connect::new("ann").channels(["room", "é"])
            }),
        },
        Command::Subscribe(Subscribe {
            channel_configs: [("room".to_owned(), some_settings())].into_iter().collect(),
            info: info.clone().channels(["room"]),
            ..Subscribe::new(connection, ["room"])
        }),
        Command::Unsubscribe(Unsubscribe { info, ..Unsubscribe::new(connection, ["room"]) }),
        Command::SetUserState(SetUserState {
            state_public_keys: Some(vec!["a".into()]),
            ..SetUserState::new("ann", user_state(r#"{"a": true}"#))
        }),
        Command::Configure(Configure {
            channels: [("room".to_owned(), Some(some_settings())), ("new".to_owned(), None)]
                .into_iter()
                .collect(),
        }),
        Command::DeleteChannels(DeleteChannels::new(["room"])),
        Command::Publish(vec![
            said(),
            NewMessage::new("bot", Address::users(["ann", "ben"])).expires(86_400),
        ]),
        Command::Change(vec![
            Change::Edit(Edit {
                user: Some("other".into()),
                payload: Some(odd_json(r#"{"e":0}"#)),
                edited: Some(DateTime::from(Timestamp::from_micros(1))),
                ..Edit::new(Uuid::from_u128(5), address())
            }),
            Change::Append(append.text("/a/0", "more").status(Status::Done).step(3)),
        ]),
        Command::Cancel { connection, message: Uuid::from_u128(6) },
        Command::Delete(vec![Delete::new(Uuid::from_u128(5), address())]),
        Command::Disconnect(connection),
        Command::Open {
            connection,
            listener,
            kind: ListenerKind::Poll,
            catch_up: CatchUp::Read,
            appends: Appends::AsEdits,
        },
        Command::Close {
            connection,
            listener,
            how: Closing::Otherwise,
            sent: Sent { up_to: 500, but: vec![7, 300] },
        },
        Command::Tick,
        Command::Begin { epoch: Epoch::new(1_704_067_200_000_007), alone: true },
        Command::Alive(Box::new(Alive {
            level: LEVEL,
            position: Position { epoch: Epoch::new(1_704_067_200_000_007), number: 500 },
            digest: u64::MAX,
            sent: 300,
            but: vec![(listener, 200)],
        })),
        Command::Leave,
        Command::Rules(Box::new(patterned())),
        Command::Raise(LEVEL + 1),
        Command::DisconnectUser(Box::new(DisconnectUser::new("ann").reason("é").refuse_for(300))),
    ];
    let mut all: Vec<_> = commands.into_iter().map(envelope).collect();
    let repeat = Repeat { key: "key".into(), fingerprint: u128::MAX };
    all.push(Envelope { repeat: Some(Box::new(repeat)), ..envelope(Command::Tick) });
    all
}

/// A small state with an event, a history, a private message, an open message and a kept answer.
fn small() -> World {
    let mut w = World::new();
    let open = NewMessage { address: Address::channel("room"), ..said() };
    w.configure("room", announcing());
    let settings = ChannelConfig { history_ttl: Some(600), ..announcing().into() };
    w.configure("room", ChannelConfig { store_history: Some(true), ..settings });
    w.connect_with(
        "ann",
        Connect {
            user_state: user_state(r#"{"a": 1.50}"#),
            state_public_keys: vec!["a".into()],
            ..Connect::new("ann").channels(["room"])
        },
    );
    w.socket("ann");
    w.connect("ben", &[]);
    w.apply_once("key", 1, Command::Publish(vec![open])).unwrap();
    w.say_as(2, "room", "one");
    w.post(to_users(&["ann", "ben"], "psst").expires(60));
    w.disconnect_user(DisconnectUser::new("eve").reason("spam").refuse_for(300));
    w
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn the_bytes_of_this_level_are_as_they_were() {
    let mut text = String::new();
    for sample in samples() {
        let key = if sample.repeat.is_some() { " with a key" } else { "" };
        writeln!(text, "{}{key}: {}", name(&sample.command), hex(&encoded(&sample))).unwrap();
    }
    writeln!(text, "snapshot: {}", hex(&small().state.snapshot())).unwrap();
    let path = format!("{}/tests/it/stored/level-{LEVEL}.txt", env!("CARGO_MANIFEST_DIR"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    for (now, before) in text.lines().zip(before.lines()) {
        assert_eq!(
            now, before,
            "a changed form needs a new level; UPDATE_GOLDEN=1 writes its bytes"
        );
    }
    assert_eq!(text.lines().count(), before.lines().count(), "{path}");
}

#[test]
fn entries_come_back_as_they_were() {
    for sample in samples() {
        let stored = decoded(&encoded(&sample)).unwrap();
        assert_eq!(format!("{stored:?}"), format!("{sample:?}"));
        assert_eq!(encoded(&stored), encoded(&sample), "with all that Debug does not show");
        let Command::Publish(messages) = stored.command else { continue };
        let payload = messages[0].payload.as_ref().unwrap();
        assert_eq!(payload.get(), said().payload.unwrap().get(), "byte for byte");
    }
}

#[test]
fn another_level_is_named() {
    let bytes = encoded(&envelope(Command::Tick));
    assert_eq!(u32::from(bytes[0]), LEVEL);
    let with_level = |level: &[u8]| decoded(&[level, &bytes[1..]].concat()).unwrap_err();
    let unknown = |found| StoredError::Level(UnknownLevel { found, known: Levels::KNOWN });
    assert_eq!(with_level(&[99]), unknown(99));
    assert_eq!(with_level(&[0xff, 0x7f]), unknown(16383));
    assert!(with_level(&[99]).to_string().contains("level 99"));
    assert!(matches!(with_level(&[0]), StoredError::Damaged(_)));
    assert!(matches!(with_level(&[0xff; 9]), StoredError::Damaged(_)));
}

#[test]
fn a_cut_entry_is_damaged_and_so_is_one_that_goes_on() {
    for sample in samples() {
        let mut bytes = encoded(&sample);
        for end in 0..bytes.len() {
            assert!(matches!(decoded(&bytes[..end]), Err(StoredError::Damaged(_))), "{sample:?}");
        }
        bytes.push(0);
        assert!(matches!(decoded(&bytes), Err(StoredError::Damaged(_))), "{sample:?}");
    }
}

#[test]
fn no_wrong_bit_breaks_the_reader_or_the_state() {
    let mut w = small();
    w.connect("cat", &["room"]);
    let snapshot = w.state.snapshot();
    for sample in samples() {
        let bytes = encoded(&sample);
        let mut state = State::restore(&snapshot).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut wrong = bytes.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = decoded(&wrong) {
                state.apply(read);
            }
        }
    }
}

/// What is said to be long and is not costs no memory.
#[test]
fn lengths_are_not_believed() {
    let longest = [&[0xff; 9][..], &[1]].concat();
    for sample in samples() {
        let bytes = encoded(&sample);
        for place in 0..bytes.len() {
            let wrong = [&bytes[..place], &longest, &bytes[place..]].concat();
            let _ = decoded(&wrong);
            let wrong = [&bytes[..place], &longest].concat();
            let _ = decoded(&wrong);
        }
    }
}

/// Returns the snapshot with other contents under a right checksum.
fn with_contents(snapshot: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let end = snapshot.iter().position(|byte| *byte == b'\n').unwrap();
    let mut contents = snapshot[end + 1..].to_vec();
    change(&mut contents);
    let header = format!("channelstream-state {LEVEL} {:08x}\n", crc32fast::hash(&contents));
    [header.as_bytes(), &contents].concat()
}

#[test]
fn a_snapshot_that_another_program_made_up_does_not_break_the_reader() {
    let bytes = small().state.snapshot();
    let length = bytes.len() - bytes.iter().position(|byte| *byte == b'\n').unwrap() - 1;
    assert_eq!(with_contents(&bytes, |_| {}), bytes);
    for end in 0..length {
        let cut = State::restore(&with_contents(&bytes, |all| all.truncate(end)));
        assert!(matches!(cut, Err(SnapshotError::Unreadable(_))), "{end}");
    }
    let longer = State::restore(&with_contents(&bytes, |all| all.push(0)));
    assert!(matches!(longer, Err(SnapshotError::Unreadable(_))));
    for bit in 0..length * 8 {
        let wrong = with_contents(&bytes, |all| all[bit / 8] ^= 1 << (bit % 8));
        let _ = State::restore(&wrong);
    }
    State::restore(&bytes).unwrap();
}

/// The messages that a connection receives as it comes back.
fn missed(w: &mut World, label: &str) -> Vec<Arc<Message>> {
    w.socket(label);
    let events = w.take(label).into_iter().map(|got| got.event);
    events
        .filter_map(|event| if let Event::Message(it) = event { Some(it) } else { None })
        .collect()
}

#[test]
fn a_restored_state_shares_what_was_shared() {
    let mut w = small();
    w.connect("cat", &["room"]);
    w.say("room", "two");
    w.post(to_users(&["ben", "cat"], "psst"));
    w.state = State::restore(&w.state.snapshot()).unwrap().for_node(NODE);
    let (one, other) = (w.connect("ben/2", &[]), w.connect("cat/2", &["room"]));
    assert!(Arc::ptr_eq(&one.state, &other.state), "the empty state");
    assert!(Arc::ptr_eq(&w.connect("new", &[]).state, &one.state), "of new users too");
    let history = w.channel("room").history;
    let (of_ben, of_cat) = (missed(&mut w, "ben"), missed(&mut w, "cat"));
    let is_in = |message: &&Arc<Message>, list: &[Arc<Message>]| {
        list.iter().any(|other| Arc::ptr_eq(message, other))
    };
    assert_eq!(of_cat.iter().filter(|message| is_in(message, &history)).count(), 1);
    assert_eq!(of_cat.iter().filter(|message| is_in(message, &of_ben)).count(), 1);
}

#[test]
fn a_message_to_many_is_stored_once() {
    let mut w = World::new();
    let users: Vec<_> = (0..50).map(|number| format!("user{number}")).collect();
    users.iter().for_each(|user| drop(w.connect(user, &[])));
    let before = w.state.snapshot().len();
    let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(10_000));
    let address = Address::users(users);
    w.post(NewMessage { payload: Some(odd_json(&payload)), ..NewMessage::new("bot", address) });
    let more = w.state.snapshot().len() - before;
    assert!((payload.len()..payload.len() * 2).contains(&more), "{more}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_the_reader(mut bytes in vec(any::<u8>(), 0..200), is_level in any::<bool>()) {
        if let (true, Some(first)) = (is_level, bytes.first_mut()) {
            *first = u8::try_from(LEVEL).unwrap();
        }
        let _ = decoded(&bytes);
    }

    #[test]
    fn no_wrong_byte_of_any_command_breaks_the_reader(
        ops in ops_and_removals(40), place in any::<usize>(), byte in any::<u8>()
    ) {
        let mut w = World::new();
        ops.into_iter().for_each(|op| op.happen(&mut w));
        for envelope in &w.log {
            let mut bytes = encoded(envelope);
            let place = place % bytes.len();
            bytes[place] = byte;
            let _ = decoded(&bytes);
            assert!(decoded(&bytes[..place]).is_err());
        }
    }
}

#[test]
fn an_entry_has_the_level_that_was_in_force() {
    let tick = envelope(Command::Tick);
    let mut bytes = Vec::new();
    encode(&tick, LEVEL + 1, &mut bytes);
    let unknown = UnknownLevel { found: LEVEL + 1, known: Levels::KNOWN };
    assert_eq!(decoded(&bytes).unwrap_err(), StoredError::Level(unknown));
    let read = decode(&bytes, Levels { oldest: 1, newest: LEVEL + 1 }).unwrap();
    assert_eq!(format!("{read:?}"), format!("{tick:?}"));
}

/// The entries of a journal in which everything happens.
fn story() -> (Vec<u8>, Vec<Envelope>) {
    let mut w = World::with(patterned());
    let begin = w.state.snapshot();
    let mut runner = TestRunner::deterministic();
    for op in vec(op_or_removal(), 260).new_tree(&mut runner).unwrap().current() {
        op.happen(&mut w);
    }
    // Numbers begin anew, since one node has no number twice.
    let samples = samples().into_iter().zip(1..);
    let samples = samples.map(|(sample, number)| Envelope { number, ..sample });
    (begin, w.log.into_iter().chain(samples).collect())
}

/// What a replay of a recorded journal has to come to: the snapshot before it; each entry, and the digest after it;
/// and the snapshot at the end.
fn recorded(begin: &[u8], entries: &[Vec<u8>]) -> String {
    let mut state = State::restore(begin).unwrap().for_node(NODE);
    let mut text = format!("{}\n", hex(begin));
    for bytes in entries {
        state.apply(decoded(bytes).unwrap());
        writeln!(text, "{:016x} {}", state.digest(), hex(bytes)).unwrap();
    }
    writeln!(text, "{}", hex(&state.snapshot())).unwrap();
    text
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
    digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect()
}

/// Each level that is known has a journal that was recorded by the release with which it began. To replay it must
/// come to the same digests, whatever later releases do at later levels.
#[test]
fn a_recorded_journal_comes_to_the_same_state() {
    let path =
        |level| format!("{}/tests/it/stored/journal-{level}.txt", env!("CARGO_MANIFEST_DIR"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        let (begin, story) = story();
        let entries: Vec<_> = story.iter().map(encoded).collect();
        fs::write(path(LEVEL), recorded(&begin, &entries)).unwrap();
    }
    for level in OLDEST..=LEVEL {
        let before = fs::read_to_string(path(level)).unwrap();
        let lines: Vec<_> = before.lines().collect();
        let [begin, entries @ .., _] = &lines[..] else { panic!("it is empty") };
        let entries = entries.iter().map(|line| bytes_of(line.split_once(' ').unwrap().1));
        let entries: Vec<_> = entries.collect();
        let names: std::collections::BTreeSet<_> =
            entries.iter().map(|bytes| decoded(bytes).unwrap().command.name()).collect();
        assert!(entries.len() > 200 && names.len() >= 18, "{names:?}");
        let now = recorded(&bytes_of(begin), &entries);
        for (number, (now, before)) in now.lines().zip(before.lines()).enumerate() {
            assert_eq!(now, before, "level {level}: entry {number} has another effect");
        }
    }
}
