//! The program as a process: started on a free port, its log kept, ended by a signal.

use std::ffi::OsStr;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// How long starting and ending may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_channelstream-server");

/// Gives the program its flags, a free port unless they name one, and nothing else.
pub(crate) fn quiet<'command>(
    command: &'command mut Command,
    flags: &[&str],
) -> &'command mut Command {
    for (flag, value) in [("--host", "127.0.0.1"), ("--port", "0")] {
        if !flags.contains(&flag) {
            command.args([flag, value]);
        }
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CHANNELSTREAM_") {
            command.env_remove(name);
        }
    }
    command.args(flags).stdin(Stdio::null())
}

/// Sends a signal by its name.
pub(crate) fn signal(id: u32, name: &str) {
    let id = id.to_string();
    assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
}

/// Waits until a process has ended by itself. The panic shows `log` if it does not.
pub(crate) fn ended(child: &mut Child, log: impl Fn() -> String) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", log());
        thread::sleep(Duration::from_millis(20));
    }
}

/// A running server; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    output: NamedTempFile,
}

impl Process {
    /// Starts the program with flags and waits until it listens.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with(":", flags, &[], Stdio::null())
    }

    /// The same on a socket that listens already, as systemd hands it in.
    pub(crate) fn start_on(
        socket: impl Into<OwnedFd>,
        flags: &[&str],
        environment: &[(&str, &OsStr)],
    ) -> Self {
        let hand_in = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$";
        Self::start_with(hand_in, flags, environment, Stdio::from(socket.into()))
    }

    /// The same from a shell that has carried out a command, such as `ulimit`.
    pub(crate) fn start_behind(command: &str, flags: &[&str]) -> Self {
        Self::start_with(command, flags, &[], Stdio::null())
    }

    /// The same, with more in its environment.
    pub(crate) fn start_in(flags: &[&str], environment: &[(&str, &OsStr)]) -> Self {
        Self::start_with(":", flags, environment, Stdio::null())
    }

    fn start_with(
        command: &str,
        flags: &[&str],
        environment: &[(&str, &OsStr)],
        input: Stdio,
    ) -> Self {
        let output = NamedTempFile::new().unwrap();
        let mut shell = Command::new("sh");
        let program = std::env::var_os("CHANNELSTREAM_TEST_SERVER");
        shell.args(["-c", &format!("{command}; exec \"$@\""), "sh"]);
        shell.arg(program.as_deref().unwrap_or(OsStr::new(PROGRAM)));
        let child = quiet(&mut shell, flags)
            .stdin(input)
            .envs(environment.iter().copied())
            .stdout(output.reopen().unwrap())
            .stderr(output.reopen().unwrap())
            .spawn()
            .unwrap();
        let mut process = Self { child, address: ([127, 0, 0, 1], 0).into(), output };
        process.address = process.wait_for("where it listens", |log| {
            let (_, rest) = log.split_once("listening on http")?;
            let (_, rest) = rest.split_once("://")?;
            rest.split([';', ' ']).next()?.parse().ok()
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
        signal(self.id(), name);
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let Self { child, output, .. } = self;
        ended(child, || std::fs::read_to_string(output.path()).unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
