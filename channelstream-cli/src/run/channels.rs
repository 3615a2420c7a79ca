//! `channel`, `delete-channel` and `info`.

use std::io::{Write as _, stdout};

use channelstream_client::{
    ChannelSettings, ChannelView, Client, Configure, DeleteChannels, InfoOptions,
};
use serde_json::{Map, Value};

use super::parse::value;
use crate::access::{self, Origin};
use crate::args::{AccessArgs, ChannelArgs, DeleteChannelArgs, InfoArgs};
use crate::failure::Failure;
use crate::output::{self, Align};

pub(super) async fn info(access: &AccessArgs, args: &InfoArgs) -> Result<(), Failure> {
    let (client, origin) = access::client(access)?;
    let options = InfoOptions {
        include_history: args.json,
        channels: (!args.channels.is_empty()).then(|| args.channels.clone()),
        ..InfoOptions::default()
    };
    let info = client.info(options).await.map_err(|error| Failure::of_client(error, &origin))?;
    if args.json {
        output::json(&mut stdout(), &info)?;
    } else if !args.quiet {
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
                channel.last_active.in_utc().to_string(),
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

pub(super) async fn channel(access: &AccessArgs, args: &ChannelArgs) -> Result<(), Failure> {
    let (client, origin) = access::client(access)?;
    let name = &args.channel;
    let mut info = ask(&client, &origin, name).await?;
    let current = info.channels.get(name.as_str()).map(|view| view.settings);
    if current.is_none() && !args.create {
        return Err(Failure::from(anyhow::anyhow!("the server has no channel `{name}`"))
            .with_hint("--create creates it"));
    }
    let wanted = changed(current.unwrap_or_default(), &args.set)?;
    if current != Some(wanted) {
        let request = Configure::new([(name, wanted)]);
        client.configure(request).await.map_err(|error| Failure::of_client(error, &origin))?;
        info = ask(&client, &origin, name).await?;
    }
    if args.output.quiet {
        return Ok(());
    }
    if args.output.json {
        return Ok(output::json(&mut stdout(), &info)?);
    }
    match info.channels.get(name.as_str()) {
        Some(view) => show(view),
        None => Err(anyhow::anyhow!("the channel `{name}` was removed meanwhile").into()),
    }
}

pub(super) async fn delete(access: &AccessArgs, args: &DeleteChannelArgs) -> Result<(), Failure> {
    let (client, origin) = access::client(access)?;
    let request = DeleteChannels::new(&args.channels);
    let answer = client.delete_channels(request).await;
    let answer = answer.map_err(|error| Failure::of_client(error, &origin))?;
    if args.output.json {
        return Ok(output::json(&mut stdout(), &answer)?);
    }
    if args.output.quiet {
        return Ok(());
    }
    let row =
        |what: &'static str| move |name: &std::sync::Arc<str>| [what.to_owned(), name.to_string()];
    let deleted = answer.deleted.iter().map(row("deleted"));
    let rows: Vec<_> = deleted.chain(answer.unknown.iter().map(row("unknown"))).collect();
    Ok(output::rows(&mut stdout(), [Align::Left, Align::Left], &rows)?)
}

async fn ask(
    client: &Client,
    origin: &Origin,
    name: &str,
) -> Result<channelstream_client::ChannelsInfo, Failure> {
    let options = InfoOptions::default().channels([name]);
    client.info(options).await.map_err(|error| Failure::of_client(error, origin))
}

/// Returns the settings with these changes; names and types are those of the protocol.
fn changed(
    settings: ChannelSettings,
    changes: &[(String, String)],
) -> Result<ChannelSettings, Failure> {
    let mut fields = fields(settings)?;
    // Answers have it only where it was set.
    if changes.iter().any(|(key, _)| key == "history_ttl") {
        fields.entry("history_ttl").or_insert(Value::from(0));
    }
    for (key, text) in changes {
        let known: Vec<_> = fields.keys().map(String::as_str).collect();
        let known = known.join(", ");
        let Some(field) = fields.get_mut(key) else {
            let failure = Failure::usage(format!("channels have no setting `{key}`"));
            return Err(failure.with_hint(format!("the settings are {known}")));
        };
        let new = value(text);
        let fits = if field.is_boolean() { new.is_boolean() } else { new.is_u64() };
        if !fits {
            let kind = if field.is_boolean() { "true or false" } else { "a whole number" };
            return Err(Failure::usage(format!("{key} must be {kind}, not `{text}`")));
        }
        *field = new;
    }
    let settings = serde_json::from_value(Value::Object(fields));
    settings.map_err(|error| Failure::usage(format!("invalid settings: {error}")))
}

/// Returns the settings by name.
pub(super) fn fields(settings: ChannelSettings) -> Result<Map<String, Value>, Failure> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(anyhow::anyhow!("settings are not a JSON object").into()),
        Err(error) => Err(anyhow::Error::new(error).into()),
    }
}

fn show(view: &ChannelView) -> Result<(), Failure> {
    let users: Vec<&str> = view.users.iter().map(AsRef::as_ref).collect();
    let mut rows = vec![
        ["channel".to_owned(), view.name.to_string()],
        ["last active".to_owned(), view.last_active.in_utc().to_string()],
        ["connections".to_owned(), view.total_connections.to_string()],
        ["users".to_owned(), users.join(", ")],
    ];
    rows.extend(fields(view.settings)?.into_iter().map(|(key, value)| [key, value.to_string()]));
    output::rows(&mut stdout(), [Align::Left, Align::Left], &rows)?;
    if view.history.is_empty() {
        return Ok(());
    }
    writeln!(stdout())?;
    let columns = ["ID", "TIME", "USER", "MESSAGE"].map(|title| (title, Align::Left));
    let rows = view.history.iter().map(|message| {
        let text = message.payload.as_deref().map_or("", |raw| raw.get());
        let time = message.timestamp.in_utc().to_string();
        [message.uuid.to_string(), time, message.user.clone(), text.to_owned()]
    });
    Ok(output::table(&mut stdout(), columns, rows)?)
}
