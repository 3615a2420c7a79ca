//! What stands between the value, the time and the signature of a signed text.

use crate::error::InvalidSeparator;

/// A text that separates the parts of a signed text.
///
/// It has at least one character that base64 does not use, so it cannot occur inside a timestamp or
/// a signature, and the last separator of a text is always the one that the signer wrote.
///
/// ```
/// use channelstream_signer::{Separator, TimestampSigner};
///
/// let separator = Separator::new(":")?;
/// let signer = TimestampSigner::builder("secret").separator(separator).build();
/// assert!(signer.sign_at("/connect", 1_700_000_000).starts_with("/connect:ZVPxAA:"));
/// # Ok::<(), channelstream_signer::InvalidSeparator>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Separator(String);

impl Separator {
    /// Takes one or more characters as a separator.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidSeparator`] if the text is empty or consists of base64 characters alone.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidSeparator> {
        let separator = text.into();
        // One other character is enough: then no separator can begin or end inside base64 text
        // without running over its border.
        if separator.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)) {
            return Err(InvalidSeparator { separator });
        }
        Ok(Self(separator))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Splits a text at the last separator. One character, which is usual, is found much faster
    /// than a text.
    pub(crate) fn split<'a>(&self, text: &'a str) -> Option<(&'a str, &'a str)> {
        let mut letters = self.0.chars();
        match (letters.next(), letters.next()) {
            (Some(only), None) => text.rsplit_once(only),
            _ => text.rsplit_once(&self.0),
        }
    }
}

impl Default for Separator {
    /// The separator of itsdangerous: `.`.
    fn default() -> Self {
        Self(".".to_owned())
    }
}
