//! What the second level adds to the forms of the first: nothing of it is in bytes of the first.
//!
//! serde hands no level through from an entry or snapshot to the values in it, so it lies in a thread-local
//! variable while one of them is written or read. This goes when the first level does.

use std::cell::Cell;
use std::marker::PhantomData;

use serde::{Deserializer, Serializer};
use serde_with::{DeserializeAs, SerializeAs};

use super::LEVEL;

/// The level that has these values.
const SECOND: u32 = 2;

thread_local! {
    static WITH: Cell<u32> = const { Cell::new(LEVEL) };
}

/// Writes or reads something in the forms of a level.
pub(super) fn at<T>(level: u32, act: impl FnOnce() -> T) -> T {
    /// Ends it, also when it panics.
    struct Ends(u32);

    impl Drop for Ends {
        fn drop(&mut self) {
            WITH.set(self.0);
        }
    }

    let _ends = Ends(WITH.replace(level));
    act()
}

/// A value in the form `F` that is stored since the second level. Read from the first, it is the default.
pub(in crate::state) struct Second<F>(PhantomData<F>);

impl<T, F: SerializeAs<T>> SerializeAs<T> for Second<F> {
    fn serialize_as<S: Serializer>(source: &T, serializer: S) -> Result<S::Ok, S::Error> {
        if WITH.get() < SECOND {
            // It takes no bytes.
            return serializer.serialize_unit();
        }
        F::serialize_as(source, serializer)
    }
}

impl<'de, T: Default, F: DeserializeAs<'de, T>> DeserializeAs<'de, T> for Second<F> {
    fn deserialize_as<D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        if WITH.get() < SECOND {
            return Ok(T::default());
        }
        F::deserialize_as(deserializer)
    }
}
