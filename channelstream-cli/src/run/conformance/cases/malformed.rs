//! Cases of bytes: in pieces, too many, or not what the protocol says.

use serde_json::json;

use crate::args::ListenTransport;
use crate::run::conformance::events::{cursor, message, with_payload};
use crate::run::conformance::frames::{Opcode, frame, head};
use crate::run::conformance::line::chunk;
use crate::run::conformance::stage::Stage;
use crate::run::conformance::verdict::{Deviation, Played};

/// Characters of one to four bytes.
const TEXT: &str = "naïve żółw \u{1f980} 漢字 \u{2028} end";
/// About the largest message that a server with its default settings takes.
const LARGE: usize = 1_000_000;
/// What a client may take of one event before it gives up, and the size of each piece.
const MOST: usize = 64 * 1024 * 1024;
const PIECE: usize = 1024 * 1024;

pub(super) fn text(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    let event = with_payload(2, json!({ "text": TEXT }));
    if line.transport == ListenTransport::Sse {
        let block = event.block();
        // Cuts each character in two that has more than one byte.
        let cuts = block.char_indices().filter(|(_, found)| found.len_utf8() > 1);
        let mut begin = 0;
        for end in cuts.map(|(at, _)| at + 1).chain([block.len()]) {
            line.write(&chunk(&block.as_bytes()[begin..end]))?;
            begin = end;
        }
    } else {
        let text = format!("[{}]", event.json());
        let middle = text.find('ż').map_or(1, |at| at + 1);
        let (first, second) = text.as_bytes().split_at(middle);
        line.write(&frame(Opcode::Text, false, first))?;
        line.write(&frame(Opcode::Continuation, true, second))?;
    }
    stage.told(&event.told())?;
    stage.finish(line)
}

pub(super) fn drip(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    let event = with_payload(2, json!({ "text": TEXT }));
    let bytes = match line.transport {
        ListenTransport::Sse => event.block().bytes().flat_map(|byte| chunk(&[byte])).collect(),
        _ => line.bytes(std::slice::from_ref(&event)),
    };
    for byte in bytes {
        line.write(&[byte])?;
    }
    stage.told(&event.told())?;
    stage.finish(line)
}

pub(super) fn large(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[with_payload(2, json!({ "text": "x".repeat(LARGE) }))])?;
    stage.finish(line)
}

pub(super) fn endless(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    let (first, piece) = match line.transport {
        ListenTransport::Sse => {
            (chunk(b"id: 65a4c7d5e03f1-3\ndata: {\"text\":\""), chunk(&vec![b'x'; PIECE]))
        }
        _ => (head(Opcode::Text, true, 1 << 40), vec![b'x'; PIECE]),
    };
    line.write(&first)?;
    let mut sent = 0;
    // A client that gives up closes the TCP connection.
    while sent < MOST && line.write(&piece).is_ok() {
        sent += PIECE;
    }
    if sent >= MOST {
        let expected = format!("it gives up an event of more than {MOST} bytes");
        return Err(Deviation::new(expected, "it took them"));
    }
    drop(line);
    let mut line = stage.listener(&cursor(2))?;
    stage.deliver(&mut line, &[message(3).caught_up()])?;
    stage.finish(line)
}

pub(super) fn malformed(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    for bad in ["not JSON", "{\"an\": \"object\"}", "[{\"type\": \"mess"] {
        // What comes after it reaches a client that stays.
        let sent = match line.transport {
            ListenTransport::Poll => stage.answer_badly(&mut line, bad),
            ListenTransport::Sse => line.text(&format!("data: {}\n\n", bad.replace('}', ""))),
            ListenTransport::Websocket => line.text(bad),
        };
        // One that returns is there again.
        if sent.is_err() {
            break;
        }
    }
    stage.send_if_open(&mut line, &[message(3)]);
    let mut told = message(3).told();
    if let Some(told) = told.as_object_mut() {
        told.remove("catchup");
    }
    // It may return before it has read the message.
    if let Some(visit) = stage.told_or_visit(&told)? {
        stage.check_listening(&visit, &cursor(2))?;
        line = stage.open(visit, &cursor(2))?;
        stage.send(&mut line, &[message(3).caught_up()])?;
        stage.told(&told)?;
    }
    stage.finish(line)
}
