//! A Redis of its own on a free port and in a folder of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What Redis does with its disk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Disk {
    None,
    EverySecond,
    Always,
}

/// A Redis, killed when dropped.
pub(crate) struct Redis {
    pub(crate) port: u16,
    child: Option<Child>,
    folder: TempDir,
    flags: Vec<String>,
}

/// Returns a port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Sends a command to what listens on a port. Returns all of its answer; nothing if there is none.
pub(crate) fn ask_all(port: u16, parts: &[&str]) -> String {
    let answer = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(format!("{}\r\n", parts.join(" ")).as_bytes()).ok()?;
        // The answer ends where the connection does.
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    answer().unwrap_or_default()
}

impl Redis {
    pub(crate) fn start(disk: Disk, flags: &[&str]) -> Self {
        let mut redis = Self::stopped(disk, flags);
        redis.start_again();
        redis
    }

    /// The place of a Redis that is started later.
    pub(crate) fn stopped(disk: Disk, flags: &[&str]) -> Self {
        let disk: &[&str] = match disk {
            Disk::None => &[],
            Disk::EverySecond => &["--appendonly", "yes", "--appendfsync", "everysec"],
            Disk::Always => &["--appendonly", "yes", "--appendfsync", "always"],
        };
        let flags = disk.iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
        Self { port: free_port(), child: None, folder: TempDir::new().unwrap(), flags }
    }

    /// A sentinel that alone decides, soon, about a master.
    pub(crate) fn sentinel(master: &Self) -> Self {
        let mut sentinel = Self::stopped(Disk::None, &["--sentinel"]);
        let conf = sentinel.folder.path().join("sentinel.conf");
        let master = format!(
            "sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 1000\n\
             sentinel failover-timeout main 3000\n",
            master.port
        );
        std::fs::write(&conf, master).unwrap();
        sentinel.flags.insert(0, conf.display().to_string());
        sentinel.start_again();
        sentinel
    }

    pub(crate) fn start_again(&mut self) {
        let log = File::create(self.folder.path().join("log")).unwrap();
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        let has = |wanted: &str| self.flags.iter().any(|flag| flag == wanted);
        command.args(&self.flags).args(["--port", &port]);
        if !has("--bind") {
            command.args(["--bind", "127.0.0.1"]);
        }
        if !has("--sentinel") {
            command.args(["--save", ""]);
        }
        command.arg("--dir").arg(self.folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let is_up = |answer: String| answer == "+PONG" || answer.starts_with("-NOAUTH");
        let begun = Instant::now();
        while !self.ask(&["PING"]).is_some_and(is_up) {
            assert!(begun.elapsed() < Duration::from_secs(20), "Redis does not start");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Kills it, and takes its disk away.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        self.folder = TempDir::new().unwrap();
    }

    /// Cuts the end off what it has on disk, as a power cut would. It has to be killed.
    pub(crate) fn forget(&self, bytes: u64) {
        let folder = self.folder.path().join("appendonlydir");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let newest = files.filter(|path| path.display().to_string().ends_with(".incr.aof")).max();
        let file = File::options().write(true).open(newest.unwrap()).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - bytes.min(length / 2)).unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Sends a command. Returns its answer, of one line, if there is one.
    pub(crate) fn ask(&self, parts: &[&str]) -> Option<String> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        (&stream).write_all(format!("{}\r\n", parts.join(" ")).as_bytes()).ok()?;
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next()?.ok()?;
        // The length of a text is before it.
        if first.starts_with('$') { lines.next()?.ok() } else { Some(first) }
    }

    /// Sends a command. Returns all of its answer; nothing if there is none.
    pub(crate) fn ask_all(&self, parts: &[&str]) -> String {
        ask_all(self.port, parts)
    }

    /// Sends a command. Returns all texts of its answer, in their order; none if there is no answer.
    pub(crate) fn texts(&self, parts: &[&str]) -> Vec<String> {
        fn take(lines: &mut impl Iterator<Item = String>, texts: &mut Vec<String>) -> Option<()> {
            let line = lines.next()?;
            match (line.get(..1)?, line.get(1..)?.parse()) {
                ("*", Ok(count)) => (0..count).try_for_each(|_: i64| take(lines, texts))?,
                ("$", Ok(0..)) => texts.push(lines.next()?),
                ("$", _) => {}
                _ => texts.push(line[1..].to_owned()),
            }
            Some(())
        }
        let mut texts = Vec::new();
        let asked = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(format!("{}\r\n", parts.join(" ")).as_bytes())?;
            Ok(stream)
        });
        if let Ok(stream) = asked {
            take(&mut BufReader::new(stream).lines().map_while(Result::ok), &mut texts);
        }
        texts
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // A stopped process is killed as well. It fails only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
