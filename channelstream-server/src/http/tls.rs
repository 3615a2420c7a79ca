//! TLS: the certificate and key of the server, checked before they count, and replaced while it runs.

use std::sync::{Arc, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;

use crate::config::TlsIdentity;
use crate::http::certificate::{self, Validity};

/// The protocols above TLS, the preferred one first. Browsers ask for a websocket with the second alone.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate and a key cannot be used. It has nothing of the key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The chain cannot be parsed.
    #[error("tls_cert has no certificate in PEM")]
    NoCertificate,
    /// A part of the chain is not a certificate.
    #[error("tls_cert: certificate {0} of the chain cannot be parsed")]
    BadCertificate(usize),
    /// The key cannot be parsed.
    #[error("tls_key has no private key in PEM (PKCS#8, PKCS#1 or SEC1)")]
    NoKey,
    /// The key has a passphrase.
    #[error(
        "the key in tls_key is encrypted, and the server has nobody to ask for the passphrase; \
         `openssl pkey -in FILE` prints it without"
    )]
    EncryptedKey,
    /// The key is of a kind that cannot sign here.
    #[error("the key in tls_key cannot be used: {0}")]
    BadKey(#[source] rustls::Error),
    /// The two do not fit.
    #[error(
        "the key in tls_key does not belong to the first certificate in tls_cert, which has to be that of \
         the server"
    )]
    Mismatch,
    /// The pair is refused for another reason.
    #[error("the certificate and key cannot be used: {0}")]
    Refused(#[source] rustls::Error),
}

impl TlsError {
    /// Returns the setting that is at fault.
    pub(crate) fn setting(&self) -> &'static str {
        match self {
            Self::NoCertificate | Self::BadCertificate(_) | Self::Refused(_) => "tls_cert",
            Self::NoKey | Self::EncryptedKey | Self::BadKey(_) | Self::Mismatch => "tls_key",
        }
    }
}

/// A certificate and key that fit, ready to serve.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    config: Arc<ServerConfig>,
    /// When the first certificate is valid.
    pub(crate) validity: Validity,
}

impl Checked {
    /// Checks a certificate and its key.
    ///
    /// # Errors
    /// Returns why they cannot be used. An expired certificate can be.
    pub(crate) fn new(identity: &TlsIdentity) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::NoCertificate)?;
        let mut validities = Vec::with_capacity(chain.len());
        for (index, one) in chain.iter().enumerate() {
            let validity = certificate::validity(one);
            validities.push(validity.ok_or(TlsError::BadCertificate(index + 1))?);
        }
        let validity = *validities.first().ok_or(TlsError::NoCertificate)?;
        let pem = identity.key.expose();
        if pem.contains("ENCRYPTED") {
            return Err(TlsError::EncryptedKey);
        }
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| TlsError::NoKey)?;
        let provider = Arc::new(default_provider());
        let config = server_config(chain, key, &provider)?;
        Ok(Self { config: Arc::new(config), validity })
    }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let key = provider.key_provider.load_private_key(key).map_err(TlsError::BadKey)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => {}
        Err(rustls::Error::InconsistentKeys(_)) => return Err(TlsError::Mismatch),
        Err(error) => return Err(TlsError::Refused(error)),
    }
    let resolver = rustls::sign::SingleCertAndKey::from(certified);
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Refused)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// The certificate and key in force. Each handshake takes what is in force when it begins.
#[derive(Debug)]
pub(crate) struct Tls(RwLock<Checked>);

impl Tls {
    pub(crate) fn new(checked: Checked) -> Self {
        Self(RwLock::new(checked))
    }

    /// Replaces certificate and key for the handshakes from now on. Open connections go on.
    pub(crate) fn replace(&self, checked: Checked) {
        *self.0.write().expect("nothing that holds it can panic") = checked;
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().expect("nothing that holds it can panic").config)
    }

    /// Returns until when the certificate is valid, in seconds since 1970.
    pub(crate) fn expiry(&self) -> i64 {
        self.0.read().expect("nothing that holds it can panic").validity.until
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::*;
    use crate::config::Secret;
    use crate::socket::{Socket, System};

    /// A certificate that signs itself, and its key.
    #[expect(clippy::disallowed_methods, reason = "a test may wait")]
    fn identity() -> TlsIdentity {
        let directory = tempfile::tempdir().unwrap();
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-subj", "/CN=x", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let [certificate, key] = [certificate, key].map(|it| std::fs::read_to_string(it).unwrap());
        TlsIdentity { certificate, key: Secret::new(key) }
    }

    /// Connects to a server with this certificate in force, and trusts another one alone.
    async fn connect(tls: &Tls, trusted: &TlsIdentity) -> Option<(Socket, TlsStream<TcpStream>)> {
        let mut roots = RootCertStore::empty();
        let trusted = trusted.certificate.as_bytes();
        roots.add(CertificateDer::from_pem_slice(trusted).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let (server, client) = tokio::join!(
            Socket::secure(System::Tcp(accepted), tls.config()),
            TlsConnector::from(Arc::new(config)).connect(name, stream),
        );
        Some((server.ok()?, client.ok()?))
    }

    #[tokio::test]
    async fn a_pair_is_replaced_for_new_handshakes_and_old_connections_go_on() {
        let (old, new) = (identity(), identity());
        let tls = Tls::new(Checked::new(&old).unwrap());
        let (mut server, mut client) = connect(&tls, &old).await.unwrap();
        assert!(connect(&tls, &new).await.is_none());
        // A pair that does not fit replaces nothing.
        let mixed = TlsIdentity { key: new.key.clone(), ..old.clone() };
        assert!(matches!(Checked::new(&mixed), Err(TlsError::Mismatch)));
        tls.replace(Checked::new(&new).unwrap());
        assert!(connect(&tls, &new).await.is_some());
        assert!(connect(&tls, &old).await.is_none());
        client.write_all(b"still here").await.unwrap();
        let mut text = [0; 10];
        server.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"still here");
    }

    #[test]
    fn an_error_shows_nothing_of_the_key() {
        let mut identity = identity();
        let secret = identity.key.expose().lines().nth(1).unwrap().to_owned();
        identity.key = Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{secret}\n"));
        let error = Checked::new(&identity).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&secret), "{error}");
    }
}
