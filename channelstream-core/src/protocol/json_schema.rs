//! Schemas of all requests as JSON Schema 2020-12, for the OpenAPI document.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::append::{Cancel, Change};
use super::history::ReadHistory;
use super::listing::{ListChannels, ListUsers};
use super::message::{Delete, NewMessage};
use super::read::{Form as _, Object};
use super::removal::DisconnectUser;
use super::request::{
    Connect, DeleteChannels, Disconnect, Info, InfoOptions, SetUserState, Subscribe, Unsubscribe,
};
use super::schema::{Field, Schema};
use super::settings::{ChannelConfig, ChannelSettings};

/// Returns the JSON Schema of each object that requests are made of, with its name in the OpenAPI
/// document. References between them lead to `#/components/schemas/`.
pub fn request_schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("ConnectBody", schema(Connect::fields)),
        ("SubscribeBody", schema(Subscribe::fields)),
        ("UnsubscribeBody", schema(Unsubscribe::fields)),
        ("UserStateBody", schema(SetUserState::fields)),
        ("MessageBody", schema(NewMessage::fields)),
        ("MessageEditBody", schema(Change::edit_of_fields)),
        ("MessagesDeleteBody", schema(Delete::fields)),
        ("DisconnectBody", schema(Disconnect::fields)),
        ("UserDisconnectBody", schema(DisconnectUser::fields)),
        ("ChannelListBody", schema(ListChannels::fields)),
        ("UserListBody", schema(ListUsers::fields)),
        ("HistoryBody", schema(ReadHistory::fields)),
        ("CancelBody", schema(Cancel::fields)),
        ("ChannelInfoBody", schema(Info::fields)),
        ("InfoResolution", schema(InfoOptions::fields)),
        (
            "ChannelConfigBody",
            schema(|object| ChannelConfig::fields(object).over(ChannelSettings::default())),
        ),
        ("ChannelsDeleteBody", schema(DeleteChannels::fields)),
        ("ChannelConfigsBody", channel_configs()),
    ]
}

/// Returns the schema of the object that `read` reads. The defaults are what `read` makes of an
/// object without fields.
fn schema<T: Serialize>(read: fn(&mut Object<'_>) -> T) -> Value {
    let (value, fields) = Object::describe(read);
    let defaults = serde_json::to_value(value).unwrap_or_default();
    let mut properties = Map::new();
    for field in &fields {
        let mut json = of_field(field);
        let default = &defaults[field.name];
        if !field.required
            && !default.is_null()
            && !matches!(field.schema, Schema::Object { .. } | Schema::Uuid)
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

/// Returns the schema of the body of `/channel_config`: any names, each with settings or null.
fn channel_configs() -> Value {
    let settings = of_value(&ChannelConfig::FORM.schema());
    json!({"type": "object", "additionalProperties": {"anyOf": [settings, {"type": "null"}]}})
}

fn of_field(field: &Field) -> Value {
    let mut json = of_value(&field.schema);
    if field.nullable {
        json["type"] = json!([json["type"], "null"]);
    }
    json
}

fn of_value(schema: &Schema) -> Value {
    match schema {
        Schema::Text { min, max } => json!({"type": "string", "minLength": min, "maxLength": max}),
        Schema::Cursor => json!({"type": "string", "pattern": "^[0-9a-f]{8,16}-[0-9]{1,16}n?$"}),
        Schema::Uuid => json!({"type": "string", "format": "uuid"}),
        Schema::Time => json!({"type": "string"}),
        Schema::Boolean => json!({"type": "boolean"}),
        Schema::Size => json!({"type": "integer", "minimum": 0}),
        Schema::Between { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Schema::Number { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        Schema::OneOf(texts) => json!({"type": "string", "enum": texts}),
        Schema::Piece => json!({"type": ["string", "array"]}),
        Schema::Scalar => json!({"type": ["string", "number", "boolean", "null"]}),
        Schema::AnyObject => json!({"type": "object"}),
        Schema::List { items, at_least: 0 } => json!({"type": "array", "items": of_value(items)}),
        Schema::List { items, at_least } => {
            json!({"type": "array", "items": of_value(items), "minItems": at_least})
        }
        Schema::Mapping(values) => {
            json!({"type": "object", "additionalProperties": of_value(values)})
        }
        Schema::Object { name, .. } => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
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
