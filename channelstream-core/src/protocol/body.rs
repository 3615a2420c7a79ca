//! From bytes to JSON: what is accepted as a body at all, and within which bounds.

use std::fmt::{self, Formatter};

use memchr::memchr2;
use serde::de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use super::read::Fields;

/// How much structure one body may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Deepest nesting of lists and objects.
    pub depth: usize,
    /// Number of values of any kind, keys not counted.
    pub elements: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { depth: 64, elements: 100_000 }
    }
}

/// Why some bytes are no JSON body; positions are in bytes, counted from 0.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotJson {
    /// Nothing, or only white space.
    #[error("the body is empty, JSON is expected")]
    Empty,
    /// Not UTF-8.
    #[error("the body is not UTF-8 at byte {at}")]
    Encoding {
        /// Where the first wrong byte stands.
        at: usize,
    },
    /// UTF-8, but not JSON.
    #[error("the body is not JSON: {0}")]
    Syntax(String),
    /// Half of a surrogate pair, which no text can hold.
    #[error("the body has an unpaired surrogate escape at byte {at}")]
    Surrogate {
        /// Where the escape begins.
        at: usize,
    },
    /// Nested deeper than the bounds allow.
    #[error("the body is nested deeper than {limit} levels")]
    TooDeep {
        /// The bound.
        limit: usize,
    },
    /// More values than the bounds allow.
    #[error("the body holds more than {limit} values")]
    TooMany {
        /// The bound.
        limit: usize,
    },
}

/// The body of a request, for the `read` functions. It is JSON within the bounds: UTF-8, syntax and
/// surrogate pairs have been checked.
#[derive(Debug)]
pub struct Body<'a>(pub(super) Value<'a>);

/// A value, taken apart as far as every reader needs it: once, since that is a good part of what a
/// request costs.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Object(Fields<'a>),
    List(Vec<Self>),
    Null,
    /// A text, a number or a boolean.
    Scalar,
}

/// Reads `bytes` as one JSON value.
///
/// # Errors
/// [`NotJson`] tells what is wrong and where.
pub fn parse(bytes: &[u8], bounds: Bounds) -> Result<Body<'_>, NotJson> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| NotJson::Encoding { at: error.valid_up_to() })?;
    if text.trim_ascii().is_empty() {
        return Err(NotJson::Empty);
    }
    scan(bytes, bounds)?;
    let value = serde_json::from_str(text).or_else(|_| serde_json::from_str(text).map(beyond));
    value.map(Body).map_err(|error| NotJson::Syntax(error.to_string()))
}

/// What is JSON although it does not fit into a [`Value`]: a number beyond all that serde_json
/// holds, alone or in a list, or lists nested deeper than it goes.
fn beyond(raw: &RawValue) -> Value<'_> {
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

/// Depth, count and surrogates in one pass; syntax is left to the parser.
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

/// Passes over a string whose quotation mark stands before `at`; gives the place after its end.
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

/// Whether an escape of half a character begins at `at`.
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
        let value = |text| parse(text, bounds).map(|Body(value)| value);
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
