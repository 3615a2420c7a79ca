//! Places: a bounded number of things that are there at once, whose bound can change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of places. Where the bound becomes lower than what is taken, nothing is taken away, and
/// places are free again once enough were given back.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicUsize,
    most: AtomicUsize,
}

/// One place, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Places {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), most: AtomicUsize::new(most) })
    }

    /// Takes a place; `None` if all are taken.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        let most = self.most.load(Ordering::Relaxed);
        let one_more = |taken| (taken < most).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Place(Arc::clone(self)))
    }

    /// How many places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let places = Places::new(2);
        let one = places.take().unwrap();
        let _two = places.take().unwrap();
        assert!(places.take().is_none());
        assert_eq!(places.taken(), 2, "a refusal counts nothing");
        drop(one);
        assert!(places.take().is_some());
    }

    #[test]
    fn a_lower_bound_takes_nothing_away() {
        let places = Places::new(3);
        let mut taken: Vec<_> = (0..3).map(|_| places.take().unwrap()).collect();
        places.set_most(1);
        assert_eq!(places.taken(), 3);
        taken.truncate(1);
        assert!(places.take().is_none());
        taken.clear();
        assert!(places.take().is_some_and(|_| places.take().is_none()));
        places.set_most(2);
        let _both = (places.take().unwrap(), places.take().unwrap());
    }
}
