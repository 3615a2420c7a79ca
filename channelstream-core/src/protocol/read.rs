//! Lenient reading of JSON: fields of an object, and the forms a value may have (contract §4).
//!
//! Values stay raw until their type is known, so that nothing is lost of a payload or a number.

use std::borrow::Cow;
use std::fmt::{self, Formatter};

use indexmap::IndexMap;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::field_errors::{FieldError, FieldErrors};
use super::scalar::Scalar;
use super::schema::{Field, Schema};
use super::timestamp::DateTime;

const MISSING: &str = "Missing data for required field.";
const NULL: &str = "Field may not be null.";

/// The fields of an object under way to a typed value, and what was wrong so far.
pub(super) struct Object<'a> {
    fields: Cow<'a, Fields<'a>>,
    faults: FieldErrors,
    /// The fields that were asked for, if that is what is wanted.
    described: Option<Vec<Field>>,
}

/// A form of values: reads them, and tells which they are.
pub(super) trait Form<'a>: Copy {
    type Value;

    fn read(&self, raw: &'a RawValue) -> Result<Self::Value, FieldError>;

    fn schema(&self) -> Schema;
}

/// The fields of an object as they stand there. Few are expected and each is looked up once, for
/// which a list is faster than a map.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a>(Vec<(Key<'a>, &'a RawValue)>);

#[derive(Clone, Debug, Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// The fields in their order, repeated ones too.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(Key(name), raw)| (&**name, *raw))
    }

    /// The same by their names; of repeated ones the last counts.
    pub(super) fn by_name(&self) -> IndexMap<&str, &'a RawValue> {
        self.iter().collect()
    }
}

impl<'a> Object<'a> {
    /// The object in `raw`; of repeated keys the last counts.
    pub(super) fn open(raw: &'a RawValue) -> Result<Self, FieldError> {
        let fields = fields(raw).ok_or_else(FieldError::not_an_object)?;
        Ok(Self::new(Cow::Owned(fields)))
    }

    /// The object with these fields; of repeated keys the last counts.
    pub(super) fn of(fields: &'a Fields<'a>) -> Self {
        Self::new(Cow::Borrowed(fields))
    }

    fn new(fields: Cow<'a, Fields<'a>>) -> Self {
        Self { fields, faults: FieldErrors::new(), described: None }
    }

    /// The fields that `read` asks an object for, and what it makes of one that has none.
    pub(super) fn describe<T>(read: impl FnOnce(&mut Self) -> T) -> (T, Vec<Field>) {
        let mut object = Self::new(Cow::Owned(Fields(Vec::new())));
        object.described = Some(Vec::new());
        let value = read(&mut object);
        (value, object.described.unwrap_or_default())
    }

    /// Notes that a field was asked for, if somebody wants to know.
    fn note(
        &mut self,
        name: &'static str,
        (required, nullable): (bool, bool),
        form: &impl Form<'a>,
    ) {
        if let Some(described) = &mut self.described {
            described.push(Field { name, required, nullable, schema: form.schema() });
        }
    }

    fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.fields.0.iter().rev().find(|(Key(name), _)| name == key).map(|(_, raw)| *raw)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Notes a fault of the object's own.
    pub(super) fn fault(&mut self, key: &str, fault: FieldError) {
        self.faults.add(key, fault);
    }

    /// A field that must be there; a default stands in for it once a fault is noted.
    pub(super) fn required<F: Form<'a, Value: Default>>(
        &mut self,
        key: &'static str,
        form: F,
    ) -> F::Value {
        self.note(key, (true, false), &form);
        if !self.has(key) {
            self.fault(key, FieldError::text(MISSING));
        }
        self.read(key, &form).unwrap_or_default()
    }

    /// A field that may be absent but not null.
    pub(super) fn optional<F: Form<'a>>(&mut self, key: &'static str, form: F) -> Option<F::Value> {
        self.note(key, (false, false), &form);
        self.read(key, &form)
    }

    /// A field that may be absent or null.
    pub(super) fn nullable<F: Form<'a>>(&mut self, key: &'static str, form: F) -> Option<F::Value> {
        self.note(key, (false, true), &form);
        if is_null(self.get(key)?) { None } else { self.read(key, &form) }
    }

    fn read<F: Form<'a>>(&mut self, key: &str, form: &F) -> Option<F::Value> {
        let raw = self.get(key)?;
        let found = if is_null(raw) { Err(FieldError::text(NULL)) } else { form.read(raw) };
        found.map_err(|fault| self.faults.add(key, fault)).ok()
    }

    /// What `fields` makes of it, if nothing was wrong.
    pub(super) fn read_by<T>(
        mut self,
        fields: impl FnOnce(&mut Self) -> T,
    ) -> Result<T, FieldErrors> {
        let value = fields(&mut self);
        if self.faults.is_empty() { Ok(value) } else { Err(self.faults) }
    }
}

/// The fields of `raw`, if it is an object.
pub(super) fn fields(raw: &RawValue) -> Option<Fields<'_>> {
    serde_json::from_str(raw.get()).ok()
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

pub(super) fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

/// A text of `min` to `max` characters (code points).
#[derive(Clone, Copy)]
pub(super) struct Text {
    pub(super) min: usize,
    pub(super) max: usize,
}

/// The name of a user.
pub(super) const USER: Text = Text { min: 1, max: 512 };

/// The name of a channel, or of a key of a user's state.
pub(super) const NAME: Text = Text { min: 1, max: 256 };

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

/// Forms that a function reads.
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
    State: Scalar, by Scalar::read, as Schema::Scalar;
}

/// An object whose fields a function reads; a schema refers to it by name.
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
        Object::open(raw)?.read_by(self.fields).map_err(FieldError::Inner)
    }

    fn schema(&self) -> Schema {
        Schema::Named(self.name)
    }
}

/// What a function reads, with the schema of another form.
#[derive(Clone, Copy)]
pub(super) struct Like<S, R> {
    pub(super) form: S,
    pub(super) read: R,
}

impl<'a, T, S: Form<'a>, R: Fn(&'a RawValue) -> Result<T, FieldError> + Copy> Form<'a>
    for Like<S, R>
{
    type Value = T;

    fn read(&self, raw: &'a RawValue) -> Result<T, FieldError> {
        (self.read)(raw)
    }

    fn schema(&self) -> Schema {
        self.form.schema()
    }
}

pub(super) fn any_text(raw: &RawValue) -> Result<String, FieldError> {
    serde_json::from_str(raw.get()).map_err(|_| FieldError::text("Not a valid string."))
}

/// A list of items of one form; null items are faults.
#[derive(Clone, Copy)]
pub(super) struct List<F> {
    items: F,
    at_least: usize,
}

pub(super) fn list<F>(items: F) -> List<F> {
    List { items, at_least: 0 }
}

/// A list that must not be empty.
pub(super) fn some<F>(items: F) -> List<F> {
    List { items, at_least: 1 }
}

impl<'a, F: Form<'a>> Form<'a> for List<F> {
    type Value = Vec<F::Value>;

    fn read(&self, raw: &'a RawValue) -> Result<Self::Value, FieldError> {
        let items: Vec<&'a RawValue> =
            serde_json::from_str(raw.get()).map_err(|_| FieldError::text("Not a valid list."))?;
        let mut faults = FieldErrors::new();
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match if is_null(item) { Err(FieldError::text(NULL)) } else { self.items.read(item) } {
                Ok(value) => values.push(value),
                Err(fault) => faults.add(&index.to_string(), fault),
            }
        }
        if !faults.is_empty() {
            return Err(FieldError::Inner(faults));
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

/// A free mapping to values of one form; faults stand under the key and `value`.
#[derive(Clone, Copy)]
pub(super) struct Mapping<F>(pub(super) F);

impl<'a, F: Form<'a>> Form<'a> for Mapping<F> {
    type Value = IndexMap<String, F::Value>;

    fn read(&self, raw: &'a RawValue) -> Result<Self::Value, FieldError> {
        let fields = fields(raw).ok_or_else(|| FieldError::text("Not a valid mapping type."))?;
        mapping(&fields, |value| self.0.read(value)).map_err(FieldError::Inner)
    }

    fn schema(&self) -> Schema {
        Schema::Mapping(Box::new(self.0.schema()))
    }
}

/// The values of a free mapping; faults stand under the key and `value`.
pub(super) fn mapping<'a, V>(
    fields: &Fields<'a>,
    read: impl Fn(&'a RawValue) -> Result<V, FieldError>,
) -> Result<IndexMap<String, V>, FieldErrors> {
    let fields = fields.by_name();
    let mut faults = FieldErrors::new();
    let mut values = IndexMap::with_capacity(fields.len());
    for (key, value) in fields {
        match read(value) {
            Ok(value) => {
                values.insert(key.to_owned(), value);
            }
            Err(fault) => {
                let mut inner = FieldErrors::new();
                inner.add("value", fault);
                faults.add(key, FieldError::Inner(inner));
            }
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(faults) }
}

/// A boolean in any of its forms; 1 and 0 count, however they are written.
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

/// A whole number of at least 0; fractions are cut off, what is too large is the largest.
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

/// A UUID in any of the forms of contract §4, as Python's `uuid.UUID` takes them: without `urn:`
/// and then `uuid:` wherever they stand, braces at the ends and hyphens, 32 hex digits are left.
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
        .ok_or_else(|| FieldError::text("Not a valid UUID."))
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
