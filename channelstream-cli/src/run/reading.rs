//! What is typed, as the protocol has it: payloads, values of a state, addresses.

use std::sync::Arc;

use channelstream_client::{Address, Payload, Scalar, UserState, json};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::args::AddressArgs;
use crate::failure::Failure;

/// The JSON object as it was typed, or a text as `{"text": "..."}`.
pub(super) fn payload(text: &str) -> Result<Payload, Failure> {
    if !text.trim_start().starts_with('{') {
        let raw = to_raw_value(&json!({ "text": text })).map_err(anyhow::Error::new)?;
        return Ok(Arc::from(raw));
    }
    let raw = RawValue::from_string(text.to_owned()).map_err(|error| {
        Failure::usage(format!("the message begins like a JSON object but is none: {error}"))
    })?;
    Ok(Arc::from(raw))
}

/// The JSON value that it is, or else a text.
pub(super) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// A state of these keys; values that are neither null, boolean, number nor quoted are texts.
pub(super) fn state(pairs: &[(String, String)]) -> UserState {
    let scalar = |text: &str| match text.trim().starts_with(['{', '[']) {
        true => Scalar::from(text),
        false => serde_json::from_str(text).unwrap_or_else(|_| Scalar::from(text)),
    };
    pairs.iter().map(|(key, text)| (key.clone(), scalar(text))).collect()
}

pub(super) fn address(channel: Option<&str>, args: &AddressArgs) -> Address {
    Address {
        channel: channel.map(str::to_owned),
        pm_users: args.to_user.clone(),
        exclude_users: args.except_user.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_state_stay_as_they_were_typed() {
        let state = state(&[
            ("number".to_owned(), "1.10".to_owned()),
            ("text".to_owned(), "well \"said\"".to_owned()),
            ("quoted".to_owned(), "\"7\"".to_owned()),
            ("list".to_owned(), "[1]".to_owned()),
            ("null".to_owned(), "null".to_owned()),
            ("empty".to_owned(), String::new()),
        ]);
        let json: Vec<_> = state.values().map(Scalar::json).collect();
        assert_eq!(json, ["1.10", r#""well \"said\"""#, r#""7""#, r#""[1]""#, "null", r#""""#]);
    }
}
