//! Bounded read-only views for the admin area: counts, windows of lists, one channel, one user.
//!
//! Their cost grows with the state, but their size does not: a window of a list, the newest messages of
//! a history. Nothing outside a window is sorted.

use std::cmp::Ordering;
use std::sync::Arc;

use uuid::Uuid;

use super::channel::Channel;
use super::connection::{Connection, Listener, Phase};
use super::user::User;
use super::{ConnectionId, ListenerId, ListenerKind, Sequence, State};
use crate::protocol::{ChannelSettings, DateTime, Event, Message, UserState};

/// A request for a part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Only names that contain this, ignoring case; all names if empty.
    pub search: String,
    /// The order of the list.
    pub order: RowOrder,
    /// How many entries to skip.
    pub offset: usize,
    /// The most entries to return.
    pub limit: usize,
}

/// The orders of lists. Entries that are equal are sorted by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowOrder {
    /// By name.
    #[default]
    Name,
    /// Most connections first.
    Connections,
    /// Latest activity first. Users have no activity and are sorted by name.
    Active,
}

/// A window of a list.
#[derive(Clone, Debug)]
pub struct Windowed<T> {
    /// The number of all entries.
    pub total: usize,
    /// The number of entries that the search found.
    pub found: usize,
    /// The number of entries that were skipped. It is less than requested if there are not as many.
    pub offset: usize,
    /// The entries in the window.
    pub rows: Vec<T>,
}

/// The number of everything in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The number of channels.
    pub channels: usize,
    /// The number of users with connections.
    pub users_connected: usize,
    /// The number of all users.
    pub users: usize,
    /// The number of connections, with a listener or without.
    pub connections: usize,
    /// The number of published messages that had an address, since the start.
    pub posted: u64,
    /// The number of their deliveries, one per addressed connection, with a listener or without.
    pub delivered: u64,
    /// The number of answers that are kept for repeats.
    pub kept_answers: usize,
    /// The bytes that these take.
    pub kept_bytes: usize,
    /// The number of answers that were forgotten before their time, because of the bounds.
    pub evicted_answers: u64,
}

/// The traffic since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The same as [`Counts::posted`].
    pub posted: u64,
    /// The same as [`Counts::delivered`].
    pub delivered: u64,
}

/// A channel in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRow {
    /// The name.
    pub name: Arc<str>,
    /// The number of connections in the channel.
    pub connections: usize,
    /// The number of users in the channel.
    pub users: usize,
    /// The time of the last message, event or creation.
    pub last_active: DateTime,
}

/// One channel without its lists.
#[derive(Clone, Debug)]
pub struct ChannelDetails {
    /// The id.
    pub uuid: Uuid,
    /// The row in a list of channels.
    pub row: ChannelRow,
    /// The settings.
    pub settings: ChannelSettings,
    /// The number of messages in the history.
    pub history: usize,
    /// The number of events stored for catch-up.
    pub stored_events: usize,
}

/// A user in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The name.
    pub name: Arc<str>,
    /// The number of connections; of a member of a channel, those in the channel.
    pub connections: usize,
}

/// One user.
#[derive(Clone, Debug)]
pub struct UserDetails {
    /// The id of the user.
    pub uuid: Uuid,
    /// The name.
    pub name: Arc<str>,
    /// The full state.
    pub state: Arc<UserState>,
    /// The keys of the state that others may see.
    pub public_keys: Vec<Arc<str>>,
    /// The number of private events stored for the user.
    pub stored_events: usize,
    /// The number of all connections.
    pub total_connections: usize,
    /// The oldest connections.
    pub connections: Vec<ConnectionRow>,
}

/// A connection of a user.
#[derive(Clone, Debug)]
pub struct ConnectionRow {
    /// The id.
    pub id: ConnectionId,
    /// The number of channels it is in.
    pub total_channels: usize,
    /// The first channels, in the order of joining.
    pub channels: Vec<Arc<str>>,
    /// The kind of its listener, if it has one.
    pub listener: Option<ListenerKind>,
    /// `true` if it was ended and is about to be reaped.
    pub ended: bool,
}

/// The owner of a listener.
#[derive(Clone, Debug)]
pub struct ListenerOwner {
    /// The listener.
    pub listener: ListenerId,
    /// The kind of the listener.
    pub kind: ListenerKind,
    /// The connection.
    pub connection: ConnectionId,
    /// The user.
    pub user: Arc<str>,
}

/// The events of a channel after a number.
#[derive(Clone, Debug)]
pub struct RecentEvents {
    /// The newest events, oldest first, with their numbers.
    pub events: Vec<(Sequence, Event)>,
    /// `true` if there may have been more events since.
    pub gap: bool,
}

impl State {
    /// Returns the number of everything in the state.
    pub fn counts(&self) -> Counts {
        let connected = self.users.iter().filter(|(_, user)| !user.connections.is_empty());
        Counts {
            channels: self.channels.len(),
            users_connected: connected.count(),
            users: self.users.len(),
            connections: self.connections.len(),
            posted: self.messages_posted,
            delivered: self.messages_delivered,
            kept_answers: self.repeats.len(),
            kept_bytes: self.repeats.bytes(),
            evicted_answers: self.evicted_answers(),
        }
    }

    /// Returns the same as [`Counts::evicted_answers`], without counting anything.
    pub fn evicted_answers(&self) -> u64 {
        self.repeats.evicted()
    }

    /// Returns the traffic, without counting anything.
    pub fn traffic(&self) -> Traffic {
        Traffic { posted: self.messages_posted, delivered: self.messages_delivered }
    }

    /// Returns a window of all channels.
    pub fn list_channels(&self, window: &Window) -> Windowed<ChannelRow> {
        let channels = self.channels.iter().map(|(_, channel)| channel);
        let by: fn(&&Channel, &&Channel) -> Ordering = match window.order {
            RowOrder::Name => |_, _| Ordering::Equal,
            RowOrder::Connections => |a, b| b.connections.cmp(&a.connections),
            RowOrder::Active => |a, b| b.active.cmp(&a.active),
        };
        cut(channels, self.channels.len(), window, |channel| &channel.name, by, channel_row)
    }

    /// Returns a window of all users, or of the users with connections.
    pub fn list_users(&self, window: &Window, connected: bool) -> Windowed<UserRow> {
        let users = self.users.iter().map(|(_, user)| user);
        let users = users.filter(|user| !connected || !user.connections.is_empty());
        let by: fn(&&User, &&User) -> Ordering = match window.order {
            RowOrder::Name | RowOrder::Active => |_, _| Ordering::Equal,
            RowOrder::Connections => |a, b| b.connections.len().cmp(&a.connections.len()),
        };
        let row = |user: &User| UserRow {
            name: Arc::clone(&user.name),
            connections: user.connections.len(),
        };
        cut(users, self.users.len(), window, |user| &user.name, by, row)
    }

    /// Returns a window of the users in a channel, if it exists.
    pub fn list_members(&self, channel: &str, window: &Window) -> Option<Windowed<UserRow>> {
        let members = &self.channel(channel)?.members;
        let rows =
            members.iter().map(|(user, member)| (&self.users[*user], member.connections.len()));
        type Member<'a> = (&'a User, usize);
        let by: fn(&Member<'_>, &Member<'_>) -> Ordering = match window.order {
            RowOrder::Name | RowOrder::Active => |_, _| Ordering::Equal,
            RowOrder::Connections => |a, b| b.1.cmp(&a.1),
        };
        let row =
            |(user, connections): Member<'_>| UserRow { name: Arc::clone(&user.name), connections };
        Some(cut(rows, members.len(), window, |(user, _)| &user.name, by, row))
    }

    /// Returns a channel, if it exists.
    pub fn channel_details(&self, name: &str) -> Option<ChannelDetails> {
        let channel = self.channel(name)?;
        Some(ChannelDetails {
            uuid: channel.uuid,
            row: channel_row(channel),
            settings: channel.settings,
            history: channel.history.len(),
            stored_events: channel.stored.len(),
        })
    }

    /// Returns the newest `limit` messages of a channel's history, newest first.
    pub fn newest_history(&self, channel: &str, limit: usize) -> Vec<Arc<Message>> {
        let newest =
            self.channel(channel).into_iter().flat_map(|channel| channel.history.iter().rev());
        newest.take(limit).map(|one| self.current(&one.message)).collect()
    }

    /// Returns the newest `limit` stored events of a channel after a number. A channel that stores no
    /// events returns none.
    pub fn events_after(&self, channel: &str, after: Sequence, limit: usize) -> RecentEvents {
        let Some(channel) = self.channel(channel) else {
            return RecentEvents { events: Vec::new(), gap: false };
        };
        let (mut events, cut) = channel.stored.newest_after(after, limit);
        for (_, event) in &mut events {
            if let Event::Message(message) = event {
                *message = self.current(message);
            }
        }
        let gap = cut || channel.stored.lost() > after && channel.settings.store_frames;
        RecentEvents { events, gap }
    }

    /// Returns a user, if it exists, with at most `limit` connections of at most `limit` channels each.
    pub fn user_details(&self, name: &str, limit: usize) -> Option<UserDetails> {
        let user = &self.users[*self.user_names.get(name)?];
        let connections = user.connections.iter().take(limit).map(|key| {
            let connection = &self.connections[key];
            let channels = connection.channels.iter().take(limit);
            ConnectionRow {
                id: connection.id,
                total_channels: connection.channels.len(),
                channels: channels.map(|key| Arc::clone(&self.channels[key].name)).collect(),
                listener: connection.listener.map(|listener| listener.kind),
                ended: connection.phase == Phase::Ended,
            }
        });
        Some(UserDetails {
            uuid: user.uuid,
            name: Arc::clone(&user.name),
            state: Arc::clone(&user.state),
            public_keys: user.public_keys().to_vec(),
            stored_events: user.stored.len(),
            total_connections: user.connections.len(),
            connections: connections.collect(),
        })
    }

    /// Returns the owners of these listeners of this node, in no order. Listeners that have ended are left out.
    pub fn listener_owners(&self, listeners: &[ListenerId]) -> Vec<ListenerOwner> {
        if listeners.is_empty() {
            return Vec::new();
        }
        let owner = |connection: &Connection| {
            let is_meant = |one: &Listener| one.node == self.node && listeners.contains(&one.id);
            let listener = connection.listener.filter(is_meant)?;
            Some(ListenerOwner {
                listener: listener.id,
                kind: listener.kind,
                connection: connection.id,
                user: Arc::clone(&self.users[connection.user].name),
            })
        };
        self.connections.iter().filter_map(|(_, connection)| owner(connection)).collect()
    }

    pub(super) fn channel(&self, name: &str) -> Option<&Channel> {
        Some(&self.channels[*self.channel_names.get(name)?])
    }
}

fn channel_row(channel: &Channel) -> ChannelRow {
    ChannelRow {
        name: Arc::clone(&channel.name),
        connections: channel.connections,
        users: channel.members.len(),
        last_active: DateTime::from(channel.last_active),
    }
}

/// Returns the window of a list. Entries outside the window are compared, but not sorted.
fn cut<T, R>(
    all: impl Iterator<Item = T>,
    total: usize,
    window: &Window,
    name: impl Fn(&T) -> &Arc<str>,
    by: impl Fn(&T, &T) -> Ordering,
    row: impl Fn(T) -> R,
) -> Windowed<R> {
    let search = window.search.to_lowercase();
    let matches = |one: &T| search.is_empty() || name(one).to_lowercase().contains(&search);
    let mut list: Vec<T> = all.filter(matches).collect();
    let order = |a: &T, b: &T| by(a, b).then_with(|| name(a).cmp(name(b)));
    let found = list.len();
    let offset = window.offset.min(found);
    let end = offset.saturating_add(window.limit).min(found);
    if end < found {
        list.select_nth_unstable_by(end, order);
        list.truncate(end);
    }
    if offset > 0 && offset < end {
        list.select_nth_unstable_by(offset, order);
    }
    let mut inside = list.split_off(offset);
    inside.sort_unstable_by(order);
    Windowed { total, found, offset, rows: inside.into_iter().map(row).collect() }
}
