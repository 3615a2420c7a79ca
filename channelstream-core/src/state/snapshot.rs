//! Snapshots: the state as bytes and back, after a version and a checksum.
//!
//! The server does not write snapshots yet. A journal that outlives the process needs them to restart
//! from, and until then the tests use them: a restored state must have the same future.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::arena::Arena;
use super::channel::Channel;
use super::connection::Connection;
use super::growing::Growing;
use super::node::Nodes;
use super::order::Order;
use super::repeats::Repeats;
use super::taking_over::TakingOver;
use super::time::OwnTime;
use super::user::User;
use super::{NodeId, Rules, Sequence, State};
use crate::protocol::Timestamp;

/// The version of the form. It rises with each change.
const VERSION: u32 = 6;

const NAME: &[u8] = b"channelstream-state ";

/// Returns the first line of a snapshot: its version, and a checksum of the JSON that follows.
fn header(version: u32, json: &[u8]) -> String {
    let name = String::from_utf8_lossy(NAME);
    format!("{name}{version} {:08x}\n", crc32fast::hash(json))
}

/// The reason why bytes cannot be restored as a snapshot.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Another version wrote it, with another form of state.
    #[error("the snapshot has version {found}, this program reads version {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// The bytes are not what was written.
    #[error("the snapshot is damaged: its checksum is not right")]
    Damaged,
    /// What was written is not a state. The program that wrote it has a bug.
    #[error("the snapshot cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
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

impl State {
    /// Returns the state as bytes, which are the same for equal states.
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
        let json = serde_json::to_vec(&snapshot).expect("all of the state has a form in JSON");
        let mut bytes = header(VERSION, &json).into_bytes();
        bytes.extend_from_slice(&json);
        bytes
    }

    /// Restores the state that [`State::snapshot`] wrote. It is the state of no node: see
    /// [`State::for_node`].
    ///
    /// # Errors
    /// Returns an error if the bytes are damaged or of another version.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(SnapshotError::Damaged)?;
        let (first_line, json) = bytes.split_at(end + 1);
        let version = first_line
            .strip_prefix(NAME)
            .and_then(|rest| std::str::from_utf8(rest.split(|byte| *byte == b' ').next()?).ok())
            .and_then(|version| version.parse().ok())
            .ok_or(SnapshotError::Damaged)?;
        if header(version, json).as_bytes() != first_line {
            return Err(SnapshotError::Damaged);
        }
        if version != VERSION {
            return Err(SnapshotError::Version { found: version });
        }
        let snapshot: Snapshot<
            Rules,
            Arena<User>,
            Arena<Connection>,
            Arena<Channel>,
            Repeats,
            Arena<Growing>,
            Order,
            Nodes,
            TakingOver,
        > = serde_json::from_slice(json)?;
        let mut state = Self {
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
            ..Self::new(snapshot.rules)
        };
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
}
