//! Who is told that a message has grown, and how: by the append, or by an edit with the whole payload.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Growing, Place};
use crate::protocol::{Append, DateTime, Edit, Event};
use crate::state::arena::Key;
use crate::state::channel::Channel;
use crate::state::connection::{Connection, Listener};
use crate::state::local::Recipients;
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

/// A growing message as a connection follows it.
#[derive(Clone, Copy)]
pub(in crate::state) struct Followed<'a> {
    pub(in crate::state) growing: &'a Growing,
    /// Whether everybody in its place receives edits.
    pub(in crate::state) all_edits: bool,
    /// The membership began behind this number.
    pub(in crate::state) began: Sequence,
}

impl Followed<'_> {
    /// Returns `true` if the user became a member after the message was opened, so that what was there
    /// before is not for the user.
    pub(in crate::state) fn is_late(&self) -> bool {
        self.growing.opened() <= self.began
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
        // Whether an edit is due must not depend on the node.
        let wants_edits = audience.reach.as_edits > 0;
        deliver(step, audience.as_events, &Event::Append(Arc::new(append)), self.sequence);
        let edits = self.growing[key].edits;
        if !wants_edits || edits.is_due() {
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
        // Also if nobody listens: who was away has a cursor that may stand behind the append.
        let to = self.audience_of(key).as_edits;
        self.send_edit(step, key, to);
        let size = self.growing[key].tree.size();
        self.has_ended(step, key);
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

    fn audience_of(&self, key: Key<Growing>) -> Recipients {
        let growing = &self.growing[key];
        match &growing.place {
            Place::Channel(channel) => {
                let who = self.audience(&growing.message.address);
                let mut audience = self.recipients(*channel, who);
                if self.channels[*channel].settings.append_as_edit == Some(true) {
                    audience.as_edits.append(&mut audience.as_events);
                    audience.reach.as_edits = audience.reach.listeners;
                }
                audience
            }
            Place::Users(users) => {
                let mut audience = Recipients::default();
                for user in users {
                    for key in self.users[*user].connections.iter() {
                        audience.reach.count(&self.connections[key]);
                        if let Some(listener) = self.live_here(key) {
                            audience.add(listener);
                        }
                    }
                }
                audience
            }
        }
    }

    /// Returns the growing messages that a connection may have been told of: those of its channels, and
    /// the private ones.
    pub(in crate::state) fn growing_for(
        &self,
        key: Key<Connection>,
    ) -> impl Iterator<Item = Followed<'_>> {
        let connection = &self.connections[key];
        let user = &self.users[connection.user];
        let all_edits = |channel: &Channel| channel.settings.append_as_edit == Some(true);
        let channels = connection.channels.iter().map(|channel| &self.channels[channel]);
        let in_channels = channels.flat_map(move |channel| {
            let began = channel.members.get(&connection.user).map_or(self.sequence, |m| m.began);
            channel.growing.iter().map(move |key| (key, all_edits(channel), began))
        });
        let private = user.growing.iter().map(|key| (key, false, user.began));
        in_channels
            .chain(private)
            .map(|(key, all_edits, began)| Followed {
                growing: &self.growing[key],
                all_edits,
                began,
            })
            .filter(move |one| one.growing.message.address.includes(&user.name))
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
            .filter(|Followed { growing, .. }| {
                let has_grown = record.has_not_sent(growing.grown())
                    || growing.lost_edit(|sequence| record.lacks(sequence));
                has_grown && !record.has_not_sent(growing.opened()) && self.stores(growing)
            })
            .collect();
        grown.sort_unstable_by_key(|one| one.growing.grown());
        for one in grown {
            let Followed { growing, all_edits, began } = one;
            let event = if one.is_late() {
                match growing.suffix_since(record.whole().max(began)) {
                    Some(append) => Event::Append(Arc::new(append)),
                    None => continue,
                }
            } else if listener.as_edits || all_edits {
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

    /// Returns the numbers of the appends that a listener has not learned of which was sent everything up to
    /// a number, because the edit that would tell them is not due yet, or has a later number.
    pub(in crate::state) fn untold(
        &self,
        key: Key<Connection>,
        listener: Listener,
        up_to: Sequence,
    ) -> Vec<Sequence> {
        self.growing_for(key)
            .filter(|Followed { growing, all_edits, .. }| {
                let is_untold = growing.edits.is_due() || growing.lost_edit(|edit| edit > up_to);
                is_untold && (listener.as_edits || *all_edits)
            })
            .map(|one| one.growing.grown())
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
        if older.as_edits == newer.as_edits || self.live_here(key).is_none() {
            return;
        }
        for one in self.growing_for(key) {
            let Followed { growing, all_edits, .. } = one;
            if growing.edits.is_due() && older.as_edits && !all_edits && !one.is_late() {
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
