//! Tests of decoding: the RFC's examples, each violation, any cut, and tungstenite as judge.

use std::io::{self, Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite;
use tungstenite::protocol::frame::coding::OpCode;
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use super::decode::Violation;
use super::decode::Violation::{
    FragmentedControl, HalfCloseCode, InterruptedMessage, InvalidCloseCode, LengthRange,
    LongControl, ReasonNotUtf8, ReservedBit, StrayContinuation, TextNotUtf8, TooBig, UnknownOpcode,
    Unmasked,
};
use super::*;
use Event::{Message, Ping, Pong};

const MAX_MESSAGE: u64 = 1_000;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

// First bytes: final bit and opcode.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const TEXT_BEGIN: u8 = 0x01;
const BINARY_BEGIN: u8 = 0x02;
const MIDDLE: u8 = 0x00;
const END: u8 = 0x80;

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Message,
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl Event {
    /// What does not depend on how the stream is cut: pieces of text do.
    fn of(incoming: &Incoming<'_>) -> Option<Self> {
        Some(match incoming {
            Incoming::Text(_) => return None,
            Incoming::Message => Self::Message,
            Incoming::Ping(payload) => Self::Ping(payload.to_vec()),
            Incoming::Pong(payload) => Self::Pong(payload.to_vec()),
            Incoming::Close(close) => {
                Self::Close(close.as_ref().map(|one| (one.code.get(), one.reason.to_owned())))
            }
        })
    }
}

type Outcome = (Vec<Event>, Option<Violation>);

/// Decodes the stream whole, then byte by byte, and wants the same from both.
fn decode(stream: &[u8]) -> Outcome {
    let whole = decode_pieces([stream]);
    assert_eq!(whole, decode_pieces(stream.chunks(1)), "whole and in bytes: {stream:x?}");
    whole
}

fn decode_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = Decoder::new(MAX_MESSAGE);
    let mut events = Vec::new();
    for piece in pieces {
        let outcome = decoder.read(&mut piece.to_vec(), |event| events.extend(Event::of(&event)));
        if let Err(violation) = outcome {
            return (events, Some(violation));
        }
    }
    (events, None)
}

/// A client's frame, as tungstenite writes it, with the RFC's mask.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    masked_frame(first, payload, Some(MASK))
}

fn masked_frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let header = FrameHeader {
        is_final: first & 0x80 != 0,
        opcode: OpCode::from(first & 0x0f),
        mask,
        ..FrameHeader::default()
    };
    let mut frame = Vec::new();
    Frame::from_payload(header, payload.to_vec().into()).format(&mut frame).unwrap();
    frame
}

/// What tungstenite's server makes of the stream: the events before the first error, and whether
/// that error was more than the stream's end.
fn tungstenite_outcome(stream: &[u8]) -> (Vec<Event>, bool) {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError;

    /// Gives its bytes and swallows what is written.
    struct Line<'a>(&'a [u8]);
    impl Read for Line<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Line<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let bound = usize::try_from(MAX_MESSAGE).ok();
    let config = WebSocketConfig::default().max_message_size(bound).max_frame_size(bound);
    let mut socket = WebSocket::from_raw_socket(Line(stream), Role::Server, Some(config));
    let mut events = Vec::new();
    loop {
        events.push(match socket.read() {
            Ok(tungstenite::Message::Text(_) | tungstenite::Message::Binary(_)) => Event::Message,
            Ok(tungstenite::Message::Ping(payload)) => Event::Ping(payload.to_vec()),
            Ok(tungstenite::Message::Pong(payload)) => Event::Pong(payload.to_vec()),
            // So it reports an invalid close code.
            Ok(tungstenite::Message::Close(Some(close)))
                if close.reason.as_str() == "Protocol violation" =>
            {
                return (events, true);
            }
            Ok(tungstenite::Message::Close(close)) => Event::Close(
                close.map(|close| (close.code.into(), close.reason.as_str().to_owned())),
            ),
            Ok(tungstenite::Message::Frame(_)) => unreachable!("read gives no raw frames"),
            Err(
                Error::ConnectionClosed
                | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
            ) => return (events, false),
            Err(Error::Io(error)) => panic!("the line has no errors of its own: {error}"),
            Err(_) => return (events, true),
        });
    }
}

/// A frame, mostly valid by itself and often so after the one each for itself, and often so in a row.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        4 => Just(TEXT_BEGIN),
        2 => Just(BINARY_BEGIN),
        4 => Just(MIDDLE),
        8 => Just(END),
        6 => Just(TEXT),
        3 => Just(BINARY),
        5 => Just(PING),
        3 => Just(PONG),
        2 => Just(CLOSE),
        1 => any::<u8>(),
    ];
    // tungstenite refuses 1014, which is younger than its list.
    let code = prop_oneof![4 => 999..1014_u16, 1 => 1015..3001_u16, 1 => any::<u16>()]
        .prop_filter("not known to tungstenite", |code| *code != 1014);
    let payload = prop_oneof![
        4 => Just("κόσμε😀".as_bytes()[..5].to_vec()),
        2 => Just("κόσμε😀".as_bytes()[5..12].to_vec()),
        2 => Just("κόσμε😀".as_bytes()[12..].to_vec()),
        4 => vec(0_u8..0x80, 0..200),
        1 => vec(any::<u8>(), 0..6),
        2 => (code, vec(0x20_u8..0x7f, 0..20))
            .prop_map(|(code, reason)| [&code.to_be_bytes()[..], &reason].concat()),
        1 => Just(vec![b'x'; 400]),
        2 => Just(Vec::new()),
    ];
    let mask = prop::option::weighted(0.98, any::<[u8; 4]>());
    (first, payload, mask).prop_map(|(first, payload, mask)| {
        let mut frame = masked_frame(first, &payload, mask);
        // With the reserved bits, which `masked_frame` leaves out.
        frame[0] = first;
        frame
    })
}

fn any_frames() -> impl Strategy<Value = Vec<u8>> {
    vec(any_frame(), 0..8).prop_map(|frames| frames.concat())
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any_frames(),
        // With one byte damaged.
        1 => (any_frames(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
            |(mut frames, at, byte)| {
                if !frames.is_empty() {
                    let at = at.index(frames.len());
                    frames[at] = byte;
                }
                frames
            },
        ),
        1 => vec(any::<u8>(), 0..40),
    ]
}

#[test]
fn reads_the_examples_of_the_rfc() {
    let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(hello[..], client_frame(TEXT, b"Hello"));
    assert_eq!(decode(hello), (vec![Message], None));
    let pong = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(decode(pong), (vec![Pong(b"Hello".to_vec())], None));
    let fragments = [client_frame(TEXT_BEGIN, b"Hel"), client_frame(END, b"lo")].concat();
    assert_eq!(decode(&fragments), (vec![Message], None));
    for length in [256, 65_536] {
        let mut decoder = Decoder::new(65_536);
        let mut events = 0;
        let mut frame = client_frame(BINARY, &vec![0xff; length]);
        assert_eq!(decoder.read(&mut frame, |_| events += 1), Ok(()));
        assert_eq!(events, 1);
    }
}

#[test]
fn lets_control_frames_between_fragments() {
    let stream = [
        client_frame(TEXT_BEGIN, "é".as_bytes()[..1].as_ref()),
        client_frame(PING, b"one"),
        client_frame(MIDDLE, b""),
        client_frame(PONG, b""),
        client_frame(END, "é".as_bytes()[1..].as_ref()),
        client_frame(BINARY, b""),
    ];
    let events = vec![Ping(b"one".to_vec()), Pong(vec![]), Message, Message];
    assert_eq!(decode(&stream.concat()), (events, None));
}

#[test]
fn names_each_violation_and_its_code() {
    let open = client_frame(BINARY_BEGIN, b"");
    let cases: &[(Vec<u8>, Violation, CloseCode)] = &[
        (vec![0xc1], ReservedBit, CloseCode::PROTOCOL),
        (vec![0xa9], ReservedBit, CloseCode::PROTOCOL),
        (vec![0x91], ReservedBit, CloseCode::PROTOCOL),
        (vec![0x83], UnknownOpcode(3), CloseCode::PROTOCOL),
        (vec![0x8f], UnknownOpcode(15), CloseCode::PROTOCOL),
        (vec![PING & 0x0f], FragmentedControl, CloseCode::PROTOCOL),
        (vec![CLOSE & 0x0f], FragmentedControl, CloseCode::PROTOCOL),
        (vec![PING, 0xfe], LongControl, CloseCode::PROTOCOL),
        (vec![CLOSE, 0xff], LongControl, CloseCode::PROTOCOL),
        (vec![END], StrayContinuation, CloseCode::PROTOCOL),
        (vec![MIDDLE], StrayContinuation, CloseCode::PROTOCOL),
        ([&open[..], &[TEXT]].concat(), InterruptedMessage, CloseCode::PROTOCOL),
        ([&open[..], &[BINARY_BEGIN]].concat(), InterruptedMessage, CloseCode::PROTOCOL),
        (vec![TEXT, 0x05], Unmasked, CloseCode::PROTOCOL),
        (vec![CLOSE, 0x00], Unmasked, CloseCode::PROTOCOL),
        ([&[BINARY, 0xff, 0x80][..], &[0; 11]].concat(), LengthRange, CloseCode::PROTOCOL),
        (client_frame(TEXT, b"a\xff"), TextNotUtf8, CloseCode::INVALID_DATA),
        (client_frame(TEXT, b"\xc3"), TextNotUtf8, CloseCode::INVALID_DATA),
        (client_frame(TEXT, b"\xed\xa0"), TextNotUtf8, CloseCode::INVALID_DATA),
        (client_frame(TEXT, b"\xc0"), TextNotUtf8, CloseCode::INVALID_DATA),
        (client_frame(CLOSE, b"\x03"), HalfCloseCode, CloseCode::PROTOCOL),
        (client_frame(CLOSE, b"\x03\xee"), InvalidCloseCode(1006), CloseCode::PROTOCOL),
        (client_frame(CLOSE, b"\x03\xe8\xff"), ReasonNotUtf8, CloseCode::INVALID_DATA),
        (client_frame(BINARY, &[0; 1_001])[..8].to_vec(), TooBig, CloseCode::TOO_BIG),
    ];
    for (bytes, violation, code) in cases {
        // Each case ends with the byte that makes it clear.
        assert_eq!(decode(&bytes[..bytes.len() - 1]).1, None, "{bytes:x?}");
        assert_eq!(decode(bytes).1, Some(*violation), "{bytes:x?}");
        assert_eq!(violation.code(), *code, "{violation}");
        let mut frame = violation.close_frame().to_vec();
        assert_eq!(frame.remove(0), CLOSE);
        assert!(frame.len() < 126 && frame.len() == usize::from(frame[0]) + 1);
    }
}

#[test]
fn bounds_a_message_over_its_fragments() {
    let stream = |last: usize| {
        [
            client_frame(BINARY_BEGIN, &[0; 500]),
            client_frame(PING, &[0; 125]),
            client_frame(MIDDLE, &[0; 400]),
            client_frame(END, &vec![0; last]),
            client_frame(TEXT, &[b'x'; 1_000]),
        ]
        .concat()
    };
    assert_eq!(decode(&stream(100)), (vec![Ping(vec![0; 125]), Message, Message], None));
    assert_eq!(decode(&stream(101)), (vec![Ping(vec![0; 125])], Some(TooBig)));
}

#[test]
fn refuses_text_at_the_first_hopeless_byte() {
    // Of a frame of 1,000 bytes, only the beginning has come.
    let frame = client_frame(TEXT, &[&b"abc\xff"[..], &[b'x'; 996]].concat());
    assert_eq!(decode(&frame[..8 + 3]), (vec![], None));
    assert_eq!(decode(&frame[..8 + 4]), (vec![], Some(TextNotUtf8)));
}

#[test]
fn accepts_lengths_in_more_bytes_than_needed() {
    let wide = [&[PING, 0x80][..], &MASK].concat();
    assert_eq!(decode(&wide), (vec![Ping(vec![])], None));
    let wide = [&[BINARY, 0xfe, 0, 1][..], &MASK, b"x"].concat();
    assert_eq!(decode(&wide), (vec![Message], None));
    let wide = [&[BINARY, 0xff, 0, 0, 0, 0, 0, 0, 0, 1][..], &MASK, b"x"].concat();
    assert_eq!(decode(&wide), (vec![Message], None));
}

#[test]
fn judges_each_close_code() {
    for code in 0..=5_001_u16 {
        let payload = [&code.to_be_bytes()[..], "é".as_bytes()].concat();
        let (events, violation) = decode(&client_frame(CLOSE, &payload));
        let valid = match code {
            0..=999 | 1004..=1006 | 1015..=2999 | 5000.. => false,
            1000..=1003 | 1007..=1014 | 3000..=4999 => true,
        };
        if valid {
            assert_eq!(events, [Event::Close(Some((code, "é".to_owned())))]);
            assert_eq!(violation, None);
        } else {
            assert_eq!(events, []);
            assert_eq!(violation, Some(InvalidCloseCode(code)));
        }
    }
}

#[test]
fn echoes_a_close_as_it_came() {
    for payload in [&b""[..], b"\x03\xe8", b"\x0b\xb8going"] {
        let mut echo = None;
        let mut frame = client_frame(CLOSE, payload);
        let read = Decoder::new(0).read(&mut frame, |event| {
            let Incoming::Close(close) = event else { panic!("{event:?}") };
            echo = Some(close_frame(close));
        });
        assert_eq!(read, Ok(()));
        assert_eq!(echo.unwrap()[2..], *payload);
    }
}

#[test]
fn passes_texts_on_in_whatever_pieces_they_come() {
    let stream = [
        client_frame(TEXT, "häuser".as_bytes()),
        client_frame(BINARY, b"not this"),
        client_frame(TEXT_BEGIN, b"a fragmented "),
        client_frame(PING, b"amid"),
        client_frame(END, b"one"),
    ]
    .concat();
    for size in 1..=stream.len() {
        let mut decoder = Decoder::new(MAX_MESSAGE);
        let (mut texts, mut open) = (Vec::new(), Vec::new());
        for piece in stream.chunks(size) {
            let read = decoder.read(&mut piece.to_vec(), |event| match event {
                Incoming::Text(piece) => open.extend_from_slice(piece),
                Incoming::Message => {
                    texts.push(String::from_utf8(std::mem::take(&mut open)).unwrap());
                }
                _ => {}
            });
            assert_eq!(read, Ok(()));
        }
        assert_eq!(texts, ["häuser", "", "a fragmented one"], "cut by {size}");
    }
}

#[test]
fn ignores_what_follows_a_close_or_a_violation() {
    let stream = [client_frame(CLOSE, b""), client_frame(PING, b""), vec![0xff; 50]].concat();
    assert_eq!(decode(&stream), (vec![Event::Close(None)], None));

    let mut decoder = Decoder::new(MAX_MESSAGE);
    let mut events = 0;
    assert!(decoder.read(&mut [0xff], |_| events += 1).is_err());
    assert_eq!(decoder.read(&mut client_frame(PING, b""), |_| events += 1), Ok(()));
    assert_eq!(events, 0);
}

#[test]
fn takes_little_memory_beside_many_idle_sockets() {
    assert!(size_of::<Decoder>() <= 48, "{} bytes", size_of::<Decoder>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_cut_makes_no_difference(
        stream in any_bytes(),
        lengths in vec(1_usize..20, 1..10),
    ) {
        let mut rest = &stream[..];
        let pieces = lengths.iter().cycle().map_while(|length| {
            let (piece, later) = rest.split_at((*length).min(rest.len()));
            rest = later;
            (!piece.is_empty()).then_some(piece)
        });
        prop_assert_eq!(decode_pieces(pieces), decode(&stream));
    }

    #[test]
    fn tungstenite_judges_alike(stream in any_frames()) {
        let (events, violation) = decode(&stream);
        let judged = tungstenite_outcome(&stream);
        prop_assert_eq!((events, violation.is_some()), judged, "{:?}", violation);
    }

    #[test]
    fn pings_come_out_as_they_were_masked(payload in vec(any::<u8>(), 0..=125), mask: [u8; 4]) {
        let outcome = decode(&masked_frame(PING, &payload, Some(mask)));
        prop_assert_eq!(outcome, (vec![Event::Ping(payload)], None));
    }
}
