//! The servers under the storm: a process with short times and small bounds, or several servers on one
//! journal inside the test; and their figures.

use std::cell::RefCell;
use std::convert::Infallible;
use std::env;
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use channelstream_server::{Config, SharedJournal};
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::sync::oneshot;

use crate::dice::Dice;
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

/// The same for servers inside the test.
fn config(threads: u64) -> Config {
    let second = Duration::from_secs(1);
    Config {
        port: 0,
        outbox_frames: 200,
        outbox_bytes: 150_000,
        heartbeat_interval: second,
        wake_connections_after: second,
        gc_conns_after: 2 * second,
        gc_waiting_conns_after: 2 * second,
        gc_users_after: 2 * second,
        gc_channels_after: 2 * second,
        threads: usize::try_from(threads).unwrap(),
        ..Config::default()
    }
}

/// What the clients meet.
pub(crate) enum Server {
    Process(Process),
    Nodes(Vec<Node>),
}

/// A running server; killed when dropped.
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
    output: NamedTempFile,
}

/// One of several servers on one journal, which ends when it is dropped.
pub(crate) struct Node {
    address: SocketAddr,
    /// Dropping it lets the server drain.
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Node {
    fn start(journal: &SharedJournal, threads: u64) -> Self {
        let journal = journal.clone();
        let (ready, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let config = config(threads);
                let server = channelstream_server::Server::bind_on(config, &journal).await.unwrap();
                ready.send(server.local_addr().unwrap()).unwrap();
                server.run(async { drop(stopped.await) }).await.unwrap();
            });
        });
        Self { address: address.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop = None;
        // Whatever it failed of was told.
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

impl Server {
    /// Starts a server as a process, or several of them on one journal.
    pub(crate) fn start(nodes: u64, threads: u64) -> Self {
        if nodes == 1 {
            return Self::Process(Process::start(threads));
        }
        let journal = SharedJournal::new();
        Self::Nodes((0..nodes).map(|_| Node::start(&journal, threads)).collect())
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Process(process) => vec![process.address],
            Self::Nodes(nodes) => nodes.iter().map(|node| node.address).collect(),
        }
    }

    /// All that a process has written so far.
    pub(crate) fn log(&self) -> String {
        match self {
            Self::Process(process) => process.log(),
            Self::Nodes(_) => String::new(),
        }
    }

    /// The memory of a process in bytes, with its share of what it shares.
    pub(crate) fn memory(&self) -> Option<u64> {
        match self {
            Self::Process(process) => Some(process.memory()),
            Self::Nodes(_) => None,
        }
    }

    /// The servers for clients.
    pub(crate) fn site(&self, dice: Dice) -> Site {
        Site { addresses: self.addresses(), dice: RefCell::new(dice), breaks: false }
    }

    /// Waits until all are gone: connections, listeners, users and channels.
    pub(crate) fn drained(&self) -> Result<(), String> {
        self.addresses().into_iter().try_for_each(drained)
    }
}

impl Process {
    fn start(threads: u64) -> Self {
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

    fn log(&self) -> String {
        let mut bytes = Vec::new();
        self.output.reopen().unwrap().read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn memory(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drained(address: SocketAddr) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let figures: Value = serde_json::from_slice(&get(address, "/admin/admin.json")).unwrap();
        let names = ["total_connections", "unique_user_count", "remembered_user_count"];
        let left = names.into_iter().chain(["total_channels"]).map(|name| (name, &figures[name]));
        let left: Vec<_> = left.filter(|(_, count)| **count != 0).collect();
        let debug = String::from_utf8(get(address, "/admin/debug")).unwrap();
        if left.is_empty() && debug.contains("\ntcp_connections: 1\nlisteners: 0\n") {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{left:?}\n{debug}"));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut line = Line::open(address).await.unwrap();
        let (status, body) = line.request("GET", path, "").await.unwrap();
        assert_eq!(status, 200, "{path}: {}", body.escape_ascii());
        body
    })
}
