//! Writing the server's websocket frames: events, heartbeats and control frames, unmasked.

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

/// A text frame with a JSON list of one event (contract §6); `event` is the event's JSON.
///
/// The bytes are allocated once and shared by all clones.
pub(crate) fn event_frame(event: &str) -> Bytes {
    frame(TEXT, &[b"[", event.as_bytes(), b"]"])
}

/// The event's JSON inside the bytes that [`event_frame`] made; meaningless for other bytes.
pub(crate) fn event_in(frame: &[u8]) -> &[u8] {
    let header = match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    };
    // Without the brackets.
    frame.get(header + 1..frame.len().saturating_sub(1)).unwrap_or_default()
}

/// The answer to a ping with this payload; more than 125 bytes, which no valid ping has, are cut.
pub(crate) fn pong_frame(payload: &[u8]) -> Bytes {
    frame(PONG, &[&payload[..payload.len().min(MAX_CONTROL)]])
}

/// Whether these bytes are what [`pong_frame`] made.
pub(crate) fn is_pong(frame: &[u8]) -> bool {
    frame.first() == Some(&PONG)
}

/// A close frame, empty for `None`; a reason over 123 bytes is cut between characters.
///
/// Gives the echo of a received close as well as the server's own.
pub(crate) fn close_frame(close: Option<Close<'_>>) -> Bytes {
    let Some(Close { code, reason }) = close else {
        return Bytes::from_static(&[CLOSE, 0]);
    };
    let code = code.get().to_be_bytes();
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL - code.len())];
    frame(CLOSE, &[&code, reason.as_bytes()])
}

/// Header and the parts of the payload in a row.
fn frame(first: u8, parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let (marker, long) = match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if length <= MAX_SHORT => (short, 0..0),
        (_, Ok(_)) => (126, 6..8),
        _ => (127, 0..8),
    };
    // Exactly as much as is needed, so that `Bytes` takes the allocation over as it is.
    let mut frame = Vec::with_capacity(2 + long.len() + length);
    frame.extend_from_slice(&[first, marker]);
    frame.extend_from_slice(&(length as u64).to_be_bytes()[long]);
    for part in parts {
        frame.extend_from_slice(part);
    }
    Bytes::from(frame)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use std::io::Cursor;

    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

    use super::super::CloseCode;
    use super::super::decode::Violation;
    use super::*;

    #[test]
    fn writes_the_examples_of_the_rfc() {
        assert_eq!(&pong_frame(b"Hello")[..], b"\x8a\x05Hello");
        assert_eq!(HEARTBEAT, event_frame(""));
        assert_eq!(&PING[..], b"\x89\x00");
    }

    #[test]
    fn wraps_an_event_and_finds_it_again_at_every_length_of_header() {
        for length in [0, 1, 123, 124, 125, 126, 65_533, 65_534, 70_000] {
            let event = "é".repeat(length / 2) + if length % 2 == 1 { "x" } else { "" };
            let frame = event_frame(&event);
            assert_eq!(event_in(&frame), event.as_bytes());

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
    fn finding_an_event_in_other_bytes_is_harmless() {
        for bytes in [&b""[..], b"\x81", b"\x81\x02", b"\x81\x02[", b"\x81\x7e", b"\x81\x7f\0\0"] {
            assert_eq!(event_in(bytes), b"");
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
        assert_eq!(&Violation::TooBig.close_frame()[..], b"\x88\x11\x03\xf1message too big");
    }
}
