//! Gathers the texts of settings with their origins: flags over the ini file, or over the environment.
//!
//! With a file the environment is ignored, as in the reference (contract §11).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use channelstream_signer::file::{self, FileError};
use indexmap::IndexMap;

use super::channels::{self, ChannelSection};
use super::error::{ConfigErrors, Mistake, Origin, Value};
use super::table::{Kind, Setting, VARIABLE_PREFIX, setting, settings};
use super::{Checked, Config, exposure, ini, read};
use crate::clock;

/// The section of the ini file that belongs to the server.
pub(crate) const SECTION: &str = "channelstream";

/// The largest ini file.
const MAX_INI: u64 = 1024 * 1024;

/// All values, most important first, and the mistakes that were found while gathering them.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The values as they were given, for [`Config::from_sources`].
    pub(crate) values: Vec<Value>,
    /// The sections `[channel PATTERN]` of the file, in their order.
    pub(crate) channels: Vec<ChannelSection>,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
}

/// Gathers settings from flags (key and text) and from the ini file that a flag or the environment
/// names; without a file, from the environment. Also reads the files that `*_file` settings name.
///
/// [`Sources::check`] reports files that cannot be read.
#[must_use]
pub(crate) fn gather(
    flags: impl IntoIterator<Item = (String, String)>,
    ini: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Sources {
    let mut sources = Sources::default();
    let flags = flags.into_iter().map(|(key, text)| {
        let name = setting(&key).map_or_else(|| key.clone(), Setting::flag);
        Value::new(key, text, Origin::Flag(name))
    });
    sources.add_layer(flags.collect());
    let mut variables = variables(environment);
    let named = variables.iter().position(|value| value.key == "ini");
    let named = named.map(|index| variables.remove(index)).filter(|value| !value.is_blank());
    let file = match (ini, named) {
        (Some(path), _) => Some((path.to_path_buf(), Origin::Flag("--ini".into()))),
        (None, Some(Value { text: Ok(path), origin, .. })) => Some((PathBuf::from(path), origin)),
        (None, Some(Value { text: Err(problem), origin, .. })) => {
            sources.mistakes.push(Mistake::at(origin, problem));
            None
        }
        (None, None) => None,
    };
    let Some((path, named_by)) = file else {
        sources.add_layer(variables);
        return sources;
    };
    if !variables.is_empty() {
        let names: Vec<_> = variables.iter().map(|value| value.origin.to_string()).collect();
        sources.warnings.push(format!(
            "the settings come from {}; environment variables are ignored beside a file: {}",
            path.display(),
            names.join(", ")
        ));
    }
    let layer = sources.file(&path, &named_by);
    sources.add_layer(layer);
    sources
}

/// Returns the settings of the environment, without reading files.
#[must_use]
pub(crate) fn from_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Sources {
    let mut values = variables(environment);
    values.retain(|value| value.key != "ini");
    Sources { values, ..Sources::default() }
}

/// Returns the members of a JSON object as settings: texts, numbers, booleans and lists; `null` is
/// skipped. A member such as `"channel orders-*"` is an object of settings for these channels.
///
/// # Errors
///
/// Fails if the document is not a JSON object, or another member is an object.
pub(crate) fn from_json(document: &str) -> Result<Sources, ConfigErrors> {
    let wrong = |problem: String| {
        ConfigErrors::from_mistakes(vec![Mistake::at(Origin::Json, problem)])
            .expect("there is one mistake")
    };
    let members: IndexMap<String, serde_json::Value> =
        serde_json::from_str(file::without_mark(document)).map_err(|error| {
            wrong(format!("not a JSON object (line {}, column {})", error.line(), error.column()))
        })?;
    let value = |key: String, member: &serde_json::Value| {
        let separator = match setting(&key).map(|setting| setting.kind) {
            Some(Kind::Secrets) => "\n",
            _ => ", ",
        };
        let text = json_text(member, separator).ok_or_else(|| {
            wrong(format!("{key} is not a text, number, boolean or list of these"))
        })?;
        Ok(Value::new(key, text, Origin::Json))
    };
    let mut sources = Sources::default();
    for (key, member) in members {
        match (channels::pattern(&key), member) {
            (_, serde_json::Value::Null) => {}
            (Some(pattern), serde_json::Value::Object(own)) => {
                let own = own.into_iter().filter(|(_, member)| !member.is_null());
                let values =
                    own.map(|(key, member)| value(key, &member)).collect::<Result<_, _>>()?;
                sources.channels.push(ChannelSection { pattern, values, origin: Origin::Json });
            }
            (_, member) => sources.values.push(value(key, &member)?),
        }
    }
    Ok(sources)
}

fn json_text(value: &serde_json::Value, separator: &str) -> Option<String> {
    use serde_json::Value as Json;
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(on) => Some(on.to_string()),
        Json::Array(items) => {
            let texts: Option<Vec<_>> =
                items.iter().map(|item| json_text(item, separator)).collect();
            texts.map(|texts| texts.join(separator))
        }
        Json::Null | Json::Object(_) => None,
    }
}

/// An effective setting. The text may be a secret.
#[derive(Clone)]
pub(crate) struct Effective {
    /// The setting.
    pub(crate) setting: &'static Setting,
    /// Its text or the default; or why the text could not be read.
    pub(crate) text: Result<String, String>,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

impl Effective {
    pub(crate) fn of(values: &[Value], setting: &'static Setting) -> Self {
        let found = read::Found::new(values, setting);
        let text = found.text.map(String::from).map_err(String::from);
        Self { setting, text, origin: found.origin.clone() }
    }
}

impl Sources {
    /// Parses and checks all values; also reports mistakes of the sources themselves.
    #[must_use]
    pub(crate) fn check(&self) -> Checked {
        let warnings = [&self.warnings[..], &exposure::weak_secrets(&self.values)].concat();
        Config::check(&self.values, &self.channels, &self.mistakes, &warnings)
    }

    /// Returns every setting with its effective text, in the order of the table. Texts are not checked.
    #[must_use]
    pub(crate) fn effective(&self) -> Vec<Effective> {
        settings().map(|setting| Effective::of(&self.values, setting)).collect()
    }

    /// Reads the files that `*_file` settings name.
    #[must_use]
    pub(crate) fn with_secret_files(self) -> Self {
        let mut sources = Self { values: Vec::new(), ..self };
        sources.add_layer(self.values);
        sources
    }

    /// Generates random values for secrets that are not set.
    #[must_use]
    pub(crate) fn with_fresh_secrets(mut self) -> Self {
        // The address of Redis is given by others, though it may hold a password.
        let is_ours = |setting: &&Setting| setting.kind.is_secret() && setting.key != "redis_url";
        for setting in settings().filter(is_ours) {
            let file = format!("{}_file", setting.key);
            let is_set =
                |value: &Value| value.key == setting.key || value.key == file && !value.is_blank();
            if !self.values.iter().any(is_set) {
                let text = match setting.key {
                    // Hexadecimal digits are base64, too.
                    "webhook_secret" => format!("whsec_{}", clock::secret_text()),
                    _ => clock::secret_text(),
                };
                self.values.push(Value::new(setting.key, text, Origin::Fresh));
            }
        }
        self
    }

    /// Adds values that are less important than the present ones.
    fn add_layer(&mut self, layer: Vec<Value>) {
        for named in &layer {
            let Some(key) = named.key.strip_suffix("_file") else { continue };
            let is_file = setting(&named.key).is_some_and(|it| it.kind == Kind::SecretFile);
            let overridden = self.values.iter().any(|value| value.key == key);
            if !is_file || overridden || named.is_blank() {
                continue;
            }
            let Ok(path) = named.text.as_deref().map(str::trim) else { continue };
            let (path, named_by) = (PathBuf::from(path), Box::new(named.origin.clone()));
            let text = match layer.iter().find(|value| value.key == key) {
                Some(other) => Err(format!("set twice, here and by {}", other.origin)),
                None => {
                    file::read_secrets(&path).map_err(|error| format!("cannot be read: {error}"))
                }
            };
            let origin = Origin::SecretFile { path, named_by };
            self.values.push(Value { key: key.into(), text, origin });
        }
        self.values.extend(layer);
    }

    /// Returns the settings of an ini file.
    fn file(&mut self, path: &Path, named_by: &Origin) -> Vec<Value> {
        let at = |line| Origin::File { path: path.into(), line };
        let text = match file::read_text(path, MAX_INI) {
            Ok(text) => text,
            Err(error) => {
                let mistake = match error {
                    FileError::NotUtf8(line) => Mistake::at(at(line), "not UTF-8"),
                    error => Mistake::at(at(0), format!("cannot be read ({named_by}): {error}")),
                };
                self.mistakes.push(mistake);
                return Vec::new();
            }
        };
        let (ini, errors) = ini::parse(&text);
        for error in errors {
            self.mistakes.push(Mistake::at(at(error.line), error.problem));
        }
        let Some(values) = values_in(&ini, SECTION, |key| setting(key).is_some(), at) else {
            let sections: Vec<_> = ini.sections().map(|name| format!("[{name}]")).collect();
            let there = if sections.is_empty() { "none".into() } else { sections.join(", ") };
            let problem = format!("no [{SECTION}] section; sections found: {there}");
            self.mistakes.push(Mistake::at(at(0), problem));
            return Vec::new();
        };
        let mut sections: Vec<_> = ini.sections().collect();
        sections.sort_by_key(|section| ini.line(section));
        for section in sections.into_iter().filter(|section| *section != SECTION) {
            let origin = at(ini.line(section));
            if let Some(pattern) = channels::pattern(section) {
                let values = values_in(&ini, section, channels::is_setting, at);
                let values = values.unwrap_or_default();
                self.channels.push(ChannelSection { pattern, values, origin });
            } else if channels::is_near(section) {
                self.warnings.push(format!(
                    "{origin}: unknown section [{section}], ignored; did you mean [channel ...]?"
                ));
            }
        }
        values
    }
}

/// Returns the values of a section in the order of their lines; `None` if there is no such section.
fn values_in(
    ini: &ini::Ini,
    section: &str,
    is_known: impl Fn(&str) -> bool,
    at: impl Fn(usize) -> Origin,
) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    let mut keys = ini.keys(section)?;
    keys.sort_by_key(|(_, line, _)| *line);
    for (key, line, own) in keys {
        let known = is_known(key);
        // Unknown keys may belong to other programs, so their percent signs are not checked.
        if !known && (!own || ini.is_referred_to(section, key)) {
            continue;
        }
        let (text, line) = match ini.get(section, key) {
            Some(Err(error)) if known => (Err(error.problem), error.line),
            Some(Ok(text)) if known => (Ok(text), line),
            _ => (Ok(String::new()), line),
        };
        values.push(Value { key: key.into(), text, origin: at(line) });
    }
    Some(values)
}

/// Returns the `CHANNELSTREAM_*` variables, sorted by name so that reports are stable.
fn variables(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<Value> {
    let mut values = Vec::new();
    for (name, text) in environment {
        let Ok(name) = name.into_string() else { continue };
        let Some(key) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
        let key = key.to_lowercase();
        let text = text.into_string().map_err(|_| "not UTF-8".into());
        values.push(Value { key, text, origin: Origin::Environment(name) });
    }
    values.sort_by(|one, other| one.key.cmp(&other.key));
    values
}
