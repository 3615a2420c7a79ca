//! `user-state`, `user` and `disconnect-user`.

use std::io::{Write as _, stdout};

use channelstream_client::{DisconnectUser, InfoOptions, SetUserState, json};

use super::connections::shown;
use super::parse::{state, whole_seconds};
use crate::access;
use crate::args::{AccessArgs, DisconnectUserArgs, UserArgs, UserStateArgs};
use crate::failure::Failure;
use crate::output::{self, Align};

pub(super) async fn set_state(access: &AccessArgs, args: &UserStateArgs) -> Result<(), Failure> {
    let names_keys = args.no_public || !args.public.is_empty();
    let request = SetUserState {
        state_public_keys: names_keys.then(|| args.public.clone()),
        ..SetUserState::new(&args.user, state(&args.state))
    };
    let (client, origin) = access::client(access)?;
    let set = client.set_user_state(request).await;
    let set = set.map_err(|error| Failure::of_client(error, &origin))?;
    if args.output.json {
        return Ok(output::json(&mut stdout(), &set)?);
    }
    if args.output.quiet {
        return Ok(());
    }
    let columns = ["KEY", "VALUE", "PUBLIC", "CHANGED"].map(|title| (title, Align::Left));
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let rows = set.user_state.iter().map(|(key, value)| {
        let public = set.public_keys.iter().any(|public| **public == **key);
        let changed = set.changed_state.iter().any(|changed| changed.key == *key);
        [key.clone(), value.json().to_owned(), yes(public), yes(changed)]
    });
    Ok(output::table(&mut stdout(), columns, rows)?)
}

pub(super) async fn disconnect(
    access: &AccessArgs,
    args: &DisconnectUserArgs,
) -> Result<(), Failure> {
    let request = DisconnectUser {
        user: args.user.clone(),
        reason: args.reason.clone(),
        refuse_for: args.refuse_for.map(whole_seconds),
    };
    let (client, origin) = access::client(access)?;
    let done = client.disconnect_user(request).await;
    let done = done.map_err(|error| Failure::of_client(error, &origin))?;
    if args.output.json {
        return Ok(output::json(&mut stdout(), &done)?);
    }
    if args.output.quiet {
        return Ok(());
    }
    let connections = done.connections;
    let what = if connections == 1 { "connection" } else { "connections" };
    writeln!(stdout(), "ended {connections} {what}")?;
    if done.refused_for > 0 {
        writeln!(stdout(), "refused for {} s", done.refused_for)?;
    }
    Ok(())
}

pub(super) async fn show(access: &AccessArgs, args: &UserArgs) -> Result<(), Failure> {
    let (client, origin) = access::client(access)?;
    let name = args.user.as_str();
    let stats = client.admin_stats().await.map_err(|error| Failure::of_client(error, &origin))?;
    let Some(user) = stats.users.iter().find(|user| *user.user == *name) else {
        return Err(Failure::from(anyhow::anyhow!("no user `{name}` has a connection"))
            .with_hint("the server reports only users with connections"));
    };
    let channels: Vec<_> = stats
        .channels
        .values()
        .filter(|channel| channel.users.iter().any(|user| **user == *name))
        .map(|channel| channel.name.to_string())
        .collect();
    // The statistics have only the public state; the whole state comes with a channel.
    let mut state = user.state.clone();
    if let Some(channel) = channels.first() {
        let options = InfoOptions { include_history: false, ..InfoOptions::default() };
        let info = client.info(options.channels([channel])).await;
        let info = info.map_err(|error| Failure::of_client(error, &origin))?;
        if let Some(view) = info.users.into_iter().find(|view| *view.user == *name) {
            state = view.state;
        }
    }
    let connections: Vec<_> = user.connections.iter().map(ToString::to_string).collect();
    if args.json {
        let user = json!({
            "user": name,
            "state": *state,
            "public_state": *user.state,
            "channels": channels,
            "connections": connections,
        });
        return Ok(output::json(&mut stdout(), &user)?);
    }
    if args.quiet {
        return Ok(());
    }
    let mut rows = vec![
        ["user".to_owned(), name.to_owned()],
        ["state".to_owned(), shown(&state)],
        ["public".to_owned(), shown(&user.state)],
        ["channels".to_owned(), channels.join(", ")],
    ];
    rows.extend(connections.into_iter().map(|id| ["connection".to_owned(), id]));
    Ok(output::rows(&mut stdout(), [Align::Left, Align::Left], &rows)?)
}
