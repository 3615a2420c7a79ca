//! The queue of webhooks: what is sent next, and when again. It has no clock: time is passed in.
//!
//! Each channel has a lane, and so has each user for what is of no channel. Of a lane, one webhook is sent
//! at a time, the oldest one, so that the order of a lane is that in which things happened. A lane whose
//! receiver fails waits, the others go on.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::Webhook;

/// The most webhooks that are sent at the same time.
pub(super) const IN_FLIGHT: usize = 8;

/// The longest first pause after a failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The age at which a webhook is given up, if sending fails.
pub(super) const GIVE_UP: Duration = Duration::from_secs(24 * 3600);

/// Webhooks that wait or are being sent.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: HashMap<Arc<str>, Lane>,
    /// The lanes that wait for their turn, the next one first.
    turns: BTreeSet<(Instant, u64, Arc<str>)>,
    /// When each webhook was queued, by its number.
    queued: BTreeMap<u64, Instant>,
    /// The number of the newest webhook.
    newest: u64,
    in_flight: usize,
    /// Nothing is sent before, because the receiver says so.
    not_before: Option<Instant>,
}

/// The webhooks of one channel or user; never empty.
#[derive(Debug)]
struct Lane {
    waiting: VecDeque<Queued>,
    /// When its turn is. `None` while its first one is being sent.
    turn: Option<(Instant, u64)>,
    /// How many attempts have failed since the last success.
    failures: u32,
}

#[derive(Debug)]
struct Queued {
    number: u64,
    webhook: Arc<Webhook>,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this one, and tell by [`Queue::done`] what became of it. It is the attempt of this number.
    Send(Arc<Webhook>, u32),
    /// Wait until then, or until something else happens.
    Wait(Option<Instant>),
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempted {
    Taken,
    /// It failed. The receiver may have asked for a pause.
    Failed(Option<Duration>),
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.queued.len()
    }

    /// Returns when the oldest webhook was queued.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.queued.first_key_value().map(|(_, queued)| *queued)
    }

    /// Returns all webhooks, in the order in which they were queued.
    pub(super) fn all(&self) -> Vec<&Webhook> {
        let mut all: Vec<_> = self.lanes.values().flat_map(|lane| &lane.waiting).collect();
        all.sort_unstable_by_key(|queued| queued.number);
        all.into_iter().map(|queued| &*queued.webhook).collect()
    }

    /// Adds a webhook at the end of its lane.
    pub(super) fn push(&mut self, webhook: Arc<Webhook>, now: Instant) {
        self.newest += 1;
        let number = self.newest;
        self.queued.insert(number, now);
        let name = Arc::clone(&webhook.lane);
        let queued = Queued { number, webhook };
        if let Some(lane) = self.lanes.get_mut(&name) {
            lane.waiting.push_back(queued);
            return;
        }
        let turn = Some((now, number));
        let lane = Lane { waiting: VecDeque::from([queued]), turn, failures: 0 };
        self.lanes.insert(Arc::clone(&name), lane);
        self.turns.insert((now, number, name));
    }

    /// Returns what to send, or how long to wait.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if self.in_flight == IN_FLIGHT {
            return Next::Wait(None);
        }
        let Some((turn, ..)) = self.turns.first() else { return Next::Wait(None) };
        let turn = self.not_before.map_or(*turn, |not_before| not_before.max(*turn));
        if turn > now {
            return Next::Wait(Some(turn));
        }
        self.not_before = None;
        let (.., name) = self.turns.pop_first().expect("there is a first one");
        let lane = self.lanes.get_mut(&name).expect("a lane that has a turn exists");
        lane.turn = None;
        self.in_flight += 1;
        let first = lane.waiting.front().expect("no lane is empty");
        Next::Send(Arc::clone(&first.webhook), lane.failures + 1)
    }

    /// Says what became of the webhook of this lane that was being sent. Returns those that are over: the one
    /// that was taken, or those that are given up. `random` decides how long the lane waits.
    pub(super) fn done(
        &mut self,
        name: &Arc<str>,
        attempted: Attempted,
        now: Instant,
        random: u64,
    ) -> Vec<Arc<Webhook>> {
        let Some(lane) = self.lanes.get_mut(name).filter(|lane| lane.turn.is_none()) else {
            return Vec::new();
        };
        self.in_flight -= 1;
        let (over, turn) = match attempted {
            Attempted::Taken => {
                lane.failures = 0;
                (1, now)
            }
            Attempted::Failed(asked) => {
                lane.failures = lane.failures.saturating_add(1);
                if let Some(asked) = asked {
                    let until = now + asked.clamp(FIRST_PAUSE, LONGEST_PAUSE);
                    self.not_before = self.not_before.max(Some(until));
                }
                let is_old = |queued: &&Queued| {
                    now.saturating_duration_since(self.queued[&queued.number]) >= GIVE_UP
                };
                let old = lane.waiting.iter().take_while(is_old).count();
                (old, now + pause(lane.failures, random))
            }
        };
        let over: Vec<_> = lane.waiting.drain(..over).collect();
        for queued in &over {
            self.queued.remove(&queued.number);
        }
        match lane.waiting.front() {
            Some(first) => {
                lane.turn = Some((turn, first.number));
                self.turns.insert((turn, first.number, Arc::clone(name)));
            }
            None => {
                self.lanes.remove(name);
            }
        }
        over.into_iter().map(|queued| queued.webhook).collect()
    }

    /// Lets the turn of all lanes be now: the receiver may be another one.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.not_before = None;
        let turns = std::mem::take(&mut self.turns);
        for (turn, number, name) in turns {
            let turn = turn.min(now);
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.turn = Some((turn, number));
                lane.failures = 0;
            }
            self.turns.insert((turn, number, name));
        }
    }

    /// Removes everything. Returns how many that were. The attempts have to be broken off.
    pub(super) fn clear(&mut self) -> usize {
        let count = self.len();
        *self = Self { newest: self.newest, ..Self::default() };
        count
    }
}

/// Returns the pause after so many failures: a random part of a time that doubles.
fn pause(failures: u32, random: u64) -> Duration {
    let doubled = 2u32.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let most = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    most.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A webhook whose id is its number.
    fn webhook(lane: &str, number: usize) -> Arc<Webhook> {
        Arc::new(Webhook { id: number.to_string(), lane: lane.into(), ..Webhook::test() })
    }

    fn queue(lanes: &[&str], now: Instant) -> Queue {
        let mut queue = Queue::default();
        for (number, lane) in lanes.iter().enumerate() {
            queue.push(webhook(lane, number), now);
        }
        queue
    }

    /// Starts the next attempt. Returns the lane, the id and the number of the attempt.
    fn send(queue: &mut Queue, now: Instant) -> Option<(Arc<str>, String, u32)> {
        match queue.next(now) {
            Next::Send(webhook, attempt) => {
                Some((Arc::clone(&webhook.lane), webhook.id.clone(), attempt))
            }
            Next::Wait(_) => None,
        }
    }

    #[track_caller]
    fn sends(queue: &mut Queue, now: Instant, want: &str) -> Arc<str> {
        let (lane, id, _) = send(queue, now).unwrap_or_else(|| panic!("nothing is due"));
        assert_eq!(id, want);
        lane
    }

    #[test]
    fn one_of_a_lane_is_sent_at_a_time_and_lanes_take_turns() {
        let now = Instant::now();
        let mut queue = queue(&["a", "a", "b"], now);
        let a = sends(&mut queue, now, "0");
        let b = sends(&mut queue, now, "2");
        assert!(send(&mut queue, now).is_none());
        assert_eq!(queue.done(&a, Attempted::Taken, now, 0).len(), 1);
        sends(&mut queue, now, "1");
        queue.done(&b, Attempted::Taken, now, 0);
        queue.done(&a, Attempted::Taken, now, 0);
        assert_eq!((queue.len(), queue.oldest(), queue.lanes.len()), (0, None, 0));
    }

    #[test]
    fn a_lane_that_fails_waits_longer_each_time_and_the_others_go_on() {
        let mut now = Instant::now();
        let mut queue = queue(&["bad", "good"], now);
        let bad = sends(&mut queue, now, "0");
        queue.done(&bad, Attempted::Failed(None), now, u64::MAX);
        let good = sends(&mut queue, now, "1");
        queue.done(&good, Attempted::Taken, now, 0);
        let mut pauses = Vec::new();
        for attempt in 2..16 {
            let Next::Wait(Some(until)) = queue.next(now) else { panic!("it has to wait") };
            pauses.push(until.duration_since(now).as_secs());
            now = until;
            let (lane, _, number) = send(&mut queue, now).unwrap();
            assert_eq!(number, attempt);
            queue.done(&lane, Attempted::Failed(None), now, u64::MAX);
        }
        assert_eq!(pauses[..5], [1, 2, 4, 8, 16]);
        assert_eq!(pauses.last(), Some(&3600));
        // A success forgets all that.
        queue.hurry(now);
        queue.push(webhook("bad", 2), now);
        let bad = sends(&mut queue, now, "0");
        queue.done(&bad, Attempted::Taken, now, 0);
        assert_eq!(send(&mut queue, now).map(|(.., attempt)| attempt), Some(1));
    }

    #[test]
    fn a_pause_is_random_from_zero_to_its_longest() {
        assert_eq!(pause(1, 0), Duration::ZERO);
        assert_eq!(pause(1, u64::MAX / 2), SECOND / 2);
        assert_eq!(pause(3, u64::MAX), 4 * SECOND);
        assert_eq!(pause(u32::MAX, u64::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn a_receiver_that_asks_for_a_pause_gets_one_from_all_lanes_within_bounds() {
        for (asked, given) in [(0, 1), (20, 20), (1_000_000, 3600), (u64::MAX, 3600)] {
            let now = Instant::now();
            let mut queue = queue(&["a", "b"], now);
            let a = sends(&mut queue, now, "0");
            queue.done(&a, Attempted::Failed(Some(Duration::from_secs(asked))), now, 0);
            let then = now + Duration::from_secs(given);
            assert!(matches!(queue.next(now), Next::Wait(Some(until)) if until == then), "{asked}");
            assert!(send(&mut queue, then).is_some() && send(&mut queue, then).is_some());
        }
    }

    #[test]
    fn what_is_a_day_old_is_given_up_when_it_fails() {
        let start = Instant::now();
        let mut queue = queue(&["a", "a"], start);
        let late = start + GIVE_UP;
        queue.push(webhook("a", 2), late - SECOND);
        let a = sends(&mut queue, late - SECOND, "0");
        assert!(queue.done(&a, Attempted::Failed(None), late - SECOND, 0).is_empty());
        sends(&mut queue, late, "0");
        let over = queue.done(&a, Attempted::Failed(None), late, 0);
        // The one that is as old goes with it, the younger one stays.
        assert_eq!(over.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["0", "1"]);
        assert_eq!(sends(&mut queue, late, "2"), a);
        // However old it is, what is taken is taken.
        assert_eq!(queue.done(&a, Attempted::Taken, late + 9 * GIVE_UP, 0).len(), 1);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn no_more_than_some_are_sent_at_the_same_time() {
        let now = Instant::now();
        let lanes: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        let mut queue = queue(&lanes.iter().map(|lane| &**lane).collect::<Vec<_>>(), now);
        let flying: Vec<_> = std::iter::from_fn(|| send(&mut queue, now)).collect();
        assert_eq!(flying.len(), IN_FLIGHT);
        assert!(matches!(queue.next(now), Next::Wait(None)));
        assert_eq!(queue.clear(), 100);
        assert!(matches!(queue.next(now), Next::Wait(None)));
        queue.push(webhook("a", 1), now);
        sends(&mut queue, now, "1");
    }

    proptest! {
        /// Whatever fails: each webhook is taken once, those of a lane in their order, and never two of a
        /// lane or too many at a time.
        #[test]
        fn each_is_taken_once_and_in_the_order_of_its_lane(
            lanes in proptest::collection::vec(0..4_u8, 1..40),
            dice in proptest::collection::vec((any::<u8>(), any::<u64>()), 1..64),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut queue = Queue::default();
            let (mut flying, mut taken): (Vec<(Arc<str>, String)>, _) = (Vec::new(), Vec::new());
            let mut left: VecDeque<_> = lanes.iter().enumerate().collect();
            let mut dice = dice.into_iter().cycle();
            for round in 0..100_000 {
                let (what, random) = dice.next().unwrap();
                // After a while all goes well, so that it ends.
                let fails = what % 3 == 0
                    && round < 50_000
                    && now.duration_since(start) < GIVE_UP / 2;
                if let Some((number, lane)) = left.pop_front() {
                    queue.push(webhook(&lane.to_string(), number), now);
                }
                match queue.next(now) {
                    Next::Send(webhook, _) => {
                        prop_assert!(flying.iter().all(|(lane, _)| *lane != webhook.lane));
                        flying.push((Arc::clone(&webhook.lane), webhook.id.clone()));
                        prop_assert!(flying.len() <= IN_FLIGHT);
                        if what % 2 == 0 {
                            continue;
                        }
                    }
                    Next::Wait(Some(until)) if flying.is_empty() => {
                        prop_assert!(until > now && until <= now + LONGEST_PAUSE);
                        now = until;
                        continue;
                    }
                    Next::Wait(_) if flying.is_empty() => {
                        if left.is_empty() {
                            break;
                        }
                        continue;
                    }
                    Next::Wait(_) => {}
                }
                let (lane, id) = flying.swap_remove(usize::from(what) % flying.len());
                if what % 7 == 0 {
                    queue.hurry(now);
                }
                let asked = (what % 5 == 0).then_some(Duration::from_secs(random));
                let attempted = if fails { Attempted::Failed(asked) } else { Attempted::Taken };
                let over = queue.done(&lane, attempted, now, random);
                if !fails {
                    prop_assert_eq!(over.len(), 1);
                    prop_assert_eq!(&over[0].id, &id);
                    taken.push((lane, id.parse::<usize>().unwrap()));
                }
            }
            prop_assert_eq!((queue.len(), queue.lanes.len(), queue.turns.len()), (0, 0, 0));
            prop_assert_eq!(taken.len(), lanes.len());
            for lane in 0..4_u8 {
                let of_lane = taken.iter().filter(|(name, _)| **name == lane.to_string());
                prop_assert!(of_lane.map(|(_, number)| number).is_sorted());
            }
        }
    }
}
