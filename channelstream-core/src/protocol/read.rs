//! Lenient reading of JSON: the fields of an object, and the forms that a value may have (contract §4).
//!
//! Values stay raw until their type is known, so that payloads and numbers lose nothing.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::body::{Body, Fields, Value};
use super::field_errors::{FieldError, FieldErrors, Named, Rejected, WRONG_TYPE};
use super::scalar::Scalar;
use super::schema::{Field, Schema};
use super::strict::{unknown_fields, unknown_fields_in_each};
use super::timestamp::DateTime;

const MISSING: &str = "Missing data for required field.";
const NULL: &str = "Field may not be null.";
const NOT_A_UUID: &str = "Not a valid UUID.";

/// Reads a body that is one object. For any other JSON the error is `otherwise`.
pub(super) fn read_object<T>(
    body: &Body<'_>,
    otherwise: &str,
    fields: fn(&mut Object<'_>) -> T,
) -> Result<T, Rejected> {
    let (value, mut rejected) = match &body.value {
        Value::Object(of) => {
            let mut object = Object::new(Cow::Borrowed(of));
            object.conn_id = body.conn_id;
            let value = fields(&mut object);
            (Some(value), Rejected { errors: object.errors, named: object.named })
        }
        _ => (None, FieldErrors::from_texts("_schema", [otherwise]).into()),
    };
    if body.is_strict {
        rejected.errors.merge(unknown_fields(&body.value, &Object::describe(fields).1));
    }
    value.filter(|_| rejected.errors.is_empty()).ok_or(rejected)
}

/// Reads a body that is a list of objects. The errors of an item are under its index; an item that is
/// no object also adds one error at the top. A null item is reported only if nothing else is wrong, as
/// the contract requires.
pub(super) fn read_items<T>(
    body: &Body<'_>,
    fields: fn(&mut Object<'_>) -> T,
) -> Result<Vec<T>, Rejected> {
    let mut errors = FieldErrors::new();
    let mut nulls = FieldErrors::new();
    let mut values = Vec::new();
    if let Value::List(items) = &body.value {
        values.reserve(items.len());
        for (index, item) in items.iter().enumerate() {
            let read = match item {
                Value::Object(of) => Object::new(Cow::Borrowed(of))
                    .read_by(fields)
                    .map_err(|inner| (&mut errors, inner)),
                Value::Null => Err((&mut nulls, FieldErrors::new())),
                Value::List(_) | Value::Scalar => Err((&mut errors, FieldErrors::new())),
            };
            match read {
                Ok(value) => values.push(value),
                Err((errors, inner)) => {
                    let is_object = !inner.is_empty();
                    errors.add(&index.to_string(), FieldError::Inner(inner));
                    if !is_object {
                        errors.add("_schema", FieldError::text(WRONG_TYPE));
                    }
                }
            }
        }
    } else {
        errors = FieldErrors::from_texts("_schema", [WRONG_TYPE]);
    }
    if errors.is_empty() {
        errors = nulls;
    }
    if body.is_strict {
        errors.merge(unknown_fields(&body.value, &Object::describe(fields).1));
    }
    if errors.is_empty() { Ok(values) } else { Err(errors.into()) }
}

/// Reads a body that has an object or null under each key.
pub(super) fn read_mapping<T>(
    body: &Body<'_>,
    fields: fn(&mut Object<'_>) -> T,
) -> Result<IndexMap<String, Option<T>>, Rejected> {
    let read = |raw| match is_null(raw) {
        true => Ok(None),
        false => Object::open(raw)?.read_by(fields).map(Some).map_err(FieldError::Inner),
    };
    let mut found = match &body.value {
        Value::Object(entries) => mapping(entries, read),
        _ => Err(FieldErrors::from_texts("_schema", [WRONG_TYPE])),
    };
    if body.is_strict {
        let unknown = unknown_fields_in_each(&body.value, &Object::describe(fields).1);
        if !unknown.is_empty() {
            let mut errors = found.err().unwrap_or_default();
            errors.merge(unknown);
            found = Err(errors);
        }
    }
    Ok(found?)
}

/// An object while its fields are read, with the errors so far.
pub(super) struct Object<'a> {
    fields: Cow<'a, Fields<'a>>,
    /// The connection that the query names.
    conn_id: Option<&'a str>,
    errors: FieldErrors,
    named: Option<Named>,
    /// The fields that were asked for, if the reader describes itself.
    described: Option<Vec<Field>>,
}

/// A form of values: reads them, and describes them.
pub(super) trait Form<'a>: Copy {
    type Value;

    fn read(&self, raw: &'a RawValue) -> Result<Self::Value, FieldError>;

    fn schema(&self) -> Schema;
}

impl<'a> Object<'a> {
    /// Opens the object in `raw`; of repeated keys the last counts.
    fn open(raw: &'a RawValue) -> Result<Self, FieldError> {
        let fields = Fields::of(raw).ok_or_else(FieldError::not_an_object)?;
        Ok(Self::new(Cow::Owned(fields)))
    }

    fn new(fields: Cow<'a, Fields<'a>>) -> Self {
        Self { fields, conn_id: None, errors: FieldErrors::new(), named: None, described: None }
    }

    /// Returns what `read` makes of an object without fields, and the fields that it asks for.
    pub(super) fn describe<T>(read: fn(&mut Object<'_>) -> T) -> (T, Vec<Field>) {
        let mut object = Object::new(Cow::Owned(Fields::default()));
        object.described = Some(Vec::new());
        let value = read(&mut object);
        (value, object.described.unwrap_or_default())
    }

    /// Records that a field was asked for, if the reader describes itself.
    fn record(
        &mut self,
        name: &'static str,
        (required, nullable): (bool, bool),
        form: &impl Form<'a>,
    ) {
        if let Some(described) = &mut self.described {
            described.push(Field { name, required, nullable, schema: form.schema() });
        }
    }

    /// Reads a field that must be present. If it has an error, the default is returned instead.
    pub(super) fn required<F: Form<'a, Value: Default>>(
        &mut self,
        key: &'static str,
        form: F,
    ) -> F::Value {
        self.record(key, (true, false), &form);
        if self.fields.get(key).is_none() {
            self.errors.add(key, FieldError::text(MISSING));
        }
        self.read(key, &form).unwrap_or_default()
    }

    /// Reads a field that may be absent but not null.
    pub(super) fn optional<F: Form<'a>>(&mut self, key: &'static str, form: F) -> Option<F::Value> {
        self.record(key, (false, false), &form);
        self.read(key, &form)
    }

    /// Reads a field that may be absent or null.
    pub(super) fn nullable<F: Form<'a>>(&mut self, key: &'static str, form: F) -> Option<F::Value> {
        self.record(key, (false, true), &form);
        if is_null(self.fields.get(key)?) { None } else { self.read(key, &form) }
    }

    /// Reads `conn_id` of the body, or else that of the query. The connection has to exist.
    pub(super) fn existing_connection(&mut self) -> Uuid {
        let found = self.connection(self.conn_id);
        self.named = found.map(Named::Connection);
        found.unwrap_or_default()
    }

    /// Reads `conn_id`, or takes `otherwise` for it. If both are absent, it counts as null.
    pub(super) fn connection(&mut self, otherwise: Option<&str>) -> Option<Uuid> {
        let in_body = self.optional("conn_id", Id);
        if self.fields.get("conn_id").is_some() {
            return in_body;
        }
        connection_in_query(otherwise).map_err(|errors| self.errors.merge(errors)).ok()
    }

    /// Reads the name of a user. The user has to exist, also if the length of the name is invalid.
    pub(super) fn existing_user(&mut self) -> String {
        let name = self.required("user", USER);
        let named = self.fields.get("user").and_then(|raw| any_text(raw).ok());
        self.named = named.map(Named::User);
        name
    }

    /// Returns `true` if the field is present, also if it is invalid.
    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.get(key).is_some()
    }

    /// Reports a field that is valid alone, but not together with others.
    pub(super) fn refuse(&mut self, key: &str, error: FieldError) {
        self.errors.add(key, error);
    }

    fn read<F: Form<'a>>(&mut self, key: &str, form: &F) -> Option<F::Value> {
        let raw = self.fields.get(key)?;
        let found = if is_null(raw) { Err(FieldError::text(NULL)) } else { form.read(raw) };
        found.map_err(|error| self.errors.add(key, error)).ok()
    }

    /// Returns what `fields` reads, or the errors.
    fn read_by<T>(mut self, fields: impl FnOnce(&mut Self) -> T) -> Result<T, FieldErrors> {
        let value = fields(&mut self);
        if self.errors.is_empty() { Ok(value) } else { Err(self.errors) }
    }
}

/// Returns the connection that a query names.
pub(super) fn connection_in_query(conn_id: Option<&str>) -> Result<Uuid, FieldErrors> {
    let text = conn_id.ok_or_else(|| FieldErrors::from_texts("conn_id", [NULL]))?;
    parse_uuid(text).ok_or_else(|| FieldErrors::from_texts("conn_id", [NOT_A_UUID]))
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

/// A string of `min` to `max` characters (code points).
#[derive(Clone, Copy)]
pub(super) struct Text {
    pub(super) min: usize,
    pub(super) max: usize,
}

/// The name of a user.
pub(super) const USER: Text = Text { min: 1, max: 512 };

/// The name of a channel, or of a key of a user's state.
pub(super) const NAME: Text = Text { min: 1, max: 256 };

/// The name of a channel that may be there already: `/channel_config` bounds none.
pub(super) const ANY_NAME: Text = Text { min: 0, max: 256 * 1024 };

impl Form<'_> for Text {
    type Value = String;

    fn read(&self, raw: &RawValue) -> Result<String, FieldError> {
        let Self { min, max } = *self;
        let text = any_text(raw)?;
        if (min..=max).contains(&text.chars().count()) {
            Ok(text)
        } else {
            Err(FieldError::text(&format!("Length must be between {min} and {max}.")))
        }
    }

    fn schema(&self) -> Schema {
        Schema::Text { min: self.min, max: self.max }
    }
}

/// Defines forms that are read by a function.
macro_rules! forms {
    ($($(#[$about:meta])* $form:ident: $value:ty, by $read:path, as $schema:expr;)*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy)]
        pub(super) struct $form;

        impl Form<'_> for $form {
            type Value = $value;

            fn read(&self, raw: &RawValue) -> Result<$value, FieldError> {
                $read(raw)
            }

            fn schema(&self) -> Schema {
                $schema
            }
        }
    )*};
}

forms! {
    /// A boolean in any of its forms.
    Boolean: bool, by boolean, as Schema::Boolean;
    /// A whole number of at least 0.
    Size: u64, by size, as Schema::Size;
    /// A UUID in any of its forms.
    Id: Uuid, by uuid, as Schema::Uuid;
    /// Date and time.
    Time: DateTime, by time, as Schema::Time;
    /// A value of a user's state.
    StateValue: Scalar, by Scalar::read, as Schema::Scalar;
}

/// An object with fixed fields, which schemas refer to by name.
pub(super) struct Inner<T> {
    name: &'static str,
    fields: fn(&mut Object<'_>) -> T,
}

impl<T> Clone for Inner<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Inner<T> {}

impl<T> Inner<T> {
    pub(super) const fn named(name: &'static str, fields: fn(&mut Object<'_>) -> T) -> Self {
        Self { name, fields }
    }
}

impl<T> Form<'_> for Inner<T> {
    type Value = T;

    fn read(&self, raw: &RawValue) -> Result<T, FieldError> {
        if is_null(raw) {
            return Err(FieldError::text(NULL));
        }
        Object::open(raw)?.read_by(self.fields).map_err(FieldError::Inner)
    }

    fn schema(&self) -> Schema {
        Schema::Object { name: self.name, fields: Object::describe(self.fields).1 }
    }
}

pub(super) fn any_text(raw: &RawValue) -> Result<String, FieldError> {
    serde_json::from_str(raw.get()).map_err(|_| FieldError::text("Not a valid string."))
}

/// A list of items of one form; null items are errors.
#[derive(Clone, Copy)]
pub(super) struct List<F> {
    items: F,
    at_least: usize,
}

/// Returns the form of a list.
pub(super) fn list<F>(items: F) -> List<F> {
    List { items, at_least: 0 }
}

/// Returns the form of a list that must not be empty.
pub(super) fn non_empty_list<F>(items: F) -> List<F> {
    List { items, at_least: 1 }
}

impl<'a, F: Form<'a>> Form<'a> for List<F> {
    type Value = Vec<F::Value>;

    fn read(&self, raw: &'a RawValue) -> Result<Self::Value, FieldError> {
        let items: Vec<&'a RawValue> =
            serde_json::from_str(raw.get()).map_err(|_| FieldError::text("Not a valid list."))?;
        let mut errors = FieldErrors::new();
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match if is_null(item) { Err(FieldError::text(NULL)) } else { self.items.read(item) } {
                Ok(value) => values.push(value),
                Err(error) => errors.add(&index.to_string(), error),
            }
        }
        if !errors.is_empty() {
            return Err(FieldError::Inner(errors));
        }
        if values.len() < self.at_least {
            return Err(FieldError::text("Shorter than minimum length 1."));
        }
        Ok(values)
    }

    fn schema(&self) -> Schema {
        Schema::List { items: Box::new(self.items.schema()), at_least: self.at_least }
    }
}

/// An object with any keys and values of one form; errors are under the key and `value`.
#[derive(Clone, Copy)]
pub(super) struct Mapping<F>(pub(super) F);

impl<'a, F: Form<'a>> Form<'a> for Mapping<F> {
    type Value = IndexMap<String, F::Value>;

    fn read(&self, raw: &'a RawValue) -> Result<Self::Value, FieldError> {
        let fields =
            Fields::of(raw).ok_or_else(|| FieldError::text("Not a valid mapping type."))?;
        mapping(&fields, |value| self.0.read(value)).map_err(FieldError::Inner)
    }

    fn schema(&self) -> Schema {
        Schema::Mapping(Box::new(self.0.schema()))
    }
}

/// Reads the values of an object with any keys; errors are under the key and `value`.
pub(super) fn mapping<'a, V>(
    fields: &Fields<'a>,
    read: impl Fn(&'a RawValue) -> Result<V, FieldError>,
) -> Result<IndexMap<String, V>, FieldErrors> {
    let fields = fields.by_name();
    let mut errors = FieldErrors::new();
    let mut values = IndexMap::with_capacity(fields.len());
    for (key, value) in fields {
        match read(value) {
            Ok(value) => {
                values.insert(key.to_owned(), value);
            }
            Err(error) => {
                let mut inner = FieldErrors::new();
                inner.add("value", error);
                errors.add(key, FieldError::Inner(inner));
            }
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}

/// Reads a boolean in any of its forms; 1 and 0 count, however they are written.
fn boolean(raw: &RawValue) -> Result<bool, FieldError> {
    let found = match raw.get() {
        "true" => Some(true),
        "false" => Some(false),
        json if json.starts_with('"') => match any_text(raw)?.as_str() {
            "t" | "T" | "true" | "True" | "TRUE" | "1" => Some(true),
            "f" | "F" | "false" | "False" | "FALSE" | "0" => Some(false),
            _ => None,
        },
        json => match json.parse::<f64>() {
            Ok(1.0) => Some(true),
            Ok(0.0) => Some(false),
            _ => None,
        },
    };
    found.ok_or_else(|| FieldError::text("Not a valid boolean."))
}

/// Reads a whole number of at least 0. Fractions are cut off; a number that is too large saturates.
fn size(raw: &RawValue) -> Result<u64, FieldError> {
    let not_a_number = || FieldError::text("Not a valid integer.");
    let number = match raw.get() {
        "true" => 1.0,
        "false" => 0.0,
        json if json.starts_with('"') => {
            let text = any_text(raw)?;
            let text = text.trim();
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(not_a_number());
            }
            if let Ok(exact) = text.parse::<u64>() {
                return Ok(exact);
            }
            if text.starts_with('-') { -digits.parse().unwrap_or(f64::MAX) } else { f64::MAX }
        }
        json => {
            if let Ok(exact) = json.parse::<u64>() {
                return Ok(exact);
            }
            json.parse::<f64>().map_err(|_| not_a_number())?
        }
    };
    if !number.is_finite() {
        return Err(not_a_number());
    }
    let number = number.trunc();
    if number < 0.0 {
        return Err(FieldError::text("Must be at least 0."));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    Ok(number as u64)
}

/// Parses a UUID in any of the forms of contract §4.
///
/// Python's `uuid.UUID` accepts the same: `urn:` and then `uuid:` are removed wherever they are, then
/// braces at the ends and hyphens; 32 hex digits must remain.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    let bare = match text.contains(':') {
        true => Cow::from(text.replace("urn:", "").replace("uuid:", "")),
        false => Cow::from(text),
    };
    let digits = bare.trim_matches(['{', '}']).bytes().filter(|byte| *byte != b'-');
    let (mut value, mut count) = (0u128, 0);
    for digit in digits {
        value = value << 4 | u128::from(char::from(digit).to_digit(16)?);
        count += 1;
        if count > 32 {
            return None;
        }
    }
    (count == 32).then(|| Uuid::from_u128(value))
}

fn uuid(raw: &RawValue) -> Result<Uuid, FieldError> {
    any_text(raw)
        .ok()
        .and_then(|text| parse_uuid(&text))
        .ok_or_else(|| FieldError::text(NOT_A_UUID))
}

fn time(raw: &RawValue) -> Result<DateTime, FieldError> {
    any_text(raw)
        .ok()
        .and_then(|text| DateTime::parse(&text))
        .ok_or_else(|| FieldError::text("Not a valid datetime."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn booleans() {
        for json in ["true", "1", "1.0", "1e0", "\"t\"", "\"T\"", "\"True\"", "\"TRUE\"", "\"1\""] {
            assert_eq!(boolean(raw(json)), Ok(true), "{json}");
        }
        for json in ["false", "0", "-0.0", "\"f\"", "\"F\"", "\"False\"", "\"FALSE\"", "\"0\""] {
            assert_eq!(boolean(raw(json)), Ok(false), "{json}");
        }
        for json in ["2", "\"yes\"", "\"\"", "\"tRUE\"", "[]", "{}", "[true]", "\" t\""] {
            assert!(boolean(raw(json)).is_err(), "{json}");
        }
    }

    #[test]
    fn sizes() {
        for (json, want) in [
            ("3", 3),
            ("3.7", 3),
            ("-0.5", 0),
            ("1e2", 100),
            ("true", 1),
            ("\" 7 \"", 7),
            ("\"+7\"", 7),
            ("\"-0\"", 0),
            ("18446744073709551615", u64::MAX),
            ("1e300", u64::MAX),
            ("\"99999999999999999999999\"", u64::MAX),
        ] {
            assert_eq!(size(raw(json)), Ok(want), "{json}");
        }
        for json in ["\"3.5\"", "\"\"", "\"x\"", "[]", "{}", "1e999", "\"+-1\"", "\"--1\""] {
            assert_eq!(size(raw(json)), Err(FieldError::text("Not a valid integer.")), "{json}");
        }
        for json in ["-1", "-1.5", "\"-1\"", "-1e300", "\"-99999999999999999999999\""] {
            assert_eq!(size(raw(json)), Err(FieldError::text("Must be at least 0.")), "{json}");
        }
    }

    #[test]
    fn uuids() {
        let want = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        for text in [
            "01234567-89ab-cdef-0123-456789abcdef",
            "0123456789ABCDEF0123456789abcdef",
            "{01234567-89ab-cdef-0123-456789abcdef}",
            "urn:uuid:01234567-89ab-cdef-0123-456789abcdef",
            "uuid:0-1-2-3456789abcdef0123456789abcdef-",
            "{urn:uuid:01234567-89ab-cdef-0123-456789abcdef}",
            "uuid:urn:0123456789abcdef0123456789abcdef",
            "}{0123urn:456789abcdef0123uuid:456789abcdef{",
            "uuurn:id:0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(parse_uuid(text), Some(want), "{text}");
        }
        for text in [
            "",
            "0123",
            "g123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef0",
            "-{0123456789abcdef0123456789abcdef}",
            "0123456789abcdef{0123456789abcdef",
            "ur-n:0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(parse_uuid(text), None, "{text}");
        }
    }
}
