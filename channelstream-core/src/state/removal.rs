//! Ends all connections of a user, and refuses new ones for a while.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::connection::Phase;
use super::time::Moment;
use super::{EndReason, Refusal, State, Step, remove_entry};
use crate::protocol::{DisconnectUser, UserDisconnected};

/// The first level that knows of it.
pub(super) const SINCE: u32 = 2;

/// The users whom `/connect` refuses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "Vec<Stored>", from = "Vec<Stored>")]
pub(super) struct Refused {
    users: IndexMap<Arc<str>, Entry>,
    /// When each of them is let in again.
    order: BTreeSet<(Moment, Arc<str>)>,
}

#[derive(Clone, Debug)]
struct Entry {
    until: Moment,
    reason: Option<Arc<str>>,
}

/// A refused user in a snapshot.
#[derive(Serialize, Deserialize)]
struct Stored {
    until: Moment,
    user: String,
    reason: Option<String>,
}

impl From<Refused> for Vec<Stored> {
    fn from(refused: Refused) -> Self {
        let Refused { users, order } = refused;
        let stored = |(until, user): (Moment, Arc<str>)| {
            let reason = users.get(&user).and_then(|entry| entry.reason.as_deref());
            Stored { until, user: user.to_string(), reason: reason.map(str::to_owned) }
        };
        order.into_iter().map(stored).collect()
    }
}

impl From<Vec<Stored>> for Refused {
    fn from(stored: Vec<Stored>) -> Self {
        let mut refused = Self::default();
        for Stored { until, user, reason } in stored {
            refused.insert(&user, until, reason.map(Arc::from));
        }
        refused
    }
}

impl Refused {
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// Returns when the next user is let in again.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.order.first().map(|(until, _)| *until)
    }

    fn insert(&mut self, user: &str, until: Moment, reason: Option<Arc<str>>) {
        self.remove(user);
        let user = Arc::<str>::from(user);
        self.order.insert((until, Arc::clone(&user)));
        self.users.insert(user, Entry { until, reason });
    }

    fn remove(&mut self, user: &str) {
        let Some((name, entry)) = self.users.get_key_value(user) else { return };
        let name = Arc::clone(name);
        self.order.remove(&(entry.until, Arc::clone(&name)));
        remove_entry(&mut self.users, &name);
    }

    /// Forgets the users who are let in again, but no more than `left` of them. Returns how many more it
    /// could have been.
    pub(super) fn expire(&mut self, now: Moment, mut left: usize) -> usize {
        while left > 0 && self.order.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, user)) = self.order.pop_first() {
                remove_entry(&mut self.users, &user);
            }
            left -= 1;
        }
        left
    }
}

impl State {
    pub(super) fn disconnect_user(
        &mut self,
        step: &mut Step,
        request: &DisconnectUser,
    ) -> Result<UserDisconnected, Refusal> {
        let reason = request.reason.as_deref().map(Arc::<str>::from);
        let connections = self.end_connections(step, &request.user, reason.as_ref());
        match request.refuse_for {
            None => {}
            Some(0) => self.refused.remove(&request.user),
            Some(seconds) => {
                let until = self.own_time.now().after(Duration::from_secs(seconds));
                self.refused.insert(&request.user, until, reason);
            }
        }
        let refused_for = self.seconds_refused(&request.user);
        let user = Arc::from(request.user.as_str());
        Ok(UserDisconnected::new(user, connections, refused_for))
    }

    /// Ends all connections of a user at once. Returns how many there were.
    fn end_connections(&mut self, step: &mut Step, user: &str, reason: Option<&Arc<str>>) -> u64 {
        let Some(&key) = self.user_names.get(user) else { return 0 };
        // Who was disconnected recovers nothing.
        self.users[key].forget_all_memberships();
        let connections: Vec<_> = self.users[key].connections.iter().collect();
        let mut ended = 0;
        for connection in connections {
            let phase = &mut self.connections[connection].phase;
            ended += u64::from(*phase != Phase::Ended);
            *phase = Phase::Ended;
            let why = reason.map_or(EndReason::Ended, |reason| EndReason::Disconnected {
                reason: Arc::clone(reason),
            });
            self.end_connection(step, connection, why);
        }
        ended
    }

    /// Refuses a user who was disconnected for a while.
    pub(super) fn admit_user(&self, user: &str) -> Result<(), Refusal> {
        let seconds = self.seconds_refused(user);
        if seconds == 0 {
            return Ok(());
        }
        let reason = self.refused.users.get(user).and_then(|entry| entry.reason.as_deref());
        Err(Refusal::UserRefused { seconds, reason: reason.map(str::to_owned) })
    }

    /// Returns for how many seconds a user is refused, the one that has begun included.
    fn seconds_refused(&self, user: &str) -> u64 {
        let Some(entry) = self.refused.users.get(user) else { return 0 };
        let left = entry.until.since(self.own_time.now());
        left.as_secs() + u64::from(left.subsec_nanos() > 0)
    }
}
