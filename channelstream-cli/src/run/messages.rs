//! `publish` of one message, `edit` and `delete`.

use std::io::{Write as _, stdout};

use channelstream_client::{Delete, Edit, NewMessage, Receipt, Uuid};
use serde::Serialize;

use super::parse::{address, payload, whole_seconds};
use crate::access;
use crate::args::{AccessArgs, AddressArgs, DeleteArgs, EditArgs, OutputArgs, PublishArgs};
use crate::failure::Failure;
use crate::output;

pub(super) async fn publish(access: &AccessArgs, args: &PublishArgs) -> Result<(), Failure> {
    let (channel, text) = channel_and_text(&args.what, &args.address, "publish")?;
    let message = NewMessage {
        payload: Some(payload(text, args.text)?),
        no_history: args.no_history,
        expires: args.expires.map(whole_seconds),
        ..NewMessage::new(&args.user, address(channel, &args.address))
    };
    let (client, origin) = access::client(access)?;
    let sent = client.publish(message).await.map_err(|error| Failure::of_client(error, &origin))?;
    show(args.output, &sent, sent.iter().map(|message| message.uuid))?;
    if !args.output.quiet && !args.output.json {
        let notes = sent.iter().filter_map(|sent| undelivered(&sent.receipt));
        notes.for_each(|line| output::say(&line));
    }
    Ok(())
}

/// Returns a note about a message that no listener received.
fn undelivered(receipt: &Receipt) -> Option<String> {
    match (&receipt.problem, receipt.recipients, receipt.stored) {
        (Some(problem), ..) => Some(format!("0 listeners: {problem}")),
        (None, Some(0), Some(true)) => Some("0 listeners, stored".to_owned()),
        (None, Some(0), _) => Some("0 listeners, not stored".to_owned()),
        _ => None,
    }
}

/// Splits the positional arguments of a command; a message to users needs no channel.
fn channel_and_text<'a>(
    what: &'a [String],
    address: &AddressArgs,
    command: &str,
) -> Result<(Option<&'a str>, &'a str), Failure> {
    match what {
        [text] if !address.to_user.is_empty() => Ok((None, text)),
        [channel, text] => Ok((Some(channel), text)),
        _ => Err(Failure::usage("a channel (or --to-user) and a message are required")
            .with_hint(format!("channelstream {command} CHANNEL MESSAGE"))),
    }
}

pub(super) async fn edit(access: &AccessArgs, args: &EditArgs) -> Result<(), Failure> {
    let (channel, text) = channel_and_text(&args.what, &args.address, "edit ID")?;
    let edit = Edit {
        payload: Some(payload(text, args.text)?),
        user: args.user.clone(),
        ..Edit::new(args.id, address(channel, &args.address))
    };
    let (client, origin) = access::client(access)?;
    let done = client.edit(edit).await.map_err(|error| Failure::of_client(error, &origin))?;
    show(args.output, &done, done.iter().map(|edit| edit.uuid))
}

pub(super) async fn delete(access: &AccessArgs, args: &DeleteArgs) -> Result<(), Failure> {
    let delete = Delete::new(args.id, address(args.channel.as_deref(), &args.address));
    let (client, origin) = access::client(access)?;
    let done = client.delete(delete).await.map_err(|error| Failure::of_client(error, &origin))?;
    show(args.output, &done, done.iter().map(|delete| delete.uuid))
}

fn show(
    output: OutputArgs,
    answer: &impl Serialize,
    ids: impl Iterator<Item = Uuid>,
) -> Result<(), Failure> {
    if output.json {
        return Ok(output::json(&mut stdout(), answer)?);
    }
    if !output.quiet {
        for id in ids {
            writeln!(stdout(), "{id}")?;
        }
    }
    Ok(())
}
