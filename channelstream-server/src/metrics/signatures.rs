//! Valid signatures, by scheme and secret: which secret is still in use.

use super::Counter;

/// Secrets beyond these are counted as one.
const MOST: usize = 8;

const SECRETS: [&str; MOST] = ["1", "2", "3", "4", "5", "6", "7", "8 or older"];

/// What a signature is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// The time alone.
    Timestamp,
    /// The whole request.
    Body,
}

/// The counts. There are as many as schemes and secrets.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    timestamp: [Counter; MOST],
    body: [Counter; MOST],
}

impl Signatures {
    /// Counts a valid signature; the newest secret has the index 0.
    pub(crate) fn count(&self, scheme: Scheme, secret: usize) {
        let counters = match scheme {
            Scheme::Timestamp => &self.timestamp,
            Scheme::Body => &self.body,
        };
        counters[secret.min(MOST - 1)].increment();
    }

    /// Returns scheme, secret and count; those of the newest secret, and those that are not 0.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let schemes = [("body", &self.body), ("timestamp", &self.timestamp)];
        schemes.into_iter().flat_map(|(scheme, counters)| {
            let counts = SECRETS.into_iter().zip(counters).enumerate();
            counts.filter_map(move |(index, (secret, counter))| {
                let count = counter.get();
                (index == 0 || count > 0).then_some((scheme, secret, count))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_counted_from_one_and_the_oldest_together() {
        let signatures = Signatures::default();
        for secret in [1, 7, 8, 1000] {
            signatures.count(Scheme::Body, secret);
        }
        let counts: Vec<_> = signatures.counts().collect();
        let expected =
            [("body", "1", 0), ("body", "2", 1), ("body", "8 or older", 3), ("timestamp", "1", 0)];
        assert_eq!(counts, expected);
    }
}
