//! A connection: the identity that a backend creates for one user, and its listener.

use serde::{Deserialize, Serialize};

use super::arena::Key;
use super::catchup::Record;
use super::channel::Channel;
use super::command::{ConnectionId, ListenerId, ListenerKind, NodeId, Rules, Sequence};
use super::keys::Keys;
use super::time::Moment;
use super::user::User;

/// Belongs to one user, joins channels, outlives its sockets and polls.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) user: Key<User>,
    pub(super) channels: Keys<Channel>,
    pub(super) listener: Option<Listener>,
    /// The number of the newest event when it was created.
    pub(super) created: Sequence,
    pub(super) record: Record,
    pub(super) phase: Phase,
    /// When the phase began, or a listener was last seen.
    pub(super) since: Moment,
    pub(super) deadline: Option<Moment>,
}

/// The listener of a connection. Its id is unique on its node.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Listener {
    pub(super) node: NodeId,
    pub(super) id: ListenerId,
    pub(super) kind: ListenerKind,
    /// It is sent edits instead of appends.
    pub(super) as_edits: bool,
}

/// The phase in the life of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// It has a listener, or waits for one.
    Alive,
    /// The peer closed its socket. A new listener within the grace revives it.
    Closed,
    /// It was disconnected. Nothing revives it.
    Ended,
}

impl Connection {
    /// Returns when it is reaped, as things are now. A connection that was idle for long and has just
    /// joined or left a channel gets the grace of a closed one.
    pub(super) fn due(&self, rules: &Rules, now: Moment) -> Option<Moment> {
        match self.phase {
            Phase::Ended | Phase::Closed => Some(self.since.after(rules.closing_grace)),
            Phase::Alive if self.listener.is_some() => None,
            Phase::Alive => {
                let waiting = self.channels.is_empty();
                let timeout =
                    if waiting { rules.waiting_timeout } else { rules.connection_timeout };
                Some(self.since.after(timeout).max(now.after(rules.closing_grace)))
            }
        }
    }
}
