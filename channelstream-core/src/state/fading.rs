//! Fading: messages that expire, and channels whose messages and events leave by age (contract §14).
//!
//! Each list has its own book of what expires, which has exactly what the list still has. A channel or user
//! has one deadline for all of it. It may be too early after a removal, and is right again after each fading.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::arena::Key;
use super::channel::Channel;
use super::command::Sequence;
use super::expiry::Fading;
use super::stored;
use super::time::Moment;
use super::user::User;
use super::{Rules, State};

/// The first level that knows of it.
pub(super) const SINCE: u32 = 2;

/// When something was stored, and when it expires.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) added: Moment,
    pub(super) expires: Option<Moment>,
}

/// What is in a list that things leave by their age.
pub(super) trait Aged {
    /// Returns the number by which the list is sorted.
    fn sequence(&self) -> Sequence;
    /// Returns when it was stored.
    fn added(&self) -> Moment;
    /// Returns `true` if it stays whatever its age.
    fn may_grow(&self) -> bool;
}

/// Returns when the oldest that may leave was stored.
pub(super) fn oldest<T: Aged>(list: &VecDeque<T>) -> Option<Moment> {
    list.iter().find(|one| !one.may_grow()).map(Aged::added)
}

/// Takes those out that are as old as `lifetime`, but no more than `left`.
pub(super) fn take_old<T: Aged>(
    list: &mut VecDeque<T>,
    lifetime: Duration,
    now: Moment,
    left: usize,
) -> Vec<T> {
    let (mut taken, mut place) = (Vec::new(), 0);
    while taken.len() < left
        && let Some(one) = list.get(place)
        && one.added().after(lifetime) <= now
    {
        if one.may_grow() {
            place += 1;
        } else {
            taken.extend(list.remove(place));
        }
    }
    taken
}

/// Takes those out that have these numbers, which are sorted.
pub(super) fn take_out<T: Aged>(
    list: &mut VecDeque<T>,
    numbers: &[Sequence],
    mut taken: impl FnMut(&T),
) {
    /// For more, one pass over the list is less work than to close each gap.
    const FEW: usize = 8;
    if numbers.len() > FEW {
        let mut numbers = numbers.iter().peekable();
        list.retain(|one| {
            while numbers.next_if(|number| **number < one.sequence()).is_some() {}
            let goes = numbers.peek().is_some_and(|number| **number == one.sequence());
            if goes {
                taken(one);
            }
            !goes
        });
        return;
    }
    for number in numbers {
        let place = list.binary_search_by_key(number, Aged::sequence).ok();
        if let Some(one) = place.and_then(|place| list.remove(place)) {
            taken(&one);
        }
    }
}

/// When the messages of a list expire, by their numbers. Most lists have none, and pay one pointer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "Vec<(Sequence, Moment)>", from = "Vec<(Sequence, Moment)>")]
pub(super) struct Expiring(Option<Box<Book>>);

#[derive(Clone, Debug, Default)]
struct Book {
    moments: BTreeMap<Sequence, Moment>,
    order: BTreeSet<(Moment, Sequence)>,
}

impl From<Expiring> for Vec<(Sequence, Moment)> {
    fn from(Expiring(book): Expiring) -> Self {
        book.map(|book| book.moments.into_iter().collect()).unwrap_or_default()
    }
}

impl From<Vec<(Sequence, Moment)>> for Expiring {
    fn from(all: Vec<(Sequence, Moment)>) -> Self {
        let mut expiring = Self::NONE;
        all.into_iter().for_each(|(number, when)| expiring.insert(number, Some(when)));
        expiring
    }
}

impl Expiring {
    pub(super) const NONE: Self = Self(None);

    /// Notes when the message with this number expires, if it does.
    pub(super) fn insert(&mut self, number: Sequence, expires: Option<Moment>) {
        let Some(when) = expires else { return };
        self.remove(number);
        let book = self.0.get_or_insert_default();
        book.moments.insert(number, when);
        book.order.insert((when, number));
    }

    /// Forgets a number that is no longer in the list.
    pub(super) fn remove(&mut self, number: Sequence) {
        let Some(book) = &mut self.0 else { return };
        if let Some(when) = book.moments.remove(&number) {
            book.order.remove(&(when, number));
        }
        if book.moments.is_empty() {
            self.0 = None;
        }
    }

    pub(super) fn get(&self, number: Sequence) -> Option<Moment> {
        self.0.as_ref()?.moments.get(&number).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns when the next one expires.
    pub(super) fn first(&self) -> Option<Moment> {
        self.0.as_ref()?.order.first().map(|(when, _)| *when)
    }

    /// Takes the numbers of what has expired, `most` of them at most, and returns them sorted.
    pub(super) fn take_due(&mut self, now: Moment, most: usize) -> Vec<Sequence> {
        let mut due = Vec::new();
        while due.len() < most
            && let Some((when, number)) = self.0.as_ref().and_then(|book| book.order.first())
            && *when <= now
        {
            let number = *number;
            due.push(number);
            self.remove(number);
        }
        due.sort_unstable();
        due
    }
}

impl State {
    /// Returns the life of what is stored now. The first level does not note when that is.
    pub(super) fn life(&self, expires: Option<Moment>) -> Life {
        let added = if self.level >= SINCE { self.own_time.now() } else { Moment::default() };
        Life { added, expires }
    }

    /// Watches a channel in which something is stored, or whose settings have changed.
    pub(super) fn watch_fading_channel(&mut self, key: Key<Channel>) {
        let channel = &mut self.channels[key];
        let when = channel.fades_at();
        self.deadlines.bring_forward(&mut channel.fades, when, Fading::Channel(key));
    }

    /// Watches a user for whom something is stored.
    pub(super) fn watch_fading_user(&mut self, key: Key<User>) {
        let user = &mut self.users[key];
        let when = user.stored.fades(None);
        self.deadlines.bring_forward(&mut user.fades, when, Fading::User(key));
    }

    /// Drops what is due in a channel, but no more than `left`. Returns how much more it could have been.
    pub(super) fn fade_channel(&mut self, key: Key<Channel>, left: usize) -> usize {
        let now = self.own_time.now();
        let mut dropped = Vec::new();
        let faded = self.channels[key].fade(now, left, &mut dropped);
        self.faded += faded as u64;
        self.release(dropped);
        let channel = &mut self.channels[key];
        let when = channel.fades_at();
        self.deadlines.set_fading(&mut channel.fades, when, Fading::Channel(key));
        left - faded
    }

    /// Drops what is due of the private events of a user, as [`fade_channel`](Self::fade_channel) does.
    pub(super) fn fade_user(&mut self, key: Key<User>, left: usize) -> usize {
        let now = self.own_time.now();
        let user = &mut self.users[key];
        let faded = user.stored.fade(now, None, left, &mut Vec::new());
        self.faded += faded as u64;
        let when = user.stored.fades(None);
        self.deadlines.set_fading(&mut user.fades, when, Fading::User(key));
        left - faded
    }

    /// Begins to note what the first level does not. What is stored already counts as stored now.
    pub(super) fn begin_to_fade(&mut self) {
        let (newest, now) = (self.sequence, self.own_time.now());
        self.channels.values_mut().for_each(|channel| channel.begin_to_fade(newest, now));
        self.users.values_mut().for_each(|user| user.stored.begin_to_fade(now));
    }
}

impl Rules {
    /// Returns the rules as they are in entries and snapshots of this level.
    pub(super) fn at_level(mut self, level: u32) -> Self {
        if level < SINCE {
            self.channel_defaults.iter_mut().for_each(|of| of.settings.history_ttl = None);
        }
        self
    }

    /// Returns the first level that can say all of these rules.
    pub fn since(&self) -> u32 {
        let fades = self.channel_defaults.iter().any(|of| of.settings.history_ttl.is_some());
        if fades { SINCE } else { stored::OLDEST }
    }
}
