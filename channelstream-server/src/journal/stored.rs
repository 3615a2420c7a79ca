//! How a journal writes entries and states as bytes.

use channelstream_core::state::Envelope;
use thiserror::Error;

/// Why bytes are no entry.
#[derive(Debug, Error)]
#[error("an entry cannot be read")]
pub(crate) struct EntryError(#[from] serde_json::Error);

/// Appends an entry to `bytes`.
pub(crate) fn encode(envelope: &Envelope, bytes: &mut Vec<u8>) {
    serde_json::to_writer(bytes, envelope).expect("every entry has a form in JSON");
}

/// Reads an entry.
pub(crate) fn decode(bytes: &[u8]) -> Result<Envelope, EntryError> {
    Ok(serde_json::from_slice(bytes)?)
}
