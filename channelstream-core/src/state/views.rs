//! Bounded read-only views for who watches live: counts, windows of lists, one channel, one user.
//!
//! What they cost grows with what is there, but not what they give: a window of a list, the newest
//! of a history. Nothing is sorted beyond the window.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::channel::Channel;
use super::connection::{Connection, Phase};
use super::user::User;
use super::{ConnectionId, ListenerId, ListenerKind, Sequence, State};
use crate::protocol::{ChannelSettings, DateTime, Event, Message, UserState};

/// The parts of a list that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Only names with this in them, in capitals or not; all if empty.
    #[serde(default)]
    pub search: String,
    /// The order.
    #[serde(default)]
    pub order: Order,
    /// How many of the beginning to pass over.
    #[serde(default)]
    pub offset: usize,
    /// How many to give at most.
    pub limit: usize,
}

/// The orders of lists; those that are equal go by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// By name.
    #[default]
    Name,
    /// Most connections first.
    Connections,
    /// Latest activity first; users have none and go by name.
    Active,
}

/// A window of a list.
#[derive(Clone, Debug, Serialize)]
pub struct Windowed<T> {
    /// How many there are.
    pub total: usize,
    /// How many the search found.
    pub found: usize,
    /// How many were passed over; less than was asked for if there are not as many.
    pub offset: usize,
    /// Those in the window.
    pub rows: Vec<T>,
}

/// How much of everything there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Channels.
    pub channels: usize,
    /// Users with connections.
    pub users_connected: usize,
    /// All users.
    pub users: usize,
    /// Connections, listened on or not.
    pub connections: usize,
    /// Posted messages that had an address, since the start.
    pub posted: u64,
    /// Their deliveries, one per addressed connection, listening or not.
    pub delivered: u64,
}

/// What has gone through, since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// As [`Counts::posted`].
    pub posted: u64,
    /// As [`Counts::delivered`].
    pub delivered: u64,
}

/// A channel in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelRow {
    /// Its name.
    pub name: Arc<str>,
    /// Connections in it.
    pub connections: usize,
    /// Users in it.
    pub users: usize,
    /// The last message, event or creation.
    pub last_active: DateTime,
}

/// One channel, but for its lists.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelDetails {
    /// Its id.
    pub uuid: Uuid,
    /// Its row.
    #[serde(flatten)]
    pub row: ChannelRow,
    /// Its settings.
    pub settings: ChannelSettings,
    /// Messages in its history.
    pub history: usize,
    /// Events stored for who is away.
    #[serde(rename = "stored_frames")]
    pub stored_events: usize,
}

/// A user in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserRow {
    /// The name.
    pub name: Arc<str>,
    /// Connections: of a member, those in the channel.
    pub connections: usize,
}

/// One user.
#[derive(Clone, Debug, Serialize)]
pub struct UserDetails {
    /// Id of the user.
    pub uuid: Uuid,
    /// The name.
    pub name: Arc<str>,
    /// All of the state.
    pub state: Arc<UserState>,
    /// The keys of it that others may see.
    pub public_keys: Vec<Arc<str>>,
    /// Private events stored for the user.
    #[serde(rename = "stored_frames")]
    pub stored_events: usize,
    /// How many connections there are.
    pub total_connections: usize,
    /// The oldest of them.
    pub connections: Vec<ConnectionRow>,
}

/// A connection of a user.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionRow {
    /// Its id.
    pub id: ConnectionId,
    /// How many channels it is in.
    pub total_channels: usize,
    /// The first of them, in order of joining.
    pub channels: Vec<Arc<str>>,
    /// Who listens: `socket`, `poll` or nobody.
    pub listener: Option<&'static str>,
    /// Whether it has ended and is about to be collected.
    pub ended: bool,
}

/// Who listens under an id of a listener.
#[derive(Clone, Debug)]
pub struct ListenerOwner {
    /// The listener.
    pub listener: ListenerId,
    /// `socket` or `poll`.
    pub kind: &'static str,
    /// On which connection.
    pub connection: ConnectionId,
    /// Whose.
    pub user: Arc<str>,
}

/// What has happened in a channel since a number.
#[derive(Clone, Debug)]
pub struct RecentEvents {
    /// The newest, oldest first, with their numbers.
    pub events: Vec<(Sequence, Event)>,
    /// Whether there may have been more than that since.
    pub gap: bool,
}

impl State {
    /// How much of everything there is.
    pub fn counts(&self) -> Counts {
        let connected = self.users.iter().filter(|(_, user)| !user.connections.is_empty());
        Counts {
            channels: self.channels.len(),
            users_connected: connected.count(),
            users: self.users.len(),
            connections: self.connections.len(),
            posted: self.messages_posted,
            delivered: self.messages_delivered,
        }
    }

    /// What has gone through, without looking at what there is.
    pub fn traffic(&self) -> Traffic {
        Traffic { posted: self.messages_posted, delivered: self.messages_delivered }
    }

    /// A window of all channels.
    pub fn list_channels(&self, window: &Window) -> Windowed<ChannelRow> {
        let channels = self.channels.iter().map(|(_, channel)| channel);
        let by: fn(&&Channel, &&Channel) -> Ordering = match window.order {
            Order::Name => |_, _| Ordering::Equal,
            Order::Connections => |a, b| b.connections.cmp(&a.connections),
            Order::Active => |a, b| b.active.cmp(&a.active),
        };
        cut(channels, self.channels.len(), window, |channel| &channel.name, by, channel_row)
    }

    /// A window of all users, or of those who have connections.
    pub fn list_users(&self, window: &Window, connected: bool) -> Windowed<UserRow> {
        let users = self.users.iter().map(|(_, user)| user);
        let users = users.filter(|user| !connected || !user.connections.is_empty());
        let by: fn(&&User, &&User) -> Ordering = match window.order {
            Order::Name | Order::Active => |_, _| Ordering::Equal,
            Order::Connections => |a, b| b.connections.len().cmp(&a.connections.len()),
        };
        let row = |user: &User| UserRow {
            name: Arc::clone(&user.name),
            connections: user.connections.len(),
        };
        cut(users, self.users.len(), window, |user| &user.name, by, row)
    }

    /// A window of the users in a channel; none if there is no such channel.
    pub fn list_members(&self, channel: &str, window: &Window) -> Option<Windowed<UserRow>> {
        let members = &self.channel(channel)?.members;
        let rows =
            members.iter().map(|(user, connections)| (&self.users[*user], connections.len()));
        type Member<'a> = (&'a User, usize);
        let by: fn(&Member<'_>, &Member<'_>) -> Ordering = match window.order {
            Order::Name | Order::Active => |_, _| Ordering::Equal,
            Order::Connections => |a, b| b.1.cmp(&a.1),
        };
        let row =
            |(user, connections): Member<'_>| UserRow { name: Arc::clone(&user.name), connections };
        Some(cut(rows, members.len(), window, |(user, _)| &user.name, by, row))
    }

    /// One channel; none if there is none of that name.
    pub fn channel_details(&self, name: &str) -> Option<ChannelDetails> {
        let channel = self.channel(name)?;
        Some(ChannelDetails {
            uuid: channel.uuid,
            row: channel_row(channel),
            settings: channel.settings,
            history: channel.history_len(),
            stored_events: channel.stored.len(),
        })
    }

    /// The newest messages of a channel's history, at most so many, newest first.
    pub fn newest_history(&self, channel: &str, limit: usize) -> Vec<Arc<Message>> {
        self.channel(channel).map(|channel| channel.newest(limit)).unwrap_or_default()
    }

    /// What happened in a channel after a number, as far as it is stored; the newest, at most so
    /// many. Channels that store no events tell nothing.
    pub fn events_after(&self, channel: &str, after: Sequence, limit: usize) -> RecentEvents {
        let Some(channel) = self.channel(channel) else {
            return RecentEvents { events: Vec::new(), gap: false };
        };
        let (events, cut) = channel.stored.newest_after(after, limit);
        // Where the oldest is newer, others may have been pushed out since.
        let full = channel.stored.len() >= self.rules.channel_events;
        let gap = cut || full && channel.stored.first().is_some_and(|oldest| oldest > after);
        RecentEvents { events, gap }
    }

    /// One user with at most so many connections, each with at most so many channels; none if
    /// there is none of that name.
    pub fn user_details(&self, name: &str, limit: usize) -> Option<UserDetails> {
        let user = &self.users[*self.user_names.get(name)?];
        let connections = user.connections.iter().take(limit).map(|key| {
            let connection = &self.connections[key];
            let channels = connection.channels.iter().take(limit);
            ConnectionRow {
                id: connection.id,
                total_channels: connection.channels.len(),
                channels: channels.map(|key| Arc::clone(&self.channels[key].name)).collect(),
                listener: connection.listener.map(|listener| kind(listener.kind)),
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

    /// Who listens under these ids, in no order; those that are over are left out.
    pub fn listener_owners(&self, listeners: &[ListenerId]) -> Vec<ListenerOwner> {
        if listeners.is_empty() {
            return Vec::new();
        }
        let owner = |connection: &Connection| {
            let listener = connection.listener.filter(|one| listeners.contains(&one.id))?;
            Some(ListenerOwner {
                listener: listener.id,
                kind: kind(listener.kind),
                connection: connection.id,
                user: Arc::clone(&self.users[connection.user].name),
            })
        };
        self.connections.iter().filter_map(|(_, connection)| owner(connection)).collect()
    }

    fn channel(&self, name: &str) -> Option<&Channel> {
        Some(&self.channels[*self.channel_names.get(name)?])
    }
}

fn kind(kind: ListenerKind) -> &'static str {
    match kind {
        ListenerKind::Socket => "socket",
        ListenerKind::Poll => "poll",
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

/// Cuts the window out of a list; what does not get into it is compared, but not sorted.
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
