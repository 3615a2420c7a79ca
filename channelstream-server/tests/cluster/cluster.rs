//! Three servers on one Redis, and what is asked of all of them.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::app::{Request, Site, eventually, numbered};
use crate::process::Process;
use crate::redis::Redis;

/// Servers with one journal.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Process>,
    url: String,
    flags: Vec<String>,
    /// The logs of those that have ended and were replaced.
    past: Vec<String>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// It was answered that nothing was done.
    NotDone,
    /// It is in doubt, or there was no answer.
    Unknown,
}

/// Starts a server on a Redis.
pub(crate) fn start(redis: &Redis, flags: &[&str]) -> Process {
    start_at(&redis.url(), flags)
}

pub(crate) fn start_at(url: &str, flags: &[&str]) -> Process {
    let own = ["--journal", "redis", "--redis-url", url, "--shutdown-timeout", "1"];
    Process::start(&[&own, flags].concat())
}

impl Cluster {
    /// Starts three servers, and waits until all of them follow the journal.
    pub(crate) fn start(redis: &Redis) -> Self {
        Self::start_at(&redis.url())
    }

    pub(crate) fn start_at(url: &str) -> Self {
        Self::start_with(url, &[])
    }

    pub(crate) fn start_with(url: &str, flags: &[&str]) -> Self {
        let cluster = Self::of((0..3).map(|_| start_at(url, flags)).collect(), url, flags);
        cluster.ready();
        cluster
    }

    /// Servers that were started, with what starts one of them again.
    pub(crate) fn of(servers: Vec<Process>, url: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self { servers, url: url.to_owned(), flags, past: Vec::new() }
    }

    pub(crate) fn kill(&mut self, index: usize) {
        self.servers[index].signal("KILL");
        self.servers[index].ended();
    }

    /// Starts a server in the place of one that has ended.
    pub(crate) fn start_again(&mut self, index: usize) {
        let port = self.servers[index].address.port().to_string();
        let flags = self.flags.iter().map(String::as_str).chain(["--port", &port]);
        let log = self.servers[index].log();
        self.past.push(format!("--- the server at port {port}, which has ended\n{log}"));
        self.servers[index] = start_at(&self.url, &flags.collect::<Vec<_>>());
    }

    pub(crate) fn ready(&self) {
        for server in &self.servers {
            ready(server);
        }
    }

    pub(crate) fn site(&self, index: usize) -> Site {
        Site(self.servers[index % self.servers.len()].address)
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    /// Makes a channel keep all its messages.
    pub(crate) fn keep_all(&self, channel: &str) {
        let all = json!({"store_history": true, "history_size": 100_000,
            "store_frames": true, "frames_size": 100_000, "notify_presence": true});
        self.site(0).configure(channel, &all);
    }

    /// Returns the numbers that a channel shows, which all servers have to agree on, as on all else.
    pub(crate) fn agreed(&self, channel: &str) -> Vec<u64> {
        let info = json!({"info": {"channels": [channel], "include_history": true,
            "include_connections": true, "include_users": true}});
        let of = |server: &Process| Site(server.address).call("/info", &info);
        let (mut answer, mut all) = (of(&self.servers[0]), Vec::new());
        // Connections come and go meanwhile.
        eventually("all servers answer the same", || {
            answer = of(&self.servers[0]);
            all = self.servers.iter().map(of).collect();
            all.iter().all(|one| *one == answer)
        });
        let history = answer["channels"][channel]["history"].as_array();
        let numbers = history.into_iter().flatten().map(|message| message["message"]["n"].as_u64());
        numbers.map(Option::unwrap).collect()
    }

    /// Returns the sum of a figure over all servers.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        self.servers.iter().map(|server| figures(server)[name].as_u64().unwrap()).sum()
    }

    /// Returns the logs of all servers there were.
    pub(crate) fn logs(&self) -> String {
        let log =
            |server: &Process| format!("--- the server at {}\n{}", server.address, server.log());
        let present = self.servers.iter().map(log);
        self.past.iter().cloned().chain(present).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn kill_all(&mut self) {
        for index in 0..self.servers.len() {
            self.kill(index);
        }
    }
}

/// Returns the figures of a server, which it has whatever Redis does.
pub(crate) fn figures(server: &Process) -> Value {
    Site(server.address).send(&Request::new("GET", "/admin/stats.json").signed()).ok()["metrics"]
        .take()
}

/// Returns how a server stands to the journal.
pub(crate) fn standing(server: &Process) -> String {
    let state = figures(server)["journal_state"].take();
    let state = state.as_object().unwrap().iter().find(|(_, is_so)| **is_so == 1);
    state.unwrap().0.clone()
}

/// Waits until a server follows the journal.
pub(crate) fn ready(server: &Process) {
    eventually("it follows the journal", || standing(server) == "following");
}

/// Publishes a number to a server that may end or be without Redis.
pub(crate) fn publish(address: SocketAddr, channel: &str, number: u64) -> Outcome {
    use std::io::{Read as _, Write as _};
    let answer = || {
        let mut stream = std::net::TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(crate::app::PATIENCE)).ok()?;
        let request = Request::call("/message", &numbered(channel, number));
        stream.write_all(&request.header("connection", "close").bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        String::from_utf8(answer).ok()
    };
    match answer() {
        Some(answer) if answer.starts_with("HTTP/1.1 200 ") => Outcome::Done,
        Some(answer) if answer.contains("not_done") => {
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.to_lowercase().contains("retry-after: 1"), "{answer}");
            Outcome::NotDone
        }
        Some(answer) => {
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503 "), "{answer}");
            Outcome::Unknown
        }
        None => Outcome::Unknown,
    }
}
