//! Pages of a history since a cursor: each message once, or a gap (contract §14).

use channelstream_core::protocol::{
    Address, AppendRequest, Bounds, ChannelSettings, Cursor, Epoch, GapReason, HistoryPage,
    NewMessage, Opening, Payload, ReadHistory, Status, Uuid, parse,
};
use channelstream_core::state::{Command, Since};

use crate::world::{World, new_text, remembering, rules, secs, to};

fn room() -> Address {
    Address::channel("room")
}

fn page(w: &World, since: Option<Cursor>, limit: u64) -> HistoryPage {
    let request = ReadHistory { since, limit, ..ReadHistory::new("room") };
    w.state.page_of_history(&request).unwrap()
}

fn text(payload: Option<&Payload>) -> String {
    let value: serde_json::Value = serde_json::from_str(payload.unwrap().get()).unwrap();
    value["text"].as_str().unwrap().to_owned()
}

fn texts(page: &HistoryPage) -> Vec<String> {
    page.messages.iter().map(|message| text(message.payload.as_ref())).collect()
}

/// A room with a history that has these messages, each with its number as its id.
fn with(size: u64, texts: &[&str]) -> World {
    let mut w = World::new();
    w.configure("room", remembering(size));
    for (id, text) in (1..).zip(texts) {
        w.say_as(id, "room", text);
    }
    w
}

#[test]
fn pages_follow_each_other_and_the_last_one_says_where_to_go_on() {
    let mut w = with(10, &["1", "2", "3", "4", "5"]);
    let first = page(&w, None, 2);
    assert_eq!((texts(&first), first.gap), (vec!["1".into(), "2".into()], None));
    assert_eq!(first.next, Some(first.messages[1].seq));
    assert_eq!(first.next, Some(first.cursor));
    let second = page(&w, first.next, 2);
    let third = page(&w, second.next, 2);
    assert_eq!((texts(&second), texts(&third)), (vec!["3".into(), "4".into()], vec!["5".into()]));
    assert_eq!(third.next, None);
    let none = page(&w, Some(third.cursor), 2);
    assert!(none.messages.is_empty() && none.gap.is_none() && none.next.is_none());
    w.say("room", "6");
    let later = page(&w, Some(none.cursor), 2);
    assert_eq!((texts(&later), later.gap), (vec!["6".into()], None));
    let whole = page(&w, None, 1000);
    assert_eq!(texts(&whole).len(), 6);
    assert_eq!(page(&w, None, 6).next, None, "none is left");
    assert!(w.state.page_of_history(&ReadHistory::new("nowhere")).is_none());
}

#[test]
fn messages_come_as_they_are_now() {
    let mut w = with(10, &["1", "2", "3"]);
    let first = page(&w, None, 1);
    w.edit(new_text(2, room(), "two"));
    w.delete(3, room());
    w.say("room", "4");
    let rest = page(&w, first.next, 10);
    assert_eq!((texts(&rest), rest.gap), (vec!["two".into(), "4".into()], None));
    // The place itself may be gone.
    w.delete(2, room());
    let after = page(&w, Some(rest.messages[0].seq), 10);
    assert_eq!((texts(&after), after.gap), (vec!["4".into()], None));
}

#[test]
fn a_growing_message_comes_as_it_is_and_its_cursor_says_so() {
    let mut w = with(10, &[]);
    let id = Uuid::from_u128(9);
    w.connect("ann", &["room"]);
    let opening = Some(Box::new(Opening::new(["ann"])));
    w.post(NewMessage { opening, ..to("room", "a") }.id(id));
    w.append(AppendRequest::new(id, None).text("text", "b"));
    let open = page(&w, None, 10);
    assert_eq!(texts(&open), ["ab"]);
    assert_eq!(open.messages[0].growth.unwrap().status, Status::Open);
    w.append(AppendRequest::new(id, None).text("text", "c").status(Status::Done));
    // A listener that goes on from there receives it whole: nobody knows how much of it was read.
    w.follow("ann", Since::Cursor(open.cursor));
    w.catch_up("ann");
    let came: Vec<_> = w.take("ann").into_iter().map(|got| got.event.encode(true)).collect();
    assert!(came.iter().any(|event| event.contains(r#"{"text":"abc"}"#)), "{came:?}");
    assert_eq!(texts(&page(&w, None, 10)), ["abc"]);
}

#[test]
fn what_was_trimmed_or_too_old_is_a_gap_and_what_expired_or_was_deleted_is_none() {
    let mut w = with(3, &["1", "2"]);
    let place = page(&w, None, 10).cursor;
    w.post(to("room", "goes").expires(1));
    w.say_as(7, "room", "deleted");
    w.advance(secs(1));
    w.delete(7, room());
    assert_eq!(page(&w, Some(place), 10).gap, None);
    for number in 3..6 {
        w.say("room", &number.to_string());
    }
    let all = page(&w, Some(place), 10);
    assert_eq!((texts(&all).len(), all.gap), (3, None), "1 and 2 were known");
    w.say("room", "6");
    let less = page(&w, Some(place), 10);
    assert_eq!(
        (texts(&less), less.gap.unwrap()),
        (vec!["4".into(), "5".into(), "6".into()], GapReason::Evicted)
    );
    assert_eq!(page(&w, None, 10).gap, None, "who asks from the oldest has missed nothing");
    let place = less.messages[0].seq;
    assert_eq!(page(&w, Some(place), 10).gap, None);
    w.configure("room", ChannelSettings { history_ttl: Some(60), ..remembering(10) });
    w.advance(secs(60));
    let none = page(&w, Some(place), 10);
    assert_eq!((none.messages.len(), none.gap), (0, Some(GapReason::Evicted)));
    assert_eq!(page(&w, Some(none.cursor), 10).gap, None);
}

#[test]
fn what_a_history_does_not_keep_is_a_gap_unless_its_publisher_wanted_that() {
    let mut w = with(10, &["1"]);
    let place = page(&w, None, 10).cursor;
    w.post(NewMessage { no_history: true, ..to("room", "passing") });
    assert_eq!(page(&w, Some(place), 10).gap, None);
    w.configure("room", ChannelSettings::default());
    w.say("room", "not kept");
    assert_eq!(page(&w, Some(place), 10).gap, Some(GapReason::Evicted));
}

#[test]
fn another_channel_of_the_same_name_is_told() {
    let mut w = with(10, &["1"]);
    let place = page(&w, None, 10).cursor;
    w.say("room", "2");
    w.apply(Command::DeleteChannels(channelstream_core::protocol::DeleteChannels::new(["room"])))
        .unwrap();
    w.configure("room", remembering(10));
    let again = page(&w, Some(place), 10);
    assert_eq!((again.messages.len(), again.gap), (0, Some(GapReason::Evicted)));
    assert_eq!(page(&w, Some(again.cursor), 10).gap, None);
}

#[test]
fn a_cursor_of_another_life_is_told_and_everything_follows() {
    let w = with(10, &["1", "2"]);
    let now = page(&w, None, 10).cursor;
    for other in
        [Cursor { epoch: Epoch::new(77), ..now }, Cursor { sequence: now.sequence + 1, ..now }]
    {
        let all = page(&w, Some(other), 10);
        assert_eq!((texts(&all).len(), all.gap), (2, Some(GapReason::Epoch)), "{other}");
    }
}

#[test]
fn an_earlier_epoch_of_this_life_is_known() {
    let mut w = with(10, &[]);
    w.apply(Command::Begin { epoch: Epoch::new(5), alone: true }).unwrap();
    w.say("room", "1");
    let place = page(&w, None, 10).cursor;
    w.say("room", "2");
    let epoch = Epoch::new(place.epoch.get() + 5);
    w.apply(Command::Begin { epoch, alone: true }).unwrap();
    w.say("room", "3");
    let rest = page(&w, Some(place), 10);
    assert_eq!((texts(&rest), rest.gap), (vec!["2".into(), "3".into()], None));
    // Behind what is left of that epoch: what came instead follows.
    let lost = Cursor { sequence: place.sequence + 50, ..place };
    let instead = page(&w, Some(lost), 10);
    assert_eq!((texts(&instead), instead.gap), (vec!["3".into()], Some(GapReason::Epoch)));
}

#[test]
fn the_level_before_notes_nothing_so_that_nothing_is_known_of_before() {
    let mut w = World::at_level(rules(), 1);
    w.configure("room", remembering(2));
    for text in ["1", "2", "3"] {
        w.say("room", text);
    }
    let all = page(&w, None, 10);
    assert_eq!((texts(&all), all.gap), (vec!["2".into(), "3".into()], None));
    assert_eq!(page(&w, Some(all.messages[0].seq), 10).gap, None);
    let early = Cursor { sequence: 0, ..all.cursor };
    assert_eq!(page(&w, Some(early), 10).gap, Some(GapReason::Evicted));
}

#[test]
fn a_page_is_bounded_in_bytes_and_has_at_least_one() {
    let mut w = with(10, &[]);
    let large = "x".repeat(700 * 1024);
    for _ in 0..3 {
        w.say("room", &large);
    }
    let first = page(&w, None, 1000);
    assert_eq!(first.messages.len(), 2);
    assert_eq!(page(&w, first.next, 1000).messages.len(), 1);
}

#[test]
fn bodies_and_answers_are_read() {
    let errors = |json: &str| {
        let body = parse(json.as_bytes(), Bounds::default()).unwrap();
        let read = ReadHistory::read(&body);
        read.err().map(|rejected| serde_json::to_string(&rejected.errors).unwrap())
    };
    for good in [
        r#"{"channel": "a"}"#,
        r#"{"channel": "a", "since": null}"#,
        r#"{"channel": "a", "since": "0000000a-7n", "limit": 1000}"#,
    ] {
        assert_eq!(errors(good), None, "{good}");
    }
    for (bad, want) in [
        ("{}", r#"{"channel":["Missing data for required field."]}"#),
        (r#"{"channel": "a", "since": ""}"#, r#"{"since":["Not a cursor."]}"#),
        (r#"{"channel": "a", "since": 7}"#, r#"{"since":["Not a valid string."]}"#),
        (r#"{"channel": "a", "limit": 0}"#, r#"{"limit":["Must be between 1 and 1000."]}"#),
    ] {
        assert_eq!(errors(bad).as_deref(), Some(want), "{bad}");
    }
    let w = with(10, &["1", "2"]);
    let page = page(&w, None, 1);
    let json = serde_json::to_string(&page).unwrap();
    let read: HistoryPage = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    assert!(json.contains(r#""gap":null"#) && json.contains(r#""edited":null,"seq":""#), "{json}");
}
