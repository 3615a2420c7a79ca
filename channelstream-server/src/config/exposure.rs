//! Who can reach the server and with which secrets: what is refused, warned of and announced.

use std::net::{IpAddr, SocketAddr};

use super::table::{DEFAULT_ADMIN_SECRET, DEFAULT_SECRET, Setting, setting};
use super::{Config, Networks, Secret, Tutorial};

/// Whether only the machine itself reaches a server that listens there. A name other than
/// `localhost` may lead anywhere.
pub(crate) fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// The settings that still have the default which everybody knows.
pub(super) fn default_secrets(secrets: &[Secret], admin_secret: &Secret) -> Vec<&'static str> {
    let mut keys = Vec::new();
    if secrets.iter().any(|secret| secret.matches(DEFAULT_SECRET)) {
        keys.push("secret");
    }
    if admin_secret.matches(DEFAULT_ADMIN_SECRET) {
        keys.push("admin_secret");
    }
    keys
}

/// Why a server with default secrets does not start on a public address, and what to do.
pub(super) fn refusal(defaults: &[&str]) -> String {
    format!(
        "other machines can reach it, but {} {}; set:\n{}\n  or, where nobody else can reach it, \
         start with --allow-default-secrets (allow_default_secrets = true in [channelstream], \
         CHANNELSTREAM_ALLOW_DEFAULT_SECRETS=true)",
        defaults.join(" and "),
        if defaults.len() > 1 {
            "are the well-known defaults"
        } else {
            "is the well-known default"
        },
        spellings(defaults, "..."),
    )
}

/// Why nobody can post though somebody may, and what to do. The reference listens on all addresses.
pub(super) fn unreachable(allowed: &Networks, defaults: &[&str]) -> String {
    let mut text = format!(
        "allow_posting_from lets {allowed} post, but the server listens on 127.0.0.1, which only this \
         machine reaches; set:\n{}",
        spellings(&["host"], "0.0.0.0"),
    );
    if !defaults.is_empty() {
        text.push('\n');
        text.push_str(&spellings(defaults, "..."));
    }
    text
}

/// Each setting as a flag, in the file and as a variable.
fn spellings(keys: &[&str], value: &str) -> String {
    let line = |setting: &Setting| {
        let flag = if setting.kind.is_secret() {
            format!("{}-file FILE", setting.flag())
        } else {
            format!("{} {value}", setting.flag())
        };
        let (key, variable) = (setting.key, setting.variable());
        format!("    {flag}, or {key} = {value} in [channelstream], or {variable}={value}")
    };
    keys.iter().filter_map(|key| setting(key)).map(line).collect::<Vec<_>>().join("\n")
}

impl Config {
    /// The keys among `secret` and `admin_secret` that are the well-known defaults (contract §11),
    /// with which anybody can post or sign in.
    #[must_use]
    pub fn default_secrets(&self) -> Vec<&'static str> {
        default_secrets(&self.secrets, &self.admin_secret)
    }

    /// The line that says at each start where the server listens, who may post and where the pages
    /// are. `local` is the address that was bound.
    #[must_use]
    pub fn start_line(&self, local: SocketAddr) -> String {
        let reach = if local.ip().is_unspecified() { " (all addresses)" } else { "" };
        let here = match local.ip() {
            IpAddr::V4(address) if address.is_unspecified() => "127.0.0.1".into(),
            IpAddr::V6(address) if address.is_unspecified() => "[::1]".into(),
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let pages = format!("http://{here}:{}/", local.port());
        let mut line = format!(
            "listening on http://{local}{reach}; signed requests count from {}; admin pages at \
             {pages}admin",
            self.allow_posting_from,
        );
        if self.tutorial != Tutorial::Off {
            line.push_str(&format!("; tutorial at {pages}"));
        }
        let defaults = self.default_secrets();
        if !defaults.is_empty() {
            line.push_str(&format!("; WELL-KNOWN DEFAULT: {}", defaults.join(", ")));
        }
        line
    }
}
