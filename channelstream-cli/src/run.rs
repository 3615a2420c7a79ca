//! What the commands do: one function each.

use std::io::{Write, stdout};
use std::sync::Arc;

use channelstream_client::{Address, DateTime, InfoOptions, NewMessage, Payload, Timestamp};
use channelstream_signer::{SignatureError, unix_now};
use serde_json::value::RawValue;

use crate::access;
use crate::args::{AccessArgs, Args, Command, InfoArgs, PublishArgs, SignArgs, UnsignArgs};
use crate::failure::Failure;
use crate::output::{self, Align};

/// 10000-01-01, after which a year no longer has four digits.
const END_OF_DATES: u64 = 253_402_300_800;

/// Does what the command line says.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Info(command) => info(&args.access, command).await,
        Command::Publish(command) => publish(&args.access, command).await,
        Command::Sign(command) => sign(&args.access, command),
        Command::Unsign(command) => unsign(&args.access, command),
    }
}

async fn info(access: &AccessArgs, args: &InfoArgs) -> Result<(), Failure> {
    let (client, origin) = access::client(access)?;
    let options = InfoOptions {
        include_history: args.json,
        channels: (!args.channels.is_empty()).then(|| args.channels.clone()),
        ..InfoOptions::default()
    };
    let info = client.info(&options).await.map_err(|error| Failure::of_client(error, &origin))?;
    if args.json {
        output::json(&mut stdout(), &info)?;
    } else {
        let columns = [
            ("CHANNEL", Align::Left),
            ("USERS", Align::Right),
            ("CONNECTIONS", Align::Right),
            ("LAST ACTIVE", Align::Left),
        ];
        let rows = info.channels.values().map(|channel| {
            [
                channel.name.to_string(),
                channel.total_users.to_string(),
                channel.total_connections.to_string(),
                format!("{}Z", channel.last_active),
            ]
        });
        output::table(&mut stdout(), columns, rows)?;
    }
    let missing: Vec<_> = args
        .channels
        .iter()
        .filter(|name| !info.channels.contains_key(name.as_str()))
        .map(|name| format!("`{name}`"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(anyhow::anyhow!("the server has no channel {}", missing.join(", ")).into())
}

async fn publish(access: &AccessArgs, args: &PublishArgs) -> Result<(), Failure> {
    let address = Address {
        channel: args.channel.clone(),
        pm_users: args.to_user.clone(),
        ..Address::default()
    };
    let message = NewMessage::new(&args.user, address);
    let message = if args.message.trim_start().starts_with('{') {
        NewMessage { message: Some(payload(&args.message)?), ..message }
    } else {
        message.message([("text", args.message.as_str())])
    };
    let (client, origin) = access::client(access)?;
    let sent =
        client.publish(&[message]).await.map_err(|error| Failure::of_client(error, &origin))?;
    for message in sent {
        writeln!(stdout(), "{}", message.uuid)?;
    }
    Ok(())
}

/// The JSON object as it was typed.
fn payload(text: &str) -> Result<Payload, Failure> {
    let raw = RawValue::from_string(text.to_owned()).map_err(|error| {
        Failure::usage(format!("the message begins like a JSON object but is none: {error}"))
    })?;
    Ok(Arc::from(raw))
}

fn sign(access: &AccessArgs, args: &SignArgs) -> Result<(), Failure> {
    let (signer, _) = access::signer(access)?;
    Ok(writeln!(stdout(), "{}", signer.sign(&args.value))?)
}

fn unsign(access: &AccessArgs, args: &UnsignArgs) -> Result<(), Failure> {
    let (signer, origin) = access::signer(access)?;
    let now = unix_now();
    let unsigned = signer.unsign_within(&args.text, args.max_age.unwrap_or(u64::MAX), now);
    let unsigned = unsigned.map_err(|error| {
        let failure = Failure::from(anyhow::Error::from(error));
        match error {
            SignatureError::Mismatch => {
                failure.with_hint(format!("it was made with another secret, or changed ({origin})"))
            }
            _ => failure,
        }
    })?;
    let signed = unsigned.timestamp;
    let age = match now.checked_sub(signed) {
        Some(age) => format!("{age} s"),
        None => format!("-{} s", signed - now),
    };
    let rows = [
        ["value".to_owned(), unsigned.value.to_owned()],
        ["signed".to_owned(), date(signed)],
        ["age".to_owned(), age],
    ];
    Ok(output::rows(&mut stdout(), [Align::Left, Align::Left], &rows)?)
}

/// A time in seconds since 1970, or just these seconds if it is too late for a date.
fn date(seconds: u64) -> String {
    match i64::try_from(seconds) {
        Ok(signed) if seconds < END_OF_DATES => {
            format!("{}Z", DateTime::from(Timestamp::from_micros(signed * 1_000_000)))
        }
        _ => format!("{seconds} s after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_end() {
        assert_eq!(date(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(date(END_OF_DATES - 1), "9999-12-31T23:59:59Z");
        assert_eq!(date(u64::MAX), "18446744073709551615 s after 1970");
    }
}
