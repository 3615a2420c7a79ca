//! Mirrors of events and replies, which a state keeps.

use std::borrow::Cow;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_with::{As, Same};
use uuid::Uuid;

use super::entry::{Delete, Edit};
use super::mirrors;
use super::second::Second;
use super::shared::{self, Name, Payload, State};
use super::values::{Cursor, DateTime, Json, JsonByKey};
use crate::protocol::{
    self, Action, Address, ChannelsDeleted, GapReason, Growth, Pieces, Scalar, Status,
    UserDisconnected, UserState,
};

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Message")]
pub(in crate::state) struct Message {
    uuid: Uuid,
    user: String,
    #[serde(with = "As::<Option<Payload>>")]
    payload: Option<protocol::Payload>,
    address: Address,
    no_history: bool,
    #[serde(with = "DateTime")]
    timestamp: protocol::DateTime,
    #[serde(with = "As::<Option<DateTime>>")]
    edited: Option<protocol::DateTime>,
    #[serde(with = "As::<Second<Option<DateTime>>>")]
    expires_at: Option<protocol::DateTime>,
    growth: Option<Growth>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Event")]
pub(in crate::state) enum Event {
    Message(#[serde(with = "As::<shared::Message>")] Arc<protocol::Message>),
    Edit(#[serde(with = "As::<Arc<Edit>>")] Arc<protocol::Edit>),
    Append(#[serde(with = "As::<Arc<Append>>")] Arc<protocol::Append>),
    Delete(#[serde(with = "As::<Arc<Delete>>")] Arc<protocol::Delete>),
    Presence(#[serde(with = "As::<Arc<Presence>>")] Arc<protocol::Presence>),
    UserStateChange(#[serde(with = "As::<Arc<UserStateChange>>")] Arc<protocol::UserStateChange>),
    Gap(#[serde(with = "As::<Arc<Gap>>")] Arc<protocol::Gap>),
    Cursor,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Append")]
struct Append {
    uuid: Uuid,
    channel: Option<String>,
    #[serde(with = "As::<JsonByKey>")]
    append: Pieces,
    from: u64,
    rev: u64,
    status: Option<Status>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Gap")]
struct Gap {
    #[serde(with = "As::<Option<Name>>")]
    channel: Option<Arc<str>>,
    reason: GapReason,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Presence")]
struct Presence {
    uuid: Uuid,
    #[serde(with = "As::<Name>")]
    user: Arc<str>,
    #[serde(with = "As::<Name>")]
    channel: Arc<str>,
    #[serde(with = "DateTime")]
    timestamp: protocol::DateTime,
    action: Action,
    #[serde(with = "As::<Vec<UserView>>")]
    users: Vec<protocol::UserView>,
    #[serde(with = "As::<Option<State>>")]
    state: Option<Arc<UserState>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::UserStateChange")]
struct UserStateChange {
    uuid: Uuid,
    #[serde(with = "As::<Name>")]
    user: Arc<str>,
    #[serde(with = "As::<Name>")]
    channel: Arc<str>,
    #[serde(with = "DateTime")]
    timestamp: protocol::DateTime,
    #[serde(with = "As::<State>")]
    state: Arc<UserState>,
    #[serde(with = "As::<Arc<Vec<Changed>>>")]
    changed: Arc<Vec<protocol::Changed>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::UserView")]
struct UserView {
    #[serde(with = "As::<Name>")]
    user: Arc<str>,
    #[serde(with = "As::<State>")]
    state: Arc<UserState>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Changed")]
struct Changed {
    key: String,
    #[serde(with = "As::<Json>")]
    value: Scalar,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::ChannelSettings")]
pub(in crate::state) struct ChannelSettings {
    notify_presence: bool,
    broadcast_presence_with_user_lists: bool,
    notify_state: bool,
    store_history: bool,
    history_size: u64,
    store_frames: bool,
    frames_size: Option<u64>,
    append_as_edit: Option<bool>,
    #[serde(with = "As::<Second<Same>>")]
    history_ttl: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "crate::state::Reply")]
pub(in crate::state) enum Reply {
    Connected(#[serde(with = "As::<Box<Connected>>")] Box<protocol::Connected>),
    Subscribed(#[serde(with = "As::<Box<Subscribed>>")] Box<protocol::Subscribed>),
    Unsubscribed(#[serde(with = "As::<Box<Unsubscribed>>")] Box<protocol::Unsubscribed>),
    UserStateSet(#[serde(with = "As::<Box<UserStateSet>>")] Box<protocol::UserStateSet>),
    Configured(#[serde(with = "As::<Box<ChannelsInfo>>")] Box<protocol::ChannelsInfo>),
    ChannelsDeleted(Box<ChannelsDeleted>),
    Published(#[serde(with = "As::<Vec<Posted>>")] Vec<protocol::Posted>),
    Changed(#[serde(with = "As::<Vec<ChangeReply>>")] Vec<protocol::ChangeReply>),
    Cancelled(#[serde(with = "As::<Box<Taken>>")] Box<protocol::Taken>),
    Deleted(#[serde(with = "As::<Vec<Arc<Delete>>>")] Vec<Arc<protocol::Delete>>),
    Disconnected(bool),
    Opened,
    Occupied,
    Done,
    UserDisconnected(Box<UserDisconnected>),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Connected")]
struct Connected {
    conn_id: Uuid,
    #[serde(with = "As::<Name>")]
    username: Arc<str>,
    #[serde(with = "As::<State>")]
    state: Arc<UserState>,
    #[serde(with = "As::<State>")]
    public_state: Arc<UserState>,
    channels: Vec<String>,
    #[serde(with = "ChannelsInfo")]
    channels_info: protocol::ChannelsInfo,
    #[serde(with = "As::<Option<Cursor>>")]
    cursor: Option<protocol::Cursor>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Subscribed")]
struct Subscribed {
    #[serde(with = "As::<Vec<Name>>")]
    channels: Vec<Arc<str>>,
    #[serde(with = "ChannelsInfo")]
    channels_info: protocol::ChannelsInfo,
    #[serde(with = "As::<Vec<Name>>")]
    subscribed_to: Vec<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Unsubscribed")]
struct Unsubscribed {
    #[serde(with = "As::<Vec<Name>>")]
    channels: Vec<Arc<str>>,
    #[serde(with = "ChannelsInfo")]
    channels_info: protocol::ChannelsInfo,
    #[serde(with = "As::<Vec<Name>>")]
    unsubscribed_from: Vec<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::UserStateSet")]
struct UserStateSet {
    #[serde(with = "As::<State>")]
    user_state: Arc<UserState>,
    #[serde(with = "As::<Vec<Changed>>")]
    changed_state: Vec<protocol::Changed>,
    #[serde(with = "As::<Vec<Name>>")]
    public_keys: Vec<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::ChannelsInfo")]
struct ChannelsInfo {
    #[serde(with = "As::<IndexMap<Name, ChannelView>>")]
    channels: IndexMap<Arc<str>, protocol::ChannelView>,
    #[serde(with = "As::<Vec<UserView>>")]
    users: Vec<protocol::UserView>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::ChannelView")]
struct ChannelView {
    uuid: Uuid,
    #[serde(with = "As::<Name>")]
    name: Arc<str>,
    long_name: Option<String>,
    #[serde(with = "ChannelSettings")]
    settings: protocol::ChannelSettings,
    #[serde(with = "As::<Vec<shared::Message>>")]
    history: Vec<Arc<protocol::Message>>,
    history_length: Option<usize>,
    #[serde(with = "DateTime")]
    last_active: protocol::DateTime,
    total_connections: usize,
    total_users: usize,
    #[serde(with = "As::<Vec<Name>>")]
    users: Vec<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Posted")]
struct Posted {
    #[serde(with = "As::<shared::Message>")]
    taken: Arc<protocol::Message>,
    #[serde(with = "Receipt")]
    receipt: protocol::Receipt,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Receipt")]
struct Receipt {
    recipients: Option<u64>,
    stored: Option<bool>,
    #[serde(with = "As::<Option<Cursor>>")]
    seq: Option<protocol::Cursor>,
    problem: Option<Cow<'static, str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::ChangeReply")]
enum ChangeReply {
    Edited(#[serde(with = "As::<Arc<Edit>>")] Arc<protocol::Edit>),
    Taken(#[serde(with = "As::<Box<Taken>>")] Box<protocol::Taken>),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Taken")]
struct Taken {
    uuid: Uuid,
    channel: Option<String>,
    taken: bool,
    reason: Option<Cow<'static, str>>,
    rev: Option<u64>,
    status: Option<Status>,
    size: Option<usize>,
    step: Option<u64>,
}

mirrors! {
    Message => protocol::Message,
    Append => protocol::Append,
    Gap => protocol::Gap,
    Presence => protocol::Presence,
    UserStateChange => protocol::UserStateChange,
    UserView => protocol::UserView,
    Changed => protocol::Changed,
    Connected => protocol::Connected,
    Subscribed => protocol::Subscribed,
    Unsubscribed => protocol::Unsubscribed,
    UserStateSet => protocol::UserStateSet,
    ChannelsInfo => protocol::ChannelsInfo,
    ChannelView => protocol::ChannelView,
    Posted => protocol::Posted,
    ChangeReply => protocol::ChangeReply,
    Taken => protocol::Taken,
}
