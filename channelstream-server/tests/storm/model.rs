//! The record of a round: what was asked of the server and what each listener was given, with the
//! order in which requests were begun and answered.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;
use tokio::time::Instant;
use uuid::Uuid;

use crate::follower::Followed;
use crate::page::Grown;

/// A moment: later ones are greater, and no two are the same.
pub(crate) type Tick = u64;

/// What frames have one order in: a channel, or the private frames of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stream {
    Channel(usize),
    Private(usize),
}

/// Which frame of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Message(u128),
    /// By the number in its text: a message may be edited more than once.
    Edit(u64),
    Delete(u128),
    Presence(u128),
    StateChange(u128),
}

/// A message, edit or delete that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    /// The number in its text; none in deletes.
    pub(crate) number: u64,
    /// The message that it edits or deletes.
    pub(crate) target: Option<u128>,
    /// Only for these users, unless empty.
    pub(crate) only: Vec<usize>,
    pub(crate) never: Vec<usize>,
    pub(crate) asked: Tick,
    pub(crate) answered: Tick,
    /// When it was answered.
    pub(crate) when: Instant,
}

/// A frame as a listener was given it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) stream: Stream,
    pub(crate) key: Key,
    pub(crate) number: u64,
    pub(crate) catchup: bool,
    pub(crate) edited: bool,
    /// Whom a presence is about, and whether it joined.
    pub(crate) presence: Option<(String, bool)>,
    /// The sequence in the cursor behind it, for who holds cursors.
    pub(crate) sequence: Option<u64>,
    pub(crate) at: Tick,
    pub(crate) when: Instant,
}

/// How a listener came to its end, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Not at all.
    Open,
    /// All that the server had sent was read.
    ReadOut,
    /// The same, and the server had nothing more: the connection was over.
    Over,
    /// What was on the way may be lost.
    Cut,
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) received: Vec<Received>,
    pub(crate) end: End,
    /// Closed for reading too slowly.
    pub(crate) slow: bool,
    /// The last it was given when it had closed already: half of it was out when the server heard
    /// of that, so that it may come again.
    pub(crate) again: Option<usize>,
    /// Given up so early that the server may never have known it.
    pub(crate) maybe: bool,
    /// It may have waited for what an older one on another node was sent, and was caught up later.
    pub(crate) waits: bool,
    /// When its client began to open it.
    pub(crate) begun: Instant,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Connect(BTreeSet<usize>),
    Subscribe(BTreeSet<usize>),
    Unsubscribe(BTreeSet<usize>),
    /// Opens the listener of this number.
    Open(usize),
    /// Begins to end the present listener.
    Close,
    Disconnect,
    /// The connection was found to be unknown.
    Gone,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) asked: Tick,
    pub(crate) answered: Tick,
}

/// A connection from `/connect` to its end.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) user: usize,
    pub(crate) id: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) listeners: Vec<Listener>,
}

/// All that happens in one round.
#[derive(Default)]
pub(crate) struct Record {
    tick: Cell<Tick>,
    pub(crate) posted: RefCell<HashMap<(Stream, Key), Posted>>,
    /// Where one publisher posts everything, one after another, the order is known.
    pub(crate) serial: RefCell<HashMap<Stream, Vec<Key>>>,
    pub(crate) lives: RefCell<Vec<Life>>,
    /// The followers, at their end.
    pub(crate) followed: RefCell<Vec<Followed>>,
    /// What the witness of each other channel was given, which hears all of it.
    pub(crate) witnesses: RefCell<HashMap<usize, Vec<Received>>>,
    /// Changes of a state: by number, the channels that have to tell of it.
    pub(crate) state_changes: RefCell<HashMap<u64, BTreeSet<usize>>>,
    pub(crate) faults: RefCell<Vec<String>>,
    /// Messages that grew to their end, by their uuid.
    pub(crate) grown: RefCell<HashMap<String, Grown>>,
    /// Everything that knew of it may have died, so that something that was answered is lost.
    pub(crate) loses: Cell<bool>,
    /// How often each thing was done.
    pub(crate) done: RefCell<HashMap<&'static str, usize>>,
}

impl Record {
    pub(crate) fn tick(&self) -> Tick {
        self.tick.set(self.tick.get() + 1);
        self.tick.get()
    }

    pub(crate) fn fault(&self, fault: String) {
        self.faults.borrow_mut().push(fault);
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.done.borrow_mut().entry(what).or_default() += 1;
    }

    pub(crate) fn step(&self, life: usize, action: Action, asked: Tick, answered: Tick) {
        self.lives.borrow_mut()[life].steps.push(Step { action, asked, answered });
    }

    /// Notes the events of a list of them, for the user they were sent to.
    pub(crate) fn read(&self, user: usize, text: &[u8]) -> Result<Vec<Received>, String> {
        let events: Vec<Event<'_>> = serde_json::from_slice(text)
            .map_err(|error| format!("{error}: {}", text.escape_ascii()))?;
        let at = self.tick();
        events.into_iter().map(|event| event.received(user, at)).collect()
    }
}

#[derive(Debug, Deserialize)]
struct Event<'a> {
    uuid: &'a str,
    r#type: &'a str,
    channel: Option<&'a str>,
    user: Option<&'a str>,
    message: Option<Text<'a>>,
    catchup: Option<bool>,
    edited: Option<&'a str>,
    seq: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
struct Text<'a> {
    n: Option<u64>,
    action: Option<&'a str>,
    changed: Option<Vec<Changed>>,
}

#[derive(Debug, Deserialize)]
struct Changed {
    value: u64,
}

impl Event<'_> {
    fn received(self, user: usize, at: Tick) -> Result<Received, String> {
        let unclear = || format!("an unclear event: {self:?}");
        let stream = match self.channel {
            None => Stream::Private(user),
            Some(name) => Stream::Channel(index(name).ok_or_else(unclear)?),
        };
        let uuid = Uuid::parse_str(self.uuid).map_err(|_| unclear())?.as_u128();
        let text = self.message.as_ref();
        let mut number = text.and_then(|text| text.n).unwrap_or_default();
        let mut presence = None;
        let key = match self.r#type {
            "message" => Key::Message(uuid),
            "message:edit" => Key::Edit(number),
            "message:delete" => Key::Delete(uuid),
            "presence" => {
                let joined = text.and_then(|text| text.action) == Some("joined");
                presence = Some((self.user.ok_or_else(unclear)?.to_owned(), joined));
                Key::Presence(uuid)
            }
            "user_state_change" => {
                let changed = text.and_then(|text| text.changed.as_ref()?.first());
                number = changed.ok_or_else(unclear)?.value;
                Key::StateChange(uuid)
            }
            _ => return Err(unclear()),
        };
        let catchup = self.catchup.unwrap_or_default();
        let edited = self.edited.is_some();
        let when = Instant::now();
        let sequence = match self.seq {
            Some(seq) => Some(sequence(seq).ok_or_else(unclear)?),
            None => None,
        };
        Ok(Received { stream, key, number, catchup, edited, presence, sequence, at, when })
    }
}

/// The sequence in a cursor.
pub(crate) fn sequence(cursor: &str) -> Option<u64> {
    cursor.trim_end_matches('n').split_once('-')?.1.parse().ok()
}

/// The number in a name such as `c12`.
pub(crate) fn index(name: &str) -> Option<usize> {
    name.get(1..)?.parse().ok()
}
