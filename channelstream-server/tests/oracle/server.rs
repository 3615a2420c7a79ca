//! The server under test: a process of its own on a free port.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::http::{self, Headers, Request};

const START: Duration = Duration::from_secs(30);
/// Somebody else may take the port between its choice and the server's start.
const ATTEMPTS: usize = 3;

/// What a server is started with, beside its address.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) env: BTreeMap<String, String>,
    /// The text of an ini file, where `{port}` is filled in.
    pub(crate) ini: Option<String>,
    /// The scenario is the proxy: one before several servers has to pass its headers on.
    pub(crate) plays_proxy: bool,
}

impl Settings {
    /// Adds a setting by its key, where the server reads its settings.
    pub(crate) fn add(&mut self, key: &str, value: String) {
        match &mut self.ini {
            Some(text) => *text += &format!("{key} = {value}\n"),
            None => drop(self.env.insert(format!("CHANNELSTREAM_{}", key.to_uppercase()), value)),
        }
    }
}

/// A running server; it ends when this is dropped.
pub(crate) struct Server {
    process: Child,
    /// Its address, as `127.0.0.1:port`.
    pub(crate) host: String,
    log: NamedTempFile,
    _ini: Option<NamedTempFile>,
}

impl Server {
    /// Starts a server and waits until it answers.
    ///
    /// `command` is a shell command to start instead of the server that was built.
    pub(crate) fn start(command: Option<&str>, settings: &Settings) -> Result<Self> {
        let mut failure = None;
        for _ in 0..ATTEMPTS {
            match Self::attempt(command, settings) {
                Ok(server) => return Ok(server),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or_else(|| bail!("no attempt made"), Err)
    }

    fn attempt(command: Option<&str>, settings: &Settings) -> Result<Self> {
        let port = free_port()?;
        let log = NamedTempFile::new().context("no file for the server's output")?;
        let ini = settings.ini.as_ref().map(|text| ini_file(text, port)).transpose()?;
        let mut line = match command {
            None => Command::new(env!("CARGO_BIN_EXE_channelstream-server")),
            Some(text) => {
                let mut shell = Command::new("sh");
                // `exec`, so that the process to end is the server itself
                let text = text.replace("{port}", &port.to_string());
                shell.args(["-c", &format!("exec {text} \"$@\""), "sh"]);
                shell
            }
        };
        if let Some(ini) = &ini {
            line.arg("--ini").arg(ini.path());
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHANNELSTREAM_") {
                line.env_remove(name);
            }
        }
        line.env("CHANNELSTREAM_HOST", "127.0.0.1").env("CHANNELSTREAM_PORT", port.to_string());
        line.envs(&settings.env).stdin(Stdio::null());
        line.stdout(log.reopen()?).stderr(log.reopen()?);
        let process = line.spawn().with_context(|| format!("cannot start {line:?}"))?;
        let host = format!("127.0.0.1:{port}");
        let mut server = Self { process, host, log, _ini: ini };
        server.await_answer()?;
        Ok(server)
    }

    fn await_answer(&mut self) -> Result<()> {
        let request = Request {
            method: "GET".into(),
            path: format!("/listen?conn_id={}", Uuid::nil()),
            headers: Headers::default(),
            body: Vec::new(),
        };
        let deadline = Instant::now() + START;
        loop {
            let answer = http::exchange(&self.host, &request, Duration::from_secs(2));
            // an answer may be a stranger's, if ours has ended for want of the port
            if let Some(status) = self.process.try_wait()? {
                bail!("the server ended ({status}); its output:\n{}", self.output());
            }
            match answer {
                // a server that does not follow its journal yet
                Ok(answer) if answer.status != 503 => return Ok(()),
                answer if Instant::now() > deadline => {
                    let seen = answer.map(|answer| answer.status);
                    bail!("no answer in time ({seen:?}); its output:\n{}", self.output());
                }
                _ => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // fails only if it has ended already
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

fn ini_file(text: &str, port: u16) -> Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".ini").tempfile()?;
    file.write_all(text.replace("{port}", &port.to_string()).as_bytes())?;
    Ok(file)
}
