//! The check of the server's TLS certificate and of its remaining validity.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::Findings;
use crate::failure::Failure;

/// The remaining validity below which a certificate should be renewed.
const SOON: Duration = Duration::from_secs(21 * 24 * 60 * 60);

const AUTHORITY: &str = "have it issued by a public authority, or pass the certificate of your own \
     authority by --ca-file";
const CHAIN: &str = "send the certificates of intermediate authorities with it (in nginx: \
     ssl_certificate with the full chain); for your own authority, pass its certificate by --ca-file";
const RENEW: &str = "renew it, and make the proxy load the new one; in nginx: nginx -s reload";

/// Verifies certificates as the client does, and remembers the result.
pub(super) struct Examiner {
    inner: Arc<dyn ServerCertVerifier>,
    provider: Arc<CryptoProvider>,
    found: Mutex<Option<Found>>,
}

/// The result for the last certificate.
#[derive(Clone, Debug)]
enum Found {
    Good,
    /// It expires soon, at this time.
    Ending(SystemTime),
    /// It is invalid; the flag says whether it is self-signed.
    Bad(Error, bool),
}

impl Examiner {
    /// Creates an examiner that trusts these root certificates in PEM, or those of the system, and
    /// the TLS settings that use it.
    pub(super) fn new(roots: Option<&[u8]>) -> Result<(ClientConfig, Arc<Self>)> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let inner: Arc<dyn ServerCertVerifier> = match roots {
            Some(pem) => {
                let roots: Vec<_> =
                    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?;
                by(roots, &provider)?
            }
            None => Arc::new(rustls_platform_verifier::Verifier::new(Arc::clone(&provider))?),
        };
        let own =
            Arc::new(Self { inner, provider: Arc::clone(&provider), found: Mutex::default() });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&own) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((config, own))
    }

    /// Reports the result; returns `false` if it explains why the server cannot be reached. Reports
    /// nothing if the server sent no certificate.
    pub(super) fn report(&self, findings: &mut Findings) -> Result<bool, Failure> {
        const NAME: &str = "certificate";
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match found {
            None => return Ok(true),
            Some(Found::Good) => {
                let days = SOON.as_secs() / (24 * 60 * 60);
                findings.good(NAME, format!("trusted, and valid for at least {days} days"))?;
            }
            Some(Found::Ending(end)) => {
                findings.note(NAME, format!("it expires on {}", date(end)), RENEW)?;
            }
            Some(Found::Bad(error, is_self_issued)) => {
                let (detail, advice) = diagnosis(&error, is_self_issued);
                findings.fault(NAME, detail, advice)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns `true` if the certificate would be trusted if it were an authority itself.
    fn is_self_issued(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
        let own = certificate.clone().into_owned();
        let Ok(verifier) = by(vec![own], &self.provider) else { return false };
        let now = UnixTime::now();
        let outcome = verifier.verify_server_cert(certificate, &[], name, &[], now);
        !matches!(
            outcome,
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature
            ))
        )
    }
}

impl ServerCertVerifier for Examiner {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |now| {
            self.inner.verify_server_cert(certificate, intermediates, name, ocsp_response, now)
        };
        let outcome = verify(now);
        let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + SOON);
        let found = match &outcome {
            Err(error) => Found::Bad(error.clone(), self.is_self_issued(certificate, name)),
            Ok(_) => match verify(later) {
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                    not_after,
                    ..
                })) => Found::Ending(instant(&not_after)),
                _ => Found::Good,
            },
        };
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        outcome
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl Debug for Examiner {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examiner").field("found", &self.found).finish_non_exhaustive()
    }
}

/// Returns a verifier that trusts only these roots.
fn by(
    roots: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root)?;
    }
    Ok(WebPkiServerVerifier::builder_with_provider(store.into(), Arc::clone(provider)).build()?)
}

/// Describes an error, and advises what to do about it.
fn diagnosis(error: &Error, is_self_issued: bool) -> (String, &'static str) {
    use CertificateError as E;
    let Error::InvalidCertificate(fault) = error else {
        return (error.to_string(), AUTHORITY);
    };
    match fault {
        E::ExpiredContext { not_after, .. } => {
            (format!("it expired on {}", date(instant(not_after))), RENEW)
        }
        E::NotValidYetContext { not_before, .. } => {
            let detail = format!("it is not valid before {}", date(instant(not_before)));
            (detail, "is this machine's clock right?")
        }
        E::NotValidForNameContext { expected, presented } => {
            // rustls writes names as `DnsName("example.com")`.
            let plain = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
            let names = presented.iter().map(plain).collect::<Vec<_>>().join(", ");
            let detail = format!("it is valid for {names}, not for {}", expected.to_str());
            (detail, "use a name of the certificate in --url, or have one issued for this name")
        }
        _ if is_self_issued => ("it is self-signed".to_owned(), AUTHORITY),
        // A wrong signature may be that of another authority with the same name.
        E::UnknownIssuer | E::BadSignature => ("its issuer is not trusted here".to_owned(), CHAIN),
        _ => (error.to_string(), AUTHORITY),
    }
}

fn instant(time: &UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

fn date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}
