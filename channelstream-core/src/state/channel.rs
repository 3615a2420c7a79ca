//! A channel: settings, members, history and stored frames (contract §1, §8).

use std::collections::VecDeque;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use uuid::Uuid;

use super::arena::Key;
use super::catchup::{StoredFrames, edited};
use super::command::Sequence;
use super::connection::Connection;
use super::user::User;
use crate::protocol::{ChannelSettings, Edit, Message, Timestamp};

/// A named place that connections join.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Channel {
    pub(super) uuid: Uuid,
    pub(super) name: Arc<str>,
    /// Counts channels in order of creation.
    pub(super) number: u64,
    pub(super) settings: ChannelSettings,
    history: VecDeque<(Sequence, Arc<Message>)>,
    pub(super) stored: StoredFrames,
    /// Users with the connections by which they are in here, in order of joining.
    pub(super) members: IndexMap<Key<User>, SmallVec<[Key<Connection>; 4]>>,
    pub(super) connections: usize,
    pub(super) last_active: Timestamp,
    /// When to look whether it can be removed; set while there are no members.
    pub(super) deadline: Option<Timestamp>,
}

impl Channel {
    pub(super) fn new(
        uuid: Uuid,
        name: Arc<str>,
        number: u64,
        settings: ChannelSettings,
        now: Timestamp,
    ) -> Self {
        Self {
            uuid,
            name,
            number,
            settings,
            history: VecDeque::new(),
            stored: StoredFrames::default(),
            members: IndexMap::new(),
            connections: 0,
            last_active: now,
            deadline: None,
        }
    }

    /// The stored messages, oldest first.
    pub(super) fn history(&self) -> Vec<Arc<Message>> {
        self.history.iter().map(|(_, message)| Arc::clone(message)).collect()
    }

    /// How many messages are stored.
    pub(super) fn history_len(&self) -> usize {
        self.history.len()
    }

    /// The newest stored messages, at most so many, newest first.
    pub(super) fn newest(&self, limit: usize) -> Vec<Arc<Message>> {
        self.history.iter().rev().take(limit).map(|(_, message)| Arc::clone(message)).collect()
    }

    /// Keeps a message for show, if the settings and the message want it. The history is trimmed
    /// here only: a setting that shrinks it waits for the next message.
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

    /// Edits a message in the history, with its stored frame, or else one in the stored frames.
    pub(super) fn edit(&mut self, edit: &Edit) {
        match self.history.iter_mut().find(|(_, message)| message.uuid == edit.uuid) {
            Some((sequence, message)) => {
                *message = Arc::new(edited(message, edit));
                self.stored.replace(*sequence, message);
            }
            None => self.stored.edit(edit),
        }
    }

    /// Removes a message from the history and the stored frames.
    pub(super) fn delete(&mut self, uuid: Uuid) {
        self.history.retain(|(_, message)| message.uuid != uuid);
        self.stored.delete(uuid);
    }

    /// Adds a connection of a user; whether it is the user's first.
    pub(super) fn add(&mut self, user: Key<User>, connection: Key<Connection>) -> bool {
        self.connections += 1;
        let connections = self.members.entry(user).or_default();
        connections.push(connection);
        connections.len() == 1
    }

    /// Takes a connection of a user out; whether it was the user's last.
    pub(super) fn remove(&mut self, user: Key<User>, connection: Key<Connection>) -> bool {
        let Some(connections) = self.members.get_mut(&user) else { return false };
        let Some(place) = connections.iter().position(|member| *member == connection) else {
            return false;
        };
        connections.remove(place);
        self.connections -= 1;
        if !connections.is_empty() {
            return false;
        }
        // The order of members counts for nothing: lists of users are sorted, or have no order.
        self.members.swap_remove(&user);
        if self.members.is_empty() {
            self.members = IndexMap::new();
        }
        true
    }
}
