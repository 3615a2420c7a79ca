//! A real nginx in front of servers, configured as docs/operations.md shows it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const OPERATIONS: &str = include_str!("../../../docs/operations.md");
/// A port that is free may be taken by others before nginx has it.
const ATTEMPTS: usize = 10;
/// Each client that listens has two: its own, and one to a server.
const LINES: usize = 10_000;

/// The example of docs/operations.md.
pub(crate) fn example() -> String {
    block(1)
}

/// The n-th block for nginx of docs/operations.md.
pub(crate) fn block(number: usize) -> String {
    let text = OPERATIONS.split("```nginx\n").nth(number).unwrap();
    let (text, _) = text.split_once("```").unwrap();
    text.to_owned()
}

/// The example with a text in it replaced.
#[track_caller]
pub(crate) fn example_with(old: &str, new: &str) -> String {
    let text = example();
    assert!(text.contains(old), "the example has no `{old}`");
    text.replace(old, new)
}

/// Ends when it is dropped.
pub(crate) struct Nginx {
    pub(crate) port: u16,
    process: Child,
    _folder: TempDir,
}

impl Nginx {
    /// By a text like the example, which stands in the context `http`, before the server at
    /// this address. `listen` stands behind the port: ` ssl; ...`, or nothing.
    pub(crate) fn before(upstream: &str, text: &str, listen: &str) -> Self {
        let (port_80, example) = ("listen 80;", "http://127.0.0.1:8000");
        assert!(text.contains(port_80) && text.contains(example), "{text}");
        let text = text.replace(example, upstream);
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let address = format!("listen 127.0.0.1:{port}{listen};");
            if let Some(nginx) = Self::run(&text.replace(port_80, &address), port) {
                return nginx;
            }
        }
        panic!("nginx found no free port");
    }

    /// Waits until it listens; nothing if its port is taken.
    fn run(text: &str, port: u16) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let path = folder.path();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {}/{what};", path.display()));
        let config = format!(
            "daemon off; master_process off; pid {0}/pid; events {{ worker_connections {LINES}; }}\n\
             http {{ access_log off; {1}\n{text}\n}}\n",
            path.display(),
            temporary.join(" ")
        );
        fs::write(path.join("nginx.conf"), config).unwrap();
        let log = path.join("error.log");
        let mut process = Command::new(program())
            .arg("-p")
            .arg(path)
            .arg("-e")
            .arg(&log)
            .args(["-c", "nginx.conf"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need nginx: `cargo xtask test` installs it");
        let begun = Instant::now();
        // The file comes after the port is bound.
        while !fs::read_to_string(path.join("pid")).is_ok_and(|pid| !pid.is_empty()) {
            if process.try_wait().unwrap().is_some() {
                let told = fs::read_to_string(&log).unwrap_or_default();
                assert!(told.contains("Address already in use"), "nginx ended: {told}");
                return None;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "nginx does not begin");
            sleep(Duration::from_millis(10));
        }
        Some(Self { port, process, _folder: folder })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// Debian has it where the searches of ordinary users don't look.
fn program() -> &'static Path {
    let usual = Path::new("/usr/sbin/nginx");
    if usual.exists() { usual } else { Path::new("nginx") }
}
