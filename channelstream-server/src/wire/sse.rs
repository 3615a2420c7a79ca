//! Server-sent events (`text/event-stream`, WHATWG HTML §9.2).

use std::io::Write as _;

use bytes::Bytes;
use channelstream_core::protocol::Cursor;

use super::put_line;

/// The heartbeat: an empty comment.
pub(super) static HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// What follows each event.
const END: &[u8] = b"\n\n";

/// One block per event: its cursor as `id:`, its type as `event:` and its JSON as one line of `data:`.
pub(super) fn events(first: Cursor, events: &[String]) -> Bytes {
    let mut blocks = Vec::new();
    for (sequence, event) in (first.sequence..).zip(events) {
        let cursor = Cursor { sequence, ..first };
        writeln!(blocks, "id: {cursor}").expect("a Vec takes every write");
        if let Some(kind) = kind(event) {
            writeln!(blocks, "event: {kind}").expect("a Vec takes every write");
        }
        blocks.extend_from_slice(b"data: ");
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

/// A comment, which programs ignore and people see; `text` is one line.
pub(super) fn comment(text: &str) -> Bytes {
    match text {
        "" => HEARTBEAT.clone(),
        text => Bytes::from(format!(": {text}\n\n")),
    }
}

#[cfg(test)]
mod tests {
    use channelstream_core::protocol::Epoch;

    use super::*;

    #[test]
    fn an_event_is_one_block_whatever_breaks_its_lines() {
        let from = Cursor { epoch: Epoch::new(7), sequence: 41, is_net: false };
        let of =
            |list: &[&str]| events(from, &list.iter().map(|&e| e.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]), "");
        assert_eq!(of(&["{}"]), "id: 00000007-41\ndata: {}\n\n");
        let pretty = "{\r\n\r\n\"a\":\n\n\"\\n\"}";
        let row = of(&[pretty, "{}"]);
        assert_eq!(
            row,
            "id: 00000007-41\ndata: {    \"a\":  \"\\n\"}\n\nid: 00000007-42\ndata: {}\n\n"
        );
        assert_eq!(first(&row), row.len() - "id: 00000007-42\ndata: {}\n\n".len());
    }

    #[test]
    fn an_event_has_its_own_type_and_none_of_its_payload() {
        let event =
            r#"{"uuid":"x","type":"message:edit","message":{"type":"\n","data: ":"\ndata: "}}"#;
        let cursor = Cursor { epoch: Epoch::new(7), sequence: 7, is_net: false };
        let block = events(cursor, &[event.to_owned()]);
        assert_eq!(block, format!("id: 00000007-7\nevent: message:edit\ndata: {event}\n\n"));
    }
}
