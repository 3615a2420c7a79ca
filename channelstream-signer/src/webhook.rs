//! Signatures of webhooks, as the specification Standard Webhooks 1.0 has them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// The version of the symmetric signatures, which begins each of them.
const VERSION: &str = "v1,";

/// The lengths of a key in bytes.
const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// How far the time of a webhook may be from now, in seconds, for a receiver that has no reason to choose
/// another bound.
pub const TOLERANCE: u64 = 300;

/// Signs webhooks, and checks their signatures.
///
/// ```
/// use channelstream_signer::webhook::WebhookSigner;
///
/// let signer = WebhookSigner::new(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])?;
/// let body = br#"{"test": 2432232314}"#;
/// let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
/// assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
/// # Ok::<(), channelstream_signer::webhook::WebhookError>(())
/// ```
#[derive(Clone)]
pub struct WebhookSigner(Vec<Hmac<Sha256>>);

/// Why a webhook is not signed, or its signature is refused. No text contains a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// A secret has not the form of the specification.
    #[error("a secret of webhooks is whsec_ and then base64 of 24 to 64 random bytes")]
    Secret,
    /// There is no secret.
    #[error("there is no secret")]
    NoSecret,
    /// No signature fits.
    #[error("no signature is that of id, timestamp and body")]
    Mismatch,
    /// The time is too far from now.
    #[error("the timestamp is {distance} s from now, at most {tolerance} s are allowed")]
    Time {
        /// The distance in seconds.
        distance: u64,
        /// The most that is allowed.
        tolerance: u64,
    },
}

impl WebhookSigner {
    /// A signer with these secrets. It signs with each of them, so that a receiver may know any.
    ///
    /// # Errors
    /// Returns an error if there is no secret, or one has another form.
    pub fn new<T: AsRef<str>>(secrets: impl IntoIterator<Item = T>) -> Result<Self, WebhookError> {
        let keys: Vec<_> =
            secrets.into_iter().map(|secret| key(secret.as_ref())).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(WebhookError::NoSecret) } else { Ok(Self(keys)) }
    }

    /// Returns the value of the header `webhook-signature`: one signature for each secret, separated by
    /// blanks. `timestamp` is in seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signatures = self.0.iter().map(|key| {
            let signature = mac(key, id, timestamp, body).finalize().into_bytes();
            format!("{VERSION}{}", STANDARD.encode(signature))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }

    /// Checks the value of the header `webhook-signature`. Signatures of other versions are passed over.
    /// The time is not looked at: see [`check_time`].
    ///
    /// # Errors
    /// Returns an error if no signature is that of one of the secrets.
    pub fn verify(
        &self,
        id: &str,
        timestamp: u64,
        body: &[u8],
        header: &str,
    ) -> Result<(), WebhookError> {
        let signatures = header.split(' ').filter_map(|one| one.strip_prefix(VERSION));
        let mut signatures = signatures.filter_map(|one| STANDARD.decode(one).ok());
        let is_one = |signature: Vec<u8>| {
            let mut keys = self.0.iter();
            keys.any(|key| mac(key, id, timestamp, body).verify_slice(&signature).is_ok())
        };
        if signatures.any(is_one) { Ok(()) } else { Err(WebhookError::Mismatch) }
    }
}

/// Checks that the time of a webhook is at most `tolerance` seconds from now, before or after.
///
/// # Errors
/// Returns an error if it is further away.
pub fn check_time(timestamp: u64, now: u64, tolerance: u64) -> Result<(), WebhookError> {
    let distance = timestamp.abs_diff(now);
    if distance > tolerance { Err(WebhookError::Time { distance, tolerance }) } else { Ok(()) }
}

impl fmt::Debug for WebhookSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSigner").field("secrets", &self.0.len()).finish_non_exhaustive()
    }
}

fn key(secret: &str) -> Result<Hmac<Sha256>, WebhookError> {
    let encoded = secret.strip_prefix(PREFIX).ok_or(WebhookError::Secret)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| WebhookError::Secret)?;
    if !KEY_LENGTHS.contains(&bytes.len()) {
        return Err(WebhookError::Secret);
    }
    Hmac::new_from_slice(&bytes).map_err(|_| WebhookError::Secret)
}

/// Takes in `id.timestamp.body`.
fn mac(key: &Hmac<Sha256>, id: &str, timestamp: u64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    mac
}
