//! Bodies of requests: parses bytes as JSON within bounds, down to the fields of an object.

use std::borrow::Cow;
use std::fmt::{self, Debug, Formatter};

use indexmap::IndexMap;
use memchr::memchr2;
use serde::de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

/// How much structure one body may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The deepest nesting of lists and objects.
    pub depth: usize,
    /// The number of values of any kind; keys do not count.
    pub elements: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { depth: 64, elements: 100_000 }
    }
}

/// The reason why some bytes are not a JSON body. Positions are in bytes, counted from 0.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotJson {
    /// The body is empty or has only white space.
    #[error("the body is empty, JSON is expected")]
    Empty,
    /// The body is not UTF-8.
    #[error("the body is not UTF-8 at byte {at}")]
    Encoding {
        /// The position of the first invalid byte.
        at: usize,
    },
    /// The body is UTF-8, but not JSON.
    #[error("the body is not JSON: {0}")]
    Syntax(String),
    /// The body has half of a surrogate pair, which no string can hold.
    #[error("the body has an unpaired surrogate escape at byte {at}")]
    Surrogate {
        /// The position at which the escape begins.
        at: usize,
    },
    /// The body is nested deeper than the bounds allow.
    #[error("the body is nested deeper than {limit} levels")]
    TooDeep {
        /// The bound.
        limit: usize,
    },
    /// The body has more values than the bounds allow.
    #[error("the body holds more than {limit} values")]
    TooMany {
        /// The bound.
        limit: usize,
    },
}

/// The body of a request, as the `read` functions take it.
///
/// It is JSON within the bounds: UTF-8, syntax and surrogate pairs have been checked. `Debug` does not
/// show the JSON, which may contain the id of a connection.
#[derive(Clone)]
pub struct Body<'a> {
    pub(super) value: Value<'a>,
    /// The connection that the query names.
    pub(super) conn_id: Option<&'a str>,
    pub(super) is_strict: bool,
}

impl Debug for Body<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("is_strict", &self.is_strict).finish_non_exhaustive()
    }
}

impl<'a> Body<'a> {
    /// Adds the `conn_id` of the query. `/subscribe` and `/unsubscribe` use it if the body has none.
    #[must_use]
    pub fn conn_id(mut self, in_query: Option<&'a str>) -> Self {
        self.conn_id = in_query;
        self
    }

    /// If `is_strict` is true, readers also report the fields that they do not know (contract §14).
    #[must_use]
    pub fn strict(mut self, is_strict: bool) -> Self {
        self.is_strict = is_strict;
        self
    }
}

/// Parses `bytes` as one JSON value.
///
/// # Errors
/// Returns [`NotJson`] with the reason and the position.
pub fn parse(bytes: &[u8], bounds: Bounds) -> Result<Body<'_>, NotJson> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| NotJson::Encoding { at: error.valid_up_to() })?;
    if text.trim_ascii().is_empty() {
        return Err(NotJson::Empty);
    }
    scan(bytes, bounds)?;
    let value = serde_json::from_str(text).or_else(|_| serde_json::from_str(text).map(oversized));
    let value = value.map_err(|error| NotJson::Syntax(error.to_string()))?;
    Ok(Body { value, conn_id: None, is_strict: false })
}

/// A JSON value, parsed as deep as every reader needs it. It is parsed once, because parsing is a
/// large part of the cost of a request.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Object(Fields<'a>),
    List(Vec<Self>),
    Null,
    /// A string, a number or a boolean.
    Scalar,
}

/// The fields of an object, in their order. Readers expect few fields and look each one up once; a
/// list is faster for that than a map.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields<'a>(Vec<(Key<'a>, &'a RawValue)>);

#[derive(Clone, Debug, Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// Returns the fields of `raw` if it is an object.
    pub(super) fn of(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    /// Returns the field of this name; of repeated ones the last counts.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(Key(key), _)| key == name).map(|(_, raw)| *raw)
    }

    /// Iterates over all fields, also over repeated ones.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(Key(name), raw)| (&**name, *raw))
    }

    /// Returns the fields by name; of repeated ones the last counts.
    pub(super) fn by_name(&self) -> IndexMap<&str, &'a RawValue> {
        self.iter().collect()
    }
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

/// Returns the [`Value`] for JSON that serde_json does not deserialize: a number out of its range,
/// alone or in a list, or lists nested deeper than its limit.
fn oversized(raw: &RawValue) -> Value<'_> {
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        return Value::Scalar;
    };
    let values = items.iter().map(|item| serde_json::from_str(item.get()).unwrap_or(Value::Scalar));
    Value::List(values.collect())
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Fields::deserialize(MapAccessDeserializer::new(map)).map(Value::Object)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Value::List(items))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Value::Scalar)
            }

            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Value::Scalar)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// Checks depth, count and surrogates in one pass; the parser checks the syntax.
fn scan(bytes: &[u8], bounds: Bounds) -> Result<(), NotJson> {
    let (mut depth, mut elements, mut at) = (0usize, 1usize, 0usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = scan_text(bytes, at + 1)?;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                elements += 1;
                if depth > bounds.depth {
                    return Err(NotJson::TooDeep { limit: bounds.depth });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => elements += 1,
            _ => {}
        }
        // Opening brackets and commas together count each value at least once.
        if elements > bounds.elements.saturating_add(1) {
            return Err(NotJson::TooMany { limit: bounds.elements });
        }
        at += 1;
    }
    Ok(())
}

/// Skips a string whose opening quotation mark is before `at`; returns the position after its end.
fn scan_text(bytes: &[u8], mut at: usize) -> Result<usize, NotJson> {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return Ok(at + 1);
        }
        match surrogate(bytes, at) {
            Some(Surrogate::High) if matches!(surrogate(bytes, at + 6), Some(Surrogate::Low)) => {
                at += 12;
            }
            Some(_) => return Err(NotJson::Surrogate { at }),
            None => at += 2,
        }
    }
    Ok(bytes.len())
}

enum Surrogate {
    High,
    Low,
}

/// Returns which half of a surrogate pair is escaped at `at`, if one is.
fn surrogate(bytes: &[u8], at: usize) -> Option<Surrogate> {
    let escape = bytes.get(at..at + 6)?;
    if escape[0] != b'\\' || escape[1] != b'u' || !escape[2].eq_ignore_ascii_case(&b'd') {
        return None;
    }
    match escape[3].to_ascii_lowercase() {
        b'8' | b'9' | b'a' | b'b' => Some(Surrogate::High),
        b'c'..=b'f' => Some(Surrogate::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(text: &str) -> NotJson {
        parse(text.as_bytes(), Bounds { depth: 3, elements: 6 }).expect_err(text)
    }

    #[test]
    fn what_is_no_body_is_named() {
        assert_eq!(fails(" \n"), NotJson::Empty);
        assert_eq!(parse(b"\"\xff\"", Bounds::default()).err(), Some(NotJson::Encoding { at: 1 }));
        assert!(matches!(fails("{\"a\": 1,}"), NotJson::Syntax(_)));
        assert!(matches!(fails("\u{feff}{}"), NotJson::Syntax(_)));
        assert!(matches!(fails("NaN"), NotJson::Syntax(_)));
        assert!(matches!(fails("{} {}"), NotJson::Syntax(_)));
        assert_eq!(fails("[[[[]]]]"), NotJson::TooDeep { limit: 3 });
        assert_eq!(fails("[1,2,3,4,5,6,7]"), NotJson::TooMany { limit: 6 });
    }

    #[test]
    fn surrogates_come_in_pairs() {
        assert_eq!(fails(r#"["\ud83c"]"#), NotJson::Surrogate { at: 2 });
        assert_eq!(fails(r#"["\udfb5\ud83c"]"#), NotJson::Surrogate { at: 2 });
        assert_eq!(fails(r#"["\ud83c\u0041"]"#), NotJson::Surrogate { at: 2 });
        for good in [r#"["\ud83c\udfb5"]"#, r#"["\\ud83c"]"#, r#"["\uD7FF"]"#, r#"["\"\ue000"]"#] {
            assert!(parse(good.as_bytes(), Bounds::default()).is_ok(), "{good}");
        }
    }

    #[test]
    fn numbers_beyond_floats_and_deep_lists_are_json() {
        let bounds = Bounds { depth: 1000, elements: 1000 };
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let value = |text| parse(text, bounds).map(|body| body.value);
        assert!(matches!(value(b"1e999"), Ok(Value::Scalar)));
        let Ok(Value::List(items)) = value(b"[1e999, {\"a\": -1e999}, null]") else { panic!() };
        assert!(matches!(&items[..], [Value::Scalar, Value::Object(_), Value::Null]));
        assert!(matches!(value(deep.as_bytes()), Ok(Value::List(_))));
        assert!(matches!(value(b"[1e999,"), Err(NotJson::Syntax(_))));
    }

    #[test]
    fn brackets_in_texts_are_text() {
        let bounds = Bounds { depth: 1, elements: 3 };
        assert!(parse(br#"["[[[[,,,,", "\\", "\"[["]"#, bounds).is_ok());
    }
}
