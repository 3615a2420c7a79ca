//! State to bytes and back, with a version.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::arena::Arena;
use super::channel::Channel;
use super::connection::Connection;
use super::user::User;
use super::{Rules, Sequence, State};
use crate::protocol::Timestamp;

/// Goes up with each change of what is written.
const VERSION: u32 = 1;

/// Why bytes are no snapshot that can be restored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Written by a version with another form of state.
    #[error("the snapshot has version {found}, this program reads version {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// No snapshot, or not all of it.
    #[error("the snapshot is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

/// What is written; all the rest of a [`State`] follows from it.
#[derive(Serialize, Deserialize)]
struct Snapshot<T, C, H> {
    version: u32,
    now: Timestamp,
    sequence: Sequence,
    channels_created: u64,
    messages_delivered: u64,
    messages_posted: u64,
    users: T,
    connections: C,
    channels: H,
}

impl State {
    /// The state as bytes, the same for equal states.
    pub fn snapshot(&self) -> Vec<u8> {
        let snapshot = Snapshot {
            version: VERSION,
            now: self.now,
            sequence: self.sequence,
            channels_created: self.channels_created,
            messages_delivered: self.messages_delivered,
            messages_posted: self.messages_posted,
            users: &self.users,
            connections: &self.connections,
            channels: &self.channels,
        };
        serde_json::to_vec(&snapshot).expect("all of the state has a form in JSON")
    }

    /// The state that [`State::snapshot`] wrote; it goes on under `rules`.
    ///
    /// # Errors
    /// If the bytes are damaged or of another version.
    pub fn restore(bytes: &[u8], rules: Rules) -> Result<Self, SnapshotError> {
        let Header { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(SnapshotError::Version { found: version });
        }
        let snapshot: Snapshot<Arena<User>, Arena<Connection>, Arena<Channel>> =
            serde_json::from_slice(bytes)?;
        let mut state = Self {
            now: snapshot.now,
            sequence: snapshot.sequence,
            channels_created: snapshot.channels_created,
            messages_delivered: snapshot.messages_delivered,
            messages_posted: snapshot.messages_posted,
            users: snapshot.users,
            connections: snapshot.connections,
            channels: snapshot.channels,
            ..Self::new(rules)
        };
        state.user_names =
            state.users.iter().map(|(key, user)| (Arc::clone(&user.name), key)).collect();
        state.connection_ids =
            state.connections.iter().map(|(key, connection)| (connection.id, key)).collect();
        state.channel_names =
            state.channels.iter().map(|(key, channel)| (Arc::clone(&channel.name), key)).collect();
        state.collect_deadlines();
        Ok(state)
    }
}
