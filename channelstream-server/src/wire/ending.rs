//! Why the server ends a listener, in the words that the peer receives.

use super::websocket::{Close, CloseCode};

/// Why the server ends a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The connection has ended or is unknown.
    Ended,
    /// The peer closed, or broke the protocol of its transport.
    Closed,
    /// A newer listener took over.
    Superseded,
    /// More waited for the listener than the outbox takes.
    Slow,
    /// The peer took nothing of what waited for too long.
    Stalled,
    /// The peer did not answer a ping.
    Silent,
    /// The others went on without this node: they took it for dead, or it lost what they had.
    NodeSilent,
    /// The server is too far behind to take the listener in.
    Full,
    /// The server shuts down.
    Shutdown,
}

impl Ending {
    /// Returns the reason in words; an ordinary end needs none.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Ended | Self::Closed => "",
            Self::Superseded => "superseded by a newer listener",
            Self::Slow => "reads too slowly: its outbox is full (outbox_frames, outbox_bytes)",
            Self::Stalled => "reads nothing of what waits for it",
            Self::Silent => "a ping was not answered",
            Self::NodeSilent => "this node was parted from the others",
            Self::Full => "the server takes no more now, try again later",
            Self::Shutdown => "the server is shutting down",
        }
    }
}

impl From<Ending> for Close<'static> {
    fn from(ending: Ending) -> Self {
        let code = match ending {
            Ending::Ended | Ending::Closed | Ending::Superseded => CloseCode::NORMAL,
            Ending::Slow | Ending::Stalled | Ending::Silent => CloseCode::POLICY,
            Ending::NodeSilent => CloseCode::RESTART,
            Ending::Full => CloseCode::TRY_LATER,
            Ending::Shutdown => CloseCode::GOING_AWAY,
        };
        Self { code, reason: ending.reason() }
    }
}
