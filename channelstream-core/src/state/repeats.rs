//! Repeats: the answers to requests with an idempotency key, which are given again to their repeats.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::stored;
use super::time::Moment;
use super::{Command, Refusal, Reply, Rules, State, Step, remove_entry};

/// By how much forgetting may be late where nothing else happens, so that keys that came one after
/// another are forgotten with one tick.
const LATE: Duration = Duration::from_secs(5);

/// What an answer takes beside its JSON: the entry, its number, and what the allocator adds.
const OVERHEAD: usize = 256;

/// What makes a request recognizable as the repeat of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    /// The key that the client chose. All requests share one space of keys.
    pub key: Arc<str>,
    /// A hash of everything that the answer depends on. A repeat has the same one.
    pub fingerprint: u128,
}

/// The answers that are kept, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub(super) struct Repeats {
    answers: VecDeque<Kept>,
    /// The number of the oldest answer; the next one has the next number.
    #[serde(skip_serializing)]
    first: u64,
    #[serde(skip_serializing)]
    numbers: IndexMap<Arc<str>, u64>,
    /// The sum of the sizes.
    #[serde(skip_serializing)]
    bytes: usize,
    /// How many answers were forgotten before their time, because of the bounds.
    evicted: u64,
}

/// The answer to one request.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    repeat: Repeat,
    since: Moment,
    size: usize,
    answer: Answer,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Answer {
    Reply(#[serde(with = "stored::Reply")] Reply),
    Refusal(Refusal),
}

/// The contents of a snapshot. The rest of [`Repeats`] follows from it.
#[derive(Deserialize)]
struct Stored {
    answers: Vec<Kept>,
    evicted: u64,
}

impl From<Stored> for Repeats {
    fn from(Stored { answers, evicted }: Stored) -> Self {
        let mut repeats = Self { evicted, ..Self::default() };
        answers.into_iter().for_each(|kept| repeats.push(kept));
        repeats
    }
}

impl Repeats {
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Returns the moment at which a tick is due for the oldest answer.
    pub(super) fn deadline(&self, rules: &Rules) -> Option<Moment> {
        let oldest = self.answers.front()?;
        Some(oldest.since.after(rules.idempotency_window).after(LATE))
    }

    fn find(&self, key: &str) -> Option<&Kept> {
        let place = self.numbers.get(key)?.checked_sub(self.first)?;
        self.answers.get(usize::try_from(place).ok()?)
    }

    /// Keeps an answer. If that is too much, the oldest are forgotten; an answer that alone is too
    /// large is not kept.
    fn keep(&mut self, kept: Kept, rules: &Rules) {
        if kept.size > rules.idempotency_bytes {
            self.evicted += 1;
            return;
        }
        self.push(kept);
        while self.answers.len() > rules.idempotency_keys || self.bytes > rules.idempotency_bytes {
            self.forget_oldest();
            self.evicted += 1;
        }
    }

    fn push(&mut self, kept: Kept) {
        self.bytes += kept.size;
        let number = self.first + self.answers.len() as u64;
        self.numbers.insert(Arc::clone(&kept.repeat.key), number);
        self.answers.push_back(kept);
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.answers.pop_front() else { return };
        self.first += 1;
        self.bytes -= oldest.size;
        remove_entry(&mut self.numbers, &oldest.repeat.key);
        if self.answers.is_empty() {
            self.answers = VecDeque::new();
        }
    }
}

impl State {
    /// Carries out a command, unless it is the repeat of one that was: then nothing happens, and the
    /// first answer is returned again, with `true`.
    pub(super) fn carry_out_once(
        &mut self,
        step: &mut Step,
        repeat: Repeat,
        command: Command,
    ) -> (Result<Reply, Refusal>, bool) {
        if let Some(kept) = self.repeats.find(&repeat.key) {
            if kept.repeat.fingerprint != repeat.fingerprint {
                return (Err(Refusal::KeyReused), false);
            }
            return match kept.answer.clone() {
                Answer::Reply(reply) => (Ok(reply), true),
                Answer::Refusal(refusal) => (Err(refusal), true),
            };
        }
        let reply = self.carry_out(step, command);
        let answer = match &reply {
            Ok(reply) => Answer::Reply(reply.clone()),
            Err(refusal) => Answer::Refusal(refusal.clone()),
        };
        let size = OVERHEAD + repeat.key.len() + reply.as_ref().map_or(0, length);
        let kept = Kept { repeat, since: self.own_time.now(), size, answer };
        self.repeats.keep(kept, &self.rules);
        (reply, false)
    }

    /// Forgets the answers whose time is over, but no more than `left` of them. Returns how many more
    /// it could have been.
    pub(super) fn forget_repeats(&mut self, mut left: usize) -> usize {
        let window = self.rules.idempotency_window;
        while let Some(oldest) = self.repeats.answers.front() {
            if left == 0 || oldest.since.after(window) > self.own_time.now() {
                break;
            }
            self.repeats.forget_oldest();
            left -= 1;
        }
        left
    }
}

/// Returns the length of a reply as JSON. It stands for the memory that the reply takes.
fn length(reply: &Reply) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, reply)
        .expect("replies hold texts, numbers and JSON under keys that are texts");
    counter.0
}
