//! `list`.

use std::io::stdout;
use std::sync::Arc;

use channelstream_client::{ListChannels, ListUsers};

use crate::access;
use crate::args::{AccessArgs, ListArgs, Listed};
use crate::failure::Failure;
use crate::output::{self, Align};

pub(super) async fn list(access: &AccessArgs, args: &ListArgs) -> Result<(), Failure> {
    match args.what {
        Listed::Channels => channels(access, args).await,
        Listed::Users => users(access, args).await,
    }
}

async fn channels(access: &AccessArgs, args: &ListArgs) -> Result<(), Failure> {
    if args.connected {
        return Err(Failure::usage("--connected is for users"));
    }
    let (after, prefix) = (args.after.clone(), args.prefix.clone());
    let request = ListChannels { after, prefix, limit: args.limit };
    let (client, origin) = access::client(access)?;
    let page = client.list_channels(request).await;
    let page = page.map_err(|error| Failure::of_client(error, &origin))?;
    if args.json {
        return Ok(output::json(&mut stdout(), &page)?);
    }
    let columns = [
        ("CHANNEL", Align::Left),
        ("USERS", Align::Right),
        ("CONNECTIONS", Align::Right),
        ("LAST ACTIVE", Align::Left),
    ];
    let rows = page.channels.iter().map(|one| {
        let active = one.last_active.to_string();
        [one.name.to_string(), one.users.to_string(), one.connections.to_string(), active]
    });
    output::table(&mut stdout(), columns, rows)?;
    say_next(page.next.as_ref());
    Ok(())
}

async fn users(access: &AccessArgs, args: &ListArgs) -> Result<(), Failure> {
    let (after, prefix) = (args.after.clone(), args.prefix.clone());
    let request = ListUsers { after, prefix, limit: args.limit, connected: args.connected };
    let (client, origin) = access::client(access)?;
    let page = client.list_users(request).await;
    let page = page.map_err(|error| Failure::of_client(error, &origin))?;
    if args.json {
        return Ok(output::json(&mut stdout(), &page)?);
    }
    let columns = [("USER", Align::Left), ("CONNECTIONS", Align::Right)];
    let rows = page.users.iter().map(|one| [one.user.to_string(), one.connections.to_string()]);
    output::table(&mut stdout(), columns, rows)?;
    say_next(page.next.as_ref());
    Ok(())
}

/// Says how to get the next page, if there is one.
fn say_next(next: Option<&Arc<str>>) {
    if let Some(next) = next {
        output::say(&format!("there are more: --after {next:?}"));
    }
}
