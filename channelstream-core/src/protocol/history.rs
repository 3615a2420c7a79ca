//! The body of `POST /history`, and its answer.

use std::ops::Deref;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::body::Body;
use super::cursor::{Cursor, NotACursor};
use super::event::GapReason;
use super::field_errors::{FieldError, Rejected, WRONG_TYPE};
use super::listing;
use super::message::Message;
use super::read::{ANY_NAME, Form, Object, any_text, read_object};
use super::schema::Schema;

/// The body of `POST /history`: a page of the messages in the history of a channel, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadHistory {
    /// The channel.
    pub channel: String,
    /// Only messages that were published after this place; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Cursor>,
    /// The most messages, 1 to 1000.
    pub limit: u64,
}

impl ReadHistory {
    /// Asks for the oldest messages of a channel.
    pub fn new(channel: impl Into<String>) -> Self {
        Self { channel: channel.into(), since: None, limit: listing::USUAL }
    }

    /// Asks for those after a place: `next` or `cursor` of a page, or a cursor of an event.
    #[must_use]
    pub fn since(mut self, cursor: Cursor) -> Self {
        self.since = Some(cursor);
        self
    }

    /// Reads a body.
    ///
    /// # Errors
    /// Returns all errors of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, Rejected> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self {
            channel: object.required("channel", ANY_NAME),
            since: object.nullable("since", AnyCursor),
            limit: listing::limit(object),
        }
    }
}

/// The form of a cursor.
#[derive(Clone, Copy)]
struct AnyCursor;

impl Form<'_> for AnyCursor {
    type Value = Cursor;

    fn read(&self, raw: &RawValue) -> Result<Cursor, FieldError> {
        any_text(raw)?.parse().map_err(|_| FieldError::text(NotACursor::TEXT))
    }

    fn schema(&self) -> Schema {
        Schema::Cursor
    }
}

/// The answer of `POST /history`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryPage {
    /// The messages as they are now, oldest first.
    pub messages: Vec<PastMessage>,
    /// The `since` of the next page; `None` if there are no more.
    pub next: Option<Cursor>,
    /// Why messages between `since` and the first one may be missing; `None` if none are.
    pub gap: Option<GapReason>,
    /// The place up to which everything was read: later, the `since` for what has come by then.
    pub cursor: Cursor,
}

/// A message of a history. It dereferences to the [`Message`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PastMessage {
    /// The message.
    #[serde(flatten)]
    pub message: Arc<Message>,
    /// Its place.
    pub seq: Cursor,
}

impl Deref for PastMessage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

/// Both parts are on one level; serde cannot read a raw payload and a flattened part together.
impl<'de> Deserialize<'de> for PastMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Place {
            seq: Cursor,
        }

        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let message = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        let Place { seq } = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        Ok(Self { message: Arc::new(message), seq })
    }
}

#[cfg(feature = "state")]
impl PastMessage {
    pub(crate) fn new(message: Arc<Message>, seq: Cursor) -> Self {
        Self { message, seq }
    }
}

#[cfg(feature = "state")]
impl HistoryPage {
    pub(crate) fn new(
        messages: Vec<PastMessage>,
        next: Option<Cursor>,
        gap: Option<GapReason>,
        cursor: Cursor,
    ) -> Self {
        Self { messages, next, gap, cursor }
    }
}
