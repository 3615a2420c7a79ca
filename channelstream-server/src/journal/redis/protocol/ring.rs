//! The newest entries, kept to put back or to append again what Redis loses.

use std::collections::{HashSet, VecDeque};

use channelstream_core::state::{Order, Position};

use super::message::Entry;

/// What an entry needs beside its bytes, roughly.
const OVERHEAD: usize = 96;

/// The newest entries that a node applied, up to a number of bytes, oldest first. Those of the present
/// order are at the end, without a hole; before them may be some of an order that this node was parted
/// from.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<(Position, Entry)>,
    bytes: usize,
    most_bytes: usize,
    /// How many entries at the end are of the present order.
    present: usize,
    /// The position before those.
    before: Position,
}

impl Ring {
    /// Creates a ring for an order that is at this position.
    pub(super) fn new(most_bytes: usize, before: Position) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, most_bytes, present: 0, before }
    }

    /// Adds the next entry of the order.
    pub(super) fn push(&mut self, position: Position, entry: Entry) {
        self.bytes += entry.bytes.len() + OVERHEAD;
        self.entries.push_back((position, entry));
        self.present += 1;
        while self.bytes > self.most_bytes
            && let Some((position, entry)) = self.entries.pop_front()
        {
            self.bytes -= entry.bytes.len() + OVERHEAD;
            if self.entries.len() < self.present {
                self.present = self.entries.len();
                self.before = position;
            }
        }
    }

    /// The order goes on from this position, and not from the newest entry.
    pub(super) fn restart(&mut self, position: Position) {
        self.present = 0;
        self.before = position;
    }

    /// Returns the entries of the present order behind a position, if the position is of this order and
    /// the ring reaches back to it.
    pub(super) fn after(
        &self,
        position: Position,
    ) -> Option<impl ExactSizeIterator<Item = &(Position, Entry)>> {
        let from = self.entries.len() - self.present;
        let skipped = if position == self.before {
            0
        } else {
            let present = self.entries.range(from..);
            present.map(|(position, _)| *position).position(|found| found == position)? + 1
        };
        Some(self.entries.range(from + skipped..))
    }

    /// Returns the entry at a position, if it is of the present order and still here.
    pub(super) fn at(&self, position: Position) -> Option<&Entry> {
        let mut present = self.entries.iter().rev().take(self.present);
        present.find(|(found, _)| *found == position).map(|(_, entry)| entry)
    }

    /// Returns the entries that have their meaning outside of their epoch and are not in this order, each
    /// once, oldest first.
    pub(super) fn missing_in<'a>(&'a self, order: &'a Order) -> impl Iterator<Item = &'a Entry> {
        let mut seen = HashSet::new();
        self.entries
            .iter()
            .map(|(_, entry)| entry)
            .filter(|entry| entry.kind.outlives_its_epoch() && !order.has(entry.node, entry.number))
            .filter(move |entry| seen.insert((entry.node, entry.number)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use channelstream_core::protocol::Epoch;
    use channelstream_core::state::NodeId;

    use super::super::message::Kind;
    use super::*;

    fn at(number: u64) -> Position {
        Position { epoch: Epoch::new(7), number }
    }

    fn entry(number: u64, kind: Kind) -> Entry {
        Entry { node: NodeId::new(1), number, kind, bytes: Bytes::from_static(&[0; 4]) }
    }

    fn filled(most: usize, count: u64) -> Ring {
        let mut ring = Ring::new(most * (4 + OVERHEAD), at(0));
        for number in 1..=count {
            ring.push(at(number), entry(number, Kind::Other));
        }
        ring
    }

    fn numbers(ring: &Ring, position: Position) -> Option<Vec<u64>> {
        Some(ring.after(position)?.map(|(position, _)| position.number).collect())
    }

    #[test]
    fn it_reaches_as_far_back_as_its_bytes() {
        let ring = filled(3, 5);
        assert_eq!(numbers(&ring, at(5)), Some(vec![]));
        assert_eq!(numbers(&ring, at(2)), Some(vec![3, 4, 5]));
        assert_eq!(numbers(&ring, at(1)), None);
        assert_eq!(numbers(&ring, at(6)), None);
        assert_eq!(numbers(&filled(9, 2), at(0)), Some(vec![1, 2]));
        assert_eq!(numbers(&filled(0, 2), at(2)), Some(vec![]));
        assert_eq!(numbers(&filled(0, 2), at(1)), None);
    }

    #[test]
    fn entries_of_an_order_that_was_left_are_not_put_back() {
        let mut ring = filled(4, 3);
        ring.restart(at(10));
        assert_eq!(numbers(&ring, at(3)), None);
        ring.push(at(11), entry(4, Kind::Other));
        assert_eq!(numbers(&ring, at(10)), Some(vec![11]));
        for number in 12..15 {
            ring.push(at(number), entry(number, Kind::Other));
        }
        assert_eq!(numbers(&ring, at(10)), Some(vec![11, 12, 13, 14]));
        ring.push(at(15), entry(15, Kind::Other));
        assert_eq!(numbers(&ring, at(10)), None);
        assert_eq!(numbers(&ring, at(11)), Some(vec![12, 13, 14, 15]));
    }

    #[test]
    fn what_an_order_lacks_is_told_once() {
        let mut ring = filled(9, 3);
        ring.push(at(4), entry(2, Kind::Other));
        for (number, kind) in
            [(5, Kind::Open), (6, Kind::Close), (7, Kind::Alive), (0, Kind::Begin)]
        {
            ring.push(at(number), entry(number, kind));
        }
        let mut order = Order::default();
        order.next(NodeId::new(1), 3);
        let missing: Vec<_> = ring.missing_in(&order).map(|entry| entry.number).collect();
        assert_eq!(missing, [1, 2]);
    }
}
