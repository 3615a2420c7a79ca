//! Growing messages: they are opened, grow by appends, and end (contract §14).
//!
//! A growing message has one place in the history and one in the stored events, under the number of its
//! opening. While it may grow, what stands there is the message as it was opened, and [`Growing`] has
//! the rest; when it ends, it is put there whole.

mod announcing;
mod here;
mod marks;
mod tree;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::arena::Key;
use super::catchup::edited;
use super::channel::Channel;
use super::command::ConnectionId;
use super::expiry::PORTION;
use super::stored;
use super::time::Moment;
use super::user::User;
use super::{Refusal, Rules, Sequence, State, Step, remove_entry};
use crate::protocol::{
    Address, Append, AppendRequest, Edit, Growth, Message, NewMessage, Opening, Pieces, Status,
    Taken,
};
use announcing::Edits;
pub(super) use announcing::Followed;
use here::Kept;
pub(super) use here::{Here, Place};
use marks::Marks;
use tree::{Bounds, Tree};

/// A growing message. It stays, also when it has ended, for as long as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Growing {
    /// The message, without its payload.
    #[serde(with = "stored::Message")]
    message: Message,
    growth: Growth,
    tree: Tree,
    place: Place,
    /// The number of its opening.
    opened: Sequence,
    kept: Kept,
    /// The number of its newest append or change of status.
    grown: Sequence,
    /// The last step of the publisher, if it counts its steps.
    step: Option<u64>,
    /// The silence after which it is stalled.
    timeout: Duration,
    cancel_by: Vec<String>,
    marks: Marks,
    /// When the publisher was last heard of.
    active: Moment,
    /// When to check whether it is stalled.
    deadline: Option<Moment>,
    edits: Edits,
    /// The message as it is, if somebody asked since the last change.
    #[serde(skip)]
    current: OnceLock<Arc<Message>>,
}

impl Growing {
    /// Returns the channel of the message, unless it is private.
    pub(super) fn channel(&self) -> Option<&str> {
        self.message.address.channel.as_deref()
    }

    pub(super) fn uuid(&self) -> Uuid {
        self.message.uuid
    }

    /// Returns where it is.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Returns the number of its opening, under which it is stored.
    pub(super) fn opened(&self) -> Sequence {
        self.opened
    }

    /// Returns the number of its newest append or change of status; that of its opening, if there is none.
    pub(super) fn grown(&self) -> Sequence {
        self.grown
    }

    /// Returns the message as it is now.
    pub(super) fn current(&self) -> Arc<Message> {
        let current = self.current.get_or_init(|| {
            let payload = self.tree.join();
            Arc::new(Message { payload, growth: Some(self.growth), ..self.message.clone() })
        });
        Arc::clone(current)
    }

    /// Returns what has changed since a number, as one append. `None`: the message has to be sent whole,
    /// because nobody knows any more, it was edited since, or nothing has changed.
    pub(super) fn suffix_since(&self, sequence: Sequence) -> Option<Append> {
        let behind = self.marks.behind(&self.tree, sequence)?;
        Some(Append {
            uuid: self.message.uuid,
            channel: self.message.address.channel.clone(),
            append: behind.pieces,
            from: behind.from,
            rev: self.growth.rev,
            status: behind.changed_status.then_some(self.growth.status),
        })
    }

    fn has_changed(&mut self) {
        self.growth.rev += 1;
        self.current = OnceLock::new();
    }

    /// Returns the answer about an item that names this message.
    fn answer(&self, taken: bool, reason: Option<Cow<'static, str>>) -> Taken {
        Taken {
            taken,
            reason,
            rev: Some(self.growth.rev),
            status: Some(self.growth.status),
            size: taken.then(|| self.tree.size()),
            step: self.step,
            ..Taken::unknown(self.message.uuid, self.message.address.channel.clone(), "")
        }
    }

    /// Returns the answer if the step of an item says that it is done already, or comes too early.
    fn answer_to_step(&self, step: Option<u64>) -> Option<Taken> {
        let last = self.step.unwrap_or(0);
        match step? {
            step if step <= last => Some(self.answer(true, None)),
            step if step == last + 1 => None,
            _ => Some(self.answer(false, Some(Taken::STEP_MISSING.into()))),
        }
    }
}

/// Why a message cannot be opened.
const EXISTS: &str = "A growing message of this id exists.";
const TOO_MANY_OPEN: &str = "More open messages than max_open_messages.";
const TOO_LARGE: &str = "The message exceeds max_growing_size.";

impl State {
    /// Returns the refusal of messages to publish, if one of them cannot be opened.
    pub(super) fn check_openings(&self, messages: &[NewMessage]) -> Result<(), Refusal> {
        let mut ids = IndexSet::new();
        let mut more: IndexMap<Place, usize> = IndexMap::new();
        for (item, message) in messages.iter().enumerate() {
            if message.opening.is_none() {
                continue;
            }
            let refused =
                |reason: &'static str| Err(Refusal::CannotOpen { item, reason: reason.into() });
            let is_known = |id: Uuid| self.growing_ids.contains_key(&id) || !ids.insert(id);
            if message.uuid.is_some_and(is_known) {
                return refused(EXISTS);
            }
            let size = message.payload.as_ref().map_or(0, |payload| payload.get().len());
            if size > self.rules.max_growing_size {
                return refused(TOO_LARGE);
            }
            for place in self.places_of(message) {
                let open = match &place {
                    Place::Channel(key) => self.channels[*key].growing.open(),
                    Place::Users(users) => {
                        users.iter().map(|key| self.users[*key].growing.open()).max().unwrap_or(0)
                    }
                };
                let more = more.entry(place).or_default();
                *more += 1;
                if open + *more > self.rules.max_open_messages {
                    return refused(TOO_MANY_OPEN);
                }
            }
        }
        Ok(())
    }

    /// Returns the places whose open messages are counted: the channel, or each user.
    fn places_of(&self, message: &NewMessage) -> Vec<Place> {
        let address = &message.address;
        match &address.channel {
            Some(name) => {
                let channel = self.channel_names.get(&**name);
                channel.map(|key| Place::Channel(*key)).into_iter().collect()
            }
            None => {
                let users: IndexSet<_> = self.named(&address.pm_users).into_iter().collect();
                users.into_iter().map(|key| Place::Users(vec![key])).collect()
            }
        }
    }

    /// Begins to follow a message that was just stored and sent under the number `opened`.
    pub(super) fn open_message(
        &mut self,
        message: &Message,
        opening: Opening,
        opened: Sequence,
        place: Place,
    ) {
        let now = self.own_time.now();
        let kept = match &place {
            Place::Channel(channel) => self.channels[*channel].keeps(opened),
            Place::Users(users) => {
                (false, users.iter().any(|user| self.users[*user].stored.has(opened)))
            }
        };
        let kept = Kept { history: kept.0, events: kept.1 };
        let timeout = opening.timeout().unwrap_or(self.rules.append_timeout);
        let key = self.growing.insert(Growing {
            message: Message { payload: None, ..message.clone() },
            growth: Growth::NEW,
            tree: Tree::new(message.payload.as_ref()),
            place,
            opened,
            kept,
            grown: opened,
            step: None,
            timeout,
            cancel_by: opening.cancel_by,
            marks: Marks::since(opened),
            active: now,
            deadline: None,
            edits: Edits::default(),
            current: OnceLock::new(),
        });
        self.growing_ids.insert(message.uuid, key);
        match &self.growing[key].place {
            Place::Channel(channel) => self.channels[*channel].growing.insert(key, kept),
            Place::Users(users) => {
                users.iter().for_each(|user| self.users[*user].growing.insert(key, kept));
            }
        }
        self.watch_growing(key, Some(now.after(timeout)));
    }

    /// Returns a stored message as it is now.
    pub(super) fn current(&self, message: &Arc<Message>) -> Arc<Message> {
        let may_have_grown = message.growth.is_some_and(|growth| growth.is_open());
        match may_have_grown.then(|| self.growing_ids.get(&message.uuid)).flatten() {
            Some(key) => self.growing[*key].current(),
            None => Arc::clone(message),
        }
    }

    /// Returns how far a message has grown, unless there is no such growing message.
    pub fn growth(&self, message: Uuid) -> Option<Growth> {
        Some(self.growing[*self.growing_ids.get(&message)?].growth)
    }

    /// Returns what was appended to a message since a number, as one append; `None` if there is no such
    /// growing message, or it has to be sent whole.
    pub fn appended_since(&self, message: Uuid, sequence: Sequence) -> Option<Append> {
        self.growing[*self.growing_ids.get(&message)?].suffix_since(sequence)
    }

    /// Lets a message grow, or ends it. `is_stored` tells whether there is an ordinary message of this id.
    pub(super) fn append(
        &mut self,
        step: &mut Step,
        request: AppendRequest,
        is_stored: impl FnOnce(&Self) -> bool,
    ) -> Taken {
        let AppendRequest { uuid, channel, append, status, step: number } = request;
        let found = self.growing_ids.get(&uuid).copied().filter(|key| {
            channel.is_none() || channel == self.growing[*key].message.address.channel
        });
        let Some(key) = found else {
            let reason = if is_stored(self) { Taken::NOT_OPEN } else { Taken::UNKNOWN };
            return Taken::unknown(uuid, channel, reason);
        };
        let rules = &self.rules;
        let bounds = Bounds { size: rules.max_growing_size, items: rules.max_growing_items };
        let growing = &mut self.growing[key];
        if let Some(answer) = growing.answer_to_step(number) {
            return answer;
        }
        if growing.growth.status.is_final() {
            return growing.answer(false, None);
        }
        let touched = match growing.tree.append(&append, bounds) {
            Ok(touched) => touched,
            Err(reason) => return growing.answer(false, Some(reason)),
        };
        growing.step = number.or(growing.step);
        growing.active = self.own_time.now();
        let status = status.unwrap_or(Status::Open);
        // An append of nothing shows that the publisher lives.
        if touched.is_empty() && status == growing.growth.status {
            return growing.answer(true, None);
        }
        self.advance(step, key, status, append, touched);
        self.growing[key].answer(true, None)
    }

    /// Cancels a message for the user of a connection.
    pub(super) fn cancel(
        &mut self,
        step: &mut Step,
        connection: ConnectionId,
        message: Uuid,
    ) -> Result<Taken, Refusal> {
        let connection = *self.connection_ids.get(&connection).ok_or(Refusal::UnknownConnection)?;
        let user = &self.users[self.connections[connection].user].name;
        let key = *self.growing_ids.get(&message).ok_or(Refusal::CannotCancel)?;
        let growing = &self.growing[key];
        if !growing.cancel_by.iter().any(|name| **name == **user) {
            return Err(Refusal::CannotCancel);
        }
        if growing.growth.status.is_final() {
            return Ok(growing.answer(false, None));
        }
        self.advance(step, key, Status::Cancelled, Pieces::new(), Vec::new());
        Ok(self.growing[key].answer(true, None))
    }

    /// Edits a growing message. Returns how far it has grown then, for the event, which goes to those
    /// whom the message is for: each of its changes counts for all of them.
    pub(super) fn edit_growing(&mut self, place: &Place, edit: &Edit) -> Option<(Growth, Address)> {
        let key = *self.growing_ids.get(&edit.uuid)?;
        let is_there = match (&self.growing[key].place, place) {
            (Place::Users(users), Place::Users(named)) => {
                named.iter().any(|user| users.contains(user))
            }
            (here, place) => here == place,
        };
        if !is_there {
            return None;
        }
        // The edit is the next event.
        let sequence = self.sequence + 1;
        let growing = &mut self.growing[key];
        growing.message = edited(&growing.message, edit);
        if growing.message.payload.take().is_some() {
            growing.tree = Tree::new(edit.payload.as_ref());
        }
        growing.marks = Marks::since(sequence);
        growing.has_changed();
        let growth = growing.growth;
        if growth.status.is_final() {
            self.store_whole(key);
        }
        Some((growth, self.growing[key].message.address.clone()))
    }

    /// Makes a change the next event, and announces it.
    fn advance(
        &mut self,
        step: &mut Step,
        key: Key<Growing>,
        status: Status,
        pieces: Pieces,
        touched: Vec<tree::Touch>,
    ) {
        self.sequence += 1;
        let growing = &mut self.growing[key];
        let changed_status = status != growing.growth.status;
        let was_stalled = growing.growth.status == Status::Stalled;
        let from = growing.growth.rev;
        growing.grown = self.sequence;
        growing.marks.push(self.sequence, from, touched, changed_status);
        growing.growth.status = status;
        growing.has_changed();
        let append = Append {
            uuid: growing.message.uuid,
            channel: growing.message.address.channel.clone(),
            append: pieces,
            from,
            rev: growing.growth.rev,
            status: changed_status.then_some(status),
        };
        if status.is_final() {
            self.watch_growing(key, None);
            self.count_end(key);
            self.store_whole(key);
            self.notice_closed(step, &append, status);
            self.has_ended(step, key);
        } else if was_stalled {
            let growing = &self.growing[key];
            let when = growing.active.after(growing.timeout);
            self.watch_growing(key, Some(when));
        }
        self.announce(step, key, append);
    }

    /// Counts a message that ends.
    fn count_end(&mut self, key: Key<Growing>) {
        let Growing { place, kept, .. } = &self.growing[key];
        match place {
            Place::Channel(channel) => self.channels[*channel].growing.close(*kept),
            Place::Users(users) => {
                users.iter().for_each(|user| self.users[*user].growing.close(*kept));
            }
        }
    }

    /// Puts a message as it is now to where it is stored.
    fn store_whole(&mut self, key: Key<Growing>) {
        let growing = &mut self.growing[key];
        let (opened, message) = (growing.opened, growing.current());
        // From here on the payload is shared with what is stored.
        growing.tree = Tree::new(message.payload.as_ref());
        match &growing.place {
            Place::Channel(channel) => self.channels[*channel].replace(opened, &message),
            Place::Users(users) => {
                for user in users {
                    self.users[*user].stored.replace(opened, &message);
                }
            }
        }
    }

    /// Forgets the messages of these ids that have ended and are not stored any more.
    pub(super) fn release(&mut self, dropped: Vec<Uuid>) {
        for id in dropped {
            if let Some(&key) = self.growing_ids.get(&id) {
                self.release_one(key);
            }
        }
    }

    /// Forgets the messages that ended in this step and were never stored.
    pub(super) fn release_ended(&mut self, step: &mut Step) {
        let mut left = PORTION;
        for (key, channel) in std::mem::take(&mut step.ended) {
            self.release_one(key);
            // While it grew, its age did not count. The channel may be gone since.
            if let Some(channel) = channel.filter(|channel| self.channels.get(*channel).is_some()) {
                left = self.fade_channel(channel, left);
            }
        }
    }

    /// Notes a message that is to be forgotten after this step, unless it is stored.
    fn has_ended(&self, step: &mut Step, key: Key<Growing>) {
        let channel = match self.growing[key].place {
            Place::Channel(channel) => Some(channel),
            Place::Users(_) => None,
        };
        step.ended.push((key, channel));
    }

    fn release_one(&mut self, key: Key<Growing>) {
        let Some(growing) = self.growing.get(key) else { return };
        if growing.growth.is_open() || growing.edits.is_due() {
            return;
        }
        let opened = growing.opened;
        let is_stored = match &growing.place {
            Place::Channel(channel) => {
                let (history, events) = self.channels[*channel].keeps(opened);
                history || events
            }
            Place::Users(users) => users.iter().any(|user| self.users[*user].stored.has(opened)),
        };
        if !is_stored {
            self.lose_growth(key);
            self.drop_growing(key);
        }
    }

    /// Notes that nobody can learn any more what a message has grown by.
    fn lose_growth(&mut self, key: Key<Growing>) {
        let growing = &self.growing[key];
        // Who takes edits has learned of it by the last of them, which came after the append.
        let told = growing.told(true);
        match &growing.place {
            Place::Channel(channel) => self.channels[*channel].stored.skip(told),
            Place::Users(users) => {
                users.iter().for_each(|user| self.users[*user].stored.skip(told));
            }
        }
    }

    /// Forgets the growing message of this id, which was deleted from a channel.
    pub(super) fn delete_growing(&mut self, channel: Key<Channel>, id: Uuid) {
        let key = self.growing_ids.get(&id).copied();
        if let Some(key) = key.filter(|key| self.growing[*key].place == Place::Channel(channel)) {
            self.drop_growing(key);
        }
    }

    /// Takes a private message of this id from a user.
    pub(super) fn take_growing(&mut self, user: Key<User>, id: Uuid) {
        let Some(&key) = self.growing_ids.get(&id) else { return };
        self.remove_reader(user, key);
    }

    /// Takes all private messages from a user, who is removed.
    pub(super) fn take_all_growing(&mut self, user: Key<User>) {
        let keys: Vec<_> = self.users[user].growing.iter().collect();
        for key in keys {
            self.remove_reader(user, key);
        }
    }

    fn remove_reader(&mut self, user: Key<User>, key: Key<Growing>) {
        let growing = &mut self.growing[key];
        let Place::Users(users) = &mut growing.place else { return };
        if !users.contains(&user) {
            return;
        }
        if users.len() == 1 {
            self.drop_growing(key);
            return;
        }
        users.retain(|one| *one != user);
        let here = &mut self.users[user].growing;
        if growing.growth.is_open() {
            here.close(growing.kept);
        }
        here.remove(key);
    }

    /// Forgets the growing messages of a channel that is removed.
    pub(super) fn drop_all_growing(&mut self, channel: Key<Channel>) {
        let keys: Vec<_> = self.channels[channel].growing.iter().collect();
        for key in keys {
            self.drop_growing(key);
        }
    }

    fn drop_growing(&mut self, key: Key<Growing>) {
        self.watch_growing(key, None);
        self.watch_edits(key, None);
        if self.growing[key].growth.is_open() {
            self.count_end(key);
        }
        let Some(growing) = self.growing.remove(key) else { return };
        remove_entry(&mut self.growing_ids, &growing.message.uuid);
        match growing.place {
            Place::Channel(channel) => self.channels[channel].growing.remove(key),
            Place::Users(users) => {
                users.iter().for_each(|user| self.users[*user].growing.remove(key));
            }
        }
    }

    /// Announces that a message is stalled, unless its publisher was heard of meanwhile.
    pub(super) fn growing_is_due(&mut self, step: &mut Step, key: Key<Growing>) {
        let growing = &mut self.growing[key];
        growing.deadline = None;
        let is_stalled = growing.growth.status == Status::Stalled;
        let stalls = growing.active.after(growing.timeout);
        let fails = stalls.after(self.rules.stalled_timeout);
        let due = if is_stalled { fails } else { stalls };
        if due > self.own_time.now() {
            self.watch_growing(key, Some(due));
        } else if is_stalled {
            self.advance(step, key, Status::Failed, Pieces::new(), Vec::new());
        } else {
            self.advance(step, key, Status::Stalled, Pieces::new(), Vec::new());
            self.watch_growing(key, Some(fails));
        }
    }

    /// Sets when to check whether a message is stalled.
    fn watch_growing(&mut self, key: Key<Growing>, when: Option<Moment>) {
        self.deadlines.set_stall(&mut self.growing[key].deadline, when, key);
    }

    fn watch_edits(&mut self, key: Key<Growing>, when: Option<Moment>) {
        self.deadlines.set_edit(self.growing[key].edits.deadline(), when, key);
    }
}

impl Growing {
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    pub(super) fn edit_deadline(&self) -> Option<Moment> {
        self.edits.when()
    }
}

impl Rules {
    /// How often listeners that take appends as edits are sent one of the same message.
    pub(super) const BETWEEN_EDITS: Duration = Duration::from_millis(250);
}
