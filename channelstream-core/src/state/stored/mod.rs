//! Stored forms: entries and snapshots as bytes, for journals.
//!
//! What is stored is not what travels on the wire. The JSON of the wire leaves out what is absent and
//! puts several parts on one level; the bytes here have every field in its place, and no names. So the
//! types of the protocol have a mirror here, with the same fields, which says how each is stored.
//! `As<Mirror>` at a field of another type uses it.
//!
//! # Levels
//!
//! All forms together have one level. It rises with any change of them: another field or command, or
//! another order. A program that meets a higher level than it knows says so, and reads nothing.

mod entry;
mod reply;
mod shared;
mod snapshot;
mod values;

use thiserror::Error;

use super::command::Envelope;
pub(super) use entry::{
    Change, ChannelConfig, Configure, Connect, Delete, DeleteChannels, NewMessage, SetUserState,
    Subscribe, Unsubscribe,
};
pub(super) use reply::{ChannelSettings, Event, Message, Reply};
pub(super) use shared::{
    Message as SharedMessage, Name, Payload as SharedPayload, State as SharedState,
};
pub use snapshot::SnapshotError;

/// The level of the stored forms that this program writes and reads.
pub const LEVEL: u32 = 1;

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
    /// A newer program wrote it, with forms that this one does not know.
    #[error("the entry has level {found}, this program reads level {LEVEL}")]
    Level {
        /// The level found.
        found: u32,
    },
    /// The bytes are not what was written.
    #[error("the entry is damaged: {0}")]
    Damaged(String),
}

impl StoredError {
    fn damaged(reason: &(impl ToString + ?Sized)) -> Self {
        Self::Damaged(reason.to_string())
    }
}

/// Appends the bytes of an entry: the level, then the envelope.
pub fn encode(envelope: &Envelope, bytes: &mut Vec<u8>) {
    postcard::to_io(&(LEVEL, envelope), bytes)
        .expect("lists have a known length, and memory takes all bytes");
}

/// Reads the bytes of one entry.
///
/// # Errors
/// Returns an error if the bytes are of another level, are damaged, or go on behind the entry.
pub fn decode(bytes: &[u8]) -> Result<Envelope, StoredError> {
    let (level, rest) =
        postcard::take_from_bytes::<u32>(bytes).map_err(|error| StoredError::damaged(&error))?;
    if level > LEVEL {
        return Err(StoredError::Level { found: level });
    }
    if level < LEVEL {
        return Err(StoredError::damaged("there is no such level"));
    }
    let (envelope, rest) =
        postcard::take_from_bytes(rest).map_err(|error| StoredError::damaged(&error))?;
    if !rest.is_empty() {
        return Err(StoredError::damaged("it is longer than what it holds"));
    }
    Ok(envelope)
}
