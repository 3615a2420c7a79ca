//! A user: a named participant with state, private events and connections (contract §1).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::catchup::StoredEvents;
use super::connection::Connection;
use super::growing::Here;
use super::keys::Keys;
use super::time::Moment;
use crate::protocol::{Changed, Scalar, UserState};

/// A named participant; outlives its connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) uuid: Uuid,
    pub(super) name: Arc<str>,
    pub(super) state: Arc<UserState>,
    public_keys: Vec<Arc<str>>,
    /// The part of `state` under `public_keys`.
    pub(super) public_state: Arc<UserState>,
    pub(super) stored: StoredEvents,
    pub(super) growing: Here,
    pub(super) connections: Keys<Connection>,
    /// When the user is removed, unless it connects before.
    pub(super) deadline: Option<Moment>,
}

impl User {
    /// Creates a user without state; all such users share `no_state`.
    pub(super) fn new(uuid: Uuid, name: Arc<str>, no_state: &Arc<UserState>) -> Self {
        let state = Arc::clone(no_state);
        Self {
            uuid,
            name,
            public_state: Arc::clone(&state),
            state,
            public_keys: Vec::new(),
            stored: StoredEvents::default(),
            growing: Here::default(),
            connections: Keys::default(),
            deadline: None,
        }
    }

    pub(super) fn public_keys(&self) -> &[Arc<str>] {
        &self.public_keys
    }

    pub(super) fn set_public_keys(&mut self, keys: &[String]) {
        if keys.is_empty() && self.public_keys.is_empty() {
            return;
        }
        self.public_keys = keys.iter().map(|key| Arc::from(key.as_str())).collect();
        self.publish_state();
    }

    /// Sets keys. Returns those whose values changed, in the given order. An absent key counts as null
    /// (contract §5).
    pub(super) fn set_state(&mut self, wanted: UserState) -> Vec<Changed> {
        let mut changed = Vec::new();
        for (key, value) in wanted {
            let same = match self.state.get(&key) {
                Some(present) => present.same_as(&value),
                None => value.same_as(&Scalar::null()),
            };
            if !same {
                Arc::make_mut(&mut self.state).insert(key.clone(), value.clone());
                changed.push(Changed { key, value });
            }
        }
        if !changed.is_empty() {
            self.publish_state();
        }
        changed
    }

    /// Updates the public part of the state, in the order of the whole.
    fn publish_state(&mut self) {
        let keys = self.public_keys.iter();
        let mut places: Vec<_> = keys.filter_map(|key| self.state.get_index_of(&**key)).collect();
        places.sort_unstable();
        places.dedup();
        let public = places.into_iter().filter_map(|place| self.state.get_index(place));
        self.public_state =
            Arc::new(public.map(|(key, value)| (key.clone(), value.clone())).collect());
    }
}
