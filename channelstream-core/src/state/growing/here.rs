//! Where growing messages are: their channel or users, and how many of a place may still grow.

use serde::{Deserialize, Serialize};

use super::Growing;
use crate::state::arena::Key;
use crate::state::channel::Channel;
use crate::state::keys::Keys;
use crate::state::user::User;

/// Where a message is stored, and who may receive it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::state) enum Place {
    Channel(Key<Channel>),
    /// It is private to these users.
    Users(Vec<Key<User>>),
}

/// The growing messages of a channel or user.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::state) struct Here(Option<Box<Keyed>>);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Keyed {
    keys: Keys<Growing>,
    /// How many of them may still grow, and how many of these are in the history and in the stored events.
    open: usize,
    open_in_history: usize,
    open_in_events: usize,
}

/// Where a message was stored when it was opened. While it may grow, it stays there.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) history: bool,
    pub(super) events: bool,
}

impl Here {
    /// Returns how many of them may still grow.
    pub(super) fn open(&self) -> usize {
        self.0.as_ref().map_or(0, |here| here.open)
    }

    /// Returns how many messages of the history may still grow.
    pub(in crate::state) fn open_in_history(&self) -> usize {
        self.0.as_ref().map_or(0, |here| here.open_in_history)
    }

    /// Returns how many messages of the stored events may still grow.
    pub(in crate::state) fn open_in_events(&self) -> usize {
        self.0.as_ref().map_or(0, |here| here.open_in_events)
    }

    pub(in crate::state) fn iter(&self) -> impl Iterator<Item = Key<Growing>> {
        self.0.iter().flat_map(|here| here.keys.iter())
    }

    pub(super) fn insert(&mut self, key: Key<Growing>, kept: Kept) {
        let here = self.0.get_or_insert_default();
        here.keys.insert(key);
        here.open += 1;
        here.open_in_history += usize::from(kept.history);
        here.open_in_events += usize::from(kept.events);
    }

    /// Counts a message that has ended.
    pub(super) fn close(&mut self, kept: Kept) {
        let Some(here) = &mut self.0 else { return };
        here.open -= 1;
        here.open_in_history -= usize::from(kept.history);
        here.open_in_events -= usize::from(kept.events);
    }

    /// Removes a message that has ended.
    pub(super) fn remove(&mut self, key: Key<Growing>) {
        let Some(here) = &mut self.0 else { return };
        here.keys.remove(key);
        if here.keys.is_empty() {
            self.0 = None;
        }
    }
}
