//! The bodies of `POST /list_channels` and `POST /list_users`, and their answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::append::Between;
use super::body::Body;
use super::field_errors::{Rejected, WRONG_TYPE};
use super::read::{ANY_NAME, Boolean, Object, Text, read_object};
use super::timestamp::DateTime;

/// The beginning of a name.
const PREFIX: Text = Text { min: 0, max: 512 };

/// The most entries of a page.
const MOST: u64 = 1000;

/// The entries of a page, unless the request says otherwise.
pub(super) const USUAL: u64 = 100;

/// The body of `POST /list_channels`: a page of the channels, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListChannels {
    /// Only names behind this one: `next` of the page before. `None`: from the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only names that begin with this.
    pub prefix: String,
    /// The most entries, 1 to 1000.
    pub limit: u64,
}

/// The body of `POST /list_users`: a page of the users, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListUsers {
    /// Only names behind this one: `next` of the page before. `None`: from the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only names that begin with this.
    pub prefix: String,
    /// The most entries, 1 to 1000.
    pub limit: u64,
    /// `true` for users with a connection only.
    pub connected: bool,
}

impl Default for ListChannels {
    fn default() -> Self {
        Self { after: None, prefix: String::new(), limit: USUAL }
    }
}

impl Default for ListUsers {
    fn default() -> Self {
        Self { after: None, prefix: String::new(), limit: USUAL, connected: false }
    }
}

impl ListChannels {
    /// Reads a body.
    ///
    /// # Errors
    /// Returns all errors of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, Rejected> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        let (after, prefix, limit) = page(object);
        Self { after, prefix, limit }
    }
}

impl ListUsers {
    /// Reads a body.
    ///
    /// # Errors
    /// Returns all errors of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, Rejected> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        let (after, prefix, limit) = page(object);
        let connected = object.optional("connected", Boolean).unwrap_or(false);
        Self { after, prefix, limit, connected }
    }
}

fn page(object: &mut Object<'_>) -> (Option<String>, String, u64) {
    (
        object.optional("after", ANY_NAME),
        object.optional("prefix", PREFIX).unwrap_or_default(),
        limit(object),
    )
}

/// The most entries that a page may have.
pub(super) fn limit(object: &mut Object<'_>) -> u64 {
    object.optional("limit", Between(1, MOST)).unwrap_or(USUAL)
}

/// The answer of `POST /list_channels`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelList {
    /// The channels, sorted by the code points of their names.
    pub channels: Vec<ChannelEntry>,
    /// The `after` of the next page; `None` if there are no more.
    pub next: Option<Arc<str>>,
}

/// A channel in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelEntry {
    /// The name.
    pub name: Arc<str>,
    /// How many users are in it.
    pub users: u64,
    /// How many connections are in it.
    pub connections: u64,
    /// The time of the last message, event or creation.
    pub last_active: DateTime,
}

/// The answer of `POST /list_users`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserList {
    /// The users, sorted by the code points of their names.
    pub users: Vec<UserEntry>,
    /// The `after` of the next page; `None` if there are no more.
    pub next: Option<Arc<str>>,
}

/// A user in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserEntry {
    /// The name.
    pub user: Arc<str>,
    /// How many connections it has.
    pub connections: u64,
}

#[cfg(feature = "state")]
impl ChannelEntry {
    pub(crate) fn new(name: Arc<str>, users: u64, connections: u64, last_active: DateTime) -> Self {
        Self { name, users, connections, last_active }
    }
}

#[cfg(feature = "state")]
impl UserEntry {
    pub(crate) fn new(user: Arc<str>, connections: u64) -> Self {
        Self { user, connections }
    }
}
