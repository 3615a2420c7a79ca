//! Strict reading: the fields of a body that no reader asks for, with what was probably meant.

use std::sync::LazyLock;

use indexmap::IndexMap;
use serde_json::value::RawValue;

use super::body::{Body, Value};
use super::field_errors::{FieldError, FieldErrors};
use super::read::{Fields, fields};
use super::schema::{Described, Field, Schema, objects};

/// Unknown fields that are told of one body: who has so many made one mistake many times.
const MOST_TOLD: usize = 20;

/// Bytes of a name for which the nearest known one is looked for.
const LONGEST_NAME: usize = 64;

/// Likeness, from 0 to 1, from which on a known name was probably meant.
const LIKELY: f64 = 0.6;

/// The bodies of the backend API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// `POST /connect`
    Connect,
    /// `POST /subscribe`
    Subscribe,
    /// `POST /unsubscribe`
    Unsubscribe,
    /// `POST /user_state`
    UserState,
    /// `POST /message`
    Messages,
    /// `PATCH /message`
    Edits,
    /// `DELETE /message`
    Deletes,
    /// `POST /channel_config`
    Configure,
    /// `DELETE /channels`
    DeleteChannels,
    /// `/info`
    Info,
    /// `POST /disconnect`
    Disconnect,
}

impl RequestBody {
    /// The object that it is, has in a list, or has under each key.
    fn object(self) -> &'static str {
        match self {
            Self::Connect => "ConnectBody",
            Self::Subscribe => "SubscribeBody",
            Self::Unsubscribe => "UnsubscribeBody",
            Self::UserState => "UserStateBody",
            Self::Messages => "MessageBody",
            Self::Edits => "MessageEditBody",
            Self::Deletes => "MessagesDeleteBody",
            Self::Configure => "ChannelConfigBody",
            Self::DeleteChannels => "ChannelsDeleteBody",
            Self::Info => "ChannelInfoBody",
            Self::Disconnect => "DisconnectBody",
        }
    }
}

/// The fields that readers ask for, by the names of the objects.
static KNOWN: LazyLock<IndexMap<&str, Vec<Field>>> = LazyLock::new(|| {
    objects().into_iter().map(|Described { name, fields, .. }| (name, fields)).collect()
});

/// The fields of a body that nobody reads, each with a text, where the faults of a field would stand
/// (contract §4). At most twenty are told. What is of a wrong type is left to the reader.
pub fn unknown_fields(Body(body): &Body<'_>, of: RequestBody) -> FieldErrors {
    let mut search = Search { left: MOST_TOLD };
    let mut faults = FieldErrors::new();
    match body {
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let Value::Object(fields) = item else { continue };
                note(&mut faults, &index.to_string(), search.object(fields, of.object()));
            }
        }
        Value::Object(channels) if of == RequestBody::Configure => {
            for (name, settings) in channels.iter() {
                note(&mut faults, name, search.nested(settings, of.object()));
            }
        }
        Value::Object(fields) => faults = search.object(fields, of.object()),
        Value::Null | Value::Scalar => {}
    }
    faults
}

fn note(faults: &mut FieldErrors, key: &str, inner: FieldErrors) {
    if !inner.is_empty() {
        faults.add(key, FieldError::Inner(inner));
    }
}

struct Search {
    /// How many more are told.
    left: usize,
}

impl Search {
    fn object(&mut self, fields: &Fields<'_>, name: &str) -> FieldErrors {
        let mut faults = FieldErrors::new();
        let known = KNOWN.get(name).map_or(&[][..], Vec::as_slice);
        for (key, raw) in fields.iter() {
            match known.iter().find(|field| field.name == key) {
                Some(field) => note(&mut faults, key, self.value(raw, &field.schema)),
                None if self.left > 0 => {
                    self.left -= 1;
                    faults.add(key, FieldError::text(&told(key, known)));
                }
                None => {}
            }
        }
        faults
    }

    fn value(&mut self, raw: &RawValue, schema: &Schema) -> FieldErrors {
        match schema {
            Schema::Named(name) => self.nested(raw, name),
            Schema::Mapping(values) if matches!(**values, Schema::Named(_)) => {
                let mut faults = FieldErrors::new();
                let entries = fields(raw);
                for (key, raw) in entries.iter().flat_map(Fields::iter) {
                    let mut inner = FieldErrors::new();
                    note(&mut inner, "value", self.value(raw, values));
                    note(&mut faults, key, inner);
                }
                faults
            }
            _ => FieldErrors::new(),
        }
    }

    fn nested(&mut self, raw: &RawValue, name: &str) -> FieldErrors {
        fields(raw).map_or_else(FieldErrors::new, |fields| self.object(&fields, name))
    }
}

/// What is told of a field, with the known one that is nearest to it, if one is near.
fn told(key: &str, known: &[Field]) -> String {
    let likeness = |field: &&Field| strsim::normalized_damerau_levenshtein(field.name, key);
    let is_meant = |field: &&Field| {
        let (long, short) =
            if field.name.len() > key.len() { (field.name, key) } else { (key, field.name) };
        let is_part = short.len() > 2 && (long.starts_with(short) || long.ends_with(short));
        is_part || likeness(field) > LIKELY
    };
    let candidates = known.iter().filter(|field| key.len() <= LONGEST_NAME && is_meant(field));
    match candidates.max_by(|a, b| likeness(a).total_cmp(&likeness(b))) {
        Some(field) => format!("Unknown field; did you mean {}?", field.name),
        None => "Unknown field.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Bounds, Connect, parse};

    fn unknown(of: RequestBody, json: &str) -> String {
        let body = parse(json.as_bytes(), Bounds::default()).unwrap();
        serde_json::to_string(&unknown_fields(&body, of)).unwrap()
    }

    #[test]
    fn unknown_fields_are_told_where_they_stand() {
        for (of, json, told) in [
            (
                RequestBody::Messages,
                r#"[{"user": "a", "channel": "b"}, {"user": "a", "chanel": "b", "x": 1}, 7, null]"#,
                r#"{"1":{"chanel":["Unknown field; did you mean channel?"],"x":["Unknown field."]}}"#,
            ),
            (
                RequestBody::Configure,
                r#"{"news": {"histry_size": 5}, "other": {"history_size": 5}, "third": null}"#,
                r#"{"news":{"histry_size":["Unknown field; did you mean history_size?"]}}"#,
            ),
            (
                RequestBody::Connect,
                r#"{"username": "a", "channel_configs": {"room": {"notify": true}, "b": 1},
                    "info": {"include_user": true, "include_connections": 1}, "user_state": {"x": 1}}"#,
                concat!(
                    r#"{"channel_configs":{"room":{"value":{"notify":["Unknown field; did you mean notify_state?"]}}},"#,
                    r#""info":{"include_user":["Unknown field; did you mean include_users?"]}}"#
                ),
            ),
            (RequestBody::Info, "[]", "{}"),
            (RequestBody::Disconnect, r#"{"conn_id": 7}"#, "{}"),
            (
                RequestBody::Disconnect,
                r#"{"connid": 7}"#,
                r#"{"connid":["Unknown field; did you mean conn_id?"]}"#,
            ),
        ] {
            assert_eq!(unknown(of, json), told, "{json}");
        }
    }

    #[test]
    fn what_messages_and_state_hold_is_free() {
        let edits = r#"[{"uuid": "x", "message": {"chanel": 1}, "edited": null, "user": "a"}]"#;
        assert_eq!(unknown(RequestBody::Edits, edits), "{}");
        let state = r#"{"user": "a", "user_state": {"usr": 1}, "state_public_keys": []}"#;
        assert_eq!(unknown(RequestBody::UserState, state), "{}");
        let leaving = r#"{"conn_id": "a", "channels": [], "channel_configs": {}, "info": {}}"#;
        assert_eq!(unknown(RequestBody::Unsubscribe, leaving), "{}");
    }

    #[test]
    fn not_all_are_told() {
        let many: Vec<_> = (0..1000).map(|n| format!(r#""{}{n}": 1"#, "x".repeat(99))).collect();
        let json = format!("{{{}}}", many.join(","));
        let body = parse(json.as_bytes(), Bounds::default()).unwrap();
        assert_eq!(unknown_fields(&body, RequestBody::Connect).iter().count(), MOST_TOLD);
    }

    #[test]
    fn both_kinds_of_faults_stand_side_by_side() {
        let json = r#"{"channel_configs": {"room": {"history_size": "x", "histry_size": 1}}}"#;
        let body = parse(json.as_bytes(), Bounds::default()).unwrap();
        let mut faults = Connect::read(&body).unwrap_err();
        faults.merge(unknown_fields(&body, RequestBody::Connect));
        assert_eq!(
            serde_json::to_string(&faults).unwrap(),
            concat!(
                r#"{"username":["Missing data for required field."],"channel_configs":{"room":{"value":{"#,
                r#""history_size":["Not a valid integer."],"#,
                r#""histry_size":["Unknown field; did you mean history_size?"]}}}}"#
            )
        );
    }
}
