//! Which settings a running server takes over when they are reloaded, and which need a restart.

use super::Config;

/// One setting of a server, or a group of them that belong together.
struct Field {
    /// The key in the table; of a group, that of the first.
    key: &'static str,
    /// Whether it counts until the process ends.
    is_fixed: bool,
    differs: fn(&Config, &Config) -> bool,
    /// Puts the value of the second into the first.
    copy: fn(&mut Config, &Config),
}

macro_rules! fields {
    ($(fixed $fixed:ident $(= $fixed_key:literal)?;)* $(taken $taken:ident $(= $taken_key:literal)?;)*) => {
        &[
            $(field!(true, $fixed $(, $fixed_key)?),)*
            $(field!(false, $taken $(, $taken_key)?),)*
        ]
    };
}

macro_rules! field {
    ($is_fixed:literal, $field:ident) => {
        field!($is_fixed, $field, (stringify!($field)))
    };
    ($is_fixed:literal, $field:ident, $key:tt) => {
        Field {
            key: $key,
            is_fixed: $is_fixed,
            differs: |one, other| one.$field != other.$field,
            copy: |to, from| to.$field.clone_from(&from.$field),
        }
    };
}

/// All settings. Those that are fixed are built into threads, sockets, timers and files.
const FIELDS: &[Field] = fields! {
    fixed host;
    fixed port;
    fixed threads;
    fixed metrics_addr;
    fixed log_format;
    fixed heartbeat_interval;
    fixed ping_interval;
    fixed ping_timeout;
    fixed journal;
    fixed cluster_level;
    fixed test_clock;
    taken tls = "tls_cert";
    taken secrets = "secret";
    taken admin_user;
    taken admin_secret;
    taken cookie_secret;
    taken allow_default_secrets;
    taken allow_posting_from;
    taken allow_metrics_from;
    taken trusted_proxies;
    taken allow_cors;
    taken validate_requests;
    taken strict_requests;
    taken require_signed_bodies;
    taken max_nonces;
    taken enforce_https;
    taken http_scheme;
    taken tutorial;
    taken log_level;
    taken access_log;
    taken wake_connections_after;
    taken sse_retry;
    taken gc_conns_after;
    taken gc_waiting_conns_after;
    taken gc_users_after;
    taken gc_channels_after;
    taken recovery_window;
    taken append_timeout;
    taken stalled_timeout;
    taken append_interval;
    taken pipe_timeout;
    taken max_growing_size;
    taken max_growing_items;
    taken max_open_messages;
    taken shutdown_timeout;
    taken drain_rate;
    taken max_head_size;
    taken head_timeout;
    taken max_body_size;
    taken body_timeout;
    taken answer_timeout;
    taken max_json_depth;
    taken max_json_elements;
    taken max_client_message;
    taken max_connections;
    taken max_connections_per_address;
    taken max_requests_per_address;
    taken max_listeners;
    taken stored_frames;
    taken stored_private_frames;
    taken stored_bytes;
    taken outbox_frames;
    taken outbox_bytes;
    taken idempotency_window;
    taken max_idempotency_keys;
    taken max_idempotency_bytes;
    taken max_failed_sign_ins;
    taken failed_sign_ins_window;
    taken webhook_url;
    taken webhook_secrets = "webhook_secret";
    taken webhook_events;
    taken webhook_timeout;
    taken max_webhooks;
    taken channel_defaults = "[channel ...]";
};

/// What is different in settings that were read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The settings that a running server takes over.
    pub(crate) taken: Vec<&'static str>,
    /// Those that count after a restart.
    pub(crate) need_restart: Vec<&'static str>,
}

impl Config {
    /// Returns these settings as a server that runs with those of `running` takes them over, and what
    /// is different.
    pub(crate) fn over(mut self, running: &Self) -> (Self, Changes) {
        let mut changes = Changes::default();
        // A socket that listens speaks TLS or not for as long as it does.
        if self.tls.is_some() != running.tls.is_some() {
            self.tls.clone_from(&running.tls);
            changes.need_restart.push("tls_cert");
        }
        for field in FIELDS {
            if !(field.differs)(&self, running) {
                continue;
            }
            if field.is_fixed {
                (field.copy)(&mut self, running);
                changes.need_restart.push(field.key);
            } else {
                changes.taken.push(field.key);
            }
        }
        (self, changes)
    }
}

/// Returns `true` if a setting of the table counts until the process ends.
pub(crate) fn needs_restart(key: &str) -> bool {
    let key = key.strip_suffix("_file").unwrap_or(key);
    let key =
        if key.starts_with("redis_") || key.starts_with("journal_") { "journal" } else { key };
    FIELDS.iter().any(|field| field.is_fixed && field.key == key)
}

#[cfg(test)]
mod tests {
    use super::super::{Origin, Value, table};
    use super::*;

    const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// Returns another valid text for each setting.
    fn other(key: &str, kind: table::Kind) -> String {
        use table::Kind;
        let text = match (key, kind) {
            ("journal", _) => "file",
            ("journal_dir", _) => "/nowhere",
            ("redis_url", _) => "redis://localhost",
            ("webhook_secret", _) => WEBHOOK_SECRET,
            ("webhook_events", _) => "user.joined",
            (_, Kind::Text) => "other",
            (_, Kind::Url) => "https://example.com/",
            (_, Kind::Host) => "localhost",
            (_, Kind::Port) => "1",
            (_, Kind::Address) => "127.0.0.1:1",
            (_, Kind::Secret | Kind::Secrets) => "a secret of some length",
            (_, Kind::Networks) => "127.0.0.1, 10.0.0.0/8",
            (_, Kind::Texts) => "https://example.com",
            (_, Kind::Scheme) => "https",
            (_, Kind::Tutorial) => "off",
            (_, Kind::LogLevel) => "trace",
            (_, Kind::LogFormat) => "json",
            (_, Kind::JournalSync) => "never",
            (_, Kind::ClusterLevel) => "hold",
            (_, Kind::Seconds) => "12.5",
            (_, Kind::Number(least, _) | Kind::Bytes(least, _)) => return (least + 1).to_string(),
            (_, Kind::Switch) => {
                let default = table::setting(key).unwrap().default;
                if super::super::boolean(default).unwrap() { "false" } else { "true" }
            }
            (_, Kind::Journal | Kind::Directory | Kind::File | Kind::SecretFile) => "",
        };
        text.to_owned()
    }

    /// Returns settings with this one, and with those without which it means nothing.
    fn config(key: &str, text: &str) -> Config {
        let others: &[(&str, &str)] = match key {
            _ if key.starts_with("redis_") || key == "cluster_level" => {
                &[("journal", "redis"), ("redis_url", "redis://127.0.0.1")]
            }
            _ if key.starts_with("journal_") || text == "file" => {
                &[("journal", "file"), ("journal_dir", "/somewhere")]
            }
            "webhook_url" => &[("webhook_secret", WEBHOOK_SECRET)],
            _ => &[],
        };
        let others = others.iter().filter(|(other, _)| *other != key || text.is_empty());
        let values = [(key, text)].into_iter().filter(|_| !text.is_empty()).chain(others.copied());
        let values: Vec<_> =
            values.map(|(key, text)| Value::new(key, text, Origin::Json)).collect();
        Config::from_sources(&values).config.unwrap_or_else(|errors| panic!("{key}: {errors}"))
    }

    #[test]
    fn every_setting_of_the_table_is_taken_over_or_needs_a_restart() {
        for setting in table::settings() {
            let text = other(setting.key, setting.kind);
            if text.is_empty() || setting.key == "debug" {
                continue;
            }
            let running = config(setting.key, "");
            let changed = config(setting.key, &text);
            let (merged, changes) = changed.clone().over(&running);
            if needs_restart(setting.key) {
                assert_eq!(changes.need_restart.len(), 1, "{}: {changes:?}", setting.key);
                assert_eq!((merged, &*changes.taken), (running, &[][..]), "{}", setting.key);
            } else {
                assert_eq!(changes.taken, [setting.key]);
                assert_eq!((merged, &*changes.need_restart), (changed, &[][..]), "{}", setting.key);
            }
        }
    }

    #[test]
    fn settings_that_stay_the_same_are_no_change() {
        let config = Config::default();
        assert_eq!(config.clone().over(&config), (config, Changes::default()));
    }
}
