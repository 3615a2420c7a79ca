//! Why listeners come to their end, and how they are told.

use bytes::Bytes;

use crate::wire::websocket::{Close, CloseCode, close_frame};

/// Why a listener comes to its end by the server's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The connection is over, or is unknown.
    Ended,
    /// A newer listener took over.
    Superseded,
    /// Too much waited for it.
    Slow,
    /// It took nothing of what waited, for long.
    Stalled,
    /// It did not answer a ping.
    Silent,
    /// The server has no place for it, or is too far behind.
    Full,
    /// The server shuts down.
    Shutdown,
}

impl Ending {
    pub(crate) fn close_frame(self) -> Bytes {
        let (code, reason) = match self {
            Self::Ended => (CloseCode::NORMAL, ""),
            Self::Superseded => (CloseCode::NORMAL, "superseded by a newer listener"),
            Self::Slow => (
                CloseCode::POLICY,
                "reads too slowly: its outbox is full (outbox_frames, outbox_bytes)",
            ),
            Self::Stalled => (CloseCode::POLICY, "reads nothing of what waits for it"),
            Self::Silent => (CloseCode::POLICY, "a ping was not answered"),
            Self::Full => (CloseCode::TRY_LATER, "the server is full, try again later"),
            Self::Shutdown => (CloseCode::GOING_AWAY, "the server is shutting down"),
        };
        close_frame(Some(Close { code, reason }))
    }
}
