//! Why a text was refused, and why a separator was.

use thiserror::Error;

/// Which step of reading a signed text failed.
///
/// Neither secrets nor the text itself are in it, so it can be logged. Whoever answers a stranger
/// should answer all variants alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// There is no separator, or what follows the last one is not the base64 of a signature.
    #[error("text does not end in a separator and a signature in base64")]
    Malformed,
    /// The signature is not the one that any of the signer's secrets gives for this text.
    #[error("signature does not match the text")]
    Mismatch,
    /// The signature is right, but what it signs has no timestamp.
    #[error("signed text has no timestamp")]
    NoTimestamp,
    /// The signature is right, but its timestamp is not the base64 of one to eight bytes.
    #[error("timestamp is not one to eight bytes in base64")]
    BadTimestamp,
    /// Everything is right, but the text was signed too long ago.
    #[error("signature is {age} seconds old, at most {max_age} allowed")]
    Expired {
        /// Seconds since the text was signed.
        age: u64,
        /// The seconds that were allowed.
        max_age: u64,
    },
}

/// The separator could occur inside a signature, so texts could not be split again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("separator {separator:?} has no character outside of A-Z, a-z, 0-9, -, _ and =")]
pub struct InvalidSeparator {
    /// The refused separator.
    pub separator: String,
}
