//! `Payload`: the JSON object that a message carries, and how Rust values become one.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use thiserror::Error;

/// What a message carries: a JSON object, kept exactly as it was sent and shared, not copied.
pub type Payload = Arc<RawValue>;

/// Why a value cannot be the payload of a message.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value cannot be serialized as JSON.
    #[error("the payload cannot be serialized as JSON")]
    Serialize(#[source] serde_json::Error),
    /// The value is JSON but not an object, which the server would refuse.
    #[error("the payload is not a JSON object")]
    NotAnObject,
}

/// Serializes a value as a payload.
pub(super) fn to_payload(value: &(impl Serialize + ?Sized)) -> Result<Payload, PayloadError> {
    let json = to_raw_value(value).map_err(PayloadError::Serialize)?;
    if json.get().starts_with('{') { Ok(json.into()) } else { Err(PayloadError::NotAnObject) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn only_objects_are_payloads() {
        assert_eq!(to_payload(&BTreeMap::from([("n", 1)])).unwrap().get(), r#"{"n":1}"#);
        assert!(matches!(to_payload(&[1]), Err(PayloadError::NotAnObject)));
        let no_text = BTreeMap::from([((1, 2), 3)]);
        assert!(matches!(to_payload(&no_text), Err(PayloadError::Serialize(_))));
    }
}
