//! Strict reading: reports the fields of a body that no reader asks for, with the likely meaning.

use serde_json::value::RawValue;

use super::body::{Fields, Value};
use super::field_errors::{FieldError, FieldErrors};
use super::schema::{Field, Schema};

/// The most unknown fields reported of one body. A client with more made one mistake many times.
const MOST_REPORTED: usize = 20;

/// The longest name, in bytes, for which the nearest known one is searched.
const LONGEST_NAME: usize = 64;

/// The similarity, from 0 to 1, above which a known name was probably meant.
const LIKELY: f64 = 0.6;

/// Returns an error for each field that is not in `known` (contract §4), up to twenty. The body is an
/// object or a list of such objects. Values of a wrong type are left to the reader.
pub(super) fn unknown_fields(body: &Value<'_>, known: &[Field]) -> FieldErrors {
    let mut search = Search { left: MOST_REPORTED };
    match body {
        Value::Object(fields) => search.object(fields, known),
        Value::List(items) => search.items(items, known),
        Value::Null | Value::Scalar => FieldErrors::new(),
    }
}

/// Returns the same for a body that has an object with the fields `known` under each key.
pub(super) fn unknown_fields_in_each(body: &Value<'_>, known: &[Field]) -> FieldErrors {
    let Value::Object(entries) = body else { return unknown_fields(body, known) };
    let mut search = Search { left: MOST_REPORTED };
    let mut errors = FieldErrors::new();
    for (name, raw) in entries.iter() {
        add(&mut errors, name, search.nested(raw, known));
    }
    errors
}

fn add(errors: &mut FieldErrors, key: &str, inner: FieldErrors) {
    if !inner.is_empty() {
        errors.add(key, FieldError::Inner(inner));
    }
}

struct Search {
    /// How many more fields may be reported.
    left: usize,
}

impl Search {
    fn items(&mut self, items: &[Value<'_>], known: &[Field]) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for (index, item) in items.iter().enumerate() {
            let Value::Object(fields) = item else { continue };
            add(&mut errors, &index.to_string(), self.object(fields, known));
        }
        errors
    }

    fn object(&mut self, fields: &Fields<'_>, known: &[Field]) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for (key, raw) in fields.iter() {
            match known.iter().find(|field| field.name == key) {
                Some(field) => add(&mut errors, key, self.value(raw, &field.schema)),
                None if self.left > 0 => {
                    self.left -= 1;
                    errors.add(key, FieldError::text(&suggestion(key, known)));
                }
                None => {}
            }
        }
        errors
    }

    fn value(&mut self, raw: &RawValue, schema: &Schema) -> FieldErrors {
        match schema {
            Schema::Object { fields, .. } => self.nested(raw, fields),
            Schema::Mapping(values) if matches!(**values, Schema::Object { .. }) => {
                let mut errors = FieldErrors::new();
                let entries = Fields::of(raw);
                for (key, raw) in entries.iter().flat_map(Fields::iter) {
                    let mut inner = FieldErrors::new();
                    add(&mut inner, "value", self.value(raw, values));
                    add(&mut errors, key, inner);
                }
                errors
            }
            _ => FieldErrors::new(),
        }
    }

    fn nested(&mut self, raw: &RawValue, known: &[Field]) -> FieldErrors {
        Fields::of(raw).map_or_else(FieldErrors::new, |fields| self.object(&fields, known))
    }
}

/// Returns the text about an unknown field, with the nearest known name if one is near.
fn suggestion(key: &str, known: &[Field]) -> String {
    let similarity = |field: &&Field| strsim::normalized_damerau_levenshtein(field.name, key);
    let is_meant = |field: &&Field| {
        let (long, short) =
            if field.name.len() > key.len() { (field.name, key) } else { (key, field.name) };
        let is_part = short.len() > 2 && (long.starts_with(short) || long.ends_with(short));
        is_part || similarity(field) > LIKELY
    };
    let candidates = known.iter().filter(|field| key.len() <= LONGEST_NAME && is_meant(field));
    match candidates.max_by(|a, b| similarity(a).total_cmp(&similarity(b))) {
        Some(field) => format!("Unknown field; did you mean {}?", field.name),
        None => "Unknown field.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::read::Object;
    use crate::protocol::{
        Bounds, ChannelConfig, Connect, Disconnect, Edit, Info, NewMessage, SetUserState,
        Unsubscribe, parse,
    };

    fn json(errors: &FieldErrors) -> String {
        serde_json::to_string(errors).unwrap()
    }

    fn unknown<T>(fields: fn(&mut Object<'_>) -> T, body: &str) -> String {
        let body = parse(body.as_bytes(), Bounds::default()).unwrap();
        json(&unknown_fields(&body.value, &Object::describe(fields).1))
    }

    #[test]
    fn unknown_fields_are_reported_under_their_object() {
        assert_eq!(
            unknown(
                NewMessage::fields,
                r#"[{"user": "a", "channel": "b"}, {"user": "a", "chanel": "b", "x": 1}, 7, null]"#
            ),
            r#"{"1":{"chanel":["Unknown field; did you mean channel?"],"x":["Unknown field."]}}"#
        );
        assert_eq!(
            unknown(
                Connect::fields,
                r#"{"username": "a", "channel_configs": {"room": {"notify": true}, "b": 1},
                    "info": {"include_user": true, "include_connections": 1}, "user_state": {"x": 1}}"#
            ),
            concat!(
                r#"{"channel_configs":{"room":{"value":{"notify":["Unknown field; did you mean notify_state?"]}}},"#,
                r#""info":{"include_user":["Unknown field; did you mean include_users?"]}}"#
            )
        );
        assert_eq!(unknown(Info::fields, "[]"), "{}");
        assert_eq!(unknown(Disconnect::fields, r#"{"conn_id": 7}"#), "{}");
        assert_eq!(
            unknown(Disconnect::fields, r#"{"connid": 7}"#),
            r#"{"connid":["Unknown field; did you mean conn_id?"]}"#
        );
        let body = br#"{"news": {"histry_size": 5}, "other": {"history_size": 5}, "third": null}"#;
        let body = parse(body, Bounds::default()).unwrap();
        let known = Object::describe(ChannelConfig::fields).1;
        assert_eq!(
            json(&unknown_fields_in_each(&body.value, &known)),
            r#"{"news":{"histry_size":["Unknown field; did you mean history_size?"]}}"#
        );
    }

    #[test]
    fn what_messages_and_state_hold_is_free() {
        let edits = r#"[{"uuid": "x", "message": {"chanel": 1}, "edited": null, "user": "a"}]"#;
        assert_eq!(unknown(Edit::fields, edits), "{}");
        let state = r#"{"user": "a", "user_state": {"usr": 1}, "state_public_keys": []}"#;
        assert_eq!(unknown(SetUserState::fields, state), "{}");
        let leaving = r#"{"conn_id": "a", "channels": [], "channel_configs": {}, "info": {}}"#;
        assert_eq!(unknown(Unsubscribe::fields, leaving), "{}");
    }

    #[test]
    fn not_all_are_reported() {
        let many: Vec<_> = (0..1000).map(|n| format!(r#""{}{n}": 1"#, "x".repeat(99))).collect();
        let body = format!("{{{}}}", many.join(","));
        let body = parse(body.as_bytes(), Bounds::default()).unwrap();
        let known = Object::describe(Connect::fields).1;
        assert_eq!(unknown_fields(&body.value, &known).iter().count(), MOST_REPORTED);
    }

    #[test]
    fn both_kinds_of_errors_are_side_by_side() {
        let body = r#"{"channel_configs": {"room": {"history_size": "x", "histry_size": 1}}}"#;
        let body = parse(body.as_bytes(), Bounds::default()).unwrap().strict(true);
        assert_eq!(
            json(&Connect::read(&body).unwrap_err().errors),
            concat!(
                r#"{"username":["Missing data for required field."],"channel_configs":{"room":{"value":{"#,
                r#""history_size":["Not a valid integer."],"#,
                r#""histry_size":["Unknown field; did you mean history_size?"]}}}}"#
            )
        );
    }
}
