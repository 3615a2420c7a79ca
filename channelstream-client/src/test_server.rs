//! `TestServer`: the real server as a process of its own, for tests, with a clock that they put ahead.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use channelstream_core::protocol::{Advance, Advanced, DateTime};
use tempfile::NamedTempFile;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::endpoint::ADVANCE;
use crate::error::Error;
use crate::retry::Repeats;

/// The variable that names the program.
const VARIABLE: &str = "CHANNELSTREAM_SERVER";
const NAME: &str = "channelstream-server";
/// Without the well-known default there is no test clock.
const SECRET: &str = "secret";
/// How long a start may take. Machines that run tests are busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of what a server says is in an error.
const SHOWN: usize = 4000;

/// A server for a test: a process of its own on a free port of loopback, with nothing in it yet. It ends when
/// this is dropped.
///
/// The program is `channelstream-server`: the one that the variable `CHANNELSTREAM_SERVER` names, or
/// the first on `PATH`.
///
/// ```no_run
/// use std::time::Duration;
///
/// use channelstream_client::{Connect, InfoOptions, TestServer};
///
/// # async fn test() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TestServer::start().await?;
/// let client = server.client();
/// client.connect(Connect::new("ann").channels(["news"])).await?;
/// // Nobody listens with the connection, so that it expires after 15 seconds.
/// server.advance(Duration::from_secs(20)).await?;
/// assert_eq!(client.info(InfoOptions::default()).await?.channels["news"].total_users, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestServer {
    process: Process,
    url: String,
    client: Client,
}

/// Settings of a [`TestServer`] that is not started yet.
#[derive(Clone, Debug, Default)]
#[must_use = "it is started by `start`"]
pub struct TestServerBuilder {
    program: Option<PathBuf>,
    settings: Vec<(String, String)>,
}

/// Why a [`TestServer`] does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum TestServerError {
    /// The program is neither named nor on `PATH`.
    NotFound,
    /// The program cannot be started.
    NotStarted {
        /// The program.
        program: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The server ended before it listened, or did not listen within 30 seconds.
    NotListening {
        /// How it ended; `None` if it runs.
        status: Option<ExitStatus>,
        /// The end of what it says.
        log: String,
    },
}

impl fmt::Display for TestServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => write!(
                f,
                "{NAME} is not on PATH: `cargo install {NAME}` puts it there, or {VARIABLE} names the program"
            ),
            Self::NotStarted { program, .. } => {
                write!(f, "{} cannot be started", program.display())
            }
            Self::NotListening { status: Some(status), log } => {
                write!(f, "the server ended before it listened ({status}):\n{log}")
            }
            Self::NotListening { status: None, log } => {
                write!(f, "the server did not listen within {} s:\n{log}", PATIENCE.as_secs())
            }
        }
    }
}

impl std::error::Error for TestServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotStarted { source, .. } => Some(source),
            Self::NotFound | Self::NotListening { .. } => None,
        }
    }
}

impl TestServerBuilder {
    /// Sets the program, instead of the one that is found.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Sets a setting of the server by its name, such as `gc_conns_after`. Those without which there is no
    /// test clock are set already, and setting one again is an error of `start`: `host`, `port`, `test_clock`
    /// and `log_level`.
    pub fn setting(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.settings.push((name.into(), format!("{value}")));
        self
    }

    /// Starts the server, and waits until it listens.
    ///
    /// # Errors
    ///
    /// There is no program, or it does not start.
    pub async fn start(self) -> Result<TestServer, TestServerError> {
        let program = match self.program {
            Some(program) => program,
            None => find(env::var_os(VARIABLE), env::var_os("PATH").as_deref())
                .ok_or(TestServerError::NotFound)?,
        };
        let mut process = Process::start(&program, &self.settings)
            .map_err(|source| TestServerError::NotStarted { program, source })?;
        let url = process.url().await?;
        let client = Client::new(&url, SECRET).map_err(|error| TestServerError::NotListening {
            status: None,
            log: format!("{error:#}\n{}", process.log()),
        })?;
        Ok(TestServer { process, url, client })
    }
}

impl TestServer {
    /// Starts a server with the default settings.
    ///
    /// # Errors
    ///
    /// There is no program, or it does not start.
    pub async fn start() -> Result<Self, TestServerError> {
        Self::builder().start().await
    }

    /// Returns settings for a server.
    pub fn builder() -> TestServerBuilder {
        TestServerBuilder::default()
    }

    /// Returns the address, such as `http://127.0.0.1:43211`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the secret with which backends sign.
    #[must_use]
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// Returns a client of the server.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Returns what the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Lets time pass on the server: what is due by then has happened when this returns, and was handed to the
    /// listeners. Heartbeats, and the time-outs of requests, go by the clock of the machine. Returns how late it
    /// is on the server.
    ///
    /// # Errors
    ///
    /// 422 for more than a year at once, or a hundred in all.
    pub async fn advance(&self, time: Duration) -> Result<DateTime, Error> {
        let request = Advance::new(time.as_secs_f64());
        let advanced: Advanced = self.client.call(ADVANCE, &request, Repeats::Doubling).await?;
        Ok(advanced.now)
    }
}

/// The process and the file of what it says. The process ends when this is dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    output: NamedTempFile,
}

impl Process {
    fn start(program: &Path, settings: &[(String, String)]) -> io::Result<Self> {
        let output = NamedTempFile::with_prefix("channelstream-")?;
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            // Those are the settings of another server.
            if name.to_string_lossy().starts_with("CHANNELSTREAM_") {
                command.env_remove(name);
            }
        }
        for (name, value) in settings {
            command.arg(format!("--{}={value}", name.replace('_', "-")));
        }
        let child = command
            .args(["--host=127.0.0.1", "--port=0", "--test-clock=true", "--log-level=INFO"])
            .stdin(Stdio::null())
            .stdout(output.reopen()?)
            .stderr(output.reopen()?)
            .spawn()?;
        Ok(Self { child, output })
    }

    /// Waits until the server listens, and returns where.
    async fn url(&mut self) -> Result<String, TestServerError> {
        let latest = Instant::now() + PATIENCE;
        loop {
            // Before its log: what has ended writes no more.
            let status = self.child.try_wait().ok().flatten();
            let log = self.log();
            if status.is_none()
                && let Some(port) = port(&log)
            {
                return Ok(format!("http://127.0.0.1:{port}"));
            }
            if status.is_some() || Instant::now() > latest {
                return Err(TestServerError::NotListening { status, log: end_of(&log) });
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    fn log(&self) -> String {
        match std::fs::read(self.output.path()) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => format!("its log cannot be read: {error}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself. A process that was killed is gone at once.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the port in the start line of a log.
fn port(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("listening on http://127.0.0.1:")?;
    rest.split_once(';')?.0.parse().ok()
}

/// Returns the last part of a log.
fn end_of(log: &str) -> String {
    let begin = log.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
    log[begin..].to_owned()
}

/// Returns the program that is named, or the first of its name on `path`.
fn find(named: Option<OsString>, path: Option<&OsStr>) -> Option<PathBuf> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let file = format!("{NAME}{}", env::consts::EXE_SUFFIX);
    let folders = path.map(env::split_paths)?;
    folders.map(|folder| folder.join(&file)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_one_that_is_named_or_the_first_on_path() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let programs = folders.each_ref().map(|folder| folder.path().join(NAME));
        let joined = env::join_paths(folders.iter().map(|folder| folder.path())).unwrap();
        let path = Some(&*joined);
        assert_eq!(find(None, path), None);
        assert_eq!(find(None, None), None);
        for program in programs.iter().rev() {
            std::fs::write(program, "").unwrap();
            assert_eq!(find(Some("".into()), path).as_ref(), Some(program));
        }
        assert_eq!(find(Some("/a/server".into()), path), Some("/a/server".into()));
    }

    #[test]
    fn the_start_line_has_the_port() {
        let line =
            "INFO listening on http://127.0.0.1:43211; signed requests are accepted from ...\n";
        assert_eq!(port(line), Some(43211));
        // Half a line is no port.
        assert_eq!(port(&line[..line.find("211;").unwrap()]), None);
        assert_eq!(port("listening on http://127.0.0.1:x;"), None);
    }

    #[test]
    fn an_error_has_the_end_of_a_long_log() {
        assert_eq!(end_of("short"), "short");
        let long = format!("{}é the end", "x".repeat(2 * SHOWN));
        let end = end_of(&long);
        assert!(end.len() < SHOWN + 10 && end.ends_with("é the end"));
    }
}
