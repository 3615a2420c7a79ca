//! Encoding of the server's websocket frames: events, heartbeats and control frames, unmasked.

use bytes::Bytes;

use super::{Close, MAX_CONTROL};

// First bytes of an unfragmented frame: the final bit and the opcode.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8a;

/// The longest payload whose length stands in the second byte.
const MAX_SHORT: usize = 125;

/// The heartbeat: a text frame with the empty list (contract §6).
pub(crate) static HEARTBEAT: Bytes = Bytes::from_static(b"\x81\x02[]");

/// A ping without payload.
pub(crate) static PING: Bytes = Bytes::from_static(b"\x89\x00");

/// Encodes each event, given as JSON, as a text frame with a list of one (contract §6).
pub(crate) fn event_frames(events: &[String]) -> Bytes {
    // Exactly as much as is needed, so that `Bytes` takes the allocation over as it is.
    let length = events.iter().map(|event| framed_length(event.len() + 2)).sum();
    let mut frames = Vec::with_capacity(length);
    for event in events {
        put_frame(&mut frames, TEXT, &[b"[", event.as_bytes(), b"]"]);
    }
    Bytes::from(frames)
}

/// One text frame.
pub(crate) fn text_frame(text: &str) -> Bytes {
    frame(TEXT, &[text.as_bytes()])
}

/// Returns the length of the first of these frames; of bytes that are no frame, all of them.
pub(crate) fn first_frame(frames: &[u8]) -> usize {
    lengths(frames)
        .map_or(frames.len(), |(header, payload)| header.saturating_add(payload).min(frames.len()))
}

/// Returns the JSON of the events in what [`event_frames`] made.
pub(crate) fn events_in(mut frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (header, payload) = lengths(frames)?;
        let (frame, rest) = frames.split_at_checked(header.saturating_add(payload))?;
        frames = rest;
        // Without the brackets.
        frame.get(header + 1..frame.len() - 1)
    })
}

/// Returns the lengths of the header and of the payload of the first frame.
fn lengths(frames: &[u8]) -> Option<(usize, usize)> {
    let long = |bytes: &[u8]| {
        bytes.iter().fold(0_usize, |length, byte| length.wrapping_shl(8) | usize::from(*byte))
    };
    Some(match *frames.get(1)? {
        127 => (10, long(frames.get(2..10)?)),
        126 => (4, long(frames.get(2..4)?)),
        short => (2, usize::from(short)),
    })
}

/// Encodes the answer to a ping with this payload. It is cut after 125 bytes; no valid ping has more.
pub(crate) fn pong_frame(payload: &[u8]) -> Bytes {
    frame(PONG, &[&payload[..payload.len().min(MAX_CONTROL)]])
}

/// Returns `true` for what [`pong_frame`] made.
pub(crate) fn is_pong(frame: &[u8]) -> bool {
    frame.first() == Some(&PONG)
}

/// Encodes a close frame, empty for `None`; a reason over 123 bytes is cut between characters.
///
/// It serves for the server's own close and for the echo of the client's.
pub(crate) fn close_frame(close: Option<Close<'_>>) -> Bytes {
    let Some(Close { code, reason }) = close else {
        return Bytes::from_static(&[CLOSE, 0]);
    };
    let code = code.get().to_be_bytes();
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL - code.len())];
    frame(CLOSE, &[&code, reason.as_bytes()])
}

fn frame(first: u8, parts: &[&[u8]]) -> Bytes {
    let mut frame = Vec::new();
    put_frame(&mut frame, first, parts);
    Bytes::from(frame)
}

/// Adds a frame whose payload is all `parts` in a row.
fn put_frame(to: &mut Vec<u8>, first: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let (marker, long) = length_bytes(length);
    to.extend_from_slice(&[first, marker]);
    to.extend_from_slice(&(length as u64).to_be_bytes()[long]);
    for part in parts {
        to.extend_from_slice(part);
    }
}

/// Returns the length of a frame with `payload` bytes in its payload.
fn framed_length(payload: usize) -> usize {
    2 + length_bytes(payload).1.len() + payload
}

/// Returns the second byte of a frame, and the range of the bytes of a big-endian u64 that follow it
/// as the length.
fn length_bytes(payload: usize) -> (u8, std::ops::Range<usize>) {
    match (u8::try_from(payload), u16::try_from(payload)) {
        (Ok(short), _) if payload <= MAX_SHORT => (short, 0..0),
        (_, Ok(_)) => (126, 6..8),
        _ => (127, 0..8),
    }
}

#[cfg(test)]
mod tests {

    use std::io::Cursor;

    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

    use super::super::CloseCode;
    use super::super::decode::Violation;
    use super::*;

    #[test]
    fn writes_the_examples_of_the_rfc() {
        assert_eq!(&pong_frame(b"Hello")[..], b"\x8a\x05Hello");
        assert_eq!(HEARTBEAT, event_frames(&[String::new()]));
        assert_eq!(&PING[..], b"\x89\x00");
    }

    #[test]
    fn wraps_an_event_at_every_length_of_header() {
        for length in [0, 1, 123, 124, 125, 126, 65_533, 65_534, 70_000] {
            let event = "é".repeat(length / 2) + if length % 2 == 1 { "x" } else { "" };
            let frame = event_frames(std::slice::from_ref(&event));
            assert_eq!(events_in(&frame).collect::<Vec<_>>(), [event.as_bytes()]);
            assert_eq!(first_frame(&frame), frame.len());

            let mut cursor = Cursor::new(&frame);
            let (header, payload) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            let start = usize::try_from(cursor.position()).unwrap();
            assert_eq!(header.opcode, OpCode::from(1));
            assert!(header.is_final && header.mask.is_none());
            assert_eq!(payload, length as u64 + 2);
            // The shortest header, as tungstenite writes it.
            assert_eq!(start, header.len(payload));
            assert_eq!(&frame[start..], format!("[{event}]").as_bytes());
        }
    }

    #[test]
    fn frames_in_a_row_are_the_single_ones_and_can_be_cut_apart() {
        let events = ["", "a", "é", &"x".repeat(200), &"y".repeat(70_000), "b"].map(str::to_owned);
        let row = event_frames(&events);
        let single: Vec<Bytes> =
            events.iter().map(|event| event_frames(std::slice::from_ref(event))).collect();
        assert_eq!(row, single.concat());
        let mut rest = &row[..];
        for frame in &single {
            let (first, behind) = rest.split_at(first_frame(rest));
            assert_eq!(first, frame);
            rest = behind;
        }
        assert!(rest.is_empty());
        let found: Vec<&[u8]> = events_in(&row).collect();
        assert_eq!(found, events.iter().map(String::as_bytes).collect::<Vec<_>>());
    }

    #[test]
    fn bytes_that_are_no_frame_are_the_first_as_a_whole() {
        let large: &[u8] = b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff";
        for bytes in
            [&b""[..], b"\x81", b"\x81\0", b"\x81\x02[", b"\x81\x7e", b"\x81\x7f\0\0", large]
        {
            assert_eq!(events_in(bytes).count(), 0);
            assert_eq!(first_frame(bytes), bytes.len());
        }
    }

    #[test]
    fn cuts_what_does_not_fit_a_control_frame() {
        assert_eq!(pong_frame(&[7; 200]).len(), 2 + 125);

        let code = CloseCode::GOING_AWAY;
        let frame = close_frame(Some(Close { code, reason: &"é".repeat(100) }));
        assert_eq!(frame[..4], [CLOSE, 124, 0x03, 0xe9]);
        assert_eq!(str::from_utf8(&frame[4..]).unwrap(), "é".repeat(61));
        let frame = close_frame(Some(Close { code, reason: &"x".repeat(123) }));
        assert_eq!(frame.len(), 2 + 125);
    }

    #[test]
    fn closes_with_code_and_reason_or_with_nothing() {
        let close = Close { code: CloseCode::NORMAL, reason: "bye" };
        assert_eq!(&close_frame(Some(close))[..], b"\x88\x05\x03\xe8bye");
        assert_eq!(&close_frame(None)[..], b"\x88\x00");
        assert_eq!(
            &Violation::TooBig.close_frame()[..],
            b"\x88\x26\x03\xf1message too big (max_client_message)"
        );
    }
}
