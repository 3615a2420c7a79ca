//! What the readers of requests accept, told by the readers themselves, as JSON Schema 2020-12.
//!
//! A reader asks an object for its fields one after another. Asked to describe itself, the same code
//! notes them instead: so a description cannot be other than what is read. Forms that are accepted
//! beside the usual one (contract §4), such as `"true"` or `1` for a boolean, are not told.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::message::{Delete, Edit, NewMessage};
use super::read::{Form as _, Object};
use super::request::{
    Connect, DeleteChannels, Disconnect, Info, InfoOptions, SetUserState, Subscribe, Unsubscribe,
};
use super::settings::{ChannelConfig, ChannelSettings};

/// What a value may be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Schema {
    /// A text of so many characters.
    Text {
        min: usize,
        max: usize,
    },
    Uuid,
    /// Date and time, with a zone or without.
    Time,
    Boolean,
    /// A whole number of at least 0.
    Size,
    /// A text, number, boolean or null.
    Scalar,
    /// Any object.
    AnyObject,
    List {
        items: Box<Self>,
        at_least: usize,
    },
    /// An object with any keys.
    Mapping(Box<Self>),
    /// One of the objects that have names of their own.
    Named(&'static str),
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) nullable: bool,
    pub(super) schema: Schema,
}

impl Schema {
    fn json(&self) -> Value {
        match self {
            Self::Text { min, max } => {
                json!({"type": "string", "minLength": min, "maxLength": max})
            }
            Self::Uuid => json!({"type": "string", "format": "uuid"}),
            Self::Time => json!({"type": "string"}),
            Self::Boolean => json!({"type": "boolean"}),
            Self::Size => json!({"type": "integer", "minimum": 0}),
            Self::Scalar => json!({"type": ["string", "number", "boolean", "null"]}),
            Self::AnyObject => json!({"type": "object"}),
            Self::List { items, at_least: 0 } => json!({"type": "array", "items": items.json()}),
            Self::List { items, at_least } => {
                json!({"type": "array", "items": items.json(), "minItems": at_least})
            }
            Self::Mapping(values) => {
                json!({"type": "object", "additionalProperties": values.json()})
            }
            Self::Named(name) => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }
}

impl Field {
    fn json(&self) -> Value {
        let mut json = self.schema.json();
        if self.nullable {
            json["type"] = json!([json["type"], "null"]);
        }
        json
    }
}

/// What a reader tells of an object.
pub(super) struct Described {
    pub(super) name: &'static str,
    pub(super) fields: Vec<Field>,
    /// What it makes of an object without fields.
    defaults: Value,
}

fn described<T: Serialize>(
    name: &'static str,
    read: impl FnOnce(&mut Object<'_>) -> T,
) -> Described {
    let (value, fields) = Object::describe(read);
    Described { name, fields, defaults: serde_json::to_value(value).unwrap_or_default() }
}

fn schema(Described { fields, defaults, .. }: &Described) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let mut json = field.json();
        let default = &defaults[field.name];
        if !field.required
            && !default.is_null()
            && !matches!(field.schema, Schema::Named(_) | Schema::Uuid)
        {
            json["default"] = default.clone();
        }
        properties.insert(field.name.to_owned(), json);
    }
    let required: Vec<_> =
        fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The objects with fixed fields that requests are made of, by the names that the API document has
/// for them.
pub(super) fn objects() -> [Described; 12] {
    [
        described("ConnectBody", Connect::fields),
        described("SubscribeBody", |object| Subscribe::fields(object, None, |_| true)),
        described("UnsubscribeBody", |object| Unsubscribe::fields(object, None, |_| true)),
        described("UserStateBody", |object| SetUserState::fields(object, |_| true)),
        described("MessageBody", NewMessage::fields),
        described("MessageEditBody", Edit::fields),
        described("MessagesDeleteBody", Delete::fields),
        described("DisconnectBody", Disconnect::fields),
        described("ChannelInfoBody", Info::fields),
        described("InfoResolution", InfoOptions::fields),
        described("ChannelConfigBody", |object| {
            ChannelConfig::fields(object).over(ChannelSettings::default())
        }),
        described("ChannelsDeleteBody", DeleteChannels::fields),
    ]
}

/// The same and the body of `/channel_config`, each as JSON Schema. References between them lead to
/// `#/components/schemas/`.
pub fn request_schemas() -> Vec<(&'static str, Value)> {
    let objects = objects();
    let schemas = objects.iter().map(|object| (object.name, schema(object)));
    schemas.chain([("ChannelConfigsBody", channel_configs())]).collect()
}

/// The body of `/channel_config`: any names, each with settings or null.
fn channel_configs() -> Value {
    let settings = ChannelConfig::FORM.schema().json();
    json!({"type": "object", "additionalProperties": {"anyOf": [settings, {"type": "null"}]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_tell_fields_limits_and_defaults() {
        let schemas = request_schemas();
        let of = |wanted: &str| &schemas.iter().find(|(name, _)| *name == wanted).unwrap().1;
        let message = of("MessageBody");
        assert_eq!(message["required"], json!(["user"]));
        let text = json!({"type": "string", "minLength": 1, "maxLength": 512});
        assert_eq!(message["properties"]["user"], text);
        assert_eq!(
            message["properties"]["channel"],
            json!({"type": ["string", "null"], "minLength": 1, "maxLength": 256})
        );
        assert_eq!(
            message["properties"]["pm_users"],
            json!({"type": "array", "items": text, "default": []})
        );
        let subscribe = of("SubscribeBody");
        assert_eq!(subscribe["required"], json!(["channels"]), "the query may name the connection");
        assert_eq!(subscribe["properties"]["channels"]["minItems"], 1);
        let settings = of("ChannelConfigBody");
        assert_eq!(
            settings["properties"]["history_size"],
            json!({"type": "integer", "minimum": 0, "default": 10})
        );
        assert_eq!(settings["properties"]["store_frames"]["default"], true);
        let info = json!({"$ref": "#/components/schemas/InfoResolution"});
        assert_eq!(of("ConnectBody")["properties"]["info"], info);
        assert_eq!(of("ChannelInfoBody")["required"], json!(["info"]));
        let state = &of("UserStateBody")["properties"];
        assert_eq!(state["state_public_keys"]["type"], json!(["array", "null"]));
        assert_eq!(
            state["user_state"]["additionalProperties"]["type"],
            json!(["string", "number", "boolean", "null"])
        );
    }
}
