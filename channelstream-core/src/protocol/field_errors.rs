//! Field errors: what is wrong with the fields of a request, as a 422 reports it (contract §4).

use std::fmt::{self, Debug, Formatter};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::redact::FirstDigits;

/// The text for a value that must be an object or a list and is not.
pub(super) const WRONG_TYPE: &str = "Invalid input type.";

/// What is wrong with one field: texts, or the errors of the values in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldError {
    /// Texts about the field itself.
    Texts(Vec<String>),
    /// Errors inside the field, by key or index.
    Inner(FieldErrors),
}

impl FieldError {
    /// Creates an error with one text.
    pub fn text(text: &str) -> Self {
        Self::Texts(vec![text.to_owned()])
    }

    /// Creates the error of a value that must be an object with fixed fields and is not.
    pub(crate) fn not_an_object() -> Self {
        Self::Inner(FieldErrors::from_texts("_schema", [WRONG_TYPE]))
    }
}

/// All errors of one request: each field with its texts or inner errors, in the order in which they
/// were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldErrors(IndexMap<String, FieldError>);

impl FieldErrors {
    /// Creates an empty set of errors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a set with these texts about one field.
    pub fn from_texts<const N: usize>(field: &str, texts: [&str; N]) -> Self {
        let mut errors = Self::new();
        for text in texts {
            errors.add(field, FieldError::text(text));
        }
        errors
    }

    /// Returns `true` if there are no errors.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds `error` to `field`. Texts are appended to texts, inner errors merged into inner errors; of
    /// two different kinds the first one stays.
    pub fn add(&mut self, field: &str, error: FieldError) {
        match (self.0.get_mut(field), error) {
            (Some(FieldError::Texts(old)), FieldError::Texts(new)) => old.extend(new),
            (Some(FieldError::Inner(old)), FieldError::Inner(new)) => old.merge(new),
            (Some(_), _) => {}
            (None, error) => {
                self.0.insert(field.to_owned(), error);
            }
        }
    }

    /// Adds all errors of `others`.
    pub fn merge(&mut self, others: Self) {
        for (field, error) in others.0 {
            self.add(&field, error);
        }
    }

    /// Adds all errors of `others`, and moves their fields to the front.
    pub fn merge_first(&mut self, others: Self) {
        for (place, (field, error)) in others.0.into_iter().enumerate() {
            self.add(&field, error);
            if let Some(from) = self.0.get_index_of(&field) {
                self.0.move_index(from, place);
            }
        }
    }

    /// Iterates over the fields with their errors.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FieldError)> {
        self.0.iter().map(|(field, error)| (field.as_str(), error))
    }
}

/// The result of reading an invalid request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected {
    /// What is wrong with the fields.
    pub errors: FieldErrors,
    /// What the request names and the state may not know. Readers do not know the state: the caller
    /// adds the error of what does not exist, so that one answer reports all errors.
    pub named: Option<Named>,
}

/// Something that a request names by a valid id.
#[derive(Clone, PartialEq, Eq)]
pub enum Named {
    /// A connection.
    Connection(Uuid),
    /// A user.
    User(String),
}

impl Debug for Named {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(id) => f.debug_tuple("Connection").field(&FirstDigits(*id)).finish(),
            Self::User(name) => f.debug_tuple("User").field(name).finish(),
        }
    }
}

impl From<FieldErrors> for Rejected {
    fn from(errors: FieldErrors) -> Self {
        Self { errors, named: None }
    }
}
