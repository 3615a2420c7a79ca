//! Following an epoch: reading what others append, and appending.

use std::collections::HashSet;
use std::time::Duration;

use channelstream_core::state::Position;

use super::meeting::Fit;
use super::message::{Entry, Head, Line, Notice, Request, Standing};
use super::{Broken, Machine, PAUSES, Phase, Rule};

/// The mean time from one read to the next, at least. Under load, a read brings what came in this time at once.
pub(super) const BETWEEN_READS: Duration = Duration::from_micros(250);

/// For how long reads may follow each other at once.
const BURST: Duration = Duration::from_millis(4);

/// A node that follows an epoch.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) head: Head,
    /// Where Redis ended when it was met.
    end: Option<Position>,
    /// A read was answered.
    has_read: bool,
    /// It has read as far as that, and appends.
    pub(super) joined: bool,
    is_reading: bool,
    next_read: Duration,
    /// When lost entries are appended again that Redis had no memory for.
    next_repeats: Option<Duration>,
}

impl Following {
    /// Returns when something is to be done that does not wait for an answer.
    pub(super) fn wake(&self, is_appending: bool) -> Option<Duration> {
        let next_read = (!self.is_reading && !is_appending).then_some(self.next_read);
        next_read.into_iter().chain(self.next_repeats).min()
    }
}

impl<S> Machine<S> {
    /// Follows the epoch of the head from the position of the order on.
    pub(super) fn follow(&mut self, head: Head, end: Option<Position>) {
        self.nothing = None;
        let next_read = self.now.saturating_sub(BURST);
        let following = Following {
            head,
            end,
            has_read: false,
            joined: false,
            is_reading: false,
            next_read,
            next_repeats: None,
        };
        self.enter(Phase::Following(following));
        self.read_on();
    }

    /// Asks for the next entries, if it is time.
    pub(super) fn read_on(&mut self) {
        let now = self.now;
        let is_appending = self.is_appending();
        let Phase::Following(following) = &mut self.phase else { return };
        if following.is_reading || following.next_read > now || is_appending {
            return;
        }
        following.is_reading = true;
        following.next_read = following.next_read.max(now.saturating_sub(BURST)) + BETWEEN_READS;
        // The first answer shows that this node may read at all.
        let waits = following.has_read;
        let epoch = Some(following.head.epoch);
        let after = self.order.position();
        self.ask(Line::Read, Request::Read { after, waits, epoch });
    }

    /// Returns `true` if entries are being appended. A read before they all are would bring some of them, and what
    /// waits meanwhile goes together.
    pub(super) fn is_appending(&self) -> bool {
        self.lines[Line::Append as usize].front().is_some_and(|asked| asked.appends.is_some())
    }

    /// Takes the entries that were read.
    pub(super) fn read(&mut self, entries: Vec<(Position, Entry)>) {
        let Phase::Following(following) = &self.phase else { return };
        let has_more = following.end.is_some_and(|end| self.order.position() < end);
        if entries.is_empty() && has_more {
            // The last one was removed.
            self.hole();
            return;
        }
        for (position, entry) in entries {
            let Phase::Following(following) = &self.phase else { return };
            match self.fit(position, &entry, &following.head) {
                Fit::Next => self.give(position, entry),
                Fit::Past => {}
                Fit::Hole if !self.keeps(Rule::Holes) => self.give(position, entry),
                Fit::Hole => {
                    self.hole();
                    return;
                }
                // Somebody has begun another epoch.
                Fit::Unknown => {
                    self.hang_up();
                    return;
                }
            }
        }
        if let Phase::Following(following) = &mut self.phase {
            following.is_reading = false;
            following.has_read = true;
        }
        self.join();
        self.append_on();
        self.read_on();
    }

    /// Entries are missing behind the position. Perhaps there is a snapshot that has them.
    fn hole(&mut self) {
        self.broken = Some(Broken::Hole);
        self.hole_since.get_or_insert(self.now);
        self.notice(Notice::Hole { after: self.order.position() });
        self.hang_up();
    }

    /// An entry that no node has written stands in the way. Nobody gets past it.
    pub(super) fn unreadable(&mut self, at: Position) {
        let Phase::Following(following) = &self.phase else { return };
        let epoch = following.head.epoch;
        // One of a later epoch may be of somebody who has begun it.
        self.stuck = (at.epoch <= epoch).then_some(epoch);
        self.hang_up();
    }

    /// Begins to append once everything is read that was there when Redis was met: first what is lost,
    /// then what is under way.
    fn join(&mut self) {
        let position = self.order.position();
        let Phase::Following(following) = &mut self.phase else { return };
        if following.joined
            || !following.has_read
            || following.end.is_some_and(|end| position < end)
        {
            return;
        }
        following.joined = true;
        self.pause = PAUSES.0;
        self.asked = 0;
        if !self.keeps(Rule::Again) {
            self.own.clear();
        }
        self.repeat();
        self.stand(Standing::Following);
        self.append_on();
    }

    /// Appends again what was applied and is not in the order, whoever sent it.
    fn repeat(&mut self) {
        if self.keeps(Rule::Ring) {
            let by_anyone = self.keeps(Rule::Anyone);
            let own: HashSet<_> = self.own.iter().map(|own| own.entry.number).collect();
            let lost = self.ring.missing_in(&self.order);
            let lost = lost.filter(|entry| by_anyone || entry.node == self.node);
            let lost = lost.filter(|lost| lost.node != self.node || !own.contains(&lost.number));
            self.repeats = lost.cloned().collect();
        }
        if !self.repeats.is_empty() {
            let count = self.repeats.len();
            self.notice(Notice::Repeats { count });
        }
    }

    /// Redis did not write an entry that was lost.
    pub(super) fn repeat_later(&mut self) {
        /// Whoever looks after Redis has to act first.
        const PAUSE: Duration = Duration::from_secs(1);
        let next = self.now + PAUSE;
        if let Phase::Following(following) = &mut self.phase {
            following.next_repeats.get_or_insert(next);
        }
    }

    /// Appends again what could not be appended again before, if it is time.
    pub(super) fn repeat_again(&mut self) {
        let now = self.now;
        let Phase::Following(following) = &mut self.phase else { return };
        if following.next_repeats.take_if(|next| *next <= now).is_some() {
            self.repeat();
            self.append_on();
        }
    }

    /// Appends what waits, once all that was appended before is.
    pub(super) fn append_on(&mut self) {
        let Phase::Following(following) = &self.phase else { return };
        if !following.joined || self.is_appending() {
            return;
        }
        let epoch = following.head.epoch;
        for _ in 0..super::TOGETHER {
            let entry = if let Some(entry) = self.repeats.pop_front() {
                entry
            } else if let Some(own) = self.own.get_mut(self.asked) {
                self.asked += 1;
                own.sent += 1;
                own.entry.clone()
            } else {
                return;
            };
            self.ask(Line::Append, Request::Append { epoch, entry });
        }
    }
}
