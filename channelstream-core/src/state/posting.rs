//! Messages, edits and deletes: what is stored, and who receives them (contract §8).

use std::sync::Arc;
use std::time::Duration;

use indexmap::{IndexMap, IndexSet};

use super::arena::Key;
use super::channel::Channel;
use super::growing::Place;
use super::local::Reach;
use super::time::Moment;
use super::user::User;
use super::{ChangeReply, Delivery, ListenerId, Refusal, Sequence, State, Step};
use crate::protocol::{
    Address, Change, DateTime, Delete, Edit, Event, Growth, Message, NewMessage, Opening, Posted,
    Receipt, Uuid,
};

impl State {
    pub(super) fn publish(
        &mut self,
        step: &mut Step,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<Posted>, Refusal> {
        self.check_openings(&messages)?;
        // To collect would reuse the larger allocation of the messages, and move it to shrink it.
        let mut posted = Vec::with_capacity(messages.len());
        posted.extend(messages.into_iter().map(|mut message| {
            let opening = message.opening.take();
            if opening.is_some() {
                // A growing message is stored once for each user.
                let users = std::mem::take(&mut message.address.pm_users);
                let once: IndexSet<String> = users.into_iter().collect();
                message.address.pm_users = once.into_iter().collect();
            }
            let lives = message.expires.map(Duration::from_secs);
            let message = Arc::new(Message {
                uuid: message.uuid.unwrap_or_else(|| step.id()),
                user: message.user,
                payload: message.payload,
                address: message.address,
                no_history: message.no_history,
                timestamp: message.timestamp.unwrap_or_else(|| DateTime::from(self.now)),
                edited: None,
                expires_at: lives.map(|lives| DateTime::from(self.now.after(lives))),
                growth: opening.as_ref().map(|_| Growth::NEW),
            });
            let expires = lives.map(|lives| self.own_time.now().after(lives));
            let receipt = self.post(step, &message, opening.map(|opening| *opening), expires);
            Posted::new(message, receipt)
        }));
        Ok(posted)
    }

    fn post(
        &mut self,
        step: &mut Step,
        message: &Arc<Message>,
        opening: Option<Opening>,
        expires: Option<Moment>,
    ) -> Receipt {
        let address = &message.address;
        self.messages_posted += u64::from(!address.is_nowhere());
        let event = Event::Message(Arc::clone(message));
        let (reach, stored) = match self.destination(address) {
            Destination::Channel(key) => {
                // Message and event have the same number.
                let sequence = self.sequence + 1;
                let mut dropped = Vec::new();
                let life = self.life(expires);
                let channel = &mut self.channels[key];
                let remembered = channel.remember(sequence, message, life, &mut dropped);
                let keep = self.rules.channel_events.of(&channel.settings);
                let stores = channel.settings.store_frames && keep.events > 0;
                let reach = self.send_until(step, key, &event, expires);
                self.release(dropped);
                if let Some(opening) = opening {
                    self.open_message(message, opening, sequence, Place::Channel(key));
                }
                (reach, remembered || stores)
            }
            Destination::Users => {
                let users = self.named(&address.pm_users);
                if users.is_empty() {
                    return Receipt::nowhere(Receipt::NO_USER);
                }
                let sequence = self.sequence + 1;
                let reach = self.send_private(step, address, &event, |_| expires);
                if let Some(opening) = opening {
                    self.open_message(message, opening, sequence, Place::Users(users));
                }
                (reach, self.rules.user_events.events > 0)
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

    /// Carries out edits and appends, in their order.
    pub(super) fn change(&mut self, step: &mut Step, changes: Vec<Change>) -> Vec<ChangeReply> {
        let ids = self.by_channel(changes.iter().filter_map(|change| match change {
            Change::Edit(edit) => Some((edit.address.channel.as_deref()?, edit.uuid)),
            Change::Append(append) => Some((append.channel.as_deref()?, append.uuid)),
        }));
        let places: IndexMap<Key<Channel>, IndexMap<Uuid, usize>> =
            ids.iter().map(|(key, ids)| (*key, self.channels[*key].history.places(ids))).collect();
        let in_history = |channel, id| places.get(&channel).and_then(|places| places.get(&id));
        let apply = |change| match change {
            Change::Edit(edit) => {
                let in_history = |channel| in_history(channel, edit.uuid).copied();
                ChangeReply::Edited(self.edit(step, edit.clone(), in_history))
            }
            Change::Append(append) => {
                let (name, id) = (append.channel.clone(), append.uuid);
                let is_stored = |state: &Self| {
                    let channel = name.and_then(|name| state.channel_names.get(&*name).copied());
                    channel.is_some_and(|channel| {
                        in_history(channel, id).is_some()
                            || state.channels[channel].stored.has_message(id)
                    })
                };
                ChangeReply::Taken(Box::new(self.append(step, append, is_stored)))
            }
        };
        changes.into_iter().map(apply).collect()
    }

    fn edit(
        &mut self,
        step: &mut Step,
        mut edit: Edit,
        in_history: impl FnOnce(Key<Channel>) -> Option<usize>,
    ) -> Arc<Edit> {
        edit.edited.get_or_insert(DateTime::from(self.now));
        match self.destination(&edit.address) {
            Destination::Channel(channel) => {
                let expires = match self.edit_growing(&Place::Channel(channel), &edit) {
                    Some((growth, address)) => {
                        (edit.growth, edit.address) = (Some(growth), address);
                        None
                    }
                    None => self.channels[channel].edit(in_history(channel), &edit),
                };
                let edit = Arc::new(edit);
                // What it says of the message goes with the message.
                self.send_until(step, channel, &Event::Edit(Arc::clone(&edit)), expires);
                edit
            }
            Destination::Users => {
                let users = Place::Users(self.named(&edit.address.pm_users));
                match (self.edit_growing(&users, &edit), users) {
                    (Some((growth, address)), _) => {
                        (edit.growth, edit.address) = (Some(growth), address);
                    }
                    (None, Place::Users(users)) => {
                        for user in users {
                            self.users[user].stored.edit(&edit);
                        }
                    }
                    (None, Place::Channel(_)) => {}
                }
                let edit = Arc::new(edit);
                let event = Event::Edit(Arc::clone(&edit));
                let expires = |user: &User| user.stored.expiry_of(edit.uuid);
                self.send_private(step, &edit.address, &event, expires);
                edit
            }
            Destination::Nowhere => Arc::new(edit),
        }
    }

    pub(super) fn delete(&mut self, step: &mut Step, deletes: Vec<Delete>) -> Vec<Arc<Delete>> {
        let ids = self.by_channel(
            deletes
                .iter()
                .filter_map(|delete| Some((delete.address.channel.as_deref()?, delete.uuid))),
        );
        for (channel, ids) in &ids {
            self.channels[*channel].history.forget(ids);
        }
        let mut apply = |delete: Delete| {
            let delete = Arc::new(delete);
            let event = Event::Delete(Arc::clone(&delete));
            match self.destination(&delete.address) {
                Destination::Channel(channel) => {
                    self.channels[channel].stored.delete(delete.uuid);
                    self.delete_growing(channel, delete.uuid);
                    self.send(step, channel, &event);
                }
                Destination::Users => {
                    for user in self.named(&delete.address.pm_users) {
                        self.users[user].stored.delete(delete.uuid);
                        self.take_growing(user, delete.uuid);
                    }
                    self.send_private(step, &delete.address, &event, |_| None);
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
        meant: impl Iterator<Item = (&'a str, Uuid)>,
    ) -> IndexMap<Key<Channel>, IndexSet<Uuid>> {
        let mut ids: IndexMap<_, IndexSet<_>> = IndexMap::new();
        for (channel, id) in meant {
            if let Some(channel) = self.channel_names.get(channel) {
                ids.entry(*channel).or_default().insert(id);
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
    pub(super) fn named(&self, names: &[String]) -> Vec<Key<User>> {
        names.iter().filter_map(|name| self.user_names.get(&**name)).copied().collect()
    }

    /// Sends an event to a channel and stores it there.
    pub(super) fn send(&mut self, step: &mut Step, key: Key<Channel>, event: &Event) -> Reach {
        self.send_until(step, key, event, None)
    }

    /// Sends an event to a channel and stores it there until it expires.
    fn send_until(
        &mut self,
        step: &mut Step,
        key: Key<Channel>,
        event: &Event,
        expires: Option<Moment>,
    ) -> Reach {
        self.sequence += 1;
        let (only, never) = match event {
            Event::Message(message) => self.audience(&message.address),
            Event::Edit(edit) => self.audience(&edit.address),
            Event::Delete(delete) => self.audience(&delete.address),
            Event::Presence(presence) => {
                (None, self.user_names.get(&*presence.user).copied().into_iter().collect())
            }
            Event::UserStateChange(_) | Event::Append(_) | Event::Gap(_) | Event::Cursor => {
                (None, Vec::new())
            }
        };
        self.channel_is_active(key);
        let life = self.life(expires);
        let channel = &mut self.channels[key];
        if channel.settings.store_frames {
            let open = channel.growing.open_in_events();
            let keep = self.rules.channel_events.of(&channel.settings).beside(open);
            let mut gone = Vec::new();
            channel.stored.push(self.sequence, event.clone(), life, keep, &mut gone);
            self.release(gone);
        } else {
            channel.stored.skip(self.sequence);
        }
        self.watch_fading_channel(key);
        let recipients = self.recipients(key, (only, never));
        let reach = recipients.reach;
        deliver(step, recipients.into_all(), event, self.sequence);
        reach
    }

    /// Returns the only users of a channel who receive an event, unless all do, and the users who do not;
    /// both sorted, each user once.
    pub(super) fn audience(&self, address: &Address) -> (Option<Vec<Key<User>>>, Vec<Key<User>>) {
        let sorted = |names| {
            let mut users = self.named(names);
            users.sort_unstable();
            users.dedup();
            users
        };
        let only = (!address.pm_users.is_empty()).then(|| sorted(&address.pm_users));
        (only, sorted(&address.exclude_users))
    }

    /// Sends an event to users in any channel and stores it for each until it expires there, once per mention. The first mention
    /// of each user has one number, the second the next: so it is one delivery, however many users are
    /// named.
    fn send_private(
        &mut self,
        step: &mut Step,
        address: &Address,
        event: &Event,
        expires: impl Fn(&User) -> Option<Moment>,
    ) -> Reach {
        let mut reach = Reach::default();
        let mut dropped = Vec::new();
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
                let life = self.life(expires(&self.users[key]));
                let user = &mut self.users[key];
                let open = user.growing.open_in_events();
                let keep = self.rules.user_events.beside(open);
                user.stored.push(self.sequence, event.clone(), life, keep, &mut dropped);
                self.watch_fading_user(key);
                for key in self.users[key].connections.iter() {
                    reach.count(&self.connections[key]);
                    to.extend(self.live_here(key).map(|listener| listener.id));
                }
            }
            deliver(step, to, event, self.sequence);
        }
        self.release(dropped);
        reach
    }
}

enum Destination {
    Channel(Key<Channel>),
    Users,
    Nowhere,
}

pub(super) fn deliver(step: &mut Step, to: Vec<ListenerId>, event: &Event, sequence: Sequence) {
    if !to.is_empty() {
        let event = event.clone();
        step.deliveries.push(Delivery::Event { to, event, sequence, catchup: false });
    }
}
