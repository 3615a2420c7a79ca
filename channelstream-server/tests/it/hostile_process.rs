//! What happens to the process: a log that nobody reads, signals, too few files, many addresses.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::{Line, Request, Site, eventually, numbers};
use crate::process::{PROGRAM, Process, ended, quiet, signal};

/// Killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The number behind a text in the debug text of a server.
fn figure(site: Site, name: &str) -> u64 {
    let text = site.send(&Request::new("GET", "/admin/debug").signed()).body;
    let (_, rest) = text.split_once(&format!("\n{name}: ")).unwrap();
    rest.split(['\n', ' ']).next().unwrap().parse().unwrap()
}

/// Sends requests that cause long log lines at `debug`, until a number of them were dropped.
fn fill_the_log(site: Site, dropped: u64) {
    let long = format!("/{}", "x".repeat(8000));
    let mut line = Line::open(site.0);
    eventually("log lines are dropped", || {
        (0..50).for_each(|_| assert_eq!(line.send(&Request::new("GET", &long)).status, 404));
        figure(site, "log_lines_dropped_total") >= dropped
    });
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    stops_nothing_unread(&["--log-level", "debug", "--shutdown-timeout", "300"]);
}

#[test]
fn an_access_log_that_nobody_reads_stops_nothing() {
    stops_nothing_unread(&["--access-log", "true", "--shutdown-timeout", "300"]);
}

fn stops_nothing_unread(flags: &[&str]) {
    /// What the memory may differ by for other reasons. The lines of the flood are several times as much.
    const SLACK: u64 = 16 * 1024 * 1024;
    let mut command = Command::new(PROGRAM);
    quiet(&mut command, flags);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut process = Killed(child);
    let mut log = BufReader::new(process.0.stderr.take().unwrap());
    let address: SocketAddr = loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).unwrap(), 0);
        if let Some((_, rest)) = line.split_once("listening on http://") {
            break rest.split(';').next().unwrap().parse().unwrap();
        }
    };
    let site = Site(address);
    let mut socket = site.socket(&site.connect("alice", &["room"]));
    fill_the_log(site, 10);
    let before = figure(site, "process_resident_memory_bytes");
    fill_the_log(site, 10_000);
    let grown = figure(site, "process_resident_memory_bytes").saturating_sub(before);
    assert!(grown < SLACK, "the lines that are not read wait: {grown} bytes more");

    // When it is read again, it reports the dropped lines.
    let (told, tells) = mpsc::channel();
    let (go_on, going_on) = mpsc::channel::<()>();
    let reader = thread::spawn(move || {
        let (mut line, mut lines) = (String::new(), Vec::new());
        while log.read_line(&mut line).unwrap() > 0 {
            lines.push(std::mem::take(&mut line));
            if lines.last().unwrap().contains("log lines dropped") {
                told.send(lines.last().unwrap().clone()).unwrap();
                going_on.recv().unwrap();
            }
        }
        lines
    });
    let line = tells.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(line.contains("WARN") && line.contains("dropped="), "{line}");

    // While the log is not read again, the server still handles signals and ends.
    fill_the_log(site, figure(site, "log_lines_dropped_total") + 10);
    site.publish("room", 1);
    signal(process.0.id(), "TERM");
    assert_eq!(numbers(&[socket.event()]), [1]);
    assert_eq!(socket.closed(), Some(1001));
    drop(socket);
    assert_eq!(ended(&mut process.0, || "the log is not read".to_owned()).code(), Some(0));
    drop(go_on);
    drop(reader.join());
}

/// A standard error that takes nothing, and what keeps it open.
fn full() -> (Stdio, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    while theirs.write(&[b'x'; 1024]).is_ok() {}
    theirs.set_nonblocking(false).unwrap();
    (OwnedFd::from(theirs).into(), ours)
}

#[test]
fn a_full_standard_error_holds_neither_the_start_nor_the_end() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    let port = address.port().to_string();
    let start = || {
        let (stderr, reader) = full();
        let mut command = Command::new(PROGRAM);
        let command = quiet(&mut command, &["--port", &port]).stdout(Stdio::null());
        (Killed(command.stderr(stderr).spawn().unwrap()), reader)
    };
    let nothing = || "nothing is logged".to_owned();
    let (mut refused, _reader) = start();
    assert_eq!(ended(&mut refused.0, nothing).code(), Some(1), "the port is taken");
    drop(free);
    let (mut process, _reader) = start();
    eventually("it listens", || TcpStream::connect(address).is_ok());
    signal(process.0.id(), "TERM");
    assert_eq!(ended(&mut process.0, nothing).code(), Some(0));
}

#[test]
fn no_line_is_lost_at_the_end_where_the_log_is_read() {
    let mut process = Process::start(&["--log-level", "debug"]);
    let mut line = Line::open(process.address);
    (0..500).for_each(|_| assert_eq!(line.send(&Request::new("GET", "/nowhere")).status, 404));
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0));
    let log = process.log();
    assert_eq!(log.matches("/nowhere").count(), 500);
    assert!(log.trim_end().ends_with("stopped"), "{}", &log[log.len() - 500..]);
}

#[test]
fn no_everyday_signal_cuts_sockets() {
    let mut process = Process::start(&["--log-level", "debug"]);
    let site = Site(process.address);
    let mut socket = site.socket(&site.connect("alice", &["room"]));
    for (name, told, number) in [
        ("HUP", "settings reloaded; changed: none", 1),
        ("USR1", "SIGUSR1 ignored", 2),
        ("USR2", "SIGUSR2 ignored", 3),
    ] {
        process.signal(name);
        process.wait_for(told, |log| log.contains(told).then_some(()));
        site.publish("room", number);
        assert_eq!(numbers(&[socket.event()]), [number]);
    }
    process.signal("QUIT");
    assert_eq!(socket.closed(), Some(1001));
    drop(socket);
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second, code) in [("TERM", "TERM", 143), ("INT", "INT", 130), ("TERM", "INT", 130)]
    {
        let mut process = Process::start(&["--shutdown-timeout", "300", "--body-timeout", "300"]);
        let message = json!([{"user": "x", "channel": "room", "message": {"n": 1}}]);
        let request = Request::call("/message", &message).header("expect", "100-continue").bytes();
        let mut posting = Line::open(process.address);
        posting.write(&request[..request.len() - 5]);
        // From here on the server waits for the rest of the body.
        assert_eq!(posting.answer(true).unwrap().status, 100);
        process.signal(first);
        process.wait_for("the shutdown", |log| log.contains("shutting down").then_some(()));
        process.signal("HUP");
        process.wait_for("the other signal", |log| log.contains("SIGHUP").then_some(()));
        process.signal(second);
        assert_eq!(process.ended().code(), Some(code), "{}", process.log());
        let told = format!("SIG{second} during the shutdown: stopped at once");
        assert!(process.log().contains(&told), "{}", process.log());
    }
}

#[test]
fn a_name_is_listened_on_at_all_of_its_addresses() {
    let mut process = Process::start(&["--host", "localhost"]);
    let port = process.address.port();
    let log = process.log();
    for address in ("localhost", port).to_socket_addrs().unwrap() {
        // A machine may have the name without the address.
        if TcpListener::bind((address.ip(), 0)).is_ok() {
            assert_eq!(Site(address).get("/admin/sign_in").status, 200, "{address}");
            assert!(log.contains(&format!("http://{address}")), "{address}: {log}");
        }
    }
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn the_limit_of_files_is_raised_and_told_of_where_it_is_too_low() {
    const TOLD: &str = "this process may open";
    let limits = "ulimit -Hn 300; ulimit -Sn 40";
    let process = Process::start_behind(limits, &["--max-connections", "200"]);
    assert!(!process.log().contains(TOLD), "{}", process.log());
    let crowd: Vec<_> = (0..60).map(|_| TcpStream::connect(process.address).unwrap()).collect();
    assert_eq!(Site(process.address).get("/admin/sign_in").status, 200);
    drop(crowd);
    let process = Process::start_behind("ulimit -n 200", &["--max-connections", "200"]);
    let told = format!("{TOLD} 200 files, but max_connections = 200 needs 248");
    assert!(process.log().contains(&told), "{}", process.log());
}

#[cfg(target_os = "linux")]
#[test]
fn accepting_that_fails_is_told_once_until_it_works_again() {
    const FAILS: &str = "cannot accept connections";
    const WORKS: &str = "accepting connections again";
    let process = Process::start_behind("ulimit -n 40", &["--max-connections", "1000"]);
    let mut first = Line::open(process.address);
    assert_eq!(first.send(&Request::new("GET", "/admin/sign_in")).status, 200);
    // The system takes connections for the server until it accepts them.
    let crowd: Vec<_> = (0..60).map(|_| TcpStream::connect(process.address).unwrap()).collect();
    process.wait_for(FAILS, |log| log.contains(FAILS).then_some(()));
    // In this time it is tried many times.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(first.send(&Request::new("GET", "/admin/sign_in")).status, 200);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(process.log().matches(FAILS).count(), 1, "{}", process.log());
    drop(crowd);
    eventually("it works again", || {
        assert_eq!(Site(process.address).get("/admin/sign_in").status, 200);
        process.log().contains(WORKS)
    });
    let log = process.log();
    assert_eq!((log.matches(FAILS).count(), log.matches(WORKS).count()), (1, 1), "{log}");
    let (_, rest) = log.split_once("failures=").unwrap();
    let failures: u64 = rest.split_whitespace().next().unwrap().parse().unwrap();
    assert!(failures > 1, "{log}");
}

#[test]
fn secrets_that_others_can_find_out_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.txt");
    std::fs::write(&secret, "0123456789abcde\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let secret = secret.to_str().unwrap();
    let flags = ["--secret-file", secret];
    let told = [format!("chmod 600 {secret}"), "secret has fewer than 16 characters".to_owned()];

    let process = Process::start(&flags);
    let mut command = Command::new(PROGRAM);
    command.args(["config", "check"]).args(flags);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut checked = String::new();
    child.stderr.take().unwrap().read_to_string(&mut checked).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{checked}");
    for log in [process.log(), checked] {
        for told in &told {
            assert_eq!(log.matches(told).count(), 1, "{told}: {log}");
        }
        assert!(!log.contains("0123"), "{log}");
    }
}
