//! Server-sent events (`text/event-stream`, WHATWG HTML §9.2).

use std::io::Write as _;

use bytes::Bytes;
use channelstream_core::state::Sequence;

use super::put_line;

/// The heartbeat: an empty comment.
pub(super) static HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// What follows each event.
const END: &[u8] = b"\n\n";

/// One block per event: its number as `id:` and its JSON as one line of `data:`.
pub(super) fn events(first: Sequence, events: &[String]) -> Bytes {
    let mut blocks = Vec::new();
    for (number, event) in (first..).zip(events) {
        write!(blocks, "id: {number}\ndata: ").expect("a Vec takes every write");
        put_line(&mut blocks, event);
        blocks.extend_from_slice(END);
    }
    Bytes::from(blocks)
}

/// Returns the length of the first block; of bytes without an end, all of them.
pub(super) fn first(blocks: &[u8]) -> usize {
    let end = blocks.windows(END.len()).position(|bytes| bytes == END);
    end.map_or(blocks.len(), |end| end + END.len())
}

/// Returns the JSON of the events in what [`events`] made.
pub(super) fn events_in(mut blocks: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (block, rest) = blocks.split_at(first(blocks));
        blocks = rest;
        // The id has no line break, and the data is the rest of the block.
        let id = block.iter().position(|byte| *byte == b'\n')?;
        block.strip_suffix(END)?[id..].strip_prefix(b"\ndata: ")
    })
}

/// A comment, which programs ignore and people see; `text` is one line.
pub(super) fn comment(text: &str) -> Bytes {
    match text {
        "" => HEARTBEAT.clone(),
        text => Bytes::from(format!(": {text}\n\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_block_whatever_breaks_its_lines() {
        let of =
            |list: &[&str]| events(41, &list.iter().map(|&e| e.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]), "");
        assert_eq!(of(&["{}"]), "id: 41\ndata: {}\n\n");
        let pretty = "{\r\n\r\n\"a\":\n\n\"\\n\"}";
        let row = of(&[pretty, "{}"]);
        assert_eq!(row, "id: 41\ndata: {    \"a\":  \"\\n\"}\n\nid: 42\ndata: {}\n\n");
        assert_eq!(first(&row), row.len() - "id: 42\ndata: {}\n\n".len());
    }
}
