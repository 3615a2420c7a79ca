//! The settings of webhooks: where they go, what signs them, and which there are.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::str::FromStr;

use channelstream_signer::webhook::WebhookSigner;
use reqwest::Url;
use thiserror::Error;

use super::read::{Reader, list};
use super::table::{Kind, Setting};
use super::{Config, Secret, exposure};

/// More than any machine can hold.
const MANY: usize = 1_000_000_000;

/// The default of `webhook_events`: those of channels, connections and messages, of which there are few.
const EVENTS: &str = "channel.occupied, channel.vacated, connection.ended, message.closed";

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        key: "webhook_url",
        kind: Kind::Url,
        default: "",
        doc: "URL to which the server posts what happens, signed as Standard Webhooks has it. https, or http \
              for a receiver on this machine or in a private network. Empty: there are no webhooks.",
    },
    Setting {
        key: "webhook_secret",
        kind: Kind::Secrets,
        default: "",
        doc: "Secret that signs webhooks: whsec_ and then base64 of 24 to 64 random bytes. One or more, one \
              a line; each signs, so that the receiver can change from one to the next.",
    },
    Setting {
        key: "webhook_secret_file",
        kind: Kind::SecretFile,
        default: "",
        doc: "File that contains `webhook_secret`, in UTF-8; empty lines are ignored.",
    },
    Setting {
        key: "webhook_events",
        kind: Kind::Texts,
        default: EVENTS,
        doc: "The types of webhooks that are sent, separated by commas or lines; user.joined and user.parted \
              are the others.",
    },
    Setting {
        key: "webhook_timeout",
        kind: Kind::Seconds,
        default: "10",
        doc: "Seconds for the receiver of a webhook to answer. A later answer is a failure, and the webhook is \
              sent again.",
    },
    Setting {
        key: "max_webhooks",
        kind: Kind::Number(1, MANY),
        default: "10000",
        doc: "Webhooks that may wait; further ones are dropped and counted. Each takes about 1 KiB of \
              memory, and of the journal's disk.",
    },
];

/// A type of webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WebhookEvent {
    /// A channel without members has its first one.
    Occupied,
    /// The last member of a channel has left it.
    Vacated,
    /// A user has its first connection in a channel.
    Joined,
    /// A user has no connection in a channel any more.
    Parted,
    /// A connection ended.
    Ended,
    /// A growing message ended.
    Closed,
}

impl WebhookEvent {
    const ALL: [Self; 6] =
        [Self::Occupied, Self::Vacated, Self::Joined, Self::Parted, Self::Ended, Self::Closed];

    /// Returns the type as webhooks have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Occupied => "channel.occupied",
            Self::Vacated => "channel.vacated",
            Self::Joined => "user.joined",
            Self::Parted => "user.parted",
            Self::Ended => "connection.ended",
            Self::Closed => "message.closed",
        }
    }
}

/// The URL to which webhooks are posted. It displays without what may be secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

/// Why a text is no URL for webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WebhookUrlError {
    /// It is no URL.
    #[error("not a URL such as https://example.com/hooks")]
    NoUrl,
    /// It has a user name or a password, which belong into the receiver's check of the signature.
    #[error("it has a user name or password; webhooks are signed")]
    Password,
    /// Everybody on the way could read what is sent.
    #[error("http is for receivers on this machine and in private networks; use https")]
    Plain,
}

impl WebhookUrl {
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// Returns `true` if others on a network may read what is sent.
    fn is_plain(&self) -> bool {
        self.0.scheme() == "http" && !self.host().is_some_and(exposure::is_loopback)
    }

    fn host(&self) -> Option<&str> {
        Some(self.0.host_str()?.trim_start_matches('[').trim_end_matches(']'))
    }

    /// Returns `true` if the host can only be one of a private network: such an address, or a name that no
    /// public one has.
    fn is_private(&self) -> bool {
        let Some(host) = self.host() else { return false };
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => {
                address.is_private() || address.is_link_local() || address.is_loopback()
            }
            Ok(IpAddr::V6(address)) => {
                address.is_unique_local()
                    || address.is_unicast_link_local()
                    || address.is_loopback()
            }
            Err(_) => {
                !host.contains('.')
                    || [".local", ".internal", ".localhost"].iter().any(|end| host.ends_with(end))
            }
        }
    }
}

impl FromStr for WebhookUrl {
    type Err = WebhookUrlError;

    fn from_str(text: &str) -> Result<Self, WebhookUrlError> {
        let url = Self(text.trim().parse().map_err(|_| WebhookUrlError::NoUrl)?);
        if !["http", "https"].contains(&url.0.scheme()) || url.host().is_none() {
            return Err(WebhookUrlError::NoUrl);
        }
        if !url.0.username().is_empty() || url.0.password().is_some() {
            return Err(WebhookUrlError::Password);
        }
        if url.0.scheme() == "http" && !url.is_private() {
            return Err(WebhookUrlError::Plain);
        }
        Ok(url)
    }
}

impl Display for WebhookUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.origin().ascii_serialization(), self.0.path())
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Reader<'_> {
    pub(super) fn webhook_url(&mut self) -> Option<WebhookUrl> {
        self.read("webhook_url", |text, _| match text.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|error: WebhookUrlError| error.to_string()),
        })
    }

    pub(super) fn webhook_secrets(&mut self) -> Vec<Secret> {
        self.warn_of_secret("webhook_secret");
        self.read("webhook_secret", |text, _| {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let secrets: Vec<_> = lines.map(Secret::new).collect();
            match WebhookSigner::new(secrets.iter().map(Secret::expose)) {
                Err(error) if !secrets.is_empty() => Err(error.to_string()),
                Ok(_) | Err(_) => Ok(secrets),
            }
        })
    }

    pub(super) fn webhook_events(&mut self) -> Vec<WebhookEvent> {
        self.read("webhook_events", |text, _| {
            let events = list(text).map(|name| {
                let mut all = WebhookEvent::ALL.into_iter();
                all.find(|event| event.as_str() == name).ok_or_else(|| {
                    let all = WebhookEvent::ALL.map(WebhookEvent::as_str).join(", ");
                    format!("{name} is none of {all}")
                })
            });
            let mut events: Vec<_> = events.collect::<Result<_, String>>()?;
            events.sort_unstable();
            events.dedup();
            Ok(events)
        })
    }

    /// Checks what the settings say together.
    pub(super) fn check_webhooks(&mut self, config: &Config) {
        let Some(url) = &config.webhook_url else { return };
        let found = self.find("webhook_url");
        if config.webhook_secrets.is_empty() && self.is_right("webhook_secret") {
            self.refuse(&found, "it needs webhook_secret");
        }
        if url.is_plain() {
            self.warnings.push(format!(
                "{}: webhook_url is http: everybody in that network can read webhooks",
                found.origin
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Origin, Value};
    use super::*;

    fn url(text: &str) -> Result<WebhookUrl, WebhookUrlError> {
        text.parse()
    }

    #[test]
    fn webhooks_are_plain_in_private_networks_only() {
        for text in [
            "https://example.com/hooks?token=x",
            "http://127.0.0.1:9/",
            "http://[::1]/",
            "http://localhost:8080/a",
            "http://10.1.2.3/",
            "http://192.168.0.1/",
            "http://[fd00::1]/",
            "http://app:8080/hooks",
            "http://app.internal/",
        ] {
            assert!(url(text).is_ok(), "{text}");
        }
        for text in ["http://example.com/", "http://8.8.8.8/", "http://[2001:db8::1]/"] {
            assert_eq!(url(text), Err(WebhookUrlError::Plain), "{text}");
        }
        for text in ["", "example.com", "ftp://example.com/", "https://", "/hooks", "mailto:a@b.c"]
        {
            assert_eq!(url(text), Err(WebhookUrlError::NoUrl), "{text}");
        }
        assert_eq!(url("https://a:b@example.com/"), Err(WebhookUrlError::Password));
    }

    #[test]
    fn a_url_displays_without_its_query() {
        let url = url("https://example.com:444/hooks?token=x#y").unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "https://example.com:444/hooks https://example.com:444/hooks"
        );
    }

    fn checked(values: &[(&str, &str)]) -> (Result<Config, String>, Vec<String>) {
        let values = values.iter().map(|(key, text)| Value::new(*key, *text, Origin::Json));
        let checked = Config::from_sources(&values.collect::<Vec<_>>());
        (checked.config.map_err(|errors| errors.to_string()), checked.warnings)
    }

    const SECRET: (&str, &str) = ("webhook_secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

    #[test]
    fn a_url_needs_a_secret_and_a_plain_one_gets_a_warning() {
        let (config, _) = checked(&[("webhook_url", "https://example.com/")]);
        assert!(config.unwrap_err().contains("it needs webhook_secret"));
        let (config, warnings) = checked(&[("webhook_url", "https://example.com/"), SECRET]);
        assert_eq!(config.unwrap().webhook_events.len(), 4);
        assert!(!warnings.iter().any(|warning| warning.contains("webhook")), "{warnings:?}");
        let (_, warnings) = checked(&[("webhook_url", "http://10.0.0.1/"), SECRET]);
        assert!(warnings.iter().any(|warning| warning.contains("webhook_url is http")));
        let (_, warnings) = checked(&[("webhook_url", "http://127.0.0.1/"), SECRET]);
        assert!(!warnings.iter().any(|warning| warning.contains("webhook_url")), "{warnings:?}");
    }

    #[test]
    fn secrets_and_events_that_are_wrong_are_told_without_the_secret() {
        let wrong = [("webhook_secret", "hidden"), ("webhook_events", "user.joined, user.left")];
        let error = checked(&wrong).0.unwrap_err();
        assert!(error.contains("whsec_ and then base64"), "{error}");
        assert!(error.contains("user.left is none of channel.occupied, "), "{error}");
        assert!(!error.contains("hidden"), "{error}");
        let two = format!("{}\n\n whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA \n", SECRET.1);
        let config = checked(&[("webhook_secret", &two), ("webhook_events", "user.joined")]).0;
        let config = config.unwrap();
        assert_eq!((config.webhook_secrets.len(), config.webhook_events.len()), (2, 1));
    }
}
