//! Arena: values under small keys that stay valid, with the same keys on every replica.

use std::fmt::{self, Debug, Formatter};
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use indexmap::IndexSet;
use serde::{Deserialize, Serialize};

/// The key of a value of type `T`.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub(super) struct Key<T>(u32, PhantomData<fn() -> T>);

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Key<T> {}

impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> Hash for Key<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T> Debug for Key<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Values by key. Free places are used again, the latest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Arena<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Arena<T> {
    /// Reserves room for more values: growing step by step copies all values again and again.
    pub(super) fn reserve(&mut self, additional: usize) {
        self.places.reserve(additional.saturating_sub(self.free.len()));
    }

    pub(super) fn insert(&mut self, value: T) -> Key<T> {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(value);
            return Key(place, PhantomData);
        }
        let place = u32::try_from(self.places.len())
            .expect("four thousand million values do not fit into memory");
        self.places.push(Some(value));
        Key(place, PhantomData)
    }

    /// Removes a value. An arena that becomes empty releases its memory.
    pub(super) fn remove(&mut self, key: Key<T>) -> Option<T> {
        let value = self.places.get_mut(key.0 as usize)?.take()?;
        self.free.push(key.0);
        if self.free.len() == self.places.len() {
            *self = Self::default();
        }
        Some(value)
    }

    pub(super) fn get(&self, key: Key<T>) -> Option<&T> {
        self.places.get(key.0 as usize)?.as_ref()
    }

    /// Returns how many places there are, taken or free.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// Returns the key of the value at a place.
    pub(super) fn at(&self, place: usize) -> Option<Key<T>> {
        self.places.get(place)?.as_ref()?;
        Some(Key(u32::try_from(place).ok()?, PhantomData))
    }

    /// Returns `true` if the free places are free, and no others: an arena that was read may not be whole.
    pub(super) fn is_whole(&self) -> bool {
        let free: IndexSet<u32> = self.free.iter().copied().collect();
        free.len() == self.free.len()
            && self
                .places
                .iter()
                .zip(0..)
                .all(|(value, place)| value.is_none() == free.contains(&place))
            && free.iter().all(|place| (*place as usize) < self.places.len())
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().flatten()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        self.places.iter().zip(0..).filter_map(|(value, place)| {
            value.as_ref().map(|value| (Key(place, PhantomData), value))
        })
    }
}

const STALE: &str = "keys are dropped together with the value they lead to";

impl<T> Index<Key<T>> for Arena<T> {
    type Output = T;

    fn index(&self, key: Key<T>) -> &T {
        self.places[key.0 as usize].as_ref().expect(STALE)
    }
}

impl<T> IndexMut<Key<T>> for Arena<T> {
    fn index_mut(&mut self, key: Key<T>) -> &mut T {
        self.places[key.0 as usize].as_mut().expect(STALE)
    }
}
