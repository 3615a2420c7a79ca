//! What this server shows to a Redis that asks clients for certificates.

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::Error;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::config::RedisIdentity;

/// Reads a certificate and its key, and checks that they belong together.
pub(super) fn read(identity: &RedisIdentity) -> Result<TlsCertificates, String> {
    let (certificate, key) = (identity.certificate.as_bytes(), identity.key.expose().as_bytes());
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("redis_tls_cert is no PEM ({error})"))?;
    let private = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => "redis_tls_key has no private key in PEM".to_owned(),
        // The error may hold a part of the key.
        _ => "redis_tls_key is no PEM".to_owned(),
    })?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).map_err(|error| {
        match error {
            Error::NoCertificatesPresented => "redis_tls_cert has no certificate in PEM".to_owned(),
            Error::InconsistentKeys(_) => {
                "redis_tls_key is not the key of the certificate in redis_tls_cert".to_owned()
            }
            error => format!("redis_tls_cert and redis_tls_key cannot be used ({error})"),
        }
    })?;
    let client_tls =
        Some(ClientTlsConfig { client_cert: certificate.to_vec(), client_key: key.to_vec() });
    Ok(TlsCertificates { client_tls, root_cert: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    const CERTIFICATE: &str = include_str!("../../../tests/cluster/tls/client.pem");
    const KEY: &str = include_str!("../../../tests/cluster/tls/client.key");
    const OTHER_KEY: &str =
        include_str!("../../../../channelstream-client/tests/it/tls/server.key");

    #[test]
    fn a_certificate_and_its_key_are_read_and_nothing_else_is() {
        let read = |certificate: &str, key: &str| {
            let certificate = certificate.to_owned();
            read(&RedisIdentity { certificate, key: Secret::new(key) }).map(drop)
        };
        assert_eq!(read(CERTIFICATE, KEY), Ok(()));
        let cut = &CERTIFICATE[..CERTIFICATE.len() / 2];
        for (certificate, key, why) in [
            ("", KEY, "redis_tls_cert has no certificate"),
            (KEY, KEY, "redis_tls_cert has no certificate"),
            (cut, KEY, "redis_tls_cert is no PEM"),
            (CERTIFICATE, "", "redis_tls_key has no private key"),
            (CERTIFICATE, CERTIFICATE, "redis_tls_key has no private key"),
            (CERTIFICATE, OTHER_KEY, "redis_tls_key is not the key of the certificate"),
        ] {
            let found = read(certificate, key).unwrap_err();
            assert!(found.starts_with(why), "{found}");
        }
    }
}
