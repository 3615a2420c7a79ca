//! Timestamped signatures as Python's itsdangerous makes and checks them.
//!
//! A signed text is a value, the time of signing, and a signature over both. A program that knows the
//! secret can sign, and can check that a text is genuine and how old it is. The value stays readable,
//! and the same text is valid again and again until it expires.
//!
//! # What is signed, and how
//!
//! With the secret `secret`, the value `/connect` and the Unix time 1700000000 (contract §3):
//!
//! | step | result |
//! | --- | --- |
//! | key: SHA-1 of `itsdangerous.Signer` `signer` `secret` | `3a1c28f7aad5a02fe672d24f1003fb52a7312ed7` |
//! | time: big-endian bytes without leading zero bytes | `6553f100` |
//! | in base64, URL-safe alphabet, no padding | `ZVPxAA` |
//! | what is signed | `/connect.ZVPxAA` |
//! | signature: its HMAC-SHA1 with that key, in base64 | `LGgz2XYmQrtshS37benqptPevTY` |
//!
//! ```
//! use channelstream_signer::{SignatureError, TimestampSigner};
//!
//! let signer = TimestampSigner::new("secret");
//! let text = signer.sign_at("/connect", 1_700_000_000);
//! assert_eq!(text, "/connect.ZVPxAA.LGgz2XYmQrtshS37benqptPevTY");
//!
//! // Mechanism: is it genuine, what is its value, when was it signed?
//! let unsigned = signer.unsign(&text)?;
//! assert_eq!((unsigned.value, unsigned.timestamp), ("/connect", 1_700_000_000));
//!
//! // Policy: not older than 60 seconds, at a time that the caller passes.
//! assert!(signer.unsign_within(&text, 60, 1_700_000_060).is_ok());
//! assert_eq!(
//!     signer.unsign_within(&text, 60, 1_700_000_061),
//!     Err(SignatureError::Expired { age: 61, max_age: 60 }),
//! );
//! # Ok::<(), SignatureError>(())
//! ```
//!
//! # How it compares with itsdangerous
//!
//! Salt, separator, key derivation and digest are those of its `TimestampSigner`; a list of
//! secrets verifies as in 2.x. Texts are read as leniently: base64 in either alphabet or a mixture,
//! padded or not, whatever the unused bits of the last character are. The signature is over the
//! text as it was sent, not over the decoded time. Differences:
//!
//! * Foreign characters inside a signature are refused; itsdangerous skips them.
//! * A time of zero is written as one zero byte, and an empty timestamp is refused; itsdangerous
//!   writes and reads zero as no bytes at all. It reads our form.
//! * A time in the future is accepted, as in itsdangerous 1.1.0. Since 2.0 it refuses those under
//!   an age limit; compare [`Unsigned::timestamp`] with the clock to do so here.
//! * Values are text. Values in Python can be bytes that are not UTF-8, which this crate does not read.
//!
//! # Where to start
//!
//! * [`TimestampSigner`] signs and checks; [`TimestampSigner::builder`] has all settings.
//! * [`Unsigned`] is a checked text; [`SignatureError`] names the step that failed.
//! * [`request`](mod@request) signs whole requests, with method, path and body (contract §14).
//! * [`webhook`](mod@webhook) signs and checks webhooks (Standard Webhooks 1.0).
//! * [`file`](mod@file) reads files of secrets as the server and the command do.
//! * [`unix_now`] is the clock for [`TimestampSigner::unsign_within`].

mod encoding;
mod error;
pub mod file;
mod key;
pub mod request;
mod separator;
pub mod webhook;

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

pub use crate::error::{InvalidSeparator, SignatureError};
pub use crate::key::{Digest, KeyDerivation};
pub use crate::separator::Separator;

use crate::key::{Keys, Source};

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

const DEFAULT_SALT: &str = "itsdangerous.Signer";

/// Signs texts with the time, and checks such texts.
///
/// Keys are derived once, when it is made; signing and checking borrow it, so one signer can serve
/// all threads. Its `Debug` output has no secrets.
#[derive(Clone)]
pub struct TimestampSigner {
    keys: Keys,
    separator: Separator,
}

/// A genuine text, taken apart. Its age has not been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsigned<'a> {
    /// What was signed.
    pub value: &'a str,
    /// When it was signed, in seconds since 1970. Any `u64` can come out of a genuine text.
    pub timestamp: u64,
}

impl TimestampSigner {
    /// A signer with one secret and the defaults of itsdangerous, as Channelstream uses them
    /// (contract §3). Any bytes are a secret, also none at all.
    #[must_use]
    pub fn new(secret: impl AsRef<[u8]>) -> Self {
        Builder::new(secret.as_ref()).build()
    }

    /// A signer that signs with the first of these secrets and checks with all, as they stand in a
    /// file that [`file::read_secrets`] reads. `None` if there are none.
    #[must_use]
    pub fn with_secrets<T: AsRef<[u8]>>(secrets: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut secrets = secrets.into_iter();
        let newest = Builder::new(secrets.next()?.as_ref());
        Some(secrets.fold(newest, Builder::older_secret).build())
    }

    /// A signer with other settings. `secret` is the newest: it signs.
    #[must_use]
    pub fn builder(secret: impl AsRef<[u8]>) -> Builder {
        Builder::new(secret.as_ref())
    }

    /// Signs a value at the time of the system's clock.
    #[must_use]
    pub fn sign(&self, value: &str) -> String {
        self.sign_at(value, unix_now())
    }

    /// Signs a value at a given time, in seconds since 1970. The value may have separators in it.
    #[must_use]
    pub fn sign_at(&self, value: &str, timestamp: u64) -> String {
        let separator = self.separator.as_str();
        // 11 characters are the longest timestamp, 86 the longest signature.
        let mut text = String::with_capacity(value.len() + 2 * separator.len() + 11 + 86);
        text.push_str(value);
        text.push_str(separator);
        encoding::append_timestamp(timestamp, &mut text);
        self.keys.append_signature(separator, &mut text);
        text
    }

    /// Checks the signature and takes the text apart, however old it is.
    ///
    /// # Errors
    ///
    /// Any [`SignatureError`] but `Expired`. The signature is checked before the timestamp is read.
    pub fn unsign<'a>(&self, text: &'a str) -> Result<Unsigned<'a>, SignatureError> {
        let (signed, signature) = self.separator.split(text).ok_or(SignatureError::Malformed)?;
        let signature = encoding::decode(signature).ok_or(SignatureError::Malformed)?;
        if !self.keys.verify(signed.as_bytes(), signature.as_bytes()) {
            return Err(SignatureError::Mismatch);
        }
        let (value, timestamp) = self.separator.split(signed).ok_or(SignatureError::NoTimestamp)?;
        let timestamp =
            encoding::decode_timestamp(timestamp).ok_or(SignatureError::BadTimestamp)?;
        Ok(Unsigned { value, timestamp })
    }

    /// Like [`unsign`](Self::unsign), but refuses what was signed more than `max_age` seconds
    /// before `now`, both counted as in [`Unsigned::check_age`].
    ///
    /// # Errors
    ///
    /// Any [`SignatureError`].
    pub fn unsign_within<'a>(
        &self,
        text: &'a str,
        max_age: u64,
        now: u64,
    ) -> Result<Unsigned<'a>, SignatureError> {
        let unsigned = self.unsign(text)?;
        unsigned.check_age(max_age, now)?;
        Ok(unsigned)
    }

    /// Whether [`unsign`](Self::unsign) would succeed. The age is not looked at.
    #[must_use]
    pub fn validate(&self, text: &str) -> bool {
        self.unsign(text).is_ok()
    }
}

impl fmt::Debug for TimestampSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimestampSigner")
            .field("digest", &self.keys.digest())
            .field("separator", &self.separator.as_str())
            .finish_non_exhaustive()
    }
}

impl Unsigned<'_> {
    /// The rule of itsdangerous 1.1.0 (contract §3): refused if more than `max_age` seconds lie
    /// between signing and `now` (seconds since 1970). Times in the future are accepted.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Expired`].
    pub fn check_age(&self, max_age: u64, now: u64) -> Result<(), SignatureError> {
        let age = now.saturating_sub(self.timestamp);
        if age > max_age { Err(SignatureError::Expired { age, max_age }) } else { Ok(()) }
    }
}

/// The settings of a [`TimestampSigner`] in the making.
///
/// ```
/// use channelstream_signer::{Digest, TimestampSigner};
///
/// let signer = TimestampSigner::builder("the new secret")
///     .older_secret("the secret before it")
///     .salt("my-app.password-reset")
///     .digest(Digest::Sha256)
///     .build();
/// ```
#[derive(Clone)]
pub struct Builder {
    newest: Vec<u8>,
    older: Vec<Vec<u8>>,
    salt: Vec<u8>,
    separator: Separator,
    derivation: KeyDerivation,
    digest: Digest,
}

impl Builder {
    fn new(secret: &[u8]) -> Self {
        Self {
            newest: secret.to_vec(),
            older: Vec::new(),
            salt: DEFAULT_SALT.into(),
            separator: Separator::default(),
            derivation: KeyDerivation::default(),
            digest: Digest::default(),
        }
    }

    /// Adds a secret that still verifies but no longer signs. Secrets are tried in the order in
    /// which they were added, so add the youngest first.
    #[must_use]
    pub fn older_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.older.push(secret.as_ref().to_vec());
        self
    }

    /// Keeps signatures of different purposes apart: another salt, another key. Default
    /// `itsdangerous.Signer`.
    #[must_use]
    pub fn salt(mut self, salt: impl AsRef<[u8]>) -> Self {
        self.salt = salt.as_ref().to_vec();
        self
    }

    /// Sets what stands between value, time and signature. Default `.`.
    #[must_use]
    pub fn separator(mut self, separator: Separator) -> Self {
        self.separator = separator;
        self
    }

    /// How keys are derived. Default [`KeyDerivation::DjangoConcat`].
    #[must_use]
    pub fn key_derivation(mut self, derivation: KeyDerivation) -> Self {
        self.derivation = derivation;
        self
    }

    /// The hash function. Default [`Digest::Sha1`].
    #[must_use]
    pub fn digest(mut self, digest: Digest) -> Self {
        self.digest = digest;
        self
    }

    /// Derives the keys.
    #[must_use]
    pub fn build(self) -> TimestampSigner {
        let source = Source {
            newest: &self.newest,
            older: &self.older,
            salt: &self.salt,
            derivation: self.derivation,
        };
        let keys = Keys::derive(self.digest, &source);
        TimestampSigner { keys, separator: self.separator }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("separator", &self.separator.as_str())
            .field("derivation", &self.derivation)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// The system's clock in whole seconds since 1970, for [`TimestampSigner::unsign_within`]. Zero if
/// the clock stands before 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "signatures have the time of day")]
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
