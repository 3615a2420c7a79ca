//! Followers: clients that hold a cursor. However they leave and come back, each is given all that comes
//! after its cursor, once and in order, or a gap in the place of what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::model::{Key, Received, Record, Stream, Tick, index};
use crate::order::Order;
use crate::round::{MARK, Round, is_wide};
use crate::wire::{Incoming, Line, PATIENCE, Socket};

/// The most faults that are reported for one follower and channel.
const TOLD: usize = 3;

/// What a follower was given, in this order.
#[derive(Debug)]
pub(crate) enum Note {
    Frame(Received),
    /// A gap in a channel, and when it was told.
    Gap(usize, Tick),
}

/// A follower and all that it was given.
#[derive(Debug)]
pub(crate) struct Followed {
    user: usize,
    channels: BTreeSet<usize>,
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
    /// When it came back for the last time: gaps from then on may stand for the marks.
    ready: Tick,
}

#[derive(Deserialize)]
struct Seq<'a> {
    seq: &'a str,
    r#type: &'a str,
    channel: Option<&'a str>,
}

impl Follower {
    pub(crate) fn new(round: Rc<Round>, mut dice: Dice, user: usize) -> Self {
        let channels = (0..=dice.below(3)).map(|_| dice.below(round.plan.channels)).collect();
        let followed = Followed { user, channels, joined: (0, 0), notes: Vec::new() };
        let (id, cursor) = (String::new(), String::new());
        Self { round, dice, followed, id, cursor, ready: 0 }
    }

    /// Follows until the round stops, and then until everything is received. Leaves its notes in the
    /// record.
    pub(crate) async fn run(mut self) {
        let asked = self.round.record.tick();
        self.connect().await;
        self.followed.joined = (asked, self.round.record.tick());
        while !self.round.stopped() {
            if self.dice.one_in(3) {
                self.poll().await;
            } else {
                self.listen().await;
            }
            let away = if self.dice.one_in(12) { 5000 } else { 200 };
            sleep(self.dice.pause(away)).await;
        }
        let mut socket = self.open(false).await;
        self.ready = self.round.record.tick();
        self.round.one_is_ready();
        let begun = Instant::now();
        while !self.has_everything() {
            if begun.elapsed() > 2 * PATIENCE {
                let Followed { channels, notes, .. } = &self.followed;
                let last: Vec<_> = notes.iter().rev().take(3).collect();
                self.fault(&format!("it never heard the marks of {channels:?}: {last:?}"));
                break;
            }
            let Some(open) = &mut socket else {
                socket = self.open(false).await;
                continue;
            };
            if self.hear(open, Instant::now() + Duration::from_millis(50)).await.is_err() {
                socket = None;
            }
        }
        socket.into_iter().for_each(Socket::cut);
        self.round.record.followed.borrow_mut().push(self.followed);
    }

    fn fault(&self, what: &str) {
        self.round.record.fault(format!("follower u{}: {what}", self.followed.user));
    }

    fn done(&self, what: &'static str) {
        self.round.record.count(what);
    }

    async fn request(&self, method: &str, target: &str, body: &Value) -> Option<(u16, Vec<u8>)> {
        let mut line = Line::open(self.round.site.any()).await.ok()?;
        line.request(&self.round.site, method, target, &body.to_string()).await.ok()
    }

    async fn connect(&mut self) {
        self.done("follower: connect");
        let names: Vec<_> = self.followed.channels.iter().map(|one| format!("c{one}")).collect();
        let body = json!({
            "username": format!("u{}", self.followed.user), "channels": names,
            "info": {"include_history": false, "include_users": false},
        });
        match self.request("POST", "/connect", &body).await {
            Some((200, told)) => {
                let told: Value = serde_json::from_slice(&told).unwrap();
                self.id = told["conn_id"].as_str().unwrap().to_owned();
                if self.cursor.is_empty() {
                    self.cursor = told["cursor"].as_str().unwrap().to_owned();
                }
            }
            other => self.fault(&format!("/connect was answered {other:?}")),
        }
    }

    /// Opens a socket behind the cursor; none if the connection is unknown, and then there is a new one.
    async fn open(&mut self, narrow: bool) -> Option<Socket> {
        let target = format!("{}&since={}", self.id, self.cursor);
        match Socket::open(self.round.site.any(), &target, narrow).await {
            Ok(socket) => Some(socket),
            Err(error) => {
                self.fault(&format!("no socket: {error}"));
                sleep(Duration::from_millis(50)).await;
                None
            }
        }
    }

    /// Listens for a while over a socket, and leaves in one of the ways there are.
    async fn listen(&mut self) {
        let is_wide = self.followed.channels.iter().any(|channel| is_wide(*channel));
        let narrow = is_wide && self.dice.one_in(2);
        let Some(mut socket) = self.open(narrow).await else { return };
        let time = self.dice.pause(400);
        if self.hear(&mut socket, Instant::now() + time).await.is_err() {
            return;
        }
        match self.dice.below(5) {
            0 => {
                self.done("follower: stall, then read on");
                sleep(self.dice.pause(1500)).await;
                let time = self.dice.pause(400);
                let _ = self.hear(&mut socket, Instant::now() + time).await;
                socket.cut();
            }
            1 => {
                self.done("follower: leave by close");
                let _ = socket.close().await;
            }
            2 => {
                self.done("follower: a new socket beside the old one");
                let Some(newer) = self.open(narrow).await else { return };
                // The old one is not read any more.
                newer.cut();
            }
            3 => {
                self.done("follower: leave by FIN");
                let _ = socket.finish().await;
            }
            _ => {
                self.done("follower: leave by RST");
                socket.cut();
            }
        }
    }

    async fn poll(&mut self) {
        self.done("follower: poll");
        let target = format!("/listen?conn_id={}&since={}", self.id, self.cursor);
        match self.request("GET", &target, &Value::Null).await {
            // Half of the answers are lost on the way.
            Some((200, _)) if self.dice.one_in(2) => {}
            Some((200, list)) => self.note(&list),
            Some((401, _)) => self.connect().await,
            other => self.fault(&format!("/listen was answered {other:?}")),
        }
    }

    /// Reads and notes events; an error if the socket has ended.
    async fn hear(&mut self, socket: &mut Socket, until: Instant) -> Result<(), ()> {
        loop {
            match socket.next(until).await {
                None => return Ok(()),
                Some(Incoming::Text(text)) => self.note(&text),
                Some(Incoming::Pong) => {}
                Some(Incoming::Close(1000, _)) => {
                    self.connect().await;
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
            let Ok(Seq { seq, r#type, channel }) = serde_json::from_str(event.get()) else {
                return self.fault(&format!("an event without a cursor: {event}"));
            };
            self.cursor = seq.to_owned();
            match r#type {
                "cursor" => {}
                "gap" => {
                    // Nobody posts to followers in private.
                    let channel = channel.and_then(index);
                    let gap = channel.map(|channel| Note::Gap(channel, record.tick()));
                    self.followed.notes.extend(gap);
                }
                _ => match record.read(self.followed.user, format!("[{event}]").as_bytes()) {
                    Ok(received) => {
                        self.followed.notes.extend(received.into_iter().map(Note::Frame));
                    }
                    Err(error) => self.fault(&error),
                },
            }
        }
    }

    /// Whether it has heard in each channel that no more comes, or of a gap since then.
    fn has_everything(&self) -> bool {
        if !self.round.marked() {
            return false;
        }
        let mut open = self.followed.channels.clone();
        for note in &self.followed.notes {
            match note {
                Note::Frame(Received { stream: Stream::Channel(channel), number, .. })
                    if *number >= MARK =>
                {
                    open.remove(channel);
                }
                Note::Gap(channel, at) if *at >= self.ready => {
                    open.remove(channel);
                }
                _ => {}
            }
        }
        open.is_empty()
    }
}

impl Followed {
    pub(crate) fn channels(&self) -> impl Iterator<Item = usize> {
        self.channels.iter().copied()
    }

    /// Checks what the follower was given of a channel: the number of frames.
    pub(crate) fn check(&self, record: &Record, channel: usize, order: &Order) -> usize {
        let stream = Stream::Channel(channel);
        let mut faults = Vec::new();
        let mut given: BTreeMap<usize, &Received> = BTreeMap::new();
        // Behind which places something may be missing, because a gap was told there.
        let mut gaps = BTreeSet::new();
        let mut newest = None;
        for note in &self.notes {
            match note {
                Note::Gap(of, _) if *of == channel => {
                    gaps.insert(newest.map_or(0, |newest: usize| newest + 1));
                }
                Note::Frame(received) if received.stream == stream => {
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
                Note::Gap(..) | Note::Frame(_) => {}
            }
        }
        let (_, begin) = order.window(self.joined.0, self.joined.1);
        for (place, item) in order.items.iter().enumerate().take(order.end + 1).skip(begin) {
            if given.contains_key(&place) || !item.is_for(self.user) {
                continue;
            }
            let before = given.range(..place).next_back().map_or(0, |(place, _)| place + 1);
            let is_told = gaps.range(before..=place).next().is_some();
            if !is_told && !Self::is_contained(record, stream, order, item.key, &given) {
                faults.push(format!("{:?} never came (place {place})", item.key));
            }
        }
        if !faults.is_empty() {
            let count = faults.len();
            faults.truncate(TOLD);
            let faults = faults.join("\n    ");
            record.fault(format!(
                "follower u{} in c{channel}: {count} faults\n    {faults}",
                self.user
            ));
        }
        given.len()
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
