//! A channel: settings, members, history and stored events (contract §1, §8).

use std::collections::VecDeque;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};
use serde_with::{As, Same};
use uuid::Uuid;

use super::arena::Key;
use super::catchup::{StoredEvents, edited};
use super::command::Sequence;
use super::connection::Connection;
use super::growing::Here;
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
    #[serde(with = "As::<VecDeque<(Same, stored::SharedMessage)>>")]
    history: VecDeque<(Sequence, Arc<Message>)>,
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
            listeners: Listeners::default(),
            local: Local::default(),
            growing: Here::default(),
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
    /// with the next message. A message that may grow is not dropped, and takes no place from others. The
    /// ids of growing messages that are dropped are added to `dropped`.
    pub(super) fn remember(
        &mut self,
        sequence: Sequence,
        message: &Arc<Message>,
        dropped: &mut Vec<Uuid>,
    ) -> bool {
        if !self.settings.store_history || message.no_history {
            return false;
        }
        let size = self.settings.history_size;
        if size > 0 || message.growth.is_none() {
            self.history.push_back((sequence, Arc::clone(message)));
        }
        let open = self.growing.open_in_history() as u64;
        while self.history.len() as u64 > size.saturating_add(open) {
            let may_grow =
                |message: &Message| message.growth.is_some_and(|growth| growth.is_open());
            let oldest = self.history.iter().position(|(_, message)| !may_grow(message));
            let Some(oldest) = oldest else { break };
            let message = self.history.remove(oldest).map(|(_, message)| message);
            dropped.extend(message.filter(|message| message.growth.is_some()).map(|one| one.uuid));
        }
        !self.history.is_empty()
    }

    /// Replaces the message with this number, wherever it is stored.
    pub(super) fn replace(&mut self, sequence: Sequence, message: &Arc<Message>) {
        if let Some(place) = self.place(sequence) {
            self.history[place].1 = Arc::clone(message);
        }
        self.stored.replace(sequence, message);
    }

    /// Returns whether the message with this number is in the history, and in the stored events.
    pub(super) fn keeps(&self, sequence: Sequence) -> (bool, bool) {
        (self.place(sequence).is_some(), self.stored.has(sequence))
    }

    fn place(&self, sequence: Sequence) -> Option<usize> {
        self.history.binary_search_by_key(&sequence, |(sequence, _)| *sequence).ok()
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
