//! RFC 6455 on the server's side, as bytes: handshake check, encoding and decoding.
//!
//! A server's websocket frames carry no mask, so [`event_frames`] makes the bytes once and all
//! listeners share them. Most of what clients send is ignored (contract §6), so [`Decoder`] checks
//! text and binary messages, passes texts on as they come, and buffers only an unfinished header or
//! control frame. Extensions and subprotocols are never chosen.

mod decode;
mod encode;
mod handshake;
#[cfg(test)]
mod tests;
mod utf8;

pub(crate) use decode::{Decoder, Incoming};
pub(crate) use encode::{
    HEARTBEAT, PING, close_frame, event_frames, events_in, first_frame, is_pong, pong_frame,
    text_frame,
};
pub(crate) use handshake::{HandshakeError, check_handshake};

/// The longest payload a control frame may have, in bytes (RFC 6455 §5.5).
const MAX_CONTROL: usize = 125;

/// Why a websocket ends. Holds only codes that are allowed on the wire (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub(crate) const NORMAL: Self = Self(1000);
    /// The server shuts down.
    pub(crate) const GOING_AWAY: Self = Self(1001);
    /// The client broke the protocol.
    pub(crate) const PROTOCOL: Self = Self(1002);
    /// The client's text is not UTF-8.
    pub(crate) const INVALID_DATA: Self = Self(1007);
    /// The peer broke a rule of the server, such as reading too slowly.
    pub(crate) const POLICY: Self = Self(1008);
    /// The server restarts, or this part of it does. A client comes back at once.
    pub(crate) const RESTART: Self = Self(1012);
    /// The client's message is over the limit.
    pub(crate) const TOO_BIG: Self = Self(1009);
    /// The server lacks a resource for now.
    pub(crate) const TRY_LATER: Self = Self(1013);

    /// Returns the code if a peer may send it. Codes 1005, 1006 and 1015 are for reports inside one
    /// program; the others that are missing here are unassigned.
    fn from_wire(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    /// Returns the number on the wire.
    pub(crate) fn get(self) -> u16 {
        self.0
    }
}

/// The content of a close frame that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Close<'a> {
    /// Why the websocket ends.
    pub(crate) code: CloseCode,
    /// The reason in words; may be empty. At most 123 bytes are sent.
    pub(crate) reason: &'a str,
}
