//! A user: a named participant with state, private events and connections (contract §1).

use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_with::{As, Same};
use uuid::Uuid;

use super::catchup::StoredEvents;
use super::command::Sequence;
use super::connection::Connection;
use super::growing::Here;
use super::keys::Keys;
use super::stored;
use super::time::Moment;
use crate::protocol::{Changed, Scalar, UserState};

/// A named participant; outlives its connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) uuid: Uuid,
    #[serde(with = "As::<stored::Name>")]
    pub(super) name: Arc<str>,
    #[serde(with = "As::<stored::SharedState>")]
    pub(super) state: Arc<UserState>,
    #[serde(with = "As::<Box<[stored::Name]>>")]
    public_keys: Box<[Arc<str>]>,
    /// The part of `state` under `public_keys`.
    #[serde(with = "As::<stored::SharedState>")]
    pub(super) public_state: Arc<UserState>,
    pub(super) stored: StoredEvents,
    pub(super) growing: Here,
    pub(super) connections: Keys<Connection>,
    /// All private events after this number are for the user, while it has connections.
    pub(super) began: Sequence,
    /// The memberships that ended by silence, by the number of the channel. 0 stands for the private
    /// events; channels are numbered from 1.
    remembered: Option<Box<IndexMap<u64, Remembered>>>,
    /// When the user is removed, unless it connects before.
    pub(super) deadline: Option<Moment>,
    /// When to check whether a private event has expired.
    #[serde(with = "As::<stored::Second<Same>>")]
    pub(super) fades: Option<Moment>,
}

/// A membership that ended by silence.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Remembered {
    /// When the membership began.
    began: Sequence,
    /// When it is forgotten.
    until: Moment,
}

/// The number under which the private events of a user are remembered.
pub(super) const PRIVATE: u64 = 0;

impl User {
    /// Creates a user without state; all such users share `no_state`.
    pub(super) fn new(uuid: Uuid, name: Arc<str>, no_state: &Arc<UserState>) -> Self {
        let state = Arc::clone(no_state);
        Self {
            uuid,
            name,
            public_state: Arc::clone(&state),
            state,
            public_keys: Box::default(),
            stored: StoredEvents::default(),
            growing: Here::default(),
            connections: Keys::default(),
            began: 0,
            remembered: None,
            deadline: None,
            fades: None,
        }
    }

    /// Forgets the memberships that ended too long ago.
    pub(super) fn forget_memberships(&mut self, now: Moment) {
        if let Some(remembered) = &mut self.remembered {
            remembered.retain(|_, membership| membership.until > now);
            if remembered.is_empty() {
                self.remembered = None;
            }
        }
    }

    /// Forgets all memberships that ended.
    pub(super) fn forget_all_memberships(&mut self) {
        self.remembered = None;
    }

    /// Remembers a membership of the channel with this number that ended by silence.
    pub(super) fn remember(&mut self, channel: u64, began: Sequence, until: Moment) {
        self.remembered.get_or_insert_default().insert(channel, Remembered { began, until });
    }

    /// Returns the beginning of a remembered membership, which goes on.
    pub(super) fn resume(&mut self, channel: u64, now: Moment) -> Option<Sequence> {
        let remembered = self.remembered.as_mut()?;
        let membership = remembered.swap_remove(&channel);
        if remembered.is_empty() {
            self.remembered = None;
        }
        membership.filter(|membership| membership.until > now).map(|membership| membership.began)
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
