//! `Peer`: the process under load, and the requests to connect, listen and publish.

use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use channelstream_signer::TimestampSigner;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::journal::Journal;
use crate::process::Process;
use crate::transport::{Tls, Transport};

/// The server, or one of the yardsticks that it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// The server with its default settings.
    Server,
    /// The server with a journal in files that is brought to disk each second.
    File,
    /// The server with a journal in a Redis of its own.
    Redis,
    /// A yardstick that only writes each frame to each listener at once.
    Limit1,
    /// A yardstick that keeps a log per channel, and writes all pending frames to a listener together.
    Log,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::File => "file",
            Self::Redis => "redis",
            Self::Limit1 => "limit1",
            Self::Log => "log",
        }
    }

    fn is_yardstick(self) -> bool {
        matches!(self, Self::Limit1 | Self::Log)
    }
}

/// The secret of the server: its default does not count for requests with another host.
const SECRET: &str = "the secret of the load";

/// The longest time until a server follows its journal.
const READY: Duration = Duration::from_secs(30);

/// A new process of one kind.
pub(crate) struct Peer {
    kind: Kind,
    pub(crate) process: Process,
    signer: TimestampSigner,
    command: Command,
    _journal: Option<Journal>,
    tls: Option<Tls>,
}

impl Peer {
    /// Starts a process. Only the server receives `flags`.
    pub(crate) fn start(kind: Kind, server: &PathBuf, flags: &[&str]) -> Result<Self> {
        Self::start_with(kind, server, flags, None)
    }

    /// Starts a process for listeners of one kind.
    pub(crate) fn start_for(transport: Transport, kind: Kind, server: &PathBuf) -> Result<Self> {
        let tls = if transport == Transport::Tls { Some(Tls::new()?) } else { None };
        Self::start_with(kind, server, &[], tls)
    }

    fn start_with(kind: Kind, server: &PathBuf, flags: &[&str], tls: Option<Tls>) -> Result<Self> {
        let journal = Journal::of(kind)?;
        let mut command = if kind.is_yardstick() {
            let mut command = Command::new(
                std::env::current_exe().context("the path of this program is unknown")?,
            );
            command.args(["--yardstick", kind.name()]);
            command
        } else {
            let mut command = Command::new(server);
            command.args(["--port", "0"]).args(flags);
            command.args(journal.iter().flat_map(Journal::flags));
            command.args(tls.iter().flat_map(Tls::flags));
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("CHANNELSTREAM_") {
                    command.env_remove(name);
                }
            }
            command.env("CHANNELSTREAM_SECRET", SECRET);
            command
        };
        let process = Process::start(&mut command)?;
        let signer = TimestampSigner::new(SECRET);
        let peer = Self { kind, process, signer, command, _journal: journal, tls };
        if kind == Kind::Redis {
            peer.wait_until_ready()?;
        }
        Ok(peer)
    }

    /// Opens a connection.
    pub(crate) fn open(&self) -> Result<Connection> {
        Connection::open(self.process.address, self.tls.as_ref())
    }

    /// Waits until the server follows a journal that it has to find first.
    fn wait_until_ready(&self) -> Result<()> {
        let begin = Instant::now();
        let probe = b"GET /readyz HTTP/1.1\r\nhost: bench\r\n\r\n";
        while let Err(error) = self.open()?.call(probe) {
            ensure!(begin.elapsed() < READY, "it does not follow its journal: {error}");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Stops the process as an operator does, and starts it again on its journal.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.process.stop()?;
        self.process = Process::start(&mut self.command)?;
        Ok(())
    }

    /// Returns the request that connects a listener, as a user of its own in one channel. Returns
    /// `None` for yardsticks, which need none.
    pub(crate) fn connect(&self, number: usize, channel: usize) -> Option<Vec<u8>> {
        let body = json!({
            "username": format!("user{number}"),
            "conn_id": conn_id(number),
            "channels": [name(channel)],
            "info": {"include_history": false, "include_users": false},
        });
        (!self.kind.is_yardstick()).then(|| self.signed("POST", "/connect", &body))
    }

    /// Returns the request by which a listener listens.
    pub(crate) fn listen(&self, transport: Transport, number: usize, channel: usize) -> Vec<u8> {
        let endpoint = match transport {
            Transport::WebSocket | Transport::Tls => "ws",
            Transport::EventStream => "sse",
            Transport::LongPoll => "listen",
        };
        let path = match self.kind {
            Kind::Limit1 | Kind::Log => format!("/{channel}"),
            _ => format!("/{endpoint}?conn_id={}", conn_id(number)),
        };
        let upgrade = match transport {
            Transport::WebSocket | Transport::Tls => {
                "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
            Transport::EventStream | Transport::LongPoll => "",
        };
        format!("GET {path} HTTP/1.1\r\nhost: bench\r\n{upgrade}\r\n").into_bytes()
    }

    /// Returns the request that publishes the messages with these numbers, each with a text of `size`
    /// bytes. Yardsticks send all messages of a request to the channel of the first.
    pub(crate) fn publish(&self, ids: Range<usize>, channels: usize, size: usize) -> Vec<u8> {
        if !self.kind.is_yardstick() {
            let message = |id: usize| {
                let text = text(id, size);
                json!({"channel": name(id % channels), "user": "bench", "message": {"text": text}})
            };
            return self.signed("POST", "/message", &ids.map(message).collect());
        }
        let channel = ids.start % channels;
        let body = ids.map(|id| text(id, size)).collect::<Vec<_>>().join("\n");
        format!("POST /{channel} HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    }

    /// Returns a signed request to the server, as a backend sends it.
    pub(crate) fn signed(&self, method: &str, path: &str, body: &Value) -> Vec<u8> {
        let body = body.to_string();
        format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
             x-channelstream-secret: {}\r\ncontent-length: {}\r\n\r\n{body}",
            self.signer.sign(path),
            body.len()
        )
        .into_bytes()
    }
}

/// Returns the id of a listener's connection.
fn conn_id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// Returns the name of a channel under load.
pub(crate) fn name(channel: usize) -> String {
    format!("channel{channel}")
}

/// The byte before and after the number in a message's text. It occurs nowhere else in a frame.
pub(crate) const MARK: u8 = b'!';

/// The number of digits of a message's number.
pub(crate) const DIGITS: usize = 8;

/// Returns a text of `size` bytes that contains the number of its message.
fn text(id: usize, size: usize) -> String {
    let mut text = format!("!{id:0DIGITS$}!");
    while text.len() < size {
        text.push('x');
    }
    text
}
