//! Who is under load, and how it is asked to connect, to listen and to publish.

use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use channelstream_signer::TimestampSigner;
use serde_json::{Value, json};

use crate::process::Process;

/// The server, or a yardstick beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// The server in its default settings.
    Server,
    /// Writes each frame to each listener at once, and does nothing else.
    Limit1,
    /// Keeps one log, and writes to each listener all that is due at once.
    Log,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Limit1 => "limit1",
            Self::Log => "log",
        }
    }
}

/// A fresh process of one kind.
pub(crate) struct Peer {
    kind: Kind,
    pub(crate) process: Process,
    signer: TimestampSigner,
}

impl Peer {
    /// Starts one. `flags` are the server's.
    pub(crate) fn start(kind: Kind, server: &PathBuf, flags: &[&str]) -> Result<Self> {
        let mut command = if kind == Kind::Server {
            let mut command = Command::new(server);
            command.args(["--port", "0"]).args(flags);
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("CHANNELSTREAM_") {
                    command.env_remove(name);
                }
            }
            command
        } else {
            let mut command = Command::new(std::env::current_exe().context("we have no path")?);
            command.args(["--yardstick", kind.name()]);
            command
        };
        let process = Process::start(&mut command)?;
        Ok(Self { kind, process, signer: TimestampSigner::new("secret") })
    }

    /// The request that must go before listening, if there is one: a user of its own for each
    /// listener, in one channel.
    pub(crate) fn connect(&self, number: usize, channel: usize) -> Option<Vec<u8>> {
        let body = json!({
            "username": format!("user{number}"),
            "conn_id": connection(number),
            "channels": [name(channel)],
            "info": {"include_history": false, "include_users": false},
        });
        (self.kind == Kind::Server).then(|| self.signed("POST", "/connect", &body))
    }

    /// The request that makes a line the websocket of a listener.
    pub(crate) fn listen(&self, number: usize, channel: usize) -> Vec<u8> {
        let path = match self.kind {
            Kind::Server => format!("/ws?conn_id={}", connection(number)),
            Kind::Limit1 | Kind::Log => format!("/{channel}"),
        };
        format!(
            "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .into_bytes()
    }

    /// The request that publishes messages of some numbers, each with a text of `size` bytes. The
    /// yardsticks take those of one request to the channel of the first.
    pub(crate) fn publish(&self, ids: Range<usize>, channels: usize, size: usize) -> Vec<u8> {
        if self.kind == Kind::Server {
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

    /// A signed request to the server, as a backend sends it.
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

/// The id of a listener's connection.
fn connection(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// The name of a channel under load.
pub(crate) fn name(channel: usize) -> String {
    format!("channel{channel}")
}

/// The bytes around the number of a message in its text; nothing else in a frame holds it.
pub(crate) const MARK: u8 = b'!';

/// Digits of the number.
pub(crate) const DIGITS: usize = 8;

/// A text of `size` bytes that tells the number of its message.
fn text(id: usize, size: usize) -> String {
    let mut text = format!("!{id:0DIGITS$}!");
    while text.len() < size {
        text.push('x');
    }
    text
}
