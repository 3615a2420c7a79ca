//! Lines of JSON (`application/x-ndjson`).

use bytes::Bytes;

use super::put_line;

/// The heartbeat: an empty line.
pub(super) static HEARTBEAT: Bytes = Bytes::from_static(b"\n");

/// One line per event.
pub(super) fn events(events: &[String]) -> Bytes {
    // Exactly as much as is needed, so that `Bytes` takes the allocation over as it is.
    let mut lines = Vec::with_capacity(events.iter().map(|event| event.len() + 1).sum());
    for event in events {
        put_line(&mut lines, event);
        lines.push(b'\n');
    }
    Bytes::from(lines)
}

/// Returns the length of the first line with its end; of bytes without an end, all of them.
pub(super) fn first(lines: &[u8]) -> usize {
    let end = lines.iter().position(|byte| *byte == b'\n');
    end.map_or(lines.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_breaks_its_lines() {
        let lines = events(&["{\n \"a\":\r\n\"\\n\"}".to_owned(), "{}".to_owned()]);
        assert_eq!(lines, "{  \"a\":  \"\\n\"}\n{}\n");
        assert_eq!(first(&lines), lines.len() - "{}\n".len());
    }
}
