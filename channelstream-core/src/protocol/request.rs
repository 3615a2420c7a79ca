//! Bodies of requests: read from JSON by the server, written as JSON by the client (contract §5).

use std::cell::RefCell;

use indexmap::IndexMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::body::{Body, Value};
use super::field_errors::{FieldError, FieldErrors, WRONG_TYPE};
use super::message::{Delete, Edit, NewMessage, read_items};
use super::read::{
    Boolean, Form, Id, Inner, Like, Mapping, NAME, Object, State, USER, any_text, is_null, list,
    mapping, parse_uuid, some,
};
use super::scalar::UserState;
use super::schema::Schema;
use super::settings::ChannelConfig;

/// `POST /connect`: a new connection for a user.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Connect {
    /// Whose connection; 1 to 512 characters.
    pub username: String,
    /// Its id; a new random one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn_id: Option<Uuid>,
    /// The channels to join; names have 1 to 256 characters.
    pub channels: Vec<String>,
    /// State for a user who is new.
    pub fresh_user_state: UserState,
    /// State to set in any case.
    pub user_state: UserState,
    /// Which keys of the state others may see: replaces what was set before.
    pub state_public_keys: Vec<String>,
    /// Settings for channels that are new; of those that are there already they change nothing. What
    /// is left out gets the channel's default.
    pub channel_configs: IndexMap<String, ChannelConfig>,
    /// What the answer tells of the channels.
    pub info: InfoOptions,
}

impl Connect {
    /// A connection for `username` in no channel.
    pub fn new(username: impl Into<String>) -> Self {
        Self { username: username.into(), ..Self::default() }
    }

    /// Joins these channels.
    #[must_use]
    pub fn channels<T: Into<String>>(mut self, channels: impl IntoIterator<Item = T>) -> Self {
        self.channels = channels.into_iter().map(Into::into).collect();
        self
    }

    /// Reads a body.
    ///
    /// # Errors
    /// All faults of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, FieldErrors> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self {
            username: object.required("username", USER),
            conn_id: object.optional("conn_id", Id),
            channels: object.optional("channels", list(NAME)).unwrap_or_default(),
            fresh_user_state: object
                .optional("fresh_user_state", Mapping(State))
                .unwrap_or_default(),
            user_state: object.optional("user_state", Mapping(State)).unwrap_or_default(),
            state_public_keys: object.optional("state_public_keys", list(NAME)).unwrap_or_default(),
            channel_configs: object.optional("channel_configs", CONFIGS).unwrap_or_default(),
            info: object.optional("info", InfoOptions::FORM).unwrap_or_default(),
        }
    }
}

/// `POST /subscribe`: a connection joins channels.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Subscribe {
    /// Which connection.
    pub conn_id: Uuid,
    /// The channels, at least one.
    pub channels: Vec<String>,
    /// Settings for channels that are new; of those that are there already they change nothing. What
    /// is left out gets the channel's default.
    pub channel_configs: IndexMap<String, ChannelConfig>,
    /// What the answer tells of the channels.
    pub info: InfoOptions,
}

impl Subscribe {
    /// The connection `conn_id` joins `channels`.
    pub fn new<T: Into<String>>(conn_id: Uuid, channels: impl IntoIterator<Item = T>) -> Self {
        let channels = channels.into_iter().map(Into::into).collect();
        Self { conn_id, channels, ..Self::default() }
    }

    /// Reads a body; without a `conn_id` in it, `in_query` is taken. `known` tells whether there
    /// is a connection of that id.
    ///
    /// # Errors
    /// All faults of the body.
    pub fn read(
        body: &Body<'_>,
        in_query: Option<&str>,
        known: impl FnOnce(Uuid) -> bool,
    ) -> Result<Self, FieldErrors> {
        read_object(body, WRONG_TYPE, |object| Self::fields(object, in_query, known))
    }

    pub(super) fn fields(
        object: &mut Object<'_>,
        in_query: Option<&str>,
        known: impl FnOnce(Uuid) -> bool,
    ) -> Self {
        Self {
            conn_id: known_connection(object, in_query, known),
            channels: object.required("channels", some(NAME)),
            channel_configs: object.optional("channel_configs", CONFIGS).unwrap_or_default(),
            info: object.optional("info", InfoOptions::FORM).unwrap_or_default(),
        }
    }
}

/// `POST /unsubscribe`: a connection leaves channels.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Unsubscribe {
    /// Which connection.
    pub conn_id: Uuid,
    /// The channels, at least one.
    pub channels: Vec<String>,
    /// What the answer tells of the channels.
    pub info: InfoOptions,
}

impl Unsubscribe {
    /// The connection `conn_id` leaves `channels`.
    pub fn new<T: Into<String>>(conn_id: Uuid, channels: impl IntoIterator<Item = T>) -> Self {
        let channels = channels.into_iter().map(Into::into).collect();
        Self { conn_id, channels, info: InfoOptions::default() }
    }

    /// Reads a body, which has the fields of `/subscribe`.
    ///
    /// # Errors
    /// All faults of the body.
    pub fn read(
        body: &Body<'_>,
        in_query: Option<&str>,
        known: impl FnOnce(Uuid) -> bool,
    ) -> Result<Self, FieldErrors> {
        read_object(body, WRONG_TYPE, |object| Self::fields(object, in_query, known))
    }

    pub(super) fn fields(
        object: &mut Object<'_>,
        in_query: Option<&str>,
        known: impl FnOnce(Uuid) -> bool,
    ) -> Self {
        let Subscribe { conn_id, channels, info, .. } = Subscribe::fields(object, in_query, known);
        Self { conn_id, channels, info }
    }
}

/// `POST /user_state`: changes the state of a user.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SetUserState {
    /// Whose state.
    pub user: String,
    /// The keys to set; others are kept.
    pub user_state: UserState,
    /// The keys that others may see; absent: unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_public_keys: Option<Vec<String>>,
}

impl SetUserState {
    /// A change for `user`.
    pub fn new(user: impl Into<String>, user_state: UserState) -> Self {
        Self { user: user.into(), user_state, state_public_keys: None }
    }

    /// Reads a body; `known` tells whether there is a user of that name.
    ///
    /// # Errors
    /// All faults of the body.
    pub fn read(body: &Body<'_>, known: impl FnMut(&str) -> bool) -> Result<Self, FieldErrors> {
        read_object(body, WRONG_TYPE, |object| Self::fields(object, known))
    }

    pub(super) fn fields(object: &mut Object<'_>, known: impl FnMut(&str) -> bool) -> Self {
        let known = RefCell::new(known);
        let user =
            Like { form: USER, read: |raw: &RawValue| known_user(raw, &mut *known.borrow_mut()) };
        Self {
            user: object.required("user", user),
            user_state: object.optional("user_state", Mapping(State)).unwrap_or_default(),
            state_public_keys: object.nullable("state_public_keys", list(NAME)),
        }
    }
}

/// `POST /channel_config`: creates channels and sets their settings.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Configure {
    /// The settings of each channel; what is left out of them goes back to its default. `None`
    /// creates a channel that is new and leaves one that is there as it is.
    pub channels: IndexMap<String, Option<ChannelConfig>>,
}

impl Configure {
    /// These settings for these channels.
    ///
    /// ```
    /// use channelstream_core::protocol::{ChannelSettings, Configure};
    ///
    /// let settings = ChannelSettings { store_history: true, ..ChannelSettings::default() };
    /// let request = Configure::new([("news", settings)]);
    /// assert_eq!(request.channels["news"], Some(settings.into()));
    /// ```
    pub fn new<T: Into<String>, S: Into<ChannelConfig>>(
        channels: impl IntoIterator<Item = (T, S)>,
    ) -> Self {
        let channels = channels.into_iter();
        Self { channels: channels.map(|(name, set)| (name.into(), Some(set.into()))).collect() }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// All faults of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, FieldErrors> {
        let Body(Value::Object(fields)) = body else {
            return Err(FieldErrors::from_texts("_schema", [WRONG_TYPE]));
        };
        let read = |raw| match is_null(raw) {
            true => Ok(None),
            false => ChannelConfig::read(raw).map(Some),
        };
        Ok(Self { channels: mapping(fields, read)? })
    }

    /// Of these faults those of the first channel, without its name: so the reference tells them, to
    /// whom did not ask for more (contract §14).
    #[must_use]
    pub fn errors_of_first(faults: FieldErrors) -> FieldErrors {
        let of_first = match faults.iter().next() {
            Some((_, FieldError::Inner(of_channel))) => of_channel.iter().next(),
            _ => None,
        };
        match of_first {
            Some((_, FieldError::Inner(of_fields))) => of_fields.clone(),
            Some((_, FieldError::Texts(_))) => FieldErrors::from_texts("_schema", [WRONG_TYPE]),
            None => faults,
        }
    }
}

/// `DELETE /channels`: ends channels with all that is in them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DeleteChannels {
    /// Their names, at least one.
    pub channels: Vec<String>,
}

impl DeleteChannels {
    /// The channels of these names.
    pub fn new<T: Into<String>>(channels: impl IntoIterator<Item = T>) -> Self {
        Self { channels: channels.into_iter().map(Into::into).collect() }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// All faults of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, FieldErrors> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self { channels: object.required("channels", some(NAME)) }
    }
}

/// `/info` with a body: what is asked of which channels.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Info {
    /// The question.
    pub info: InfoOptions,
}

impl Info {
    /// Reads a body.
    ///
    /// # Errors
    /// All faults of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, FieldErrors> {
        read_object(body, "Invalid type.", Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self { info: object.required("info", InfoOptions::FORM) }
    }
}

/// What channel information tells (contract §4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InfoOptions {
    /// Whether histories are in it.
    pub include_history: bool,
    /// Whether the number of messages in histories is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub include_history_length: bool,
    /// Whether users are in it.
    pub include_users: bool,
    /// Channels to leave out.
    pub exclude_channels: Vec<String>,
    /// Whether only the public state of users is in it.
    pub return_public_state: bool,
    /// Which channels, for `/info`; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
}

impl Default for InfoOptions {
    fn default() -> Self {
        Self {
            include_history: true,
            include_history_length: false,
            include_users: true,
            exclude_channels: Vec::new(),
            return_public_state: false,
            channels: None,
        }
    }
}

impl InfoOptions {
    /// Asks about these channels alone.
    ///
    /// ```
    /// use channelstream_core::protocol::InfoOptions;
    ///
    /// let options = InfoOptions::default().channels(["news"]);
    /// assert_eq!(options.channels.unwrap(), ["news"]);
    /// ```
    #[must_use]
    pub fn channels<T: Into<String>>(mut self, channels: impl IntoIterator<Item = T>) -> Self {
        self.channels = Some(channels.into_iter().map(Into::into).collect());
        self
    }

    const FORM: Inner<Self> = Inner::named("InfoResolution", Self::fields);

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        // accepted and checked, without effect (oddity 39)
        object.optional("include_connections", Boolean);
        Self {
            include_history: object.optional("include_history", Boolean).unwrap_or(true),
            include_history_length: object
                .optional("include_history_length", Boolean)
                .unwrap_or(false),
            include_users: object.optional("include_users", Boolean).unwrap_or(true),
            exclude_channels: object.optional("exclude_channels", list(NAME)).unwrap_or_default(),
            return_public_state: object.optional("return_public_state", Boolean).unwrap_or(false),
            channels: object.optional("channels", list(NAME)),
        }
    }
}

/// `/disconnect`: ends a connection.
#[derive(Clone, Copy, Debug)]
pub struct Disconnect {
    /// Which connection.
    pub conn_id: Uuid,
}

impl Serialize for Disconnect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("conn_id", self.conn_id)])
    }
}

impl Disconnect {
    /// Reads the body of a POST.
    ///
    /// # Errors
    /// All faults of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, FieldErrors> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self { conn_id: known_connection(object, None, |_| true) }
    }

    /// Reads the query of any other method.
    ///
    /// # Errors
    /// The fault of `conn_id`.
    pub fn read_query(in_query: Option<&str>) -> Result<Self, FieldErrors> {
        let Some(text) = in_query else {
            return Err(FieldErrors::from_texts("conn_id", ["Field may not be null."]));
        };
        let conn_id = parse_uuid(text)
            .ok_or_else(|| FieldErrors::from_texts("conn_id", ["Not a valid UUID."]))?;
        Ok(Self { conn_id })
    }
}

/// Reads the body of `POST /message`.
///
/// # Errors
/// All faults of the body.
pub fn read_messages(body: &Body<'_>) -> Result<Vec<NewMessage>, FieldErrors> {
    read_items(body, NewMessage::fields)
}

/// Reads the body of `PATCH /message`.
///
/// # Errors
/// All faults of the body.
pub fn read_edits(body: &Body<'_>) -> Result<Vec<Edit>, FieldErrors> {
    read_items(body, Edit::fields)
}

/// Reads the body of `DELETE /message`.
///
/// # Errors
/// All faults of the body.
pub fn read_deletes(body: &Body<'_>) -> Result<Vec<Delete>, FieldErrors> {
    read_items(body, Delete::fields)
}

/// Makes a request of the fields of a body, which has to be an object; else it is told `otherwise`.
fn read_object<'a, T>(
    Body(body): &'a Body<'a>,
    otherwise: &str,
    fields: impl FnOnce(&mut Object<'a>) -> T,
) -> Result<T, FieldErrors> {
    let Value::Object(of) = body else {
        return Err(FieldErrors::from_texts("_schema", [otherwise]));
    };
    Object::of(of).read_by(fields)
}

/// `conn_id` of the body, else of the query; absent from both it counts as null.
fn known_connection(
    object: &mut Object<'_>,
    in_query: Option<&str>,
    known: impl FnOnce(Uuid) -> bool,
) -> Uuid {
    let in_body = object.optional("conn_id", Id);
    let found = if object.has("conn_id") {
        in_body
    } else {
        match Disconnect::read_query(in_query) {
            Ok(Disconnect { conn_id }) => Some(conn_id),
            Err(faults) => {
                for (field, fault) in faults.iter() {
                    object.fault(field, fault.clone());
                }
                None
            }
        }
    };
    if found.is_some_and(|id| !known(id)) {
        object.fault("conn_id", FieldError::text("Unknown connection"));
    }
    found.unwrap_or_default()
}

/// Length and existence are told of together.
fn known_user(raw: &RawValue, mut known: impl FnMut(&str) -> bool) -> Result<String, FieldError> {
    let user = any_text(raw)?;
    let mut texts = match USER.read(raw) {
        Err(FieldError::Texts(texts)) => texts,
        _ => Vec::new(),
    };
    if !known(&user) {
        texts.push("Unknown user".to_owned());
    }
    if texts.is_empty() { Ok(user) } else { Err(FieldError::Texts(texts)) }
}

/// Settings by channel name.
const CONFIGS: Mapping<Config> = Mapping(Config);

/// Settings that may not be null.
#[derive(Clone, Copy)]
struct Config;

impl Form<'_> for Config {
    type Value = ChannelConfig;

    fn read(&self, raw: &RawValue) -> Result<ChannelConfig, FieldError> {
        if is_null(raw) {
            return Err(FieldError::text("Field may not be null."));
        }
        ChannelConfig::read(raw)
    }

    fn schema(&self) -> Schema {
        ChannelConfig::FORM.schema()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Bounds, parse};

    fn body(json: &str) -> Body<'_> {
        parse(json.as_bytes(), Bounds::default()).unwrap()
    }

    fn told(faults: &FieldErrors) -> String {
        serde_json::to_string(faults).unwrap()
    }

    #[test]
    fn all_faults_of_a_connect_are_told_at_once() {
        let json = r#"{"conn_id": "x", "channels": ["a", 1, null], "user_state": {"k": []},
            "channel_configs": {"room": {"history_size": -1}}, "info": {"channels": 1}}"#;
        assert_eq!(
            told(&Connect::read(&body(json)).unwrap_err()),
            concat!(
                r#"{"username":["Missing data for required field."],"#,
                r#""conn_id":["Not a valid UUID."],"#,
                r#""channels":{"1":["Not a valid string."],"2":["Field may not be null."]},"#,
                r#""user_state":{"k":{"value":["Value is not type of string, integer, boolean or float."]}},"#,
                r#""channel_configs":{"room":{"value":{"history_size":["Must be at least 0."]}}},"#,
                r#""info":{"channels":["Not a valid list."]}}"#
            )
        );
        let faults = Connect::read(&body(r#"{"username": "a", "info": 1}"#)).unwrap_err();
        assert_eq!(told(&faults), r#"{"info":{"_schema":["Invalid input type."]}}"#);
    }

    #[test]
    fn a_connection_is_named_in_the_body_or_else_in_the_query() {
        let id = "01234567-89ab-cdef-0123-456789abcdef";
        let subscribe = body(r#"{"channels": ["a"]}"#);
        assert!(Subscribe::read(&subscribe, Some(id), |_| true).is_ok());
        let faults = Subscribe::read(&subscribe, Some(id), |_| false).unwrap_err();
        assert_eq!(told(&faults), r#"{"conn_id":["Unknown connection"]}"#);
        let faults = Subscribe::read(&body("{}"), None, |_| true).unwrap_err();
        assert_eq!(
            told(&faults),
            r#"{"conn_id":["Field may not be null."],"channels":["Missing data for required field."]}"#
        );
        let null = body(r#"{"conn_id": null, "channels": []}"#);
        let faults = Subscribe::read(&null, Some(id), |_| true).unwrap_err();
        assert_eq!(
            told(&faults),
            r#"{"conn_id":["Field may not be null."],"channels":["Shorter than minimum length 1."]}"#
        );
    }

    #[test]
    fn an_unknown_user_with_too_long_a_name_has_two_faults() {
        let json = format!(r#"{{"user": "{}"}}"#, "x".repeat(513));
        assert_eq!(
            told(&SetUserState::read(&body(&json), |_| false).unwrap_err()),
            r#"{"user":["Length must be between 1 and 512.","Unknown user"]}"#
        );
        let faults = SetUserState::read(&body(r#"{"user": null}"#), |_| false).unwrap_err();
        assert_eq!(told(&faults), r#"{"user":["Field may not be null."]}"#);
    }

    #[test]
    fn channel_config_tells_the_faults_of_each_channel() {
        let settings = Configure::read(&body(r#"{"a": null, "b": {}}"#)).unwrap().channels;
        assert_eq!((settings["a"], settings["b"]), (None, Some(ChannelConfig::default())));
        let json = r#"{"a": null, "b": {"history_size": "x"}, "c": 7, "d": {}}"#;
        let faults = Configure::read(&body(json)).unwrap_err();
        assert_eq!(
            told(&faults),
            concat!(
                r#"{"b":{"value":{"history_size":["Not a valid integer."]}},"#,
                r#""c":{"value":{"_schema":["Invalid input type."]}}}"#
            )
        );
        let of_first = Configure::errors_of_first(faults.clone());
        assert_eq!(told(&of_first), r#"{"history_size":["Not a valid integer."]}"#);
        for (json, first) in [(r#"{"c": 7, "b": {"x": 1}}"#, "c"), ("[]", "the body")] {
            let faults = Configure::errors_of_first(Configure::read(&body(json)).unwrap_err());
            assert_eq!(told(&faults), r#"{"_schema":["Invalid input type."]}"#, "{first}");
        }
        let connect =
            format!(r#"{{"username": "u", "channel_configs": {}}}"#, json.replace("null", "{}"));
        let faults_of_connect = Connect::read(&body(&connect)).unwrap_err();
        assert_eq!(told(&faults_of_connect), format!(r#"{{"channel_configs":{}}}"#, told(&faults)));
    }
}
