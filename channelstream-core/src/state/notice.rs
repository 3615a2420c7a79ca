//! Notices: what happened that an application may want to hear, beside the events for listeners.

use std::sync::Arc;

use uuid::Uuid;

use super::arena::Key;
use super::channel::Channel;
use super::connection::Phase;
use super::user::User;
use super::{State, Step};
use crate::protocol::{Append, Status};

/// Something that happened in a step. It follows from the envelopes alone, and is no part of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A channel without members has its first one.
    Occupied {
        /// The channel.
        channel: Arc<str>,
    },
    /// The last member of a channel has left it, or the channel was deleted.
    Vacated {
        /// The channel.
        channel: Arc<str>,
    },
    /// A user has its first connection in a channel.
    Joined {
        /// The channel.
        channel: Arc<str>,
        /// The user.
        user: Arc<str>,
    },
    /// A user has no connection in a channel any more.
    Parted {
        /// The channel.
        channel: Arc<str>,
        /// The user.
        user: Arc<str>,
    },
    /// A connection ended for good. Its id is a secret, and is not told.
    Ended {
        /// The user of the connection.
        user: Arc<str>,
        /// The reason.
        why: WhyEnded,
        /// How many connections the user has left.
        left: usize,
    },
    /// A growing message ended. One that is deleted before it ends is not told.
    Closed {
        /// The id of the message.
        message: Uuid,
        /// Its channel; `None` for a private message.
        channel: Option<Arc<str>>,
        /// How it ended.
        status: Status,
    },
}

/// The reason why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyEnded {
    /// A request disconnected it.
    Disconnected,
    /// Its client closed the socket, and did not come back in time.
    Closed,
    /// It had no listener for too long.
    Silent,
}

impl From<Phase> for WhyEnded {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Alive => Self::Silent,
            Phase::Closed => Self::Closed,
            Phase::Ended => Self::Disconnected,
        }
    }
}

impl State {
    /// Sets whether outcomes have notices. It changes nothing else: states that differ in it are equal.
    pub fn collect_notices(&mut self, wanted: bool) {
        self.collects_notices = wanted;
    }

    pub(super) fn notice(&self, step: &mut Step, notice: impl FnOnce(&Self) -> Notice) {
        if self.collects_notices {
            step.notices.push(notice(self));
        }
    }

    /// Notes that a user has joined a channel.
    pub(super) fn notice_joined(&self, step: &mut Step, user: Key<User>, channel: Key<Channel>) {
        if self.channels[channel].members.len() == 1 {
            let channel = |state: &Self| Arc::clone(&state.channels[channel].name);
            self.notice(step, |state| Notice::Occupied { channel: channel(state) });
        }
        self.notice(step, |state| Notice::Joined {
            channel: Arc::clone(&state.channels[channel].name),
            user: Arc::clone(&state.users[user].name),
        });
    }

    /// Notes that a user has parted from a channel.
    pub(super) fn notice_parted(&self, step: &mut Step, user: Key<User>, channel: Key<Channel>) {
        self.notice(step, |state| Notice::Parted {
            channel: Arc::clone(&state.channels[channel].name),
            user: Arc::clone(&state.users[user].name),
        });
        if self.channels[channel].members.is_empty() {
            let channel = |state: &Self| Arc::clone(&state.channels[channel].name);
            self.notice(step, |state| Notice::Vacated { channel: channel(state) });
        }
    }

    /// Notes the end of a growing message, which this append announces.
    pub(super) fn notice_closed(&self, step: &mut Step, append: &Append, status: Status) {
        self.notice(step, |_| Notice::Closed {
            message: append.uuid,
            channel: append.channel.as_deref().map(Arc::from),
            status,
        });
    }
}
