//! How long-running commands end: when the reader of their output is gone, and by each signal.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::program::{ask, ask_until_it_fails, command, failed};
use crate::server::Server;

/// A command in the background, whose output may be read.
struct Running {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts the command with `before`, a program that runs its arguments.
    fn start(server: &Server, before: &[&str], arguments: &[&str]) -> Self {
        let program = command(server, arguments);
        let mut command = match before {
            [] => Command::new(program.get_program()),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program.get_program());
                command
            }
        };
        command.args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().map(BufReader::new);
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits for the end. A program that does not end is killed, and the test fails.
    #[track_caller]
    fn ends(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if begun.elapsed() > Duration::from_secs(20) {
                self.child.kill().unwrap();
                panic!("it goes on");
            }
            sleep(Duration::from_millis(20));
        }
    }
}

const LISTEN: [&str; 6] = ["listen", "--user", "ann", "--channel", "news", "--json"];
/// Resets the signals, which the parent of the tests may have set to be ignored.
const BY_DEFAULT: [&str; 2] = ["env", "--default-signal"];

/// Waits until this user has a connection.
fn wait_for(server: &Server, user: &str) {
    let begun = Instant::now();
    while ask(server, &["user", user]).code != 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{user} has not come");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_quiet_listener_ends_when_its_reader_leaves() {
    let server = Server::start();
    let mut running = Running::start(&server, &[], &LISTEN);
    assert!(running.line().contains("opened"));
    drop(running.out.take());
    assert!(running.ends().success());
    failed(&ask_until_it_fails(&server, &["user", "ann"]), 1);
}

#[test]
fn a_reader_that_is_a_socket_can_leave_as_well() {
    let server = Server::start();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut listen = command(&server, &LISTEN);
    listen.stdout(std::os::fd::OwnedFd::from(theirs)).stderr(Stdio::null());
    let mut running = Running { child: listen.spawn().unwrap(), out: None };
    drop(listen);
    let mut line = String::new();
    let mut ours = BufReader::new(ours);
    ours.read_line(&mut line).unwrap();
    assert!(line.contains("opened"), "{line}");
    drop(ours);
    assert!(running.ends().success());
    failed(&ask_until_it_fails(&server, &["user", "ann"]), 1);
}

/// A file and the null device have no reader that could leave.
#[test]
fn listeners_that_write_to_files_go_on() {
    let server = Server::start();
    for file in [tempfile::tempfile().unwrap(), std::fs::File::create("/dev/null").unwrap()] {
        let mut listen = command(&server, &[&LISTEN[..], &["--for", "500ms"]].concat());
        let begun = Instant::now();
        let status = listen.stdout(file).stderr(Stdio::null()).status().unwrap();
        assert!(status.success() && begun.elapsed() >= Duration::from_millis(500));
    }
}

#[test]
fn measuring_ends_when_nobody_waits_for_its_report() {
    let server = Server::start();
    let mut running = Running::start(&server, &[], &["bench", "--listeners", "3", "--for", "60s"]);
    wait_for(&server, "channelstream-bench");
    drop(running.out.take());
    running.ends();
    failed(&ask_until_it_fails(&server, &["user", "channelstream-bench"]), 1);
}

/// More bytes than a pipe and the queue before it can hold.
#[test]
fn a_reader_that_does_not_read_holds_up_no_signal() {
    let server = Server::start();
    let mut running = Running::start(&server, &BY_DEFAULT, &LISTEN);
    assert!(running.line().contains("opened"));
    let text = "x".repeat(50_000);
    for _ in 0..40 {
        assert_eq!(ask(&server, &["publish", "news", &text, "--quiet"]).code, 0);
    }
    running.signal("TERM");
    assert!(running.ends().success());
    failed(&ask_until_it_fails(&server, &["user", "ann"]), 1);
}

#[test]
fn every_signal_is_a_farewell() {
    for signal in ["HUP", "QUIT", "TERM", "INT"] {
        let server = Server::start();
        let mut running = Running::start(&server, &BY_DEFAULT, &LISTEN);
        assert!(running.line().contains("opened"), "{signal}");
        running.signal(signal);
        assert!(running.ends().success(), "{signal}");
        failed(&ask_until_it_fails(&server, &["user", "ann"]), 1);
    }
}

#[test]
fn who_measures_or_examines_leaves_nobody_behind_after_a_hangup() {
    for (arguments, user) in [
        (&["bench", "--listeners", "3", "--for", "60s"][..], "channelstream-bench"),
        (&["doctor", "--patience", "60s", "--json"], "channelstream-doctor"),
    ] {
        let server = Server::start_with(|config| {
            config.heartbeat_interval = Duration::from_secs(3600);
            config.wake_connections_after = Duration::from_secs(3600);
        });
        let mut running = Running::start(&server, &BY_DEFAULT, arguments);
        wait_for(&server, user);
        running.signal("HUP");
        assert_eq!(running.ends().code(), Some(1), "{user}");
        failed(&ask_until_it_fails(&server, &["user", user]), 1);
    }
}

/// With `nohup` the command outlives its terminal.
#[test]
fn a_hangup_that_is_to_be_ignored_is_ignored() {
    let server = Server::start();
    let before = ["env", "--ignore-signal=HUP"];
    let mut running = Running::start(&server, &before, &[&LISTEN[..], &["--count", "1"]].concat());
    assert!(running.line().contains("opened"));
    running.signal("HUP");
    assert_eq!(ask(&server, &["publish", "news", "still here", "--quiet"]).code, 0);
    let mut rest = String::new();
    running.out.take().unwrap().read_to_string(&mut rest).unwrap();
    assert!(rest.contains("still here"), "{rest}");
    assert!(running.ends().success());
}
