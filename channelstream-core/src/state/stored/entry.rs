//! Mirrors of requests, which are the contents of entries.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_with::{As, Same};
use uuid::Uuid;

use super::mirrors;
use super::second::Second;
use super::shared::Payload;
use super::values::{DateTime, JsonByKey};
use crate::protocol::{self, Address, Growth, Pieces, Status, UserState};

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Connect")]
pub(in crate::state) struct Connect {
    username: String,
    conn_id: Option<Uuid>,
    channels: Vec<String>,
    #[serde(with = "As::<JsonByKey>")]
    fresh_user_state: UserState,
    #[serde(with = "As::<JsonByKey>")]
    user_state: UserState,
    state_public_keys: Vec<String>,
    #[serde(with = "As::<IndexMap<Same, ChannelConfig>>")]
    channel_configs: IndexMap<String, protocol::ChannelConfig>,
    #[serde(with = "InfoOptions")]
    info: protocol::InfoOptions,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Subscribe")]
pub(in crate::state) struct Subscribe {
    conn_id: Uuid,
    channels: Vec<String>,
    #[serde(with = "As::<IndexMap<Same, ChannelConfig>>")]
    channel_configs: IndexMap<String, protocol::ChannelConfig>,
    #[serde(with = "InfoOptions")]
    info: protocol::InfoOptions,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Unsubscribe")]
pub(in crate::state) struct Unsubscribe {
    conn_id: Uuid,
    channels: Vec<String>,
    #[serde(with = "InfoOptions")]
    info: protocol::InfoOptions,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::InfoOptions")]
struct InfoOptions {
    include_history: bool,
    include_history_length: bool,
    include_users: bool,
    exclude_channels: Vec<String>,
    return_public_state: bool,
    channels: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::SetUserState")]
pub(in crate::state) struct SetUserState {
    user: String,
    #[serde(with = "As::<JsonByKey>")]
    user_state: UserState,
    state_public_keys: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Configure")]
pub(in crate::state) struct Configure {
    #[serde(with = "As::<IndexMap<Same, Option<ChannelConfig>>>")]
    channels: IndexMap<String, Option<protocol::ChannelConfig>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::ChannelConfig")]
pub(in crate::state) struct ChannelConfig {
    notify_presence: Option<bool>,
    broadcast_presence_with_user_lists: Option<bool>,
    notify_state: Option<bool>,
    store_history: Option<bool>,
    history_size: Option<u64>,
    store_frames: Option<bool>,
    frames_size: Option<u64>,
    append_as_edit: Option<bool>,
    #[serde(with = "As::<Second<Same>>")]
    history_ttl: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::DeleteChannels")]
pub(in crate::state) struct DeleteChannels {
    channels: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::DisconnectUser")]
pub(in crate::state) struct DisconnectUser {
    user: String,
    reason: Option<String>,
    refuse_for: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::NewMessage")]
pub(in crate::state) struct NewMessage {
    user: String,
    #[serde(with = "As::<Option<Payload>>")]
    payload: Option<protocol::Payload>,
    address: Address,
    no_history: bool,
    uuid: Option<Uuid>,
    #[serde(with = "As::<Option<DateTime>>")]
    timestamp: Option<protocol::DateTime>,
    #[serde(with = "As::<Option<Box<Opening>>>")]
    opening: Option<Box<protocol::Opening>>,
    #[serde(with = "As::<Second<Same>>")]
    expires: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Opening")]
struct Opening {
    status: Status,
    append_timeout: Option<u64>,
    cancel_by: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Change")]
pub(in crate::state) enum Change {
    Edit(#[serde(with = "Edit")] protocol::Edit),
    Append(#[serde(with = "AppendRequest")] protocol::AppendRequest),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Edit")]
pub(in crate::state) struct Edit {
    uuid: Uuid,
    address: Address,
    no_history: bool,
    user: Option<String>,
    #[serde(with = "As::<Option<Payload>>")]
    payload: Option<protocol::Payload>,
    #[serde(with = "As::<Option<DateTime>>")]
    timestamp: Option<protocol::DateTime>,
    #[serde(with = "As::<Option<DateTime>>")]
    edited: Option<protocol::DateTime>,
    growth: Option<Growth>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::AppendRequest")]
struct AppendRequest {
    uuid: Uuid,
    channel: Option<String>,
    #[serde(with = "As::<JsonByKey>")]
    append: Pieces,
    status: Option<Status>,
    step: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Delete")]
pub(in crate::state) struct Delete {
    uuid: Uuid,
    address: Address,
    no_history: bool,
}

mirrors! {
    Connect => protocol::Connect,
    Subscribe => protocol::Subscribe,
    Unsubscribe => protocol::Unsubscribe,
    SetUserState => protocol::SetUserState,
    Configure => protocol::Configure,
    ChannelConfig => protocol::ChannelConfig,
    DisconnectUser => protocol::DisconnectUser,
    NewMessage => protocol::NewMessage,
    Opening => protocol::Opening,
    Change => protocol::Change,
    Edit => protocol::Edit,
    Delete => protocol::Delete,
}
