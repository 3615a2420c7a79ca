//! The server under the storm: a process with short times and small bounds, and its figures.

use std::env;
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use channelstream_signer::TimestampSigner;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::wire::{Line, PATIENCE, Site};

/// Such that within seconds stalled clients are closed, and what is left behind is collected.
const FLAGS: [&str; 10] = [
    "--host=127.0.0.1",
    "--port=0",
    "--outbox-frames=200",
    "--outbox-bytes=150000",
    "--heartbeat-interval=1",
    "--wake-connections-after=1",
    "--gc-conns-after=2",
    "--gc-waiting-conns-after=2",
    "--gc-users-after=2",
    "--gc-channels-after=2",
];

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    output: NamedTempFile,
}

impl Server {
    pub(crate) fn start(threads: u64) -> Self {
        let program = env::var_os("CHANNELSTREAM_STORM_SERVER")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_channelstream-server").into());
        let output = NamedTempFile::new().unwrap();
        let mut command = Command::new(program);
        command.args(FLAGS).args(["--threads", &threads.to_string()]).stdin(Stdio::null());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CHANNELSTREAM_") {
                command.env_remove(name);
            }
        }
        command.stdout(output.reopen().unwrap()).stderr(output.reopen().unwrap());
        let child = command.spawn().unwrap();
        let mut server = Self { child, address: ([127, 0, 0, 1], 0).into(), output };
        let begun = Instant::now();
        loop {
            let log = server.log();
            let found = log.split_once("listening on http://").and_then(|(_, rest)| {
                let (address, _) = rest.split_once(';')?;
                address.parse().ok()
            });
            if let Some(address) = found {
                server.address = address;
                return server;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not start:\n{log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// All that it has written so far.
    pub(crate) fn log(&self) -> String {
        let mut bytes = Vec::new();
        self.output.reopen().unwrap().read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The server with a signature that is good for a minute.
    pub(crate) fn site(&self) -> Site {
        let signature = TimestampSigner::new("secret").sign("/storm");
        Site { address: self.address, signature }
    }

    /// Waits until all are gone: connections, listeners, users and channels.
    pub(crate) fn drained(&self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let figures: Value = serde_json::from_slice(&self.get("/admin/admin.json")).unwrap();
            let names = ["total_connections", "unique_user_count", "remembered_user_count"];
            let left =
                names.into_iter().chain(["total_channels"]).map(|name| (name, &figures[name]));
            let left: Vec<_> = left.filter(|(_, count)| **count != 0).collect();
            let debug = String::from_utf8(self.get("/admin/debug")).unwrap();
            if left.is_empty() && debug.contains("\ntcp_connections: 1\nlisteners: 0\n") {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{left:?}\n{debug}"));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut line = Line::open(self.address).await.unwrap();
            let (status, body) = line.request(&self.site(), "GET", path, "").await.unwrap();
            assert_eq!(status, 200, "{path}: {}", body.escape_ascii());
            body
        })
    }

    /// Memory in bytes, with its share of what it shares.
    pub(crate) fn memory(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
