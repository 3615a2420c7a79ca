//! The bytes of each transport: one [`Encoding`] per form, without sockets and tasks.

mod ending;
mod ndjson;
mod sse;
pub(crate) mod websocket;

use bytes::Bytes;
use channelstream_core::protocol::Cursor;
use serde_json::value::RawValue;

pub(crate) use ending::Ending;

/// The form in which a listener receives its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// RFC 6455: each event is a text frame that holds a JSON list of one (contract §6).
    WebSocket,
    /// The same, and each event has its cursor as `seq` (contract §14).
    WebSocketWithSeq,
    /// The inside of a JSON list: events with commas between them.
    Json,
    /// The same, and each event has its cursor as `seq`.
    JsonWithSeq,
    /// `text/event-stream`: each event is a block, and its cursor is the `id:`.
    EventStream,
    /// `application/x-ndjson`: each event is a line of JSON with its cursor as `seq`.
    NdJson,
}

/// The way to a client, which may have several encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    LongPoll,
    Sse,
    NdJson,
}

impl Transport {
    /// Every transport, at the index of its number.
    pub(crate) const ALL: [Self; 4] = [Self::WebSocket, Self::LongPoll, Self::Sse, Self::NdJson];

    /// The name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::LongPoll => "long_poll",
            Self::Sse => "sse",
            Self::NdJson => "ndjson",
        }
    }
}

impl Encoding {
    /// Returns the transport that has this encoding.
    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::WebSocket | Self::WebSocketWithSeq => Transport::WebSocket,
            Self::Json | Self::JsonWithSeq => Transport::LongPoll,
            Self::EventStream => Transport::Sse,
            Self::NdJson => Transport::NdJson,
        }
    }

    /// Every encoding, at the index of its number.
    pub(crate) const ALL: [Self; 6] = [
        Self::WebSocket,
        Self::WebSocketWithSeq,
        Self::Json,
        Self::JsonWithSeq,
        Self::EventStream,
        Self::NdJson,
    ];

    /// Encodes the JSON of consecutive events; `first` is the cursor of the first.
    pub(crate) fn events(self, first: Cursor, events: &[String]) -> Bytes {
        match self {
            Self::WebSocket => websocket::event_frames(events),
            Self::WebSocketWithSeq => websocket::event_frames(&with_seq(first, events)),
            Self::Json => Bytes::from(events.join(",")),
            Self::JsonWithSeq => Bytes::from(with_seq(first, events).join(",")),
            Self::EventStream => sse::events(first, events),
            Self::NdJson => ndjson::events(&with_seq(first, events)),
        }
    }

    /// Encodes again what [`Encoding::events`] made: for a listener that takes over from one with
    /// another encoding. Listeners with cursors take over nothing; they read on themselves.
    pub(crate) fn transcode(self, bytes: &Bytes, to: Self) -> Bytes {
        match (self, to) {
            (Self::WebSocket, Self::Json) => {
                Bytes::from(websocket::events_in(bytes).collect::<Vec<_>>().join(&b','))
            }
            (Self::Json, Self::WebSocket) => {
                let list = [b"[", &bytes[..], b"]"].concat();
                let events: Vec<&RawValue> =
                    serde_json::from_slice(&list).expect("events are encoded from valid JSON");
                let events: Vec<_> = events.iter().map(|event| event.get().to_owned()).collect();
                websocket::event_frames(&events)
            }
            _ => bytes.clone(),
        }
    }

    /// Returns what keeps an idle connection alive, where the encoding has something that is no event.
    pub(crate) fn heartbeat(self) -> Option<Bytes> {
        match self {
            Self::WebSocket | Self::WebSocketWithSeq => Some(websocket::HEARTBEAT.clone()),
            Self::EventStream => Some(sse::HEARTBEAT.clone()),
            Self::NdJson => Some(ndjson::HEARTBEAT.clone()),
            Self::Json | Self::JsonWithSeq => None,
        }
    }

    /// Returns the question to which the peer has to answer, where there is one.
    pub(crate) fn ping(self) -> Option<Bytes> {
        match self {
            Self::WebSocket | Self::WebSocketWithSeq => Some(websocket::PING.clone()),
            _ => None,
        }
    }

    /// Returns `true` for the answer to a ping of the peer.
    pub(crate) fn is_pong(self, bytes: &[u8]) -> bool {
        self.ping().is_some() && websocket::is_pong(bytes)
    }

    /// Returns the last bytes before the connection is closed, where the encoding can give a reason.
    pub(crate) fn close(self, ending: Ending) -> Option<Bytes> {
        self.close_because(ending, ending.reason())
    }

    /// The same with another reason.
    pub(crate) fn close_because(self, ending: Ending, reason: &str) -> Option<Bytes> {
        match self {
            Self::WebSocket | Self::WebSocketWithSeq => {
                let close = websocket::Close { reason, ..ending.into() };
                Some(websocket::close_frame(Some(close)))
            }
            Self::EventStream => Some(sse::comment(reason)),
            Self::NdJson | Self::Json | Self::JsonWithSeq => None,
        }
    }

    /// Returns the length of the first event in what [`Encoding::events`] made: there the bytes may
    /// be cut. A list has no such place; it is sent as a whole.
    pub(crate) fn first(self, bytes: &[u8]) -> usize {
        match self {
            Self::WebSocket | Self::WebSocketWithSeq => websocket::first_frame(bytes),
            Self::EventStream => sse::first(bytes),
            Self::NdJson => ndjson::first(bytes),
            Self::Json | Self::JsonWithSeq => bytes.len(),
        }
    }
}

/// Adds to each event, a JSON object, its cursor as `seq`.
fn with_seq(first: Cursor, events: &[String]) -> Vec<String> {
    let cursors = (first.sequence..).map(|sequence| Cursor { sequence, ..first });
    let add = |(event, cursor): (&String, Cursor)| match event.strip_suffix('}') {
        Some(fields) => format!("{fields},\"seq\":\"{cursor}\"}}"),
        None => event.clone(),
    };
    events.iter().zip(cursors).map(add).collect()
}

/// Adds the JSON of an event in one line. Payloads are kept as they were published and may hold line
/// breaks, though only between the tokens: a JSON string has none.
fn put_line(to: &mut Vec<u8>, event: &str) {
    let in_line = |byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
    to.extend(event.bytes().map(in_line));
}

#[cfg(test)]
mod tests {
    use channelstream_core::protocol::Epoch;

    use super::*;

    #[test]
    fn every_encoding_is_at_its_index() {
        for (index, encoding) in Encoding::ALL.into_iter().enumerate() {
            assert_eq!(encoding as usize, index, "{encoding:?}");
        }
        for (index, transport) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(transport as usize, index, "{transport:?}");
        }
    }

    fn at(sequence: u64) -> Cursor {
        Cursor { epoch: Epoch::new(0xe), sequence, is_net: false }
    }

    #[test]
    fn events_in_a_row_can_be_cut_into_the_single_ones() {
        let long = format!("{{\"é\":\"{}\"}}", "é".repeat(70_000));
        let events = ["{\"x\":1}", "{\"a\":\n\"\\n\"}", &long].map(str::to_owned);
        for encoding in Encoding::ALL.into_iter().filter(|one| one.heartbeat().is_some()) {
            let mut row = encoding.events(at(7), &events);
            for (number, event) in (7..).zip(&events) {
                let first = row.split_to(encoding.first(&row));
                assert_eq!(first, encoding.events(at(number), std::slice::from_ref(event)));
            }
            assert!(row.is_empty(), "{encoding:?}");
            assert_eq!(encoding.first(b""), 0);
            assert_eq!(encoding.first(b"x"), 1, "bytes that were not made here are one event");
        }
    }

    #[test]
    fn a_poll_and_a_socket_take_over_from_each_other() {
        let long = format!("[\"{}\"]", "é".repeat(70_000));
        let events = ["{}", "{\"a\":[1,\"},{\"]}", &long].map(str::to_owned);
        for (from, to) in [Encoding::WebSocket, Encoding::Json]
            .into_iter()
            .flat_map(|from| [(from, Encoding::WebSocket), (from, Encoding::Json)])
        {
            for events in [&events[..0], &events[..1], &events[..]] {
                let bytes = from.transcode(&from.events(at(7), events), to);
                assert_eq!(bytes, to.events(at(7), events), "{from:?} {to:?}");
            }
        }
    }

    #[test]
    fn json_is_the_inside_of_a_list() {
        let events = |events: &[&str]| {
            let events: Vec<String> = events.iter().map(|&event| event.to_owned()).collect();
            Encoding::Json.events(at(1), &events)
        };
        assert_eq!(events(&[]), "");
        assert_eq!(events(&["{}"]), "{}");
        assert_eq!(events(&["{}", "{\"a\":1}"]), "{},{\"a\":1}");
        assert_eq!(Encoding::Json.first(b"{},{}"), 5);
    }

    #[test]
    fn a_cursor_is_the_last_key() {
        let events = ["{\"a\":1}", "{\"b\":{}}"].map(str::to_owned);
        let one = "{\"a\":1,\"seq\":\"0000000e-9\"}";
        let two = "{\"b\":{},\"seq\":\"0000000e-10\"}";
        let encoded = |encoding: Encoding| encoding.events(at(9), &events);
        assert_eq!(encoded(Encoding::JsonWithSeq), format!("{one},{two}"));
        assert_eq!(encoded(Encoding::NdJson), format!("{one}\n{two}\n"));
        let frames = encoded(Encoding::WebSocketWithSeq);
        assert_eq!(
            websocket::events_in(&frames).collect::<Vec<_>>(),
            [one, two].map(str::as_bytes)
        );
    }

    #[test]
    fn only_a_websocket_asks_and_answers() {
        for encoding in Encoding::ALL {
            let is_websocket = matches!(encoding, Encoding::WebSocket | Encoding::WebSocketWithSeq);
            assert_eq!(encoding.ping().is_some(), is_websocket, "{encoding:?}");
            assert_eq!(encoding.is_pong(&websocket::pong_frame(b"x")), is_websocket);
            assert!(!encoding.is_pong(&encoding.events(at(1), &["{}".to_owned()])));
        }
    }

    #[test]
    fn a_close_tells_the_reason_where_it_can() {
        let close = |encoding: Encoding| encoding.close(Ending::Superseded);
        let reason = "superseded by a newer listener";
        assert_eq!(close(Encoding::WebSocket).unwrap()[4..], *reason.as_bytes());
        assert_eq!(close(Encoding::EventStream).unwrap(), format!(": {reason}\n\n"));
        assert_eq!((close(Encoding::NdJson), close(Encoding::Json)), (None, None));
        assert_eq!(Encoding::EventStream.close(Ending::Ended).unwrap(), ":\n\n");
    }
}
