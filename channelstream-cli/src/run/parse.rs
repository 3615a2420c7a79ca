//! Arguments parsed as protocol types: payloads, values of a state, addresses.

use std::sync::Arc;
use std::time::Duration;

use channelstream_client::{Address, Payload, Scalar, UserState, json};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::args::AddressArgs;
use crate::failure::Failure;

/// Returns a time in the whole seconds that the server counts. A part of one is one, since none means something
/// else.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Parses a payload: a JSON object, kept as it was typed, or a text, which becomes
/// `{"text": "..."}`. Other JSON is ambiguous and an error.
pub(super) fn payload(text: &str, is_text: bool) -> Result<Payload, Failure> {
    if is_text {
        let raw = to_raw_value(&json!({ "text": text })).map_err(anyhow::Error::new)?;
        return Ok(Arc::from(raw));
    }
    let as_text = "--text sends it as a text";
    let looks_like_object = text.trim_start().starts_with('{');
    let what = match serde_json::from_str::<Box<RawValue>>(text) {
        Ok(raw) if looks_like_object => return Ok(Arc::from(raw)),
        Ok(raw) => kind(raw.get()),
        Err(error) if looks_like_object => {
            let text = format!("the message is not a valid JSON object: {error}");
            return Err(Failure::usage(text).with_hint(as_text));
        }
        Err(_) => return payload(text, true),
    };
    Err(Failure::usage(format!("the message is {what} in JSON; it must be an object or a text"))
        .with_hint(as_text))
}

/// Returns the type of a JSON value that is not an object, with its article.
fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Parses a JSON value; anything else is a string.
pub(super) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// Parses a state; values that are neither null, boolean, number nor a quoted string are strings.
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
    fn values_of_a_state_are_kept_as_typed() {
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
