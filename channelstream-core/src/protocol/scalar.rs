//! Values of a user's state, and their equality (contract §5).

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::field_errors::FieldError;

/// The state of a user, or the public part of it: keys in the order they were set.
pub type UserState = IndexMap<String, Scalar>;

/// A value of a user's state: null, a boolean, a number or a string, kept as it was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scalar(Box<RawValue>);

impl Scalar {
    pub(crate) fn read(raw: &RawValue) -> Result<Self, FieldError> {
        if raw.get().starts_with(['{', '[']) {
            return Err(FieldError::text(
                "Value is not type of string, integer, boolean or float.",
            ));
        }
        Ok(Self(raw.to_owned()))
    }

    /// Returns null. An absent key counts as null.
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }

    /// Returns the value as JSON.
    pub fn json(&self) -> &str {
        self.0.get()
    }

    /// Returns `true` if both are the same value. 1, 1.0 and true are the same, and so are different
    /// spellings of one string.
    pub fn same_as(&self, other: &Self) -> bool {
        let (left, right) = (self.json(), other.json());
        if left == right {
            return true;
        }
        if left.starts_with('"') && right.starts_with('"') {
            let text = |json| serde_json::from_str::<String>(json).ok();
            return text(left) == text(right);
        }
        match (integer(left), integer(right)) {
            (Some(left), Some(right)) => left == right,
            _ => matches!((number(left), number(right)), (Some(l), Some(r)) if l == r),
        }
    }
}

impl Default for Scalar {
    fn default() -> Self {
        Self::null()
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self(written(&text))
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self(written(&value))
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Self {
        Self(written(&value))
    }
}

impl From<f64> for Scalar {
    /// A number that is not finite becomes null, as everywhere in JSON.
    fn from(value: f64) -> Self {
        Self(written(&value))
    }
}

fn written(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("texts, booleans and numbers are always JSON")
}

fn integer(json: &str) -> Option<i128> {
    match json {
        "true" => Some(1),
        "false" => Some(0),
        _ => json.parse().ok(),
    }
}

fn number(json: &str) -> Option<f64> {
    match json {
        "true" => Some(1.0),
        "false" => Some(0.0),
        _ => json.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sameness() {
        let scalar = |json: &str| Scalar::read(serde_json::from_str(json).unwrap()).unwrap();
        for (left, right, same) in [
            ("1", "1.0", true),
            ("1", "true", true),
            ("0", "false", true),
            ("0", "null", false),
            ("1e2", "100", true),
            ("\"a\"", "\"\\u0061\"", true),
            ("\"1\"", "1", false),
            ("9007199254740993", "9007199254740992", false),
            ("-0", "0", true),
            ("\"true\"", "true", false),
        ] {
            assert_eq!(scalar(left).same_as(&scalar(right)), same, "{left} {right}");
        }
        assert!(Scalar::read(serde_json::from_str("[1]").unwrap()).is_err());
    }
}
