//! Server-sent events (`text/event-stream`, WHATWG HTML §9.2).

use std::io::Write as _;

use bytes::Bytes;
use channelstream_core::state::Sequence;

use super::put_line;

/// The heartbeat: an empty comment.
pub(super) static HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// What stands between the other lines of a block and its data.
const DATA: &[u8] = b"\ndata: ";

/// What follows each event.
const END: &[u8] = b"\n\n";

/// One block per event: its number as `id:`, its type as `event:` and its JSON as one line of `data:`.
pub(super) fn events(first: Sequence, events: &[String]) -> Bytes {
    let mut blocks = Vec::new();
    for (number, event) in (first..).zip(events) {
        writeln!(blocks, "id: {number}").expect("a Vec takes every write");
        if let Some(kind) = kind(event) {
            writeln!(blocks, "event: {kind}").expect("a Vec takes every write");
        }
        blocks.extend_from_slice(&DATA[1..]);
        put_line(&mut blocks, event);
        blocks.extend_from_slice(END);
    }
    Bytes::from(blocks)
}

/// Returns the type of an event. Only the uuid stands before it, so nothing that a publisher wrote can
/// be taken for it.
fn kind(event: &str) -> Option<&str> {
    let (_, rest) = event.split_once("\"type\":\"")?;
    rest.split_once('"').map(|(kind, _)| kind)
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
        // The data is the rest of the block.
        let data = block.windows(DATA.len()).position(|bytes| bytes == DATA)?;
        Some(&block.strip_suffix(END)?[data + DATA.len()..])
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

    #[test]
    fn an_event_has_its_own_type_and_none_of_its_payload() {
        let event =
            r#"{"uuid":"x","type":"message:edit","message":{"type":"\n","data: ":"\ndata: "}}"#;
        let block = events(7, &[event.to_owned()]);
        assert_eq!(block, format!("id: 7\nevent: message:edit\ndata: {event}\n\n"));
        assert_eq!(events_in(&block).collect::<Vec<_>>(), [event.as_bytes()]);
    }
}
