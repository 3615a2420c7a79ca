//! Which server to ask, and with which secret: flags, profiles, environment, defaults.

use std::env::{self, VarError};
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use channelstream_client::{Client, ClientBuilder, TimestampSigner};
use channelstream_signer::file;

use crate::address::Address;
use crate::args::AccessArgs;
use crate::failure::Failure;
use crate::output;
use crate::profile::{self, Profile};

const DEFAULT_URL: &str = "http://127.0.0.1:8000";
/// The server's own default, which everybody knows.
pub(crate) const DEFAULT_SECRET: &str = "secret";
const URL: &str = "CHANNELSTREAM_URL";
const SECRET: &str = "CHANNELSTREAM_SECRET";
const SECRET_FILE: &str = "CHANNELSTREAM_SECRET_FILE";
const CA_FILE: &str = "CHANNELSTREAM_CA_FILE";

/// Where the secret was found.
#[derive(Debug)]
pub(crate) enum Origin {
    Flag,
    Variable,
    File(PathBuf),
    Default,
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("it was taken from --secret"),
            Self::Variable => write!(f, "it was taken from {SECRET}"),
            Self::File(path) => write!(f, "it was taken from {}", path.display()),
            Self::Default => {
                write!(f, "none was given, so the default was tried: use --secret-file or {SECRET}")
            }
        }
    }
}

/// Larger files are no certificates: all that a system trusts are a quarter of that.
const MAX_CA_FILE: u64 = 1024 * 1024;

/// The signer, and where its secret was found. Of several it signs with the newest, as they stand in
/// the server's file, and checks with all.
pub(crate) fn signer(args: &AccessArgs) -> Result<(TimestampSigner, Origin), Failure> {
    let (text, origin) = secret(args)?;
    let signer = TimestampSigner::with_secrets(file::secrets(&text));
    let signer = signer.ok_or_else(|| Failure::usage(format!("the secret is empty: {origin}")))?;
    Ok((signer, origin))
}

/// Where the server is; whoever left something out of the address is told what was added.
pub(crate) fn url(args: &AccessArgs) -> Result<String, Failure> {
    let Address { url, note } = address(args)?;
    if let Some(note) = note {
        output::say(&format!("note: {note}"));
    }
    Ok(url)
}

/// The same, with what is to be told.
pub(crate) fn address(args: &AccessArgs) -> Result<Address, Failure> {
    let mut typed = args.url.clone();
    if typed.is_none() {
        typed = named(args)?.and_then(|profile| profile.url);
    }
    if typed.is_none() {
        typed = variable(URL)?;
    }
    if typed.is_none() {
        typed = default_profile(args)?.url;
    }
    Ok(Address::read(typed.unwrap_or_else(|| DEFAULT_URL.to_owned())))
}

/// A client for the server, and where the secret was found.
pub(crate) fn client(args: &AccessArgs) -> Result<(Client, Origin), Failure> {
    let (signer, origin) = signer(args)?;
    let client = builder(args, &url(args)?)?.signer(signer).build();
    let client = client.map_err(|error| Failure::of_client(error, &origin))?;
    Ok((client, origin))
}

/// The beginning of a client for the server at `url`.
pub(crate) fn builder(args: &AccessArgs, url: &str) -> Result<ClientBuilder, Failure> {
    let builder =
        Client::builder(url).user_agent(concat!("channelstream/", env!("CARGO_PKG_VERSION")));
    Ok(match roots(args)? {
        Some(pem) => builder.root_certificates(pem),
        None => builder,
    })
}

/// By which certificates, in PEM, servers are trusted; none: by those of the system.
pub(crate) fn roots(args: &AccessArgs) -> Result<Option<Vec<u8>>, Failure> {
    let path = match &args.ca_file {
        Some(path) => Some(path.clone()),
        None => match named(args)?.and_then(|profile| profile.ca_file) {
            Some(path) => Some(path),
            None => match variable(CA_FILE)? {
                Some(path) => Some(path.into()),
                None => default_profile(args)?.ca_file,
            },
        },
    };
    let Some(path) = path else { return Ok(None) };
    // A byte order mark would hide the first certificate.
    let pem = file::read_text(&path, MAX_CA_FILE).map(String::into_bytes);
    pem.map(Some).map_err(|error| {
        let text = format!("cannot read certificates from {}", path.display());
        anyhow::Error::new(error).context(text).into()
    })
}

/// The text that holds it.
fn secret(args: &AccessArgs) -> Result<(String, Origin), Failure> {
    if let Some(path) = &args.secret_file {
        return read(path);
    }
    if let Some(secret) = &args.secret {
        return Ok((secret.clone(), Origin::Flag));
    }
    if let Some(Profile { secret_file: Some(path), .. }) = named(args)? {
        return read(&path);
    }
    match (variable(SECRET)?, variable(SECRET_FILE)?) {
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("{SECRET} and {SECRET_FILE} are both set: which one?")))
        }
        (Some(secret), None) => Ok((secret, Origin::Variable)),
        (None, Some(path)) => read(Path::new(&path)),
        (None, None) => match default_profile(args)?.secret_file {
            Some(path) => read(&path),
            None => Ok((DEFAULT_SECRET.into(), Origin::Default)),
        },
    }
}

fn named(args: &AccessArgs) -> Result<Option<Profile>, Failure> {
    args.profile.as_deref().map(profile::named).transpose()
}

/// Whoever names a profile wants no other one.
fn default_profile(args: &AccessArgs) -> Result<Profile, Failure> {
    if args.profile.is_some() { Ok(Profile::default()) } else { profile::default() }
}

/// The content of a secret's file.
fn read(path: &Path) -> Result<(String, Origin), Failure> {
    if file::is_open_to_all(path) {
        output::say(&format!(
            "warning: everybody on this machine can read the secret in {0}: chmod 600 {0}",
            path.display()
        ));
    }
    let text = file::read_secrets(path).map_err(|error| {
        let text = format!("cannot read the secret from {}", path.display());
        Failure::from(anyhow::Error::new(error).context(text))
    })?;
    Ok((text, Origin::File(path.into())))
}

/// A variable of the environment; an empty one counts as none.
pub(crate) fn variable(name: &str) -> Result<Option<String>, Failure> {
    match env::var(name) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Failure::usage(format!("{name} is not UTF-8"))),
    }
}
