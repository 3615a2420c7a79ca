//! Schemas: what the value of a field may be, as the readers of requests describe themselves.
//!
//! A reader asks an object for its fields one after another. Asked to describe itself, the same code
//! records the fields instead, so a description always agrees with what is read. The alternative forms
//! that contract §4 allows, such as `"true"` or `1` for a boolean, are not part of a schema.

/// What a value may be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Schema {
    /// A string with this many characters.
    Text { min: usize, max: usize },
    /// A UUID.
    Uuid,
    /// A cursor.
    Cursor,
    /// A date and time, with a zone or without.
    Time,
    /// A boolean.
    Boolean,
    /// A whole number of at least 0.
    Size,
    /// A whole number within bounds.
    Between { min: u64, max: u64 },
    /// A number within bounds.
    Number { min: u32, max: u32 },
    /// One of some texts.
    OneOf(&'static [&'static str]),
    /// A string or a list.
    Piece,
    /// A string, number, boolean or null.
    Scalar,
    /// An object with any fields.
    AnyObject,
    /// A list.
    List { items: Box<Self>, at_least: usize },
    /// An object with any keys.
    Mapping(Box<Self>),
    /// An object with these fields, which has a name of its own.
    Object { name: &'static str, fields: Vec<Field> },
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) nullable: bool,
    pub(super) schema: Schema,
}
