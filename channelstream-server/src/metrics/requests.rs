//! Requests that were answered, by endpoint and status.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The counts. There are as many as the server has endpoints and statuses, whatever clients send.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<BTreeMap<Key, u64>>);

/// The path of an endpoint in the table of routes, and a status.
type Key = (&'static str, u16);

impl Requests {
    /// Counts an answer.
    pub(crate) fn count(&self, endpoint: &'static str, status: u16) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((endpoint, status)).or_default() += 1;
    }

    /// Returns the counts that are not 0, in order.
    pub(super) fn counts(&self) -> BTreeMap<Key, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
