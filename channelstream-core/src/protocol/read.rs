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

use super::fault::{Fault, Faults};
use super::timestamp::DateTime;

const MISSING: &str = "Missing data for required field.";
const NULL: &str = "Field may not be null.";

/// The fields of an object under way to a typed value, and what was wrong so far.
pub(super) struct Object<'a> {
    fields: Fields<'a>,
    faults: Faults,
}

/// The fields of an object as they stand there. Few are expected and each is looked up once, for
/// which a list is faster than a map.
struct Fields<'a>(Vec<(Key<'a>, &'a RawValue)>);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Object<'a> {
    /// The object in `raw`; of repeated keys the last counts.
    pub(super) fn open(raw: &'a RawValue) -> Result<Self, Fault> {
        let fields = fields(raw).ok_or_else(Fault::not_an_object)?;
        Ok(Self { fields, faults: Faults::new() })
    }

    fn get(&self, key: &str) -> Option<&'a RawValue> {
        let Fields(fields) = &self.fields;
        fields.iter().rev().find(|(Key(name), _)| name == key).map(|(_, raw)| *raw)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Notes a fault of the object's own.
    pub(super) fn fault(&mut self, key: &str, fault: Fault) {
        self.faults.add(key, fault);
    }

    /// A field that must be there; a default stands in for it once a fault is noted.
    pub(super) fn required<T: Default>(
        &mut self,
        key: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, Fault>,
    ) -> T {
        if !self.has(key) {
            self.fault(key, Fault::text(MISSING));
        }
        self.optional(key, read).unwrap_or_default()
    }

    /// A field that may be absent but not null.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, Fault>,
    ) -> Option<T> {
        let raw = self.get(key)?;
        let found = if is_null(raw) { Err(Fault::text(NULL)) } else { read(raw) };
        found.map_err(|fault| self.faults.add(key, fault)).ok()
    }

    /// A field that may be absent or null.
    pub(super) fn nullable<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, Fault>,
    ) -> Option<T> {
        let raw = self.get(key)?;
        if is_null(raw) { None } else { self.optional(key, read) }
    }

    /// The value, if nothing was wrong.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Faults> {
        if self.faults.is_empty() { Ok(value) } else { Err(self.faults) }
    }
}

fn fields(raw: &RawValue) -> Option<Fields<'_>> {
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
pub(super) fn text(min: usize, max: usize) -> impl Fn(&RawValue) -> Result<String, Fault> + Copy {
    move |raw| {
        let text = any_text(raw)?;
        let length = text.chars().count();
        if (min..=max).contains(&length) {
            Ok(text)
        } else {
            Err(Fault::text(&format!("Length must be between {min} and {max}.")))
        }
    }
}

pub(super) fn any_text(raw: &RawValue) -> Result<String, Fault> {
    serde_json::from_str(raw.get()).map_err(|_| Fault::text("Not a valid string."))
}

/// A list, each item read by `read`; null items are faults.
pub(super) fn list<'a, T>(
    read: impl Fn(&'a RawValue) -> Result<T, Fault>,
) -> impl Fn(&'a RawValue) -> Result<Vec<T>, Fault> {
    move |raw| {
        let items: Vec<&'a RawValue> =
            serde_json::from_str(raw.get()).map_err(|_| Fault::text("Not a valid list."))?;
        let mut faults = Faults::new();
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match if is_null(item) { Err(Fault::text(NULL)) } else { read(item) } {
                Ok(value) => values.push(value),
                Err(fault) => faults.add(&index.to_string(), fault),
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(Fault::Inner(faults)) }
    }
}

/// A free mapping, each value read by `read`; faults stand under the key and `value`.
pub(super) fn mapping<'a, T>(
    read: impl Fn(&'a RawValue) -> Result<T, Fault>,
) -> impl Fn(&'a RawValue) -> Result<IndexMap<String, T>, Fault> {
    move |raw| {
        let Fields(fields) = fields(raw).ok_or_else(|| Fault::text("Not a valid mapping type."))?;
        let mut faults = Faults::new();
        // Of repeated keys the last counts.
        let fields: IndexMap<_, _> = fields.into_iter().map(|(Key(key), raw)| (key, raw)).collect();
        let mut values = IndexMap::with_capacity(fields.len());
        for (key, value) in fields {
            match read(value) {
                Ok(value) => {
                    values.insert(key.into_owned(), value);
                }
                Err(fault) => {
                    let mut inner = Faults::new();
                    inner.add("value", fault);
                    faults.add(&key, Fault::Inner(inner));
                }
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(Fault::Inner(faults)) }
    }
}

/// A boolean in any of its forms; 1 and 0 count, however they are written.
pub(super) fn boolean(raw: &RawValue) -> Result<bool, Fault> {
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
    found.ok_or_else(|| Fault::text("Not a valid boolean."))
}

/// A whole number of at least 0; fractions are cut off, what is too large is the largest.
pub(super) fn size(raw: &RawValue) -> Result<u64, Fault> {
    let not_a_number = || Fault::text("Not a valid integer.");
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
        return Err(Fault::text("Must be at least 0."));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    Ok(number as u64)
}

/// A UUID in any of the forms of contract §4: 32 hex digits, hyphens anywhere, braces, `urn:`.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    let text = text.strip_prefix("urn:").unwrap_or(text);
    let text = text.strip_prefix("uuid:").unwrap_or(text);
    let digits = text.trim_matches(['{', '}']).bytes().filter(|byte| *byte != b'-');
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

pub(super) fn uuid(raw: &RawValue) -> Result<Uuid, Fault> {
    any_text(raw)
        .ok()
        .and_then(|text| parse_uuid(&text))
        .ok_or_else(|| Fault::text("Not a valid UUID."))
}

pub(super) fn time(raw: &RawValue) -> Result<DateTime, Fault> {
    any_text(raw)
        .ok()
        .and_then(|text| DateTime::parse(&text))
        .ok_or_else(|| Fault::text("Not a valid datetime."))
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
            assert_eq!(size(raw(json)), Err(Fault::text("Not a valid integer.")), "{json}");
        }
        for json in ["-1", "-1.5", "\"-1\"", "-1e300", "\"-99999999999999999999999\""] {
            assert_eq!(size(raw(json)), Err(Fault::text("Must be at least 0.")), "{json}");
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
        ] {
            assert_eq!(parse_uuid(text), Some(want), "{text}");
        }
        for text in
            ["", "0123", "g123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef0"]
        {
            assert_eq!(parse_uuid(text), None, "{text}");
        }
    }
}
