//! Default settings of new channels, by name.

use serde::{Deserialize, Serialize};

use super::{Rules, stored};
use crate::protocol::{ChannelConfig, ChannelSettings};

/// A pattern for names of channels. `*` stands for any characters, also for none; all else for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Creates a pattern. Any text is one.
    ///
    /// ```
    /// use channelstream_core::state::Pattern;
    ///
    /// assert!(Pattern::new("orders-*").matches("orders-7"));
    /// assert!(!Pattern::new("orders-*").matches("my-orders-7"));
    /// ```
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns `true` if the pattern matches a name.
    ///
    /// The time grows with the lengths of both, however many `*` there are: each part is matched where it
    /// is found first, which leaves the most for the others.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        let Some(mut rest) = rest.strip_suffix(last) else { return false };
        parts.all(|part| {
            let found = rest.find(part).map(|place| &rest[place + part.len()..]);
            rest = found.unwrap_or_default();
            found.is_some()
        })
    }

    /// Returns `true` if this pattern matches every name that the other one matches. Only a `*` covers a
    /// `*` of the other.
    pub fn covers(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

/// Default settings for the channels of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelDefaults {
    /// The names of the channels.
    pub pattern: Pattern,
    /// The settings that differ from the defaults of all channels.
    #[serde(with = "stored::ChannelConfig")]
    pub settings: ChannelConfig,
}

impl Rules {
    /// Returns the default settings of a channel: those of the first pattern that matches.
    pub(super) fn settings_for(&self, name: &str) -> ChannelSettings {
        let first = self.channel_defaults.iter().find(|defaults| defaults.pattern.matches(name));
        let given = first.map(|defaults| defaults.settings).unwrap_or_default();
        given.over(ChannelSettings::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, names) in [
            ("a", &["a"][..]),
            ("*", &["", "a", "a*b"]),
            ("a*", &["a", "ab", "a*"]),
            ("*a", &["a", "ba", "aba"]),
            ("a*a", &["aa", "aba", "aaa"]),
            ("a*b*c", &["abc", "a-b-b-c", "abbcc"]),
            ("*b*", &["b", "abc"]),
            ("a**b", &["ab", "acb"]),
            ("größe-*", &["größe-ä"]),
            ("?", &["?"]),
            ("", &[""]),
        ] {
            for name in names {
                assert!(Pattern::new(pattern).matches(name), "{pattern} {name}");
            }
        }
        for (pattern, names) in [
            ("a", &["", "b", "aa", "A"][..]),
            ("a*a", &["a", "ab", "ba"]),
            ("a*b*c", &["acb", "ab", "a-c"]),
            ("*aab*", &["aaa", "ab"]),
            ("ab*ba", &["aba"]),
            ("?", &["a"]),
            ("", &["a"]),
        ] {
            for name in names {
                assert!(!Pattern::new(pattern).matches(name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn many_stars_take_no_longer() {
        // Where each star is tried at each place, this does not end.
        let pattern = Pattern::new("a*".repeat(100) + "b");
        assert!(!pattern.matches(&"a".repeat(256)));
        assert!(pattern.matches(&("a".repeat(255) + "b")));
    }

    #[test]
    fn a_pattern_covers_narrower_ones() {
        for (wide, narrow) in [("*", "a*"), ("*", "*"), ("a*", "a-*-b"), ("*-*", "a-*"), ("a", "a")]
        {
            assert!(Pattern::new(wide).covers(&Pattern::new(narrow)), "{wide} {narrow}");
        }
        for (one, other) in [("a*", "*"), ("a-*", "*-b"), ("a*b", "a*"), ("a", "b")] {
            assert!(!Pattern::new(one).covers(&Pattern::new(other)), "{one} {other}");
        }
    }
}
