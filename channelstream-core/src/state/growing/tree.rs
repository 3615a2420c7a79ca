//! The payload of a growing message as a tree that grows in the time of what is appended.
//!
//! Texts are kept as JSON has them, escaped: the escaped pieces of a text, one behind the other, are the
//! escaped text. A part is opened when something is appended inside it, and stays as it was sent until
//! then.

use std::borrow::Cow;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_with::As;

use crate::protocol::{Payload, Piece, Pieces, steps};
use crate::state::stored;

/// The most that a message may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The size of the payload in bytes.
    pub(super) size: usize,
    /// The number of items of one list.
    pub(super) items: usize,
}

/// A payload that grows. It serializes as the payload.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// `None` for a message without a payload, to which nothing was appended.
    root: Option<Part>,
    /// The size of the payload in bytes.
    size: usize,
}

#[derive(Clone, Debug)]
enum Part {
    /// A value that nothing was appended to.
    Raw(Arc<RawValue>),
    /// The text without its quotation marks, escaped.
    Text(String),
    List(Vec<Self>),
    Object(Box<IndexMap<String, Self>>),
}

/// A value that something was appended to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Touch {
    /// The key of the value, as a pointer only where a key cannot say it.
    pub(super) key: String,
    /// The bytes of the escaped text or the items of the list before.
    pub(super) before: usize,
    /// `true` if there was no such value.
    created: bool,
}

const NO_PLACE: &str = "there is no place for";
const TYPE_DIFFERS: &str = "type of";

impl Tree {
    pub(super) fn new(payload: Option<&Payload>) -> Self {
        let size = payload.map_or(0, |payload| payload.get().len());
        Self { root: payload.map(|payload| Part::Raw(Arc::clone(payload))), size }
    }

    /// Returns the size of the payload in bytes.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Returns the payload.
    pub(super) fn join(&self) -> Option<Payload> {
        let root = match self.root.as_ref()? {
            Part::Raw(payload) => return Some(Arc::clone(payload)),
            root => root,
        };
        let mut json = String::with_capacity(self.size);
        root.write(&mut json);
        Some(Arc::from(RawValue::from_string(json).expect("a tree is written as valid JSON")))
    }

    /// Appends all pieces, in their order, and returns what they touched.
    ///
    /// # Errors
    /// Returns the reason why it cannot. Then nothing was appended.
    pub(super) fn append(
        &mut self,
        pieces: &Pieces,
        bounds: Bounds,
    ) -> Result<Vec<Touch>, Cow<'static, str>> {
        let was_empty = self.root.is_none();
        if was_empty && !pieces.is_empty() {
            self.root = Some(Part::Object(Box::default()));
            self.size = 2;
        }
        let mut done = Vec::with_capacity(pieces.len());
        let mut failed = None;
        for (key, piece) in pieces {
            match self.append_one(key, piece, bounds) {
                Ok(touch) => done.push(touch),
                Err(reason) => failed = Some(reason),
            }
            if failed.is_some() || self.size > bounds.size {
                break;
            }
        }
        if failed.is_none() && self.size <= bounds.size {
            return Ok(done);
        }
        for touch in done.iter().rev() {
            self.undo(touch);
        }
        if was_empty {
            *self = Self::new(None);
        }
        Err(failed.unwrap_or_else(|| "the message would exceed max_growing_size".into()))
    }

    fn append_one(
        &mut self,
        key: &str,
        piece: &Piece,
        bounds: Bounds,
    ) -> Result<Touch, Cow<'static, str>> {
        let steps = steps(key)?;
        let (last, way) = steps.split_last().expect("a key has one step at least");
        let because = |reason: &str| match reason {
            TYPE_DIFFERS => Cow::Owned(format!("type of {key} differs")),
            _ => Cow::Owned(format!("{reason} {key}")),
        };
        let Self { root: Some(root), size } = self else { return Err(because(NO_PLACE)) };
        let parent = root.descend(way, size).ok_or_else(|| because(NO_PLACE))?;
        parent.open(size);
        let canonical = canonical(&steps);
        let created = parent.create(last, piece, bounds, size).map_err(because)?;
        let part = parent.child(last).ok_or_else(|| because(NO_PLACE))?;
        part.open(size);
        let before = match part.extend(piece, bounds, size) {
            Ok(before) => before,
            Err(reason) => {
                if created {
                    self.undo(&Touch { key: canonical, before: 0, created });
                }
                return Err(because(reason));
            }
        };
        Ok(Touch { key: canonical, before, created })
    }

    /// Takes back the newest append to a value.
    fn undo(&mut self, touch: &Touch) {
        let Ok(steps) = steps(&touch.key) else { return };
        let Some((last, way)) = steps.split_last() else { return };
        let Self { root: Some(root), size } = self else { return };
        let Some(parent) = root.descend(way, size) else { return };
        if let Some(part) = parent.child(last) {
            part.truncate(touch.before, size);
        }
        if touch.created {
            parent.remove_last(last, size);
        }
    }

    /// Returns what is behind each of these values since they had these lengths.
    pub(super) fn behind<'a>(
        &self,
        touched: impl IntoIterator<Item = (&'a str, usize)>,
    ) -> Option<Pieces> {
        let mut root = match self.root.as_ref()? {
            // It is shared: opening the copy costs its parts, and no more than once.
            raw @ Part::Raw(_) => Cow::Owned(raw.clone()),
            root => Cow::Borrowed(root),
        };
        let mut pieces = Pieces::new();
        for (key, before) in touched {
            let steps = steps(key).ok()?;
            let piece = match &mut root {
                Cow::Owned(root) => {
                    let part = root.descend(&steps, &mut 0)?;
                    part.open(&mut 0);
                    part.behind(before)
                }
                Cow::Borrowed(root) => root.find(&steps)?.behind(before),
            };
            pieces.insert(key.to_owned(), piece?);
        }
        Some(pieces)
    }
}

impl Part {
    /// Replaces a raw text, list or object by its parts, and corrects the size.
    fn open(&mut self, size: &mut usize) {
        let Self::Raw(raw) = self else { return };
        let json = raw.get();
        let owned = |raw: &RawValue| Self::Raw(Arc::from(raw.to_owned()));
        let opened = match json.as_bytes().first() {
            Some(b'"') => json
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .map(|escaped| Self::Text(escaped.to_owned())),
            Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(json)
                .ok()
                .map(|items| Self::List(items.into_iter().map(owned).collect())),
            Some(b'{') => {
                serde_json::from_str::<IndexMap<String, &RawValue>>(json).ok().map(|map| {
                    Self::Object(Box::new(
                        map.into_iter().map(|(key, raw)| (key, owned(raw))).collect(),
                    ))
                })
            }
            _ => None,
        };
        let Some(opened) = opened else { return };
        // White space and repeated keys are left out.
        *size = (*size + opened.written()).saturating_sub(json.len());
        *self = opened;
    }

    /// Returns the part at the end of a way, and opens the parts on it.
    fn descend(&mut self, way: &[Cow<'_, str>], size: &mut usize) -> Option<&mut Self> {
        let mut part = self;
        for step in way {
            part.open(size);
            part = part.child(step)?;
        }
        Some(part)
    }

    fn child(&mut self, step: &str) -> Option<&mut Self> {
        match self {
            Self::Object(fields) => fields.get_mut(step),
            Self::List(items) => items.get_mut(index(step)?),
            Self::Raw(_) | Self::Text(_) => None,
        }
    }

    fn find(&self, steps: &[Cow<'_, str>]) -> Option<&Self> {
        let Some((first, rest)) = steps.split_first() else { return Some(self) };
        match self {
            Self::Object(fields) => fields.get(&**first)?.find(rest),
            Self::List(items) => items.get(index(first)?)?.find(rest),
            Self::Raw(_) | Self::Text(_) => None,
        }
    }

    /// Makes an empty value of the type of `piece` if there is none under this key or index. Returns
    /// `true` if there was none.
    fn create(
        &mut self,
        step: &str,
        piece: &Piece,
        bounds: Bounds,
        size: &mut usize,
    ) -> Result<bool, &'static str> {
        let empty = || match piece.escaped() {
            Some(_) => Self::Text(String::new()),
            None => Self::List(Vec::new()),
        };
        match self {
            Self::Object(fields) => {
                if fields.contains_key(step) {
                    return Ok(false);
                }
                *size += usize::from(!fields.is_empty()) + key_size(step) + 2;
                fields.insert(step.to_owned(), empty());
                Ok(true)
            }
            Self::List(items) => {
                let index = index(step).filter(|index| *index <= items.len()).ok_or(NO_PLACE)?;
                if index < items.len() {
                    return Ok(false);
                }
                if items.len() >= bounds.items {
                    return Err(TOO_MANY);
                }
                *size += usize::from(!items.is_empty()) + 2;
                items.push(empty());
                Ok(true)
            }
            Self::Raw(_) | Self::Text(_) => Err(NO_PLACE),
        }
    }

    /// Appends to an open text or list. Returns its length before.
    fn extend(
        &mut self,
        piece: &Piece,
        bounds: Bounds,
        size: &mut usize,
    ) -> Result<usize, &'static str> {
        match (self, piece.escaped()) {
            (Self::Text(text), Some(more)) => {
                let before = text.len();
                text.push_str(more);
                *size += more.len();
                Ok(before)
            }
            (Self::List(items), None) => {
                let more: Vec<&RawValue> =
                    serde_json::from_str(piece.json()).map_err(|_| TYPE_DIFFERS)?;
                let before = items.len();
                if before + more.len() > bounds.items && !more.is_empty() {
                    return Err(TOO_MANY);
                }
                let bytes: usize = more.iter().map(|item| item.get().len()).sum();
                *size += bytes + commas(before + more.len()) - commas(before);
                items.extend(more.into_iter().map(|item| Self::Raw(Arc::from(item.to_owned()))));
                Ok(before)
            }
            _ => Err(TYPE_DIFFERS),
        }
    }

    fn truncate(&mut self, before: usize, size: &mut usize) {
        match self {
            Self::Text(text) => {
                *size -= text.len() - before;
                text.truncate(before);
            }
            Self::List(items) => {
                *size -= commas(items.len()) - commas(before);
                *size -= items.drain(before..).map(|item| item.written()).sum::<usize>();
            }
            Self::Raw(_) | Self::Object(_) => {}
        }
    }

    /// Removes an empty value that was the last to be created.
    fn remove_last(&mut self, step: &str, size: &mut usize) {
        match self {
            Self::Object(fields) => {
                if fields.pop().is_some() {
                    *size -= usize::from(!fields.is_empty()) + key_size(step) + 2;
                }
            }
            Self::List(items) => {
                if items.pop().is_some() {
                    *size -= usize::from(!items.is_empty()) + 2;
                }
            }
            Self::Raw(_) | Self::Text(_) => {}
        }
    }

    /// Returns what is behind the first `before` bytes of the text, or items of the list.
    fn behind(&self, before: usize) -> Option<Piece> {
        match self {
            Self::Text(text) => text.get(before..).map(Piece::from_escaped),
            Self::List(items) => {
                let items = items.get(before..)?.iter().map(|item| {
                    let mut json = String::new();
                    item.write(&mut json);
                    Cow::Owned(json)
                });
                Some(Piece::from_items(items))
            }
            Self::Raw(_) | Self::Object(_) => None,
        }
    }

    fn write(&self, json: &mut String) {
        match self {
            Self::Raw(raw) => json.push_str(raw.get()),
            Self::Text(text) => {
                json.push('"');
                json.push_str(text);
                json.push('"');
            }
            Self::List(items) => {
                json.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        json.push(',');
                    }
                    item.write(json);
                }
                json.push(']');
            }
            Self::Object(fields) => {
                json.push('{');
                for (place, (key, value)) in fields.iter().enumerate() {
                    if place > 0 {
                        json.push(',');
                    }
                    json.push_str(&quoted(key));
                    json.push(':');
                    value.write(json);
                }
                json.push('}');
            }
        }
    }

    /// Returns the size of what `write` writes.
    fn written(&self) -> usize {
        match self {
            Self::Raw(raw) => raw.get().len(),
            Self::Text(text) => text.len() + 2,
            Self::List(items) => {
                items.iter().map(Self::written).sum::<usize>() + commas(items.len()) + 2
            }
            Self::Object(fields) => {
                let values: usize =
                    fields.iter().map(|(key, value)| key_size(key) + value.written()).sum();
                values + commas(fields.len()) + 2
            }
        }
    }
}

const TOO_MANY: &str = "more items than max_growing_items in";

fn commas(items: usize) -> usize {
    items.saturating_sub(1)
}

fn quoted(key: &str) -> String {
    serde_json::to_string(key).expect("a text is JSON")
}

/// Returns the size of a key with its colon.
fn key_size(key: &str) -> usize {
    quoted(key).len() + 1
}

/// Returns the index that a step of a JSON Pointer means: digits, without zeros ahead.
fn index(step: &str) -> Option<usize> {
    let is_index =
        step.bytes().all(|byte| byte.is_ascii_digit()) && (step == "0" || !step.starts_with('0'));
    if is_index { step.parse().ok() } else { None }
}

/// Returns the one key for these steps, however the publisher wrote it.
fn canonical(steps: &[Cow<'_, str>]) -> String {
    match steps {
        [key] if !key.starts_with('/') => key.to_string(),
        _ => steps.iter().fold(String::new(), |pointer, step| {
            pointer + "/" + &step.replace('~', "~0").replace('/', "~1")
        }),
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        As::<Option<stored::SharedPayload>>::serialize(&self.join(), serializer)
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let payload: Option<Payload> =
            As::<Option<stored::SharedPayload>>::deserialize(deserializer)?;
        Ok(Self::new(payload.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Bounds = Bounds { size: 1000, items: 10 };

    fn tree(json: &str) -> Tree {
        Tree::new(Some(&Arc::from(RawValue::from_string(json.to_owned()).unwrap())))
    }

    fn pieces(json: &str) -> Pieces {
        serde_json::from_str(json).unwrap()
    }

    fn joined(tree: &Tree) -> String {
        tree.join().map(|payload| payload.get().to_owned()).unwrap_or_default()
    }

    #[test]
    fn texts_and_lists_grow_in_place() {
        let mut tree = tree(r#"{"n": 1, "text": "a\n", "parts": [{"text": "x"}, 2]}"#);
        for (append, want) in [
            (
                r#"{"text": "b\u00e9\""}"#,
                r#"{"n":1,"text":"a\nb\u00e9\"","parts":[{"text": "x"}, 2]}"#,
            ),
            (
                r#"{"/parts/0/text": "y", "parts": [ {"text": ""} , 1e999]}"#,
                r#"{"n":1,"text":"a\nb\u00e9\"","parts":[{"text":"xy"},2,{"text": ""},1e999]}"#,
            ),
            (
                r#"{"/parts/2/text": "z", "/parts/4": "new", "more": []}"#,
                r#"{"n":1,"text":"a\nb\u00e9\"","parts":[{"text":"xy"},2,{"text":"z"},1e999,"new"],"more":[]}"#,
            ),
        ] {
            tree.append(&pieces(append), WIDE).unwrap();
            assert_eq!(joined(&tree), want);
            assert_eq!(tree.size(), want.len());
        }
    }

    #[test]
    fn what_fails_changes_nothing() {
        for (json, append, reason) in [
            (r#"{"n":1}"#, r#"{"text":"a","n":"b"}"#, "type of n differs"),
            (r#"{"n":"1"}"#, r#"{"n":["b"]}"#, "type of n differs"),
            (r#"{"l":[]}"#, r#"{"/l/0":"a","/l/0/b":"c"}"#, "there is no place for /l/0/b"),
            (r#"{"l":[]}"#, r#"{"/l/1":"a"}"#, "there is no place for /l/1"),
            (r#"{"l":[]}"#, r#"{"/l/01":"a"}"#, "there is no place for /l/01"),
            (r#"{"l":[0]}"#, r#"{"/k/x":"a"}"#, "there is no place for /k/x"),
            (
                r#"{"l":[0]}"#,
                r#"{"l":[1,2],"k":[1,2,3,4,5,6,7,8,9,10,11]}"#,
                "more items than max_growing_items in k",
            ),
            (r#"{"l":[0]}"#, r#"{"a~":"b","/l~2":"c"}"#, "Not a valid JSON Pointer."),
        ] {
            let mut tree = tree(json);
            let error = tree.append(&pieces(append), WIDE).unwrap_err();
            assert_eq!(error, reason, "{json} {append}");
            assert_eq!((joined(&tree), tree.size()), (json.to_owned(), json.len()), "{append}");
        }
        let bounds = Bounds { size: 20, items: 10 };
        let mut empty = Tree::new(None);
        let long = pieces(r#"{"a":"12345678901234567890"}"#);
        assert!(empty.append(&long, bounds).unwrap_err().contains("max_growing_size"));
        assert_eq!((joined(&empty), empty.size()), (String::new(), 0));
        empty.append(&pieces(r#"{"a":"123456789012"}"#), bounds).unwrap();
        assert_eq!(empty.size(), 20);
        assert!(empty.append(&pieces(r#"{"a":"3"}"#), bounds).is_err());
        assert_eq!(joined(&empty), r#"{"a":"123456789012"}"#);
    }

    #[test]
    fn one_value_has_one_key() {
        let mut tree = tree(r#"{"/x":"","a/b":""}"#);
        let touched = tree.append(&pieces(r#"{"/~1x":"1","a/b":"2","/a~1b":"3"}"#), WIDE).unwrap();
        let keys: Vec<_> = touched.iter().map(|touch| (&*touch.key, touch.before)).collect();
        assert_eq!(keys, [("/~1x", 0), ("a/b", 0), ("a/b", 1)]);
        assert_eq!(joined(&tree), r#"{"/x":"1","a/b":"23"}"#);
    }

    #[test]
    fn what_is_behind_a_length() {
        let mut tree = tree(r#"{"text":"ab","l":[1,2]}"#);
        let behind = |tree: &Tree| {
            serde_json::to_string(&tree.behind([("text", 1), ("l", 1)]).unwrap()).unwrap()
        };
        assert_eq!(behind(&tree), r#"{"text":"b","l":[2]}"#);
        tree.append(&pieces(r#"{"text":"c","l":[3,4]}"#), WIDE).unwrap();
        assert_eq!(behind(&tree), r#"{"text":"bc","l":[2,3,4]}"#);
        assert!(tree.behind([("nothing", 0)]).is_none());
        assert!(tree.behind([("text", 9)]).is_none());
    }
}
