//! Parses the texts of settings into their types, and collects the mistakes.

use std::mem::discriminant;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use channelstream_core::parse_duration;
use channelstream_core::protocol::ChannelConfig;
use channelstream_signer::file;

use super::address::{self, Address, AddressError};
use super::error::{Mistake, Origin, Value};
use super::level::LogFormat;
use super::table::{Kind, Setting, nearest_of};
use super::{JournalSync, Networks, Scheme, Secret, Tutorial};

/// The size of the largest file that a setting names.
const MAX_FILE: u64 = 1024 * 1024;

const MIN_TIME: Duration = Duration::from_millis(1);

/// A hundred years: adding it to a clock does not overflow.
const MAX_TIME: Duration = Duration::from_secs(36_525 * 86_400);

/// The values of all sources, most important first, and the mistakes so far.
pub(super) struct Reader<'a> {
    values: &'a [Value],
    /// The settings that exist.
    known: Vec<&'static Setting>,
    /// The keys of invalid settings, which are replaced by their defaults.
    wrong: Vec<&'static str>,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<String>,
}

/// The text that applies for a setting.
pub(super) struct Found<'a> {
    pub(super) setting: &'static Setting,
    /// The text, or why it could not be read.
    pub(super) text: Result<&'a str, &'a str>,
    pub(super) origin: &'a Origin,
}

impl<'a> Found<'a> {
    /// Finds the first value with the key or alias. An empty text means the default, except for
    /// secrets; an empty key does not hide its alias in the same source, nor the reverse.
    pub(super) fn new(values: &'a [Value], setting: &'static Setting) -> Self {
        let mut named = values.iter().filter(|value| setting.is_named(&value.key));
        let given = named.next().map(|first| {
            let is_twin = |value: &&Value| value.key != first.key && is_same_source(value, first);
            let twin = named.find(|value| is_twin(value) && !value.is_blank());
            twin.filter(|_| first.is_blank()).unwrap_or(first)
        });
        match given {
            Some(value) if setting.kind.is_secret() || !value.is_blank() => {
                let text = value.text.as_ref().map(String::as_str).map_err(String::as_str);
                Self { setting, text, origin: &value.origin }
            }
            _ => Self { setting, text: Ok(setting.default), origin: &Origin::Default },
        }
    }
}

fn is_same_source(one: &Value, other: &Value) -> bool {
    discriminant(&one.origin) == discriminant(&other.origin)
}

impl<'a> Reader<'a> {
    /// Starts with the values of these settings, and reports unknown names.
    pub(super) fn new(values: &'a [Value], known: Vec<&'static Setting>) -> Self {
        let (wrong, mistakes, warnings) = (Vec::new(), Vec::new(), Vec::new());
        let mut reader = Self { values, known, wrong, mistakes, warnings };
        reader.find_unknown();
        reader.find_both_names();
        reader
    }

    /// Unknown names are mistakes on the command line and warnings elsewhere: old files and the
    /// environment may contain names of other programs.
    fn find_unknown(&mut self) {
        let mut unknown = Vec::new();
        let known = self.known.clone();
        let is_known = |key: &str| known.iter().any(|setting| setting.is_named(key));
        for value in self.values.iter().filter(|value| !is_known(&value.key)) {
            let near = nearest_of(&value.key, known.iter().copied());
            match &value.origin {
                Origin::Environment(name) => match near {
                    Some(near) => self.warnings.push(format!(
                        "{name}: unknown, ignored; did you mean {}?",
                        near.variable()
                    )),
                    None => unknown.push(name.as_str()),
                },
                origin => {
                    let hint = near
                        .map(|near| format!("; did you mean {}?", near.key))
                        .unwrap_or_default();
                    let key = &value.key;
                    if matches!(origin, Origin::File { .. } | Origin::Json) {
                        self.warnings
                            .push(format!("{origin}: unknown setting {key}, ignored{hint}"));
                    } else {
                        let problem = format!("unknown setting {key}{hint}");
                        self.mistakes.push(Mistake::at(origin.clone(), problem));
                    }
                }
            }
        }
        if !unknown.is_empty() {
            self.warnings.push(format!("unknown, ignored: {}", unknown.join(", ")));
        }
    }

    /// A source that sets a key and its alias is a mistake: which one counts would be a guess.
    fn find_both_names(&mut self) {
        for value in self.values {
            let setting = self.known.iter().find(|setting| setting.alias() == Some(&*value.key));
            let Some(setting) = setting else { continue };
            let is_twin = |other: &&Value| {
                other.key == setting.key && is_same_source(other, value) && !other.is_blank()
            };
            if let Some(other) = self.values.iter().find(is_twin).filter(|_| !value.is_blank()) {
                let problem = format!(
                    "another name of {}, which is set as well ({}): set one of them",
                    setting.key, other.origin
                );
                self.wrong.push(setting.key);
                let origin = &value.origin;
                self.mistakes
                    .push(Mistake::at(origin.clone(), format!("{}: {problem}", value.key)));
            }
        }
    }

    pub(super) fn find(&self, key: &str) -> Found<'a> {
        let setting = self.known.iter().find(|setting| setting.key == key);
        Found::new(self.values, setting.expect("every key read here is in the table"))
    }

    /// Returns `true` if the setting is valid or was not given.
    pub(super) fn is_right(&self, key: &str) -> bool {
        !self.wrong.contains(&key)
    }

    /// Adds a mistake in a setting.
    pub(super) fn refuse(&mut self, found: &Found<'_>, problem: impl Into<String>) {
        self.wrong.push(found.setting.key);
        let mistake = Mistake::in_setting(found.setting, found.text.ok(), found.origin, problem);
        self.mistakes.push(mistake);
    }

    /// Parses one setting. An invalid one is added to the mistakes and replaced by its default.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str, Kind) -> Result<T, String>,
    ) -> T {
        let found = self.find(key);
        let kind = found.setting.kind;
        found.text.map_err(String::from).and_then(|text| parse(text, kind)).unwrap_or_else(
            |problem| {
                self.refuse(&found, problem);
                parse(found.setting.default, kind).expect("the defaults in the table are valid")
            },
        )
    }

    pub(super) fn parsed<T: FromStr<Err: ToString>>(&mut self, key: &str) -> T {
        self.read(key, |text, _| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    pub(super) fn text(&mut self, key: &str) -> String {
        self.read(key, |text, _| match text.trim() {
            text if text.contains('\n') => Err("more than one line".into()),
            text => Ok(text.into()),
        })
    }

    /// Returns the text of the file that a setting names, if it names one.
    pub(super) fn file(&mut self, key: &str) -> Option<String> {
        self.read(key, |path, _| match path.trim() {
            "" => Ok(None),
            path => file::read_text(Path::new(path), MAX_FILE)
                .map(Some)
                .map_err(|error| format!("cannot be read: {error}")),
        })
    }

    /// Returns the texts of the files that the settings of a certificate and its key name. One without the
    /// other is a mistake.
    pub(super) fn certificate_and_key(
        &mut self,
        keys: [&'static str; 2],
    ) -> Option<(String, Secret)> {
        let [certificate, key] = keys.map(|name| self.file(name));
        if key.is_some() {
            self.warn_of_open_file(keys[1]);
        }
        match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, Secret::new(key))),
            (None, None) => None,
            (certificate, _) => {
                let [given, other] = if certificate.is_some() { keys } else { [keys[1], keys[0]] };
                if self.is_right(other) {
                    let found = self.find(given);
                    self.refuse(&found, format!("it needs {other}"));
                }
                None
            }
        }
    }

    /// Warns if every user of this machine can read the file that a setting names.
    fn warn_of_open_file(&mut self, key: &str) {
        let path = self.find(key).text.unwrap_or_default().trim();
        if file::is_open_to_all(Path::new(path)) {
            self.warnings.push(format!(
                "{path}: every user of this machine can read the key in it: chmod 600 {path}"
            ));
        }
    }

    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        self.read(key, |text, _| Ok(list(text).map(String::from).collect()))
    }

    pub(super) fn host(&mut self, key: &str) -> String {
        self.read(key, |text, _| host(text.trim()))
    }

    pub(super) fn port(&mut self, key: &str) -> u16 {
        self.read(key, |text, _| {
            let text = text.trim();
            let foreign = if text.starts_with("tcp://") {
                "; Kubernetes sets this variable for a service named channelstream: turn \
                 enableServiceLinks off, rename the service, or give the port by flag or file"
            } else {
                ""
            };
            text.parse().map_err(|_| format!("not a port, 0 to 65535{foreign}"))
        })
    }

    /// Parses an address to listen on; `None` if it is empty.
    pub(super) fn address(&mut self, key: &str) -> Option<Address> {
        self.read(key, |text, _| match text.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|error: AddressError| error.to_string()),
        })
    }

    pub(super) fn networks(&mut self, key: &str) -> Networks {
        self.parsed(key)
    }

    pub(super) fn switch(&mut self, key: &str) -> bool {
        self.read(key, |text, _| boolean(text).ok_or_else(|| "neither true nor false".into()))
    }

    /// Returns the settings of a channel, as far as they are given.
    pub(super) fn channel_config(&mut self) -> ChannelConfig {
        let mut size = |key| self.is_given(key).then(|| self.number(key) as u64);
        let (history_size, frames_size) = (size("history_size"), size("frames_size"));
        let history_ttl = size("history_ttl");
        let mut switch = |key| self.is_given(key).then(|| self.switch(key));
        ChannelConfig {
            notify_presence: switch("notify_presence"),
            broadcast_presence_with_user_lists: switch("broadcast_presence_with_user_lists"),
            notify_state: switch("notify_state"),
            store_history: switch("store_history"),
            history_size,
            store_frames: switch("store_frames"),
            frames_size,
            append_as_edit: switch("append_as_edit"),
            history_ttl,
        }
    }

    fn is_given(&self, key: &str) -> bool {
        *self.find(key).origin != Origin::Default
    }

    pub(super) fn scheme(&mut self, key: &str) -> Option<Scheme> {
        self.read(key, |text, _| match text.trim().to_lowercase().as_str() {
            "" => Ok(None),
            "http" => Ok(Some(Scheme::Http)),
            "https" => Ok(Some(Scheme::Https)),
            _ => Err("neither http nor https".into()),
        })
    }

    pub(super) fn tutorial(&mut self, key: &str) -> Tutorial {
        self.read(key, |text, _| match text.trim().to_lowercase().as_str() {
            "auto" => Ok(Tutorial::Auto),
            "on" => Ok(Tutorial::On),
            "off" => Ok(Tutorial::Off),
            _ => Err("neither auto, on nor off".into()),
        })
    }

    pub(super) fn log_format(&mut self, key: &str) -> LogFormat {
        self.read(key, |text, _| match text.trim().to_lowercase().as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("neither text nor json".into()),
        })
    }

    pub(super) fn seconds(&mut self, key: &str) -> Duration {
        self.read(key, |text, _| seconds(text))
    }

    /// Parses one of these words, in any case.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> T {
        self.read(key, |text, _| {
            let text = text.trim().to_lowercase();
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, meaning)| *meaning).ok_or_else(|| {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                format!("neither {}", words.join(" nor "))
            })
        })
    }

    pub(super) fn journal_sync(&mut self, key: &str) -> JournalSync {
        self.read(key, |text, _| match text.trim().to_lowercase().as_str() {
            "always" => Ok(JournalSync::Always),
            "never" => Ok(JournalSync::Never),
            time => seconds(time)
                .map(JournalSync::Every)
                .map_err(|problem| format!("neither always nor never, and {problem}")),
        })
    }

    pub(super) fn number(&mut self, key: &str) -> usize {
        self.read(key, |text, kind| {
            let (Kind::Number(least, most) | Kind::Bytes(least, most)) = kind else {
                return Err("not a number in the table".into());
            };
            match text.trim().parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(number),
                _ => Err(format!("not a whole number from {least} to {most}")),
            }
        })
    }

    /// Parses one secret; `None` if it is empty.
    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        self.warn_of_secret(key);
        self.read(key, |text, _| match file::without_mark(text).trim() {
            "" => Ok(None),
            text if text.contains('\n') => Err("more than one line".into()),
            text => Ok(Some(Secret::new(text))),
        })
    }

    /// Parses one secret that must not be empty.
    pub(super) fn needed_secret(&mut self, key: &str) -> Secret {
        let given = self.secret(key);
        let found = self.find(key);
        given.unwrap_or_else(|| {
            self.refuse(&found, "empty");
            Secret::new(found.setting.default)
        })
    }

    /// Parses secrets, one a line, newest first.
    pub(super) fn secrets(&mut self, key: &str) -> Vec<Secret> {
        self.warn_of_secret(key);
        self.read(key, |text, _| {
            let secrets: Vec<_> = file::secrets(text).into_iter().map(Secret::new).collect();
            if secrets.is_empty() { Err("empty".into()) } else { Ok(secrets) }
        })
    }

    pub(super) fn warn_of_secret(&mut self, key: &str) {
        let Found { setting, text: Ok(text), origin } = self.find(key) else { return };
        if let Origin::Flag(name) = origin {
            self.warnings.push(format!(
                "{name}: every user of this machine can see it in the list of processes; use \
                 {name}-file"
            ));
        }
        if text.trim() != text && !text.trim().is_empty() {
            let outcome = match setting.kind {
                Kind::Secrets => "; signatures are accepted with and without it",
                _ => ", which is ignored",
            };
            self.warnings.push(format!("{origin}: {key} has white space around it{outcome}"));
        }
        for line in text.lines().skip(1) {
            let word = line.split(['=', ':']).next().unwrap_or_default().trim();
            if word.len() < line.trim().len()
                && let Some(other) = super::table::setting(&word.to_lowercase())
            {
                self.warnings.push(format!(
                    "{origin}: a further line of {key} looks like the setting {}; is it indented by \
                     mistake?",
                    other.key
                ));
            }
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).map_err(|error| error.to_string())?;
    if (MIN_TIME..=MAX_TIME).contains(&time) {
        Ok(time)
    } else {
        Err(String::from("not a time from 1ms to 36525d"))
    }
}

/// Parses the words for true and false of contract §11, in any case. The reference takes all other words,
/// such as `enabled`, for false; here they are `None`.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Returns the trimmed entries of a list, separated by commas or line breaks, without empty ones.
pub(crate) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty())
}

/// Parses a name, an address or a unix socket, and removes the brackets of an IPv6 address.
pub(super) fn host(text: &str) -> Result<String, String> {
    if let Some(path) = address::unix_socket(text) {
        return address::check_unix(path).map(|()| text.into());
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.into());
    }
    let named = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
    if named { Ok(text.into()) } else { Err("neither a host name nor an address".into()) }
}
