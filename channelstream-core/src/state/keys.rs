//! Keys: a list of distinct keys in which each is found quickly, however long the list is.

use indexmap::IndexSet;
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use super::arena::Key;

/// Up to this many keys a linear search is fastest, and a plain list takes the least memory.
const FEW: usize = 32;

/// Keys in the order of insertion. The last key takes the place of one that is removed.
#[derive(Clone, Debug)]
pub(super) struct Keys<T> {
    few: SmallVec<[Key<T>; 4]>,
    /// All keys, if there are more than `FEW`.
    many: Option<Box<IndexSet<Key<T>>>>,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Self { few: SmallVec::new(), many: None }
    }
}

impl<T> Keys<T> {
    /// Adds a key. Returns `true` if it was not there.
    pub(super) fn insert(&mut self, key: Key<T>) -> bool {
        if let Some(many) = &mut self.many {
            return many.insert(key);
        }
        if self.few.contains(&key) {
            return false;
        }
        self.few.push(key);
        if self.few.len() > FEW {
            self.many = Some(Box::new(std::mem::take(&mut self.few).into_iter().collect()));
        }
        true
    }

    /// Removes a key. Returns `true` if it was there.
    pub(super) fn remove(&mut self, key: Key<T>) -> bool {
        let Some(many) = &mut self.many else {
            let place = self.few.iter().position(|one| *one == key);
            return place.map(|place| self.few.swap_remove(place)).is_some();
        };
        let was_there = many.swap_remove(&key);
        if many.len() <= FEW / 2 {
            self.few = many.iter().copied().collect();
            self.many = None;
        }
        was_there
    }

    pub(super) fn len(&self) -> usize {
        self.many.as_ref().map_or(self.few.len(), |many| many.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Key<T>> {
        self.few.iter().chain(self.many.iter().flat_map(|many| many.iter())).copied()
    }
}

impl<T> FromIterator<Key<T>> for Keys<T> {
    fn from_iter<I: IntoIterator<Item = Key<T>>>(keys: I) -> Self {
        let mut all = Self::default();
        keys.into_iter().for_each(|key| {
            all.insert(key);
        });
        all
    }
}

impl<T> Serialize for Keys<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        self.iter().try_for_each(|key| list.serialize_element(&key))?;
        list.end()
    }
}

impl<'de, T> Deserialize<'de> for Keys<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::arena::Arena;
    use super::*;

    #[test]
    fn a_long_list_is_like_a_short_one() {
        let mut arena = Arena::default();
        let all: Vec<Key<u32>> = (0..100).map(|number| arena.insert(number)).collect();
        let (mut keys, mut want) = (Keys::default(), Vec::new());
        let check = |keys: &Keys<u32>, want: &[Key<u32>]| {
            assert!(keys.iter().eq(want.iter().copied()));
            assert_eq!((keys.len(), keys.is_empty()), (want.len(), want.is_empty()));
        };
        for key in &all {
            assert!(keys.insert(*key) && !keys.insert(*key));
            want.push(*key);
            check(&keys, &want);
        }
        let json = serde_json::to_string(&keys).unwrap();
        check(&serde_json::from_str(&json).unwrap(), &want);
        for number in (0..100).map(|number| number * 37 % 100) {
            assert!(keys.remove(all[number]) && !keys.remove(all[number]));
            let place = want.iter().position(|key| *key == all[number]).unwrap();
            want.swap_remove(place);
            check(&keys, &want);
        }
    }
}
