//! The program as a process: started on a free port, its log kept, ended by a signal.

use std::ffi::OsStr;
use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// How long starting and ending may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    output: NamedTempFile,
}

impl Process {
    /// Starts the program with flags and waits until it listens.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_in(flags, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn start_in(flags: &[&str], environment: &[(&str, &OsStr)]) -> Self {
        let output = NamedTempFile::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_channelstream-server"));
        command.args(["--host", "127.0.0.1"]).args(flags).stdin(Stdio::null());
        if !flags.contains(&"--port") {
            command.args(["--port", "0"]);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHANNELSTREAM_") {
                command.env_remove(name);
            }
        }
        command.envs(environment.iter().copied());
        command.stdout(output.reopen().unwrap()).stderr(output.reopen().unwrap());
        let child = command.spawn().unwrap();
        let mut process = Self { child, address: ([127, 0, 0, 1], 0).into(), output };
        process.address = process.wait_for("listening on http://", |log| {
            let (_, rest) = log.split_once("listening on http://")?;
            rest.split_once(';')?.0.parse().ok()
        });
        process
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has written so far.
    pub(crate) fn log(&self) -> String {
        let mut bytes = Vec::new();
        self.output.reopen().unwrap().read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Waits until something is found in what it writes.
    pub(crate) fn wait_for<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let log = self.log();
            if let Some(found) = find(&log) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "in vain waited for {what}:\n{log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
