//! The test clock: time passes when a test says so, from one deadline to the next.

use std::time::Duration;

use channelstream_core::protocol::Timestamp;
use channelstream_core::state::{Command, State};

use super::{Error, Node};

/// How far a test clock can be ahead in all: more than any setting, and far from every overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Node {
    /// Lets this time pass on the clock of the stamps, and waits until everything that is due by then has
    /// happened, in the order of its deadlines, and is in the outboxes of the listeners. Returns the time
    /// of day of the stamps, or `None` if the clock would be ahead by more than [`LONGEST`], and nothing
    /// was done.
    ///
    /// Only a state whose longest step has no bound keeps pace.
    pub(crate) async fn advance(&self, time: Duration) -> Result<Option<Timestamp>, Error> {
        let clock = &self.0.clock;
        // Two at once would carry each other over their deadlines.
        let _turn = clock.turn_to_advance().await;
        if clock.ahead_for_tests().saturating_add(time) > LONGEST {
            return Ok(None);
        }
        let mut left = time;
        loop {
            // What is due may set further deadlines, and one tick does a portion of it.
            let next = self.ask(State::next_deadline).await?.map(|next| self.until(next));
            if left.is_zero() && next.is_none_or(|next| !next.is_zero()) {
                break;
            }
            let step = next.map_or(left, |next| next.min(left));
            clock.advance(step);
            left -= step;
            self.submit(Command::Tick).await?;
        }
        self.hub().settle().await;
        Ok(Some(clock.now()))
    }

    /// Returns the time of day as stamps have it.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}
