//! What is given out to the loop: in order, as soon as it has room, and entries of this node only once replicas
//! have confirmed them.

use std::collections::{BTreeSet, VecDeque};

use channelstream_core::state::NodeId;
use tokio::sync::mpsc;

use super::super::{Error, Given};
use super::figures::{Figures, count};

/// How much may wait for the loop before no more is read.
const BEHIND: usize = 1024;

/// The way to the loop.
pub(super) struct Giving {
    given: mpsc::Sender<Given>,
    node: NodeId,
    /// What is given out as soon as the loop has room for it.
    outgoing: VecDeque<Given>,
    /// Entries of this node that were sent, and wait for replicas.
    waiting: BTreeSet<u64>,
    /// Those that too few replicas have.
    doubtful: BTreeSet<u64>,
}

impl Giving {
    pub(super) fn new(given: mpsc::Sender<Given>, node: NodeId) -> Self {
        let (outgoing, waiting, doubtful) = Default::default();
        Self { given, node, outgoing, waiting, doubtful }
    }

    pub(super) fn push(&mut self, given: Given) {
        self.outgoing.push_back(given);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Returns `true` if so much waits for the loop that no more should be read.
    pub(super) fn is_behind(&self) -> bool {
        self.outgoing.len() >= BEHIND
    }

    /// Returns `true` if something waits for nothing but the loop.
    pub(super) fn wants_room(&self) -> bool {
        !self.outgoing.is_empty() && !self.is_held_back()
    }

    /// Waits until the loop has room. Returns `false` if it is gone.
    pub(super) async fn room(&self) -> bool {
        self.given.reserve().await.is_ok()
    }

    /// Notes that entries of this node were sent, and wait for replicas.
    pub(super) fn wait_for(&mut self, numbers: Vec<u64>) {
        self.waiting.extend(numbers);
    }

    /// Notes that enough replicas have entries of this node, or too few.
    pub(super) fn confirm(&mut self, numbers: Vec<u64>, are_enough: bool) {
        for number in numbers {
            self.waiting.remove(&number);
            if !are_enough {
                self.doubtful.insert(number);
            }
        }
    }

    /// Nobody confirms any more what was sent on the lines that are gone. What was not read back is sent
    /// again.
    pub(super) fn hang_up(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let given = self.outgoing.iter().filter_map(|given| own(given, self.node));
        self.doubtful.extend(given.filter(|number| waiting.contains(number)));
    }

    /// Returns `true` if what is given out next waits for replicas.
    fn is_held_back(&self) -> bool {
        let next = self.outgoing.front().and_then(|given| own(given, self.node));
        next.is_some_and(|number| self.waiting.contains(&number))
    }

    /// Gives out what the loop has room for.
    pub(super) fn give_out(&mut self, figures: &Figures) {
        while !self.is_held_back()
            && let Ok(permit) = self.given.try_reserve()
            && let Some(given) = self.outgoing.pop_front()
        {
            let number = own(&given, self.node);
            if let Some(number) = number.filter(|number| self.doubtful.remove(number)) {
                // Its caller hears this first, and nothing else later.
                permit.send(Given::Undone { number, why: Error::InDoubt });
                count(&figures.undone, 1);
                self.outgoing.push_front(given);
                continue;
            }
            permit.send(given);
        }
        figures.waits(!self.outgoing.is_empty());
    }
}

/// Returns the number of an entry of this node.
fn own(given: &Given, node: NodeId) -> Option<u64> {
    match given {
        Given::Entry(envelope) if envelope.node == node => Some(envelope.number),
        _ => None,
    }
}
