//! The program: flags → `Config` → `Server` → exit code.

mod cli;

use std::env;
use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use channelstream_server::config::source::{self, Sources};
use channelstream_server::config::{Checked, Config, template};
use channelstream_server::{Server, telemetry};
use cli::{Action, Given};

/// Gives memory back to the system after a peak, and takes less for each connection than the system's
/// own (figures in ARCHITECTURE.md).
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let outcome = match cli::parse() {
        Action::Run(given) => run(&given),
        Action::ConfigDefault { json, output, force, fresh_secrets } => {
            config_default(json.as_deref(), output.as_deref(), force, fresh_secrets)
        }
        Action::ConfigCheck(given) => config_check(&given),
        Action::ConfigShow(given) => config_show(&given),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the server until a signal ends it.
fn run(given: &Given) -> anyhow::Result<()> {
    let Checked { config, warnings } = gather(given).check();
    let config = config?;
    telemetry::init(&config.log_level, config.log_format);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // Requests and the writer of frames take turns on one thread.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?
        .block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let shutdown = shutdown_signal().context("signals cannot be received")?;
    // Its texts name the cause already; a chain would name it twice.
    let server = Server::bind(config.clone()).await.map_err(anyhow::Error::msg)?;
    tracing::info!("{}", config.start_line(server.local_addr()));
    server.run(shutdown).await.map_err(anyhow::Error::msg)?;
    tracing::info!("stopped");
    Ok(())
}

/// Ends with the first SIGTERM or SIGINT. They are received from the call on.
#[cfg(unix)]
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("{name}: shutting down");
    })
}

/// Ends with the first Ctrl-C. It is received from the call on.
#[cfg(windows)]
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
        tracing::info!("Ctrl-C: shutting down");
    })
}

fn config_default(
    json: Option<&str>,
    output: Option<&Path>,
    force: bool,
    fresh_secrets: bool,
) -> anyhow::Result<()> {
    let mut sources = match json {
        Some(json) => source::from_json(json)?,
        None => source::from_environment(env::vars_os()),
    };
    if fresh_secrets {
        sources = sources.with_fresh_secrets();
    }
    let file = template::ini_file(&sources)?;
    let sources = sources.with_secret_files();
    // A file that the server would refuse is of no use.
    sources.check().config?;
    // Whoever asks for the defaults needs no warning of them.
    warn(&sources.with_fresh_secrets().check().warnings);
    match output {
        Some(path) => write_private(path, &file, force)
            .with_context(|| format!("{} cannot be written", path.display())),
        None => print(&file),
    }
}

fn config_check(given: &Given) -> anyhow::Result<()> {
    let Checked { config, warnings } = gather(given).check();
    warn(&warnings);
    config?;
    print("ok\n")
}

fn config_show(given: &Given) -> anyhow::Result<()> {
    let sources = gather(given);
    let effective = sources.effective();
    let lines = effective.iter().map(template::shown).chain(template::shown_channels(&sources));
    print(&lines.map(|line| line + "\n").collect::<String>())?;
    let Checked { config, warnings } = sources.check();
    warn(&warnings);
    config?;
    Ok(())
}

fn gather(given: &Given) -> Sources {
    source::gather(given.flags.iter().cloned(), given.ini.as_deref(), env::vars_os())
}

/// Writes a file that holds secrets, for its owner alone: whole or not at all. Only an ordinary file
/// is ever replaced: a link may lead anywhere, and a device is none of ours.
fn write_private(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => anyhow::bail!("what is there is no ordinary file"),
        Ok(_) if !force => anyhow::bail!("it is there already; --force replaces it"),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // What is replaced stays as it is until the new one is whole.
    let mut name = path.file_name().context("it names no file")?.to_owned();
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

/// Prints to standard output; that nobody reads to the end is no failure.
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

/// Prints to standard error; if that is gone, there is nobody to tell.
fn complain(text: &str) {
    let mut err = io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(err, "channelstream-server: {line}");
    }
}
