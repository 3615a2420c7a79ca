//! Properties of who holds a cursor: it is cut anywhere, falls behind, and gets new connections, and
//! has in the end what a witness has that always listens (contract §14). `CHANNELSTREAM_CASES=30000` makes
//! them a search of a minute.

use std::collections::{BTreeMap, BTreeSet};

use channelstream_core::protocol::{
    Address, AppendRequest, Change, ChannelConfig, Cursor, DateTime, Edit, Event, Growth,
    NewMessage, Opening, Payload, Uuid,
};
use channelstream_core::state::{Closing, Command, Keep, Rules, Sequence, Since};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof};
use proptest::proptest;
use serde_json::Value;

use crate::growing_pages::apply_as_page;
use crate::random::{CHANNELS, Op, op};
use crate::world::{Got, World, hours, json, payload, rules, secs, summary, to, user_of};

/// The channel in which appends are told as edits.
const AS_EDITS: &str = "c";

/// The channel that stores nothing, where not all is stored.
const NOT_STORED: &str = "b";

/// A channel, or the private events.
type Place = Option<String>;
type Id = (Place, Uuid);

/// One thing that happens to the follower, or to everybody else.
#[derive(Clone, Debug)]
enum Turn {
    Other(Op),
    /// It receives some of what was sent, and its line breaks.
    Break {
        received: usize,
        how: Closing,
    },
    /// It comes back with its cursor, which supersedes a line that looks open to the server.
    Return {
        received: usize,
        anew: bool,
    },
    FallBehind,
    /// It reads one portion.
    ReadOn,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let received = || 0..6usize;
    let how = any::<bool>()
        .prop_map(|by_peer| if by_peer { Closing::ByPeer } else { Closing::Otherwise });
    let turn = prop_oneof![
        12 => op().prop_map(Turn::Other),
        2 => (received(), how).prop_map(|(received, how)| Turn::Break { received, how }),
        3 => (received(), proptest::bool::weighted(0.3))
            .prop_map(|(received, anew)| Turn::Return { received, anew }),
        1 => proptest::strategy::Just(Turn::FallBehind),
        4 => proptest::strategy::Just(Turn::ReadOn),
    ];
    vec(turn, 1..80)
}

/// Makes what random commands say distinct, and addresses it to the follower as well as to the witness.
#[derive(Default)]
struct Sharpener {
    texts: u64,
    /// The newest message for each of the few random ids.
    posted: BTreeMap<u128, (u128, Address)>,
}

impl Sharpener {
    fn text(&mut self) -> String {
        self.texts += 1;
        format!("{};", self.texts)
    }

    /// A new id for one of few, so that most changes find a message.
    fn post(&mut self, id: Uuid, address: &Address) -> Uuid {
        let (newest, place) = self.posted.entry(id.as_u128() % 3).or_default();
        *newest += 1;
        place.clone_from(address);
        self.id(id)
    }

    fn id(&self, id: Uuid) -> Uuid {
        let few = id.as_u128() % 3;
        let newest = self.posted.get(&few).map_or(0, |(newest, _)| *newest);
        Uuid::from_u128(1000 * (few + 1) + newest)
    }

    /// Mostly the address of the message that is meant.
    fn place(&mut self, id: Uuid, address: &mut Address) {
        self.texts += 1;
        match self.posted.get(&(id.as_u128() % 3)) {
            Some((_, place)) if !self.texts.is_multiple_of(4) => address.clone_from(place),
            _ => Self::address(address),
        }
    }

    fn address(address: &mut Address) {
        address.exclude_users.retain(|user| user != "ann");
        if !address.pm_users.is_empty() {
            address.pm_users.retain(|user| user != "ann");
            address.pm_users.extend(["ann", "eve"].map(str::to_owned));
        }
    }

    fn message(&mut self, message: &mut NewMessage) {
        message.payload = Some(payload(&self.text()));
        Self::address(&mut message.address);
        if let Some(id) = message.uuid {
            message.uuid = Some(self.post(id, &message.address));
            if self.texts.is_multiple_of(2) {
                message.opening = Some(Box::new(Opening::new(["ben"])));
                message.expires = None;
            }
        }
    }

    fn edit(&mut self, edit: &mut Edit) {
        self.place(edit.uuid, &mut edit.address);
        edit.uuid = self.id(edit.uuid);
        let text = self.text();
        // Some say who, some what, some both.
        match self.texts % 3 {
            0 => (edit.user, edit.payload) = (Some(text), None),
            1 => edit.payload = Some(payload(&text)),
            _ => (edit.user, edit.payload) = (Some(text.clone()), Some(payload(&text))),
        }
    }

    fn append(&mut self, append: &mut AppendRequest) {
        append.uuid = self.id(append.uuid);
        let text = self.text();
        for piece in append.append.values_mut() {
            *piece = crate::growing::piece(&json(&text));
        }
    }

    fn command(&mut self, command: &mut Command) {
        match command {
            Command::Publish(messages) => messages.iter_mut().for_each(|one| self.message(one)),
            Command::Change(changes) => changes.iter_mut().for_each(|change| match change {
                Change::Edit(edit) => self.edit(edit),
                Change::Append(append) => self.append(append),
            }),
            Command::Delete(deletes) => deletes.iter_mut().for_each(|delete| {
                self.place(delete.uuid, &mut delete.address);
                delete.uuid = self.id(delete.uuid);
            }),
            _ => {}
        }
    }

    fn op(&mut self, op: &mut Op) {
        match op {
            Op::Publish(messages) => messages.iter_mut().for_each(|one| self.message(one)),
            Op::Edit(edit) => self.edit(edit),
            Op::Append(append) => self.append(append),
            Op::Delete(id, address) => {
                self.place(Uuid::from_u128(*id), address);
                *id = self.id(Uuid::from_u128(*id)).as_u128();
            }
            Op::Cancel { id, .. } => *id = self.id(Uuid::from_u128(*id)).as_u128(),
            Op::Repeated { command, .. } => self.command(command),
            _ => {}
        }
    }
}

/// A message as a page shows it.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    user: String,
    payload: Value,
    growth: Option<Growth>,
    expires: Option<DateTime>,
}

/// What a client has after the events that it received, by the rules for pages.
#[derive(Default)]
struct Page {
    shown: BTreeMap<Id, Shown>,
    /// The messages that expire at some time.
    expire: BTreeSet<Id>,
    /// Everything but edits and growth, in its order.
    heard: Vec<(Sequence, What)>,
    gaps: Vec<GapSeen>,
    /// The events that it received in each place, also edits and growth.
    numbers: BTreeSet<(Place, Sequence)>,
    /// Up to where it has received all there was, or was told of it.
    whole: Sequence,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Message(Id),
    /// A message that was opened to grow: it may come whole more than once.
    Growing(Id),
    Delete(Id),
    Other(Place, Uuid),
}

#[derive(Debug)]
struct GapSeen {
    place: Place,
    /// The newest event of the place that was received before.
    after: Sequence,
    /// Where the client had received all there was.
    whole: Sequence,
    up_to: Sequence,
}

fn value(payload: Option<&Payload>) -> Value {
    payload.map_or(Value::Null, |payload| serde_json::from_str(payload.get()).unwrap())
}

fn is_about(user: &str) -> bool {
    ["ann", "eve"].contains(&user)
}

impl Page {
    fn has_gap(&self, place: &Place) -> bool {
        self.gaps.iter().any(|gap| gap.place == *place)
    }

    /// The number up to which a place is known. A message that grows is kept when others around it are
    /// not, and says nothing of them.
    fn newest(&self, place: &Place) -> Sequence {
        let is_there = |what: &What| match what {
            What::Growing(_) => false,
            What::Message((there, _)) | What::Delete((there, _)) => there == place,
            What::Other(there, _) => there == place,
        };
        let events =
            self.heard.iter().filter(|(_, what)| is_there(what)).map(|(number, _)| *number);
        let gaps = self.gaps.iter().filter(|gap| gap.place == *place).map(|gap| gap.up_to);
        events.chain(gaps).max().unwrap_or(0)
    }

    fn apply(&mut self, got: &Got) {
        let sequence = got.sequence;
        let mut hear = |place: &Place, what| {
            self.heard.push((sequence, what));
            self.numbers.insert((place.clone(), sequence));
        };
        match &got.event {
            Event::Message(message) => {
                let place = message.address.channel.clone();
                let id = (place.clone(), message.uuid);
                let what = match message.growth {
                    Some(_) => What::Growing(id.clone()),
                    None => What::Message(id.clone()),
                };
                hear(&place, what);
                let payload = value(message.payload.as_ref());
                let (user, growth) = (message.user.clone(), message.growth);
                let expires = message.expires_at;
                if expires.is_some() {
                    self.expire.insert(id.clone());
                }
                let shown = Shown { user, payload, growth, expires };
                self.shown.insert(id, shown);
            }
            Event::Delete(delete) => {
                let place = delete.address.channel.clone();
                let id = (place.clone(), delete.uuid);
                self.shown.remove(&id);
                hear(&place, What::Delete(id));
            }
            Event::Presence(presence) => {
                let place = Some(presence.channel.to_string());
                if !is_about(&presence.user) {
                    hear(&place, What::Other(place.clone(), presence.uuid));
                }
                self.numbers.insert((place, sequence));
            }
            Event::UserStateChange(change) => {
                let place = Some(change.channel.to_string());
                hear(&place, What::Other(place.clone(), change.uuid));
            }
            Event::Edit(edit) => {
                let place = edit.address.channel.clone();
                self.numbers.insert((place.clone(), sequence));
                let Some(shown) = self.shown.get_mut(&(place, edit.uuid)) else { return };
                if let Some(user) = &edit.user {
                    shown.user.clone_from(user);
                }
                if edit.payload.is_some() {
                    shown.payload = value(edit.payload.as_ref());
                }
                shown.growth = edit.growth.or(shown.growth);
            }
            Event::Append(append) => {
                let place = append.channel.clone();
                self.numbers.insert((place.clone(), sequence));
                let may_not_know = self.has_gap(&place);
                let Some(shown) = self.shown.get_mut(&(place, append.uuid)) else {
                    assert!(may_not_know, "of an unknown message: {}", summary(got));
                    return;
                };
                let growth = shown.growth.as_mut().expect("it was opened to grow");
                if growth.rev != append.from {
                    assert!(may_not_know, "not from {}: {}", growth.rev, summary(got));
                    return;
                }
                apply_as_page(&mut shown.payload, &append.append);
                growth.rev = append.rev;
                growth.status = append.status.unwrap_or(growth.status);
            }
            Event::Gap(gap) => {
                let place = gap.channel.as_ref().map(ToString::to_string);
                let (after, whole) = (self.newest(&place), self.whole);
                self.gaps.push(GapSeen { place, after, whole, up_to: sequence });
            }
            Event::Cursor => {}
        }
    }
}

/// The client that is cut.
struct Follower {
    label: String,
    labels: usize,
    cursor: Cursor,
    page: Page,
}

impl Follower {
    fn begin(w: &mut World) -> Self {
        w.connect("ann/0", &CHANNELS);
        w.follow("ann/0", Since::Record);
        w.catch_up("ann/0");
        let cursor = w.take("ann/0").pop().expect("it is told where it stands").cursor;
        Self { label: "ann/0".to_owned(), labels: 1, cursor, page: Page::default() }
    }

    /// Receives some of what was sent to it since the last time; the rest is lost on the way.
    fn receive(&mut self, w: &mut World, most: usize) {
        let sent = w.take(&self.label);
        for got in sent.iter().take(most) {
            let (before, now) = (self.cursor.sequence, got.cursor.sequence);
            assert!(before <= now, "{now} after {before}: {}", summary(got));
            self.page.apply(got);
            self.cursor = got.cursor;
        }
        if sent.len() <= most && w.listens(&self.label) && !w.is_behind(&self.label) {
            self.page.whole = self.cursor.sequence;
        }
    }

    fn come_back(&mut self, w: &mut World, received: usize, anew: bool) {
        // Time may have jumped.
        w.tick();
        self.receive(w, received);
        if anew || !w.knows(&self.label) {
            w.end(&self.label, Closing::Otherwise);
            w.take(&self.label);
            self.label = format!("ann/{}", self.labels);
            self.labels += 1;
            w.connect(&self.label, &CHANNELS);
        }
        w.follow(&self.label, Since::Cursor(self.cursor));
    }

    fn take_turn(&mut self, w: &mut World, turn: Turn) {
        match turn {
            Turn::Other(op) => op.happen(w),
            Turn::Break { received, how } => {
                self.receive(w, received);
                w.end(&self.label, how);
                w.take(&self.label);
            }
            Turn::Return { received, anew } => self.come_back(w, received, anew),
            Turn::FallBehind => {
                if !w.is_behind(&self.label) {
                    self.receive(w, usize::MAX);
                    w.fall_behind(&self.label);
                }
            }
            Turn::ReadOn => {
                w.read_on(&self.label);
            }
        }
    }
}

/// Returns settings with those that do not change while a follower listens: of both together nobody can
/// tell what has to be missing.
fn settings_of(channel: &str, stores: bool, settings: ChannelConfig) -> ChannelConfig {
    ChannelConfig {
        append_as_edit: Some(channel == AS_EDITS),
        store_frames: Some(stores || channel != NOT_STORED),
        frames_size: settings.frames_size.filter(|_| !stores),
        history_ttl: settings.history_ttl.filter(|_| !stores),
        ..settings
    }
}

/// Lets everything happen to a follower, and returns what it and the witness have in the end.
fn follow(turns: Vec<Turn>, keep: Keep, portion: Keep, stores: bool) -> (World, Page, Page) {
    let day = hours(240_000);
    let mut w = World::with(Rules {
        user_timeout: day,
        channel_timeout: day,
        recovery_window: day,
        channel_events: keep,
        user_events: keep,
        portion,
        ..rules()
    });
    w.connect("eve", &CHANNELS);
    w.socket("eve");
    let mut follower = Follower::begin(&mut w);
    w.configure(
        AS_EDITS,
        channelstream_core::protocol::ChannelConfig {
            append_as_edit: Some(true),
            ..Default::default()
        },
    );
    for channel in CHANNELS {
        w.configure(channel, settings_of(channel, stores, ChannelConfig::default()));
    }
    let mut sharpener = Sharpener::default();
    for mut turn in turns {
        if let Turn::Other(op) = &mut turn {
            if op.label().is_some_and(|label| user_of(label) == "ann") {
                continue;
            }
            if let Op::Configure { channel, settings } = op {
                *settings = settings_of(channel, stores, *settings);
            }
            sharpener.op(op);
        }
        follower.take_turn(&mut w, turn);
    }
    // Edits in the place of appends are sent by then.
    w.advance(secs(2));
    follower.come_back(&mut w, usize::MAX, false);
    w.catch_up(&follower.label);
    for channel in CHANNELS {
        w.post(to(channel, "the end"));
    }
    follower.receive(&mut w, usize::MAX);
    let mut witness = Page::default();
    w.take("eve").iter().for_each(|got| witness.apply(got));
    (w, follower.page, witness)
}

/// Checks that the follower has heard what the witness has, in the same order, but for messages that
/// were deleted meanwhile and what a gap stands for.
fn check_order(w: &World, page: &Page, witness: &Page) {
    let expired = expired(w, witness);
    let deleted: BTreeSet<&Id> = witness
        .heard
        .iter()
        .filter_map(|(_, what)| if let What::Delete(id) = what { Some(id) } else { None })
        .collect();
    let is_once = |(_, what): &&(Sequence, What)| !matches!(what, What::Growing(_));
    let mut heard = page.heard.iter().filter(is_once).peekable();
    for (number, what) in witness.heard.iter().filter(is_once) {
        // Who is cut off between two events of one number begins with the first of them again.
        let is_it = |one: Sequence| one == *number || one + 1 == *number;
        if heard.next_if(|(one, next)| is_it(*one) && next == what).is_some() {
            continue;
        }
        let place = match what {
            What::Message((place, _)) | What::Growing((place, _)) => place,
            What::Delete((place, _)) | What::Other(place, _) => place,
        };
        let is_deleted = matches!(what, What::Message(id) if deleted.contains(id));
        let is_told = page
            .gaps
            .iter()
            .any(|gap| gap.place == *place && gap.whole < *number && *number <= gap.up_to + 1);
        assert!(
            is_deleted || is_told || matches!(what, What::Message(id) if expired.contains(id)),
            "{what:?}, number {number} of {place:?}, is missing; gaps: {:?}",
            page.gaps
        );
    }
    assert_eq!(heard.next(), None, "more, or in another order, than the witness");
}

/// The messages that have expired: the follower may lack them, or an edit of them.
fn expired<'a>(w: &World, witness: &'a Page) -> BTreeSet<&'a Id> {
    let is_over = |shown: &Shown| shown.expires.is_none_or(|when| when.instant() <= w.wall());
    // What was deleted before is shown no more.
    let is_over = |id: &&Id| witness.shown.get(*id).is_none_or(is_over);
    witness.expire.iter().filter(is_over).collect()
}

/// Checks that the pages show the same, and what the history has, where no gap was told.
fn check_pictures(w: &World, page: &Page, witness: &Page) {
    let expired = expired(w, witness);
    let of = |page: &Page, has_gap: &dyn Fn(&Place) -> bool| -> BTreeMap<Id, Shown> {
        let shown = page.shown.iter().filter(|((place, _), _)| !has_gap(place));
        let shown = shown.filter(|(id, _)| !expired.contains(id));
        shown.map(|(id, shown)| (id.clone(), shown.clone())).collect()
    };
    let has_gap = |place: &Place| page.has_gap(place);
    let (mine, theirs) = (of(page, &has_gap), of(witness, &has_gap));
    for (id, shown) in &theirs {
        assert_eq!(mine.get(id), Some(shown), "{id:?}");
    }
    assert_eq!(mine.len(), theirs.len());
    for (name, view) in &w.info().channels {
        for message in &view.history {
            let id = (Some(name.to_string()), message.uuid);
            assert!(!expired.contains(&id), "{id:?} has expired");
            let Some(shown) = mine.get(&id) else {
                assert!(has_gap(&id.0), "{id:?} is in the history only");
                continue;
            };
            let payload = value(message.payload.as_ref());
            let (user, growth) = (message.user.clone(), message.growth);
            let there = Shown { user, payload, growth, expires: message.expires_at };
            assert_eq!(shown, &there, "{id:?}");
        }
    }
}

/// Checks that each gap stands for something that the witness has heard, and that nothing of it was told
/// before.
fn check_gaps(page: &Page, witness: &Page) {
    for gap in &page.gaps {
        let (first, last) = (gap.after + 1, gap.up_to + 1);
        // There the numbers of the edits are not those of the appends.
        let is_true = gap.place.as_deref() == Some(AS_EDITS)
            || witness
                .numbers
                .iter()
                .any(|(place, number)| *place == gap.place && (first..=last).contains(number));
        assert!(is_true, "nothing is missing between {first} and {last}: {gap:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("CHANNELSTREAM_CASES").map_or(400, |cases| cases.parse().unwrap()),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn who_holds_a_cursor_has_what_a_witness_has(turns in turns(), portion in 1..5usize) {
        let all = Keep { events: 100_000, bytes: usize::MAX };
        let portion = Keep { events: portion, bytes: 1000 };
        let (w, page, witness) = follow(turns, all, portion, true);
        assert!(page.gaps.is_empty(), "{:?}", page.gaps);
        check_order(&w, &page, &witness);
        check_pictures(&w, &page, &witness);
    }

    #[test]
    fn who_holds_a_cursor_is_told_of_what_is_not_stored(turns in turns(), keep in 1..8usize) {
        let some = Keep { events: keep, bytes: usize::MAX };
        let portion = Keep { events: 3, bytes: usize::MAX };
        let (w, page, witness) = follow(turns, some, portion, false);
        check_order(&w, &page, &witness);
        check_pictures(&w, &page, &witness);
        check_gaps(&page, &witness);
    }
}
