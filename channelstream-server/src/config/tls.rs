//! The settings of TLS: certificate and key, read from their files and checked as a pair.

use super::Secret;
use super::read::Reader;
use crate::clock;
use crate::http::certificate::Validity;
use crate::http::tls::Checked;

/// The settings of both files.
const KEYS: [&str; 2] = ["tls_cert", "tls_key"];

/// Seconds before the end of a certificate from which on it is warned of. Renewals come earlier.
const SOON: i64 = 7 * 86_400;

/// The certificate and key with which a server is reached over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The chain in PEM: the certificate of the server first, then those of its issuers.
    pub certificate: String,
    /// The private key of the first certificate, in PEM.
    pub key: Secret,
}

impl Reader<'_> {
    /// Returns the certificate and key, if they are set.
    pub(super) fn tls(&mut self) -> Option<TlsIdentity> {
        let (certificate, key) = self.certificate_and_key(KEYS)?;
        let identity = TlsIdentity { certificate, key };
        self.check_tls(&identity);
        Some(identity)
    }

    fn check_tls(&mut self, identity: &TlsIdentity) {
        let checked = match Checked::new(identity) {
            Ok(checked) => checked,
            Err(error) => {
                let found = self.find(error.setting());
                return self.refuse(&found, error.to_string());
            }
        };
        let now = i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX);
        let Some(problem) = problem(checked.validity, now) else { return };
        let path = self.find(KEYS[0]).text.unwrap_or_default().trim();
        self.warnings.push(format!("{path}: {problem}"));
    }
}

/// Returns what is wrong with a certificate at a time.
fn problem(validity: Validity, now: i64) -> Option<String> {
    let Validity { from, until } = validity;
    let days = |seconds: i64| match seconds / 86_400 {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    if until < now {
        Some(format!("the certificate expired {} ago: clients refuse it", days(now - until)))
    } else if from > now {
        Some(
            "the certificate is not valid yet: clients refuse it, or the clock is wrong".to_owned(),
        )
    } else if until - now < SOON {
        Some(format!("the certificate expires in {}", days(until - now)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_warned_of_before_and_after_their_time() {
        let validity = Validity { from: 1_000_000, until: 10_000_000 };
        let problem = |now| problem(validity, now).unwrap_or_default();
        assert!(problem(999_999).contains("not valid yet"));
        assert_eq!(problem(1_000_000), "");
        assert_eq!(problem(10_000_000 - SOON), "");
        assert!(problem(10_000_000 - SOON + 1).ends_with("expires in 6 days"));
        assert!(problem(10_000_000 - 100_000).ends_with("expires in 1 day"));
        assert!(problem(10_000_001).contains("expired 0 days ago"));
        assert!(problem(20_000_000).contains("expired 115 days ago"));
    }
}
