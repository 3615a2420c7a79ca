//! Pages of the channels and users, by name.
//!
//! The last name of a page is the place where the next one begins, so that what comes and goes between
//! two pages moves no other entry. A page costs a look at each name. It is made in steps, between which
//! other things may be done, since a million names take longer than a delivery may wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::State;
use super::arena::Arena;
use crate::protocol::{
    ChannelEntry, ChannelList, DateTime, ListChannels, ListUsers, UserEntry, UserList,
};

/// Names that one step looks at.
const STEP: usize = 10_000;

/// A page that is being made. What is there from the first step to the last is in it; what comes or goes
/// meanwhile may be.
#[derive(Debug)]
pub struct Listing<E> {
    /// The first entries behind the name where the page begins, and one more to know whether there are more.
    entries: BTreeMap<Arc<str>, E>,
    /// The next place to look at.
    place: usize,
}

impl<E> Default for Listing<E> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), place: 0 }
    }
}

impl<E> Listing<E> {
    /// Looks at the next places, and takes the entries of those that are wanted. Returns `true` after the
    /// last place.
    fn step<T>(
        &mut self,
        all: &Arena<T>,
        limit: u64,
        wanted: impl Fn(&T) -> Option<&Arc<str>>,
        entry: impl Fn(&T) -> E,
    ) -> bool {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let end = self.place.saturating_add(STEP).min(all.places());
        for place in self.place..end {
            let Some(value) = all.at(place).map(|key| &all[key]) else { continue };
            let Some(name) = wanted(value) else { continue };
            let is_full = self.entries.len() > limit;
            if is_full && self.entries.last_key_value().is_some_and(|(last, _)| last <= name) {
                continue;
            }
            self.entries.insert(Arc::clone(name), entry(value));
            if self.entries.len() > limit + 1 {
                self.entries.pop_last();
            }
        }
        self.place = end;
        end == all.places()
    }

    /// Returns the entries of the page, and the name of the last one if there are more.
    fn end(mut self, limit: u64) -> (Vec<E>, Option<Arc<str>>) {
        let has_more = self.entries.len() as u64 > limit;
        if has_more {
            self.entries.pop_last();
        }
        let next = self.entries.last_key_value().filter(|_| has_more);
        let next = next.map(|(name, _)| Arc::clone(name));
        (self.entries.into_values().collect(), next)
    }
}

impl Listing<ChannelEntry> {
    /// Returns the page, once [`State::look_at_channels`] has returned `true`.
    #[must_use]
    pub fn page(self, request: &ListChannels) -> ChannelList {
        let mut list = ChannelList::default();
        (list.channels, list.next) = self.end(request.limit);
        list
    }
}

impl Listing<UserEntry> {
    /// Returns the page, once [`State::look_at_users`] has returned `true`.
    #[must_use]
    pub fn page(self, request: &ListUsers) -> UserList {
        let mut list = UserList::default();
        (list.users, list.next) = self.end(request.limit);
        list
    }
}

impl State {
    /// Takes a step to a page of the channels. Returns `true` if it was the last one.
    pub fn look_at_channels(
        &self,
        request: &ListChannels,
        listing: &mut Listing<ChannelEntry>,
    ) -> bool {
        let ListChannels { after, prefix, limit } = request;
        let wanted = |channel: &super::Channel| is_wanted(&channel.name, after, prefix);
        listing.step(
            &self.channels,
            *limit,
            |channel| wanted(channel).then_some(&channel.name),
            |channel| {
                let users = channel.members.len() as u64;
                let connections = channel.connections as u64;
                let last_active = DateTime::from(channel.last_active);
                ChannelEntry::new(Arc::clone(&channel.name), users, connections, last_active)
            },
        )
    }

    /// Takes a step to a page of the users. Returns `true` if it was the last one.
    pub fn look_at_users(&self, request: &ListUsers, listing: &mut Listing<UserEntry>) -> bool {
        let ListUsers { after, prefix, limit, connected } = request;
        let wanted = |user: &super::User| {
            (!connected || !user.connections.is_empty()) && is_wanted(&user.name, after, prefix)
        };
        listing.step(
            &self.users,
            *limit,
            |user| wanted(user).then_some(&user.name),
            |user| UserEntry::new(Arc::clone(&user.name), user.connections.len() as u64),
        )
    }
}

fn is_wanted(name: &str, after: &Option<String>, prefix: &str) -> bool {
    after.as_deref().is_none_or(|after| name > after) && name.starts_with(prefix)
}
