//! A channel: settings, members, history and stored events (contract §1, §8).

use std::collections::VecDeque;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::arena::Key;
use super::catchup::{StoredEvents, edited};
use super::command::Sequence;
use super::connection::Connection;
use super::keys::Keys;
use super::time::Moment;
use super::user::User;
use crate::protocol::{ChannelSettings, Edit, Message, Timestamp};

/// A named place that connections join.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Channel {
    pub(super) uuid: Uuid,
    pub(super) name: Arc<str>,
    /// The number of the channel in order of creation.
    pub(super) number: u64,
    pub(super) settings: ChannelSettings,
    history: VecDeque<(Sequence, Arc<Message>)>,
    pub(super) stored: StoredEvents,
    /// The users with their connections that are in the channel.
    pub(super) members: IndexMap<Key<User>, Member>,
    pub(super) connections: usize,
    /// The wall time of the last activity.
    pub(super) last_active: Timestamp,
    /// The own time of the last activity.
    pub(super) active: Moment,
    /// When to check whether it can be removed; set while there are no members.
    pub(super) deadline: Option<Moment>,
}

/// A user in a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Member {
    /// Everything after this number is for the user.
    pub(super) began: Sequence,
    pub(super) connections: Keys<Connection>,
}

impl Channel {
    pub(super) fn new(uuid: Uuid, name: Arc<str>, number: u64, settings: ChannelSettings) -> Self {
        Self {
            uuid,
            name,
            number,
            settings,
            history: VecDeque::new(),
            stored: StoredEvents::default(),
            members: IndexMap::new(),
            connections: 0,
            last_active: Timestamp::default(),
            active: Moment::default(),
            deadline: None,
        }
    }

    /// Returns the stored messages, oldest first.
    pub(super) fn history(&self) -> Vec<Arc<Message>> {
        self.history.iter().map(|(_, message)| Arc::clone(message)).collect()
    }

    /// Returns the number of stored messages.
    pub(super) fn history_len(&self) -> usize {
        self.history.len()
    }

    /// Returns the newest `limit` stored messages, newest first.
    pub(super) fn newest(&self, limit: usize) -> Vec<Arc<Message>> {
        self.history.iter().rev().take(limit).map(|(_, message)| Arc::clone(message)).collect()
    }

    /// Adds a message to the history, if the settings and the message allow it. Returns `true` if the
    /// history then has messages. Only this trims the history: a smaller `history_size` has its effect
    /// with the next message.
    pub(super) fn remember(&mut self, sequence: Sequence, message: &Arc<Message>) -> bool {
        if !self.settings.store_history || message.no_history {
            return false;
        }
        self.history.push_back((sequence, Arc::clone(message)));
        while self.history.len() as u64 > self.settings.history_size {
            self.history.pop_front();
        }
        !self.history.is_empty()
    }

    /// Returns the first place of each of these ids in the history.
    pub(super) fn places(&self, ids: &IndexSet<Uuid>) -> IndexMap<Uuid, usize> {
        let mut places = IndexMap::with_capacity(ids.len());
        for (place, (_, message)) in self.history.iter().enumerate() {
            if ids.contains(&message.uuid) {
                places.entry(message.uuid).or_insert(place);
            }
        }
        places
    }

    /// Edits the message at this place of the history and its stored event; without a place, a message
    /// in the stored events.
    pub(super) fn edit(&mut self, place: Option<usize>, edit: &Edit) {
        match place.and_then(|place| self.history.get_mut(place)) {
            Some((sequence, message)) => {
                *message = Arc::new(edited(message, edit));
                self.stored.replace(*sequence, message);
            }
            None => self.stored.edit(edit),
        }
    }

    /// Removes messages from the history.
    pub(super) fn forget(&mut self, ids: &IndexSet<Uuid>) {
        self.history.retain(|(_, message)| !ids.contains(&message.uuid));
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
