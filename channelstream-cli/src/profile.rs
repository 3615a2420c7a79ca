//! Named profiles: servers with the files of their secrets, in a small TOML file.

use std::collections::BTreeMap;
use std::env;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use channelstream_signer::file::{self, FileError};
use serde::Deserialize;

use crate::environment::variable;
use crate::failure::Failure;

const CONFIG: &str = "CHANNELSTREAM_CONFIG";
/// The largest configuration file.
const MAX_CONFIG: u64 = 1024 * 1024;
const PROFILE: &str = "CHANNELSTREAM_PROFILE";

/// One server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) url: Option<String>,
    /// Relative to the configuration file's folder until the profile is chosen.
    pub(crate) secret_file: Option<PathBuf>,
    /// Relative to the configuration file's folder until the profile is chosen.
    pub(crate) ca_file: Option<PathBuf>,
    /// As `--sign-bodies`.
    #[serde(default)]
    pub(crate) sign_bodies: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// Returns the profile of this name.
pub(crate) fn named(name: &str) -> Result<Profile, Failure> {
    let (path, file) = read()?;
    choose(file, name, path.as_deref())
}

/// Returns the profile that the environment or the file names as the default, or an empty one.
pub(crate) fn default() -> Result<Profile, Failure> {
    let from_environment = variable(PROFILE)?;
    let (path, mut file) = read()?;
    match from_environment.or_else(|| file.default.take()) {
        Some(name) => choose(file, &name, path.as_deref()),
        None => Ok(Profile::default()),
    }
}

fn choose(mut file: File, name: &str, path: Option<&Path>) -> Result<Profile, Failure> {
    let place = path.map_or_else(|| "the configuration file".into(), Path::to_string_lossy);
    let Some(mut profile) = file.profiles.remove(name) else {
        let known: Vec<_> = file.profiles.keys().map(|name| format!("`{name}`")).collect();
        let hint = match known.is_empty() {
            true => format!("{place} has no profiles; `channelstream --help` shows an example"),
            false => format!("{place} has {}", known.join(", ")),
        };
        return Err(Failure::usage(format!("there is no profile `{name}`")).with_hint(hint));
    };
    if let Some(folder) = path.and_then(Path::parent) {
        for file in [&mut profile.secret_file, &mut profile.ca_file].into_iter().flatten() {
            *file = folder.join(&*file);
        }
    }
    Ok(profile)
}

/// Returns the configuration file and its path. A missing file counts as empty unless the
/// environment names it.
fn read() -> Result<(Option<PathBuf>, File), Failure> {
    let named = variable(CONFIG)?.map(PathBuf::from);
    let is_required = named.is_some();
    let Some(path) = named.or_else(default_path) else { return Ok((None, File::default())) };
    let text = match file::read_text(&path, MAX_CONFIG) {
        Ok(text) => text,
        Err(FileError::System(error)) if error.kind() == ErrorKind::NotFound && !is_required => {
            return Ok((Some(path), File::default()));
        }
        Err(error) => {
            let text = format!("cannot read the configuration from {}", path.display());
            return Err(anyhow::Error::new(error).context(text).into());
        }
    };
    let file = parse(&text).with_context(|| format!("in {}", path.display()));
    match file {
        Ok(file) => Ok((Some(path), file)),
        Err(error) => Err(Failure::from(error).with_hint(
            "`channelstream --help` shows an example; secrets belong in a file of their own",
        )),
    }
}

/// Parses the file. An error has the parser's message but no quotation of the file, which might be
/// a secret.
fn parse(text: &str) -> anyhow::Result<File> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.get(..start).unwrap_or(text).matches('\n').count() + 1;
        anyhow::anyhow!("line {line}: {}", error.message())
    })
}

fn default_path() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(folder.join("channelstream/config.toml"))
}
