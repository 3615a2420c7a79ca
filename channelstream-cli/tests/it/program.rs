//! The program, run to its end.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::server::{SECRET, Server};

/// What is left of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program, with nothing in its environment that it or its HTTP client would look at.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_channelstream"));
    command.args(arguments).stdin(Stdio::null());
    // No configuration of whoever runs the tests.
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    for (name, _) in std::env::vars_os() {
        let upper = name.to_string_lossy().to_uppercase();
        if upper.starts_with("CHANNELSTREAM_") || upper.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    command
}

/// The program, for this server.
pub(crate) fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = program(arguments);
    command.env("CHANNELSTREAM_URL", &server.url).env("CHANNELSTREAM_SECRET", SECRET);
    command
}

/// Runs it for this server.
pub(crate) fn ask(server: &Server, arguments: &[&str]) -> Ended {
    end(&mut command(server, arguments))
}

/// The first time that it fails, which the server may need a moment for.
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

/// Runs it with these arguments.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    end(&mut program(arguments))
}

/// What it printed, if it succeeded without a word on standard error.
#[track_caller]
pub(crate) fn printed(ended: Ended) -> String {
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    ended.out
}

/// What `publish` prints; that nobody listens yet may be said beside it.
#[track_caller]
pub(crate) fn published(ended: Ended) -> String {
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(["", "0 listeners, stored\n"].contains(&&*ended.err), "{}", ended.err);
    ended.out
}

/// The line that says what failed and the hint, if it failed as it should: with this code and
/// without any output.
#[track_caller]
pub(crate) fn failed(ended: &Ended, code: i32) -> (&str, Option<&str>) {
    assert_eq!((ended.code, ended.out.as_str()), (code, ""), "{}", ended.err);
    let mut lines = ended.err.lines();
    let what = lines.next().unwrap().strip_prefix("channelstream: ").unwrap();
    let hint = lines.next().map(|line| line.strip_prefix("hint: ").unwrap());
    assert_eq!(lines.next(), None, "{}", ended.err);
    (what, hint)
}
