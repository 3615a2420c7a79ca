//! How a journal writes entries as bytes.

pub(crate) use channelstream_core::state::stored::{StoredError as EntryError, decode, encode};
