//! The settings of the journal.

use std::path::PathBuf;
use std::time::Duration;

use super::read::Reader;
use super::secret::Secret;
use super::table::{Kind, Setting};

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        key: "journal",
        kind: Kind::Journal,
        default: "memory",
        doc: "Where the server keeps its state. memory: it ends with the process. file: in the files of \
              `journal_dir`, so that a restart goes on where the server stopped. redis: in the Redis of \
              `redis_url`, which several servers share, and are one server by it.",
    },
    Setting {
        key: "journal_dir",
        kind: Kind::Directory,
        default: "",
        doc: "Directory of the journal, which one server has for itself; made if its parent exists. It \
              holds ids of connections and messages, and needs a few times the size of the state.",
    },
    Setting {
        key: "journal_sync",
        kind: Kind::JournalSync,
        default: "always",
        doc: "When what was written is brought to disk. always: before a request is answered, so that a \
              power cut loses nothing that was answered. A number of seconds: at least that often. never: \
              when the operating system does it. Only a power cut or a crash of the operating system \
              makes a difference, not the end of the process.",
    },
    Setting {
        key: "redis_url",
        kind: Kind::Secret,
        default: "",
        doc: "Where the Redis of the journal is: redis://HOST:PORT, with USER:PASSWORD@ before the host if \
              it asks for them; rediss:// with TLS; unix:///PATH; or redis+sentinel://HOST:PORT/MASTER \
              to ask sentinels, several with commas between. Redis 7.0 or newer, or Valkey 7.2 or newer.",
    },
    Setting {
        key: "redis_url_file",
        kind: Kind::SecretFile,
        default: "",
        doc: "File that contains `redis_url`.",
    },
    Setting {
        key: "redis_tls_cert",
        kind: Kind::File,
        default: "",
        doc: "File with the certificate that this server shows to a Redis that asks clients for one, in \
              PEM, with those of authorities between behind it. It needs TLS and `redis_tls_key`.",
    },
    Setting {
        key: "redis_tls_key",
        kind: Kind::File,
        default: "",
        doc: "File with the private key of `redis_tls_cert`, in PEM.",
    },
    Setting {
        key: "redis_name",
        kind: Kind::Text,
        default: "channelstream",
        doc: "The name before all keys in Redis. Servers with the same name are one server.",
    },
    Setting {
        key: "redis_replicas",
        kind: Kind::Number(0, 16),
        default: "0",
        doc: "How many replicas of Redis have to confirm a request before it is answered. If fewer do so \
              within a second, the answer is that it is in doubt.",
    },
    Setting {
        key: "redis_timeout",
        kind: Kind::Seconds,
        default: "5",
        doc: "How long a request waits for Redis before it is answered that it was not done, or is in \
              doubt.",
    },
    Setting {
        key: "cluster_level",
        kind: Kind::ClusterLevel,
        default: "raise",
        doc: "Whether the journal may be raised to the next level of what it holds, which releases before \
              cannot read. raise: as soon as all servers run a release that knows it. hold: not as long as \
              any server has this, so that all of them can go back a release.",
    },
];

/// Whether the level of the journal may be raised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClusterLevel {
    /// Once all servers know the next one.
    #[default]
    Raise,
    /// Not as long as this server is one of them.
    Hold,
}

/// Where the server keeps its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Journal {
    /// In memory. It ends with the process.
    #[default]
    Memory,
    /// In files, from which the next process goes on.
    File {
        /// The directory, which one server has for itself.
        directory: PathBuf,
        /// When what was written is brought to disk.
        sync: JournalSync,
    },
    /// In Redis, which several servers share.
    Redis(RedisJournal),
}

/// A journal in Redis, which several servers share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisJournal {
    /// Where Redis is, as the setting `redis_url` says it.
    pub url: Secret,
    /// What the server shows to a Redis that asks clients for certificates.
    pub identity: Option<RedisIdentity>,
    /// The name before all keys.
    pub name: String,
    /// How many replicas have to confirm a request before it is answered.
    pub replicas: usize,
    /// How long a request waits for Redis.
    pub timeout: Duration,
}

/// What a server shows to a Redis that asks clients for certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisIdentity {
    /// The certificate in PEM, with those of authorities between behind it.
    pub certificate: String,
    /// Its private key in PEM.
    pub key: Secret,
}

/// When the files of a journal are brought to disk. Only a power cut or a crash of the operating system
/// makes a difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JournalSync {
    /// Before a request is answered.
    #[default]
    Always,
    /// At least this often.
    Every(Duration),
    /// When the operating system does it, and when a file is full.
    Never,
}

impl Reader<'_> {
    pub(super) fn cluster_level(&mut self) -> ClusterLevel {
        let words = [("raise", ClusterLevel::Raise), ("hold", ClusterLevel::Hold)];
        let level = self.word("cluster_level", &words);
        let found = self.find("journal");
        let in_memory = found.text.is_ok_and(|text| text.trim().eq_ignore_ascii_case("memory"));
        if in_memory && level == ClusterLevel::Hold {
            let found = self.find("cluster_level");
            self.refuse(&found, "it has no effect without journal = file or redis");
        }
        level
    }

    /// Returns the journal that the settings together name.
    pub(super) fn journal(&mut self) -> Journal {
        let words = [("memory", Where::Memory), ("file", Where::File), ("redis", Where::Redis)];
        let place = self.word("journal", &words);
        let directory = self.text("journal_dir");
        let sync = self.journal_sync("journal_sync");
        let url = self.secret("redis_url");
        let identity = self.redis_identity();
        let name = self.text("redis_name");
        let (replicas, timeout) = (self.number("redis_replicas"), self.seconds("redis_timeout"));
        for (keys, owner) in [
            (&["journal_dir", "journal_sync"][..], Where::File),
            (
                &[
                    "redis_url",
                    "redis_tls_cert",
                    "redis_tls_key",
                    "redis_name",
                    "redis_replicas",
                    "redis_timeout",
                ],
                Where::Redis,
            ),
        ] {
            for key in keys {
                let found = self.find(key);
                let is_given = found.text.is_ok_and(|text| text.trim() != found.setting.default);
                if is_given && owner != place && self.is_right("journal") && self.is_right(key) {
                    let word = if owner == Where::File { "file" } else { "redis" };
                    self.refuse(&found, format!("it has no effect without journal = {word}"));
                }
            }
        }
        match place {
            Where::Memory => Journal::Memory,
            Where::File => {
                if directory.is_empty() {
                    let found = self.find("journal");
                    self.refuse(&found, "it needs journal_dir");
                }
                Journal::File { directory: directory.into(), sync }
            }
            Where::Redis => {
                if url.is_none() {
                    let found = self.find("journal");
                    self.refuse(&found, "it needs redis_url");
                }
                if name.is_empty() || name.contains(['{', '}', ' ']) {
                    let found = self.find("redis_name");
                    self.refuse(&found, "it is empty, or has a blank or braces");
                }
                let url = url.unwrap_or_else(|| Secret::new(""));
                Journal::Redis(RedisJournal { url, identity, name, replicas, timeout })
            }
        }
    }
}

impl Reader<'_> {
    fn redis_identity(&mut self) -> Option<RedisIdentity> {
        let (certificate, key) = self.certificate_and_key(["redis_tls_cert", "redis_tls_key"])?;
        Some(RedisIdentity { certificate, key })
    }
}

/// The word of the setting `journal`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Memory,
    File,
    Redis,
}
