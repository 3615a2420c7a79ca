//! Who is told that a message has grown, and how: by the append, or by an edit with the whole payload.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Growing, Place};
use crate::protocol::{Append, DateTime, Edit, Event};
use crate::state::arena::Key;
use crate::state::channel::Channel;
use crate::state::connection::{Connection, Listener};
use crate::state::keys::Keys;
use crate::state::posting::deliver;
use crate::state::time::Moment;
use crate::state::{Delivery, ListenerId, Rules, Sequence, State, Step};

/// The edits by which listeners learn of appends that do not want appends.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Edits {
    /// When the next one is sent; set while one has to be sent.
    due: Option<Moment>,
    /// When the last one was sent.
    last: Option<Moment>,
    /// The number of the last one.
    sequence: Option<Sequence>,
}

impl Edits {
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    pub(super) fn when(&self) -> Option<Moment> {
        self.due
    }

    pub(super) fn deadline(&mut self) -> &mut Option<Moment> {
        &mut self.due
    }
}

/// The listeners that a message is for.
#[derive(Default)]
struct Audience {
    as_events: Vec<ListenerId>,
    as_edits: Vec<ListenerId>,
}

impl Audience {
    fn add(&mut self, listener: Listener, all_edits: bool) {
        let to =
            if listener.as_edits || all_edits { &mut self.as_edits } else { &mut self.as_events };
        to.push(listener.id);
    }
}

impl Growing {
    /// Returns the edit that tells the whole payload.
    pub(in crate::state) fn as_edit(&self, now: DateTime) -> Event {
        let message = self.current();
        Event::Edit(Arc::new(Edit {
            payload: message.payload.clone(),
            edited: Some(now),
            growth: message.growth,
            ..Edit::new(message.uuid, message.address.clone())
        }))
    }

    /// Returns the number of the event that told its newest growth. Edits are told later than appends.
    pub(in crate::state) fn told(&self, as_edits: bool) -> Sequence {
        let edit = self.edits.sequence.filter(|_| as_edits);
        edit.map_or(self.grown, |edit| edit.max(self.grown))
    }

    /// Returns `true` if an edit of this message was sent to a listener, which did not receive it.
    pub(in crate::state) fn lost_edit(&self, missed: impl FnOnce(Sequence) -> bool) -> bool {
        self.edits.sequence.is_some_and(missed)
    }
}

impl State {
    /// Sends an append, the newest event, to those whom the message is for.
    pub(super) fn announce(&mut self, step: &mut Step, key: Key<Growing>, append: Append) {
        if let Place::Channel(channel) = self.growing[key].place {
            self.channel_is_active(channel);
        }
        let audience = self.audience_of(key);
        deliver(step, audience.as_events, &Event::Append(Arc::new(append)), self.sequence);
        let edits = self.growing[key].edits;
        if audience.as_edits.is_empty() || edits.is_due() {
            return;
        }
        let now = self.own_time.now();
        let next = edits.last.map(|last| last.after(Rules::BETWEEN_EDITS));
        match next.filter(|next| *next > now) {
            Some(next) => self.watch_edits(key, Some(next)),
            None => self.send_edit(step, key, audience.as_edits),
        }
    }

    /// Sends the edit that is due. Returns its size in bytes.
    pub(in crate::state) fn edit_is_due(&mut self, step: &mut Step, key: Key<Growing>) -> usize {
        *self.growing[key].edits.deadline() = None;
        let to = self.audience_of(key).as_edits;
        if !to.is_empty() {
            self.send_edit(step, key, to);
        }
        let size = self.growing[key].tree.size();
        step.ended.push(key);
        size
    }

    fn send_edit(&mut self, step: &mut Step, key: Key<Growing>, to: Vec<ListenerId>) {
        self.sequence += 1;
        let now = DateTime::from(self.now);
        let growing = &mut self.growing[key];
        growing.edits.last = Some(self.own_time.now());
        growing.edits.sequence = Some(self.sequence);
        deliver(step, to, &growing.as_edit(now), self.sequence);
    }

    fn audience_of(&self, key: Key<Growing>) -> Audience {
        let growing = &self.growing[key];
        let mut audience = Audience::default();
        match &growing.place {
            Place::Channel(channel) => {
                let all_edits = self.channels[*channel].settings.append_as_edit == Some(true);
                let listeners = |connections: &Keys<Connection>| {
                    let listeners =
                        connections.iter().filter_map(|key| self.connections[key].listener);
                    listeners.for_each(|listener| audience.add(listener, all_edits));
                };
                let who = self.audience(&growing.message.address);
                self.each_recipient(*channel, who, listeners);
            }
            Place::Users(users) => {
                for user in users {
                    let connections = self.users[*user].connections.iter();
                    let listeners = connections.filter_map(|key| self.connections[key].listener);
                    listeners.for_each(|listener| audience.add(listener, false));
                }
            }
        }
        audience
    }

    /// Returns the growing messages that a connection may have been told of: those of its channels, and
    /// the private ones.
    pub(in crate::state) fn growing_for(
        &self,
        key: Key<Connection>,
    ) -> impl Iterator<Item = (&Growing, bool)> {
        let connection = &self.connections[key];
        let all_edits = |channel: &Channel| channel.settings.append_as_edit == Some(true);
        let channels = connection.channels.iter().map(|channel| &self.channels[channel]);
        let in_channels = channels.flat_map(move |channel| {
            channel.growing.iter().map(move |key| (key, all_edits(channel)))
        });
        let private = self.users[connection.user].growing.iter().map(|key| (key, false));
        let name = &self.users[connection.user].name;
        in_channels
            .chain(private)
            .map(|(key, all_edits)| (&self.growing[key], all_edits))
            .filter(move |(growing, _)| growing.message.address.includes(name))
    }

    /// Sends to a new listener the messages that were sent before and have grown since: whole, behind all
    /// others.
    pub(in crate::state) fn catch_up_growing(
        &self,
        step: &mut Step,
        key: Key<Connection>,
        listener: Listener,
    ) {
        let connection = &self.connections[key];
        let record = &connection.record;
        let mut grown: Vec<_> = self
            .growing_for(key)
            .filter(|(growing, _)| {
                let has_grown = record.has_not_sent(growing.grown())
                    || growing.lost_edit(|sequence| record.lacks(sequence));
                has_grown && !record.has_not_sent(growing.opened()) && self.stores(growing)
            })
            .collect();
        grown.sort_unstable_by_key(|(growing, _)| growing.grown());
        for (growing, all_edits) in grown {
            let event = if listener.as_edits || all_edits {
                growing.as_edit(DateTime::from(self.now))
            } else {
                Event::Message(growing.current())
            };
            step.deliveries.push(Delivery::Event {
                to: vec![listener.id],
                event,
                sequence: growing.grown(),
                catchup: true,
            });
        }
    }

    /// Returns `true` if a new listener may be told of the message: it has a stored event.
    fn stores(&self, growing: &Growing) -> bool {
        match &growing.place {
            Place::Channel(channel) => self.channels[*channel].stored.has(growing.opened()),
            Place::Users(users) => {
                users.iter().any(|user| self.users[*user].stored.has(growing.opened()))
            }
        }
    }

    /// Returns the numbers of the appends that a listener has not learned of, because the edit that would
    /// tell them is not due yet.
    pub(in crate::state) fn untold(
        &self,
        key: Key<Connection>,
        listener: Listener,
    ) -> Vec<Sequence> {
        self.growing_for(key)
            .filter(|(growing, all_edits)| {
                growing.edits.is_due() && (listener.as_edits || *all_edits)
            })
            .map(|(growing, _)| growing.grown())
            .collect()
    }

    /// Sends at once what the older listener of a connection has not learned of, to a newer one that takes
    /// appends in another way.
    pub(in crate::state) fn tell_untold(
        &self,
        step: &mut Step,
        key: Key<Connection>,
        (older, newer): (Listener, Listener),
    ) {
        if older.as_edits == newer.as_edits {
            return;
        }
        for (growing, all_edits) in self.growing_for(key) {
            if growing.edits.is_due() && older.as_edits && !all_edits {
                step.deliveries.push(Delivery::Event {
                    to: vec![newer.id],
                    event: Event::Message(growing.current()),
                    sequence: growing.grown(),
                    catchup: true,
                });
            }
        }
    }
}
