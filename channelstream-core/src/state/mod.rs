//! The state: who is where, what is stored, who receives what, what expires. One function changes it.

mod arena;
mod catchup;
mod channel;
mod command;
mod connection;
mod defaults;
mod deletion;
mod expiry;
mod growing;
mod info;
mod keys;
mod listening;
mod membership;
mod order;
mod posting;
mod reading;
mod repeats;
pub mod stored;
mod time;
mod user;
mod views;

use std::hash::Hash;
use std::sync::Arc;

use indexmap::IndexMap;
use uuid::Uuid;

pub use crate::protocol::ChangeReply;
pub use catchup::Keep;
pub use command::{
    Appends, CatchUp, Closing, Command, ConnectionId, Delivery, EndReason, Envelope, ListenerId,
    ListenerKind, NodeId, Outcome, Refusal, Reply, Rules, Sent, Sequence, Stamp,
};
pub use defaults::{ChannelDefaults, Pattern};
pub use order::{Began, Order, Position};
pub use reading::{Portion, Read, Reading, Since};
pub use repeats::Repeat;
pub use stored::SnapshotError;
pub use time::Moment;
pub use views::{
    ChannelDetails, ChannelRow, ConnectionRow, Counts, ListenerOwner, RecentEvents, RowOrder,
    Traffic, UserDetails, UserRow, Window, Windowed,
};

use crate::protocol::{
    Changed, ChannelConfig, DateTime, Epoch, Event, Named, SetUserState, Timestamp, UserState,
    UserStateChange, UserStateSet,
};
use arena::{Arena, Key};
use channel::Channel;
use connection::{Connection, Listener};
use expiry::Deadlines;
use growing::Growing;
use repeats::Repeats;
use time::OwnTime;
use user::User;

/// Everything that a server knows.
///
/// It has no clock and no randomness of its own: the same envelopes in the same order make the same
/// state wherever they are applied.
#[derive(Debug)]
pub struct State {
    rules: Rules,
    /// The life of the order of events.
    epoch: Epoch,
    /// The wall time, for what people see. It may step; nothing is decided by it.
    now: Timestamp,
    /// The clock of all deadlines.
    own_time: OwnTime,
    /// The number of the newest event.
    sequence: Sequence,
    /// The number of channels ever created.
    channels_created: u64,
    users: Arena<User>,
    connections: Arena<Connection>,
    channels: Arena<Channel>,
    user_names: IndexMap<Arc<str>, Key<User>>,
    connection_ids: IndexMap<ConnectionId, Key<Connection>>,
    channel_names: IndexMap<Arc<str>, Key<Channel>>,
    growing: Arena<Growing>,
    growing_ids: IndexMap<Uuid, Key<Growing>>,
    deadlines: Deadlines,
    repeats: Repeats,
    /// The empty state, which all users without state share.
    no_state: Arc<UserState>,
    messages_delivered: u64,
    messages_posted: u64,
}

/// Removes an entry. A map that becomes empty releases its memory.
fn remove_entry<K: Eq + Hash, V>(map: &mut IndexMap<K, V>, key: &K) {
    map.swap_remove(key);
    if map.is_empty() {
        *map = IndexMap::new();
    }
}

/// One call of `apply`: the random bits that ids are made from, and the deliveries so far.
struct Step {
    seed: u128,
    ids: u128,
    deliveries: Vec<Delivery>,
    /// The growing messages that ended in this step: those that are not stored are forgotten after it.
    ended: Vec<Key<Growing>>,
}

impl Step {
    /// Returns the next id of this step. Ids are distinct and evenly distributed, but not secret: the
    /// other ids of a step follow from any of them.
    fn id(&mut self) -> Uuid {
        /// Spreads a counter over all bits. It is odd, so that its multiples do not repeat.
        const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        self.ids += 1;
        let bits = self.seed.wrapping_add(self.ids.wrapping_mul(SPREAD));
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

impl State {
    /// Creates a state in which nothing has happened.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            epoch: Epoch::default(),
            now: Timestamp::default(),
            own_time: OwnTime::default(),
            sequence: 0,
            channels_created: 0,
            users: Arena::default(),
            connections: Arena::default(),
            channels: Arena::default(),
            user_names: IndexMap::new(),
            connection_ids: IndexMap::new(),
            channel_names: IndexMap::new(),
            growing: Arena::default(),
            growing_ids: IndexMap::new(),
            deadlines: Deadlines::default(),
            repeats: Repeats::default(),
            no_state: Arc::default(),
            messages_delivered: 0,
            messages_posted: 0,
        }
    }

    /// Begins the order of events in this epoch. An order that begins anew needs a new one.
    #[must_use]
    pub fn in_epoch(self, epoch: Epoch) -> Self {
        Self { epoch, ..self }
    }

    /// Returns the life of the order of events.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Expires what is due at the moment of the envelope, or a portion of it if it is very much, and then
    /// carries out the command, unless it is the repeat of one that was carried out. A command that is
    /// refused changes nothing; the reply has the reason.
    pub fn apply(&mut self, envelope: Envelope) -> Outcome {
        if self.own_time.go_on(envelope.stamp.moment, self.rules.longest_step) {
            self.now = envelope.stamp.now;
        }
        let seed = envelope.stamp.seed;
        let mut step = Step { seed, ids: 0, deliveries: Vec::new(), ended: Vec::new() };
        self.expire(&mut step);
        let (reply, replayed) = match envelope.repeat {
            None => (self.carry_out(&mut step, envelope.command), false),
            Some(repeat) => self.carry_out_once(&mut step, *repeat, envelope.command),
        };
        self.release_ended(&mut step);
        Outcome { reply, replayed, deliveries: step.deliveries }
    }

    fn carry_out(&mut self, step: &mut Step, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::Connect { connection, request } => {
                let connected = self.connect(step, connection, *request)?;
                Ok(Reply::Connected(Box::new(connected)))
            }
            Command::Subscribe(request) => {
                Ok(Reply::Subscribed(Box::new(self.subscribe(step, &request)?)))
            }
            Command::Unsubscribe(request) => {
                Ok(Reply::Unsubscribed(Box::new(self.unsubscribe(step, &request)?)))
            }
            Command::SetUserState(request) => {
                Ok(Reply::UserStateSet(Box::new(self.set_user_state(step, request)?)))
            }
            Command::Configure(request) => {
                Ok(Reply::Configured(Box::new(self.configure(step, &request))))
            }
            Command::DeleteChannels(request) => {
                Ok(Reply::ChannelsDeleted(Box::new(self.delete_channels(step, &request))))
            }
            Command::Publish(messages) => Ok(Reply::Published(self.publish(step, messages)?)),
            Command::Change(changes) => Ok(Reply::Changed(self.change(step, changes))),
            Command::Cancel { connection, message } => {
                Ok(Reply::Cancelled(Box::new(self.cancel(step, connection, message)?)))
            }
            Command::Delete(deletes) => Ok(Reply::Deleted(self.delete(step, deletes))),
            Command::Disconnect(connection) => Ok(Reply::Disconnected(self.disconnect(connection))),
            Command::Open { connection, listener, kind, catch_up, appends } => {
                let as_edits = appends == Appends::AsEdits;
                self.open(step, connection, Listener { id: listener, kind, as_edits }, catch_up)
            }
            Command::Close { connection, listener, how, sent } => {
                self.close(connection, listener, how, sent);
                Ok(Reply::Done)
            }
            Command::Tick => Ok(Reply::Done),
        }
    }

    /// Returns the next moment, on the clock of the stamps, at which something expires. A
    /// [`Command::Tick`] is due then, if no other command comes before. Until then ticks have to come more
    /// often than [`Rules::longest_step`], because one stamp moves own time by no more than that.
    pub fn next_deadline(&self) -> Option<Moment> {
        let of_repeats = self.repeats.deadline(&self.rules);
        let first = self.deadlines.first().into_iter().chain(of_repeats).min()?;
        Some(self.own_time.stamp_of(first))
    }

    /// Returns the latest moment of a stamp. The stamps for a restored state go on from here, so that the
    /// time between does not count.
    pub fn latest_stamp(&self) -> Moment {
        self.own_time.latest_stamp()
    }

    /// Returns the number of the newest event.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Returns `true` if there is a connection of this id. A connection that was ended exists until it
    /// is reaped.
    pub fn knows_connection(&self, id: ConnectionId) -> bool {
        self.connection_ids.contains_key(&id)
    }

    /// Returns `true` if there is a user of this name.
    pub fn knows_user(&self, name: &str) -> bool {
        self.user_names.contains_key(name)
    }

    /// Returns the refusal for a request that names something unknown.
    pub fn unknown(&self, named: &Named) -> Option<Refusal> {
        match named {
            Named::Connection(id) => {
                (!self.knows_connection((*id).into())).then_some(Refusal::UnknownConnection)
            }
            Named::User(name) => (!self.knows_user(name)).then_some(Refusal::UnknownUser),
        }
    }

    fn set_user_state(
        &mut self,
        step: &mut Step,
        request: SetUserState,
    ) -> Result<UserStateSet, Refusal> {
        let key = *self.user_names.get(&*request.user).ok_or(Refusal::UnknownUser)?;
        self.user_is_active(key);
        let user = &mut self.users[key];
        if let Some(keys) = &request.state_public_keys {
            user.set_public_keys(keys);
        }
        let changed = user.set_state(request.user_state);
        let answer = UserStateSet {
            user_state: Arc::clone(&user.state),
            changed_state: changed.clone(),
            public_keys: user.public_keys().to_vec(),
        };
        if !changed.is_empty() {
            let is_public = |change: &Changed| user.public_state.contains_key(&change.key);
            let public = changed.into_iter().filter(is_public).collect();
            self.tell_state_change(step, key, public);
        }
        Ok(answer)
    }

    /// Sends the change to each channel of the user that notifies of states, in order of creation.
    fn tell_state_change(&mut self, step: &mut Step, key: Key<User>, changed: Vec<Changed>) {
        let user = &self.users[key];
        let mut channels: Vec<Key<Channel>> = user
            .connections
            .iter()
            .flat_map(|connection| self.connections[connection].channels.iter())
            .filter(|channel| self.channels[*channel].settings.notify_state)
            .collect();
        channels.sort_unstable_by_key(|channel| self.channels[*channel].number);
        channels.dedup();
        let (name, state, changed) =
            (Arc::clone(&user.name), Arc::clone(&user.public_state), Arc::new(changed));
        for channel in channels {
            let change = UserStateChange {
                uuid: step.id(),
                user: Arc::clone(&name),
                channel: Arc::clone(&self.channels[channel].name),
                timestamp: DateTime::from(self.now),
                state: Arc::clone(&state),
                changed: Arc::clone(&changed),
            };
            self.send(step, channel, &Event::UserStateChange(Arc::new(change)));
        }
    }

    /// Returns the user of this name. A new user gets `fresh` as its state.
    fn user_named(&mut self, step: &mut Step, name: &str, fresh: UserState) -> Key<User> {
        if let Some(key) = self.user_names.get(name) {
            return *key;
        }
        let name = Arc::<str>::from(name);
        let mut user = User::new(step.id(), Arc::clone(&name), &self.no_state);
        user.set_state(fresh);
        let key = self.users.insert(user);
        self.user_names.insert(name, key);
        key
    }

    /// Reserves room for the channels of a request, all of which may be new.
    fn expect_channels(&mut self, count: usize) {
        /// For fewer channels it is not worth it.
        const MANY: usize = 1000;
        if count > MANY {
            self.channels.reserve(count);
            self.channel_names.reserve(count);
        }
    }

    /// Returns the channel of this name. A new channel gets `settings` over its defaults. The caller
    /// sets its deadline, unless somebody joins it at once.
    fn channel_named(
        &mut self,
        step: &mut Step,
        name: &str,
        settings: Option<&ChannelConfig>,
    ) -> Key<Channel> {
        if let Some(key) = self.channel_names.get(name) {
            return *key;
        }
        let name = Arc::<str>::from(name);
        let settings = settings.copied().unwrap_or_default().over(self.rules.settings_for(&name));
        self.channels_created += 1;
        let number = self.channels_created;
        let channel = Channel::new(step.id(), Arc::clone(&name), number, settings);
        let key = self.channels.insert(channel);
        self.channel_names.insert(name, key);
        self.channel_is_active(key);
        key
    }
}
