//! The one table of settings: key, kind, default and meaning, from which help, ini file and docs/settings.md come.

/// How the text of a setting is read, with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A name or address to listen on.
    Host,
    /// A TCP port.
    Port,
    /// One secret; shown as `***`.
    Secret,
    /// Secrets, one a line, newest first; shown as `***`.
    Secrets,
    /// The path of a file that holds the setting named by the key without `_file`.
    SecretFile,
    /// Addresses and networks (CIDR), by commas or lines.
    Networks,
    /// Texts, by commas or lines.
    Texts,
    /// True or false, in the words of contract §11.
    Switch,
    /// Empty, `http` or `https`.
    Scheme,
    /// `auto`, `on` or `off`.
    Tutorial,
    /// A level or tracing directives.
    LogLevel,
    /// `text` or `json`.
    LogFormat,
    /// A time of more than zero: seconds, or a number with its unit, both with decimals.
    Seconds,
    /// A whole number within bounds, both included.
    Number(usize, usize),
    /// A size in bytes within bounds, both included.
    Bytes(usize, usize),
}

impl Kind {
    /// What stands for the value in `--help`.
    #[must_use]
    pub fn value_name(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Host => "HOST",
            Self::Port => "PORT",
            Self::Secret | Self::Secrets => "SECRET",
            Self::SecretFile => "FILE",
            Self::Networks => "NETWORKS",
            Self::Texts => "TEXTS",
            Self::Switch => "true|false",
            Self::Scheme => "http|https",
            Self::Tutorial => "auto|on|off",
            Self::LogLevel => "LEVEL",
            Self::LogFormat => "text|json",
            Self::Seconds => "TIME",
            Self::Number(..) => "NUMBER",
            Self::Bytes(..) => "BYTES",
        }
    }

    /// Whether the value must not be shown.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Secrets)
    }
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The name, as in the ini file.
    pub key: &'static str,
    /// How its text is read.
    pub kind: Kind,
    /// The text that counts when nobody gives one, or an empty one.
    pub default: &'static str,
    /// What it does, for users.
    pub doc: &'static str,
}

impl Setting {
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
    /// The heading, for help and docs/settings.md.
    pub title: &'static str,
    /// Its settings, in the order in which they are shown.
    pub settings: &'static [Setting],
}

/// How the names of the environment variables begin (contract §11).
pub const VARIABLE_PREFIX: &str = "CHANNELSTREAM_";

/// The well-known default of `secret` (contract §11).
pub const DEFAULT_SECRET: &str = "secret";

/// The well-known default of `admin_secret` (contract §11).
pub const DEFAULT_ADMIN_SECRET: &str = "admin_secret";

/// More than any machine holds; keeps sums of limits far from overflow.
const MANY: usize = 1_000_000_000;

/// Every setting of the server.
pub const GROUPS: &[Group] = &[
    Group {
        title: "Address and rights",
        settings: &[
            Setting {
                key: "host",
                kind: Kind::Host,
                default: "127.0.0.1",
                doc: "Name or address to listen on, a name at each of its addresses; 0.0.0.0 or :: \
                      for all addresses of the machine.",
            },
            Setting {
                key: "port",
                kind: Kind::Port,
                default: "8000",
                doc: "TCP port to listen on; 0 takes any free one, which the start line names.",
            },
            Setting {
                key: "threads",
                kind: Kind::Number(1, 64),
                default: "1",
                doc: "Threads that serve requests and listeners, each its share; one thread keeps the \
                      state. More than one where one core is not enough, at most one a core.",
            },
            Setting {
                key: "secret",
                kind: Kind::Secrets,
                default: DEFAULT_SECRET,
                doc: "Secret with which backends sign their requests. Several, one a line and the \
                      newest first, are all accepted, so that it can be changed without a pause.",
            },
            Setting {
                key: "secret_file",
                kind: Kind::SecretFile,
                default: "",
                doc: "File that holds `secret`, in UTF-8; empty lines do not count.",
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
                doc: "File that holds `admin_secret`, in UTF-8; line breaks around it do not count.",
            },
            Setting {
                key: "cookie_secret",
                kind: Kind::Secret,
                default: "",
                doc: "Secret that signs the sign-in cookie, with user and password. Empty: a random one at each start, which \
                      signs everybody out; set it where several servers share one address.",
            },
            Setting {
                key: "cookie_secret_file",
                kind: Kind::SecretFile,
                default: "",
                doc: "File that holds `cookie_secret`, in UTF-8; line breaks around it do not count.",
            },
            Setting {
                key: "allow_default_secrets",
                kind: Kind::Switch,
                default: "false",
                doc: "Start on an address that other machines can reach although `secret` or \
                      `admin_secret` is the well-known default. Anybody can then post and sign in.",
            },
            Setting {
                key: "allow_posting_from",
                kind: Kind::Networks,
                default: "127.0.0.1, ::1",
                doc: "Addresses and networks (CIDR) whose signed requests count, by commas or lines; \
                      0.0.0.0 or :: is any address. Requests from elsewhere have no rights.",
            },
            Setting {
                key: "trusted_proxies",
                kind: Kind::Networks,
                default: "",
                doc: "Addresses and networks of reverse proxies. Their X-Forwarded-For names the \
                      client's address, their X-Forwarded-Proto, X-Scheme or X-Url-Scheme its scheme, \
                      X-Forwarded-Host and X-Forwarded-Port the host, X-Script-Name the path prefix. Such \
                      headers of others do not count; while this is empty, loopback addresses may tell \
                      the prefix and the scheme of redirects.",
            },
            Setting {
                key: "allow_cors",
                kind: Kind::Texts,
                default: "",
                doc: "Origins whose scripts may read answers, each whole as in https://example.com, by \
                      commas or lines. Empty: all origins.",
            },
            Setting {
                key: "validate_requests",
                kind: Kind::Switch,
                default: "true",
                doc: "Refuse signatures that are older than 60 seconds. If false, a signature that \
                      somebody has seen is good for ever.",
            },
            Setting {
                key: "strict_requests",
                kind: Kind::Switch,
                default: "false",
                doc: "Handle all requests as those with the header Prefer: handling=strict: unknown \
                      fields get 422, and answers tell of messages that went nowhere.",
            },
            Setting {
                key: "enforce_https",
                kind: Kind::Switch,
                default: "false",
                doc: "Answer 406 to requests whose scheme is not https, except on /ws. Behind a \
                      proxy it needs `trusted_proxies`.",
            },
            Setting {
                key: "http_scheme",
                kind: Kind::Scheme,
                default: "",
                doc: "Scheme of the addresses in redirects. Empty: that of the request.",
            },
            Setting {
                key: "tutorial",
                kind: Kind::Tutorial,
                default: "auto",
                doc: "For whom the tutorial at / acts as a backend. auto: those signed in to the \
                      admin pages, and this machine's own browsers while the server listens on \
                      loopback alone and `secret` is the default. on: everybody who reaches the \
                      server, so that anybody can post. off: nobody, and / is a 404.",
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
                doc: "DEBUG, INFO, WARNING, ERROR or CRITICAL in any case, or tracing directives \
                      such as `info,channelstream_server=trace`.",
            },
            Setting {
                key: "log_format",
                kind: Kind::LogFormat,
                default: "text",
                doc: "Form of the lines on standard error: text for people, json for machines.",
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
        title: "Times",
        settings: &[
            Setting {
                key: "heartbeat_interval",
                kind: Kind::Seconds,
                default: "5",
                doc: "Seconds between two heartbeats on an open socket. Keep it below the idle limit \
                      of every proxy in between.",
            },
            Setting {
                key: "ping_interval",
                kind: Kind::Seconds,
                default: "25",
                doc: "Seconds of silence on an open socket after which its client is asked by a \
                      ping whether it is there; looked at with each heartbeat.",
            },
            Setting {
                key: "ping_timeout",
                kind: Kind::Seconds,
                default: "20",
                doc: "Seconds within which a ping must be answered by anything; then the socket is \
                      given up (close code 1008), and the connection waits for another. A socket \
                      that takes nothing of what waits for it is given up after `ping_interval` and \
                      this together, whatever it sends.",
            },
            Setting {
                key: "wake_connections_after",
                kind: Kind::Seconds,
                default: "5",
                doc: "Seconds after which a poll without messages is answered.",
            },
            Setting {
                key: "gc_conns_after",
                kind: Kind::Seconds,
                default: "15",
                doc: "Seconds after which a connection without a socket or poll is ended.",
            },
            Setting {
                key: "gc_waiting_conns_after",
                kind: Kind::Seconds,
                default: "300",
                doc: "The same for a connection that is in no channel.",
            },
            Setting {
                key: "gc_users_after",
                kind: Kind::Seconds,
                default: "86400",
                doc: "Seconds after which a user without activity is forgotten, with its state.",
            },
            Setting {
                key: "gc_channels_after",
                kind: Kind::Seconds,
                default: "259200",
                doc: "Seconds after which a channel without members and activity is removed, with \
                      its settings and history.",
            },
            Setting {
                key: "shutdown_timeout",
                kind: Kind::Seconds,
                default: "10",
                doc: "Seconds that the server takes at most to end after SIGTERM, SIGINT or SIGQUIT. \
                      Running requests get half of it before listeners are closed.",
            },
            Setting {
                key: "drain_rate",
                kind: Kind::Number(1, MANY),
                default: "2000",
                doc: "Listeners closed a second at the end, so that they don't come back all at \
                      once; more if half of the time that is left is too short for it.",
            },
        ],
    },
    Group {
        title: "Limits of requests",
        settings: &[
            Setting {
                key: "max_head_size",
                kind: Kind::Bytes(8192, MANY),
                default: "16384",
                doc: "Bytes of request line and headers; 431 above.",
            },
            Setting {
                key: "head_timeout",
                kind: Kind::Seconds,
                default: "30",
                doc: "Seconds within which the head of a request must be complete, counted from the \
                      answer before it: so long an idle line is kept. Then it is closed.",
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
                doc: "Seconds within which a client must read something of an answer that waits for \
                      it, and in the long run 1 KiB a second; then its TCP connection is reset. \
                      Sockets have `ping_timeout` for it.",
            },
            Setting {
                key: "max_json_depth",
                kind: Kind::Number(1, 127),
                default: "64",
                doc: "Lists and objects inside each other in a body; 400 above.",
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
                doc: "Bytes of a message that a browser sends over its socket; closed with 1009 above.",
            },
        ],
    },
    Group {
        title: "Limits of the server",
        settings: &[
            Setting {
                key: "max_connections",
                kind: Kind::Number(1, MANY),
                default: "50000",
                doc: "Open TCP lines; further ones get 503. Each needs a file descriptor.",
            },
            Setting {
                key: "max_connections_per_address",
                kind: Kind::Number(1, MANY),
                default: "1000",
                doc: "Open TCP lines from one address, or one IPv6 network of 64 bits; further ones get \
                      503. Loopback addresses and `trusted_proxies` are not counted.",
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
                doc: "Open sockets and polls; further ones get 503.",
            },
            Setting {
                key: "outbox_frames",
                kind: Kind::Number(1, MANY),
                default: "1000",
                doc: "Frames that wait for one slow listener; above it is closed, and gets what it \
                      missed when it opens again.",
            },
            Setting {
                key: "outbox_bytes",
                kind: Kind::Bytes(1, MANY),
                default: "1048576",
                doc: "The same in bytes; a single frame always fits.",
            },
            Setting {
                key: "max_failed_sign_ins",
                kind: Kind::Number(1, MANY),
                default: "10",
                doc: "Failed sign-ins to the admin pages from one address within \
                      `failed_sign_ins_window`; 429 above.",
            },
            Setting {
                key: "failed_sign_ins_window",
                kind: Kind::Seconds,
                default: "300",
                doc: "Seconds after which failed sign-ins are forgotten.",
            },
        ],
    },
];

/// Every setting, in the order of [`GROUPS`].
pub fn settings() -> impl Iterator<Item = &'static Setting> + Clone {
    GROUPS.iter().flat_map(|group| group.settings)
}

/// The setting with this key.
#[must_use]
pub fn setting(key: &str) -> Option<&'static Setting> {
    settings().find(|setting| setting.key == key)
}

/// The one of these settings that was probably meant by `key`, if one is near enough.
pub(super) fn nearest_of(
    key: &str,
    mut known: impl Iterator<Item = &'static Setting> + Clone,
) -> Option<&'static Setting> {
    let key = key.to_lowercase().replace('-', "_");
    let near = nearest(&key, known.clone().map(|setting| setting.key))?;
    known.find(|setting| setting.key == near)
}

/// The word that was probably meant by `word`, if one is near enough.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

/// All settings as a Markdown table, as it stands in docs/settings.md.
#[must_use]
pub fn settings_table() -> String {
    let mut table = String::from("| setting | default | meaning |\n| --- | --- | --- |\n");
    for group in GROUPS {
        table.push_str(&format!("| **{}** | | |\n", group.title));
        for setting in group.settings {
            let default = match setting.default {
                "" => String::from("empty"),
                text => format!("`{text}`"),
            };
            let doc = setting.doc.replace('|', "\\|");
            table.push_str(&format!("| `{}` | {default} | {doc} |\n", setting.key));
        }
    }
    table
}

/// Breaks a text between words into lines of at most `width` characters (a longer word stands alone).
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
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

    #[test]
    fn the_readme_table_has_a_line_for_each_setting() {
        let table = settings_table();
        assert_eq!(table.lines().count(), 2 + GROUPS.len() + settings().count());
        assert!(table.contains("| `port` | `8000` | TCP port"));
        assert!(table.lines().all(|line| line.starts_with('|') && line.ends_with('|')));
    }

    #[test]
    fn wrapping_keeps_every_word_within_the_width() {
        let text = settings().map(|setting| setting.doc).collect::<Vec<_>>().join(" ");
        let lines = wrap(&text, 40);
        assert!(lines.iter().all(|line| line.chars().count() <= 40));
        assert_eq!(lines.join(" "), text.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(wrap("", 40), Vec::<String>::new());
    }
}
