//! A clock that differs from the server's, which is a real server with the right time.
//!
//! The program gets its time from a shim in C before the system's library.

use std::process::Command;

use tempfile::TempDir;

use crate::doctor::{doctor, server, told};
use crate::program::{command, end, failed, printed};

/// The shim; it is gone with the folder.
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

/// The program, whose clock is ahead by so many seconds.
fn shifted(mut command: Command, shim: &TempDir, seconds: i64) -> Command {
    command.env("LD_PRELOAD", shim.path().join("clock.so"));
    command.env("CLOCK_SHIFT", seconds.to_string());
    command
}

/// The number before ` s behind` or the like, which may be a few seconds off on a busy machine.
#[track_caller]
fn is_told(text: &str, seconds: u64, way: &str) {
    let (before, _) = text.split_once(&format!(" s {way}")).unwrap_or_else(|| panic!("{text}"));
    let told: u64 = before.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(told.abs_diff(seconds) <= 5, "{text}");
}

#[test]
fn a_clock_behind_the_servers_is_named() {
    let (server, shim) = (server(), shim());
    let ended = end(&mut shifted(command(&server, &["info"]), &shim, -3600));
    let (what, _) = failed(&ended, 1);
    assert!(what.contains(": signature refused; this machine's clock is 3"), "{what}");
    is_told(what, 3600, "behind");
    let told = told(&mut shifted(doctor(&server.url, &[]), &shim, -3600));
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0][1], "clock");
    is_told(&told[0][2], 3600, "behind");
    assert_eq!(
        (told[1][1].as_str(), told[1][2].contains("clocks so far apart")),
        ("signature", true)
    );
}

/// Within a minute nothing is refused, and nothing said.
#[test]
fn a_clock_a_little_behind_does_no_harm() {
    let (server, shim) = (server(), shim());
    printed(end(&mut shifted(command(&server, &["info", "--quiet"]), &shim, -40)));
}

/// The server takes signatures of the future; others may not, so the doctor tells.
#[test]
fn a_clock_ahead_of_the_servers() {
    let (server, shim) = (server(), shim());
    printed(end(&mut shifted(command(&server, &["info", "--quiet"]), &shim, 3600)));
    let told = told(&mut shifted(doctor(&server.url, &[]), &shim, 3600));
    let [[status, check, text]] = &told[..] else { panic!("{told:?}") };
    assert_eq!((status.as_str(), check.as_str()), ("fault", "clock"));
    is_told(text, 3600, "ahead");
}
