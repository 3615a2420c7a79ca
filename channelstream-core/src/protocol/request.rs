//! Bodies of requests: read from JSON by the server, written as JSON by the client (contract §5).

use std::fmt::{self, Debug, Formatter};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::append::Change;
use super::body::Body;
use super::field_errors::{FieldError, FieldErrors, Rejected, WRONG_TYPE};
use super::message::{Delete, NewMessage};
use super::read::{
    ANY_NAME, Boolean, Id, Inner, Mapping, NAME, Object, StateValue, USER, connection_in_query,
    list, non_empty_list, read_items, read_mapping, read_object,
};
use super::redact::FirstDigits;
use super::scalar::UserState;
use super::settings::ChannelConfig;

/// The body of `POST /connect`: a new connection for a user.
#[derive(Clone, Default, Serialize)]
pub struct Connect {
    /// The user; 1 to 512 characters.
    pub username: String,
    /// The id of the connection; a new random one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn_id: Option<Uuid>,
    /// The channels to join; names have 1 to 256 characters.
    pub channels: Vec<String>,
    /// The state of a new user.
    pub fresh_user_state: UserState,
    /// The state to set, also of a user who exists.
    pub user_state: UserState,
    /// The keys of the state that others may see. Replaces what was set before.
    pub state_public_keys: Vec<String>,
    /// Settings of new channels. Channels that exist keep their settings. Settings that are left out
    /// get the defaults of the channel.
    pub channel_configs: IndexMap<String, ChannelConfig>,
    /// What the answer contains about the channels.
    pub info: InfoOptions,
}

impl Debug for Connect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            username,
            conn_id,
            channels,
            fresh_user_state,
            user_state,
            state_public_keys,
            channel_configs,
            info,
        } = self;
        f.debug_struct("Connect")
            .field("username", username)
            .field("conn_id", &conn_id.map(FirstDigits))
            .field("channels", channels)
            .field("fresh_user_state", fresh_user_state)
            .field("user_state", user_state)
            .field("state_public_keys", state_public_keys)
            .field("channel_configs", channel_configs)
            .field("info", info)
            .finish()
    }
}

impl Connect {
    /// Creates a request for a connection of `username` in no channel.
    pub fn new(username: impl Into<String>) -> Self {
        Self { username: username.into(), ..Self::default() }
    }

    /// Sets the channels to join.
    #[must_use]
    pub fn channels<T: Into<String>>(mut self, channels: impl IntoIterator<Item = T>) -> Self {
        self.channels = channels.into_iter().map(Into::into).collect();
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
            username: object.required("username", USER),
            conn_id: object.optional("conn_id", Id),
            channels: object.optional("channels", list(NAME)).unwrap_or_default(),
            fresh_user_state: object
                .optional("fresh_user_state", Mapping(StateValue))
                .unwrap_or_default(),
            user_state: object.optional("user_state", Mapping(StateValue)).unwrap_or_default(),
            state_public_keys: object.optional("state_public_keys", list(NAME)).unwrap_or_default(),
            channel_configs: object.optional("channel_configs", CONFIGS).unwrap_or_default(),
            info: object.optional("info", InfoOptions::FORM).unwrap_or_default(),
        }
    }
}

/// The body of `POST /subscribe`: a connection joins channels.
#[derive(Clone, Default, Serialize)]
pub struct Subscribe {
    /// The id of the connection.
    pub conn_id: Uuid,
    /// The channels, at least one.
    pub channels: Vec<String>,
    /// Settings of new channels. Channels that exist keep their settings. Settings that are left out
    /// get the defaults of the channel.
    pub channel_configs: IndexMap<String, ChannelConfig>,
    /// What the answer contains about the channels.
    pub info: InfoOptions,
}

impl Debug for Subscribe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { conn_id, channels, channel_configs, info } = self;
        f.debug_struct("Subscribe")
            .field("conn_id", &FirstDigits(*conn_id))
            .field("channels", channels)
            .field("channel_configs", channel_configs)
            .field("info", info)
            .finish()
    }
}

impl Subscribe {
    /// Creates a request by which `conn_id` joins `channels`.
    pub fn new<T: Into<String>>(
        conn_id: impl Into<Uuid>,
        channels: impl IntoIterator<Item = T>,
    ) -> Self {
        let channels = channels.into_iter().map(Into::into).collect();
        Self { conn_id: conn_id.into(), channels, ..Self::default() }
    }

    /// Reads a body. A `conn_id` that it does not have is taken from the query.
    ///
    /// # Errors
    /// Returns all errors of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, Rejected> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self {
            conn_id: object.existing_connection(),
            channels: object.required("channels", non_empty_list(NAME)),
            channel_configs: object.optional("channel_configs", CONFIGS).unwrap_or_default(),
            info: object.optional("info", InfoOptions::FORM).unwrap_or_default(),
        }
    }
}

/// The body of `POST /unsubscribe`: a connection leaves channels.
#[derive(Clone, Default, Serialize)]
pub struct Unsubscribe {
    /// The id of the connection.
    pub conn_id: Uuid,
    /// The channels, at least one.
    pub channels: Vec<String>,
    /// What the answer contains about the channels.
    pub info: InfoOptions,
}

impl Debug for Unsubscribe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { conn_id, channels, info } = self;
        f.debug_struct("Unsubscribe")
            .field("conn_id", &FirstDigits(*conn_id))
            .field("channels", channels)
            .field("info", info)
            .finish()
    }
}

impl Unsubscribe {
    /// Creates a request by which `conn_id` leaves `channels`.
    pub fn new<T: Into<String>>(
        conn_id: impl Into<Uuid>,
        channels: impl IntoIterator<Item = T>,
    ) -> Self {
        let channels = channels.into_iter().map(Into::into).collect();
        Self { conn_id: conn_id.into(), channels, info: InfoOptions::default() }
    }

    /// Reads a body, which has the fields of `/subscribe`.
    ///
    /// # Errors
    /// Returns all errors of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, Rejected> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        let Subscribe { conn_id, channels, info, .. } = Subscribe::fields(object);
        Self { conn_id, channels, info }
    }
}

/// The body of `POST /user_state`: changes the state of a user.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SetUserState {
    /// The user.
    pub user: String,
    /// The keys to set. Other keys keep their values.
    pub user_state: UserState,
    /// The keys that others may see. If absent, they stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_public_keys: Option<Vec<String>>,
}

impl SetUserState {
    /// Creates a change of the state of `user`.
    pub fn new(user: impl Into<String>, user_state: UserState) -> Self {
        Self { user: user.into(), user_state, state_public_keys: None }
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
            user: object.existing_user(),
            user_state: object.optional("user_state", Mapping(StateValue)).unwrap_or_default(),
            state_public_keys: object.nullable("state_public_keys", list(NAME)),
        }
    }
}

/// The body of `POST /channel_config`: creates channels and sets their settings.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Configure {
    /// The settings of each channel. Settings that are left out go back to their defaults. `None`
    /// creates a new channel, and leaves one that exists as it is.
    pub channels: IndexMap<String, Option<ChannelConfig>>,
}

impl Configure {
    /// Creates a request with these settings for these channels.
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
    /// Returns all errors of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, Rejected> {
        Ok(Self { channels: read_mapping(body, ChannelConfig::fields)? })
    }

    /// Returns the errors of the first channel alone, without its name. The reference answers so; a
    /// strict request gets the errors of all channels (contract §14).
    #[must_use]
    pub fn errors_of_first(errors: FieldErrors) -> FieldErrors {
        let of_first = match errors.iter().next() {
            Some((_, FieldError::Inner(of_channel))) => of_channel.iter().next(),
            _ => None,
        };
        match of_first {
            Some((_, FieldError::Inner(of_fields))) => of_fields.clone(),
            Some((_, FieldError::Texts(_))) => FieldErrors::from_texts("_schema", [WRONG_TYPE]),
            None => errors,
        }
    }
}

/// The body of `DELETE /channels`: deletes channels with all their contents.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DeleteChannels {
    /// The names of the channels, at least one.
    pub channels: Vec<String>,
}

impl DeleteChannels {
    /// Creates a request that deletes these channels.
    pub fn new<T: Into<String>>(channels: impl IntoIterator<Item = T>) -> Self {
        Self { channels: channels.into_iter().map(Into::into).collect() }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// Returns all errors of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, Rejected> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self { channels: object.required("channels", non_empty_list(ANY_NAME)) }
    }
}

/// The body of `/info`: asks for information about channels.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Info {
    /// What to return.
    pub info: InfoOptions,
}

impl Info {
    /// Reads a body.
    ///
    /// # Errors
    /// Returns all errors of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, Rejected> {
        read_object(body, "Invalid type.", Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self { info: object.required("info", InfoOptions::FORM) }
    }
}

/// What channel information contains (contract §4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InfoOptions {
    /// `true` to return histories.
    pub include_history: bool,
    /// `true` to return the number of messages in histories.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub include_history_length: bool,
    /// `true` to return users.
    pub include_users: bool,
    /// The channels to leave out.
    pub exclude_channels: Vec<String>,
    /// `true` to return only the public state of users.
    pub return_public_state: bool,
    /// The channels for `/info`; all if absent.
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
    /// Sets the channels to return.
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
        // It is accepted and checked, and has no effect (oddity 39).
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

/// The body of `POST /disconnect`: ends a connection.
#[derive(Clone, Copy, Deserialize)]
pub struct Disconnect {
    /// The id of the connection.
    pub conn_id: Uuid,
}

impl Debug for Disconnect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { conn_id } = self;
        f.debug_struct("Disconnect").field("conn_id", &FirstDigits(*conn_id)).finish()
    }
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
    /// Returns all errors of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, Rejected> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self { conn_id: object.connection(None).unwrap_or_default() }
    }

    /// Reads the query of any other method.
    ///
    /// # Errors
    /// Returns the error of `conn_id`.
    pub fn read_query(in_query: Option<&str>) -> Result<Self, FieldErrors> {
        Ok(Self { conn_id: connection_in_query(in_query)? })
    }
}

/// Reads the body of `POST /message`.
///
/// # Errors
/// Returns all errors of the body.
pub fn read_messages(body: &Body<'_>) -> Result<Vec<NewMessage>, Rejected> {
    read_items(body, NewMessage::fields)
}

/// Reads the body of `PATCH /message`.
///
/// # Errors
/// Returns all errors of the body.
pub fn read_changes(body: &Body<'_>) -> Result<Vec<Change>, Rejected> {
    read_items(body, Change::fields)
}

/// Reads the body of `DELETE /message`.
///
/// # Errors
/// Returns all errors of the body.
pub fn read_deletes(body: &Body<'_>) -> Result<Vec<Delete>, Rejected> {
    read_items(body, Delete::fields)
}

/// The form of settings by the name of the channel.
const CONFIGS: Mapping<Inner<ChannelConfig>> = Mapping(ChannelConfig::FORM);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Bounds, Named, parse, parse_uuid};

    fn body(json: &str) -> Body<'_> {
        parse(json.as_bytes(), Bounds::default()).unwrap()
    }

    /// The errors as JSON.
    fn json<T>(read: Result<T, Rejected>) -> String {
        serde_json::to_string(&read.err().unwrap().errors).unwrap()
    }

    #[test]
    fn all_errors_of_a_connect_are_reported_at_once() {
        let request = r#"{"conn_id": "x", "channels": ["a", 1, null], "user_state": {"k": []},
            "channel_configs": {"room": {"history_size": -1}, "b": null}, "info": {"channels": 1}}"#;
        assert_eq!(
            json(Connect::read(&body(request))),
            concat!(
                r#"{"username":["Missing data for required field."],"#,
                r#""conn_id":["Not a valid UUID."],"#,
                r#""channels":{"1":["Not a valid string."],"2":["Field may not be null."]},"#,
                r#""user_state":{"k":{"value":["Value is not type of string, integer, boolean or float."]}},"#,
                r#""channel_configs":{"room":{"value":{"history_size":["Must be at least 0."]}},"#,
                r#""b":{"value":["Field may not be null."]}},"#,
                r#""info":{"channels":["Not a valid list."]}}"#
            )
        );
        let rejected = Connect::read(&body(r#"{"username": "a", "info": 1}"#));
        assert_eq!(json(rejected), r#"{"info":{"_schema":["Invalid input type."]}}"#);
    }

    #[test]
    fn a_connection_is_named_in_the_body_or_else_in_the_query() {
        let text = "01234567-89ab-cdef-0123-456789abcdef";
        let named = |rejected: Rejected| rejected.named;
        let subscribe = |json| Subscribe::read(&body(json).conn_id(Some(text)));
        let id = parse_uuid(text).unwrap();
        assert_eq!(subscribe(r#"{"channels": ["a"]}"#).unwrap().conn_id, id);
        let rejected = subscribe("{}").map_err(named).unwrap_err();
        assert_eq!(rejected, Some(Named::Connection(id)));
        assert_eq!(
            json(Subscribe::read(&body("{}"))),
            r#"{"conn_id":["Field may not be null."],"channels":["Missing data for required field."]}"#
        );
        let null = r#"{"conn_id": null, "channels": []}"#;
        assert_eq!(
            json(subscribe(null)),
            r#"{"conn_id":["Field may not be null."],"channels":["Shorter than minimum length 1."]}"#
        );
        assert_eq!(subscribe(null).map_err(named).unwrap_err(), None);
        let disconnect = Disconnect::read(&body("{}").conn_id(Some(text)));
        assert_eq!(json(disconnect), r#"{"conn_id":["Field may not be null."]}"#);
    }

    #[test]
    fn a_user_is_named_even_by_too_long_a_name() {
        let long = "x".repeat(513);
        let request = format!(r#"{{"user": "{long}"}}"#);
        let rejected = SetUserState::read(&body(&request)).unwrap_err();
        assert_eq!(rejected.named, Some(Named::User(long)));
        assert_eq!(json::<()>(Err(rejected)), r#"{"user":["Length must be between 1 and 512."]}"#);
        for (request, text) in [
            (r#"{"user": null}"#, "Field may not be null."),
            (r#"{"user": 7}"#, "Not a valid string."),
            ("{}", "Missing data for required field."),
        ] {
            let rejected = SetUserState::read(&body(request)).unwrap_err();
            assert_eq!(rejected.named, None);
            assert_eq!(json::<()>(Err(rejected)), format!(r#"{{"user":["{text}"]}}"#));
        }
    }

    #[test]
    fn channel_config_reports_the_errors_of_each_channel() {
        let settings = Configure::read(&body(r#"{"a": null, "b": {}}"#)).unwrap().channels;
        assert_eq!((settings["a"], settings["b"]), (None, Some(ChannelConfig::default())));
        let request = r#"{"a": null, "b": {"history_size": "x"}, "c": 7, "d": {}}"#;
        let all = concat!(
            r#"{"b":{"value":{"history_size":["Not a valid integer."]}},"#,
            r#""c":{"value":{"_schema":["Invalid input type."]}}}"#
        );
        assert_eq!(json(Configure::read(&body(request))), all);
        for (request, of_first) in [
            (request, r#"{"history_size":["Not a valid integer."]}"#),
            (r#"{"c": 7, "b": {"x": 1}}"#, r#"{"_schema":["Invalid input type."]}"#),
            ("[]", r#"{"_schema":["Invalid input type."]}"#),
        ] {
            let rejected = Configure::read(&body(request)).unwrap_err();
            let first = Configure::errors_of_first(rejected.errors);
            assert_eq!(serde_json::to_string(&first).unwrap(), of_first, "{request}");
        }
        let configs = request.replace("null", "{}");
        let connect = format!(r#"{{"username": "u", "channel_configs": {configs}}}"#);
        let rejected = Connect::read(&body(&connect));
        assert_eq!(json(rejected), format!(r#"{{"channel_configs":{all}}}"#));
    }
}
