//! The body of `POST /test/advance`, with which tests let time pass, and its answer.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::Body;
use super::field_errors::{FieldError, Rejected, WRONG_TYPE};
use super::read::{Form, Object, read_object};
use super::schema::Schema;
use super::timestamp::DateTime;

/// The body of `POST /test/advance`: time passes on a server with a test clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Advance {
    /// How many seconds pass, with decimals or without; 0 to [`Advance::LONGEST`].
    pub seconds: f64,
}

impl Advance {
    /// The most seconds that pass at once: a year of 365 days.
    pub const LONGEST: u32 = 365 * 86_400;

    /// Creates a request that lets this many seconds pass.
    pub fn new(seconds: f64) -> Self {
        Self { seconds }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// Returns all errors of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, Rejected> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self { seconds: object.required("seconds", Seconds) }
    }
}

/// The answer of `POST /test/advance`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Advanced {
    /// The time of day that the events of now have.
    pub now: DateTime,
}

impl Advanced {
    /// Creates the answer.
    #[must_use]
    pub fn new(now: DateTime) -> Self {
        Self { now }
    }
}

/// A number of seconds. A text is none: no program of before sends one here.
#[derive(Clone, Copy)]
struct Seconds;

impl Form<'_> for Seconds {
    type Value = f64;

    fn read(&self, raw: &RawValue) -> Result<f64, FieldError> {
        let not_a_number = |_| FieldError::text("Not a valid number.");
        let seconds: f64 = raw.get().parse().map_err(not_a_number)?;
        if (0.0..=f64::from(Advance::LONGEST)).contains(&seconds) {
            return Ok(seconds);
        }
        Err(FieldError::text(&format!("Must be between 0 and {}.", Advance::LONGEST)))
    }

    fn schema(&self) -> Schema {
        Schema::Number { min: 0, max: Advance::LONGEST }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bounds, parse};
    use super::*;

    fn read(json: &str) -> Result<Advance, Rejected> {
        Advance::read(&parse(json.as_bytes(), Bounds::default()).unwrap().strict(true))
    }

    #[test]
    fn seconds_are_numbers_within_a_year() {
        for (json, seconds) in [
            (r#"{"seconds": 0}"#, 0.0),
            (r#"{"seconds": -0.0}"#, 0.0),
            (r#"{"seconds": 20}"#, 20.0),
            (r#"{"seconds": 0.25}"#, 0.25),
            (r#"{"seconds": 1e3}"#, 1000.0),
            (r#"{"seconds": 31536000}"#, 31_536_000.0),
        ] {
            assert_eq!(read(json).unwrap().seconds, seconds, "{json}");
        }
        for json in [
            "{}",
            "[]",
            r#"{"seconds": null}"#,
            r#"{"seconds": "20"}"#,
            r#"{"seconds": true}"#,
            r#"{"seconds": [20]}"#,
            r#"{"seconds": -0.001}"#,
            r#"{"seconds": 31536000.1}"#,
            r#"{"seconds": 1e400}"#,
            r#"{"seconds": 1, "second": 1}"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
