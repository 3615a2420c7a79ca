//! `Journal`: where a server under load keeps its journal, if that is not its own memory.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::peer::Kind;

/// The longest start of Redis.
const START: Duration = Duration::from_secs(10);

/// A folder of files, or a Redis; gone when dropped.
pub(crate) struct Journal {
    folder: TempDir,
    redis: Option<Redis>,
}

/// A `redis-server` of the path, on a free port.
struct Redis {
    child: Child,
    port: u16,
}

impl Journal {
    /// Makes what a kind of server needs.
    pub(crate) fn of(kind: Kind) -> Result<Option<Self>> {
        if !matches!(kind, Kind::File | Kind::Redis) {
            return Ok(None);
        }
        let folder = TempDir::new().context("making a folder")?;
        let redis = (kind == Kind::Redis).then(|| Redis::start(&folder)).transpose()?;
        Ok(Some(Self { folder, redis }))
    }

    /// Returns the flags of a server that uses it.
    pub(crate) fn flags(&self) -> Vec<String> {
        match &self.redis {
            Some(redis) => {
                let url = format!("redis://127.0.0.1:{}", redis.port);
                ["--journal", "redis", "--redis-url", &url].map(str::to_owned).to_vec()
            }
            None => {
                let folder = self.folder.path().display().to_string();
                let flags = ["--journal", "file", "--journal-dir", &folder, "--journal-sync", "1"];
                flags.map(str::to_owned).to_vec()
            }
        }
    }
}

impl Redis {
    /// Starts a Redis that writes its file each second, as docs/operations.md advises.
    fn start(folder: &TempDir) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "everysec"]);
        command.arg("--dir").arg(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let child = command.spawn().context("starting redis-server")?;
        let redis = Self { child, port };
        let begin = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(begin.elapsed() < START, "redis-server does not listen on port {port}");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
