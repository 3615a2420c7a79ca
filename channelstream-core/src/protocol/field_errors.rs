//! FieldErrors: what is wrong with a request's fields, as answered with 422 (contract §4).

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// What is told of a value that is no object, or no list, where one has to be.
pub(super) const WRONG_TYPE: &str = "Invalid input type.";

/// What is wrong with one field: texts, or the faults of what the field holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldError {
    /// Texts about the field itself.
    Texts(Vec<String>),
    /// FieldErrors inside it, by key or index.
    Inner(FieldErrors),
}

impl FieldError {
    /// One text.
    pub fn text(text: &str) -> Self {
        Self::Texts(vec![text.to_owned()])
    }

    /// A value that is not of the structure which is fixed for its place.
    pub(crate) fn not_an_object() -> Self {
        Self::Inner(FieldErrors::from_texts("_schema", [WRONG_TYPE]))
    }
}

/// All faults of one request: field → texts or inner faults, in the order they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldErrors(IndexMap<String, FieldError>);

impl FieldErrors {
    /// No faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Texts about one field and nothing else.
    pub fn from_texts<const N: usize>(field: &str, texts: [&str; N]) -> Self {
        let mut faults = Self::new();
        for text in texts {
            faults.add(field, FieldError::text(text));
        }
        faults
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds `fault` to `field`; texts are put behind texts that stand there already.
    pub fn add(&mut self, field: &str, fault: FieldError) {
        match (self.0.get_mut(field), fault) {
            (Some(FieldError::Texts(old)), FieldError::Texts(new)) => old.extend(new),
            (Some(FieldError::Inner(old)), FieldError::Inner(new)) => old.merge(new),
            (Some(_), _) => {} // what a field is comes before what it holds
            (None, fault) => {
                self.0.insert(field.to_owned(), fault);
            }
        }
    }

    /// Adds all of `others`.
    pub fn merge(&mut self, others: Self) {
        for (field, fault) in others.0 {
            self.add(&field, fault);
        }
    }

    /// The fields with what is wrong with each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FieldError)> {
        self.0.iter().map(|(field, fault)| (field.as_str(), fault))
    }
}
