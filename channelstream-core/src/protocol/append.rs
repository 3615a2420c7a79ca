//! Appends: how a growing message is opened, and the items of `PATCH /message` that let it grow
//! (contract §14).

use std::borrow::Cow;
use std::fmt::{self, Debug, Formatter};
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::body::{Body, Value};
use super::field_errors::{FieldError, FieldErrors, Rejected, WRONG_TYPE};
use super::growth::Status;
use super::message::Edit;
use super::read::{Form, Id, Mapping, Object, Size, USER, any_text, list, mapping, read_object};
use super::redact::FirstDigits;
use super::schema::Schema;

/// What opens a message that grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opening {
    /// [`Status::Open`].
    pub(crate) status: Status,
    /// The silence, in seconds, after which the message is stalled. If absent, the setting counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) append_timeout: Option<u64>,
    /// The users who may cancel it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cancel_by: Vec<String>,
}

impl Opening {
    /// The longest `append_timeout`, in seconds.
    pub const LONGEST_TIMEOUT: u64 = 3600;

    /// Creates the opening of a message that these users may cancel.
    pub fn new<T: Into<String>>(cancel_by: impl IntoIterator<Item = T>) -> Self {
        let cancel_by = cancel_by.into_iter().map(Into::into).collect();
        Self { status: Status::Open, append_timeout: None, cancel_by }
    }

    /// Sets the silence after which the message is stalled, in seconds; 1 to 3600.
    #[must_use]
    pub fn append_timeout(mut self, seconds: u64) -> Self {
        self.append_timeout = Some(seconds.clamp(1, Self::LONGEST_TIMEOUT));
        self
    }

    /// Returns the silence after which the message is stalled, if it is set.
    pub fn timeout(&self) -> Option<Duration> {
        self.append_timeout.map(Duration::from_secs)
    }

    /// Restores an opening from its parts.
    pub(super) fn of(
        status: Option<Status>,
        append_timeout: Option<u64>,
        cancel_by: Vec<String>,
    ) -> Option<Self> {
        (status == Some(Status::Open)).then_some(Self {
            status: Status::Open,
            append_timeout,
            cancel_by,
        })
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Option<Self> {
        let status = object.optional("status", OneOf(&["open"]));
        let append_timeout = object.optional("append_timeout", Between(1, Self::LONGEST_TIMEOUT));
        let cancel_by = object.optional("cancel_by", list(USER));
        if status.is_none() && !object.has("status") {
            for (field, is_given) in
                [("append_timeout", append_timeout.is_some()), ("cancel_by", cancel_by.is_some())]
            {
                if is_given {
                    object.refuse(field, FieldError::text("Needs status \"open\"."));
                }
            }
        }
        Self::of(status, append_timeout, cancel_by.unwrap_or_default())
    }
}

/// What goes behind the value of a key: the JSON of a text or a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Piece(Box<RawValue>);

impl Piece {
    /// Creates a piece from JSON, if it is a text or a list.
    pub fn new(json: Box<RawValue>) -> Option<Self> {
        json.get().starts_with(['"', '[']).then_some(Self(json))
    }

    /// Creates a piece of text.
    pub fn text(text: &str) -> Self {
        let json = serde_json::value::to_raw_value(text).expect("a text is JSON");
        Self(json)
    }

    /// Returns the JSON.
    pub fn json(&self) -> &str {
        self.0.get()
    }

    /// Returns `true` if both are texts or both are lists.
    pub fn is_like(&self, other: &Self) -> bool {
        self.json().as_bytes().first() == other.json().as_bytes().first()
    }

    /// Returns pieces that are all [like](Self::is_like) each other as one.
    pub fn join(pieces: &[Self]) -> Option<Self> {
        let (first, rest) = pieces.split_first()?;
        if rest.is_empty() {
            return Some(first.clone());
        }
        let is_text = first.json().starts_with('"');
        let (open, close) = if is_text { ('"', '"') } else { ('[', ']') };
        let mut json = String::from(open);
        for piece in pieces.iter().filter(|piece| piece.is_like(first)) {
            let inner = piece.json().strip_prefix(open)?.strip_suffix(close)?;
            if !is_text && json.len() > 1 && !inner.trim_ascii().is_empty() {
                json.push(',');
            }
            json.push_str(if is_text { inner } else { inner.trim_ascii() });
        }
        json.push(close);
        Some(Self::from_json(json))
    }

    /// Returns the text as JSON without its quotation marks, unless it is a list.
    #[cfg(feature = "state")]
    pub(crate) fn escaped(&self) -> Option<&str> {
        self.json().strip_prefix('"')?.strip_suffix('"')
    }

    /// Creates a piece of a text that is escaped already.
    #[cfg(feature = "state")]
    pub(crate) fn from_escaped(escaped: &str) -> Self {
        Self::from_json(format!("\"{escaped}\""))
    }

    /// Creates a list from its items, which are JSON.
    #[cfg(feature = "state")]
    pub(crate) fn from_items<'a>(items: impl IntoIterator<Item = Cow<'a, str>>) -> Self {
        let items: Vec<_> = items.into_iter().collect();
        Self::from_json(format!("[{}]", items.join(",")))
    }

    fn from_json(json: String) -> Self {
        Self(RawValue::from_string(json).expect("it is put together from valid JSON"))
    }
}

/// What is appended: a piece for each key or JSON Pointer.
pub type Pieces = IndexMap<String, Piece>;

/// An item of `PATCH /message` that lets a message grow, or ends it.
#[derive(Clone, Debug, Serialize)]
pub struct AppendRequest {
    /// The id of the message.
    pub uuid: Uuid,
    /// The channel, if the caller names one. Then the message must be of this channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What is appended; empty if only the status changes.
    pub append: Pieces,
    /// The final status, if the message ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The publisher's own number of this item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
}

impl AppendRequest {
    /// Creates an item that changes nothing yet.
    pub fn new(uuid: Uuid, channel: Option<String>) -> Self {
        Self { uuid, channel, append: Pieces::new(), status: None, step: None }
    }

    /// Appends a text to a key.
    #[must_use]
    pub fn text(mut self, key: impl Into<String>, text: &str) -> Self {
        self.append.insert(key.into(), Piece::text(text));
        self
    }

    /// Sets the final status.
    #[must_use]
    pub fn status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// Sets the publisher's number of the item.
    #[must_use]
    pub fn step(mut self, step: u64) -> Self {
        self.step = Some(step);
        self
    }
}

/// The largest step: programs in JavaScript count exactly up to here.
const LAST_STEP: u64 = (1 << 53) - 1;

/// An item of `PATCH /message`.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Change {
    /// It replaces parts of a message.
    Edit(Edit),
    /// It lets a message grow, or ends it.
    Append(AppendRequest),
}

/// A change counts as a list of one.
impl From<Change> for Vec<Change> {
    fn from(one: Change) -> Self {
        vec![one]
    }
}

impl Change {
    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        let edit = Edit::fields(object);
        let append = object.optional("append", Mapping(AnyPiece));
        let status = object.optional("status", OneOf(&["done", "cancelled", "failed"]));
        let step = object.optional("step", Between(1, LAST_STEP));
        let grows = object.has("append") || object.has("status");
        if grows && object.has("message") {
            object.refuse("message", FieldError::text("Not together with append or status."));
        }
        if !grows && object.has("step") {
            object.refuse("step", FieldError::text("Needs append or status."));
        }
        if !grows {
            return Self::Edit(edit);
        }
        let append = append.unwrap_or_default();
        let errors = pointer_errors(&append);
        if !errors.is_empty() {
            object.refuse("append", FieldError::Inner(errors));
        }
        let channel = edit.address.channel;
        Self::Append(AppendRequest { uuid: edit.uuid, channel, append, status, step })
    }

    /// Returns the edit, for the description of the fields.
    pub(super) fn edit_of_fields(object: &mut Object<'_>) -> Option<Edit> {
        match Self::fields(object) {
            Self::Edit(edit) => Some(edit),
            Self::Append(_) => None,
        }
    }
}

/// Reads a body that is what `append` of an item is.
///
/// # Errors
/// Returns all errors of the body.
pub fn read_pieces(body: &Body<'_>) -> Result<Pieces, Rejected> {
    let Value::Object(fields) = &body.value else {
        return Err(FieldErrors::from_texts("_schema", [WRONG_TYPE]).into());
    };
    let pieces = mapping(fields, |value| AnyPiece.read(value))?;
    let errors = pointer_errors(&pieces);
    if errors.is_empty() { Ok(pieces) } else { Err(errors.into()) }
}

/// Returns what is wrong with keys that are JSON Pointers.
fn pointer_errors(pieces: &Pieces) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for pointer in pieces.keys() {
        if let Err(reason) = steps(pointer) {
            errors.add(pointer, FieldError::text(reason));
        }
    }
    errors
}

/// Returns the steps to the value that a key of an append means: the key itself, or those of a JSON
/// Pointer (RFC 6901).
///
/// # Errors
/// Returns why it is no pointer.
pub(crate) fn steps(key: &str) -> Result<Vec<Cow<'_, str>>, &'static str> {
    /// More steps would let a payload become deeper than programs read.
    const MOST_STEPS: usize = 16;
    let Some(pointer) = key.strip_prefix('/') else { return Ok(vec![Cow::Borrowed(key)]) };
    if pointer.bytes().filter(|byte| *byte == b'/').count() >= MOST_STEPS {
        return Err("A pointer has at most 16 steps.");
    }
    pointer.split('/').map(unescaped).collect()
}

fn unescaped(step: &str) -> Result<Cow<'_, str>, &'static str> {
    if !step.contains('~') {
        return Ok(Cow::Borrowed(step));
    }
    if step.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
        return Err("Not a valid JSON Pointer.");
    }
    Ok(Cow::Owned(step.replace("~1", "/").replace("~0", "~")))
}

/// What was done with an item of `PATCH /message` that has an append or a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Taken {
    /// The id of the message.
    pub uuid: Uuid,
    /// The channel of the message.
    pub channel: Option<String>,
    /// `true` if it is done, now or by an earlier repeat.
    pub taken: bool,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'static, str>>,
    /// The number of changes of the message so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<u64>,
    /// The status of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The size of its payload in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// The last step of its publisher, if steps are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
}

impl Taken {
    /// There is no such message, or it is of another channel.
    pub const UNKNOWN: &'static str = "unknown message";
    /// The message was not opened as one that grows.
    pub const NOT_OPEN: &'static str = "not open";
    /// The step is not the next one.
    pub const STEP_MISSING: &'static str = "a step is missing";

    /// Creates the answer about a message of which nothing is known.
    #[cfg(feature = "state")]
    pub(crate) fn unknown(uuid: Uuid, channel: Option<String>, reason: &'static str) -> Self {
        Self {
            uuid,
            channel,
            taken: false,
            reason: Some(reason.into()),
            rev: None,
            status: None,
            size: None,
            step: None,
        }
    }
}

/// A message has grown, or its status changed.
#[derive(Clone, Debug)]
pub struct Append {
    /// The id of the message.
    pub uuid: Uuid,
    /// The channel of the message.
    pub channel: Option<String>,
    /// What is new behind each value; empty if only the status changed.
    pub append: Pieces,
    /// The `rev` of the message before.
    pub from: u64,
    /// The `rev` of the message after.
    pub rev: u64,
    /// The status, if it changed.
    pub status: Option<Status>,
}

/// The body of `POST /cancel`: a reader cancels a growing message.
#[derive(Clone, Copy, Deserialize)]
pub struct Cancel {
    /// The id of a connection of the reader.
    pub conn_id: Uuid,
    /// The id of the message.
    pub uuid: Uuid,
}

impl Debug for Cancel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { conn_id, uuid } = self;
        f.debug_struct("Cancel")
            .field("conn_id", &FirstDigits(*conn_id))
            .field("uuid", uuid)
            .finish()
    }
}

impl Serialize for Cancel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("conn_id", self.conn_id), ("uuid", self.uuid)])
    }
}

impl Cancel {
    /// Reads a body.
    ///
    /// # Errors
    /// Returns all errors of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, Rejected> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self { conn_id: object.existing_connection(), uuid: object.required("uuid", Id) }
    }
}

/// One of some texts, each of which is a status.
#[derive(Clone, Copy)]
struct OneOf(&'static [&'static str]);

impl Form<'_> for OneOf {
    type Value = Status;

    fn read(&self, raw: &RawValue) -> Result<Status, FieldError> {
        let text = any_text(raw)?;
        let known = self.0.contains(&text.as_str());
        let status = known.then(|| serde_json::from_str(raw.get()).ok()).flatten();
        status.ok_or_else(|| FieldError::text(&format!("Must be one of: {}.", self.0.join(", "))))
    }

    fn schema(&self) -> Schema {
        Schema::OneOf(self.0)
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy)]
pub(super) struct Between(pub(super) u64, pub(super) u64);

impl Form<'_> for Between {
    type Value = u64;

    fn read(&self, raw: &RawValue) -> Result<u64, FieldError> {
        let Self(min, max) = *self;
        let number = Size.read(raw)?;
        if (min..=max).contains(&number) {
            Ok(number)
        } else {
            Err(FieldError::text(&format!("Must be between {min} and {max}.")))
        }
    }

    fn schema(&self) -> Schema {
        Schema::Between { min: self.0, max: self.1 }
    }
}

/// A text or a list, kept as JSON.
#[derive(Clone, Copy)]
struct AnyPiece;

impl Form<'_> for AnyPiece {
    type Value = Piece;

    fn read(&self, raw: &RawValue) -> Result<Piece, FieldError> {
        Piece::new(raw.to_owned()).ok_or_else(|| FieldError::text("Not a text or a list."))
    }

    fn schema(&self) -> Schema {
        Schema::Piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Bounds, parse, read_changes};

    fn piece(json: &str) -> Piece {
        Piece::new(RawValue::from_string(json.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn pointers_have_steps() {
        for (key, want) in [
            ("text", vec!["text"]),
            ("", vec![""]),
            ("/", vec![""]),
            ("/a/0/b", vec!["a", "0", "b"]),
            ("/~1a~0b/~01", vec!["/a~b", "~1"]),
            ("a/b~2", vec!["a/b~2"]),
        ] {
            assert_eq!(steps(key).unwrap(), want, "{key}");
        }
        for key in ["/~", "/a~2", "/a/b~", &"/a".repeat(17)] {
            assert!(steps(key).is_err(), "{key}");
        }
        assert!(steps(&"/a".repeat(16)).is_ok());
    }

    #[test]
    fn pieces_of_a_kind_are_joined() {
        let joined = |pieces: &[&str]| {
            let pieces: Vec<_> = pieces.iter().map(|json| piece(json)).collect();
            Piece::join(&pieces).map(|piece| piece.json().to_owned())
        };
        assert_eq!(joined(&[]), None);
        assert_eq!(joined(&[r#""a\n""#, r#""""#, r#""\"""#]).unwrap(), r#""a\n\"""#);
        assert_eq!(joined(&["[ ]", "[1, 2]", "[]", "[\n[3]\n]", "[ ]"]).unwrap(), "[1, 2,[3]]");
        assert!(Piece::new(RawValue::from_string("7".to_owned()).unwrap()).is_none());
    }

    #[test]
    fn items_are_read_as_what_they_are() {
        let body = br#"[{"uuid": "00000000-0000-0000-0000-000000000007", "message": {}},
            {"uuid": "00000000-0000-0000-0000-000000000007", "append": {}, "step": "3"},
            {"uuid": "00000000-0000-0000-0000-000000000007", "status": "cancelled"}]"#;
        let changes = read_changes(&parse(body, Bounds::default()).unwrap()).unwrap();
        let [Change::Edit(edit), Change::Append(append), Change::Append(end)] = &changes[..] else {
            panic!("{changes:?}")
        };
        assert!(edit.payload.is_some());
        assert_eq!((append.step, append.status), (Some(3), None));
        assert_eq!((end.step, end.status), (None, Some(Status::Cancelled)));
        let text = serde_json::to_string(&changes).unwrap();
        let again = read_changes(&parse(text.as_bytes(), Bounds::default()).unwrap()).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
    }
}
