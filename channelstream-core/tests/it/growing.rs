//! Growing messages: they open, grow, end and are caught up (contract §14).

use channelstream_core::protocol::{
    Address, AppendRequest, Change, ChannelSettings, Delete, Edit, NewMessage, Opening, Piece,
    Status, Taken, Uuid,
};
use channelstream_core::state::{
    Appends, ChangeReply, Closing, Command, Keep, ListenerKind, Refusal, Reply, Rules, State,
};
use serde_json::value::RawValue;

use crate::world::{
    NODE, World, hours, json, millis, name, new_text, remembering, rules, secs, to, to_users,
};

impl World {
    /// Lets a message grow, or ends it.
    #[track_caller]
    pub(crate) fn append(&mut self, request: AppendRequest) -> Taken {
        match self.apply(Command::Change(vec![Change::Append(request)])).unwrap() {
            Reply::Changed(mut replies) => match replies.pop().unwrap() {
                ChangeReply::Taken(taken) => *taken,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn cancel(&mut self, label: &str, id: u128) -> Result<Taken, Refusal> {
        let (connection, message) = (self.id(label), Uuid::from_u128(id));
        match self.apply(Command::Cancel { connection, message })? {
            Reply::Cancelled(taken) => Ok(*taken),
            other => panic!("{other:?}"),
        }
    }

    /// Opens a socket that is told of appends by edits.
    #[track_caller]
    pub(crate) fn socket_for_edits(&mut self, label: &str) {
        let reply = self.open_as(label, ListenerKind::Socket, Appends::AsEdits, None);
        assert!(matches!(reply, Ok(Reply::Opened)), "{reply:?}");
    }
}

pub(crate) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn opened(number: u128, message: NewMessage) -> NewMessage {
    message.id(id(number)).open(Opening::new(["ann"]))
}

/// An append of a text to the message 1 in the room.
pub(crate) fn more(text: &str) -> AppendRequest {
    append(1).text("text", text)
}

pub(crate) fn append(number: u128) -> AppendRequest {
    AppendRequest::new(id(number), None)
}

fn end(status: Status) -> AppendRequest {
    append(1).status(status)
}

pub(crate) fn piece(json: &str) -> Piece {
    Piece::new(RawValue::from_string(json.to_owned()).unwrap()).unwrap()
}

/// An answer in short: `+7 open`, `-7 done`, `-: reason`.
fn short(taken: &Taken) -> String {
    let sign = if taken.taken { '+' } else { '-' };
    let rev = taken.rev.map(|rev| rev.to_string()).unwrap_or_default();
    let status = taken.status.map(|status| format!(" {}", name(status))).unwrap_or_default();
    let reason = taken.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{sign}{rev}{status}{reason}")
}

#[track_caller]
fn answers(w: &mut World, request: AppendRequest, want: &str) {
    assert_eq!(short(&w.append(request)), want);
}

pub(crate) fn room() -> Address {
    Address::channel("room")
}

/// A world in which ann listens in a room with a history, and message 1 is open there.
pub(crate) fn growing() -> World {
    let mut w = World::new();
    w.configure("room", remembering(3));
    w.join("ann", &["room"]);
    w.post(opened(1, to("room", "a")));
    w.expect("ann", &["room bot: a 0 open"]);
    w
}

/// The status and `rev` of the messages in the history.
fn revs(w: &World) -> Vec<String> {
    let history = w.channel("room").history;
    let growth = |growth: channelstream_core::protocol::Growth| {
        format!("{} {}", growth.rev, name(growth.status))
    };
    history.iter().map(|message| message.growth.map(growth).unwrap_or_default()).collect()
}

#[test]
fn a_message_grows_and_ends() {
    let mut w = growing();
    let taken = w.append(more("b"));
    assert_eq!(
        json(&taken),
        concat!(
            r#"{"uuid":"00000000-0000-0000-0000-000000000001","channel":"room","taken":true,"#,
            r#""rev":1,"status":"open","size":13}"#
        )
    );
    answers(&mut w, more("c\n\"é"), "+2 open");
    answers(&mut w, more("!").status(Status::Done), "+3 done");
    w.expect(
        "ann",
        &[
            r#"room append 1: {"text":"b"} 0-1"#,
            r#"room append 1: {"text":"c\n\"é"} 1-2"#,
            r#"room append 1: {"text":"!"} 2-3 done"#,
        ],
    );
    assert_eq!(w.history("room"), ["abc\n\"é!"]);
    assert_eq!(revs(&w), ["3 done"]);
    for request in [more("x"), end(Status::Done), end(Status::Failed)] {
        answers(&mut w, request, "-3 done");
    }
    w.expect("ann", &[]);
}

#[test]
fn the_event_is_what_pages_parse() {
    let mut w = growing();
    w.append(more("b").status(Status::Failed));
    let got = w.take("ann").pop().unwrap();
    assert_eq!(
        got.event.encode(false),
        concat!(
            r#"{"type":"message:append","uuid":"00000000-0000-0000-0000-000000000001","#,
            r#""channel":"room","append":{"text":"b"},"from":0,"rev":1,"status":"failed"}"#
        )
    );
    assert!(got.event.encode(true).ends_with(r#""status":"failed","catchup":true}"#));
    w.connect("zoe", &["room"]);
    w.post(opened(2, to("room", "x")));
    let got = w.take("ann").pop().unwrap().event.encode(false);
    assert!(got.ends_with(r#","catchup":false,"status":"open","rev":0}"#), "{got}");
    let history = json(&w.channel("room").history[1]);
    assert!(history.ends_with(r#","edited":null,"status":"open","rev":0}"#), "{history}");
}

#[test]
fn what_cannot_be_appended_changes_nothing() {
    let mut w = growing();
    let mut wrong = more("b");
    wrong.append.insert("text".to_owned(), piece("[1]"));
    answers(&mut w, wrong, "-0 open: type of text differs");
    answers(&mut w, append(1).text("/a/b", "x"), "-0 open: there is no place for /a/b");
    answers(&mut w, append(2).text("text", "x"), "-: unknown message");
    let elsewhere = AppendRequest::new(id(1), Some("other".to_owned())).text("text", "x");
    answers(&mut w, elsewhere, "-: unknown message");
    w.say_as(3, "room", "ordinary");
    w.expect("ann", &["room bot: ordinary"]);
    let ordinary = || AppendRequest::new(id(3), Some("room".to_owned())).text("text", "x");
    answers(&mut w, ordinary(), "-: not open");
    w.configure("room", ChannelSettings::default());
    for _ in 0..3 {
        w.say("room", "more");
    }
    answers(&mut w, ordinary(), "-: not open");
    w.take("ann");
    answers(&mut w, more("b"), "+1 open");
}

#[test]
fn each_step_is_done_once() {
    let mut w = growing();
    answers(&mut w, more("b").step(2), "-0 open: a step is missing");
    answers(&mut w, more("b").step(1), "+1 open");
    answers(&mut w, more("b").step(1), "+1 open");
    answers(&mut w, more("d").step(3), "-1 open: a step is missing");
    assert_eq!(w.append(more("c").step(2)).step, Some(2));
    answers(&mut w, end(Status::Done).step(3), "+3 done");
    answers(&mut w, end(Status::Done).step(3), "+3 done");
    answers(&mut w, more("e").step(4), "-3 done");
    assert_eq!(w.history("room"), ["abc"]);
    assert_eq!(w.take("ann").len(), 3);
}

#[test]
fn silence_stalls_and_an_append_opens_again() {
    let mut w = growing();
    w.advance(secs(20));
    w.append(more("b"));
    w.advance(secs(20));
    w.append(append(1));
    w.advance(millis(29_999));
    w.expect("ann", &[r#"room append 1: {"text":"b"} 0-1"#]);
    w.advance(millis(1));
    w.expect("ann", &["room append 1: {} 1-2 stalled"]);
    assert_eq!(revs(&w), ["2 stalled"]);
    w.advance(secs(100));
    w.expect("ann", &[]);
    answers(&mut w, more("c"), "+3 open");
    w.expect("ann", &[r#"room append 1: {"text":"c"} 2-3 open"#]);
    w.advance(secs(30));
    w.expect("ann", &["room append 1: {} 3-4 stalled"]);
    answers(&mut w, append(1), "+5 open");
    answers(&mut w, end(Status::Done), "+6 done");
    w.take("ann");
    w.advance(hours(1));
    w.expect("ann", &[]);
}

#[test]
fn its_own_timeout_counts() {
    let mut w = growing();
    w.post(to("room", "b").id(id(2)).open(Opening::new(["ann"]).append_timeout(2)));
    w.advance(secs(2));
    let got = w.take("ann").pop().unwrap();
    assert_eq!(crate::world::summary(&got), "room append 2: {} 0-1 stalled");
}

#[test]
fn named_users_cancel() {
    let mut w = growing();
    w.join("ben", &["room"]);
    assert_eq!(w.cancel("ben", 1), Err(Refusal::CannotCancel));
    assert_eq!(w.cancel("ann", 2), Err(Refusal::CannotCancel));
    assert_eq!(w.cancel("nobody", 1), Err(Refusal::UnknownConnection));
    assert_eq!(short(&w.cancel("ann", 1).unwrap()), "+1 cancelled");
    assert_eq!(short(&w.cancel("ann", 1).unwrap()), "-1 cancelled");
    w.expect("ben", &["room append 1: {} 0-1 cancelled"]);
    answers(&mut w, more("b"), "-1 cancelled");
}

#[test]
fn appends_go_to_those_the_message_is_for() {
    let mut w = World::new();
    for label in ["ann", "ben", "cat"] {
        w.join(label, &["room"]);
    }
    let address = Address { exclude_users: vec!["ben".to_owned()], ..room() };
    w.post(opened(1, NewMessage { address, ..to("room", "a") }));
    w.post(opened(2, to_users(&["ben", "cat", "ben"], "p")));
    w.append(more("b"));
    w.append(append(2).text("text", "q").status(Status::Done));
    w.expect("ann", &["room bot: a 0 open", r#"room append 1: {"text":"b"} 0-1"#]);
    w.expect("ben", &["private bot: p 0 open", r#"private append 2: {"text":"q"} 0-1 done"#]);
    let want = [
        "room bot: a 0 open",
        "private bot: p 0 open",
        r#"room append 1: {"text":"b"} 0-1"#,
        r#"private append 2: {"text":"q"} 0-1 done"#,
    ];
    w.expect("cat", &want);
}

#[test]
fn who_was_away_gets_it_whole_and_only_if_it_grew() {
    let mut w = growing();
    w.connect("zoe", &["room"]);
    w.append(more("b"));
    w.end("ann", Closing::Otherwise);
    w.append(more("c"));
    w.say("room", "other");
    w.socket("ann");
    w.expect(
        "ann",
        &[r#"room append 1: {"text":"b"} 0-1"#, "~room bot: other", "~room bot: abc 2 open"],
    );
    w.end("ann", Closing::Otherwise);
    w.socket("ann");
    w.expect("ann", &[]);
    w.socket("zoe");
    // What was there before she came is not for her.
    w.expect("zoe", &["~room bot: other", r#"~room append 1: {"text":"bc"} 0-2"#]);
    w.append(end(Status::Done));
    w.expect("ann", &["room append 1: {} 2-3 done"]);
}

#[test]
fn who_did_not_get_the_opening_gets_the_message_once() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.post(opened(1, to("room", "a")));
    w.append(more("b"));
    w.say("room", "other");
    w.append(more("c").status(Status::Done));
    w.socket("ann");
    w.expect("ann", &["~room bot: abc 2 done", "~room bot: other"]);
}

#[test]
fn unsent_appends_are_told_by_the_whole_message() {
    let mut w = growing();
    w.stall("ann");
    w.append(more("b"));
    w.append(more("c").status(Status::Done));
    w.flow("ann", 1);
    w.end("ann", Closing::Otherwise);
    w.socket("ann");
    w.expect("ann", &[r#"room append 1: {"text":"b"} 0-1"#, "~room bot: abc 2 done"]);
}

#[test]
fn an_open_message_is_never_trimmed() {
    let mut w =
        World::with(Rules { channel_events: Keep { events: 3, bytes: usize::MAX }, ..rules() });
    w.configure("room", remembering(2));
    w.connect("ann", &["room"]);
    w.post(opened(1, to("room", "a")));
    for text in ["1", "2", "3", "4"] {
        w.say("room", text);
    }
    assert_eq!(w.history("room"), ["a", "3", "4"]);
    w.advance(secs(10));
    w.append(more("b").status(Status::Done));
    w.say("room", "5");
    assert_eq!(w.history("room"), ["4", "5"]);
    assert!(w.state.appended_since(id(1), 1).is_none(), "its marks are dropped with it");
    answers(&mut w, more("c"), "-: unknown message");
    w.socket("ann");
    w.expect("ann", &["~room bot: 3", "~room bot: 4", "~room bot: 5"]);
}

#[test]
fn a_suffix_reaches_back_to_any_number() {
    let mut w = growing();
    let begin = w.state.sequence();
    w.append(more("b"));
    let middle = w.state.sequence();
    w.append(more("c"));
    w.append(end(Status::Done));
    let since = |w: &World, sequence| {
        w.state.appended_since(id(1), sequence).map(|suffix| {
            format!("{} {}-{} {:?}", json(&suffix.append), suffix.from, suffix.rev, suffix.status)
        })
    };
    assert_eq!(since(&w, begin).unwrap(), r#"{"text":"bc"} 0-3 Some(Done)"#);
    assert_eq!(since(&w, middle).unwrap(), r#"{"text":"c"} 1-3 Some(Done)"#);
    assert_eq!(since(&w, begin - 1), None);
    assert_eq!(since(&w, w.state.sequence()), None);
    w.edit(new_text(1, room(), "new"));
    assert_eq!(since(&w, begin), None, "an edit is no append");
}

#[test]
fn edits_replace_and_the_message_goes_on() {
    let mut w = growing();
    w.append(more("b"));
    w.edit(new_text(1, room(), "new"));
    answers(&mut w, more("er"), "+3 open");
    let want = [
        r#"room append 1: {"text":"b"} 0-1"#,
        "room edit 1: new 2 open",
        r#"room append 1: {"text":"er"} 2-3"#,
    ];
    w.expect("ann", &want);
    assert_eq!(w.history("room"), ["newer"]);
    w.append(end(Status::Done));
    w.edit(new_text(1, room(), "last"));
    assert_eq!((w.history("room"), revs(&w)), (vec!["last".to_owned()], vec!["5 done".to_owned()]));
    let user = Edit { user: Some("else".to_owned()), ..Edit::new(id(1), room()) };
    w.edit(user);
    assert_eq!(w.history("room"), ["last"]);
    assert_eq!(w.channel("room").history[0].user, "else");
}

#[test]
fn deleting_is_final() {
    let mut w = growing();
    w.delete(1, room());
    answers(&mut w, more("b"), "-: unknown message");
    w.advance(secs(60));
    w.expect("ann", &["room delete 1"]);
    assert!(w.history("room").is_empty());
    w.post(opened(1, to("room", "again")));
    w.post(opened(2, to_users(&["ann", "ben"], "p")));
    w.delete(2, Address::users(["ann"]));
    answers(&mut w, append(2).text("text", "q"), "-: unknown message");
    w.apply(Command::Delete(vec![Delete::new(id(1), room()), Delete::new(id(1), room())])).unwrap();
    assert!(w.history("room").is_empty());
}

#[test]
fn bounds_refuse_and_leave_the_message_as_it_was() {
    let bounds =
        Rules { max_growing_size: 30, max_growing_items: 3, max_open_messages: 2, ..rules() };
    let mut w = World::with(bounds);
    w.join("ann", &["room"]);
    w.post(opened(1, to("room", "a")));
    answers(&mut w, more(&"x".repeat(18)), "+1 open");
    answers(&mut w, more("y"), "-1 open: the message would exceed max_growing_size");
    w.edit(new_text(1, room(), ""));
    let mut items = append(1);
    items.append.insert("l".to_owned(), piece("[1,2,3]"));
    answers(&mut w, items.clone(), "+3 open");
    answers(&mut w, items, "-3 open: more items than max_growing_items in l");
    let refused = |w: &mut World, messages: Vec<NewMessage>| {
        let refusal = w.apply(Command::Publish(messages)).unwrap_err();
        json(&refusal.field_errors())
    };
    let errors = refused(&mut w, vec![to("room", "x"), opened(1, to("room", "b"))]);
    assert_eq!(errors, r#"{"1":{"status":["A growing message of this id exists."]}}"#);
    let two = vec![opened(2, to("room", "b")), opened(3, to("room", "c"))];
    let errors = refused(&mut w, two);
    assert_eq!(errors, r#"{"1":{"status":["More open messages than max_open_messages."]}}"#);
    let twice = vec![opened(2, to("room", "b")), opened(2, to("other", "c"))];
    assert!(refused(&mut w, twice).contains("exists"));
    let errors = refused(&mut w, vec![opened(2, to("room", &"x".repeat(30)))]);
    assert_eq!(errors, r#"{"0":{"status":["The message exceeds max_growing_size."]}}"#);
    let open = |number| opened(number, to_users(&["ann", "nobody"], "p"));
    w.post(open(4));
    w.post(open(5));
    assert!(refused(&mut w, vec![open(6)]).contains("max_open_messages"));
    w.append(append(4).status(Status::Done));
    w.post(open(6));
    w.post(opened(7, to("room", "b")));
    let texts: Vec<_> = w.take("ann").iter().map(crate::world::summary).collect();
    assert!(!texts.contains(&"room bot: x".to_owned()), "a refused request changes nothing");
}

#[test]
fn a_message_that_went_nowhere_does_not_grow() {
    let mut w = World::new();
    for message in [to("nowhere", "a"), to_users(&["nobody"], "a")] {
        let posted = w.post(opened(1, message)).unwrap();
        assert_eq!(posted.growth.map(|growth| growth.status), Some(Status::Open));
        answers(&mut w, more("b"), "-: unknown message");
    }
}

#[test]
fn a_message_that_nobody_stores_is_forgotten_at_its_end() {
    let mut w = World::new();
    w.configure("room", ChannelSettings { store_frames: false, ..ChannelSettings::default() });
    w.join("ann", &["room"]);
    w.post(opened(1, to("room", "a")));
    answers(&mut w, more("b"), "+1 open");
    answers(&mut w, end(Status::Done), "+2 done");
    answers(&mut w, more("c"), "-: unknown message");
}

#[test]
fn listeners_that_want_edits_get_four_a_second() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.socket_for_edits("ann");
    w.join("ben", &["room"]);
    w.post(opened(1, to("room", "")));
    for _ in 0..100 {
        w.append(more("x"));
        w.advance(millis(10));
    }
    assert_eq!(w.take("ben").len(), 101);
    let got: Vec<_> = w.take("ann").iter().map(crate::world::summary).collect();
    assert_eq!(got[..2], ["room bot:  0 open", "room edit 1: x 1 open"]);
    assert_eq!(got.len(), 1 + 1 + 4, "at once, and four in a second: {got:?}");
    assert_eq!(got[5], format!("room edit 1: {} 100 open", "x".repeat(100)));
    w.append(end(Status::Done));
    w.expect("ann", &[]);
    w.advance(millis(250));
    w.expect("ann", &[&format!("room edit 1: {} 101 done", "x".repeat(100))]);
}

#[test]
fn an_edit_that_is_due_is_not_lost() {
    let mut w = World::new();
    w.connect("ann", &["room"]);
    w.socket_for_edits("ann");
    w.post(opened(1, to("room", "a")));
    w.append(more("b"));
    w.append(more("c"));
    w.expect("ann", &["room bot: a 0 open", "room edit 1: ab 1 open"]);
    w.end("ann", Closing::Otherwise);
    w.socket_for_edits("ann");
    w.expect("ann", &["~room edit 1: abc 2 open"]);
    w.append(more("d"));
    w.socket("ann");
    w.expect("ann", &["~room bot: abcd 3 open"]);
    w.append(more("e"));
    w.expect("ann", &[r#"room append 1: {"text":"e"} 3-4"#]);
    w.advance(secs(1));
    w.expect("ann", &[]);
    w.socket_for_edits("ann");
    w.stall("ann");
    w.append(more("f"));
    w.end("ann", Closing::Otherwise);
    w.advance(secs(1));
    w.socket_for_edits("ann");
    w.expect("ann", &["~room edit 1: abcdef 5 open"]);
}

#[test]
fn a_channel_may_turn_appends_into_edits() {
    let mut w = World::new();
    let settings = ChannelSettings { append_as_edit: Some(true), ..ChannelSettings::default() };
    w.configure("room", settings);
    w.join("ann", &["room"]);
    w.post(opened(1, to("room", "a")));
    w.append(more("b"));
    w.expect("ann", &["room bot: a 0 open", "room edit 1: ab 1 open"]);
    assert!(json(&w.channel("room").settings).contains("append_as_edit"));
    w.configure("other", ChannelSettings::default());
    assert!(!json(&w.channel("other").settings).contains("append_as_edit"));
}

#[test]
fn a_restored_state_goes_on() {
    let mut w = growing();
    w.connect("cat", &["room"]);
    w.socket_for_edits("cat");
    w.append(more("b").step(1));
    w.append(more("c").step(2));
    w.post(opened(2, to_users(&["ann"], "p")));
    w.append(append(2).text("text", "q").status(Status::Done));
    let bytes = w.state.snapshot();
    let copy = State::restore(&bytes).unwrap().for_node(NODE);
    assert_eq!(copy.snapshot(), bytes);
    assert_eq!(copy.next_deadline(), w.state.next_deadline());
    w.state = copy;
    w.take("ann");
    answers(&mut w, more("c").step(2), "+2 open");
    answers(&mut w, more("d").step(3), "+3 open");
    w.expect("ann", &[r#"room append 1: {"text":"d"} 2-3"#]);
    let suffix = w.state.appended_since(id(1), 1).unwrap();
    assert_eq!(json(&suffix.append), r#"{"text":"bcd"}"#);
    w.advance(secs(40));
    assert_eq!(revs(&w), ["4 stalled"]);
}

#[test]
fn places_that_go_take_their_messages_along() {
    let mut w = growing();
    w.post(opened(2, to_users(&["ann"], "p")));
    w.close("ann");
    w.advance(hours(200));
    assert!(w.info().channels.is_empty());
    assert_eq!(w.state.next_deadline(), None);
    answers(&mut w, more("b"), "-: unknown message");
    answers(&mut w, append(2).text("text", "q"), "-: unknown message");
    assert!(matches!(w.apply(Command::Tick), Ok(Reply::Done)));
    w.connect("ann", &["room"]);
    w.post(opened(1, to("room", "a")));
    answers(&mut w, more("b"), "+1 open");
}
