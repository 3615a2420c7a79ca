//! Messages, edits and deletes: what is stored, and who receives them (contract §8).

use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::arena::Key;
use super::channel::{Channel, Member};
use super::connection::Connection;
use super::user::User;
use super::{Delivery, ListenerId, Sequence, State, Step};
use crate::protocol::{
    Address, DateTime, Delete, Edit, Event, Message, NewMessage, Posted, Receipt, Uuid,
};

impl State {
    pub(super) fn publish(&mut self, step: &mut Step, messages: Vec<NewMessage>) -> Vec<Posted> {
        let post = |message: NewMessage| {
            let message = Arc::new(Message {
                uuid: message.uuid.unwrap_or_else(|| step.id()),
                user: message.user,
                payload: message.payload,
                address: message.address,
                no_history: message.no_history,
                timestamp: message.timestamp.unwrap_or_else(|| DateTime::from(self.now)),
                edited: None,
            });
            let receipt = self.post(step, &message);
            Posted::new(message, receipt)
        };
        messages.into_iter().map(post).collect()
    }

    fn post(&mut self, step: &mut Step, message: &Arc<Message>) -> Receipt {
        let address = &message.address;
        self.messages_posted += u64::from(!address.is_nowhere());
        let event = Event::Message(Arc::clone(message));
        let (reach, stored) = match self.destination(address) {
            Destination::Channel(key) => {
                // Message and event have the same number.
                let sequence = self.sequence + 1;
                let channel = &mut self.channels[key];
                let remembered = channel.remember(sequence, message);
                let keep = channel.settings.keep(self.rules.channel_events);
                let stores = channel.settings.store_frames && keep.events > 0;
                (self.send(step, key, &event), remembered || stores)
            }
            Destination::Users => {
                if self.named(&address.pm_users).is_empty() {
                    return Receipt::nowhere(Receipt::NO_USER);
                }
                (self.send_private(step, address, &event), self.rules.user_events.events > 0)
            }
            Destination::Nowhere if address.channel.is_some() => {
                return Receipt::nowhere(Receipt::NO_CHANNEL);
            }
            Destination::Nowhere => return Receipt::nowhere(Receipt::NO_ADDRESS),
        };
        self.messages_delivered += reach.connections;
        Receipt {
            recipients: Some(reach.listeners),
            stored: Some(stored),
            // A user who is named twice gets the message twice; this is the last one.
            seq: Some(self.cursor_at(self.sequence)),
            problem: None,
        }
    }

    pub(super) fn edit(&mut self, step: &mut Step, edits: Vec<Edit>) -> Vec<Arc<Edit>> {
        let ids = self.by_channel(edits.iter().map(|edit| (&edit.address, edit.uuid)));
        let places: IndexMap<Key<Channel>, IndexMap<Uuid, usize>> =
            ids.iter().map(|(key, ids)| (*key, self.channels[*key].places(ids))).collect();
        let mut apply = |mut edit: Edit| {
            edit.edited.get_or_insert(DateTime::from(self.now));
            let edit = Arc::new(edit);
            let event = Event::Edit(Arc::clone(&edit));
            match self.destination(&edit.address) {
                Destination::Channel(channel) => {
                    let place = places.get(&channel).and_then(|places| places.get(&edit.uuid));
                    self.channels[channel].edit(place.copied(), &edit);
                    self.send(step, channel, &event);
                }
                Destination::Users => {
                    for user in self.named(&edit.address.pm_users) {
                        self.users[user].stored.edit(&edit);
                    }
                    self.send_private(step, &edit.address, &event);
                }
                Destination::Nowhere => {}
            }
            edit
        };
        edits.into_iter().map(&mut apply).collect()
    }

    pub(super) fn delete(&mut self, step: &mut Step, deletes: Vec<Delete>) -> Vec<Arc<Delete>> {
        let ids = self.by_channel(deletes.iter().map(|delete| (&delete.address, delete.uuid)));
        for (channel, ids) in &ids {
            self.channels[*channel].forget(ids);
        }
        let mut apply = |delete: Delete| {
            let delete = Arc::new(delete);
            let event = Event::Delete(Arc::clone(&delete));
            match self.destination(&delete.address) {
                Destination::Channel(channel) => {
                    self.channels[channel].stored.delete(delete.uuid);
                    self.send(step, channel, &event);
                }
                Destination::Users => {
                    for user in self.named(&delete.address.pm_users) {
                        self.users[user].stored.delete(delete.uuid);
                    }
                    self.send_private(step, &delete.address, &event);
                }
                Destination::Nowhere => {}
            }
            delete
        };
        deletes.into_iter().map(&mut apply).collect()
    }

    /// Returns the ids by channel, so that each history is searched once, however many ids there are.
    fn by_channel<'a>(
        &self,
        meant: impl Iterator<Item = (&'a Address, Uuid)>,
    ) -> IndexMap<Key<Channel>, IndexSet<Uuid>> {
        let mut ids: IndexMap<_, IndexSet<_>> = IndexMap::new();
        for (address, id) in meant {
            if let Destination::Channel(channel) = self.destination(address) {
                ids.entry(channel).or_default().insert(id);
            }
        }
        ids
    }

    fn destination(&self, address: &Address) -> Destination {
        match &address.channel {
            Some(name) => match self.channel_names.get(&**name) {
                Some(channel) => Destination::Channel(*channel),
                None => Destination::Nowhere,
            },
            None if address.pm_users.is_empty() => Destination::Nowhere,
            None => Destination::Users,
        }
    }

    /// Returns the users of these names that exist, in this order, as often as they are named.
    fn named(&self, names: &[String]) -> Vec<Key<User>> {
        names.iter().filter_map(|name| self.user_names.get(&**name)).copied().collect()
    }

    /// Sends an event to a channel and stores it there.
    pub(super) fn send(&mut self, step: &mut Step, key: Key<Channel>, event: &Event) -> Reach {
        self.sequence += 1;
        let (only, never) = match event {
            Event::Message(message) => self.audience(&message.address),
            Event::Edit(edit) => self.audience(&edit.address),
            Event::Delete(delete) => self.audience(&delete.address),
            Event::Presence(presence) => {
                (None, self.user_names.get(&*presence.user).copied().into_iter().collect())
            }
            Event::UserStateChange(_) | Event::Gap(_) | Event::Cursor => (None, Vec::new()),
        };
        self.channel_is_active(key);
        let channel = &mut self.channels[key];
        if channel.settings.store_frames {
            let keep = channel.settings.keep(self.rules.channel_events);
            channel.stored.push(self.sequence, event.clone(), keep);
        } else {
            channel.stored.skip(self.sequence);
        }
        let mut addressed = 0;
        let mut to = Vec::new();
        let mut address = |user: &Key<User>, Member { connections, .. }: &Member| {
            if never.binary_search(user).is_err() {
                addressed += connections.len() as u64;
                to.extend(connections.iter().filter_map(|key| self.listener_of(key)));
            }
        };
        let members = &self.channels[key].members;
        match only {
            None => members.iter().for_each(|(user, member)| address(user, member)),
            Some(only) => {
                for user in only {
                    if let Some(member) = members.get(&user) {
                        address(&user, member);
                    }
                }
            }
        }
        let reach = Reach { connections: addressed, listeners: to.len() as u64 };
        deliver(step, to, event, self.sequence);
        reach
    }

    /// Returns the only users of a channel who receive an event, unless all do, and the users who do not;
    /// both sorted, each user once.
    fn audience(&self, address: &Address) -> (Option<Vec<Key<User>>>, Vec<Key<User>>) {
        let sorted = |names| {
            let mut users = self.named(names);
            users.sort_unstable();
            users.dedup();
            users
        };
        let only = (!address.pm_users.is_empty()).then(|| sorted(&address.pm_users));
        (only, sorted(&address.exclude_users))
    }

    /// Sends an event to users in any channel and stores it for each, once per mention. The first mention
    /// of each user has one number, the second the next: so it is one delivery, however many users are
    /// named.
    fn send_private(&mut self, step: &mut Step, address: &Address, event: &Event) -> Reach {
        let mut reach = Reach::default();
        let mut rounds: Vec<Vec<Key<User>>> = Vec::new();
        let mut mentions: IndexMap<Key<User>, usize> = IndexMap::new();
        for key in self.named(&address.pm_users) {
            let round = mentions.entry(key).or_default();
            if *round == rounds.len() {
                rounds.push(Vec::new());
            }
            rounds[*round].push(key);
            *round += 1;
        }
        for round in rounds {
            self.sequence += 1;
            let mut to = Vec::new();
            for key in round {
                let user = &mut self.users[key];
                user.stored.push(self.sequence, event.clone(), self.rules.user_events);
                reach.connections += user.connections.len() as u64;
                let connections = &self.users[key].connections;
                to.extend(connections.iter().filter_map(|key| self.listener_of(key)));
            }
            reach.listeners += to.len() as u64;
            deliver(step, to, event, self.sequence);
        }
        reach
    }

    fn listener_of(&self, key: Key<Connection>) -> Option<ListenerId> {
        self.connections[key].listener.map(|listener| listener.id)
    }
}

/// How many an event was for.
#[derive(Clone, Copy, Default)]
pub(super) struct Reach {
    /// The connections that were addressed, listening or not.
    connections: u64,
    /// The listeners among them.
    listeners: u64,
}

enum Destination {
    Channel(Key<Channel>),
    Users,
    Nowhere,
}

fn deliver(step: &mut Step, to: Vec<ListenerId>, event: &Event, sequence: Sequence) {
    if !to.is_empty() {
        let event = event.clone();
        step.deliveries.push(Delivery::Event { to, event, sequence, catchup: false });
    }
}
