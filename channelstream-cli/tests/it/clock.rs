//! A program whose clock differs from that of the server, which is a real one with the right time.
//!
//! A preloaded shim in C shifts the program's clock.

use std::process::Command;

use tempfile::TempDir;

use crate::doctor::{doctor, findings, server};
use crate::program::{command, end, failed, printed};

/// The compiled shim, which is removed with its folder.
fn shim() -> TempDir {
    let folder = TempDir::new().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clock.c");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", source, "-ldl", "-o"])
        .arg(folder.path().join("clock.so"))
        .output()
        .expect("this test needs a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

/// Returns the program with a clock that is ahead by this many seconds.
fn shifted(mut command: Command, shim: &TempDir, seconds: i64) -> Command {
    command.env("LD_PRELOAD", shim.path().join("clock.so"));
    command.env("CLOCK_SHIFT", seconds.to_string());
    command
}

/// Checks the number before ` s behind` or the like. It may be a few seconds off on a busy machine.
#[track_caller]
fn is_reported(text: &str, seconds: u64, way: &str) {
    let (before, _) = text.split_once(&format!(" s {way}")).unwrap_or_else(|| panic!("{text}"));
    let reported: u64 = before.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(reported.abs_diff(seconds) <= 5, "{text}");
}

#[test]
fn a_clock_behind_the_servers_is_named() {
    let (server, shim) = (server(), shim());
    let ended = end(&mut shifted(command(&server, &["info"]), &shim, -3600));
    let (what, _) = failed(&ended, 1);
    assert!(what.contains(": signature refused; this machine's clock is 3"), "{what}");
    is_reported(what, 3600, "behind");
    let found = findings(&mut shifted(doctor(&server.url, &[]), &shim, -3600));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0][1], "clock");
    is_reported(&found[0][2], 3600, "behind");
    assert_eq!(
        (found[1][1].as_str(), found[1][2].contains("clocks so far apart")),
        ("signature", true)
    );
}

/// A skew below a minute is neither refused nor reported.
#[test]
fn a_clock_a_little_behind_does_no_harm() {
    let (server, shim) = (server(), shim());
    printed(end(&mut shifted(command(&server, &["info", "--quiet"]), &shim, -40)));
}

/// The server accepts signatures from the future. Others may not, so `doctor` reports the skew.
#[test]
fn a_clock_ahead_of_the_servers() {
    let (server, shim) = (server(), shim());
    printed(end(&mut shifted(command(&server, &["info", "--quiet"]), &shim, 3600)));
    let found = findings(&mut shifted(doctor(&server.url, &[]), &shim, 3600));
    let [[status, check, text]] = &found[..] else { panic!("{found:?}") };
    assert_eq!((status.as_str(), check.as_str()), ("fault", "clock"));
    is_reported(text, 3600, "ahead");
}
