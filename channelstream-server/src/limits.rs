//! Limits: counts each refusal because a limit was reached, and reports it in the log.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::http::peer::Peer;

/// The shortest interval between two warnings about one limit.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// A limit of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Connections,
    ConnectionsPerAddress,
    RequestsPerAddress,
    FailedSignIns,
    HeadSize,
    BodySize,
    BodyTime,
    AnswerTime,
    JsonDepth,
    JsonElements,
    ClientMessage,
    Listeners,
    Outbox,
    PingTimeout,
    WaitingCommands,
    WaitingQuestions,
    AdminPages,
    KeptAnswers,
    PipeTimeout,
    GrowingSize,
    GrowingItems,
    OpenMessages,
    Nonces,
    Webhooks,
}

/// All limits; each one's index is its number.
const ALL: [Limit; 24] = [
    Limit::Connections,
    Limit::ConnectionsPerAddress,
    Limit::RequestsPerAddress,
    Limit::FailedSignIns,
    Limit::HeadSize,
    Limit::BodySize,
    Limit::BodyTime,
    Limit::AnswerTime,
    Limit::JsonDepth,
    Limit::JsonElements,
    Limit::ClientMessage,
    Limit::Listeners,
    Limit::Outbox,
    Limit::PingTimeout,
    Limit::WaitingCommands,
    Limit::WaitingQuestions,
    Limit::AdminPages,
    Limit::KeptAnswers,
    Limit::PipeTimeout,
    Limit::GrowingSize,
    Limit::GrowingItems,
    Limit::OpenMessages,
    Limit::Nonces,
    Limit::Webhooks,
];

impl Limit {
    /// The key of its setting; for a fixed limit, what it limits.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::ConnectionsPerAddress => "max_connections_per_address",
            Self::RequestsPerAddress => "max_requests_per_address",
            Self::FailedSignIns => "max_failed_sign_ins",
            Self::HeadSize => "max_head_size",
            Self::BodySize => "max_body_size",
            Self::BodyTime => "body_timeout",
            Self::AnswerTime => "answer_timeout",
            Self::JsonDepth => "max_json_depth",
            Self::JsonElements => "max_json_elements",
            Self::ClientMessage => "max_client_message",
            Self::Listeners => "max_listeners",
            Self::Outbox => "outbox_frames or outbox_bytes",
            Self::PingTimeout => "ping_timeout",
            Self::WaitingCommands => "waiting commands",
            Self::WaitingQuestions => "waiting questions",
            Self::AdminPages => "admin pages",
            Self::KeptAnswers => "max_idempotency_keys or max_idempotency_bytes",
            Self::PipeTimeout => "pipe_timeout",
            Self::GrowingSize => "max_growing_size",
            Self::GrowingItems => "max_growing_items",
            Self::OpenMessages => "max_open_messages",
            Self::Nonces => "max_nonces",
            Self::Webhooks => "max_webhooks",
        }
    }

    /// Returns the limit of growing messages that a reason of the state names.
    pub(crate) fn of_growing(reason: &str) -> Option<Self> {
        let mut limits = [Self::GrowingSize, Self::GrowingItems, Self::OpenMessages].into_iter();
        limits.find(|limit| reason.contains(limit.name()))
    }

    /// Returns `true` if it counts by address: an unknown proxy reaches it for all of its users.
    fn is_per_address(self) -> bool {
        matches!(self, Self::ConnectionsPerAddress | Self::RequestsPerAddress | Self::FailedSignIns)
    }
}

/// The refusals by one limit.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    count: u64,
    /// The time of the last warning, and the count at that time.
    warned: Option<(Instant, u64)>,
}

impl Tally {
    /// Counts one refusal. If a warning is due, returns the number of refusals since the last one.
    fn add(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        let reported = match self.warned {
            Some((when, _)) if now.duration_since(when) < WARN_EVERY => return None,
            Some((_, reported)) => reported,
            None => 0,
        };
        self.warned = Some((now, self.count));
        Some(self.count - reported)
    }
}

/// The refusals of a server since its start, by limit.
#[derive(Debug, Default)]
pub(crate) struct Limits(Mutex<[Tally; ALL.len()]>);

impl Limits {
    /// Counts a refusal, and logs a warning if one is due. The peer may be unknown where the refusal
    /// happens.
    pub(crate) fn refused(&self, limit: Limit, peer: impl Into<Option<Peer>>) {
        let peer = peer.into();
        // An unknown peer is behind a proxy that is trusted already.
        let may_be_proxy = limit.is_per_address() && peer != Some(Peer::UNKNOWN);
        let (name, peer) = (limit.name(), peer.map(tracing::field::display));
        tracing::debug!(limit = name, peer, "refused");
        let Some(count) = self.tallies()[limit as usize].add(Instant::now()) else { return };
        if may_be_proxy {
            tracing::warn!(
                limit = name,
                peer,
                count,
                "refused by a limit; if this is a proxy, add it to trusted_proxies"
            );
        } else {
            tracing::warn!(limit = name, peer, count, "refused by a limit");
        }
    }

    /// Returns the name of each limit with the number of its refusals.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let tallies = *self.tallies();
        ALL.into_iter().map(move |limit| (limit.name(), tallies[limit as usize].count))
    }

    fn tallies(&self) -> MutexGuard<'_, [Tally; ALL.len()]> {
        self.0.lock().expect("nothing that holds the tallies can panic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::setting;

    #[test]
    fn every_limit_has_its_index_and_the_key_of_a_setting_or_a_fixed_name() {
        let limits = Limits::default();
        for (number, limit) in ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, number, "{limit:?}");
            let is_fixed = limit.name().contains(' ');
            assert!(is_fixed || setting(limit.name()).is_some(), "{limit:?}");
            for _ in 0..=number {
                limits.refused(limit, None);
            }
        }
        let counts: Vec<_> = limits.counts().map(|(_, count)| count).collect();
        assert!(counts.iter().copied().eq(1..=ALL.len() as u64), "{counts:?}");
    }

    #[test]
    fn a_warning_comes_once_a_minute_and_counts_all_since_the_last() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        let mut add = |seconds| tally.add(start + Duration::from_secs(seconds));
        assert_eq!(add(0), Some(1));
        assert_eq!([add(0), add(30), add(59)], [None; 3]);
        assert_eq!(add(60), Some(4));
        assert_eq!(add(119), None);
        assert_eq!(add(600), Some(2));
    }
}
