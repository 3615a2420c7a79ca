//! The life of a listener: one open socket, or one waiting poll.

pub(crate) mod hub;
pub(crate) mod outbox;
mod shard;
mod writer;
