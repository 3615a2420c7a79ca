//! Marks: how long each value of a growing message was before its newest appends.

use std::collections::VecDeque;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::tree::{Touch, Tree};
use crate::protocol::{Pieces, steps};
use crate::state::Sequence;

/// The most values in the marks of one message, each counted as often as it was appended to.
const MOST: usize = 256;

/// The newest appends of a message, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Marks {
    /// The number since which there is a mark for each change.
    complete_since: Sequence,
    marks: VecDeque<Mark>,
    /// How many values the marks have together; a mark without any counts as one.
    weight: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mark {
    /// The number of the append.
    sequence: Sequence,
    /// The `rev` before it.
    from: u64,
    touched: Vec<Touch>,
    changed_status: bool,
}

impl Mark {
    fn weight(&self) -> usize {
        self.touched.len().max(1)
    }
}

/// What was appended since a number.
#[derive(Debug)]
pub(super) struct Behind {
    pub(super) pieces: Pieces,
    pub(super) from: u64,
    pub(super) changed_status: bool,
}

impl Marks {
    /// Creates the marks of a message that has no appends since this number.
    pub(super) fn since(sequence: Sequence) -> Self {
        Self { complete_since: sequence, marks: VecDeque::new(), weight: 0 }
    }

    pub(super) fn push(
        &mut self,
        sequence: Sequence,
        from: u64,
        touched: Vec<Touch>,
        changed_status: bool,
    ) {
        let mark = Mark { sequence, from, touched, changed_status };
        self.weight += mark.weight();
        self.marks.push_back(mark);
        while self.weight > MOST {
            let Some(oldest) = self.marks.pop_front() else { break };
            self.weight -= oldest.weight();
            self.complete_since = oldest.sequence;
        }
    }

    /// Returns what was appended after a number, unless the marks do not reach back.
    pub(super) fn behind(&self, tree: &Tree, after: Sequence) -> Option<Behind> {
        if after < self.complete_since {
            return None;
        }
        let begin = self.marks.partition_point(|mark| mark.sequence <= after);
        let from = self.marks.get(begin)?.from;
        let newer = || self.marks.range(begin..);
        let mut lengths: IndexMap<&str, usize> = IndexMap::new();
        for touch in newer().flat_map(|mark| &mark.touched) {
            lengths.entry(&touch.key).or_insert(touch.before);
        }
        let apart = lengths.iter().filter(|(key, _)| !is_inside(key, &lengths));
        let pieces = tree.behind(apart.map(|(key, before)| (*key, *before)))?;
        let changed_status = newer().any(|mark| mark.changed_status);
        Some(Behind { pieces, from, changed_status })
    }
}

/// Returns `true` if a value is part of an item that is behind the length of its list. It comes with the
/// item.
fn is_inside(key: &str, lengths: &IndexMap<&str, usize>) -> bool {
    if !key.starts_with('/') {
        return false;
    }
    let ends = key.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/');
    for (end, _) in ends {
        let list = &key[..end];
        let item = key[end + 1..].split('/').next().and_then(|index| index.parse::<usize>().ok());
        let length = lengths.get(list).or_else(|| {
            // A list right below the root has a plain key.
            let plain = steps(list).ok().filter(|steps| steps.len() == 1)?;
            lengths.get(&*plain[0])
        });
        if let (Some(item), Some(length)) = (item, length)
            && item >= *length
        {
            return true;
        }
    }
    // The item itself, if it was created by its index, is found under the list only if the list was
    // appended to as well, which the loop has seen.
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::value::RawValue;

    use super::super::tree::Bounds;
    use super::*;

    const WIDE: Bounds = Bounds { size: 100_000, items: 10_000 };

    struct Message {
        tree: Tree,
        marks: Marks,
        rev: u64,
    }

    impl Message {
        fn new(json: &str) -> Self {
            let payload = Arc::from(RawValue::from_string(json.to_owned()).unwrap());
            Self { tree: Tree::new(Some(&payload)), marks: Marks::since(10), rev: 0 }
        }

        fn append(&mut self, json: &str) {
            let pieces = serde_json::from_str(json).unwrap();
            let touched = self.tree.append(&pieces, WIDE).unwrap();
            self.marks.push(11 + self.rev, self.rev, touched, false);
            self.rev += 1;
        }

        fn behind(&self, after: Sequence) -> Option<(u64, String)> {
            let behind = self.marks.behind(&self.tree, after)?;
            Some((behind.from, serde_json::to_string(&behind.pieces).unwrap()))
        }
    }

    #[test]
    fn a_suffix_is_all_that_was_appended_since() {
        let mut message = Message::new(r#"{"text":"a","l":[]}"#);
        message.append(r#"{"text":"b"}"#);
        message.append(r#"{"l":[{"t":""}]}"#);
        message.append(r#"{"/l/0/t":"x","text":"c"}"#);
        message.append(r#"{"/l/0/t":"y"}"#);
        assert_eq!(message.behind(9), None, "before it was opened");
        let all = r#"{"text":"bc","l":[{"t":"xy"}]}"#;
        assert_eq!(message.behind(10), Some((0, all.to_owned())));
        let some = r#"{"/l/0/t":"xy","text":"c"}"#;
        assert_eq!(message.behind(12), Some((2, some.to_owned())));
        assert_eq!(message.behind(13), Some((3, r#"{"/l/0/t":"y"}"#.to_owned())));
        assert_eq!(message.behind(14), None, "nothing is new");
    }

    #[test]
    fn the_oldest_marks_are_dropped() {
        let mut message = Message::new(r#"{"text":""}"#);
        for _ in 0..MOST + 2 {
            message.append(r#"{"text":"x"}"#);
        }
        assert_eq!(message.behind(11), None);
        let (from, json) = message.behind(12).unwrap();
        assert_eq!((from, json.len()), (2, MOST + r#"{"text":""}"#.len()));
    }
}
