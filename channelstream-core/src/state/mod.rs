//! The state: who is where, what is stored, who receives what, what expires. One function changes it.

mod arena;
mod catchup;
mod channel;
mod command;
mod connection;
mod defaults;
mod deletion;
mod expiry;
mod fading;
mod growing;
mod history;
mod info;
mod keys;
mod listening;
mod listing;
mod local;
mod membership;
mod node;
mod notice;
mod order;
mod paging;
mod posting;
mod reading;
mod removal;
mod repeats;
pub mod stored;
mod taking_over;
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
    Alive, Appends, CatchUp, Closing, Command, ConnectionId, Delivery, EndReason, Envelope,
    ListenerId, ListenerKind, NodeId, Outcome, Refusal, Reply, Rules, Sent, Sequence, Stamp,
};
pub use defaults::{ChannelDefaults, Pattern};
pub use listing::Listing;
pub use node::NodeRow;
pub use notice::{Notice, WhyEnded};
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
    Changed, ChannelConfig, Cursor, DateTime, Epoch, Event, Named, SetUserState, Timestamp,
    UserState, UserStateChange, UserStateSet,
};
use arena::{Arena, Key};
use channel::Channel;
use connection::{Connection, Listener};
use expiry::Deadlines;
use growing::Growing;
use history::History;
use node::Nodes;
use removal::Refused;
use repeats::Repeats;
use taking_over::TakingOver;
use time::OwnTime;
use user::User;

/// Everything that a server knows.
///
/// It has no clock and no randomness of its own: the same envelopes in the same order make the same
/// state wherever they are applied.
#[derive(Debug)]
pub struct State {
    /// The level in force.
    level: u32,
    rules: Rules,
    /// The node whose listeners get deliveries.
    node: NodeId,
    order: Order,
    nodes: Nodes,
    taking_over: TakingOver,
    /// Mixed from what each envelope did. It is the same wherever the same was done.
    digest: u64,
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
    refused: Refused,
    /// The empty state, which all users without state share.
    no_state: Arc<UserState>,
    messages_delivered: u64,
    messages_posted: u64,
    /// How many messages and events have left because they expired or were too old.
    faded: u64,
    /// Whether outcomes have notices.
    collects_notices: bool,
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
    /// The node that submitted the envelope.
    node: NodeId,
    seed: u128,
    ids: u128,
    deliveries: Vec<Delivery>,
    notices: Vec<Notice>,
    /// The growing messages that ended in this step, and their channels: those that are not stored are
    /// forgotten after it.
    ended: Vec<(Key<Growing>, Option<Key<Channel>>)>,
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
            level: stored::OLDEST,
            rules,
            node: NodeId::default(),
            order: Order::default(),
            nodes: Nodes::default(),
            taking_over: TakingOver::default(),
            digest: 0,
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
            refused: Refused::default(),
            no_state: Arc::default(),
            messages_delivered: 0,
            messages_posted: 0,
            faded: 0,
            collects_notices: false,
        }
    }

    /// Begins the order of events in this epoch, without an envelope: nobody else needs to know of it.
    #[must_use]
    pub fn in_epoch(mut self, epoch: Epoch) -> Self {
        self.order.begin(epoch, self.sequence);
        self
    }

    /// Lets a level be in force, without an envelope: nobody else needs to know it.
    #[must_use]
    pub fn at_level(mut self, level: u32) -> Self {
        self.level = level;
        self.rules = self.rules.at_level(level);
        self
    }

    /// Returns the level in force.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Returns the life of the order of events.
    pub fn epoch(&self) -> Epoch {
        self.order.position().epoch
    }

    /// Returns what is known of the order of envelopes so far.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Returns a number that is the same wherever the same envelopes had the same effects.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Returns the rules that are in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Expires what is due at the moment of the envelope, or a portion of it if it is very much, and then
    /// carries out the command, unless it is the repeat of one that was carried out. A command that is
    /// refused changes nothing; the reply has the reason.
    ///
    /// An envelope that was applied before has no effect but that its place in the order counts.
    pub fn apply(&mut self, envelope: Envelope) -> Outcome {
        let Envelope { node, number, stamp, command, repeat } = envelope;
        let is_new = match &command {
            Command::Begin { epoch, .. } => {
                self.order.begin(*epoch, self.sequence);
                true
            }
            _ => self.order.next(node, number),
        };
        if !is_new {
            let reply = Ok(Reply::Done);
            let (deliveries, notices) = (Vec::new(), Vec::new());
            return Outcome { reply, replayed: false, is_new: false, deliveries, notices };
        }
        if self.own_time.go_on(stamp.moment, self.rules.longest_step) {
            self.now = stamp.now;
        }
        let (seed, deliveries, notices) = (stamp.seed, Vec::new(), Vec::new());
        let mut step = Step { node, seed, ids: 0, deliveries, notices, ended: Vec::new() };
        self.node_is_seen(&mut step, node);
        // Before anything expires: its time begins anew.
        if let Command::Begin { alone: true, .. } = command {
            self.is_alone(node);
        }
        self.expire(&mut step);
        let (reply, replayed) = match repeat {
            None => (self.carry_out(&mut step, command), false),
            Some(repeat) => self.carry_out_once(&mut step, *repeat, command),
        };
        self.release_ended(&mut step);
        self.mix_digest();
        let Step { deliveries, notices, .. } = step;
        Outcome { reply, replayed, is_new: true, deliveries, notices }
    }

    fn mix_digest(&mut self) {
        /// Spreads each number over all bits.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let counts = [
            u64::from(self.level),
            self.order.position().number,
            self.sequence,
            self.messages_delivered,
            self.users.len() as u64,
            self.connections.len() as u64,
            self.channels.len() as u64,
        ];
        let mix = |digest: u64, number: u64| (digest ^ number).wrapping_mul(SPREAD).rotate_left(29);
        self.digest = counts.into_iter().fold(self.digest, mix);
        if self.level >= removal::SINCE {
            self.digest = mix(self.digest, self.refused.len() as u64);
        }
        if self.level >= fading::SINCE {
            self.digest = mix(self.digest, self.faded);
        }
    }

    fn carry_out(&mut self, step: &mut Step, command: Command) -> Result<Reply, Refusal> {
        if self.level < command.since() {
            return Err(Refusal::LevelTooLow);
        }
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
                let (node, as_edits) = (step.node, appends == Appends::AsEdits);
                let listener = Listener { node, id: listener, kind, as_edits };
                self.open(step, connection, listener, catch_up)
            }
            Command::Close { connection, listener, how, sent } => {
                self.close(step, connection, (step.node, listener), how, sent);
                Ok(Reply::Done)
            }
            Command::Tick => Ok(Reply::Done),
            Command::Begin { .. } => Ok(Reply::Done),
            Command::Alive(alive) => {
                self.node_is_alive(step.node, *alive);
                Ok(Reply::Done)
            }
            Command::Leave => {
                self.node_has_left(step.node);
                Ok(Reply::Done)
            }
            Command::Rules(rules) => {
                self.rules = rules.at_level(self.level);
                Ok(Reply::Done)
            }
            Command::Raise(level) => {
                self.raise(level);
                Ok(Reply::Done)
            }
            Command::DisconnectUser(request) => {
                Ok(Reply::UserDisconnected(Box::new(self.disconnect_user(step, &request)?)))
            }
        }
    }

    /// Returns the next moment, on the clock of the stamps, at which something expires. A
    /// [`Command::Tick`] is due then, if no other command comes before. Until then ticks have to come more
    /// often than [`Rules::longest_step`], because one stamp moves own time by no more than that.
    pub fn next_deadline(&self) -> Option<Moment> {
        let deadlines = [
            self.deadlines.first(),
            self.repeats.deadline(&self.rules),
            self.refused.deadline(),
            self.nodes_deadline(),
            self.taking_over.deadline(),
        ];
        let first = deadlines.into_iter().flatten().min()?;
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

    /// Returns the wall time of the newest envelope.
    pub fn time(&self) -> Timestamp {
        self.now
    }

    /// Returns the cursor of the newest event.
    pub fn cursor(&self) -> Cursor {
        self.cursor_at(self.sequence)
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
        // Another channel of this name may have been here before.
        let lost = if self.level >= fading::SINCE { self.sequence } else { 0 };
        let history = History::behind(lost);
        let channel = Channel::new(step.id(), Arc::clone(&name), number, settings, history);
        let key = self.channels.insert(channel);
        self.channel_names.insert(name, key);
        self.channel_is_active(key);
        key
    }
}
