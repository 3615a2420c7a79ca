//! Which server to ask, and with which secret: flags over environment over defaults.

use std::env::{self, VarError};
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

use channelstream_client::{Client, TimestampSigner};

use crate::args::AccessArgs;
use crate::failure::Failure;

const DEFAULT_URL: &str = "http://127.0.0.1:8000";
const DEFAULT_SECRET: &str = "secret";
const URL: &str = "CHANNELSTREAM_URL";
const SECRET: &str = "CHANNELSTREAM_SECRET";
const SECRET_FILE: &str = "CHANNELSTREAM_SECRET_FILE";

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

/// The signer, and where its secret was found.
pub(crate) fn signer(args: &AccessArgs) -> Result<(TimestampSigner, Origin), Failure> {
    let (secret, origin) = secret(args)?;
    if secret.is_empty() {
        return Err(Failure::usage(format!("the secret is empty: {origin}")));
    }
    Ok((TimestampSigner::new(secret), origin))
}

/// A client for the server, and where the secret was found.
pub(crate) fn client(args: &AccessArgs) -> Result<(Client, Origin), Failure> {
    let (signer, origin) = signer(args)?;
    let url = match &args.url {
        Some(url) => Some(url.clone()),
        None => variable(URL)?,
    };
    let client = Client::builder(url.as_deref().unwrap_or(DEFAULT_URL))
        .signer(signer)
        .user_agent(concat!("channelstream/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Failure::of_client(error, &origin))?;
    Ok((client, origin))
}

fn secret(args: &AccessArgs) -> Result<(Vec<u8>, Origin), Failure> {
    if let Some(path) = &args.secret_file {
        return read(path);
    }
    if let Some(secret) = &args.secret {
        return Ok((secret.clone().into(), Origin::Flag));
    }
    match (variable(SECRET)?, variable(SECRET_FILE)?) {
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("{SECRET} and {SECRET_FILE} are both set: which one?")))
        }
        (Some(secret), None) => Ok((secret.into(), Origin::Variable)),
        (None, Some(path)) => read(Path::new(&path)),
        (None, None) => Ok((DEFAULT_SECRET.into(), Origin::Default)),
    }
}

/// The content of a secret's file, without the line break with which editors end it.
fn read(path: &Path) -> Result<(Vec<u8>, Origin), Failure> {
    let mut secret = fs::read(path).map_err(|error| {
        let text = format!("cannot read the secret from {}", path.display());
        Failure::from(anyhow::Error::new(error).context(text))
    })?;
    if secret.pop_if(|last| *last == b'\n').is_some() {
        secret.pop_if(|last| *last == b'\r');
    }
    Ok((secret, Origin::File(path.into())))
}

/// A variable of the environment; an empty one counts as none.
fn variable(name: &str) -> Result<Option<String>, Failure> {
    match env::var(name) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Failure::usage(format!("{name} is not UTF-8"))),
    }
}
