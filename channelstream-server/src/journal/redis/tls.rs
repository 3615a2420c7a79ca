//! What is wrong with TLS to Redis, in plain words.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use redis::RedisError;
use rustls::{CertificateError, Error};

use super::command::Trouble;

const AUTHORITY: &str = "let the environment variable SSL_CERT_FILE name a file with the certificate of \
                         the authority, in PEM, or add it to those of the system";

/// What the crate shares of an error.
type Shared = Arc<dyn std::error::Error + Send + Sync>;

/// Returns the error of TLS behind that of a connection, if that is what it is.
fn found(error: &RedisError) -> Option<&Error> {
    let shared: &Shared = error.source()?.downcast_ref()?;
    shared.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

/// Returns what is wrong with TLS, if it is what is wrong.
pub(super) fn trouble(error: &RedisError) -> Option<Trouble> {
    let error = found(error)?;
    let (what, advice) = match error {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => (
                "the certificate of Redis is of an authority that this machine does not trust"
                    .to_owned(),
                AUTHORITY,
            ),
            CertificateError::NotValidForName => (
                "the certificate of Redis is for another name than that in redis_url".to_owned(),
                "use the name of the certificate",
            ),
            CertificateError::NotValidForNameContext { expected, presented } => (
                format!(
                    "the certificate of Redis is for {}, and redis_url says {}",
                    presented.join(", "),
                    expected.to_str()
                ),
                "use the name of the certificate",
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                ("the certificate of Redis has expired".to_owned(), "renew it")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                "the certificate of Redis is not valid yet".to_owned(),
                "is the clock of this machine right?",
            ),
            other => (
                format!("the certificate of Redis cannot be used ({other})"),
                "see what it was made for",
            ),
        },
        Error::InvalidMessage(_) => {
            ("what answers does not speak TLS".to_owned(), "use redis:// or another port")
        }
        Error::AlertReceived(alert) => (
            format!("Redis refuses it ({alert:?})"),
            "if it asks clients for certificates, name one in redis_tls_cert and redis_tls_key that it accepts, or \
             set tls-auth-clients no",
        ),
        other => (other.to_string(), "see the log of Redis"),
    };
    Some(Trouble::Tls { what, advice })
}
