//! The cases: each plays a part of a server's life, and knows the rule of the specification that it tests.

mod contents;
mod ending;
mod growing;
mod malformed;
mod opening;
mod publishing;
mod returning;

use super::stage::Stage;
use super::verdict::Played;
use crate::args::ListenTransport;

/// A case.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// The rule of docs/client-spec.md.
    pub(super) rule: &'static str,
    pub(super) level: Level,
    pub(super) about: &'static str,
    on: On,
    pub(super) play: fn(&mut Stage) -> Played,
}

/// What a rule asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Must,
    Should,
}

/// Where a case is played.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    /// All transports.
    Each,
    /// Websockets and event streams, which stay open.
    Lines,
    Websocket,
    /// No transport at all.
    Publisher,
}

impl Case {
    /// Returns `true` if it is about a publisher.
    pub(super) fn is_publishers(&self) -> bool {
        self.on == On::Publisher
    }

    /// Returns `true` if it is played over this transport.
    pub(super) fn is_on(&self, transport: ListenTransport) -> bool {
        match self.on {
            On::Each => true,
            On::Lines => transport != ListenTransport::Poll,
            On::Websocket => transport == ListenTransport::Websocket,
            On::Publisher => false,
        }
    }

    /// Returns `true` if it has this name, or is of the group of this name.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let rest = self.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

macro_rules! cases {
    ($($name:literal $rule:literal $level:ident $on:ident $play:path: $about:literal;)*) => {
        /// All cases, in the order of the specification.
        pub(super) const ALL: &[Case] = &[$(Case {
            name: $name,
            rule: $rule,
            level: Level::$level,
            about: $about,
            on: On::$on,
            play: $play,
        }),*];
    };
}

cases! {
    "listen.open" "L1" Must Each opening::open: "the request, the first event and the end";
    "listen.stored-cursor" "L2" Must Each opening::stored_cursor: "a program that stored its cursor goes on from it";
    "listen.order" "L3" Must Each contents::order: "300 messages, each once and in order";
    "listen.events" "L4" Must Each contents::events: "edits, deletes, presence and private messages";
    "listen.unknown" "L5" Must Each contents::unknown: "unknown events and fields are passed over, and their cursors count";
    "listen.gap" "L6" Must Each contents::gaps: "gaps are told in their place, also with an unknown reason";
    "listen.growing" "L7" Must Each contents::growing: "a message that grows by appends and ends";
    "listen.text" "L8" Must Lines malformed::text: "characters that arrive in pieces";
    "listen.drip" "L8" Must Lines malformed::drip: "events that arrive byte by byte";
    "listen.large" "L9" Must Each malformed::large: "a message of a MiB";
    "listen.endless" "L9" Must Lines malformed::endless: "an event without an end is given up";
    "listen.malformed" "L10" Must Each malformed::malformed: "what is no JSON is no event, and no end";
    "listen.cut" "L11" Must Each returning::cut: "a TCP connection that breaks, and comes back to what was missed";
    "listen.cut-at-once" "L11" Must Lines returning::cut_at_once: "one that breaks before the first event";
    "listen.cut-in-event" "L11" Must Lines returning::cut_in_event: "one that breaks in the middle of an event";
    "listen.growing-again" "L7" Must Each returning::growing: "a growing message after a break";
    "listen.backoff" "L12" Must Each returning::backoff: "a server that is busy is not asked at once again";
    "listen.retry-after" "L13" Should Each returning::retry_after: "a server that asks for two seconds has them";
    "listen.foreign" "L14" Must Each returning::foreign: "a page of a proxy is no server, for now";
    "listen.redirect" "L15" Should Each returning::redirect: "a redirect to another server is not followed";
    "listen.cursor-refused" "L16" Must Each returning::cursor_refused: "a cursor that the server cannot read";
    "listen.silence" "L17" Must Lines returning::silence: "a TCP connection without heartbeats is dead";
    "listen.heartbeats" "L17" Must Lines returning::heartbeats: "one with heartbeats alone is alive";
    "listen.mute" "L17" Must Lines returning::mute: "a request to listen that is not answered is given up";
    "listen.ping" "L18" Must Websocket returning::ping: "pings are answered";
    "listen.drain" "L19" Must Lines ending::drain: "a server that shuts down sends its listeners to the next one";
    "listen.drain-circle" "L19" Must Lines ending::drain_circle: "servers that all leave are not asked at once again and again";
    "listen.unknown-connection" "L20" Must Each ending::unknown_connection: "without an application the listener ends";
    "listen.renewal" "L20" Must Each ending::renewal: "with one it goes on with another connection, from its cursor";
    "listen.renewal-circle" "L20" Must Each ending::renewal_circle: "connections that are all unknown are not made at once again and again";
    "listen.disconnected" "L21" Must Lines ending::disconnected: "a connection that was ended is not taken up";
    "listen.superseded" "L22" Must Lines ending::superseded: "a listener that was superseded does not take over in turn";
    "publish.signed" "P1" Must Publisher publishing::signed: "a signed request, and its answer";
    "publish.busy" "P2" Must Publisher publishing::busy: "what was not done is repeated, after the time that the server asks for";
    "publish.refused" "P3" Must Publisher publishing::refused: "what is refused is not repeated";
    "publish.in-doubt" "P4" Must Publisher publishing::in_doubt: "what is in doubt is repeated with its key, or told";
    "publish.no-keys" "P4" Must Publisher publishing::no_keys: "without keys it is not repeated";
    "publish.gives-up" "P5" Must Publisher publishing::gives_up: "repeats have an end";
    "publish.long-wait" "P5" Must Publisher publishing::long_wait: "a server that asks for an hour is not asked sooner";
    "publish.redirect" "P6" Must Publisher publishing::redirect: "a signature goes to no other server";
    "publish.answer" "P7" Must Publisher publishing::answer_is_no_json: "an answer that is no JSON is no success";
    "publish.growing" "P8" Must Publisher growing::growing: "a message that grows, and ends";
    "publish.growing-in-doubt" "P8" Must Publisher growing::growing_in_doubt: "appends whose answers are lost are done once";
}
