//! The program `channelstream-server`: from the command line to settings, server and exit status.

mod cli;
mod docs;
mod doctor;
mod files;
mod health;
mod health_tls;
mod journal;
mod manual;
mod reload;
mod signals;
mod systemd;
mod telemetry;
pub(crate) mod template;

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::config::source::{self, Sources};
use crate::config::{Checked, Config};
use crate::spans;
use crate::{BoundSocket, Server};
use anyhow::Context as _;
use cli::{Action, Given};
use reload::Reading;
use signals::{Asked, End, Signals};
use tokio::sync::{Notify, oneshot};

pub use docs::{metrics_table, settings_table};

/// Runs the program.
pub fn main() -> ExitCode {
    let outcome = match cli::parse() {
        Action::Run(given) => run(given),
        Action::ConfigDefault { json, output, force, fresh_secrets } => {
            config_default(json.as_deref(), output.as_deref(), force, fresh_secrets)
        }
        Action::ConfigCheck(given) => config_check(&given),
        Action::ConfigShow(given) => config_show(&given),
        Action::Doctor { given, json } => doctor::run(&given, json),
        Action::Journal(action) => journal::run(&action),
        Action::Manual(action) => manual::run(&action, cli::command()),
        Action::Health { url, given } => health::run(url.as_ref(), &given),
    };
    outcome.unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

/// Runs the server until a signal ends it.
fn run(given: Given) -> anyhow::Result<ExitCode> {
    let sockets = systemd::sockets()?;
    let Checked { config, warnings } = gather(&given).check();
    let config = config?;
    let export = spans::init().context("traces cannot be exported")?;
    let log = telemetry::init(&config.log_level, config.log_format)
        .context("the log thread could not be started")?;
    // From here, so that it is dropped before the log, which tells whether the last spans were sent.
    let _export = export;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if let Some(warning) = files::raise_limit(&config) {
        tracing::warn!("{warning}");
    }
    let reading = Reading { given, level: log.level() };
    Ok(start(sockets, config, reading).unwrap_or_else(|error| {
        // Nobody may be reading standard error: from here on, only the log writes to it.
        log.say(&complaint(&format!("{error:#}")));
        ExitCode::FAILURE
    }))
}

fn start(sockets: Vec<BoundSocket>, config: Config, reading: Reading) -> anyhow::Result<ExitCode> {
    // Requests and the writer of events share one thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    let outcome = runtime.block_on(serve(sockets, config, reading));
    // A pending lookup of a host name must not delay the exit.
    runtime.shutdown_background();
    outcome
}

async fn serve(
    sockets: Vec<BoundSocket>,
    config: Config,
    reading: Reading,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::receive().context("cannot receive signals")?;
    let is_handed_in = !sockets.is_empty();
    let server = tokio::select! {
        server = Server::bind_at(sockets, config.clone()) => server?,
        end = end(&mut signals, || tracing::info!("SIGHUP: the settings were read just now")) => {
            tracing::info!("{end}: stopped before listening");
            return Ok(ExitCode::SUCCESS);
        }
    };
    config.check_addresses(server.local_addrs()).map_err(anyhow::Error::msg)?;
    if is_handed_in {
        tracing::info!("the socket is systemd's: the settings host and port have no effect");
    }
    tracing::info!("{}", config.start_line(server.local_addrs()));
    for address in server.metrics_addrs() {
        let scheme = if address.tcp().is_some() { "http://" } else { "" };
        let readers = &config.allow_metrics_from;
        tracing::info!("metrics at {scheme}{address}/metrics, for {readers}");
    }
    server.reload_from(Arc::new(reading));
    let (reloader, monitor) = (server.reloader(), server.monitor());
    // Signals that come during a reload ask for one more.
    let reload = Notify::new();
    let reloading = async {
        loop {
            reload.notified().await;
            systemd::is_reloading(true).await;
            // It logs its outcome.
            let _ = reloader.reload().await;
            systemd::is_reloading(false).await;
        }
    };
    let (stop, stopped) = oneshot::channel();
    let ended_twice = async {
        let first = end(&mut signals, || reload.notify_one()).await;
        tracing::info!("{first}: shutting down");
        // The receiver is gone if the server has just failed.
        let _ = stop.send(());
        systemd::stops(reloader.shutdown_timeout()).await;
        end(&mut signals, || tracing::info!("SIGHUP ignored during the shutdown")).await
    };
    let stopped = async {
        let _ = stopped.await;
    };
    tokio::select! {
        outcome = server.run(stopped) => {
            outcome?;
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        () = reloading => unreachable!("it waits for the next reload"),
        () = systemd::reports(monitor) => unreachable!("it reports until the end"),
        end = ended_twice => {
            tracing::warn!("{end} during the shutdown: stopped at once, running requests are dropped");
            Ok(end.exit_code())
        }
    }
}

/// Waits for a signal that ends the program. One that asks for a reload calls `reload`.
async fn end(signals: &mut Signals, reload: impl Fn()) -> End {
    loop {
        match signals.next().await {
            Asked::End(end) => return end,
            Asked::Reload => reload(),
        }
    }
}

fn config_default(
    json: Option<&str>,
    output: Option<&Path>,
    force: bool,
    fresh_secrets: bool,
) -> anyhow::Result<ExitCode> {
    let mut sources = match json {
        Some(json) => source::from_json(json)?,
        None => source::from_environment(env::vars_os()),
    };
    if fresh_secrets {
        sources = sources.with_fresh_secrets();
    }
    let file = template::ini_file(&sources)?;
    let sources = sources.with_secret_files();
    // A file that the server would refuse is useless.
    sources.check().config?;
    // The user asked for the defaults, so do not warn about them.
    warn(&sources.with_fresh_secrets().check().warnings);
    match output {
        Some(path) => write_private(path, &file, force)
            .with_context(|| format!("{} cannot be written", path.display()))?,
        None => print(&file)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn config_check(given: &Given) -> anyhow::Result<ExitCode> {
    let Checked { config, warnings } = gather(given).check();
    warn(&warnings);
    config?;
    print("ok\n")?;
    Ok(ExitCode::SUCCESS)
}

fn config_show(given: &Given) -> anyhow::Result<ExitCode> {
    let sources = gather(given);
    let effective = sources.effective();
    let lines = effective.iter().map(template::shown).chain(template::shown_channels(&sources));
    print(&lines.map(|line| line + "\n").collect::<String>())?;
    let Checked { config, warnings } = sources.check();
    warn(&warnings);
    config?;
    Ok(ExitCode::SUCCESS)
}

fn gather(given: &Given) -> Sources {
    source::gather(given.flags.iter().cloned(), given.ini.as_deref(), env::vars_os())
}

/// Writes a file with secrets that only its owner can read, atomically. Only a regular file is ever
/// replaced: a link may lead anywhere, and a device is not ours.
#[expect(clippy::disallowed_methods, reason = "nobody is served")]
fn write_private(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => anyhow::bail!("it is not a regular file"),
        Ok(_) if !force => anyhow::bail!("it exists already; --force replaces it"),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // The old file stays until the new one is complete.
    let mut name = path.file_name().context("it is not the name of a file")?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = if force { path.with_file_name(name) } else { path.into() };
    let mut file = options.open(&new)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let written = written.and_then(|()| if force { fs::rename(&new, path) } else { Ok(()) });
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    Ok(written?)
}

/// Prints to standard output. A reader that closes it early is no failure.
#[expect(clippy::disallowed_methods, reason = "nobody is served")]
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("standard output cannot be written")
        }
        _ => Ok(()),
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        complain(&format!("warning: {warning}"));
    }
}

/// Prints to standard error; a failure to do so cannot be reported anywhere.
#[expect(clippy::disallowed_methods, reason = "nobody is served yet, or at all")]
fn complain(text: &str) {
    let _ = io::stderr().write_all(complaint(text).as_bytes());
}

/// Prefixes each line with the name of the program.
fn complaint(text: &str) -> String {
    let shown = |line: &str| line.chars().map(shown).collect::<String>();
    text.lines().map(|line| format!("channelstream-server: {}\n", shown(line))).collect()
}

/// Escapes control characters, which must not reach a terminal from a file.
fn shown(character: char) -> String {
    match character {
        '\t' => character.into(),
        _ if character.is_control() => character.escape_default().collect(),
        _ => character.into(),
    }
}
