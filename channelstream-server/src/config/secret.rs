//! Secrets: compared in constant time, displayed as `***`.

use std::fmt;

use subtle::ConstantTimeEq;

/// A text that must not be revealed: neither `Debug` nor `Display` shows it.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Creates a secret from the text as it is, blanks included.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text, to sign or verify with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns `true` if `guess` is the secret. Nothing matches an empty secret. The time it takes
    /// reveals at most the length.
    #[must_use]
    pub fn matches(&self, guess: &str) -> bool {
        self.is_same(guess) & !self.0.is_empty()
    }

    fn is_same(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(&other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_itself_alone() {
        let secret = Secret::new("50%off");
        assert!(secret.matches("50%off"));
        for other in ["", "50%of", "50%off ", "50%ofF", "60%off"] {
            assert!(!secret.matches(other), "{other}");
            assert_ne!(secret, Secret::new(other));
        }
        assert_eq!(secret, secret.clone());
    }

    #[test]
    fn it_never_prints() {
        let secret = Some(Secret::new("hidden"));
        assert_eq!(format!("{secret:?} {}", Secret::new("hidden")), "Some(***) ***");
    }
}
