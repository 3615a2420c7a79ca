//! The order of entries: positions, epochs, where two histories part, and which entries were there.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{NodeId, Sequence};
use crate::protocol::Epoch;

/// The most epochs that are remembered.
const EPOCHS: usize = 1024;

/// The most nodes whose entries are remembered.
const NODES: usize = 1024;

/// The most ranges of missing numbers that are remembered of one node.
const MISSING: usize = 1024;

/// The place of an entry in the order of all entries: by epoch, then by number. The entry that begins an
/// epoch has number 0 in it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Position {
    /// The epoch; 0 before the first one.
    pub epoch: Epoch,
    /// The number of the entry in the epoch.
    pub number: u64,
}

/// An epoch, and where it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// The epoch.
    pub epoch: Epoch,
    /// The last entry before it.
    pub after: Position,
    /// The newest event before it.
    pub sequence: Sequence,
}

/// What is known of the order of entries so far: its position, its newest epochs, and which entries of
/// each node were there.
///
/// The memory it needs is bounded, for which it forgets what is oldest: epochs beyond the newest 1,024;
/// nodes beyond the 1,024 that were seen last; and of each node's missing numbers those below the newest
/// 1,024 ranges, which count as seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    position: Position,
    epochs: Vec<Began>,
    nodes: BTreeMap<NodeId, Seen>,
    /// The number of all entries, by which nodes are told apart that were seen earlier and later.
    entries: u64,
}

/// Which entries of a node were there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    highest: u64,
    /// The first and last number of each range below the highest that is missing, lowest first.
    missing: Vec<(u64, u64)>,
    /// When the newest entry was seen, as the number of all entries.
    latest: u64,
}

impl Order {
    /// Returns the position of the newest entry.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns the epochs so far, oldest first.
    pub fn epochs(&self) -> &[Began] {
        &self.epochs
    }

    /// Returns `true` if the entry with this number of this node was there. Numbers begin with 1; an
    /// entry with number 0 is not recognized again.
    pub fn has(&self, node: NodeId, number: u64) -> bool {
        self.nodes.get(&node).is_some_and(|seen| seen.has(number))
    }

    /// Advances the position by one entry, which has this number of this node. Returns `false` if that
    /// entry was there before, so that it must have no effect again.
    pub fn next(&mut self, node: NodeId, number: u64) -> bool {
        self.position.number += 1;
        self.entries += 1;
        if !self.nodes.contains_key(&node) && self.nodes.len() >= NODES {
            let longest_ago = self.nodes.iter().min_by_key(|(_, seen)| seen.latest);
            if let Some(node) = longest_ago.map(|(node, _)| *node) {
                self.nodes.remove(&node);
            }
        }
        let seen = self.nodes.entry(node).or_default();
        seen.latest = self.entries;
        seen.insert(number)
    }

    /// Advances to the entry that begins this epoch. `sequence` is the number of the newest event before.
    pub fn begin(&mut self, epoch: Epoch, sequence: Sequence) {
        if self.epochs.len() >= EPOCHS {
            self.epochs.remove(0);
        }
        self.epochs.push(Began { epoch, after: self.position, sequence });
        self.position = Position { epoch, number: 0 };
    }

    /// Compares this order with another one, of which `theirs` are the epochs and the last entry before
    /// each, oldest first. Either list may lack its oldest epochs. Epochs are unique: two orders that have one in
    /// common are equal up to its beginning.
    ///
    /// # Errors
    ///
    /// If this order is no beginning of the other one, returns the last position that both have.
    pub fn fork(&self, theirs: &[(Epoch, Position)]) -> Result<(), Position> {
        let mine: Vec<_> = self.epochs.iter().map(|began| (began.epoch, began.after)).collect();
        let Some((mine, theirs)) = behind_the_last_common(&mine, theirs) else {
            return Err(Position::default());
        };
        let end_of_mine = mine.first().map_or(self.position, |(_, after)| *after);
        match (mine, theirs) {
            ([], []) => Ok(()),
            ([], [(_, end), ..]) if end_of_mine <= *end => Ok(()),
            (_, [(_, end), ..]) => Err(end_of_mine.min(*end)),
            (_, []) => Err(end_of_mine),
        }
    }

    /// Returns the first epoch of this order that the other one does not have, of which `theirs` are the epochs and
    /// the last entry before each; `None` if the other one has epochs that this one does not have.
    pub fn next_epoch(&self, theirs: &[(Epoch, Position)]) -> Option<&Began> {
        let mine: Vec<_> = self.epochs.iter().map(|began| (began.epoch, began.after)).collect();
        let (behind, theirs) = behind_the_last_common(&mine, theirs)?;
        theirs.is_empty().then(|| self.epochs.get(mine.len() - behind.len()))?
    }
}

/// A list of epochs: each with the last entry before it.
type Epochs<'a> = &'a [(Epoch, Position)];

/// Finds the last epoch that is in both lists, and returns what each has behind it. The epoch before the
/// first one of a list is known, too, from where the first one began.
fn behind_the_last_common<'a>(
    mine: Epochs<'a>,
    theirs: Epochs<'a>,
) -> Option<(Epochs<'a>, Epochs<'a>)> {
    let (mut left, mut right) = (mine.len(), theirs.len());
    loop {
        let (my, their) = (nth(mine, left), nth(theirs, right));
        if my.0 == their.0 && (my.1.is_none() || their.1.is_none() || my.1 == their.1) {
            return Some((&mine[left..], &theirs[right..]));
        }
        if my.0 == their.0 {
            (left, right) = (left.checked_sub(1)?, right.checked_sub(1)?);
        } else if my.0 > their.0 {
            left = left.checked_sub(1)?;
        } else {
            right = right.checked_sub(1)?;
        }
    }
}

/// Returns the epoch with `count` epochs of the list up to it, and the last entry before it if the list
/// tells. The epoch before the whole list has no epochs up to it.
fn nth(list: Epochs<'_>, count: usize) -> (Epoch, Option<Position>) {
    match count.checked_sub(1) {
        Some(index) => (list[index].0, Some(list[index].1)),
        None => (list.first().map_or(Epoch::default(), |(_, after)| after.epoch), None),
    }
}

impl Seen {
    fn has(&self, number: u64) -> bool {
        number <= self.highest && number > 0 && self.missing_range(number).is_err()
    }

    /// Finds the range of missing numbers that this one is in, or its place among the ranges.
    fn missing_range(&self, number: u64) -> Result<usize, usize> {
        self.missing.binary_search_by(|(first, last)| {
            if *last < number {
                std::cmp::Ordering::Less
            } else if *first > number {
                std::cmp::Ordering::Greater
            } else {
                std::cmp::Ordering::Equal
            }
        })
    }

    /// Notes that a number was there. Returns `false` if it was before.
    fn insert(&mut self, number: u64) -> bool {
        if number == 0 {
            return true;
        }
        if number > self.highest {
            self.add_missing(self.missing.len(), self.highest + 1..=number - 1);
            self.highest = number;
        } else {
            let Ok(index) = self.missing_range(number) else { return false };
            let (first, last) = self.missing.remove(index);
            self.add_missing(index, number + 1..=last);
            self.add_missing(index, first..=number - 1);
        }
        if self.missing.len() > MISSING {
            self.missing.remove(0);
        }
        true
    }

    fn add_missing(&mut self, index: usize, range: RangeInclusive<u64>) {
        if !range.is_empty() {
            self.missing.insert(index, range.into_inner());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const ANN: NodeId = NodeId::new(1);

    fn at(epoch: u64, number: u64) -> Position {
        Position { epoch: Epoch::new(epoch), number }
    }

    /// An order of these epochs, each with this many entries after its beginning.
    fn order(epochs: &[(u64, u64)]) -> Order {
        let mut order = Order::default();
        let mut number = 0;
        for (epoch, entries) in epochs {
            order.begin(Epoch::new(*epoch), 0);
            for _ in 0..*entries {
                number += 1;
                order.next(ANN, number);
            }
        }
        order
    }

    fn list(order: &Order) -> Vec<(Epoch, Position)> {
        order.epochs().iter().map(|began| (began.epoch, began.after)).collect()
    }

    #[test]
    fn positions_go_by_epoch_and_then_by_number() {
        let mut order = Order::default();
        assert_eq!(order.position(), at(0, 0));
        order.begin(Epoch::new(5), 0);
        assert_eq!(order.position(), at(5, 0));
        assert!(order.next(ANN, 1) && !order.next(ANN, 1));
        assert_eq!(order.position(), at(5, 2), "a repeat has a place, too");
        order.begin(Epoch::new(9), 7);
        assert_eq!(order.position(), at(9, 0));
        let last = order.epochs()[1];
        assert_eq!(last, Began { epoch: Epoch::new(9), after: at(5, 2), sequence: 7 });
        assert!(at(5, 2) < at(9, 0) && at(9, 0) < at(9, 1));
    }

    #[test]
    fn an_entry_of_one_node_is_not_that_of_another() {
        let mut order = order(&[(5, 3)]);
        assert!(order.has(ANN, 3) && !order.has(ANN, 4) && !order.has(NodeId::new(2), 3));
        assert!(order.next(NodeId::new(2), 3));
    }

    #[test]
    fn number_zero_is_never_recognized() {
        let mut order = order(&[(5, 3)]);
        assert!(!order.has(ANN, 0));
        assert!(order.next(ANN, 0) && order.next(ANN, 0) && !order.has(ANN, 0));
    }

    #[test]
    fn a_beginning_is_one_until_it_goes_beyond_an_end() {
        let theirs = list(&order(&[(5, 3), (9, 2)]));
        for (mine, forks) in [
            (order(&[]), Ok(())),
            (order(&[(5, 0)]), Ok(())),
            (order(&[(5, 3)]), Ok(())),
            (order(&[(5, 4)]), Err(at(5, 3))),
            (order(&[(5, 3), (9, 0)]), Ok(())),
            (order(&[(5, 3), (9, 70)]), Ok(())),
            (order(&[(5, 3), (8, 1)]), Err(at(5, 3))),
            (order(&[(5, 2), (8, 1)]), Err(at(5, 2))),
            (order(&[(5, 2), (9, 1)]), Err(at(5, 2))),
            (order(&[(5, 3), (9, 2), (11, 0)]), Err(at(9, 2))),
            (order(&[(4, 3), (9, 2)]), Err(at(0, 0))),
            (order(&[(6, 3)]), Err(at(0, 0))),
        ] {
            assert_eq!(mine.fork(&theirs), forks, "{mine:?}");
        }
        assert_eq!(order(&[(5, 3)]).fork(&[]), Err(at(0, 0)));
        assert_eq!(order(&[]).fork(&[]), Ok(()));
    }

    #[test]
    fn lists_that_lack_their_oldest_epochs_are_compared_by_what_they_have() {
        let whole = order(&[(5, 3), (9, 2), (11, 4)]);
        let theirs = list(&whole);
        assert_eq!(order(&[(5, 3)]).fork(&theirs[1..]), Ok(()));
        assert_eq!(order(&[(5, 4)]).fork(&theirs[1..]), Err(at(5, 3)));
        assert_eq!(order(&[(5, 1)]).fork(&theirs[2..]), Err(at(0, 0)), "nothing tells");
        assert_eq!(order(&[]).fork(&theirs[1..]), Err(at(0, 0)), "it has to be restored");
        assert_eq!(whole.fork(&theirs[2..]), Ok(()));
        let mut mine = whole;
        mine.epochs.remove(0);
        for known in 0..3 {
            assert_eq!(mine.fork(&theirs[known..]), Ok(()), "{known}");
        }
        mine.epochs.remove(0);
        assert_eq!(mine.fork(&theirs), Ok(()));
        assert_eq!(mine.fork(&theirs[..2]), Err(at(9, 2)));
    }

    #[test]
    fn an_order_goes_on_from_one_that_has_no_epoch_of_its_own() {
        let mine = order(&[(5, 3), (9, 2), (11, 4)]);
        let next = |theirs: &Order| mine.next_epoch(&list(theirs)).map(|began| began.epoch.get());
        assert_eq!(next(&order(&[(5, 3)])), Some(9));
        // How far it went says nothing of where this one went on.
        assert_eq!(next(&order(&[(5, 8)])), Some(9));
        assert_eq!(next(&order(&[(5, 3), (9, 1)])), Some(11));
        assert_eq!(next(&mine), None);
        assert_eq!(next(&order(&[(5, 3), (9, 2), (11, 4), (12, 0)])), None);
        assert_eq!(next(&order(&[(5, 3), (8, 0)])), None);
        assert_eq!(next(&order(&[(6, 3)])), None);
    }

    #[test]
    fn nonsense_parts_and_does_not_panic() {
        let mine = order(&[(5, 3), (9, 2)]);
        let epoch = Epoch::new;
        for theirs in [
            vec![(epoch(9), at(5, 3)), (epoch(5), at(0, 0))],
            vec![(epoch(5), at(9, 3)), (epoch(5), at(5, 3)), (epoch(5), at(5, 3))],
            vec![(epoch(u64::MAX), at(u64::MAX, u64::MAX))],
            vec![(epoch(0), at(0, 0)); 3],
        ] {
            assert!(mine.fork(&theirs).is_err(), "{theirs:?}");
            mine.next_epoch(&theirs);
        }
    }

    #[test]
    fn epochs_nodes_and_ranges_are_bounded_and_the_oldest_are_forgotten() {
        let mut order = Order::default();
        for epoch in 1..=EPOCHS as u64 + 5 {
            order.begin(Epoch::new(epoch), epoch);
        }
        assert_eq!(order.epochs().len(), EPOCHS);
        assert_eq!(order.epochs()[0].epoch, Epoch::new(6));

        for node in 0..NODES as u64 {
            order.next(NodeId::new(node), 1);
        }
        order.next(NodeId::new(0), 2);
        order.next(NodeId::new(7_000), 1);
        assert_eq!(order.nodes.len(), NODES);
        assert!(order.has(NodeId::new(0), 1), "it was seen lately");
        assert!(!order.has(NodeId::new(1), 1) && order.has(NodeId::new(2), 1));

        for number in 1..=MISSING as u64 + 1 {
            order.next(ANN, number * 2);
        }
        assert_eq!(order.nodes[&ANN].missing.len(), MISSING);
        assert!(order.has(ANN, 1), "what is forgotten counts as seen");
        assert!(!order.has(ANN, 3));
        assert!(!order.next(ANN, 1) && order.next(ANN, 3));
    }

    #[test]
    fn the_largest_numbers_are_numbers() {
        let mut order = Order::default();
        assert!(order.next(ANN, u64::MAX) && !order.next(ANN, u64::MAX));
        assert!(order.next(ANN, u64::MAX - 1) && order.next(ANN, 1));
        assert!(order.has(ANN, 1) && !order.has(ANN, 2) && !order.has(ANN, u64::MAX - 2));
    }

    /// A history: epochs that follow each other, with their numbers of entries.
    fn history() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((1..4u64, 0..4u64), 0..6).prop_map(|steps| {
            let mut epoch = 0;
            let steps = steps.into_iter().map(|(step, entries)| {
                epoch += step;
                (epoch, entries)
            });
            steps.collect()
        })
    }

    /// All positions of a history.
    fn places(history: &[(u64, u64)]) -> Vec<Position> {
        let places = history.iter().flat_map(|(epoch, entries)| {
            (0..=*entries).map(|number| Position { epoch: Epoch::new(*epoch), number })
        });
        std::iter::once(Position::default()).chain(places).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_number_is_new_once(numbers in prop::collection::vec(1..60u64, 0..200)) {
            let (mut order, mut all) = (Order::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(order.has(ANN, number), all.contains(&number));
                prop_assert_eq!(order.next(ANN, number), all.insert(number));
                let restored: Order =
                    serde_json::from_str(&serde_json::to_string(&order).unwrap()).unwrap();
                prop_assert_eq!(&restored, &order);
            }
            for number in 0..70 {
                prop_assert_eq!(order.has(ANN, number), all.contains(&number), "{}", number);
            }
        }

        /// Theirs goes another way than mine from a common beginning, and its list may lack epochs.
        #[test]
        fn orders_part_where_their_positions_do(
            common in history(), mine in history(), theirs in history(), lacking in 0..2usize,
        ) {
            let from = common.last().map_or(0, |(epoch, _)| *epoch);
            let after = |tail: Vec<(u64, u64)>, odd: u64| {
                // Epochs are unique: mine are even, theirs are odd.
                let tail = tail.into_iter().map(|(epoch, entries)| (from + epoch * 2 + odd, entries));
                common.iter().copied().chain(tail).collect::<Vec<_>>()
            };
            let (mine, theirs) = (after(mine, 0), after(theirs, 1));
            let both: BTreeSet<_> = places(&mine).into_iter().collect();
            let last = places(&theirs).into_iter().rfind(|place| both.contains(place)).unwrap();
            let my = order(&mine);
            // An epoch that begins where another one ended is no part of it, however many entries it had.
            let is_beginning = mine.len() == common.len();
            let list = list(&order(&theirs));
            let lacking = lacking.min(list.len());
            let fork = my.fork(&list[lacking..]);
            if lacking == 0 || common.len() > 1 {
                prop_assert_eq!(fork, if is_beginning { Ok(()) } else { Err(last) });
            } else if fork.is_ok() {
                prop_assert!(is_beginning);
            }
        }
    }
}
