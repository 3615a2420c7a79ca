//! Values of arguments, as they are typed.

use std::time::Duration;

use channelstream_client::parse_duration;

/// Parses `KEY=VALUE`.
pub(super) fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    if key.is_empty() {
        return Err("the key before = is empty".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Parses the silence after which a message is stalled, as the server allows it.
pub(super) fn append_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text).map_err(|error| error.to_string())?;
    match timeout.as_secs() {
        1..=3600 => Ok(timeout),
        _ => Err("not between 1s and 1h".to_owned()),
    }
}

/// Parses a refresh interval, which may not be so short that it burdens the server.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) {
        return Err("shorter than 100ms".to_owned());
    }
    Ok(interval)
}
