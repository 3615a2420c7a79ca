//! The program under systemd: what it is told, which sockets it takes, how its log says what is urgent, and
//! the units in `deploy/systemd`.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::app::{PATIENCE, Site};
use crate::process::{PROGRAM, Process, quiet};

/// What stands for systemd: the socket that it reads notifications from.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    fn start(&self, flags: &[&str], more: &[(&str, &OsStr)]) -> Process {
        let path = self.folder.path().join("notify");
        let own = [("NOTIFY_SOCKET", path.as_os_str())];
        Process::start_in(flags, &[&own, more].concat())
    }

    /// Reads the next notification, as lines.
    fn next(&self) -> Vec<String> {
        let mut space = [0; 4096];
        let length = self.socket.recv(&mut space).expect("a notification");
        let text = str::from_utf8(&space[..length]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Reads until a notification has this line.
    fn until(&self, line: &str) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let lines = self.next();
            if lines.iter().any(|one| one.starts_with(line)) {
                return lines;
            }
            assert!(begun.elapsed() < PATIENCE, "in vain waited for {line}");
        }
    }
}

#[test]
fn systemd_hears_of_readiness_reloads_life_and_end() {
    let manager = Manager::new();
    let ini = manager.folder.path().join("server.ini");
    std::fs::write(&ini, "[channelstream]\nmax_body_size = 5000\n").unwrap();
    let flags = ["--ini", ini.to_str().unwrap()];
    let watchdog = [("WATCHDOG_USEC", OsStr::new("200000"))];
    let mut server = manager.start(&flags, &watchdog);
    let ready = manager.next();
    assert!(ready.contains(&"READY=1".to_owned()), "the first of all: {ready:?}");
    assert!(ready.contains(&"STATUS=ready, 0 listeners".to_owned()), "{ready:?}");
    for _ in 0..3 {
        manager.until("WATCHDOG=1");
    }

    std::fs::write(&ini, "[channelstream]\nmax_body_size = 6000\n").unwrap();
    server.signal("HUP");
    let reloading = manager.until("RELOADING=1");
    let since = reloading.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(since.is_some_and(|time| time.parse::<u64>().is_ok()), "{reloading:?}");
    assert!(manager.until("READY=1") == ["READY=1"]);
    // A reload that fails is over as well: systemd must not wait for it.
    std::fs::write(&ini, "[channelstream]\nmax_body_size = many\n").unwrap();
    server.signal("HUP");
    manager.until("RELOADING=1");
    manager.until("READY=1");
    server.wait_for("why", |log| log.contains("settings not reloaded").then_some(()));

    server.signal("TERM");
    let stopping = manager.until("STOPPING=1");
    // The default of 10 s, and what else may take its time.
    assert!(stopping.contains(&"EXTEND_TIMEOUT_USEC=25000000".to_owned()), "{stopping:?}");
    assert!(server.ended().success());
}

#[test]
fn a_manager_that_reads_nothing_holds_up_neither_a_reload_nor_the_end() {
    let manager = Manager::new();
    let watchdog = [("WATCHDOG_USEC", OsStr::new("2000"))];
    let mut server = manager.start(&[], &watchdog);
    server.wait_for("a full socket", |log| {
        log.contains("systemd does not read notifications").then_some(())
    });
    assert_eq!(Site(server.address).get("/healthz").status, 200);
    server.signal("HUP");
    server.wait_for("a reload", |log| log.contains("settings reloaded").then_some(()));
    server.signal("TERM");
    assert!(server.ended().success());
}

#[test]
fn without_a_manager_there_is_nobody_to_tell() {
    let mut server = Process::start_in(&[], &[("NOTIFY_SOCKET", OsStr::new("/no/such/socket"))]);
    server.wait_for("a warning", |log| log.contains("systemd cannot be notified").then_some(()));
    assert_eq!(Site(server.address).get("/healthz").status, 200);
    server.signal("TERM");
    assert!(server.ended().success());
}

#[test]
fn sockets_of_systemd_are_served_whatever_host_and_port_say() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let mut server = Process::start_on(tcp, &["--host", "127.0.0.2", "--port", "1"], &[]);
    assert_eq!(server.address, address);
    assert_eq!(Site(address).get("/readyz").status, 200);
    server.signal("TERM");
    assert!(server.ended().success());
    let told = "the settings host and port have no effect";
    assert_eq!(server.log().matches(told).count(), 1, "{}", server.log());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let output = started_on(unix);
    assert!(output.contains(&format!("unix:{}", path.display())), "{output}");
}

/// Starts the program on something that is handed in, lets it end, and returns what it has written.
fn started_on(handed_in: impl Into<OwnedFd>) -> String {
    started_on_some(handed_in, "1")
}

/// The same with another number of sockets.
fn started_on_some(handed_in: impl Into<OwnedFd>, count: &str) -> String {
    let mut shell = Command::new("sh");
    // A server that does start is told to end as soon as it listens.
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$; exec \"$@\"";
    shell.args(["-c", script, "sh", PROGRAM]).env("LISTEN_FDS", count);
    let child = quiet(&mut shell, &["--shutdown-timeout", "1"])
        .stdin(Stdio::from(handed_in.into()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    use std::io::BufRead as _;
    while log.read_line(&mut text).unwrap() > 0 {
        if text.contains("listening on") {
            crate::process::signal(child.id(), "TERM");
        }
    }
    child.wait().unwrap();
    text
}

#[test]
fn what_is_no_listening_socket_is_refused_and_named() {
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(started_on(datagrams).contains("ListenStream="), "datagrams");
    let file = tempfile::tempfile().unwrap();
    assert!(started_on(file).contains("ListenStream="), "a file");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let said = started_on(connected);
    assert!(said.contains("Accept=no"), "a connection: {said}");
    assert!(!said.contains("listening on"), "{said}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let said = started_on_some(listener, "2000000000");
    assert!(said.contains("LISTEN_FDS is larger than 1000"), "{said}");
}

#[test]
fn a_public_socket_of_systemd_needs_secrets_of_its_own() {
    let public = TcpListener::bind("0.0.0.0:0").unwrap();
    let said = started_on(public);
    assert!(said.contains("well-known default") && !said.contains("listening on"), "{said}");
}

#[test]
fn the_journal_of_systemd_learns_how_urgent_a_line_is() {
    let own = "export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2)";
    for (format, of_line) in [("text", " INFO "), ("json", "\"INFO\"")] {
        let flags = ["--log-format", format];
        let server = Process::start_behind(own, &flags);
        let log = server.log();
        let line = log.lines().find(|line| line.contains("listening on")).unwrap();
        assert!(line.starts_with("<6>") && line.contains(of_line), "{line}");
        let line =
            log.lines().find(|line| line.contains("the well-known default is in use")).unwrap();
        assert!(line.starts_with("<4>"), "{line}");
    }
    // Standard error is not what the variable says: somebody has redirected it.
    let server = Process::start_behind("export JOURNAL_STREAM=1:2", &[]);
    assert!(server.log().lines().all(|line| !line.starts_with('<')), "{}", server.log());
}

fn unit(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd").join(name)
}

#[test]
fn the_unit_is_hardened() {
    let service = unit("channelstream-server.service");
    let mut check = Command::new("systemd-analyze");
    // The exposure is below 2.0.
    check.args(["security", "--offline=true", "--threshold=19"]).arg(&service);
    let output = check.output().expect("systemd-analyze");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn systemd_understands_all_of_the_units() {
    for name in ["channelstream-server.service", "channelstream-server.socket"] {
        let mut check = Command::new("systemd-analyze");
        let output = check.arg("verify").arg(unit(name)).output().expect("systemd-analyze");
        let said = String::from_utf8(output.stderr).unwrap();
        let others = said.lines().filter(|line| {
            // The first needs a newer systemd, and the unit says so; the others need an installation.
            !line.contains("ignoring: notify-reload")
                && !line.contains("is not executable")
                && !line.contains("'man channelstream-server(8)' failed")
                && line.contains("channelstream")
        });
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn the_unit_starts_what_there_is_with_settings_that_there_are() {
    let text = std::fs::read_to_string(unit("channelstream-server.service")).unwrap();
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let command: Vec<_> = value("ExecStart=").split(' ').skip(1).collect();
    let [flag, file] = command[..] else { panic!("{command:?}") };
    assert_eq!((flag, file), ("--ini", "/etc/channelstream/server.ini"));
    let state = value("StateDirectory=");
    assert!(text.contains(&format!("journal_dir = /var/lib/{state}/journal")));
    // As many as the defaults need.
    let files: usize = value("LimitNOFILE=").parse().unwrap();
    assert!(files > channelstream_server::Config::default().max_connections + 100);
    // The server ends itself before systemd ends it.
    let seconds: u64 = value("TimeoutStopSec=").parse().unwrap();
    assert!(seconds > channelstream_server::Config::default().shutdown_timeout.as_secs() + 15);
}
