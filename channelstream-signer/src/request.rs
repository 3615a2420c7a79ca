//! Signatures over a whole request: method, target, body, time and nonce (contract §14).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The version of the scheme, which begins the header and the text that is signed.
const VERSION: &str = "v1";

/// Keeps the keys of this scheme apart from those of [`TimestampSigner`](crate::TimestampSigner) and
/// of everything else that is derived from the same secret.
const PURPOSE: &[u8] = b"channelstream.request.v1";

/// The digits of a time: enough for thirty thousand years.
const MAX_DIGITS: u32 = 12;

/// The lengths of a nonce in characters.
const NONCE_LENGTHS: std::ops::RangeInclusive<usize> = 16..=64;

/// What a signature covers beside content, time and nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The method, in capitals: `POST`.
    pub method: &'a str,
    /// The path of the endpoint as it is sent, with `?` and the query if there is one: `/message`.
    pub path: &'a str,
    /// The value of the header `Idempotency-Key`; empty if there is none.
    pub idempotency_key: &'a [u8],
}

/// What a signature says about the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The SHA-256 of the body, which may be empty.
    Sha256([u8; 32]),
    /// The body is not signed.
    Unsigned,
}

impl Content {
    /// The content that a body is.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(body).into())
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "-" { Some(Self::Unsigned) } else { unhex(text).map(Self::Sha256) }
    }
}

/// Writes what the header and the signed text have: 64 hexadecimal digits, or `-`.
impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hash) => f.write_str(&hex(hash)),
            Self::Unsigned => f.write_str("-"),
        }
    }
}

/// A text that no other request has: 16 to 64 characters of `A-Z a-z 0-9 - _`.
///
/// Take at least 120 random bits, such as a UUID of version 4 without hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce<'a>(&'a str);

impl<'a> Nonce<'a> {
    /// A nonce of this text, or `None` if it has other characters or another length.
    #[must_use]
    pub fn new(text: &'a str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (NONCE_LENGTHS.contains(&text.len()) && text.bytes().all(is_allowed)).then_some(Self(text))
    }
}

/// Signs requests, and checks the signatures of requests.
///
/// ```
/// use channelstream_signer::request::{Content, Nonce, RequestSigner, Target};
///
/// let signer = RequestSigner::new("secret");
/// let target = Target { method: "POST", path: "/message", idempotency_key: b"" };
/// let nonce = Nonce::new("0123456789abcdef").unwrap();
/// let header = signer.sign_at(&target, Content::of(b"[]"), 1_700_000_000, nonce)?;
/// assert!(header.starts_with("v1 t=1700000000,n=0123456789abcdef,h="));
///
/// let verified = signer.verify(header.as_bytes(), &target)?;
/// assert_eq!(verified.content, Content::of(b"[]"));
/// assert!(verified.check_time(60, 1_700_000_060).is_ok());
/// # Ok::<(), channelstream_signer::request::RequestError>(())
/// ```
#[derive(Clone)]
pub struct RequestSigner {
    newest: Hmac<Sha256>,
    older: Vec<Hmac<Sha256>>,
}

/// A genuine signature, taken apart. Its time has not been looked at, nor has the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// What the signature says about the body.
    pub content: Content,
    /// When the request was signed, in seconds since 1970.
    pub time: u64,
    /// The signature itself, by which a verifier recognizes a replay.
    pub signature: [u8; 32],
    /// The index of the secret that signed: 0 is the newest.
    pub secret: usize,
}

/// Why a request is not signed, or its signature is refused. No text contains a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The header does not have the form of this scheme.
    #[error("the header is not \"v1 t=TIME,n=NONCE,h=HASH,s=SIGNATURE\"")]
    Malformed,
    /// Method, path or key have a line break, which separates what is signed.
    #[error("method, path or key has a line break")]
    LineBreak,
    /// No secret gives this signature for this request.
    #[error("the signature is not that of this method, path, key, hash, time and nonce")]
    Mismatch,
    /// The request was signed too long ago.
    #[error("the request was signed {age} seconds ago, at most {window} are allowed")]
    Expired {
        /// Seconds since it was signed.
        age: u64,
        /// The seconds that are allowed.
        window: u64,
    },
    /// The request was signed by a clock that is too far ahead.
    #[error("the request was signed {ahead} seconds in the future, at most {window} are allowed")]
    Early {
        /// Seconds until the time at which it was signed.
        ahead: u64,
        /// The seconds that are allowed.
        window: u64,
    },
}

impl RequestSigner {
    /// A signer with one secret.
    #[must_use]
    pub fn new(secret: impl AsRef<[u8]>) -> Self {
        Self { newest: derive(secret.as_ref()), older: Vec::new() }
    }

    /// A signer that signs with the first of these secrets and checks with all. `None` if there are
    /// none.
    #[must_use]
    pub fn with_secrets<T: AsRef<[u8]>>(secrets: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut keys = secrets.into_iter().map(|secret| derive(secret.as_ref()));
        Some(Self { newest: keys.next()?, older: keys.collect() })
    }

    /// Returns the value of the header for a request, signed at a time in seconds since 1970.
    ///
    /// # Errors
    /// [`RequestError::LineBreak`], and [`RequestError::Malformed`] for a time of more than twelve
    /// digits.
    pub fn sign_at(
        &self,
        target: &Target<'_>,
        content: Content,
        time: u64,
        nonce: Nonce<'_>,
    ) -> Result<String, RequestError> {
        if time >= 10_u64.pow(MAX_DIGITS) {
            return Err(RequestError::Malformed);
        }
        let text = Fields { time, nonce, content }.text(target)?;
        let signature = hex(&self.newest.clone().chain_update(text).finalize().into_bytes());
        Ok(format!("{VERSION} t={time},n={},h={content},s={signature}", nonce.0))
    }

    /// Checks the value of the header of a request. Signatures are compared in constant time.
    ///
    /// # Errors
    /// [`RequestError::Malformed`], [`RequestError::LineBreak`] and [`RequestError::Mismatch`].
    pub fn verify(&self, header: &[u8], target: &Target<'_>) -> Result<Verified, RequestError> {
        let (fields, signature) = parse(header).ok_or(RequestError::Malformed)?;
        let text = fields.text(target)?;
        let is_right =
            |key: &Hmac<Sha256>| key.clone().chain_update(&text).verify_slice(&signature).is_ok();
        let mut keys = std::iter::once(&self.newest).chain(&self.older);
        let secret = keys.position(is_right).ok_or(RequestError::Mismatch)?;
        Ok(Verified { content: fields.content, time: fields.time, signature, secret })
    }
}

/// Has no secrets in it.
impl fmt::Debug for RequestSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestSigner").field("older", &self.older.len()).finish_non_exhaustive()
    }
}

impl Verified {
    /// Refuses what was signed more than `window` seconds before or after `now`, in seconds since 1970.
    ///
    /// # Errors
    /// [`RequestError::Expired`] and [`RequestError::Early`].
    pub fn check_time(&self, window: u64, now: u64) -> Result<(), RequestError> {
        let (age, ahead) = (now.saturating_sub(self.time), self.time.saturating_sub(now));
        if age > window {
            return Err(RequestError::Expired { age, window });
        }
        if ahead > window { Err(RequestError::Early { ahead, window }) } else { Ok(()) }
    }
}

/// What the header has beside the signature.
struct Fields<'a> {
    time: u64,
    nonce: Nonce<'a>,
    content: Content,
}

impl Fields<'_> {
    /// The text that is signed: seven fields, with a line break between them.
    fn text(&self, target: &Target<'_>) -> Result<Vec<u8>, RequestError> {
        let Target { method, path, idempotency_key } = *target;
        let foreign = [method.as_bytes(), path.as_bytes(), idempotency_key];
        if foreign.iter().any(|field| field.contains(&b'\n')) {
            return Err(RequestError::LineBreak);
        }
        let (time, content) = (self.time.to_string(), self.content.to_string());
        Ok([
            VERSION.as_bytes(),
            method.as_bytes(),
            path.as_bytes(),
            idempotency_key,
            content.as_bytes(),
            time.as_bytes(),
            self.nonce.0.as_bytes(),
        ]
        .join(&b'\n'))
    }
}

/// Takes a header apart. There is one way to write each signature, so nothing is read leniently.
fn parse(header: &[u8]) -> Option<(Fields<'_>, [u8; 32])> {
    let text = str::from_utf8(header).ok()?.strip_prefix(VERSION)?.strip_prefix(" t=")?;
    let (time, rest) = text.split_once(",n=")?;
    let (nonce, rest) = rest.split_once(",h=")?;
    let (content, signature) = rest.split_once(",s=")?;
    let fields = Fields {
        time: number(time)?,
        nonce: Nonce::new(nonce)?,
        content: Content::parse(content)?,
    };
    Some((fields, unhex(signature)?))
}

/// A decimal number without sign and leading zeros.
fn number(text: &str) -> Option<u64> {
    let is_plain = (1..=MAX_DIGITS as usize).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok())?
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// 32 bytes of 64 hexadecimal digits, in lower case.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn derive(secret: &[u8]) -> Hmac<Sha256> {
    let key = keyed(secret).chain_update(PURPOSE).finalize().into_bytes();
    keyed(&key)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}
