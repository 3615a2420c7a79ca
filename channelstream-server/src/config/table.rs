//! The one table of settings: key, kind, default and meaning. Help, ini file and documentation come from it.
//!
//! Long because it is one table.

use crate::suggest;

/// How the text of a setting is parsed, with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A URL; not shown, because it may have a secret in it.
    Url,
    /// A name or address to listen on.
    Host,
    /// A TCP port.
    Port,
    /// A name or address with a port, or empty.
    Address,
    /// One secret; shown as `***`.
    Secret,
    /// One or more secrets, one a line, newest first; shown as `***`.
    Secrets,
    /// The path of a file that contains the setting whose key is this one without `_file`.
    SecretFile,
    /// Addresses and networks (CIDR), separated by commas or lines.
    Networks,
    /// Texts, separated by commas or lines.
    Texts,
    /// True or false, in any of the words of contract §11.
    Switch,
    /// Empty, `http` or `https`.
    Scheme,
    /// `auto`, `on` or `off`.
    Tutorial,
    /// A level or tracing directives.
    LogLevel,
    /// `text` or `json`.
    LogFormat,
    /// `memory`, `file` or `redis`.
    Journal,
    /// The path of a directory.
    Directory,
    /// The path of a file.
    File,
    /// `always`, `never` or a time above zero.
    JournalSync,
    /// `raise` or `hold`.
    ClusterLevel,
    /// A time above zero: seconds or a number with a unit, decimals allowed.
    Seconds,
    /// A whole number within inclusive bounds.
    Number(usize, usize),
    /// A size in bytes within inclusive bounds.
    Bytes(usize, usize),
}

impl Kind {
    /// The placeholder for the value in `--help`.
    #[must_use]
    pub fn value_name(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Url => "URL",
            Self::Host => "HOST",
            Self::Port => "PORT",
            Self::Address => "HOST:PORT",
            Self::Secret | Self::Secrets => "SECRET",
            Self::SecretFile | Self::File => "FILE",
            Self::Networks => "NETWORKS",
            Self::Texts => "TEXTS",
            Self::Switch => "true|false",
            Self::Scheme => "http|https",
            Self::Tutorial => "auto|on|off",
            Self::LogLevel => "LEVEL",
            Self::LogFormat => "text|json",
            Self::Journal => "memory|file|redis",
            Self::Directory => "DIR",
            Self::JournalSync => "always|never|TIME",
            Self::ClusterLevel => "raise|hold",
            Self::Seconds => "TIME",
            Self::Number(..) => "NUMBER",
            Self::Bytes(..) => "BYTES",
        }
    }

    /// Returns `true` if the value must not be shown.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Secrets)
    }

    /// Returns `true` if the value may have something secret in it, as a password in a URL.
    pub(crate) fn may_hold_secrets(self) -> bool {
        self.is_secret() || self == Self::Url
    }
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The name in the ini file.
    pub key: &'static str,
    /// How its text is parsed.
    pub kind: Kind,
    /// The text that applies if none is given, or an empty one.
    pub default: &'static str,
    /// The meaning, for users.
    pub doc: &'static str,
}

impl Setting {
    /// The other name of the setting, where its key is misleading.
    #[must_use]
    pub fn alias(&self) -> Option<&'static str> {
        ALIASES.iter().find(|(key, _)| *key == self.key).map(|(_, alias)| *alias)
    }

    /// Returns `true` if `name` is the key or the alias.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.key == name || self.alias() == Some(name)
    }

    /// The name of the flag: `--gc-conns-after`.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// The name of the environment variable: `CHANNELSTREAM_GC_CONNS_AFTER`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.key.to_uppercase())
    }
}

/// A heading and the settings under it.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// The heading, for help and documentation.
    pub title: &'static str,
    /// The settings, in the order in which they are shown.
    pub settings: &'static [Setting],
}

/// The prefix of the environment variables (contract §11).
pub const VARIABLE_PREFIX: &str = "CHANNELSTREAM_";

/// The well-known default of `secret` (contract §11).
pub const DEFAULT_SECRET: &str = "secret";

/// The well-known default of `admin_secret` (contract §11).
pub const DEFAULT_ADMIN_SECRET: &str = "admin_secret";

/// More than any machine can hold; sums of limits stay far from overflow.
const MANY: usize = 1_000_000_000;

/// Other names of settings, for keys that are misleading: a key, and its alias.
const ALIASES: [(&str, &str); 2] = [
    ("max_connections", "max_tcp_connections"),
    ("max_connections_per_address", "max_tcp_connections_per_address"),
];

/// Every setting of the server.
pub const GROUPS: &[Group] = &[
    Group {
        title: "Address and permissions",
        settings: &[
            Setting {
                key: "host",
                kind: Kind::Host,
                default: "127.0.0.1",
                doc: "Name or address to listen on; a name is bound on each of its addresses. 0.0.0.0 or :: \
                      listens on all addresses of the machine. unix:/run/server.sock is a unix socket, \
                      to which owner and group may connect.",
            },
            Setting {
                key: "port",
                kind: Kind::Port,
                default: "8000",
                doc: "TCP port to listen on; 0 selects a free one, which the start line reports. A unix \
                      socket has none.",
            },
            Setting {
                key: "tls_cert",
                kind: Kind::File,
                default: "",
                doc: "PEM file with the certificate of the server, then those of its issuers. With it and \
                      `tls_key` the server speaks TLS 1.2 and 1.3 over TCP, and HTTP/2 with clients that \
                      can; a unix socket stays without. Empty: no TLS.",
            },
            Setting {
                key: "tls_key",
                kind: Kind::File,
                default: "",
                doc: "PEM file with the private key of `tls_cert` (PKCS#8, PKCS#1 or SEC1), without a \
                      passphrase. Only the server should be able to read it.",
            },
            Setting {
                key: "threads",
                kind: Kind::Number(1, 64),
                default: "1",
                doc: "Threads that serve requests and listeners; one of them also keeps the state. Use more \
                      than one if one core is not enough, and at most one per core.",
            },
            Setting {
                key: "secret",
                kind: Kind::Secrets,
                default: DEFAULT_SECRET,
                doc: "Secret with which backends sign their requests. One or more, one a line and newest \
                      first; all are accepted, so that secrets can be rotated without downtime.",
            },
            Setting {
                key: "secret_file",
                kind: Kind::SecretFile,
                default: "",
                doc: "File that contains `secret`, in UTF-8; empty lines are ignored.",
            },
            Setting {
                key: "admin_user",
                kind: Kind::Text,
                default: "admin",
                doc: "User name for signing in to the admin pages.",
            },
            Setting {
                key: "admin_secret",
                kind: Kind::Secret,
                default: DEFAULT_ADMIN_SECRET,
                doc: "Password for signing in to the admin pages.",
            },
            Setting {
                key: "admin_secret_file",
                kind: Kind::SecretFile,
                default: "",
                doc: "File that contains `admin_secret`, in UTF-8; line breaks around it are ignored.",
            },
            Setting {
                key: "cookie_secret",
                kind: Kind::Secret,
                default: "",
                doc: "Secret that signs the sign-in cookie, together with user name and password. Empty: a \
                      random one at each start, which signs everybody out. Set it where several servers \
                      share one address.",
            },
            Setting {
                key: "cookie_secret_file",
                kind: Kind::SecretFile,
                default: "",
                doc: "File that contains `cookie_secret`, in UTF-8; line breaks around it are ignored.",
            },
            Setting {
                key: "allow_default_secrets",
                kind: Kind::Switch,
                default: "false",
                doc: "Start on an address that other machines can reach even if `secret` or `admin_secret` \
                      is the well-known default. Anybody can then post and sign in.",
            },
            Setting {
                key: "allow_posting_from",
                kind: Kind::Networks,
                default: "127.0.0.1, ::1",
                doc: "Addresses and networks (CIDR) from which signed requests are accepted, separated by \
                      commas or lines; 0.0.0.0 or :: is any address. Requests from elsewhere have no \
                      permissions. A list with loopback also allows the unix socket.",
            },
            Setting {
                key: "allow_metrics_from",
                kind: Kind::Networks,
                default: "127.0.0.1, ::1",
                doc: "Addresses and networks (CIDR) that may read the metrics at /metrics, separated by \
                      commas or lines; 0.0.0.0 or :: is any address. Others get 403.",
            },
            Setting {
                key: "metrics_addr",
                kind: Kind::Address,
                default: "",
                doc: "Host and port at which the metrics are, such as 10.0.0.5:8001, with a thread of \
                      their own, or a unix socket such as unix:/run/metrics.sock; port 0 selects a free \
                      one. Always without TLS. `allow_metrics_from` counts there. Empty: at the address of \
                      the server.",
            },
            Setting {
                key: "trusted_proxies",
                kind: Kind::Networks,
                default: "",
                doc: "Addresses and networks of reverse proxies. Their X-Forwarded-For is trusted for the \
                      client's address, X-Forwarded-Proto, X-Scheme or X-Url-Scheme for the scheme, \
                      X-Forwarded-Host and X-Forwarded-Port for the host, X-Script-Name for the path prefix. \
                      These headers are ignored from other addresses; while this is empty, loopback \
                      addresses and the unix socket may set the prefix and the scheme of redirects. The \
                      word unix is a proxy that connects to the unix socket.",
            },
            Setting {
                key: "allow_cors",
                kind: Kind::Texts,
                default: "",
                doc: "Origins whose scripts may read answers, each in full as in https://example.com, \
                      separated by commas or lines. Empty: all origins.",
            },
            Setting {
                key: "validate_requests",
                kind: Kind::Switch,
                default: "true",
                doc: "Refuse signatures that are older than 60 seconds. If false, a signature that was ever \
                      intercepted stays valid. Signatures over the whole request always expire.",
            },
            Setting {
                key: "require_signed_bodies",
                kind: Kind::Switch,
                default: "false",
                doc: "Refuse signatures that are not over the whole request, with its body \
                      (X-Channelstream-Signature). `signatures_total` tells which are still in use.",
            },
            Setting {
                key: "strict_requests",
                kind: Kind::Switch,
                default: "false",
                doc: "Handle all requests as if they had the header Prefer: handling=strict: unknown fields \
                      get 422, and answers report messages that reached nobody.",
            },
            Setting {
                key: "enforce_https",
                kind: Kind::Switch,
                default: "false",
                doc: "Answer 406 to requests whose scheme is not https, except on /ws. Behind a proxy this \
                      needs `trusted_proxies`, without one `tls_cert`.",
            },
            Setting {
                key: "http_scheme",
                kind: Kind::Scheme,
                default: "",
                doc: "Scheme of the URLs in redirects. Empty: that of the request.",
            },
            Setting {
                key: "tutorial",
                kind: Kind::Tutorial,
                default: "auto",
                doc: "Who can use the tutorial at / as a backend. auto: users signed in to the admin pages, \
                      and browsers on this machine while the server listens on loopback only and `secret` is \
                      the default. on: everybody who can reach the server, so that anybody can post. off: \
                      nobody, and / is a 404.",
            },
        ],
    },
    Group {
        title: "Logs",
        settings: &[
            Setting {
                key: "log_level",
                kind: Kind::LogLevel,
                default: "INFO",
                doc: "DEBUG, INFO, WARNING, ERROR or CRITICAL in any case, or tracing directives such as \
                      `info,channelstream_server=trace`.",
            },
            Setting {
                key: "log_format",
                kind: Kind::LogFormat,
                default: "text",
                doc: "Format of the lines on standard error: text for people, json for machines.",
            },
            Setting {
                key: "access_log",
                kind: Kind::Switch,
                default: "false",
                doc: "Log a line at info for each request when it is finished, of a websocket or stream at its \
                      end: number, peer, method, path without the query, status, bytes, milliseconds, \
                      protocol, and the ids of `traceparent`. Successful /healthz, /readyz and /metrics \
                      are left out. If false, all of these lines are at debug.",
            },
            Setting {
                key: "debug",
                kind: Kind::Switch,
                default: "false",
                doc: "Accepted for files of Channelstream 0.7; has no effect.",
            },
        ],
    },
    Group {
        title: "Timeouts and expiry",
        settings: &[
            Setting {
                key: "heartbeat_interval",
                kind: Kind::Seconds,
                default: "5",
                doc: "Seconds between two heartbeats on an open socket. Keep it below the idle timeout of \
                      every proxy in between.",
            },
            Setting {
                key: "ping_interval",
                kind: Kind::Seconds,
                default: "25",
                doc: "Seconds of silence on an open socket after which the server sends a ping; checked with \
                      each heartbeat.",
            },
            Setting {
                key: "ping_timeout",
                kind: Kind::Seconds,
                default: "20",
                doc: "Seconds within which the client must answer a ping with anything. After that the \
                      socket is closed (close code 1008) and its connection waits for another listener. A \
                      socket that reads nothing of what waits for it is closed after `ping_interval` plus \
                      this time, whatever it sends.",
            },
            Setting {
                key: "wake_connections_after",
                kind: Kind::Seconds,
                default: "5",
                doc: "Seconds after which a poll without messages is answered.",
            },
            Setting {
                key: "sse_retry",
                kind: Kind::Seconds,
                default: "3",
                doc: "Seconds after which an EventSource opens `/sse` again when its stream has ended.",
            },
            Setting {
                key: "gc_conns_after",
                kind: Kind::Seconds,
                default: "15",
                doc: "Seconds after which a connection (`conn_id`) without a listener expires.",
            },
            Setting {
                key: "gc_waiting_conns_after",
                kind: Kind::Seconds,
                default: "300",
                doc: "Seconds after which a connection without a socket or poll that is in no channel \
                      expires.",
            },
            Setting {
                key: "gc_users_after",
                kind: Kind::Seconds,
                default: "86400",
                doc: "Seconds after which a user without activity is removed, with its state.",
            },
            Setting {
                key: "gc_channels_after",
                kind: Kind::Seconds,
                default: "259200",
                doc: "Seconds after which a channel without members and activity is removed, with its \
                      settings and history.",
            },
            Setting {
                key: "recovery_window",
                kind: Kind::Seconds,
                default: "600",
                doc: "Seconds for which the membership of a user in a channel is remembered after its \
                      connections expired. A client that comes back within this time with a cursor receives \
                      the stored events that it missed.",
            },
            Setting {
                key: "shutdown_timeout",
                kind: Kind::Seconds,
                default: "10",
                doc: "Seconds that a shutdown takes at most after SIGTERM, SIGINT or SIGQUIT. Running \
                      requests get half of it before listeners are closed.",
            },
            Setting {
                key: "drain_rate",
                kind: Kind::Number(1, MANY),
                default: "2000",
                doc: "Listeners that a shutdown closes per second, so that they do not reconnect all at \
                      once; more if half of the remaining time is too short for that.",
            },
            Setting {
                key: "test_clock",
                kind: Kind::Switch,
                default: "false",
                doc: "For tests: POST /test/advance lets time pass, so that what expires does so at once. The \
                      server starts with it only on a loopback address, with the well-known default of \
                      `secret` and with the journal in memory.",
            },
        ],
    },
    Group { title: "Journal", settings: super::journal::SETTINGS },
    Group { title: "Growing messages", settings: super::growing::SETTINGS },
    Group { title: "Webhooks", settings: super::webhooks::SETTINGS },
    Group {
        title: "Request limits",
        settings: &[
            Setting {
                key: "max_head_size",
                kind: Kind::Bytes(8192, MANY),
                default: "16384",
                doc: "Bytes of request line and headers; 431 above. With HTTP/2 each header counts 32 bytes more.",
            },
            Setting {
                key: "head_timeout",
                kind: Kind::Seconds,
                default: "30",
                doc: "Seconds within which the head of a request must be complete, counted from the previous \
                      answer. After that, an idle TCP connection is closed. Also the time for a TLS handshake.",
            },
            Setting {
                key: "max_body_size",
                kind: Kind::Bytes(1, MANY),
                default: "1048576",
                doc: "Bytes of a request body; 413 above.",
            },
            Setting {
                key: "body_timeout",
                kind: Kind::Seconds,
                default: "30",
                doc: "Seconds within which a request body must be complete; 408 after.",
            },
            Setting {
                key: "answer_timeout",
                kind: Kind::Seconds,
                default: "30",
                doc: "Seconds within which a client must read some of an answer that waits for it, and at \
                      least 1 KiB per second over time; after that its TCP connection is reset, or with HTTP/2 \
                      its stream. For sockets see `ping_timeout`.",
            },
            Setting {
                key: "max_json_depth",
                kind: Kind::Number(1, 127),
                default: "64",
                doc: "Levels of nested lists and objects in a body; 400 above.",
            },
            Setting {
                key: "max_json_elements",
                kind: Kind::Number(1, MANY),
                default: "100000",
                doc: "Values of any kind in a body; 400 above.",
            },
            Setting {
                key: "max_client_message",
                kind: Kind::Bytes(1, MANY),
                default: "1048576",
                doc: "Bytes of a message that a browser sends over its socket; close code 1009 above.",
            },
        ],
    },
    Group {
        title: "Server limits",
        settings: &[
            Setting {
                key: "max_connections",
                kind: Kind::Number(1, MANY),
                default: "50000",
                doc: "Open TCP connections; further ones get 503. Each needs a file descriptor. Also named \
                      `max_tcp_connections`; connections in the sense of `conn_id` are not limited.",
            },
            Setting {
                key: "max_connections_per_address",
                kind: Kind::Number(1, MANY),
                default: "1000",
                doc: "Open TCP connections from one address or one IPv6 network of 64 bits; further ones get \
                      503. Loopback addresses and `trusted_proxies` are not counted. Also named \
                      `max_tcp_connections_per_address`.",
            },
            Setting {
                key: "max_requests_per_address",
                kind: Kind::Number(1, MANY),
                default: "2000",
                doc: "Requests from one address (as above) within ten seconds; further ones get 429. \
                      Loopback addresses, `trusted_proxies` and `allow_posting_from` are not counted.",
            },
            Setting {
                key: "max_listeners",
                kind: Kind::Number(1, MANY),
                default: "50000",
                doc: "Open sockets, event streams and polls; further ones get 503.",
            },
            Setting {
                key: "stored_frames",
                kind: Kind::Number(0, MANY),
                default: "100",
                doc: "Events that each channel stores for clients that come back; `frames_size` of a channel \
                      says otherwise.",
            },
            Setting {
                key: "stored_private_frames",
                kind: Kind::Number(0, MANY),
                default: "50",
                doc: "Private events that are stored for each user.",
            },
            Setting {
                key: "stored_bytes",
                kind: Kind::Bytes(1, MANY),
                default: "16777216",
                doc: "Bytes of the events that each channel, and each user, stores. The newest event and \
                      messages that grow are stored whatever their size.",
            },
            Setting {
                key: "outbox_frames",
                kind: Kind::Number(1, MANY),
                default: "1000",
                doc: "Events that may wait for one slow listener. Above that a listener with a cursor reads on \
                      from the stored events as fast as it can; another one is closed, and receives what it \
                      missed when it reconnects.",
            },
            Setting {
                key: "outbox_bytes",
                kind: Kind::Bytes(1, MANY),
                default: "1048576",
                doc: "Bytes that may wait for one slow listener; a single event always fits.",
            },
            Setting {
                key: "idempotency_window",
                kind: Kind::Seconds,
                default: "600",
                doc: "Seconds for which the answer to a signed request with `Idempotency-Key` is kept; a \
                      repeat gets it again and changes nothing.",
            },
            Setting {
                key: "max_idempotency_keys",
                kind: Kind::Number(1, MANY),
                default: "100000",
                doc: "Answers that are kept for repeats; above that the oldest are forgotten.",
            },
            Setting {
                key: "max_idempotency_bytes",
                kind: Kind::Bytes(1, MANY),
                default: "67108864",
                doc: "Bytes of answers that are kept for repeats; above that the oldest are forgotten. An \
                      answer that alone is larger is not kept.",
            },
            Setting {
                key: "max_nonces",
                kind: Kind::Number(1, MANY),
                default: "1000000",
                doc: "Signatures over whole requests that are remembered for about a minute, so that none \
                      counts twice; 503 above. Each takes about 40 bytes.",
            },
            Setting {
                key: "max_failed_sign_ins",
                kind: Kind::Number(1, MANY),
                default: "10",
                doc: "Failed sign-ins to the admin pages from one address within `failed_sign_ins_window`; \
                      429 above.",
            },
            Setting {
                key: "failed_sign_ins_window",
                kind: Kind::Seconds,
                default: "300",
                doc: "Seconds during which a failed sign-in counts.",
            },
        ],
    },
];

/// Every setting, in the order of [`GROUPS`].
pub fn settings() -> impl Iterator<Item = &'static Setting> + Clone {
    GROUPS.iter().flat_map(|group| group.settings)
}

/// The setting with this key or alias.
#[must_use]
pub fn setting(name: &str) -> Option<&'static Setting> {
    settings().find(|setting| setting.is_named(name))
}

/// Returns the one of these settings that was probably meant by `key`, if one is similar enough.
pub(super) fn nearest_of(
    key: &str,
    mut known: impl Iterator<Item = &'static Setting> + Clone,
) -> Option<&'static Setting> {
    let key = key.to_lowercase().replace('-', "_");
    let near = suggest::nearest(&key, known.clone().map(|setting| setting.key))?;
    known.find(|setting| setting.key == near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_lower_case() {
        let mut keys: Vec<_> = settings().map(|setting| setting.key).collect();
        assert!(keys.iter().all(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
        keys.sort_unstable();
        let count = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn aliases_are_other_names_of_settings() {
        for (key, alias) in ALIASES {
            assert_eq!(setting(alias).map(|setting| setting.key), Some(key));
            assert!(settings().all(|setting| setting.key != alias), "{alias}");
            assert!(setting(key).is_some_and(|setting| setting.doc.contains(alias)), "{alias}");
        }
    }

    #[test]
    fn every_secret_has_a_file_and_every_file_a_secret() {
        for setting in settings() {
            if setting.kind.is_secret() {
                let file = super::setting(&format!("{}_file", setting.key));
                assert_eq!(file.map(|file| file.kind), Some(Kind::SecretFile), "{}", setting.key);
            }
            if setting.kind == Kind::SecretFile {
                let secret = setting.key.strip_suffix("_file").and_then(super::setting);
                assert!(secret.is_some_and(|secret| secret.kind.is_secret()), "{}", setting.key);
            }
        }
    }

    #[test]
    fn misspelt_keys_find_their_setting_and_foreign_ones_none() {
        for (typed, meant) in [
            ("prot", "port"),
            ("PORT", "port"),
            ("secrets", "secret"),
            ("trusted_proxy", "trusted_proxies"),
            ("gc-conns-after", "gc_conns_after"),
            ("allow_post_from", "allow_posting_from"),
            ("loglevel", "log_level"),
        ] {
            let near = nearest_of(typed, settings());
            assert_eq!(near.map(|near| near.key), Some(meant), "{typed}");
        }
        for typed in ["demo", "signature_checker", "x", "", "pyramid.includes"] {
            assert_eq!(nearest_of(typed, settings()), None, "{typed}");
        }
    }
}
