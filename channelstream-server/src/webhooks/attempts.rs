//! The last attempts to send webhooks, for people.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use channelstream_core::protocol::Timestamp;

/// How many attempts are remembered.
const MOST: usize = 100;

/// The most characters of the channel or user that are remembered.
const SUBJECT: usize = 100;

/// An attempt that is over.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// When it began, by the wall clock.
    pub(crate) time: Timestamp,
    pub(crate) id: String,
    /// The type of the webhook.
    pub(crate) event: String,
    /// The channel or user.
    pub(crate) subject: Arc<str>,
    /// The number of the attempt in its lane since the last success.
    pub(crate) number: u32,
    pub(crate) took: Duration,
    /// The status, or why there is none.
    pub(crate) answer: Result<u16, &'static str>,
}

/// Attempts in the order in which they ended; no more than `MOST`.
#[derive(Debug, Default)]
pub(super) struct Attempts(VecDeque<Attempt>);

impl Attempts {
    pub(super) fn push(&mut self, mut attempt: Attempt) {
        if attempt.subject.chars().nth(SUBJECT).is_some() {
            let cut: String = attempt.subject.chars().take(SUBJECT - 1).chain(['…']).collect();
            attempt.subject = cut.into();
        }
        self.0.truncate(MOST - 1);
        self.0.push_front(attempt);
    }

    pub(super) fn newest(&self) -> Vec<Attempt> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_hundred_are_kept_and_long_names_cut() {
        let mut attempts = Attempts::default();
        for number in 0..250 {
            attempts.push(Attempt {
                time: Timestamp::from_micros(0),
                id: number.to_string(),
                event: "channel.occupied".to_owned(),
                subject: "ä".repeat(number).into(),
                number: 1,
                took: Duration::ZERO,
                answer: Ok(204),
            });
        }
        let newest = attempts.newest();
        assert_eq!((newest.len(), &*newest[0].id, &*newest[99].id), (MOST, "249", "150"));
        assert_eq!(newest[0].subject.chars().count(), SUBJECT);
        assert!(newest[0].subject.ends_with("ä…"));
    }
}
