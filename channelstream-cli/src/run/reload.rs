//! `reload`: the server reads its settings again.

use std::io::{Write as _, stdout};

use crate::access;
use crate::args::{AccessArgs, ReloadArgs};
use crate::failure::Failure;
use crate::output;

pub(super) async fn reload(access: &AccessArgs, args: &ReloadArgs) -> Result<(), Failure> {
    let (client, origin) = access::client(access)?;
    let done = client.reload().await.map_err(|error| Failure::of_client(error, &origin))?;
    if args.output.json {
        return Ok(output::json(&mut stdout(), &done)?);
    }
    if args.output.quiet {
        return Ok(());
    }
    let rows = [("changed", &done.changed), ("needs a restart", &done.needs_restart)];
    for (what, settings) in rows {
        for setting in settings {
            writeln!(stdout(), "{what}: {}", output::plain(setting))?;
        }
    }
    for warning in &done.warnings {
        writeln!(stdout(), "warning: {}", output::plain(warning))?;
    }
    if done.changed.is_empty() && done.needs_restart.is_empty() {
        writeln!(stdout(), "nothing has changed")?;
    }
    Ok(())
}
