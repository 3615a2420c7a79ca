//! Messages, edits and deletes, and the address that says who gets them (contract §5).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::body::{Body, Value};
use super::field_errors::{FieldError, FieldErrors, WRONG_TYPE};
use super::payload::{Payload, PayloadError, to_payload};
use super::read::{Boolean, Form, Id, NAME, Object, Time, USER, list};
use super::schema::Schema;
use super::timestamp::DateTime;

/// Where a message goes: a channel, or some users of it, or some users wherever they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The channel; without one the message is private to `pm_users`.
    #[serde(default)]
    pub channel: Option<String>,
    /// If not empty, only these users.
    #[serde(default)]
    pub pm_users: Vec<String>,
    /// Never these users; without effect on private messages.
    #[serde(default)]
    pub exclude_users: Vec<String>,
}

impl Address {
    /// Everybody in `channel`.
    pub fn channel(channel: impl Into<String>) -> Self {
        Self { channel: Some(channel.into()), ..Self::default() }
    }

    /// These users, in whatever channels they are.
    pub fn users<T: Into<String>>(users: impl IntoIterator<Item = T>) -> Self {
        Self { pm_users: users.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Whether it leads nowhere: neither a channel nor users.
    pub fn is_nowhere(&self) -> bool {
        self.channel.is_none() && self.pm_users.is_empty()
    }

    /// Whether `user`, being where the message goes, is meant.
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

/// A message on its way in: what is left out is filled in by the server.
#[derive(Clone, Debug, Serialize)]
pub struct NewMessage {
    /// Who says it.
    pub user: String,
    /// What is said.
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// To whom.
    #[serde(flatten)]
    pub address: Address,
    /// Whether the channel's history leaves it out.
    pub no_history: bool,
    /// Its id; a new random one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// When it was said; now if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<DateTime>,
}

impl NewMessage {
    /// A message from `user` with nothing in it yet.
    pub fn new(user: impl Into<String>, address: Address) -> Self {
        Self {
            user: user.into(),
            payload: None,
            address,
            no_history: false,
            uuid: None,
            timestamp: None,
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

    /// Creates a message from `user` to these users, in whatever channels they are.
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
    #[expect(clippy::needless_pass_by_value, reason = "as `reqwest::RequestBuilder::json` has it")]
    pub fn payload(mut self, payload: impl Serialize) -> Result<Self, PayloadError> {
        self.payload = Some(to_payload(&payload)?);
        Ok(self)
    }

    /// Sets the id, by which receivers can recognize a repeat.
    #[must_use]
    pub fn id(mut self, id: Uuid) -> Self {
        self.uuid = Some(id);
        self
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self {
            user: object.required("user", USER),
            payload: object.optional("message", AnyObject),
            address: Address::read(object),
            no_history: object.optional("no_history", Boolean).unwrap_or(false),
            uuid: object.optional("uuid", Id),
            timestamp: object.optional("timestamp", Time),
        }
    }
}

/// A message is also a list of one.
impl From<NewMessage> for Vec<NewMessage> {
    fn from(message: NewMessage) -> Self {
        vec![message]
    }
}

/// A message as it was taken, with everything filled in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Message {
    /// Its id.
    pub uuid: Uuid,
    /// Who says it.
    pub user: String,
    /// What is said.
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// To whom.
    #[serde(flatten)]
    pub address: Address,
    /// Whether the channel's history leaves it out.
    pub no_history: bool,
    /// When it was said.
    pub timestamp: DateTime,
    /// When it was last edited.
    pub edited: Option<DateTime>,
}

/// A change of a message that was sent before (contract §8).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Fields")]
pub struct Edit {
    /// Which message.
    pub uuid: Uuid,
    /// Where it is found, and who hears of the change.
    #[serde(flatten)]
    pub address: Address,
    /// Echoed; without effect.
    pub no_history: bool,
    /// The new sender, if that changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The new payload, if that changes: it replaces the old one as a whole.
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// The new time, if that changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<DateTime>,
    /// When it was edited; now if absent, and always there in answers and events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited: Option<DateTime>,
}

impl Edit {
    /// An edit of the message `uuid` that changes nothing yet.
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
        }
    }

    /// Sets the new payload, which replaces the old one as a whole: any value that serializes as a
    /// JSON object.
    ///
    /// # Errors
    /// The payload cannot be serialized, or is not a JSON object.
    #[expect(clippy::needless_pass_by_value, reason = "as `reqwest::RequestBuilder::json` has it")]
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
        }
    }
}

/// An edit is also a list of one.
impl From<Edit> for Vec<Edit> {
    fn from(edit: Edit) -> Self {
        vec![edit]
    }
}

/// The removal of a message that was sent before (contract §8).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Delete {
    /// Which message.
    pub uuid: Uuid,
    /// Where it is found, and who hears of the removal.
    #[serde(flatten)]
    pub address: Address,
    /// Echoed; without effect.
    #[serde(default)]
    pub no_history: bool,
}

impl Delete {
    /// A removal of the message `uuid`.
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

/// A delete is also a list of one.
impl From<Delete> for Vec<Delete> {
    fn from(delete: Delete) -> Self {
        vec![delete]
    }
}

/// The fields of a message or an edit in one level: a flattened part and a raw value cannot be
/// read together.
#[derive(Deserialize)]
struct Fields {
    uuid: Uuid,
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
}

impl From<Fields> for Edit {
    fn from(fields: Fields) -> Self {
        let Fields { uuid, user, message, no_history, timestamp, edited, .. } = fields;
        let Fields { channel, pm_users, exclude_users, .. } = fields;
        let address = Address { channel, pm_users, exclude_users };
        Self { uuid, address, no_history, user, payload: message, timestamp, edited }
    }
}

impl TryFrom<Fields> for Message {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let Edit { uuid, address, no_history, user, payload, timestamp, edited } = fields.into();
        let user = user.ok_or("a message without `user`")?;
        let timestamp = timestamp.ok_or("a message without `timestamp`")?;
        Ok(Self { uuid, user, payload, address, no_history, timestamp, edited })
    }
}

/// What a message carries, whatever is in it.
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

/// A list of messages, edits or deletes, of whose fields each is made. What is wrong with an item
/// stands under its index; an item that is no object is also named once at the top. A null item is
/// told of only if nothing else is wrong, as the contract has it.
pub(super) fn read_items<T>(
    Body(body): &Body<'_>,
    fields: impl Fn(&mut Object<'_>) -> T,
) -> Result<Vec<T>, FieldErrors> {
    let Value::List(items) = body else {
        return Err(FieldErrors::from_texts("_schema", [WRONG_TYPE]));
    };
    let mut faults = FieldErrors::new();
    let mut nulls = FieldErrors::new();
    let mut values = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let read = match item {
            Value::Object(of) => {
                Object::of(of).read_by(&fields).map_err(|inner| (&mut faults, inner))
            }
            Value::Null => Err((&mut nulls, FieldErrors::new())),
            Value::List(_) | Value::Scalar => Err((&mut faults, FieldErrors::new())),
        };
        match read {
            Ok(value) => values.push(value),
            Err((faults, inner)) => {
                let is_item = !inner.is_empty();
                faults.add(&index.to_string(), FieldError::Inner(inner));
                if !is_item {
                    faults.add("_schema", FieldError::text(WRONG_TYPE));
                }
            }
        }
    }
    match (faults.is_empty(), nulls.is_empty()) {
        (true, true) => Ok(values),
        (true, false) => Err(nulls),
        (false, _) => Err(faults),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Bounds, parse};

    fn faults(json: &str) -> String {
        let body = parse(json.as_bytes(), Bounds::default()).unwrap();
        serde_json::to_string(&read_items(&body, NewMessage::fields).unwrap_err()).unwrap()
    }

    #[test]
    fn faulty_items_stand_under_their_index() {
        let missing = r#"{"user":["Missing data for required field."]}"#;
        assert_eq!(
            faults(r#"["a", null, {}]"#),
            format!(r#"{{"0":{{}},"_schema":["Invalid input type."],"2":{missing}}}"#)
        );
        assert_eq!(faults("[null]"), r#"{"0":{},"_schema":["Invalid input type."]}"#);
        assert_eq!(faults("{}"), r#"{"_schema":["Invalid input type."]}"#);
        assert_eq!(
            faults(r#"[{"user": "a"}, {"user": "", "message": [], "uuid": 1, "channel": 7}]"#),
            r#"{"1":{"user":["Length must be between 1 and 512."],"message":["Not a valid mapping type."],"channel":["Not a valid string."],"uuid":["Not a valid UUID."]}}"#
        );
    }

    #[test]
    fn payloads_stay_as_they_were_sent() {
        let sent = r#"{"n": 1.10, "big": 123456789012345678901234567890, "n": 2}"#;
        let body = format!(r#"[{{"user": "a", "message": {sent}}}]"#);
        let body = parse(body.as_bytes(), Bounds::default()).unwrap();
        let messages = read_items(&body, NewMessage::fields).unwrap();
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
