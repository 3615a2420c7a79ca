//! The configuration: every setting typed, checked as a whole, all mistakes reported at once.
//!
//! [`table`] defines the settings, [`source`] gathers their texts from flags, ini file and
//! environment, and [`Config::from_sources`] makes a value of them. A program that embeds the server
//! starts from [`Config::default`] and sets fields.

mod channels;
mod error;
mod exposure;
pub mod ini;
mod level;
mod networks;
mod origins;
mod read;
mod secret;
pub mod source;
pub mod table;
pub mod template;
#[cfg(test)]
mod tests;

use std::time::Duration;

use channelstream_core::state::ChannelDefaults;

pub use error::{ConfigErrors, Mistake, Origin, Value};
pub(crate) use exposure::is_loopback;
pub use level::{LogFormat, LogLevel, LogLevelError};
pub use networks::{Networks, NetworksError};
pub use read::boolean;
pub use secret::Secret;

/// Everything that can be set. Each field is the setting of the same name in [`table`], where its
/// meaning stands in full; the default value is that of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name or address to listen on; an IPv6 address stands without brackets.
    pub host: String,
    /// TCP port to listen on; 0 for any free one.
    pub port: u16,
    /// Threads that serve requests and listeners.
    pub threads: usize,
    /// The setting `secret`: secrets of the backend API, the newest first, all accepted. Not empty.
    pub secrets: Vec<Secret>,
    /// User name for the admin pages.
    pub admin_user: String,
    /// Password for the admin pages.
    pub admin_secret: Secret,
    /// What signs the sign-in cookie; `None` for a random one at each start.
    pub cookie_secret: Option<Secret>,
    /// Whether default secrets may be used on a public address. Checked by
    /// [`Config::from_sources`] alone.
    pub allow_default_secrets: bool,
    /// From where signed requests count.
    pub allow_posting_from: Networks,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: Networks,
    /// Origins whose scripts may read answers: texts to look for in `Origin`; empty for all.
    pub allow_cors: Vec<String>,
    /// Whether the age of signatures is checked.
    pub validate_requests: bool,
    /// Whether unknown fields of requests get 422 unless a request prefers otherwise.
    pub strict_requests: bool,
    /// Whether requests that are not https get 406.
    pub enforce_https: bool,
    /// Scheme of redirects; `None` for that of the request.
    pub http_scheme: Option<Scheme>,
    /// For whom the tutorial at `/` acts as a backend.
    pub tutorial: Tutorial,
    /// How much is logged.
    pub log_level: LogLevel,
    /// In which form.
    pub log_format: LogFormat,
    /// Between two heartbeats on an open socket.
    pub heartbeat_interval: Duration,
    /// Silence on a socket after which its client is asked by a ping.
    pub ping_interval: Duration,
    /// Time to answer a ping.
    pub ping_timeout: Duration,
    /// How long a poll waits for the first message.
    pub wake_connections_after: Duration,
    /// How long a connection lives without a listener.
    pub gc_conns_after: Duration,
    /// The same for one that is in no channel.
    pub gc_waiting_conns_after: Duration,
    /// How long a user is remembered without activity.
    pub gc_users_after: Duration,
    /// How long a channel is kept without members and activity.
    pub gc_channels_after: Duration,
    /// How long running requests get at the end.
    pub shutdown_timeout: Duration,
    /// Listeners closed a second at the end, unless half of the time above needs more.
    pub drain_rate: usize,
    /// Bytes of request line and headers, at least 8192; 431 above.
    pub max_head_size: usize,
    /// Time for the head of a request to be complete.
    pub head_timeout: Duration,
    /// Bytes of a request body; 413 above.
    pub max_body_size: usize,
    /// Time for a body to be complete.
    pub body_timeout: Duration,
    /// Time for a client to read something of an answer that waits for it.
    pub answer_timeout: Duration,
    /// Lists and objects inside each other in a body.
    pub max_json_depth: usize,
    /// Values of any kind in a body.
    pub max_json_elements: usize,
    /// Bytes of a message from a browser; close code 1009 above.
    pub max_client_message: usize,
    /// Open TCP lines; 503 above.
    pub max_connections: usize,
    /// Open TCP lines from one address that is neither loopback nor a trusted proxy.
    pub max_connections_per_address: usize,
    /// Requests from one address within ten seconds, unless it is loopback, a trusted proxy or may
    /// post; 429 above.
    pub max_requests_per_address: usize,
    /// Open sockets and polls; 503 above.
    pub max_listeners: usize,
    /// Frames that wait for one listener.
    pub outbox_frames: usize,
    /// Bytes that wait for one listener, unless it is a single frame.
    pub outbox_bytes: usize,
    /// Failed sign-ins from one address within the window; 429 above.
    pub max_failed_sign_ins: usize,
    /// After which failed sign-ins are forgotten.
    pub failed_sign_ins_window: Duration,
    /// The sections `[channel PATTERN]`: settings for channels that are created, by their names; the
    /// first pattern that matches counts.
    pub channel_defaults: Vec<ChannelDefaults>,
}

/// The scheme of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// As it stands in an address.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// For whom the tutorial's page at `/` can connect users and send messages without a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tutorial {
    /// For those who are signed in to the admin pages; and on the server's own machine, while
    /// nobody else reaches it and the secret is the well-known default.
    #[default]
    Auto,
    /// For everybody who reaches the server.
    On,
    /// For nobody: there is no such page either.
    Off,
}

impl Default for Config {
    fn default() -> Self {
        Self::from_sources(&[]).config.expect("the defaults in the table are right")
    }
}

/// What came out of checking the settings.
#[derive(Debug)]
pub struct Checked {
    /// The configuration, or everything that is wrong with it.
    pub config: Result<Config, ConfigErrors>,
    /// What works but is probably not what was meant. No text holds a secret.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks all settings as a whole, without touching file, environment or network.
    ///
    /// `values` has the most important source first: the first value of a key counts, an empty one
    /// (except of a secret) means the default. The files that `*_file` settings name have been read
    /// by then ([`source::gather`] does so); here these settings have no effect.
    #[must_use]
    pub fn from_sources(values: &[Value]) -> Checked {
        Self::check(values, &[], &[], &[])
    }

    /// The same, after what was found wrong while gathering.
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
            threads: read.number("threads"),
            secrets: read.secrets("secret"),
            admin_user: read.text("admin_user"),
            admin_secret: read.needed_secret("admin_secret"),
            cookie_secret: read.secret("cookie_secret"),
            allow_default_secrets: read.switch("allow_default_secrets"),
            allow_posting_from: read.networks("allow_posting_from"),
            trusted_proxies: read.networks("trusted_proxies"),
            allow_cors: read.texts("allow_cors"),
            validate_requests: read.switch("validate_requests"),
            strict_requests: read.switch("strict_requests"),
            enforce_https: read.switch("enforce_https"),
            http_scheme: read.scheme("http_scheme"),
            tutorial: read.tutorial("tutorial"),
            log_level: read.parsed("log_level"),
            log_format: read.log_format("log_format"),
            heartbeat_interval: read.seconds("heartbeat_interval"),
            ping_interval: read.seconds("ping_interval"),
            ping_timeout: read.seconds("ping_timeout"),
            wake_connections_after: read.seconds("wake_connections_after"),
            gc_conns_after: read.seconds("gc_conns_after"),
            gc_waiting_conns_after: read.seconds("gc_waiting_conns_after"),
            gc_users_after: read.seconds("gc_users_after"),
            gc_channels_after: read.seconds("gc_channels_after"),
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
            outbox_frames: read.number("outbox_frames"),
            outbox_bytes: read.number("outbox_bytes"),
            max_failed_sign_ins: read.number("max_failed_sign_ins"),
            failed_sign_ins_window: read.seconds("failed_sign_ins_window"),
            channel_defaults: channels::read(channels, &mut read),
        };
        read.switch("debug");
        config.check_exposure(&mut read);
        origins::check(&config.allow_cors, &mut read);
        let read::Reader { mistakes, warnings, .. } = read;
        let config = ConfigErrors::from_mistakes(mistakes).map_or(Ok(config), Err);
        Checked { config, warnings }
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
        if self.trusted_proxies.is_any() {
            let origin = read.find("trusted_proxies").origin;
            read.warnings.push(format!(
                "{origin}: trusted_proxies is any address, so that everybody can claim any address"
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
