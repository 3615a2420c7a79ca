//! Snapshots: the state as bytes and back, after a level and a checksum.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Levels, UnknownLevel, second, shared};
use crate::protocol::Timestamp;
use crate::state::arena::{Arena, Key};
use crate::state::channel::{Channel, Member};
use crate::state::connection::Connection;
use crate::state::growing::{Growing, Place};
use crate::state::node::Nodes;
use crate::state::order::Order;
use crate::state::removal::{self, Refused};
use crate::state::repeats::Repeats;
use crate::state::taking_over::TakingOver;
use crate::state::time::OwnTime;
use crate::state::user::User;
use crate::state::{NodeId, Rules, Sequence, State};

const NAME: &[u8] = b"channelstream-state ";

/// Returns the first line of a snapshot: its level, and a checksum of what follows. Its length does not
/// depend on what follows.
fn header(level: u32, rest: &[u8]) -> String {
    let name = String::from_utf8_lossy(NAME);
    format!("{name}{level} {:08x}\n", crc32fast::hash(rest))
}

/// The reason why bytes cannot be restored as a snapshot.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Another program wrote it, with a form of state that this one does not know.
    #[error("the snapshot has {0}")]
    Level(#[from] UnknownLevel),
    /// The bytes are not what was written.
    #[error("the snapshot is damaged: its checksum is not right")]
    Damaged,
    /// What was written is not a state. The program that wrote it has a bug.
    #[error("the snapshot cannot be read: {0}")]
    Unreadable(String),
}

/// The contents of a snapshot. The rest of a [`State`] follows from it.
#[derive(Serialize, Deserialize)]
struct Snapshot<S, T, C, H, R, G, O, N, W> {
    rules: S,
    order: O,
    nodes: N,
    taking_over: W,
    digest: u64,
    now: Timestamp,
    own_time: OwnTime,
    sequence: Sequence,
    channels_created: u64,
    messages_delivered: u64,
    messages_posted: u64,
    users: T,
    connections: C,
    channels: H,
    repeats: R,
    growing: G,
}

type Contents = Snapshot<
    Rules,
    Arena<User>,
    Arena<Connection>,
    Arena<Channel>,
    Repeats,
    Arena<Growing>,
    Order,
    Nodes,
    TakingOver,
>;

impl State {
    /// Returns the state as bytes of the level in force, which are the same for equal states.
    pub fn snapshot(&self) -> Vec<u8> {
        let snapshot = Snapshot {
            rules: &self.rules,
            order: &self.order,
            nodes: &self.nodes,
            taking_over: &self.taking_over,
            digest: self.digest,
            now: self.now,
            own_time: self.own_time,
            sequence: self.sequence,
            channels_created: self.channels_created,
            messages_delivered: self.messages_delivered,
            messages_posted: self.messages_posted,
            users: &self.users,
            connections: &self.connections,
            channels: &self.channels,
            repeats: &self.repeats,
            growing: &self.growing,
        };
        let mut bytes = header(self.level, &[]).into_bytes();
        let begin = bytes.len();
        second::at(self.level, || shared::write(&snapshot, &mut bytes))
            .expect("lists have a known length");
        if self.level >= removal::SINCE {
            let since_2 = (&self.refused, self.faded);
            shared::write(&since_2, &mut bytes).expect("lists have a known length");
        }
        let header = header(self.level, &bytes[begin..]);
        bytes[..begin].copy_from_slice(header.as_bytes());
        bytes
    }

    /// Restores the state that [`State::snapshot`] wrote. It is the state of no node: see
    /// [`State::for_node`].
    ///
    /// # Errors
    /// Returns an error if the bytes are damaged or of a level that this program does not know.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        Self::restore_for(bytes, Levels::KNOWN)
    }

    /// Like [`State::restore`], for a program that knows these levels.
    ///
    /// # Errors
    /// Returns an error if the bytes are damaged or of another level.
    pub fn restore_for(bytes: &[u8], known: Levels) -> Result<Self, SnapshotError> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(SnapshotError::Damaged)?;
        let (first_line, rest) = bytes.split_at(end + 1);
        let level = first_line
            .strip_prefix(NAME)
            .and_then(|rest| std::str::from_utf8(rest.split(|byte| *byte == b' ').next()?).ok())
            .and_then(|level| level.parse().ok())
            .ok_or(SnapshotError::Damaged)?;
        if header(level, rest).as_bytes() != first_line {
            return Err(SnapshotError::Damaged);
        }
        known.check(level)?;
        let (snapshot, behind) = second::at(level, || shared::read::<Contents>(rest))
            .map_err(|error| SnapshotError::Unreadable(error.to_string()))?;
        let ((refused, faded), behind) = if level >= removal::SINCE {
            shared::read::<(Refused, u64)>(behind)
                .map_err(|error| SnapshotError::Unreadable(error.to_string()))?
        } else {
            (<(Refused, u64)>::default(), behind)
        };
        if !behind.is_empty() {
            return Err(SnapshotError::Unreadable("it goes on behind the state".to_owned()));
        }
        let mut state = Self {
            level,
            order: snapshot.order,
            nodes: snapshot.nodes,
            taking_over: snapshot.taking_over,
            digest: snapshot.digest,
            now: snapshot.now,
            own_time: snapshot.own_time,
            sequence: snapshot.sequence,
            channels_created: snapshot.channels_created,
            messages_delivered: snapshot.messages_delivered,
            messages_posted: snapshot.messages_posted,
            users: snapshot.users,
            connections: snapshot.connections,
            channels: snapshot.channels,
            repeats: snapshot.repeats,
            growing: snapshot.growing,
            refused,
            faded,
            ..Self::new(snapshot.rules)
        };
        if !state.is_whole() {
            return Err(SnapshotError::Unreadable("a key leads nowhere".to_owned()));
        }
        if let Some((_, user)) = state.users.iter().find(|(_, user)| user.state.is_empty()) {
            state.no_state = Arc::clone(&user.state);
        }
        state.user_names =
            state.users.iter().map(|(key, user)| (Arc::clone(&user.name), key)).collect();
        state.connection_ids =
            state.connections.iter().map(|(key, connection)| (connection.id, key)).collect();
        state.channel_names =
            state.channels.iter().map(|(key, channel)| (Arc::clone(&channel.name), key)).collect();
        state.growing_ids =
            state.growing.iter().map(|(key, growing)| (growing.uuid(), key)).collect();
        state.collect_deadlines();
        // It counts the listeners, too.
        Ok(state.for_node(NodeId::default()))
    }
    /// Returns `true` if all keys lead to something, as everything else relies on.
    fn is_whole(&self) -> bool {
        let Self { users, connections, channels, growing, .. } = self;
        let is_user = |key: Key<User>| users.get(key).is_some();
        let is_connection = |key: Key<Connection>| connections.get(key).is_some();
        let is_channel = |key: Key<Channel>| channels.get(key).is_some();
        let is_growing = |key: Key<Growing>| growing.get(key).is_some();
        let is_place = |place: &Place| match place {
            Place::Channel(key) => is_channel(*key),
            Place::Users(keys) => keys.iter().all(|key| is_user(*key)),
        };
        let is_member = |key: Key<User>, member: &Member| {
            is_user(key) && member.connections.iter().all(is_connection)
        };
        users.is_whole()
            && connections.is_whole()
            && channels.is_whole()
            && growing.is_whole()
            && users.iter().all(|(_, user)| {
                user.connections.iter().all(is_connection) && user.growing.iter().all(is_growing)
            })
            && connections.iter().all(|(_, connection)| {
                is_user(connection.user) && connection.channels.iter().all(is_channel)
            })
            && channels.iter().all(|(_, channel)| {
                channel.members.iter().all(|(key, member)| is_member(*key, member))
                    && channel.growing.iter().all(is_growing)
            })
            && growing.iter().all(|(_, growing)| is_place(growing.place()))
            && self.taking_over.connections().all(is_connection)
    }
}
