//! A channel: settings, members, history and stored events (contract §1, §8).

use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_with::{As, Same};
use uuid::Uuid;

use super::arena::Key;
use super::catchup::StoredEvents;
use super::command::Sequence;
use super::connection::Connection;
use super::fading::Life;
use super::growing::Here;
use super::history::History;
use super::keys::Keys;
use super::local::{Listeners, Local};
use super::stored;
use super::time::Moment;
use super::user::User;
use crate::protocol::{ChannelSettings, Edit, Message, Timestamp};

/// A named place that connections join.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Channel {
    pub(super) uuid: Uuid,
    #[serde(with = "As::<stored::Name>")]
    pub(super) name: Arc<str>,
    /// The number of the channel in order of creation.
    pub(super) number: u64,
    #[serde(with = "stored::ChannelSettings")]
    pub(super) settings: ChannelSettings,
    pub(super) history: History,
    pub(super) stored: StoredEvents,
    /// The users with their connections that are in the channel.
    pub(super) members: IndexMap<Key<User>, Member>,
    pub(super) connections: usize,
    /// How many of the connections have a listener, on any node.
    #[serde(skip)]
    pub(super) listeners: Listeners,
    #[serde(skip)]
    pub(super) local: Local,
    pub(super) growing: Here,
    /// The wall time of the last activity.
    pub(super) last_active: Timestamp,
    /// The own time of the last activity.
    pub(super) active: Moment,
    /// When to check whether it can be removed; set while there are no members.
    pub(super) deadline: Option<Moment>,
    /// When to check whether something in it is due to leave.
    #[serde(with = "As::<stored::Second<Same>>")]
    pub(super) fades: Option<Moment>,
}

/// A user in a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Member {
    /// Everything after this number is for the user.
    pub(super) began: Sequence,
    pub(super) connections: Keys<Connection>,
}

impl Channel {
    pub(super) fn new(
        uuid: Uuid,
        name: Arc<str>,
        number: u64,
        settings: ChannelSettings,
        history: History,
    ) -> Self {
        Self {
            uuid,
            name,
            number,
            settings,
            history,
            stored: StoredEvents::default(),
            members: IndexMap::new(),
            connections: 0,
            listeners: Listeners::default(),
            local: Local::default(),
            growing: Here::default(),
            last_active: Timestamp::default(),
            active: Moment::default(),
            deadline: None,
            fades: None,
        }
    }

    /// Adds a message to the history, if the settings and the message allow it. Returns `true` if the
    /// history then has messages. A new message trims the history: a smaller `history_size` has its effect
    /// with the next message. A message that may grow is not dropped, and takes no place from others. The
    /// ids of growing messages that are dropped are added to `dropped`.
    pub(super) fn remember(
        &mut self,
        sequence: Sequence,
        message: &Arc<Message>,
        life: Life,
        dropped: &mut Vec<Uuid>,
    ) -> bool {
        // That it is in no history is what its publisher wanted.
        if message.no_history {
            return false;
        }
        if !self.settings.store_history {
            self.history.skip(sequence);
            return false;
        }
        let size = self.settings.history_size;
        if size > 0 || message.growth.is_none() {
            self.history.push(sequence, message, life);
        } else {
            self.history.skip(sequence);
        }
        let open = self.growing.open_in_history() as u64;
        self.history.trim(size.saturating_add(open), dropped);
        self.history.len() > 0
    }

    /// Drops what has expired or is too old, but no more than `left` messages and events. Returns how many
    /// they were. The ids of growing messages among them are added to `dropped`.
    pub(super) fn fade(&mut self, now: Moment, left: usize, dropped: &mut Vec<Uuid>) -> usize {
        let lifetime = self.settings.lifetime();
        let of_history = self.history.fade(now, lifetime, left, dropped);
        of_history + self.stored.fade(now, lifetime, left - of_history, dropped)
    }

    /// Returns when something is due to leave.
    pub(super) fn fades_at(&self) -> Option<Moment> {
        let lifetime = self.settings.lifetime();
        [self.history.fades(lifetime), self.stored.fades(lifetime)].into_iter().flatten().min()
    }

    /// Begins to note what the first level does not.
    pub(super) fn begin_to_fade(&mut self, newest: Sequence, now: Moment) {
        self.history.begin_to_fade(newest, now);
        self.stored.begin_to_fade(now);
    }

    /// Replaces the message with this number, wherever it is stored.
    pub(super) fn replace(&mut self, sequence: Sequence, message: &Arc<Message>) {
        self.history.replace(sequence, message);
        self.stored.replace(sequence, message);
    }

    /// Returns whether the message with this number is in the history, and in the stored events.
    pub(super) fn keeps(&self, sequence: Sequence) -> (bool, bool) {
        (self.history.place(sequence).is_some(), self.stored.has(sequence))
    }

    /// Edits the message at this place of the history and its stored event; without a place, a message
    /// in the stored events. Returns when it expires.
    pub(super) fn edit(&mut self, place: Option<usize>, edit: &Edit) -> Option<Moment> {
        match place.and_then(|place| self.history.edit(place, edit)) {
            Some((one, expires)) => {
                self.stored.replace(one.sequence, &one.message);
                expires
            }
            None => self.stored.edit(edit),
        }
    }

    /// Adds a connection of a user. The membership of a new member begins as `began` says. Returns
    /// `true` if it is the first connection of the user.
    pub(super) fn add(
        &mut self,
        user: Key<User>,
        connection: Key<Connection>,
        began: impl FnOnce() -> Sequence,
    ) -> bool {
        let member = self
            .members
            .entry(user)
            .or_insert_with(|| Member { began: began(), connections: Keys::default() });
        self.connections += usize::from(member.connections.insert(connection));
        member.connections.len() == 1
    }

    /// Removes a connection of a user. Returns the beginning of the membership if it was the last
    /// connection of the user.
    pub(super) fn remove(
        &mut self,
        user: Key<User>,
        connection: Key<Connection>,
    ) -> Option<Sequence> {
        let Member { began, connections } = self.members.get_mut(&user)?;
        self.connections -= usize::from(connections.remove(connection));
        if !connections.is_empty() {
            return None;
        }
        let began = *began;
        // The order of members has no meaning: lists of users are sorted, or have no order.
        self.members.swap_remove(&user);
        if self.members.is_empty() {
            self.members = IndexMap::new();
        }
        Some(began)
    }
}
