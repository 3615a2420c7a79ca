//! The bytes of each transport: one [`Encoding`] per form, without sockets and tasks.

mod ending;
mod ndjson;
mod sse;
pub(crate) mod websocket;

use bytes::Bytes;
use channelstream_core::state::Sequence;
use serde_json::value::RawValue;

pub(crate) use ending::Ending;

/// The form in which a listener receives its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// RFC 6455: each event is a text frame that holds a JSON list of one (contract §6).
    WebSocket,
    /// `text/event-stream`: each event is a block of `id:` and `data:`.
    EventStream,
    /// `application/x-ndjson`: each event is a line of JSON.
    NdJson,
    /// The inside of a JSON list: events with commas between them.
    Json,
}

impl Encoding {
    /// Every encoding, at the index of its number.
    pub(crate) const ALL: [Self; 4] =
        [Self::WebSocket, Self::EventStream, Self::NdJson, Self::Json];

    /// Encodes the JSON of consecutive events; the first has the number `first`.
    pub(crate) fn events(self, first: Sequence, events: &[String]) -> Bytes {
        match self {
            Self::WebSocket => websocket::event_frames(events),
            Self::EventStream => sse::events(first, events),
            Self::NdJson => ndjson::events(events),
            Self::Json => Bytes::from(events.join(",")),
        }
    }

    /// Encodes again what [`Encoding::events`] made: for a listener that takes over from one with
    /// another encoding. `first` is the number of the first event.
    pub(crate) fn transcode(self, first: Sequence, bytes: &Bytes, to: Self) -> Bytes {
        if self == to { bytes.clone() } else { to.events(first, &self.json(bytes)) }
    }

    /// Returns the JSON of the events in what [`Encoding::events`] made.
    fn json(self, bytes: &[u8]) -> Vec<String> {
        let text = |json: &[u8]| String::from_utf8_lossy(json).into_owned();
        match self {
            Self::WebSocket => websocket::events_in(bytes).map(text).collect(),
            Self::EventStream => sse::events_in(bytes).map(text).collect(),
            Self::NdJson => ndjson::events_in(bytes).map(text).collect(),
            Self::Json => {
                let list = [b"[", bytes, b"]"].concat();
                let events: Vec<&RawValue> =
                    serde_json::from_slice(&list).expect("events are encoded from valid JSON");
                events.into_iter().map(|event| event.get().to_owned()).collect()
            }
        }
    }

    /// Returns what keeps an idle connection alive, where the encoding has something that is no event.
    pub(crate) fn heartbeat(self) -> Option<Bytes> {
        match self {
            Self::WebSocket => Some(websocket::HEARTBEAT.clone()),
            Self::EventStream => Some(sse::HEARTBEAT.clone()),
            Self::NdJson => Some(ndjson::HEARTBEAT.clone()),
            Self::Json => None,
        }
    }

    /// Returns the question to which the peer has to answer, where there is one.
    pub(crate) fn ping(self) -> Option<Bytes> {
        match self {
            Self::WebSocket => Some(websocket::PING.clone()),
            Self::EventStream | Self::NdJson | Self::Json => None,
        }
    }

    /// Returns `true` for the answer to a ping of the peer.
    pub(crate) fn is_pong(self, bytes: &[u8]) -> bool {
        self == Self::WebSocket && websocket::is_pong(bytes)
    }

    /// Returns the last bytes before the connection is closed, where the encoding can give a reason.
    pub(crate) fn close(self, ending: Ending) -> Option<Bytes> {
        match self {
            Self::WebSocket => Some(websocket::close_frame(Some(ending.into()))),
            Self::EventStream => Some(sse::comment(ending.reason())),
            Self::NdJson | Self::Json => None,
        }
    }

    /// Returns the length of the first event in what [`Encoding::events`] made: there the bytes may
    /// be cut. [`Encoding::Json`] has no such place; it is sent as a whole.
    pub(crate) fn first(self, bytes: &[u8]) -> usize {
        match self {
            Self::WebSocket => websocket::first_frame(bytes),
            Self::EventStream => sse::first(bytes),
            Self::NdJson => ndjson::first(bytes),
            Self::Json => bytes.len(),
        }
    }
}

/// Adds the JSON of an event in one line. Payloads are kept as they were published and may hold line
/// breaks, though only between the tokens: a JSON string has none.
fn put_line(to: &mut Vec<u8>, event: &str) {
    let in_line = |byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
    to.extend(event.bytes().map(in_line));
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn every_encoding_is_at_its_index() {
        for (index, encoding) in Encoding::ALL.into_iter().enumerate() {
            assert_eq!(encoding as usize, index, "{encoding:?}");
        }
    }

    #[test]
    fn events_in_a_row_can_be_cut_into_the_single_ones() {
        let events = ["{}", "{\"a\":\n\"\\n\"}", "", &"é".repeat(70_000)].map(str::to_owned);
        for encoding in [Encoding::WebSocket, Encoding::EventStream, Encoding::NdJson] {
            let mut row = encoding.events(7, &events);
            for (number, event) in (7..).zip(&events) {
                let first = row.split_to(encoding.first(&row));
                assert_eq!(first, encoding.events(number, std::slice::from_ref(event)));
            }
            assert!(row.is_empty(), "{encoding:?}");
            assert_eq!(encoding.first(b""), 0);
            assert_eq!(encoding.first(b"x"), 1, "bytes that were not made here are one event");
        }
    }

    #[test]
    fn every_encoding_can_be_turned_into_every_other() {
        let long = format!("[\"{}\"]", "é".repeat(70_000));
        let events = ["{}", "{\"a\":[1,\"},{\"]}", &long].map(str::to_owned);
        for from in Encoding::ALL {
            for to in Encoding::ALL {
                for events in [&events[..0], &events[..1], &events[..]] {
                    let bytes = from.transcode(7, &from.events(7, events), to);
                    assert_eq!(bytes, to.events(7, events), "{from:?} {to:?}");
                }
            }
        }
    }

    #[test]
    fn json_is_the_inside_of_a_list() {
        let events = |events: &[&str]| {
            let events: Vec<String> = events.iter().map(|&event| event.to_owned()).collect();
            Encoding::Json.events(1, &events)
        };
        assert_eq!(events(&[]), "");
        assert_eq!(events(&["{}"]), "{}");
        assert_eq!(events(&["{}", "{\"a\":1}"]), "{},{\"a\":1}");
        assert_eq!(Encoding::Json.first(b"{},{}"), 5);
    }

    #[test]
    fn only_a_websocket_asks_and_answers() {
        for encoding in Encoding::ALL {
            let is_websocket = encoding == Encoding::WebSocket;
            assert_eq!(encoding.ping().is_some(), is_websocket, "{encoding:?}");
            assert_eq!(encoding.is_pong(&websocket::pong_frame(b"x")), is_websocket);
            assert!(!encoding.is_pong(&encoding.events(1, &["{}".to_owned()])));
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
