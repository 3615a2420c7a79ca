//! Messages, edits and deletes, and the address that says who gets them (contract §5).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::append::{Between, Opening};
use super::field_errors::FieldError;
use super::growth::{Growth, Status};
use super::payload::{Payload, PayloadError, to_payload};
use super::read::{Boolean, Form, Id, NAME, Object, Time, USER, list};
use super::schema::Schema;
use super::timestamp::DateTime;

/// Where a message goes: to a channel, to some users of it, or to some users in any channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The channel. Without one the message is private to `pm_users`.
    #[serde(default)]
    pub channel: Option<String>,
    /// If not empty, only these users receive the message.
    #[serde(default)]
    pub pm_users: Vec<String>,
    /// These users do not receive the message. Has no effect on private messages.
    #[serde(default)]
    pub exclude_users: Vec<String>,
}

impl Address {
    /// Addresses everybody in `channel`.
    pub fn channel(channel: impl Into<String>) -> Self {
        Self { channel: Some(channel.into()), ..Self::default() }
    }

    /// Addresses these users, in any channel.
    pub fn users<T: Into<String>>(users: impl IntoIterator<Item = T>) -> Self {
        Self { pm_users: users.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Returns `true` if there is neither a channel nor users.
    pub fn is_nowhere(&self) -> bool {
        self.channel.is_none() && self.pm_users.is_empty()
    }

    /// Returns `true` if `user`, as a member of the channel or named, is addressed.
    #[cfg(any(feature = "state", test))]
    pub(crate) fn includes(&self, user: &str) -> bool {
        let named = |users: &[String]| users.iter().any(|name| name == user);
        (self.pm_users.is_empty() || named(&self.pm_users))
            && (self.channel.is_none() || !named(&self.exclude_users))
    }

    fn read(object: &mut Object<'_>) -> Self {
        Self {
            channel: object.nullable("channel", NAME),
            pm_users: object.optional("pm_users", list(USER)).unwrap_or_default(),
            exclude_users: object.optional("exclude_users", list(USER)).unwrap_or_default(),
        }
    }
}

/// A message to publish. The server fills in what is left out.
#[derive(Clone, Debug, Serialize)]
pub struct NewMessage {
    /// The sender.
    pub user: String,
    /// The payload.
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// Where it goes.
    #[serde(flatten)]
    pub address: Address,
    /// If `true`, the history of the channel leaves it out.
    pub no_history: bool,
    /// The id; a new random one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// The time; now if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<DateTime>,
    /// If present, the message is opened and grows by appends.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Box<Opening>>,
    /// The seconds after which it is no longer stored, 1 to [`Self::LONGEST_LIFE`]. Not for a message that is
    /// opened to grow (contract §14).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

impl NewMessage {
    /// The most seconds after which a message expires: ten years.
    pub const LONGEST_LIFE: u64 = 10 * 365 * 86_400;

    /// Creates a message from `user` without a payload.
    pub fn new(user: impl Into<String>, address: Address) -> Self {
        Self {
            user: user.into(),
            payload: None,
            address,
            no_history: false,
            uuid: None,
            timestamp: None,
            opening: None,
            expires: None,
        }
    }

    /// Creates a message from `user` to everybody in `channel`. The payload is any value that
    /// serializes as a JSON object.
    ///
    /// ```
    /// use channelstream_core::protocol::NewMessage;
    /// use serde::Serialize;
    ///
    /// #[derive(Serialize)]
    /// struct Hello {
    ///     text: &'static str,
    /// }
    ///
    /// let message = NewMessage::to_channel("ann", "news", Hello { text: "hello" })?;
    /// assert_eq!(message.payload.unwrap().get(), r#"{"text":"hello"}"#);
    /// # Ok::<(), channelstream_core::protocol::PayloadError>(())
    /// ```
    ///
    /// # Errors
    /// The payload cannot be serialized, or is not a JSON object.
    pub fn to_channel(
        user: impl Into<String>,
        channel: impl Into<String>,
        payload: impl Serialize,
    ) -> Result<Self, PayloadError> {
        Self::new(user, Address::channel(channel)).payload(payload)
    }

    /// Creates a message from `user` to these users, in any channel.
    ///
    /// # Errors
    /// As for [`to_channel`](Self::to_channel).
    pub fn to_users<T: Into<String>>(
        user: impl Into<String>,
        users: impl IntoIterator<Item = T>,
        payload: impl Serialize,
    ) -> Result<Self, PayloadError> {
        Self::new(user, Address::users(users)).payload(payload)
    }

    /// Sets the payload, which is any value that serializes as a JSON object.
    ///
    /// # Errors
    /// As for [`to_channel`](Self::to_channel).
    pub fn payload(mut self, payload: impl Serialize) -> Result<Self, PayloadError> {
        self.payload = Some(to_payload(&payload)?);
        Ok(self)
    }

    /// Sets the id, by which a repeat can be recognized.
    #[must_use]
    pub fn id(mut self, id: Uuid) -> Self {
        self.uuid = Some(id);
        self
    }

    /// Opens the message: it grows by appends until its publisher ends it.
    #[must_use]
    pub fn open(mut self, opening: Opening) -> Self {
        self.opening = Some(Box::new(opening));
        self
    }

    /// Lets the message expire after some seconds, 1 to [`Self::LONGEST_LIFE`]: then it is in no history and
    /// in no catch-up.
    #[must_use]
    pub fn expires(mut self, seconds: u64) -> Self {
        self.expires = Some(seconds.clamp(1, Self::LONGEST_LIFE));
        self
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        let message = Self {
            user: object.required("user", USER),
            payload: object.optional("message", AnyObject),
            address: Address::read(object),
            no_history: object.optional("no_history", Boolean).unwrap_or(false),
            uuid: object.optional("uuid", Id),
            timestamp: object.optional("timestamp", Time),
            opening: Opening::fields(object).map(Box::new),
            expires: object.optional("expires", Between(1, Self::LONGEST_LIFE)),
        };
        if message.opening.is_some() && message.expires.is_some() {
            object.refuse("expires", FieldError::text("Not with status \"open\"."));
        }
        message
    }
}

/// A message counts as a list of one.
impl From<NewMessage> for Vec<NewMessage> {
    fn from(one: NewMessage) -> Self {
        vec![one]
    }
}

/// A message as the server accepted it, with everything filled in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Shape")]
pub struct Message {
    /// The id.
    pub uuid: Uuid,
    /// The sender.
    pub user: String,
    /// The payload.
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// Where it goes.
    #[serde(flatten)]
    pub address: Address,
    /// If `true`, the history of the channel leaves it out.
    pub no_history: bool,
    /// The time.
    pub timestamp: DateTime,
    /// The time of the last edit.
    pub edited: Option<DateTime>,
    /// The time after which it is no longer stored, if it was published with `expires`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime>,
    /// How far it has grown, if it was opened to grow.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
}

/// A change of a message that was sent before (contract §8).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Shape")]
pub struct Edit {
    /// The id of the message.
    pub uuid: Uuid,
    /// Where the message is found, and who receives the edit.
    #[serde(flatten)]
    pub address: Address,
    /// Echoed in the answer; has no effect.
    pub no_history: bool,
    /// The new sender, if it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The new payload, if it changes. It replaces the whole old one.
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// The new time, if it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<DateTime>,
    /// The time of the edit; now if absent. It is always present in answers and events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited: Option<DateTime>,
    /// How far the message has grown, if it was opened to grow. The server fills it in.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
}

impl Edit {
    /// Creates an edit of the message `uuid` that changes nothing yet.
    ///
    /// ```
    /// use channelstream_core::protocol::{Address, Edit, Uuid};
    /// use serde_json::json;
    ///
    /// let id = Uuid::from_u128(1);
    /// let edit = Edit::new(id, Address::channel("news")).payload(json!({"text": "well"}))?;
    /// assert_eq!(edit.payload.unwrap().get(), r#"{"text":"well"}"#);
    /// # Ok::<(), channelstream_core::protocol::PayloadError>(())
    /// ```
    pub fn new(uuid: Uuid, address: Address) -> Self {
        Self {
            uuid,
            address,
            no_history: false,
            user: None,
            payload: None,
            timestamp: None,
            edited: None,
            growth: None,
        }
    }

    /// Sets the new payload, any value that serializes as a JSON object. It replaces the whole old one.
    ///
    /// # Errors
    /// The payload cannot be serialized, or is not a JSON object.
    pub fn payload(mut self, payload: impl Serialize) -> Result<Self, PayloadError> {
        self.payload = Some(to_payload(&payload)?);
        Ok(self)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self {
            uuid: object.required("uuid", Id),
            address: Address::read(object),
            no_history: object.optional("no_history", Boolean).unwrap_or(false),
            user: object.optional("user", USER),
            payload: object.optional("message", AnyObject),
            timestamp: object.optional("timestamp", Time),
            edited: object.optional("edited", Time),
            growth: None,
        }
    }
}

/// An edit counts as a list of one.
impl From<Edit> for Vec<Edit> {
    fn from(one: Edit) -> Self {
        vec![one]
    }
}

/// The removal of a message that was sent before (contract §8).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Shape")]
pub struct Delete {
    /// The id of the message.
    pub uuid: Uuid,
    /// Where the message is found, and who receives the removal.
    #[serde(flatten)]
    pub address: Address,
    /// Echoed in the answer; has no effect.
    pub no_history: bool,
}

impl Delete {
    /// Creates a removal of the message `uuid`.
    pub fn new(uuid: Uuid, address: Address) -> Self {
        Self { uuid, address, no_history: false }
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self {
            uuid: object.required("uuid", Id),
            address: Address::read(object),
            no_history: object.optional("no_history", Boolean).unwrap_or(false),
        }
    }
}

/// A removal counts as a list of one.
impl From<Delete> for Vec<Delete> {
    fn from(one: Delete) -> Self {
        vec![one]
    }
}

/// The JSON of messages, edits and deletes, all fields on one level: serde cannot read a flattened
/// part and a raw value together.
#[derive(Deserialize)]
struct Shape {
    uuid: Option<Uuid>,
    user: Option<String>,
    message: Option<Payload>,
    channel: Option<String>,
    #[serde(default)]
    pm_users: Vec<String>,
    #[serde(default)]
    exclude_users: Vec<String>,
    #[serde(default)]
    no_history: bool,
    timestamp: Option<DateTime>,
    edited: Option<DateTime>,
    expires_at: Option<DateTime>,
    status: Option<Status>,
    rev: Option<u64>,
}

impl Shape {
    fn growth(&self) -> Option<Growth> {
        Some(Growth { status: self.status?, rev: self.rev? })
    }
}

const NO_UUID: &str = "missing field `uuid`";
const NO_USER: &str = "missing field `user`";
const NO_TIMESTAMP: &str = "missing field `timestamp`";

impl TryFrom<Shape> for Message {
    type Error = &'static str;

    fn try_from(shape: Shape) -> Result<Self, Self::Error> {
        let expires_at = shape.expires_at;
        let Edit { uuid, address, no_history, user, payload, timestamp, edited, growth } =
            shape.try_into()?;
        let user = user.ok_or(NO_USER)?;
        let timestamp = timestamp.ok_or(NO_TIMESTAMP)?;
        Ok(Self { uuid, user, payload, address, no_history, timestamp, edited, expires_at, growth })
    }
}

impl TryFrom<Shape> for Edit {
    type Error = &'static str;

    fn try_from(shape: Shape) -> Result<Self, Self::Error> {
        let growth = shape.growth();
        let Shape { uuid, user, message, no_history, timestamp, edited, .. } = shape;
        let Shape { channel, pm_users, exclude_users, .. } = shape;
        let address = Address { channel, pm_users, exclude_users };
        let uuid = uuid.ok_or(NO_UUID)?;
        Ok(Self { uuid, address, no_history, user, payload: message, timestamp, edited, growth })
    }
}

impl TryFrom<Shape> for Delete {
    type Error = &'static str;

    fn try_from(shape: Shape) -> Result<Self, Self::Error> {
        let Edit { uuid, address, no_history, .. } = shape.try_into()?;
        Ok(Self { uuid, address, no_history })
    }
}

/// The form of a payload: any object.
#[derive(Clone, Copy)]
struct AnyObject;

impl Form<'_> for AnyObject {
    type Value = Payload;

    fn read(&self, raw: &RawValue) -> Result<Payload, FieldError> {
        if raw.get().starts_with('{') {
            Ok(Arc::from(raw.to_owned()))
        } else {
            Err(FieldError::text("Not a valid mapping type."))
        }
    }

    fn schema(&self) -> Schema {
        Schema::AnyObject
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Bounds, parse, read_messages};

    fn errors(json: &str) -> String {
        let body = parse(json.as_bytes(), Bounds::default()).unwrap();
        serde_json::to_string(&read_messages(&body).unwrap_err().errors).unwrap()
    }

    #[test]
    fn invalid_items_are_reported_by_index() {
        let missing = r#"{"user":["Missing data for required field."]}"#;
        assert_eq!(
            errors(r#"["a", null, {}]"#),
            format!(r#"{{"0":{{}},"_schema":["Invalid input type."],"2":{missing}}}"#)
        );
        assert_eq!(errors("[null]"), r#"{"0":{},"_schema":["Invalid input type."]}"#);
        assert_eq!(errors("{}"), r#"{"_schema":["Invalid input type."]}"#);
        assert_eq!(
            errors(r#"[{"user": "a"}, {"user": "", "message": [], "uuid": 1, "channel": 7}]"#),
            r#"{"1":{"user":["Length must be between 1 and 512."],"message":["Not a valid mapping type."],"channel":["Not a valid string."],"uuid":["Not a valid UUID."]}}"#
        );
    }

    #[test]
    fn payloads_stay_as_they_were_sent() {
        let sent = r#"{"n": 1.10, "big": 123456789012345678901234567890, "n": 2}"#;
        let body = format!(r#"[{{"user": "a", "message": {sent}}}]"#);
        let body = parse(body.as_bytes(), Bounds::default()).unwrap();
        let messages = read_messages(&body).unwrap();
        assert_eq!(messages[0].payload.as_ref().unwrap().get(), sent);
    }

    #[test]
    fn one_message_is_a_list_of_one() {
        let message = NewMessage::to_users("a", ["b", "c"], serde_json::json!({"n": 1}));
        let list = Vec::from(message.unwrap());
        let [only] = &list[..] else { panic!("not one") };
        assert_eq!(
            serde_json::to_string(&only.clone().id(Uuid::from_u128(1))).unwrap(),
            r#"{"user":"a","message":{"n":1},"channel":null,"pm_users":["b","c"],"exclude_users":[],"no_history":false,"uuid":"00000000-0000-0000-0000-000000000001"}"#
        );
    }

    #[test]
    fn who_is_meant() {
        let mut address = Address::channel("c");
        assert!(address.includes("a"));
        address.exclude_users = vec!["a".to_owned()];
        assert!(!address.includes("a") && address.includes("b"));
        address.pm_users = vec!["a".to_owned()];
        assert!(!address.includes("a"), "exclusion wins");
        address.channel = None;
        assert!(address.includes("a"), "exclusion is without effect on private messages");
    }
}
