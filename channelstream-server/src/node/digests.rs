//! The digests of the newest positions, to compare with those of other nodes.

use channelstream_core::protocol::Epoch;
use channelstream_core::state::Position;

/// How many are known. Who tells of an older position is not compared.
const KNOWN: usize = 1 << 14;

/// What the state looked like at the newest positions of the present epoch.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    epoch: Epoch,
    /// The first number that is known.
    first: u64,
    /// The number behind the newest.
    end: u64,
    /// The digests, each at the place of its number.
    ring: Vec<u64>,
}

fn place(number: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "it is less than the length")]
    let place = (number % KNOWN as u64) as usize;
    place
}

impl Digests {
    /// Notes what the state looks like.
    pub(crate) fn note(&mut self, Position { epoch, number }: Position, digest: u64) {
        if self.ring.is_empty() {
            self.ring = vec![0; KNOWN];
        }
        if epoch != self.epoch || number != self.end {
            (self.epoch, self.first) = (epoch, number);
        }
        self.ring[place(number)] = digest;
        self.end = number.saturating_add(1);
        self.first = self.first.max(self.end.saturating_sub(KNOWN as u64));
    }

    /// Returns whether the state looked the same at this position, if it is known.
    pub(crate) fn is_same(
        &self,
        Position { epoch, number }: Position,
        digest: u64,
    ) -> Option<bool> {
        let is_known = epoch == self.epoch && (self.first..self.end).contains(&number);
        is_known.then(|| self.ring[place(number)] == digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, number: u64) -> Position {
        Position { epoch: Epoch::new(epoch), number }
    }

    #[test]
    fn only_what_is_known_is_compared() {
        let mut digests = Digests::default();
        assert_eq!(digests.is_same(at(0, 0), 7), None);
        for number in 5..5 + KNOWN as u64 + 1 {
            digests.note(at(1, number), number * 10);
        }
        assert_eq!(digests.is_same(at(1, 6), 60), Some(true));
        assert_eq!(digests.is_same(at(1, 6), 61), Some(false));
        assert_eq!(digests.is_same(at(1, 5), 1), None, "it is too old");
        let newest = 5 + KNOWN as u64;
        assert_eq!(digests.is_same(at(1, newest), 1), Some(false));
        assert_eq!(digests.is_same(at(1, newest + 1), 1), None);
        assert_eq!(digests.is_same(at(2, newest), 1), None, "of another epoch");
        digests.note(at(2, 0), 3);
        assert_eq!(digests.is_same(at(1, newest), 1), None);
        assert_eq!(digests.is_same(at(2, 0), 4), Some(false));
        digests.note(at(2, 9), 5);
        assert_eq!(digests.is_same(at(2, 0), 4), None, "there is a hole");
        assert_eq!(digests.is_same(at(2, 9), 4), Some(false));
    }
}
