//! The journal: the one order of all envelopes.
//!
//! What [`Appender::append`] accepted is returned by [`Reader::next`] exactly once, in the order
//! of acceptance. `append` fails at once when the journal is full, rather than wait without bound.
//! Nothing changes the state but what comes out of here.

mod memory;

use channelstream_core::state::Envelope;
use thiserror::Error;

/// An envelope with the number by which its sender knows it again.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) envelope: Envelope,
}

/// Why the journal took no envelope.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// More is waiting than the journal holds.
    #[error("the journal is full")]
    Full,
    /// Nobody reads it any more: the server is at its end.
    #[error("the journal is closed")]
    Closed,
}

/// The end that takes envelopes.
#[derive(Clone, Debug)]
pub(crate) struct Appender(memory::Appender);

/// The end that gives them out.
#[derive(Debug)]
pub(crate) struct Reader(memory::Reader);

/// A journal that lives as long as this process.
pub(crate) fn open() -> (Appender, Reader) {
    let (appender, reader) = memory::open();
    (Appender(appender), Reader(reader))
}

impl Appender {
    pub(crate) fn append(&self, entry: Entry) -> Result<(), Error> {
        self.0.append(entry)
    }
}

impl Reader {
    /// Waits for at least one entry and puts what there is behind `batch`, up to `most`; none
    /// come if the journal is closed.
    pub(crate) async fn next(&mut self, batch: &mut Vec<Entry>, most: usize) -> usize {
        self.0.next(batch, most).await
    }
}
