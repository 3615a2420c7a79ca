//! Hints for command lines with a likely mistake.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Returns a hint for a command line that could not be parsed because a message of several words was
/// not quoted.
pub(crate) fn hint(error: &clap::Error, arguments: &[String]) -> Option<String> {
    let is_word = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => !text.starts_with('-'),
        _ => false,
    };
    let is_too_much = match error.kind() {
        ErrorKind::TooManyValues => is_word(ContextKind::InvalidValue),
        ErrorKind::UnknownArgument => is_word(ContextKind::InvalidArg),
        _ => false,
    };
    let before = ["publish CHANNEL", "edit ID CHANNEL"].into_iter().find(|command| {
        let name = command.split(' ').next();
        arguments.iter().any(|argument| Some(argument.as_str()) == name)
    })?;
    is_too_much
        .then(|| format!("quote a message of several words: channelstream {before} 'Hello world'"))
}

/// Returns `Some` if the program is called as the server of Channelstream 0.7.1, which had this
/// program's name: with `-i` or `--ini` first. The inner value is the file, if one follows.
pub(crate) fn meant_for_server(arguments: &[String]) -> Option<Option<&str>> {
    let first = arguments.first()?;
    if first == "--ini" || first == "-i" {
        return Some(arguments.get(1).map(String::as_str));
    }
    first.strip_prefix("--ini=").or_else(|| first.strip_prefix("-i")).map(Some)
}
