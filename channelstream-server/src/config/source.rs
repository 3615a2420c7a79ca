//! Gathers the texts of settings with their origin: flags over ini file, or over the environment.
//!
//! A file shuts the environment out, as in the reference (contract §11).

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::{ConfigErrors, Mistake, Origin, Value};
use super::table::{Kind, Setting, VARIABLE_PREFIX, setting, settings};
use super::{Checked, Config, exposure, ini, read};

/// The section of the ini file that belongs to the server.
pub const SECTION: &str = "channelstream";

/// The variable that names the ini file where no flag does.
pub const INI_VARIABLE: &str = "CHANNELSTREAM_INI";

/// All values, the most important first, and what was found wrong while gathering them.
#[derive(Debug, Default)]
pub struct Sources {
    /// What was given, for [`Config::from_sources`].
    pub values: Vec<Value>,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
}

/// Gathers settings from flags (key and text), the ini file if one is named by argument or
/// environment, else from the environment, and reads the files that `*_file` settings name.
///
/// Files that cannot be read are among the mistakes that [`Sources::check`] reports.
#[must_use]
pub fn gather(
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
            "the settings come from {}; environment variables don't count beside a file: {}",
            path.display(),
            names.join(", ")
        ));
    }
    let layer = sources.file(&path, &named_by);
    sources.add_layer(layer);
    sources
}

/// What the environment says, before any `*_file` is read; without the variable that names a file.
#[must_use]
pub fn from_environment(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Sources {
    let mut values = variables(environment);
    values.retain(|value| value.key != "ini");
    Sources { values, ..Sources::default() }
}

/// The members of a JSON object as settings: texts, numbers, booleans, lists; `null` is left out.
///
/// # Errors
///
/// The document is no JSON object, or a member is itself an object.
pub fn from_json(document: &str) -> Result<Sources, ConfigErrors> {
    let wrong = |problem: String| {
        ConfigErrors::from_mistakes(vec![Mistake::at(Origin::Json, problem)])
            .expect("there is one mistake")
    };
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(document)
        .map_err(|error| {
            wrong(format!("no JSON object (line {}, column {})", error.line(), error.column()))
        })?;
    let mut values = Vec::new();
    for (key, member) in members {
        let separator = match setting(&key).map(|setting| setting.kind) {
            Some(Kind::Secrets) => "\n",
            _ => ", ",
        };
        if member.is_null() {
            continue;
        }
        let text = json_text(&member, separator)
            .ok_or_else(|| wrong(format!("{key} is no text, number, boolean or list of such")))?;
        values.push(Value::new(key, text, Origin::Json));
    }
    Ok(Sources { values, ..Sources::default() })
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

/// A setting as it is in force. The text may be a secret.
#[derive(Clone)]
pub struct Effective {
    /// The setting.
    pub setting: &'static Setting,
    /// Its text, the default if nobody gave one; or why it could not be had.
    pub text: Result<String, String>,
    /// From where it comes.
    pub origin: Origin,
}

impl Sources {
    /// Reads and checks everything; also reports what was wrong with the sources themselves.
    #[must_use]
    pub fn check(&self) -> Checked {
        let warnings = [&self.warnings[..], &exposure::weak_secrets(&self.values)].concat();
        Config::check(&self.values, self.mistakes.clone(), warnings)
    }

    /// Every setting with the text that counts, in the order of the table. Texts are not checked.
    #[must_use]
    pub fn effective(&self) -> Vec<Effective> {
        let found = settings().map(|setting| read::Found::new(&self.values, setting));
        found
            .map(|found| Effective {
                setting: found.setting,
                text: found.text.map(String::from).map_err(String::from),
                origin: found.origin.clone(),
            })
            .collect()
    }

    /// Reads the files that `*_file` settings of the values name.
    #[must_use]
    pub fn with_secret_files(self) -> Self {
        let (mistakes, warnings) = (self.mistakes, self.warnings);
        let mut sources = Self { values: Vec::new(), mistakes, warnings };
        sources.add_layer(self.values);
        sources
    }

    /// Adds values that are less important than those there are.
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
                None => read_secret(&path),
            };
            let origin = Origin::SecretFile { path, named_by };
            self.values.push(Value { key: key.into(), text, origin });
        }
        self.values.extend(layer);
    }

    /// The settings in an ini file.
    #[expect(clippy::disallowed_methods, reason = "settings are read before anybody is served")]
    fn file(&mut self, path: &Path, named_by: &Origin) -> Vec<Value> {
        let at = |line| Origin::File { path: path.into(), line };
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
                Mistake::at(at(line), "not UTF-8")
            }),
            Err(error) => Err(Mistake::at(at(0), format!("cannot be read ({named_by}): {error}"))),
        };
        let text = match text {
            Ok(text) => text,
            Err(mistake) => {
                self.mistakes.push(mistake);
                return Vec::new();
            }
        };
        let (ini, errors) = ini::parse(&text);
        for error in errors {
            self.mistakes.push(Mistake::at(at(error.line), error.problem));
        }
        let Some(keys) = ini.keys(SECTION) else {
            let sections: Vec<_> = ini.sections().map(|name| format!("[{name}]")).collect();
            let there = if sections.is_empty() { "none".into() } else { sections.join(", ") };
            let problem = format!("no [{SECTION}] section; sections found: {there}");
            self.mistakes.push(Mistake::at(at(0), problem));
            return Vec::new();
        };
        let mut values = Vec::new();
        for (key, line, own) in keys {
            let known = setting(key).is_some();
            // What other keys are for is not known here, nor need their percent signs be right.
            if !known && (!own || ini.is_referred_to(SECTION, key)) {
                continue;
            }
            let (text, line) = match ini.get(SECTION, key) {
                Some(Err(error)) if known => (Err(error.problem), error.line),
                Some(Ok(text)) if known => (Ok(text), line),
                _ => (Ok(String::new()), line),
            };
            values.push(Value { key: key.into(), text, origin: at(line) });
        }
        values.sort_by_key(|value| match value.origin {
            Origin::File { line, .. } => line,
            _ => 0,
        });
        values
    }
}

/// The `CHANNELSTREAM_*` variables, sorted by name so that reports are stable.
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

/// The text of a secret's file, without the line break with which editors end it.
#[expect(clippy::disallowed_methods, reason = "settings are read before anybody is served")]
fn read_secret(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).into())
}
