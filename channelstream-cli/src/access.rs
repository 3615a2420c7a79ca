//! The server's address and secret: from flags, profiles, environment and defaults.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use channelstream_client::{Client, ClientBuilder, TimestampSigner, Uuid};
use channelstream_signer::request::{Content, Nonce, RequestSigner, Target};
use channelstream_signer::{file, unix_now};

use crate::address::Address;
use crate::args::AccessArgs;
use crate::environment::variable;
use crate::failure::Failure;
use crate::output;
use crate::profile::{self, Profile};

const DEFAULT_URL: &str = "http://127.0.0.1:8000";
/// The server's default secret, which is publicly known.
const DEFAULT_SECRET: &str = "secret";
const URL: &str = "CHANNELSTREAM_URL";
const SECRET: &str = "CHANNELSTREAM_SECRET";
const SECRET_FILE: &str = "CHANNELSTREAM_SECRET_FILE";
const CA_FILE: &str = "CHANNELSTREAM_CA_FILE";

/// The source of the secret.
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
            Self::Flag => f.write_str("the secret came from --secret"),
            Self::Variable => write!(f, "the secret came from {SECRET}"),
            Self::File(path) => write!(f, "the secret came from {}", path.display()),
            Self::Default => {
                write!(
                    f,
                    "no secret was given, so the default was used; set --secret-file or {SECRET}"
                )
            }
        }
    }
}

/// The largest file of certificates; all that a system trusts take a quarter of this.
const MAX_CA_FILE: u64 = 1024 * 1024;

/// What signs requests.
#[derive(Clone, Debug)]
pub(crate) struct Signing {
    timestamps: TimestampSigner,
    /// Signs whole requests, if that was asked for.
    requests: Option<RequestSigner>,
}

impl Signing {
    /// With these secrets; `None` if there are none.
    fn with_secrets(secrets: &[&str], sign_bodies: bool) -> Option<Self> {
        let requests = sign_bodies.then(|| RequestSigner::with_secrets(secrets)).flatten();
        Some(Self { timestamps: TimestampSigner::with_secrets(secrets)?, requests })
    }

    /// With the well-known default secret, in the same way.
    pub(crate) fn with_default(&self) -> Self {
        Self {
            timestamps: TimestampSigner::new(DEFAULT_SECRET),
            requests: self.requests.is_some().then(|| RequestSigner::new(DEFAULT_SECRET)),
        }
    }

    /// Returns `true` if the secret is the well-known default, whatever its source.
    pub(crate) fn is_default(&self) -> bool {
        TimestampSigner::new(DEFAULT_SECRET).validate(&self.timestamps.sign("/info"))
    }

    /// Lets a client sign with it.
    pub(crate) fn apply(self, builder: ClientBuilder) -> ClientBuilder {
        match self.requests {
            Some(requests) => builder.request_signer(requests).sign_bodies(true),
            None => builder.signer(self.timestamps),
        }
    }

    /// Returns the name and value of the header that signs a POST of this body.
    pub(crate) fn header(&self, path: &str, body: &str) -> anyhow::Result<(&'static str, String)> {
        let Some(requests) = &self.requests else {
            return Ok(("x-channelstream-secret", self.timestamps.sign(path)));
        };
        let target = Target { method: "POST", path, idempotency_key: b"" };
        let nonce = Uuid::new_v4().simple().to_string();
        let nonce = Nonce::new(&nonce).expect("a UUID without hyphens is 32 letters and digits");
        let signed = requests.sign_at(&target, Content::of(body.as_bytes()), unix_now(), nonce);
        Ok(("x-channelstream-signature", signed?))
    }
}

/// Returns the signer and the source of its secret. With several secrets, which are listed as in the
/// server's file, it signs with the newest and verifies with all.
pub(crate) fn signer(args: &AccessArgs) -> Result<(TimestampSigner, Origin), Failure> {
    let (signing, origin) = signing(args)?;
    Ok((signing.timestamps, origin))
}

/// Returns what signs requests, and the source of its secret.
pub(crate) fn signing(args: &AccessArgs) -> Result<(Signing, Origin), Failure> {
    let (text, origin) = secret(args)?;
    let sign_bodies = args.sign_bodies
        || match named(args)? {
            Some(profile) => profile.sign_bodies,
            None => default_profile(args)?.sign_bodies,
        };
    let signing = Signing::with_secrets(&file::secrets(&text), sign_bodies);
    let signing =
        signing.ok_or_else(|| Failure::usage(format!("the secret is empty ({origin})")))?;
    Ok((signing, origin))
}

/// Returns the server's address; a note says what was added to an incomplete one.
pub(crate) fn url(args: &AccessArgs) -> Result<String, Failure> {
    let Address { url, note } = address(args)?;
    if let Some(note) = note {
        output::say(&format!("note: {note}"));
    }
    Ok(url)
}

/// Returns the server's address with the note about it.
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
    Ok(Address::parse(typed.unwrap_or_else(|| DEFAULT_URL.to_owned())))
}

/// Returns a client for the server, and the source of its secret.
pub(crate) fn client(args: &AccessArgs) -> Result<(Client, Origin), Failure> {
    let (signing, origin) = signing(args)?;
    let client = signing.apply(builder(args, &url(args)?)?).build();
    let client = client.map_err(|error| Failure::of_client(error, &origin))?;
    Ok((client, origin))
}

/// Returns a builder of a client for the server at `url`, without a secret yet.
pub(crate) fn builder(args: &AccessArgs, url: &str) -> Result<ClientBuilder, Failure> {
    let builder =
        Client::builder(url).user_agent(concat!("channelstream/", env!("CARGO_PKG_VERSION")));
    Ok(match roots(args)? {
        Some(pem) => builder.root_certificates(pem),
        None => builder,
    })
}

/// Returns the trusted root certificates in PEM; `None` stands for those of the system.
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
    // Decoded as text, since a byte order mark would hide the first certificate.
    let pem = file::read_text(&path, MAX_CA_FILE).map(String::into_bytes);
    pem.map(Some).map_err(|error| {
        let text = format!("cannot read certificates from {}", path.display());
        anyhow::Error::new(error).context(text).into()
    })
}

/// Returns the text that contains the secrets, and where it came from.
pub(crate) fn secret(args: &AccessArgs) -> Result<(String, Origin), Failure> {
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
        (Some(_), Some(_)) => Err(Failure::usage(format!(
            "{SECRET} and {SECRET_FILE} are both set; unset one of them"
        ))),
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

/// Returns the default profile, or an empty one if `--profile` names another.
fn default_profile(args: &AccessArgs) -> Result<Profile, Failure> {
    if args.profile.is_some() { Ok(Profile::default()) } else { profile::default() }
}

/// Reads a file of secrets, and warns if other users can read it.
fn read(path: &Path) -> Result<(String, Origin), Failure> {
    if file::is_open_to_all(path) {
        output::say(&format!(
            "warning: all users of this machine can read the secret in {0}; run chmod 600 {0}",
            path.display()
        ));
    }
    let text = file::read_secrets(path).map_err(|error| {
        let text = format!("cannot read the secret from {}", path.display());
        Failure::from(anyhow::Error::new(error).context(text))
    })?;
    Ok((text, Origin::File(path.into())))
}
