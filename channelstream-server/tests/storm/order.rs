//! The one order of the frames of a stream, and what of it is known to be before or after a moment.

use std::collections::{HashMap, VecDeque};

use crate::model::{Key, Posted, Received, Record, Stream, Tick, index};
use crate::round::{MARK, stores_frames};

/// Events that are stored for absent users, of a channel and of a user.
const KEPT: (usize, usize) = (100, 50);

/// The number of the witnesses among users: they hear everything.
pub(crate) const WITNESS: usize = usize::MAX;

/// One frame in its place.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) key: Key,
    pub(crate) number: u64,
    only: Vec<usize>,
    never: Vec<usize>,
    /// From this number of frames on it is no longer stored.
    pub(crate) stored_until: usize,
    /// Place and number of the edit of this message.
    pub(crate) edit: Option<(usize, u64)>,
}

impl Item {
    pub(crate) fn is_for(&self, user: usize) -> bool {
        let is_meant = self.only.is_empty() || self.only.contains(&user) || user == WITNESS;
        is_meant && !self.never.contains(&user)
    }
}

/// All frames of a stream.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) items: Vec<Item>,
    places: HashMap<Key, usize>,
    /// When the latest of all up to here was asked for.
    asked: Vec<Tick>,
    /// When the first of all from here on was known to be there.
    known: Vec<Tick>,
    /// The frames up to here are looked at.
    pub(crate) end: usize,
}

impl Order {
    /// The order in which everything was heard.
    pub(crate) fn of_heard(record: &Record, stream: Stream, heard: &[Received]) -> Self {
        let posted = record.posted.borrow();
        let mut members: HashMap<&str, bool> = HashMap::new();
        let frames = heard.iter().map(|heard| {
            if heard.stream != stream {
                record.fault(format!("{heard:?} was heard in {stream:?}"));
            }
            if let Some((user, joined)) = &heard.presence
                && members.insert(user, *joined).unwrap_or_default() == *joined
            {
                record.fault(format!("{user} joins or parts twice in {stream:?}"));
            }
            let told = posted.get(&(stream, heard.key));
            let is_ours = matches!(heard.key, Key::Message(_) | Key::Edit(_) | Key::Delete(_));
            let is_as_edited = || {
                let edit = posted.get(&(stream, Key::Edit(heard.number)));
                heard.edited
                    && edit.is_some_and(|edit| edit.target.map(Key::Message) == Some(heard.key))
            };
            if is_ours && told.is_none_or(|told| told.number != heard.number && !is_as_edited()) {
                record.fault(format!("{heard:?} was heard in {stream:?}, posted {told:?}"));
            }
            let posted = told.cloned().unwrap_or_else(|| {
                let about = heard.presence.as_ref().map(|(user, _)| user.as_str());
                let never = about.and_then(|user| match user.as_bytes().first() {
                    Some(b'u') => index(user),
                    Some(b'w') => Some(WITNESS),
                    _ => None,
                });
                let never = never.into_iter().collect();
                Posted {
                    number: heard.number,
                    target: None,
                    only: vec![],
                    never,
                    asked: 0,
                    answered: Tick::MAX,
                    when: heard.when,
                }
            });
            let posted = Posted { answered: posted.answered.min(heard.at), ..posted };
            (heard.key, posted)
        });
        Self::new(record, stream, frames.collect())
    }

    /// What was posted, and nobody heard of it.
    pub(crate) fn unheard(&self, record: &Record, stream: Stream) -> Vec<Key> {
        let posted = record.posted.borrow();
        let keys = posted.keys().filter(|(of, _)| *of == stream).map(|(_, key)| *key);
        keys.filter(|key| !self.places.contains_key(key)).collect()
    }

    /// The order in which one publisher posted everything.
    pub(crate) fn of_posts(record: &Record, stream: Stream) -> Self {
        let posted = record.posted.borrow();
        let keys = record.serial.borrow().get(&stream).cloned().unwrap_or_default();
        let frames = keys.iter().map(|key| (*key, posted[&(stream, *key)].clone())).collect();
        Self::new(record, stream, frames)
    }

    fn new(record: &Record, stream: Stream, frames: Vec<(Key, Posted)>) -> Self {
        let keep = match stream {
            Stream::Channel(channel) if !stores_frames(channel) => 0,
            Stream::Channel(_) => KEPT.0,
            Stream::Private(_) => KEPT.1,
        };
        let end = frames.iter().rposition(|(_, posted)| posted.number >= MARK).unwrap_or_default();
        let mut places = HashMap::new();
        let mut items: Vec<Item> = Vec::with_capacity(frames.len());
        let (mut asked, mut known) = (Vec::new(), Vec::new());
        let mut stored = VecDeque::new();
        let mut latest = (0, 0);
        for (place, (key, posted)) in frames.into_iter().enumerate() {
            if places.insert(key, place).is_some() {
                record.fault(format!("{key:?} came twice to all of {stream:?}"));
            }
            // What was answered before another was asked for comes first; so does, within one
            // request, the smaller number.
            if latest.0 > posted.answered || latest.0 == posted.asked && latest.1 > posted.number {
                record.fault(format!("{key:?} stands too late in {stream:?}"));
            }
            if posted.asked > 0 {
                latest = latest.max((posted.asked, posted.number));
            }
            let target = posted.target.and_then(|target| places.get(&Key::Message(target)));
            match (key, target) {
                (Key::Edit(number), Some(target)) => items[*target].edit = Some((place, number)),
                (Key::Delete(_), Some(target)) => {
                    let gone = &mut items[*target].stored_until;
                    *gone = (*gone).min(place + 1);
                    stored.retain(|kept| kept != target);
                }
                _ => {}
            }
            let Posted { number, only, never, .. } = posted;
            items.push(Item { key, number, only, never, stored_until: usize::MAX, edit: None });
            stored.push_back(place);
            if stored.len() > keep
                && let Some(oldest) = stored.pop_front()
            {
                items[oldest].stored_until = place + 1;
            }
            asked.push(latest.0);
            known.push(posted.answered);
        }
        for place in (1..known.len()).rev() {
            known[place - 1] = known[place - 1].min(known[place]);
        }
        Self { items, places, asked, known, end }
    }

    pub(crate) fn place(&self, key: Key) -> Option<usize> {
        self.places.get(&key).copied()
    }

    /// Within which places the server did what was asked for and answered at these times: not
    /// before the first, not after the second.
    pub(crate) fn window(&self, asked: Tick, answered: Tick) -> (usize, usize) {
        let from = self.known.partition_point(|known| *known < asked);
        let to = self.asked.partition_point(|asked| *asked <= answered);
        (from, to.max(from))
    }
}
