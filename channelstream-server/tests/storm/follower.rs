//! Followers: clients that hold a cursor. However they leave and come back, each is given all that comes
//! after its cursor, once and in order, or a gap in the place of what is missing. Where servers end and come
//! back all the time, they go to another one and also listen to event streams.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::ear::{Ear, How};
use crate::model::{Key, Received, Record, Stream, Tick, index, sequence};
use crate::order::{Order, WITNESS};
use crate::page::Page;
use crate::round::{MARK, Round, is_wide};
use crate::wire::{Incoming, Line};

/// The most faults that are reported for one follower and channel.
const TOLD: usize = 3;

/// What a follower was given, in this order.
#[derive(Debug)]
pub(crate) enum Note {
    Frame(Received),
    /// A gap, its reason, and the sequence behind which it is.
    Gap(Stream, String, u64),
    /// It came to a server, by something, with a cursor.
    Came(SocketAddr, &'static str, String),
}

/// A follower and all that it was given.
#[derive(Debug)]
pub(crate) struct Followed {
    user: usize,
    channels: BTreeSet<usize>,
    /// It is posted to in private.
    private: bool,
    /// The channel in which it follows growing messages, and what it has of them.
    pages: Option<(usize, Page)>,
    /// When the first connection was asked for, and when it was there.
    joined: (Tick, Tick),
    notes: Vec<Note>,
}

pub(crate) struct Follower {
    round: Rc<Round>,
    dice: Dice,
    followed: Followed,
    id: String,
    cursor: String,
    /// The cursor of the first connection, and the one that was presented last.
    first: String,
    presented: String,
    /// The sequence of the newest event.
    newest: u64,
    /// It has come back for the last time: gaps from then on may stand for the marks.
    is_ready: bool,
    /// The streams in which it has not heard that no more comes.
    unmarked: BTreeSet<Stream>,
    /// It leaves only if its line breaks.
    is_calm: bool,
}

#[derive(Deserialize)]
struct Seq<'a> {
    seq: &'a str,
    r#type: &'a str,
    channel: Option<&'a str>,
    reason: Option<&'a str>,
}

impl Follower {
    pub(crate) fn new(round: Rc<Round>, mut dice: Dice, user: usize) -> Self {
        let channels = (0..=dice.below(3)).map(|_| dice.below(round.plan.channels)).collect();
        let private = user < round.plan.users;
        let writers = round.plan.writers;
        let pages = (writers > 0).then(|| (user % writers, Page::default()));
        let (joined, notes) = Default::default();
        let followed = Followed { user, channels, private, pages, joined, notes };
        Self::of(round, dice, followed, false)
    }

    /// One that hears everything in a channel. It says when it is there.
    pub(crate) fn witness(round: Rc<Round>, dice: Dice, channel: usize) -> Self {
        let (joined, notes) = Default::default();
        let channels = BTreeSet::from([channel]);
        let followed =
            Followed { user: WITNESS, channels, private: false, pages: None, joined, notes };
        Self::of(round, dice, followed, true)
    }

    fn of(round: Rc<Round>, dice: Dice, followed: Followed, is_calm: bool) -> Self {
        let (id, cursor, first, presented, newest, is_ready) = Default::default();
        let unmarked = followed.streams().collect();
        Self {
            round,
            dice,
            followed,
            id,
            cursor,
            first,
            presented,
            newest,
            is_ready,
            unmarked,
            is_calm,
        }
    }

    /// The name of its user, and the channels it is in.
    pub(crate) fn membership(&self) -> (String, Vec<String>) {
        let names = self.followed.channels.iter().map(|one| format!("c{one}"));
        let pages = self.followed.pages.iter().map(|(channel, _)| format!("g{channel}"));
        (self.name(), names.chain(pages).collect())
    }

    fn name(&self) -> String {
        match self.followed.user {
            WITNESS => self.followed.channels.iter().map(|channel| format!("w{channel}")).collect(),
            user => format!("u{user}"),
        }
    }

    /// Follows until the round stops, and then until everything is received. Leaves its notes in the
    /// record.
    pub(crate) async fn run(mut self) {
        let asked = self.round.record.tick();
        self.connect().await;
        self.followed.joined = (asked, self.round.record.tick());
        if self.is_calm {
            self.round.one_is_ready();
        }
        while !self.round.stopped() {
            if self.is_calm {
                self.listen_on().await;
            } else if self.dice.one_in(3) {
                self.poll().await;
            } else {
                self.listen().await;
            }
            let away = match self.dice.below(12) {
                _ if self.is_calm => 50,
                0 => 5000,
                _ => 200,
            };
            sleep(self.dice.pause(away)).await;
        }
        let mut ear = self.open(false).await;
        self.is_ready = true;
        self.round.one_is_ready();
        let mut begun = None;
        let mut has_told = false;
        loop {
            let has_everything = self.has_everything();
            if has_everything && !std::mem::replace(&mut has_told, true) {
                self.round.one_is_ready();
            }
            if has_everything && (!self.round.site.breaks || self.round.is_over()) {
                break;
            }
            if self.round.marked() && !has_told {
                let begun = begun.get_or_insert_with(Instant::now);
                if begun.elapsed() > self.patience() {
                    let lacks = self.followed.lacks(&self.round.record);
                    let last: Vec<_> = self.followed.notes.iter().rev().take(3).collect();
                    let marks = &self.unmarked;
                    self.fault(&format!(
                        "it never heard the marks of {marks:?}: {last:?}, {lacks:?}"
                    ));
                    self.round.one_is_ready();
                    break;
                }
            }
            let Some(open) = &mut ear else {
                ear = self.open(false).await;
                continue;
            };
            if self.hear(open, Instant::now() + Duration::from_millis(50)).await.is_err() {
                ear = None;
            }
        }
        ear.into_iter().for_each(Ear::cut);
        self.round.record.followed.borrow_mut().push(self.followed);
    }

    fn fault(&self, what: &str) {
        self.round.record.fault(format!("follower {} on {}: {what}", self.name(), self.id));
    }

    /// How long it may take until it has everything: it gives up before those who wait for it.
    fn patience(&self) -> Duration {
        self.round.patience().mul_f64(if self.round.site.breaks { 0.8 } else { 2.0 })
    }

    /// Notes what may only happen where everything breaks.
    fn broke(&self, how: &'static str, what: &str) {
        if self.round.site.breaks {
            self.done(how);
        } else {
            self.fault(what);
        }
    }

    fn done(&self, what: &'static str) {
        self.round.record.count(what);
    }

    async fn request(&self, method: &str, target: &str, body: &Value) -> Option<(u16, Vec<u8>)> {
        let site = &self.round.site;
        if site.breaks {
            return site.insist(method, target, &body.to_string()).await.ok();
        }
        let mut line = Line::open(site.any()).await.ok()?;
        line.request(method, target, &body.to_string()).await.ok()
    }

    async fn connect(&mut self) {
        self.done("follower: connect");
        let (name, channels) = self.membership();
        let body = json!({
            "username": name, "channels": channels,
            "info": {"include_history": false, "include_users": false},
        });
        match self.request("POST", "/connect", &body).await {
            Some((200, told)) => {
                let told: Value = serde_json::from_slice(&told).unwrap();
                self.id = told["conn_id"].as_str().unwrap().to_owned();
                if self.cursor.is_empty() {
                    told["cursor"].as_str().unwrap().clone_into(&mut self.cursor);
                    self.first.clone_from(&self.cursor);
                }
            }
            other => self.fault(&format!("/connect was answered {other:?}")),
        }
    }

    /// Opens a socket behind the cursor; none if the connection is unknown, and then there is a new one.
    async fn open(&mut self, narrow: bool) -> Option<Ear> {
        let how = match self.dice.below(4) {
            0 if self.round.site.breaks => How::EventStream,
            1 if self.round.site.breaks => How::Lines,
            _ => How::Socket { narrow },
        };
        let address = self.round.site.any();
        self.comes(address, how.name());
        match Ear::open(address, how, &self.id, &self.cursor).await {
            Ok(Some(ear)) => Some(ear),
            Ok(None) => {
                self.connect().await;
                None
            }
            Err(error) => {
                self.broke("follower: could not listen", &format!("no socket: {error}"));
                sleep(self.dice.pause(50)).await;
                None
            }
        }
    }

    /// Notes where it presents its cursor.
    fn comes(&mut self, address: SocketAddr, by: &'static str) {
        self.presented.clone_from(&self.cursor);
        self.followed.notes.push(Note::Came(address, by, self.cursor.clone()));
    }

    /// Listens until the line breaks, or the round stops.
    async fn listen_on(&mut self) {
        let Some(mut ear) = self.open(false).await else { return };
        while !self.round.stopped() {
            if self.hear(&mut ear, Instant::now() + Duration::from_millis(50)).await.is_err() {
                return;
            }
        }
        ear.cut();
    }

    /// Listens for a while over a socket, and leaves in one of the ways there are.
    async fn listen(&mut self) {
        let is_wide = self.followed.channels.iter().any(|channel| is_wide(*channel));
        let narrow = is_wide && self.dice.one_in(2);
        let Some(mut ear) = self.open(narrow).await else { return };
        let time = self.dice.pause(400);
        if self.hear(&mut ear, Instant::now() + time).await.is_err() {
            return;
        }
        match self.dice.below(5) {
            0 => {
                self.done("follower: stall, then read on");
                sleep(self.dice.pause(1500)).await;
                let time = self.dice.pause(400);
                let _ = self.hear(&mut ear, Instant::now() + time).await;
                ear.cut();
            }
            1 => {
                self.done("follower: leave by close");
                let _ = ear.close().await;
            }
            2 => {
                self.done("follower: a new socket beside the old one");
                let Some(newer) = self.open(narrow).await else { return };
                // The old one is not read any more.
                newer.cut();
            }
            3 => {
                self.done("follower: leave by FIN");
                let _ = ear.finish().await;
            }
            _ => {
                self.done("follower: leave by RST");
                ear.cut();
            }
        }
    }

    async fn poll(&mut self) {
        self.done("follower: poll");
        let address = self.round.site.any();
        self.comes(address, "/listen");
        let target = format!("/listen?conn_id={}&since={}", self.id, self.cursor);
        let answer = async { Line::open(address).await?.request("GET", &target, "").await };
        match answer.await.ok() {
            // Half of the answers are lost on the way.
            Some((200, _)) if self.dice.one_in(2) => {}
            Some((200, list)) => self.note(&list),
            Some((401, _)) => self.connect().await,
            other @ (None | Some((503, _))) => {
                self.broke("follower: a poll broke", &format!("/listen was answered {other:?}"));
            }
            other => self.fault(&format!("/listen was answered {other:?}")),
        }
    }

    /// Reads and notes events; an error if the socket has ended.
    async fn hear(&mut self, ear: &mut Ear, until: Instant) -> Result<(), ()> {
        loop {
            match ear.next(until).await {
                None => return Ok(()),
                Some(Incoming::Text(text)) => self.note(&text),
                Some(Incoming::Pong) => {}
                Some(Incoming::Close(1000, _)) => {
                    self.connect().await;
                    return Err(());
                }
                // 1012: the server ends, or goes on from another state. 1013: it is without its journal.
                Some(other @ (Incoming::End { .. } | Incoming::Close(1012 | 1013, _))) => {
                    self.broke("follower: its line broke", &format!("its socket ended: {other:?}"));
                    return Err(());
                }
                Some(other) => {
                    self.fault(&format!("its socket ended: {other:?}"));
                    return Err(());
                }
            }
        }
    }

    /// Notes the events of a list, and the cursor behind them.
    fn note(&mut self, list: &[u8]) {
        let events: Vec<&serde_json::value::RawValue> = match serde_json::from_slice(list) {
            Ok(events) => events,
            Err(error) => return self.fault(&format!("{error}: {}", list.escape_ascii())),
        };
        let record = &self.round.record;
        for event in events {
            let Ok(Seq { seq, r#type, channel, reason }) = serde_json::from_str(event.get()) else {
                return self.fault(&format!("an event without a cursor: {event}"));
            };
            let is_page = channel.is_some_and(|channel| channel.starts_with('g'));
            let Some(newest) = sequence(seq) else {
                return self.fault(&format!("an event without a sequence: {event}"));
            };
            if newest < self.newest && reason != Some("epoch") {
                self.fault(&format!("the cursor goes back behind {}: {event}", self.cursor));
            }
            self.newest = newest;
            self.cursor = seq.to_owned();
            match r#type {
                "cursor" => {}
                // The first cursor stands before the channels that were joined with it. If its connection has
                // expired unheard, the newer one is told of that in vain, where users are remembered.
                "gap"
                    if reason == Some("window")
                        && self.presented == self.first
                        && self.round.site.breaks
                        && !record.loses.get() => {}
                "gap" if !is_page => {
                    let private = Stream::Private(self.followed.user);
                    let stream = channel.and_then(index).map_or(private, Stream::Channel);
                    let reason = reason.unwrap_or_default().to_owned();
                    record.count("follower: a gap");
                    if self.is_ready {
                        self.unmarked.remove(&stream);
                    }
                    self.followed.notes.push(Note::Gap(stream, reason, newest));
                }
                _ if is_page => {
                    let taken =
                        serde_json::from_str(event.get()).map_err(|error| error.to_string());
                    let taken = taken.and_then(|event| match &mut self.followed.pages {
                        Some((_, page)) => page.take(&event),
                        None => Err(format!("it shows no page: {event}")),
                    });
                    taken.unwrap_or_else(|error| self.fault(&error));
                }
                _ => match record.read(self.followed.user, format!("[{event}]").as_bytes()) {
                    Ok(received) => {
                        for mark in received.iter().filter(|received| received.number >= MARK) {
                            self.unmarked.remove(&mark.stream);
                        }
                        self.followed.notes.extend(received.into_iter().map(Note::Frame));
                    }
                    Err(error) => self.fault(&error),
                },
            }
        }
    }

    /// Whether it has heard in each channel that no more comes, or of a gap since then.
    fn has_everything(&self) -> bool {
        self.round.marked()
            && self.unmarked.is_empty()
            && self.followed.lacks(&self.round.record).is_none()
    }
}

impl Followed {
    /// The channels it is in, and its private frames if there are any.
    pub(crate) fn streams(&self) -> impl Iterator<Item = Stream> {
        let private = self.private.then_some(Stream::Private(self.user));
        self.channels.iter().copied().map(Stream::Channel).chain(private)
    }

    /// What it was given of a stream, without what it was told is lost.
    pub(crate) fn kept(&self, stream: Stream) -> Vec<&Received> {
        let mut kept: Vec<&Received> = Vec::new();
        for note in &self.notes {
            match note {
                Note::Frame(received) if received.stream == stream => kept.push(received),
                Note::Gap(of, reason, end) if *of == stream && reason == "epoch" => {
                    kept.retain(|received| received.sequence <= Some(*end));
                }
                Note::Gap(..) | Note::Frame(_) | Note::Came(..) => {}
            }
        }
        kept
    }

    /// The gaps it was told, with their reasons.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = (Stream, &str)> {
        self.notes.iter().filter_map(|note| match note {
            Note::Gap(stream, reason, _) => Some((*stream, reason.as_str())),
            Note::Frame(_) | Note::Came(..) => None,
        })
    }

    /// What its pages lack of the messages that were opened after it came, if they lack anything.
    pub(crate) fn lacks(&self, record: &Record) -> Option<String> {
        let (channel, page) = self.pages.as_ref()?;
        let grown = record.grown.borrow();
        page.lacks(grown.iter().filter(|(_, grown)| grown.channel == *channel), self.joined.1)
    }

    /// Checks what the follower was given of a stream: the number of frames.
    pub(crate) fn check(&self, record: &Record, stream: Stream, order: &Order) -> usize {
        let mut faults = Vec::new();
        let mut given: BTreeMap<usize, &Received> = BTreeMap::new();
        // Behind which places something may be missing, because a gap was told there.
        let mut gaps = BTreeSet::new();
        let mut newest = None;
        let kept: HashSet<_> = self.kept(stream).into_iter().map(std::ptr::from_ref).collect();
        for note in &self.notes {
            match note {
                Note::Gap(of, ..) if *of == stream => {
                    gaps.insert(newest.map_or(0, |newest: usize| newest + 1));
                }
                Note::Frame(received) if kept.contains(&std::ptr::from_ref(received)) => {
                    let Some(place) = order.place(received.key) else {
                        faults.push(format!("{received:?} is not of this channel"));
                        continue;
                    };
                    if given.insert(place, received).is_some() {
                        faults.push(format!("{received:?} came twice (place {place})"));
                    } else if newest > Some(place) {
                        let after = format!("place {place} after {newest:?}");
                        faults.push(format!("{received:?} came late ({after})"));
                    } else if !order.items[place].is_for(self.user) {
                        faults.push(format!("{received:?} is not for it"));
                    }
                    newest = newest.max(Some(place));
                }
                Note::Gap(..) | Note::Frame(_) | Note::Came(..) => {}
            }
        }
        let (_, begin) = order.window(self.joined.0, self.joined.1);
        for (place, item) in order.items.iter().enumerate().take(order.end + 1).skip(begin) {
            if given.contains_key(&place) || !item.is_for(self.user) {
                continue;
            }
            let before = given.range(..place).next_back().map_or(0, |(place, _)| place + 1);
            let is_told = gaps.range(before..=place).next().is_some();
            let is_contained = || Self::is_contained(record, stream, order, item.key, &given);
            if !is_told && !is_contained() && !self.was_deleted(record, stream, order, item.key) {
                faults.push(format!("{:?} never came (place {place})", item.key));
            }
        }
        if !faults.is_empty() {
            let count = faults.len();
            faults.truncate(TOLD);
            let faults = faults.join("\n    ");
            record.fault(format!(
                "follower {} in {stream:?}: {count} faults\n    {faults}\n  it was given{}",
                self.user,
                self.story(stream, order)
            ));
        }
        given.len()
    }

    /// Where it went and what it was given of a stream, by places; catch-up has a `+`.
    pub(crate) fn story(&self, stream: Stream, order: &Order) -> String {
        let mut story = String::new();
        for note in &self.notes {
            match note {
                Note::Gap(of, reason, end) if *of == stream => {
                    story += &format!("\n    gap {reason} behind {end}:");
                }
                Note::Came(address, by, cursor) => {
                    story += &format!("\n    {address}{by} behind {cursor}:");
                }
                Note::Frame(received) if received.stream == stream => {
                    let place = order.place(received.key).map_or(-1, |place| place as i64);
                    story += &format!(" {place}{}", if received.catchup { "+" } else { "" });
                }
                Note::Gap(..) | Note::Frame(_) => {}
            }
        }
        story
    }

    /// Whether a frame was left out because of a delete that is lost since then, as the gap tells.
    fn was_deleted(&self, record: &Record, stream: Stream, order: &Order, key: Key) -> bool {
        let message = match key {
            Key::Message(message) => Some(message),
            key => record.posted.borrow().get(&(stream, key)).and_then(|posted| posted.target),
        };
        let delete = message.map(Key::Delete);
        let is_lost = |delete: Key| {
            order.place(delete).is_none() && record.posted.borrow().contains_key(&(stream, delete))
        };
        delete.is_some_and(is_lost) && self.gaps().any(|gap| gap == (stream, "epoch"))
    }

    /// Whether catch-up leaves a frame out because others say it: a message that was deleted, an edit of
    /// a message that came as it was then, and all but the newest edit of a message.
    fn is_contained(
        record: &Record,
        stream: Stream,
        order: &Order,
        key: Key,
        given: &BTreeMap<usize, &Received>,
    ) -> bool {
        let posted = record.posted.borrow();
        match key {
            Key::Message(message) => order.place(Key::Delete(message)).is_some(),
            Key::Edit(_) => {
                let Some(target) = posted.get(&(stream, key)).and_then(|edit| edit.target) else {
                    return false;
                };
                let whole = order.place(Key::Message(target)).and_then(|place| given.get(&place));
                let is_newer = |received: &Received| match received.key {
                    Key::Edit(_) => {
                        let edit = posted.get(&(stream, received.key));
                        order.place(received.key) > order.place(key)
                            && edit.is_some_and(|edit| edit.target == Some(target))
                    }
                    _ => false,
                };
                whole.is_some_and(|whole| whole.catchup && whole.edited)
                    || given.values().any(|received| is_newer(received))
            }
            _ => false,
        }
    }
}
