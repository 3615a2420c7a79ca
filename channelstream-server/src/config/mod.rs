//! The configuration: a typed field for each setting of the server.
//!
//! A program that embeds the server starts from [`Config::default`] and sets fields. The program
//! `channelstream-server` reads flags, an ini file or the environment instead, checks all settings as
//! a whole and reports all mistakes at once.

mod address;
pub(crate) mod channels;
pub(crate) mod error;
mod exposure;
mod growing;
#[doc(hidden)]
pub mod ini;
mod journal;
mod level;
mod networks;
mod origins;
pub(crate) mod read;
pub(crate) mod reload;
mod rules;
mod secret;
pub(crate) mod source;
#[doc(hidden)]
pub mod table;
mod test_clock;
#[cfg(test)]
mod tests;
mod tls;
mod webhooks;

use std::time::Duration;

pub(crate) use address::unix_socket;
pub use address::{Address, AddressError};
use channelstream_core::protocol::Bounds;
pub use channelstream_core::state::{ChannelDefaults, Pattern};
pub(crate) use error::{ConfigErrors, Origin, Value};
pub(crate) use exposure::is_loopback;
pub use journal::{ClusterLevel, Journal, JournalSync, RedisIdentity, RedisJournal};
pub use level::{LogFormat, LogLevel, LogLevelError};
pub use networks::{Networks, NetworksError};
pub(crate) use read::boolean;
pub use secret::Secret;
pub use tls::TlsIdentity;
pub use webhooks::{WebhookEvent, WebhookUrl, WebhookUrlError};

use error::Mistake;

/// The settings of a server. Each field is the setting of the same name, which `--help` explains in
/// full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name or address to listen on, an IPv6 address without brackets; or a unix socket, such as
    /// `unix:/run/server.sock`.
    pub host: String,
    /// TCP port to listen on; 0 selects a free one. A unix socket has none.
    pub port: u16,
    /// The settings `tls_cert` and `tls_key`: with them the server speaks TLS over TCP; `None` for none.
    pub tls: Option<TlsIdentity>,
    /// Threads that serve requests and listeners.
    pub threads: usize,
    /// The setting `secret`: secrets of the backend API, newest first, all accepted. Not empty.
    pub secrets: Vec<Secret>,
    /// User name for the admin pages.
    pub admin_user: String,
    /// Password for the admin pages.
    pub admin_secret: Secret,
    /// Secret that signs the sign-in cookie; `None` for a random one at each start.
    pub cookie_secret: Option<Secret>,
    /// Whether the program starts with default secrets on a public address; the library does not check.
    pub allow_default_secrets: bool,
    /// Addresses from which signed requests are accepted.
    pub allow_posting_from: Networks,
    /// Addresses that may read the metrics.
    pub allow_metrics_from: Networks,
    /// The address at which the metrics are, instead of that of the server.
    pub metrics_addr: Option<Address>,
    /// Reverse proxies whose forwarding headers are trusted.
    pub trusted_proxies: Networks,
    /// Origins whose scripts may read answers, as texts to look for in `Origin`; empty for all.
    pub allow_cors: Vec<String>,
    /// Whether signatures older than 60 seconds are refused.
    pub validate_requests: bool,
    /// Whether signatures must be over the whole request; 401 for those over the time alone.
    pub require_signed_bodies: bool,
    /// Whether unknown fields are refused with 422 unless the request prefers otherwise.
    pub strict_requests: bool,
    /// Whether requests other than https are refused with 406.
    pub enforce_https: bool,
    /// Scheme of redirects; `None` for that of the request.
    pub http_scheme: Option<Scheme>,
    /// Who can use the tutorial at `/` as a backend.
    pub tutorial: Tutorial,
    /// Which log lines are written; for the program only.
    pub log_level: LogLevel,
    /// Format of the log lines; for the program only.
    pub log_format: LogFormat,
    /// Whether finished requests are logged at `info` rather than `debug`.
    pub access_log: bool,
    /// Interval between two heartbeats on an open socket.
    pub heartbeat_interval: Duration,
    /// Silence on a socket after which the server sends a ping.
    pub ping_interval: Duration,
    /// Time to answer a ping.
    pub ping_timeout: Duration,
    /// How long a poll waits for its first event.
    pub wake_connections_after: Duration,
    /// How long an `EventSource` waits before it opens its stream again.
    pub sse_retry: Duration,
    /// How long a connection lives without a listener.
    pub gc_conns_after: Duration,
    /// How long a connection that is in no channel lives without a listener.
    pub gc_waiting_conns_after: Duration,
    /// How long a user without activity is kept.
    pub gc_users_after: Duration,
    /// How long a channel without members and activity is kept.
    pub gc_channels_after: Duration,
    /// How long a membership is remembered that ended because its connections expired.
    pub recovery_window: Duration,
    /// Silence after which an open message is stalled.
    pub append_timeout: Duration,
    /// Time after which a message that stays stalled has failed.
    pub stalled_timeout: Duration,
    /// The time during which what a pipe sends is gathered.
    pub append_interval: Duration,
    /// How long a pipe may send nothing.
    pub pipe_timeout: Duration,
    /// Most bytes of the payload of a growing message.
    pub max_growing_size: usize,
    /// Most items of a list in a growing message.
    pub max_growing_items: usize,
    /// Most open messages of a channel or user.
    pub max_open_messages: usize,
    /// The settings `journal`, `journal_dir`, `journal_sync` and those of Redis: where the server keeps its
    /// state.
    pub journal: Journal,
    /// Whether the level of the journal may be raised.
    pub cluster_level: ClusterLevel,
    /// How long a shutdown takes at most.
    pub shutdown_timeout: Duration,
    /// Listeners that a shutdown closes per second, unless half of the time that is left needs more.
    pub drain_rate: usize,
    /// Most bytes of request line and headers, at least 8192; 431 above.
    pub max_head_size: usize,
    /// Time for the head of a request to be complete.
    pub head_timeout: Duration,
    /// Most bytes of a request body; 413 above.
    pub max_body_size: usize,
    /// Time for a request body to be complete.
    pub body_timeout: Duration,
    /// Time for a client to read some of an answer that waits for it.
    pub answer_timeout: Duration,
    /// Most levels of lists and objects in a body; 400 above.
    pub max_json_depth: usize,
    /// Most values of any kind in a body; 400 above.
    pub max_json_elements: usize,
    /// Most bytes of a message from a browser; close code 1009 above.
    pub max_client_message: usize,
    /// Most open TCP connections; 503 above.
    pub max_connections: usize,
    /// Most open TCP connections from one address; loopback and trusted proxies are not counted.
    pub max_connections_per_address: usize,
    /// Most requests from one address within ten seconds; 429 above.
    pub max_requests_per_address: usize,
    /// Most open sockets and polls; 503 above.
    pub max_listeners: usize,
    /// Most events that each channel stores, unless its settings say otherwise.
    pub stored_frames: usize,
    /// Most private events that are stored for each user.
    pub stored_private_frames: usize,
    /// Most bytes of the events that a channel or a user stores, unless it is a single event.
    pub stored_bytes: usize,
    /// Most events that wait for one listener.
    pub outbox_frames: usize,
    /// Most bytes that wait for one listener, unless it is a single event.
    pub outbox_bytes: usize,
    /// How long the answer to a request with `Idempotency-Key` is kept for its repeats.
    pub idempotency_window: Duration,
    /// Most answers that are kept for repeats.
    pub max_idempotency_keys: usize,
    /// Most bytes of answers that are kept for repeats.
    pub max_idempotency_bytes: usize,
    /// Most signatures over requests that are remembered; 503 above.
    pub max_nonces: usize,
    /// Most failed sign-ins from one address within the window; 429 above.
    pub max_failed_sign_ins: usize,
    /// Window in which failed sign-ins count.
    pub failed_sign_ins_window: Duration,
    /// Whether tests can let time pass (`POST /test/advance`). It needs loopback, the default of `secret` alone,
    /// and the journal in memory.
    pub test_clock: bool,
    /// Where webhooks are posted to; `None` for nowhere.
    pub webhook_url: Option<WebhookUrl>,
    /// The setting `webhook_secret`: each signs the webhooks.
    pub webhook_secrets: Vec<Secret>,
    /// The types of webhooks that are sent.
    pub webhook_events: Vec<WebhookEvent>,
    /// How long the receiver of a webhook may take to answer.
    pub webhook_timeout: Duration,
    /// Most webhooks that wait.
    pub max_webhooks: usize,
    /// The sections `[channel PATTERN]`: settings for new channels; the first match counts.
    pub channel_defaults: Vec<ChannelDefaults>,
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// Returns the scheme as it is written in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Who can connect users and send messages from the tutorial at `/`, without a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tutorial {
    /// Users signed in to the admin pages. Also browsers on the server's own machine, while the server
    /// listens on loopback only and the secret is the well-known default.
    #[default]
    Auto,
    /// Everybody who can reach the server.
    On,
    /// Nobody; there is no tutorial page.
    Off,
}

impl Default for Config {
    fn default() -> Self {
        Self::from_sources(&[]).config.expect("the defaults in the table are valid")
    }
}

/// The result of checking the settings.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The configuration, or everything that is wrong with it.
    pub(crate) config: Result<Config, ConfigErrors>,
    /// Settings that work but are probably not what was meant. No text contains a secret.
    pub(crate) warnings: Vec<String>,
}

impl Config {
    /// Reads and checks all settings as a whole, without touching file, environment or network.
    ///
    /// `values` has the most important source first: the first value of a key counts, and an empty
    /// one (except of a secret) means the default. [`source::gather`] has read the files that `*_file`
    /// settings name; here these settings have no effect.
    pub(crate) fn from_sources(values: &[Value]) -> Checked {
        Self::check(values, &[], &[], &[])
    }

    /// The same, with the mistakes and warnings that gathering the values found.
    fn check(
        values: &[Value],
        channels: &[channels::ChannelSection],
        mistakes: &[Mistake],
        warnings: &[String],
    ) -> Checked {
        let mut read = read::Reader::new(values, table::settings().collect());
        read.mistakes.splice(..0, mistakes.iter().cloned());
        read.warnings.splice(..0, warnings.iter().cloned());
        let config = Self {
            host: read.host("host"),
            port: read.port("port"),
            tls: read.tls(),
            threads: read.number("threads"),
            secrets: read.secrets("secret"),
            admin_user: read.text("admin_user"),
            admin_secret: read.needed_secret("admin_secret"),
            cookie_secret: read.secret("cookie_secret"),
            allow_default_secrets: read.switch("allow_default_secrets"),
            allow_posting_from: read.networks("allow_posting_from"),
            allow_metrics_from: read.networks("allow_metrics_from"),
            metrics_addr: read.address("metrics_addr"),
            trusted_proxies: read.networks("trusted_proxies"),
            allow_cors: read.texts("allow_cors"),
            validate_requests: read.switch("validate_requests"),
            require_signed_bodies: read.switch("require_signed_bodies"),
            strict_requests: read.switch("strict_requests"),
            enforce_https: read.switch("enforce_https"),
            http_scheme: read.scheme("http_scheme"),
            tutorial: read.tutorial("tutorial"),
            log_level: read.parsed("log_level"),
            log_format: read.log_format("log_format"),
            access_log: read.switch("access_log"),
            heartbeat_interval: read.seconds("heartbeat_interval"),
            ping_interval: read.seconds("ping_interval"),
            ping_timeout: read.seconds("ping_timeout"),
            wake_connections_after: read.seconds("wake_connections_after"),
            sse_retry: read.seconds("sse_retry"),
            gc_conns_after: read.seconds("gc_conns_after"),
            gc_waiting_conns_after: read.seconds("gc_waiting_conns_after"),
            gc_users_after: read.seconds("gc_users_after"),
            gc_channels_after: read.seconds("gc_channels_after"),
            recovery_window: read.seconds("recovery_window"),
            append_timeout: read.seconds("append_timeout"),
            stalled_timeout: read.seconds("stalled_timeout"),
            append_interval: read.seconds("append_interval"),
            pipe_timeout: read.seconds("pipe_timeout"),
            max_growing_size: read.number("max_growing_size"),
            max_growing_items: read.number("max_growing_items"),
            max_open_messages: read.number("max_open_messages"),
            journal: read.journal(),
            cluster_level: read.cluster_level(),
            shutdown_timeout: read.seconds("shutdown_timeout"),
            drain_rate: read.number("drain_rate"),
            max_head_size: read.number("max_head_size"),
            head_timeout: read.seconds("head_timeout"),
            max_body_size: read.number("max_body_size"),
            body_timeout: read.seconds("body_timeout"),
            answer_timeout: read.seconds("answer_timeout"),
            max_json_depth: read.number("max_json_depth"),
            max_json_elements: read.number("max_json_elements"),
            max_client_message: read.number("max_client_message"),
            max_connections: read.number("max_connections"),
            max_connections_per_address: read.number("max_connections_per_address"),
            max_requests_per_address: read.number("max_requests_per_address"),
            max_listeners: read.number("max_listeners"),
            stored_frames: read.number("stored_frames"),
            stored_private_frames: read.number("stored_private_frames"),
            stored_bytes: read.number("stored_bytes"),
            outbox_frames: read.number("outbox_frames"),
            outbox_bytes: read.number("outbox_bytes"),
            idempotency_window: read.seconds("idempotency_window"),
            max_idempotency_keys: read.number("max_idempotency_keys"),
            max_idempotency_bytes: read.number("max_idempotency_bytes"),
            max_nonces: read.number("max_nonces"),
            max_failed_sign_ins: read.number("max_failed_sign_ins"),
            failed_sign_ins_window: read.seconds("failed_sign_ins_window"),
            test_clock: read.switch("test_clock"),
            webhook_url: read.webhook_url(),
            webhook_secrets: read.webhook_secrets(),
            webhook_events: read.webhook_events(),
            webhook_timeout: read.seconds("webhook_timeout"),
            max_webhooks: read.number("max_webhooks"),
            channel_defaults: channels::read(channels, &mut read),
        };
        read.switch("debug");
        config.check_exposure(&mut read);
        config.check_test_clock(&mut read);
        origins::check(&config.allow_cors, &mut read);
        read.check_webhooks(&config);
        let read::Reader { mistakes, warnings, .. } = read;
        let config = ConfigErrors::from_mistakes(mistakes).map_or(Ok(config), Err);
        Checked { config, warnings }
    }

    /// Returns the limits of the JSON in a request.
    pub(crate) fn json_bounds(&self) -> Bounds {
        Bounds { depth: self.max_json_depth, elements: self.max_json_elements }
    }

    fn check_exposure(&self, read: &mut read::Reader<'_>) {
        let mut defaults = self.default_secrets();
        defaults.retain(|key| read.is_right(key));
        let host = read.find("host");
        if !exposure::is_loopback(&self.host) {
            if !defaults.is_empty() && !self.allow_default_secrets {
                read.refuse(&host, exposure::refusal(&defaults));
            }
        } else if *host.origin == Origin::Default
            && self.trusted_proxies.is_empty()
            && !self.allow_posting_from.is_loopback()
        {
            read.warnings.push(exposure::unreachable(&self.allow_posting_from, &defaults));
        }
        if let Some(address) = &self.metrics_addr
            && !exposure::is_loopback(&address.host)
            && self.allow_metrics_from.is_loopback()
        {
            read.warnings.push(format!(
                "metrics_addr is {address}, but allow_metrics_from lets only this machine read the \
                 metrics ({}): name the addresses of Prometheus there",
                self.allow_metrics_from
            ));
        }
        if self.trusted_proxies.is_any() {
            let origin = read.find("trusted_proxies").origin;
            read.warnings.push(format!(
                "{origin}: trusted_proxies is any address, so that every client can claim any address"
            ));
        }
        if !defaults.is_empty() && read.mistakes.is_empty() {
            read.warnings.push(format!(
                "the well-known default is in use: {}; anybody who reaches this server can use it",
                defaults.join(", ")
            ));
        }
    }
}
