//! The journal: the one order of all envelopes.
//!
//! [`Reader::next`] returns each envelope that [`Appender::append`] accepted exactly once, in the order
//! of acceptance. `append` fails at once when the journal is full; it does not wait without bound.
//! Only what the journal returns changes the state.

mod memory;
#[cfg(test)]
pub(crate) mod redis;

use channelstream_core::state::Envelope;
use thiserror::Error;

/// The reason why the journal refused an envelope.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// As many envelopes are waiting as the journal holds.
    #[error("the journal is full")]
    Full,
    /// The reader is gone, because the server is stopping.
    #[error("the journal is closed")]
    Closed,
}

/// The end of the journal that accepts envelopes.
#[derive(Clone, Debug)]
pub(crate) struct Appender(memory::Appender);

/// The end of the journal that returns envelopes.
#[derive(Debug)]
pub(crate) struct Reader(memory::Reader);

/// Opens a journal that lives as long as this process.
pub(crate) fn open() -> (Appender, Reader) {
    let (appender, reader) = memory::open();
    (Appender(appender), Reader(reader))
}

impl Appender {
    pub(crate) fn append(&self, envelope: Envelope) -> Result<(), Error> {
        self.0.append(envelope)
    }
}

impl Reader {
    /// Waits for an envelope, and appends up to `most` waiting ones to `batch`. Returns their number,
    /// which is 0 if the journal is closed.
    pub(crate) async fn next(&mut self, batch: &mut Vec<Envelope>, most: usize) -> usize {
        self.0.next(batch, most).await
    }
}
