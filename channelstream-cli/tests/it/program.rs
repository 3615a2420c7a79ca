//! The program, run to its end.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::server::{SECRET, Server};

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Returns the program with these arguments, and an environment without variables that affect it.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_channelstream"));
    command.args(arguments).stdin(Stdio::null());
    // The configuration of the user that runs the tests must not be read.
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    for (name, _) in std::env::vars_os() {
        let upper = name.to_string_lossy().to_uppercase();
        if upper.starts_with("CHANNELSTREAM_") || upper.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    command
}

/// Returns the program with these arguments for this server.
pub(crate) fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = program(arguments);
    command.env("CHANNELSTREAM_URL", &server.url).env("CHANNELSTREAM_SECRET", SECRET);
    command
}

/// Runs the program for this server.
pub(crate) fn ask(server: &Server, arguments: &[&str]) -> Ended {
    end(&mut command(server, arguments))
}

/// Runs the program until it fails, since the server may need a moment.
pub(crate) fn ask_until_it_fails(server: &Server, arguments: &[&str]) -> Ended {
    let begun = Instant::now();
    loop {
        let ended = ask(server, arguments);
        if ended.code != 0 {
            return ended;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", ended.out);
        sleep(Duration::from_millis(50));
    }
}

pub(crate) fn end(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code().expect("the program ends by itself"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the program with these arguments.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    end(&mut program(arguments))
}

/// Returns the output of a run that succeeded and wrote nothing to standard error.
#[track_caller]
pub(crate) fn printed(ended: Ended) -> String {
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    ended.out
}

/// Returns the output of `publish`, which may warn that nobody listens.
#[track_caller]
pub(crate) fn published(ended: Ended) -> String {
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(["", "0 listeners, stored\n"].contains(&&*ended.err), "{}", ended.err);
    ended.out
}

/// Returns the error and the hint of a run that failed with this code and without output.
#[track_caller]
pub(crate) fn failed(ended: &Ended, code: i32) -> (&str, Option<&str>) {
    assert_eq!((ended.code, ended.out.as_str()), (code, ""), "{}", ended.err);
    let mut lines = ended.err.lines();
    let what = lines.next().unwrap().strip_prefix("channelstream: ").unwrap();
    let hint = lines.next().map(|line| line.strip_prefix("hint: ").unwrap());
    assert_eq!(lines.next(), None, "{}", ended.err);
    (what, hint)
}
