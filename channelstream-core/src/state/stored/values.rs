//! Values that are stored otherwise than they travel: JSON as its text, times and cursors as numbers.

use indexmap::IndexMap;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_with::{DeserializeAs, Same, SerializeAs};

use super::mirrors;
use crate::protocol::{self, Epoch, Piece, Scalar};

/// JSON as its text, byte for byte.
pub(in crate::state) struct Json;

/// Reads JSON, which has nothing around it.
fn json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'de RawValue, D::Error> {
    let text = <&str>::deserialize(deserializer)?;
    let raw: &RawValue = serde_json::from_str(text).map_err(D::Error::custom)?;
    if raw.get().len() == text.len() { Ok(raw) } else { Err(D::Error::custom("not JSON alone")) }
}

impl SerializeAs<protocol::Payload> for Json {
    fn serialize_as<S: Serializer>(
        source: &protocol::Payload,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(source.get())
    }
}

impl<'de> DeserializeAs<'de, protocol::Payload> for Json {
    fn deserialize_as<D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<protocol::Payload, D::Error> {
        Ok(json(deserializer)?.to_owned().into())
    }
}

impl SerializeAs<Scalar> for Json {
    fn serialize_as<S: Serializer>(source: &Scalar, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(source.json())
    }
}

impl<'de> DeserializeAs<'de, Scalar> for Json {
    fn deserialize_as<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        Scalar::read(json(deserializer)?).map_err(|_| D::Error::custom("not a scalar"))
    }
}

impl SerializeAs<Piece> for Json {
    fn serialize_as<S: Serializer>(source: &Piece, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(source.json())
    }
}

impl<'de> DeserializeAs<'de, Piece> for Json {
    fn deserialize_as<D: Deserializer<'de>>(deserializer: D) -> Result<Piece, D::Error> {
        let piece = Piece::new(json(deserializer)?.to_owned());
        piece.ok_or_else(|| D::Error::custom("not a text or list"))
    }
}

/// The state of a user, or what is appended to a message: JSON by keys.
pub(in crate::state) type JsonByKey = IndexMap<Same, Json>;

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::DateTime")]
pub(in crate::state) struct DateTime {
    local: i64,
    offset: Option<i16>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "protocol::Cursor")]
pub(in crate::state) struct Cursor {
    epoch: Epoch,
    sequence: u64,
    is_net: bool,
}

mirrors! {
    DateTime => protocol::DateTime,
    Cursor => protocol::Cursor,
}
