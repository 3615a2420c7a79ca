//! Exposure: who can reach the server with which secrets, and what is refused or warned of for that.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use channelstream_signer::file;

use super::error::{Origin, Value};
use super::table::{DEFAULT_ADMIN_SECRET, DEFAULT_SECRET, Setting, setting};
use super::{Config, Networks, Scheme, Secret, Tutorial, unix_socket};
use crate::socket::LocalAddr;

/// The length of a secret that cannot be guessed by trying.
const LEAST_SECRET: usize = 16;

/// Returns `true` if only this machine can reach a server on that host. A name other than `localhost`
/// may resolve to any address.
pub(crate) fn is_loopback(host: &str) -> bool {
    if unix_socket(host).is_some() {
        return true;
    }
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Returns the settings that still have their well-known default.
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

/// Explains why a server with default secrets does not start on a public address, and the fix.
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

/// Explains that allowed backends cannot reach the server, and the fix. (The reference listens on all
/// addresses.)
pub(super) fn unreachable(allowed: &Networks, defaults: &[&str]) -> String {
    let mut text = format!(
        "allow_posting_from lets {allowed} post, but the server listens on 127.0.0.1, which only this \
         machine can reach; set:\n{}",
        spellings(&["host"], "0.0.0.0"),
    );
    if !defaults.is_empty() {
        text.push('\n');
        text.push_str(&spellings(defaults, "..."));
    }
    text
}

/// Shows how to set each setting by flag, file and environment variable.
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
    /// Returns which of `secret` and `admin_secret` are the well-known defaults (contract §11), with which
    /// anybody can post or sign in.
    #[must_use]
    pub fn default_secrets(&self) -> Vec<&'static str> {
        default_secrets(&self.secrets, &self.admin_secret)
    }

    /// Checks the addresses that the host resolved to. While settings are parsed, `localhost` is assumed
    /// to be a loopback address, but name resolution may say otherwise.
    ///
    /// # Errors
    /// Explains why a server with default secrets or a test clock must not serve on these addresses, and
    /// the fix.
    pub fn check_addresses(&self, local: &[LocalAddr]) -> Result<(), String> {
        let defaults = self.default_secrets();
        let reached = local.iter().find(|local| !local.is_of_this_machine());
        match reached {
            Some(reached) if !defaults.is_empty() && !self.allow_default_secrets => {
                Err(format!("{} is {reached}: {}", self.host, refusal(&defaults)))
            }
            _ => self.allows_test_clock(local),
        }
    }

    /// Returns the line that the program logs at its start: the bound addresses `local`, the backends
    /// that may post, and the URLs of the pages.
    pub(crate) fn start_line(&self, local: &[LocalAddr]) -> String {
        let scheme = if self.tls.is_some() { Scheme::Https } else { Scheme::Http }.as_str();
        let listens = local.iter().map(|local| {
            let Some(address) = local.tcp() else { return local.to_string() };
            let reach = if address.ip().is_unspecified() { " (all addresses)" } else { "" };
            format!("{scheme}://{address}{reach}")
        });
        let listens = listens.collect::<Vec<_>>().join(" and ");
        let mut line = format!(
            "listening on {listens}; signed requests are accepted from {}",
            self.allow_posting_from,
        );
        if let Some(pages_at) = local.iter().find_map(LocalAddr::tcp) {
            let pages = pages(scheme, pages_at);
            line.push_str(&format!("; admin pages at {pages}admin"));
            if self.tutorial != Tutorial::Off {
                line.push_str(&format!("; tutorial at {pages}"));
            }
        }
        let defaults = self.default_secrets();
        if !defaults.is_empty() {
            line.push_str(&format!("; WELL-KNOWN DEFAULT: {}", defaults.join(", ")));
        }
        line
    }
}

/// Returns the URL at which a browser on this machine finds the pages.
fn pages(scheme: &str, local: SocketAddr) -> String {
    let here = match local.ip() {
        IpAddr::V4(address) if address.is_unspecified() => "127.0.0.1".into(),
        IpAddr::V6(address) if address.is_unspecified() => "[::1]".into(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    format!("{scheme}://{here}:{}/", local.port())
}

/// Returns warnings about weak secrets: short ones, and those in files that every user of this machine
/// can read. The well-known defaults have a warning of their own.
pub(super) fn weak_secrets(values: &[Value]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut open_files: Vec<&Path> = Vec::new();
    for value in values {
        let is_secret = setting(&value.key).is_some_and(|setting| setting.kind.is_secret());
        let Value { key, text: Ok(text), origin } = value else { continue };
        let secrets = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut own = secrets().filter(|secret| !is_default(key, secret)).peekable();
        if !is_secret || own.peek().is_none() {
            continue;
        }
        // The first value applies.
        let is_guessed = *key != "redis_url";
        let counts = values.iter().find(|other| other.key == *key).is_some_and(|it| it == value);
        if counts && is_guessed && own.any(|secret| secret.chars().count() < LEAST_SECRET) {
            warnings.push(format!(
                "{origin}: {key} has fewer than {LEAST_SECRET} characters, so that it can be \
                 guessed; `openssl rand -hex 32` generates a good one"
            ));
        }
        if let Origin::SecretFile { path, .. } | Origin::File { path, .. } = origin
            && !open_files.contains(&path.as_path())
            && file::is_open_to_all(path)
        {
            open_files.push(path);
            warnings.push(format!(
                "{0}: every user of this machine can read the secrets in it: chmod 600 {0}",
                path.display()
            ));
        }
    }
    warnings
}

fn is_default(key: &str, secret: &str) -> bool {
    match key {
        "secret" => secret == DEFAULT_SECRET,
        "admin_secret" => secret == DEFAULT_ADMIN_SECRET,
        _ => false,
    }
}
