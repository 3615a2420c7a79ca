//! Messages that expire, and channels whose messages leave by age (contract §14).

use std::collections::BTreeSet;

use channelstream_core::protocol::{
    Address, AppendRequest, Bounds, ChannelConfig, ChannelSettings, Configure, Connect, Edit,
    NewMessage, Opening, Status, Uuid, parse, read_messages,
};
use channelstream_core::state::stored::LEVEL;
use channelstream_core::state::{
    Alive, ChannelDefaults, Closing, Command, Keep, Pattern, Refusal, Rules, Since, State,
};

use crate::world::{
    NODE, World, decoded, encoded, hours, new_text, remembering, rules, secs, summary, to, to_users,
};

fn room() -> Address {
    Address::channel("room")
}

/// A world with a room that keeps a history of a hundred messages, where ann listens with a cursor.
fn with_room() -> World {
    let mut w = World::new();
    w.configure("room", remembering(100));
    w.connect("ann", &["room"]);
    w.follow("ann", Since::Record);
    w.catch_up("ann");
    w.expect("ann", &["~cursor"]);
    w
}

fn leave(w: &mut World) {
    w.take("ann");
    w.end("ann", Closing::Otherwise);
}

fn come_back(w: &mut World) {
    let cursor = w.cursor("ann").unwrap();
    w.follow("ann", Since::Cursor(cursor));
    w.catch_up("ann");
}

fn lasting(seconds: u64) -> ChannelSettings {
    ChannelSettings { history_ttl: Some(seconds), ..remembering(100) }
}

#[test]
fn what_has_expired_is_found_nowhere_and_leaves_no_gap() {
    let mut w = with_room();
    w.connect("ben", &["room"]);
    leave(&mut w);
    w.say("room", "stays");
    w.post(to("room", "goes").id(Uuid::from_u128(1)).expires(10));
    w.edit(new_text(1, room(), "goes too"));
    w.post(to_users(&["ann"], "private").id(Uuid::from_u128(2)).expires(10));
    w.edit(new_text(2, Address::users(["ann"]), "private too"));
    w.say("room", "stays too");
    assert_eq!(w.history("room"), ["stays", "goes too", "stays too"]);
    w.advance(secs(9));
    assert_eq!(w.history("room").len(), 3);
    w.advance(secs(1));
    assert_eq!(w.history("room"), ["stays", "stays too"]);
    come_back(&mut w);
    w.expect("ann", &["~room bot: stays", "~room bot: stays too"]);
    w.socket("ben");
    w.expect("ben", &["~room bot: stays", "~room bot: stays too"]);
    // It is not there to be edited, and the event of the edit comes as for any unknown message.
    w.edit(new_text(1, room(), "again"));
    assert_eq!(w.history("room"), ["stays", "stays too"]);
    w.delete(1, room());
    w.expect("ann", &["room edit 1: again", "room delete 1"]);
}

#[test]
fn who_listens_is_sent_nothing_when_it_expires() {
    let mut w = with_room();
    w.post(to("room", "goes").expires(10));
    w.expect("ann", &["room bot: goes"]);
    w.advance(secs(60));
    w.expect("ann", &[]);
}

#[test]
fn only_a_message_that_expires_says_so() {
    let mut w = with_room();
    let goes = w.post(to("room", "goes").expires(86_400)).unwrap();
    let stays = w.post(to("room", "stays")).unwrap();
    assert_eq!(goes.expires_at.unwrap().to_string(), "2024-01-02T00:00:00");
    let json = |message: &_| serde_json::to_string(message).unwrap();
    assert!(json(&goes).contains(r#""expires_at":"2024-01-02T00:00:00""#), "{}", json(&goes));
    assert!(!json(&stays).contains("expires"), "{}", json(&stays));
    let read: channelstream_core::protocol::Message = serde_json::from_str(&json(&goes)).unwrap();
    assert_eq!(read.expires_at, goes.expires_at);
    let events: Vec<_> = w.take("ann").iter().map(|got| got.event.encode(false)).collect();
    assert!(events[0].ends_with(r#""catchup":false,"expires_at":"2024-01-02T00:00:00"}"#));
    assert!(events[1].ends_with(r#""catchup":false}"#), "{}", events[1]);
}

#[test]
fn bodies_are_checked() {
    let errors = |fields: &str| {
        let json = format!(r#"[{{"user": "a", "channel": "c"{fields}}}]"#);
        let body = parse(json.as_bytes(), Bounds::default()).unwrap();
        let read = read_messages(&body);
        read.err().map(|rejected| serde_json::to_string(&rejected.errors).unwrap())
    };
    let longest = format!(r#", "expires": {}"#, NewMessage::LONGEST_LIFE);
    for good in ["", r#", "expires": 1"#, &longest] {
        assert_eq!(errors(good), None, "{good}");
    }
    for bad in ["0", "-1", "315360001", "\"soon\"", "null", "[]"] {
        let found = errors(&format!(r#", "expires": {bad}"#)).unwrap();
        assert!(found.starts_with(r#"{"0":{"expires":["#), "{bad}: {found}");
    }
    assert_eq!(
        errors(r#", "expires": 5, "status": "open""#).unwrap(),
        r#"{"0":{"expires":["Not with status \"open\"."]}}"#
    );
}

#[test]
fn an_answer_to_a_repeat_says_what_was_said_first() {
    let mut w = with_room();
    let publish = || Command::Publish(vec![to("room", "goes").expires(10)]);
    let first = format!("{:?}", w.apply_once("k", 1, publish()).unwrap());
    w.advance(secs(20));
    let second = format!("{:?}", w.apply_once("k", 1, publish()).unwrap());
    assert_eq!(first, second);
    assert!(w.replayed && w.history("room").is_empty());
}

/// What is trimmed or deleted is not waited for: without that, the books of expiry would grow for years.
#[test]
fn what_is_gone_before_leaves_nothing_behind() {
    let mut w = World::with(Rules { channel_events: Keep { events: 3, bytes: 10_000 }, ..rules() });
    w.configure("room", remembering(3));
    w.connect("ann", &["room"]);
    let say = |w: &mut World, number: u128| {
        w.post(to("room", "text").id(Uuid::from_u128(number)).expires(NewMessage::LONGEST_LIFE));
        w.post(to_users(&["ann"], "text").expires(NewMessage::LONGEST_LIFE));
    };
    (1..100).for_each(|number| say(&mut w, number));
    let before = w.state.snapshot().len();
    (100..1000).for_each(|number| say(&mut w, number));
    let more = w.state.snapshot().len() - before;
    assert!(more < 300, "{more} bytes more");
    for number in 900..1000 {
        w.delete(number, room());
    }
    assert!(w.history("room").is_empty());
}

/// No step does more than its portion, and each says when the next one is due.
#[test]
fn very_many_expire_a_portion_at_a_time() {
    const MANY: usize = 20_000;
    let keep = Keep { events: MANY, bytes: usize::MAX };
    let mut w = World::with(Rules { channel_events: keep, ..rules() });
    w.configure("room", remembering(MANY as u64));
    for number in 0..MANY {
        // Half of them expire together, the others one by one and not in their order.
        let life = if number % 2 == 0 { 100 } else { 200 + (number as u64 * 7919) % 10_000 };
        let messages = vec![to("room", "text").expires(life)];
        w.apply(Command::Publish(messages)).unwrap();
    }
    w.others.push(State::restore(&w.state.snapshot()).unwrap().for_node(NODE));
    w.jump(secs(100));
    let mut steps = 0;
    while w.state.next_deadline().unwrap() <= w.now {
        w.tick();
        steps += 1;
    }
    assert_eq!(w.history("room").len(), MANY / 2);
    assert!((MANY / 1000..MANY / 1000 + 3).contains(&steps), "{steps}: both in history and events");
    w.advance(secs(20_000));
    assert_eq!(w.history("room"), [""; 0]);
    assert_eq!(w.state.snapshot(), w.others[0].snapshot());
}

#[test]
fn a_setting_for_many_channels_drops_a_portion_at_once() {
    let mut w = World::new();
    let names = ["a", "b", "c"];
    for name in names {
        w.configure(name, remembering(1000));
        (0..500).for_each(|_| w.say(name, "text"));
    }
    w.advance(secs(100));
    // So that the world lets a deadline be in the past.
    w.others.push(State::restore(&w.state.snapshot()).unwrap().for_node(NODE));
    let settings = ChannelSettings { history_size: 1000, ..lasting(60) };
    let all = names.map(|name| (name, settings));
    w.apply(Command::Configure(Configure::new(all))).unwrap();
    let left = |w: &World| names.map(|name| w.history(name).len()).iter().sum::<usize>();
    assert_eq!(left(&w), 1500 - 500 - 400, "500 with 100 events, and 400");
    assert!(w.state.next_deadline().unwrap() <= w.now);
    w.tick();
    assert_eq!(left(&w), 0);
    assert_eq!(w.state.snapshot(), w.others[0].snapshot());
}

#[test]
fn messages_and_events_leave_a_channel_by_age_and_who_missed_them_is_told() {
    let mut w = with_room();
    w.configure("room", lasting(60));
    leave(&mut w);
    w.say("room", "1");
    w.advance(secs(30));
    w.say("room", "2");
    w.advance(secs(29));
    assert_eq!(w.history("room"), ["1", "2"]);
    w.advance(secs(1));
    assert_eq!(w.history("room"), ["2"]);
    w.connect("ben", &["room"]);
    w.connect("ann/2", &["room"]);
    let cursor = w.cursor("ann").unwrap();
    w.follow("ann/2", Since::Cursor(cursor));
    w.catch_up("ann/2");
    w.expect("ann/2", &["~room gap evicted", "~room bot: 2"]);
    w.advance(secs(30));
    assert!(w.history("room").is_empty());
}

#[test]
fn another_lifetime_counts_for_what_is_there() {
    let mut w = with_room();
    w.say("room", "1");
    w.advance(secs(100));
    w.say("room", "2");
    w.configure("room", lasting(60));
    assert_eq!(w.history("room"), ["2"], "at once");
    w.configure("room", lasting(1000));
    w.advance(secs(500));
    assert_eq!(w.history("room"), ["2"]);
    w.configure("room", lasting(0));
    w.advance(hours(48));
    assert_eq!(w.history("room"), ["2"], "0 is no limit");
}

#[test]
fn an_open_message_stays_until_it_ends() {
    let mut w = with_room();
    w.configure("room", lasting(60));
    let open = NewMessage {
        opening: Some(Box::new(Opening::new(["ann"]).append_timeout(3600))),
        ..to("room", "a")
    };
    w.post(open.id(Uuid::from_u128(1)));
    w.say("room", "b");
    w.advance(secs(90));
    assert_eq!(w.history("room"), ["a"], "what came later leaves before it");
    w.append(AppendRequest::new(Uuid::from_u128(1), None).text("text", "more"));
    assert_eq!(w.history("room"), ["amore"]);
    w.append(AppendRequest::new(Uuid::from_u128(1), None).status(Status::Done));
    assert!(w.history("room").is_empty(), "its age is that of its opening");
    assert_eq!(w.state.growth(Uuid::from_u128(1)), None);
}

#[test]
fn deadlines_are_right_after_a_restart_and_an_outage_is_no_time() {
    let mut w = World::with(Rules::default());
    w.configure("room", lasting(60));
    w.configure("other", remembering(10));
    w.say("room", "old");
    w.post(to("other", "goes").expires(60));
    w.advance(secs(1));
    for _ in 0..3 {
        w.state = State::restore(&w.state.snapshot()).unwrap().for_node(NODE);
        // A day passes, and the wall clock steps back by two.
        w.wall_is_off -= 2 * 86_400_000_000;
        w.jump(hours(24));
        w.tick();
    }
    assert_eq!((w.history("room").len(), w.history("other").len()), (1, 1));
    let from = w.now;
    while w.history("room").len() + w.history("other").len() > 0 {
        let when = w.state.next_deadline().unwrap();
        w.now = when.min(w.now.after(secs(2)));
        w.tick();
    }
    assert_eq!(w.now.since(from).as_secs(), 60 - 1 - 15, "of each day five seconds count");
}

#[test]
fn all_nodes_do_the_same() {
    let mut w = World::of_nodes(3, Rules::default());
    w.configure("room", lasting(5));
    for number in 0..20 {
        w.on(number % 3).post(to("room", "text").expires(3 + number as u64 % 5));
        w.pass(700, &[0, 1, 2]);
    }
    assert!((1..20).contains(&w.history("room").len()));
    w.check_nodes();
}

#[test]
fn a_journal_at_the_level_before_refuses_both() {
    let mut w = World::at_level(rules(), 1);
    w.connect("ann", &["room"]);
    let config = ChannelConfig { history_ttl: Some(5), ..ChannelConfig::default() };
    let configs: channelstream_core::protocol::IndexMap<_, _> =
        [("new".to_owned(), config)].into_iter().collect();
    let connect = Connect { channel_configs: configs, ..Connect::new("ann").channels(["new"]) };
    for command in [
        Command::Publish(vec![to("room", "x"), to("room", "x").expires(5)]),
        Command::Configure(Configure::new([("room", config)])),
        Command::Connect { connection: w.id("ann/2"), request: Box::new(connect) },
    ] {
        assert_eq!(command.since(), 2);
        assert_eq!(w.apply(command).unwrap_err(), Refusal::LevelTooLow);
    }
    assert_eq!(Command::Publish(vec![to("room", "x")]).since(), 1);
    assert!(w.history("room").is_empty());
}

/// What the first level does not note begins with the second, on a node that was there as on one that came.
#[test]
fn what_is_there_when_the_level_is_raised_is_as_old_as_that() {
    let mut w = World::of_nodes_at(2, rules(), 1);
    w.configure("room", remembering(10));
    w.say("room", "early");
    w.advance(secs(1));
    let late = w.join_node();
    for node in [0, 1, late] {
        let alive = Alive { level: LEVEL, ..w.look(node) };
        w.say_alive(node, alive);
    }
    w.apply_at(0, Command::Raise(LEVEL));
    assert_eq!(w.state.level(), LEVEL);
    w.configure("room", lasting(4));
    w.pass(3_000, &[0, 1, late]);
    assert_eq!(w.history("room"), ["early"]);
    w.pass(1_500, &[0, 1, late]);
    assert!(w.history("room").is_empty());
    w.check_nodes();
}

#[test]
fn patterns_have_it_from_the_second_level_on() {
    let settings = ChannelConfig {
        history_ttl: Some(5),
        store_history: Some(true),
        ..ChannelConfig::default()
    };
    let defaults = vec![ChannelDefaults { pattern: Pattern::new("room*"), settings }];
    let with_it = Rules { channel_defaults: defaults, ..rules() };
    assert_eq!((with_it.since(), rules().since()), (2, 1));
    let mut w = World::at_level(with_it.clone(), 1);
    w.apply(Command::Rules(Box::new(with_it.clone()))).unwrap();
    let restored = State::restore(&w.state.snapshot()).unwrap();
    assert_eq!(restored.rules(), w.state.rules());
    w.say("room", "x");
    w.configure("room", ChannelConfig::default());
    assert_eq!(w.channel("room").settings.history_ttl, None);

    let mut w = World::with(with_it);
    w.configure("room1", ChannelConfig::default());
    w.say("room1", "x");
    w.advance(secs(5));
    assert!(w.history("room1").is_empty());
}

#[test]
fn an_edit_that_changes_only_the_user_goes_with_the_message() {
    let mut w = with_room();
    leave(&mut w);
    w.post(to("room", "goes").id(Uuid::from_u128(1)).expires(10));
    w.edit(Edit { user: Some("eve".into()), ..Edit::new(Uuid::from_u128(1), room()) });
    w.advance(secs(10));
    come_back(&mut w);
    let came: BTreeSet<_> = w.take("ann").iter().map(summary).collect();
    assert!(came.is_empty(), "{came:?}");
}

/// Entries of the first level have no bytes of it.
#[test]
fn entries_come_back_with_both() {
    let mut w = World::new();
    w.configure("room", lasting(7));
    w.post(to("room", "goes").expires(9));
    for envelope in &w.log {
        assert_eq!(format!("{:?}", decoded(&encoded(envelope)).unwrap()), format!("{envelope:?}"));
    }
}

/// A message that grew for longer than the channel keeps things, and is over by the command that `ends` it.
fn grown_old(ends: Vec<NewMessage>) -> World {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    let settings = ChannelSettings { frames_size: Some(2), ..remembering(2) };
    w.configure("room", settings);
    let opening = Some(Box::new(Opening::new(["ann"])));
    w.post(NewMessage { opening, ..to("room", "grows").id(Uuid::from_u128(1)) });
    w.configure("room", ChannelSettings { history_ttl: Some(1), ..settings });
    // It stalls and fails before the command is carried out. The world checks that nothing is due afterwards.
    w.jump(hours(20));
    w.apply(Command::Publish(ends)).unwrap();
    w
}

#[test]
fn a_message_that_ends_of_age_is_not_due_once_more() {
    let mut w = grown_old(vec![to("room", "new")]);
    assert_eq!(w.history("room"), ["new"]);
    let ticks = w.log.len();
    w.advance(secs(1));
    assert!(w.history("room").is_empty());
    assert!(w.log.len() - ticks <= 2, "{} ticks", w.log.len() - ticks);
}

#[test]
fn nor_is_one_that_others_push_out_at_once() {
    let mut w = grown_old(["one", "two", "three"].map(|text| to("room", text)).to_vec());
    assert_eq!(w.history("room"), ["two", "three"]);
    w.advance(secs(1));
    assert!(w.history("room").is_empty());
}
