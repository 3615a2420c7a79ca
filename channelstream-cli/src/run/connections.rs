//! `connect`, `subscribe`, `unsubscribe` and `disconnect`.

use std::io::{Write as _, stdout};

use channelstream_client::{Connect, InfoOptions, Subscribe, Unsubscribe, UserState, json};
use serde::Serialize;

use super::parse::state;
use crate::access;
use crate::args::{AccessArgs, ConnectArgs, DisconnectArgs, MembershipArgs, OutputArgs};
use crate::failure::Failure;
use crate::output::{self, Align};

pub(super) async fn connect(access: &AccessArgs, args: &ConnectArgs) -> Result<(), Failure> {
    let request = Connect {
        conn_id: args.conn_id,
        user_state: state(&args.state),
        fresh_user_state: state(&args.fresh_state),
        state_public_keys: args.public.clone(),
        info: options(args.json),
        ..Connect::new(&args.user).channels(args.channels.clone())
    };
    let (client, origin) = access::client(access)?;
    let connected =
        client.connect(request).await.map_err(|error| Failure::of_client(error, &origin))?;
    if args.json {
        return Ok(output::json(&mut stdout(), &connected)?);
    }
    if args.quiet {
        return Ok(writeln!(stdout(), "{}", connected.conn_id)?);
    }
    let rows = [
        ["connection".to_owned(), connected.conn_id.to_string()],
        ["user".to_owned(), connected.username.to_string()],
        ["channels".to_owned(), connected.channels.join(", ")],
        ["state".to_owned(), shown(&connected.state)],
        ["public".to_owned(), shown(&connected.public_state)],
    ];
    Ok(output::rows(&mut stdout(), [Align::Left, Align::Left], &rows)?)
}

pub(super) async fn subscribe(access: &AccessArgs, args: &MembershipArgs) -> Result<(), Failure> {
    let request = Subscribe {
        info: options(args.output.json),
        ..Subscribe::new(args.conn_id, args.channels.clone())
    };
    let (client, origin) = access::client(access)?;
    let done =
        client.subscribe(request).await.map_err(|error| Failure::of_client(error, &origin))?;
    show(args.output, &done, "joined", &done.subscribed_to, &done.channels)
}

pub(super) async fn unsubscribe(access: &AccessArgs, args: &MembershipArgs) -> Result<(), Failure> {
    let request = Unsubscribe {
        info: options(args.output.json),
        ..Unsubscribe::new(args.conn_id, args.channels.clone())
    };
    let (client, origin) = access::client(access)?;
    let done =
        client.unsubscribe(request).await.map_err(|error| Failure::of_client(error, &origin))?;
    show(args.output, &done, "left", &done.unsubscribed_from, &done.channels)
}

pub(super) async fn disconnect(access: &AccessArgs, args: &DisconnectArgs) -> Result<(), Failure> {
    let (client, origin) = access::client(access)?;
    let id = args.conn_id;
    let done = client.disconnect(id).await.map_err(|error| Failure::of_client(error, &origin))?;
    if args.json {
        output::json(&mut stdout(), &json!({ "conn_id": id, "disconnected": done }))?;
    } else if done && !args.quiet {
        writeln!(stdout(), "disconnected {id}")?;
    }
    if done {
        return Ok(());
    }
    Err(Failure::from(anyhow::anyhow!("the server does not know the connection {id}"))
        .with_hint("a connection expires when nobody has listened on it for a while"))
}

/// Returns options that request histories and users, which can be long, only if they are shown.
fn options(whole: bool) -> InfoOptions {
    InfoOptions { include_history: whole, include_users: whole, ..InfoOptions::default() }
}

fn show(
    output: OutputArgs,
    answer: &impl Serialize,
    what: &str,
    changed: &[std::sync::Arc<str>],
    all: &[std::sync::Arc<str>],
) -> Result<(), Failure> {
    if output.json {
        return Ok(output::json(&mut stdout(), answer)?);
    }
    if output.quiet {
        return Ok(());
    }
    let rows = [[what.to_owned(), changed.join(", ")], ["channels".to_owned(), all.join(", ")]];
    Ok(output::rows(&mut stdout(), [Align::Left, Align::Left], &rows)?)
}

/// Formats a state as one line.
pub(super) fn shown(state: &UserState) -> String {
    let pairs: Vec<_> =
        state.iter().map(|(key, value)| format!("{key}={}", value.json())).collect();
    pairs.join(" ")
}
