//! Stored forms: entries and snapshots as bytes, for journals.
//!
//! What is stored is not what travels on the wire. The JSON of the wire leaves out what is absent and
//! puts several parts on one level; the bytes here have every field in its place, and no names. So the
//! types of the protocol have a mirror here, with the same fields, which says how each is stored.
//! `As<Mirror>` at a field of another type uses it.
//!
//! # Levels
//!
//! All forms, and what applying an entry does, have one level. It rises with any change of them: another
//! field or command, another order, or another effect.
//!
//! A journal has one level in force, which the state carries. Entries and snapshots are written at it, and
//! a program that does not know it reads nothing. A new release reads the level before its own as well, and writes
//! it as long as it is in force. It is raised once all nodes that are alive know the next one
//! ([`Command::Raise`](super::Command::Raise)). Until then, any of them can go back a release. What a level changes
//! is written as `if self.level >= n`; the other branch goes when [`OLDEST`] is raised.

mod entry;
mod levels;
mod reply;
mod second;
mod shared;
mod snapshot;
mod values;

use thiserror::Error;

use super::command::Envelope;
pub(super) use entry::{
    Change, ChannelConfig, Configure, Connect, Delete, DeleteChannels, DisconnectUser, NewMessage,
    SetUserState, Subscribe, Unsubscribe,
};
pub use levels::{Levels, UnknownLevel};
pub(super) use reply::{ChannelSettings, Event, Message, Reply};
pub(super) use second::Second;
pub(super) use shared::{
    Message as SharedMessage, Name, Payload as SharedPayload, State as SharedState,
};
pub use snapshot::SnapshotError;

/// The newest level that this program knows.
pub const LEVEL: u32 = 2;

/// The oldest level that this program knows: the one before, if there is one. A journal begins with it.
pub const OLDEST: u32 = 1;

/// Lets mirrors stand for their types in `As`.
macro_rules! mirrors {
    ($($mirror:ty => $of:ty),* $(,)?) => {$(
        impl ::serde_with::SerializeAs<$of> for $mirror {
            fn serialize_as<S: ::serde::Serializer>(
                source: &$of,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                <$mirror>::serialize(source, serializer)
            }
        }

        impl<'de> ::serde_with::DeserializeAs<'de, $of> for $mirror {
            fn deserialize_as<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$of, D::Error> {
                <$mirror>::deserialize(deserializer)
            }
        }
    )*};
}
use mirrors;

/// The reason why bytes cannot be read as an entry.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredError {
    /// Another program wrote it, with forms that this one does not know.
    #[error("the entry has {0}")]
    Level(#[from] UnknownLevel),
    /// The bytes are not what was written.
    #[error("the entry is damaged: {0}")]
    Damaged(String),
}

impl StoredError {
    fn damaged(reason: &(impl ToString + ?Sized)) -> Self {
        Self::Damaged(reason.to_string())
    }
}

/// Appends the bytes of an entry: the level, which is the one in force, then the envelope.
pub fn encode(envelope: &Envelope, level: u32, bytes: &mut Vec<u8>) {
    second::at(level, || postcard::to_io(&(level, envelope), bytes))
        .expect("lists have a known length, and memory takes all bytes");
}

/// Reads the bytes of one entry.
///
/// # Errors
/// Returns an error if the bytes are of a level that is not known, are damaged, or go on behind the entry.
pub fn decode(bytes: &[u8], known: Levels) -> Result<Envelope, StoredError> {
    let (level, rest) =
        postcard::take_from_bytes::<u32>(bytes).map_err(|error| StoredError::damaged(&error))?;
    if level == 0 {
        return Err(StoredError::damaged("there is no such level"));
    }
    known.check(level)?;
    let (envelope, rest) = second::at(level, || postcard::take_from_bytes(rest))
        .map_err(|error| StoredError::damaged(&error))?;
    if !rest.is_empty() {
        return Err(StoredError::damaged("it is longer than what it holds"));
    }
    Ok(envelope)
}
