//! `ClientBuilder`: the settings of a [`Client`].

use std::fmt::{self, Debug, Formatter};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use channelstream_signer::TimestampSigner;
use channelstream_signer::file::{self, FileError};
use channelstream_signer::request::RequestSigner;
use http::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Url};

use crate::client::{Client, Parts};
use crate::error::Error;
use crate::proxy;
use crate::retry::RetryPolicy;
use crate::signing::Signing;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter than the default timeout of a call, so that a failure to connect is reported as such: it
/// proves that nothing was sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_MAX_BODY_SIZE: usize = 1024 * 1024;
const DEFAULT_USER_AGENT: &str = concat!("channelstream-client/", env!("CARGO_PKG_VERSION"));

/// A builder of a [`Client`], created by [`Client::builder`].
///
/// Only the secret has no default: call [`secret`](Self::secret),
/// [`secret_file`](Self::secret_file) or [`signer`](Self::signer).
///
/// ```
/// use std::time::Duration;
///
/// use channelstream_client::Client;
///
/// let client = Client::builder("https://push.example.com/channelstream/")
///     .secret("a long random text")
///     .timeout(Duration::from_secs(3))
///     .user_agent("my-shop/1.4")
///     .build()?;
/// # Ok::<(), channelstream_client::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ClientBuilder {
    address: String,
    signer: Option<TimestampSigner>,
    request_signer: Option<RequestSigner>,
    sign_bodies: bool,
    timeout: Duration,
    http: Option<reqwest::Client>,
    roots: Option<Vec<u8>>,
    user_agent: Option<String>,
    retries: RetryPolicy,
    max_body_size: usize,
    strict: bool,
    idempotency_keys: bool,
}

impl ClientBuilder {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            signer: None,
            request_signer: None,
            sign_bodies: false,
            timeout: DEFAULT_TIMEOUT,
            http: None,
            roots: None,
            user_agent: None,
            retries: RetryPolicy::new(),
            max_body_size: DEFAULT_MAX_BODY_SIZE,
            strict: true,
            idempotency_keys: true,
        }
    }

    /// Signs requests with this secret, which is the server's setting `secret` (contract §3).
    pub fn secret(self, secret: impl AsRef<[u8]>) -> Self {
        let requests = RequestSigner::new(&secret);
        self.signer(TimestampSigner::new(secret)).request_signer(requests)
    }

    /// Signs requests with the secret in a file, which is its first line that is not empty. This is
    /// the newest secret of a server's `secret_file` (contract §11). The file is read at once.
    ///
    /// # Errors
    ///
    /// An error of the kind [`Builder`](crate::ErrorKind::Builder) if the file cannot be read, or
    /// contains no valid secret.
    pub fn secret_file(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let cannot = |error| {
            let text = format!("the secret cannot be read from {}", path.display());
            Error::settings_because(text, error)
        };
        let text = file::read_secrets(path).map_err(cannot)?;
        let secrets = file::secrets(&text);
        let signers =
            TimestampSigner::with_secrets(&secrets).zip(RequestSigner::with_secrets(&secrets));
        let (signer, requests) = signers.ok_or_else(|| cannot(FileError::Empty))?;
        Ok(self.signer(signer).request_signer(requests))
    }

    /// Signs requests with a custom signer instead of a secret.
    pub fn signer(mut self, signer: TimestampSigner) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Signs whole requests with a custom signer instead of a secret, if
    /// [`sign_bodies`](Self::sign_bodies) is set.
    pub fn request_signer(mut self, signer: RequestSigner) -> Self {
        self.request_signer = Some(signer);
        self
    }

    /// Sets whether signatures are over the whole request (contract §14): nobody who sees one can use it for
    /// another request, or for the same one again. The default is `false`, since older servers do not
    /// know such signatures. A server with the setting `require_signed_bodies` takes no others. The
    /// clocks of both may differ by less than a minute.
    pub fn sign_bodies(mut self, sign: bool) -> Self {
        self.sign_bodies = sign;
        self
    }

    /// Sets how long a request may take, from resolving the address to the last byte of the answer.
    /// The default is 10 s. The [retry policy](Self::retries) has the limit for a call with its
    /// repeats.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends requests with this HTTP client, which shares its connections, proxies and certificates.
    ///
    /// Configure the client to follow no redirects, since it would send signatures to wherever they
    /// lead. The default client follows none. It has the proxies of the environment (`HTTP_PROXY`,
    /// `NO_PROXY` and the like), but never uses one for a server on this machine.
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.http = Some(client);
        self
    }

    /// Trusts only these root certificates, instead of those of the system. `pem` has one or more
    /// certificates in PEM form, for example that of a private certificate authority.
    ///
    /// This has no effect on a custom [`http_client`](Self::http_client), which has its own
    /// certificates.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Sets the `User-Agent` of requests. The default is `channelstream-client/` and the version, or
    /// that of a custom [`http_client`](Self::http_client).
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Sets when requests are repeated. The default is [`RetryPolicy::new`].
    pub fn retries(mut self, policy: RetryPolicy) -> Self {
        self.retries = policy;
        self
    }

    /// Sets the size in bytes of the largest request that the server accepts, which is its setting of
    /// the same name. [`Client::publish_all`] stays below it. The default is 1 MiB, as the server's.
    pub fn max_body_size(mut self, bytes: usize) -> Self {
        self.max_body_size = bytes;
        self
    }

    /// Sets whether the client asks the server to refuse unknown fields and to report what happened
    /// to each message (`Prefer: handling=strict, return=representation`). The default is `true`.
    /// Otherwise a server that is older than this client ignores fields that it does not know.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Sets whether each call that changes something has a key of its own (`Idempotency-Key`), by which
    /// the server recognizes [repeats](crate#repeats). The default is `true`. Servers that do not know
    /// keys ignore them.
    pub fn idempotency_keys(mut self, keys: bool) -> Self {
        self.idempotency_keys = keys;
        self
    }

    /// Creates the client. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// An error of the kind [`Builder`](crate::ErrorKind::Builder) if the address or the root
    /// certificates are invalid, there is no secret, the user agent is not a valid header value, or
    /// TLS cannot be set up.
    pub fn build(self) -> Result<Client, Error> {
        let address = parse_address(&self.address)?;
        let signing = match self.sign_bodies {
            true => self.request_signer.map(Signing::Whole),
            false => self.signer.map(Signing::Timestamp),
        };
        let signing = signing
            .ok_or_else(|| Error::settings("the client has no secret to sign requests with"))?;
        let user_agent = user_agent(self.user_agent.as_deref(), self.http.is_none())?;
        let (http, proxy) = match self.http {
            Some(http) => (http, None),
            None => default_http_client(&address, self.roots.as_deref())?,
        };
        let Self { timeout, retries, max_body_size, strict, idempotency_keys, .. } = self;
        let parts = Parts {
            http,
            address,
            proxy,
            signing,
            timeout,
            user_agent,
            retries,
            max_body_size,
            strict,
            idempotency_keys,
            server_knows_keys: AtomicBool::new(false),
        };
        Ok(Client(Arc::new(parts)))
    }
}

impl Client {
    /// Creates a client for the server at `address` with the default settings.
    ///
    /// The address may have a path in front of the server's own paths, as behind a proxy, and may
    /// end in a slash or not: `http://127.0.0.1:8000`, `https://example.com/push/`.
    ///
    /// # Errors
    ///
    /// Those of [`ClientBuilder::build`].
    pub fn new(address: impl Into<String>, secret: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::builder(address).secret(secret).build()
    }

    /// Returns a builder of a client for the server at `address`.
    pub fn builder(address: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(address.into())
    }
}

/// The output has neither the address, which may contain a password, nor the HTTP client and signer.
impl Debug for ClientBuilder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("timeout", &self.timeout)
            .field("user_agent", &self.user_agent)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

/// Returns the `User-Agent` to send, or `None` if a custom HTTP client has its own.
pub(crate) fn user_agent(
    text: Option<&str>,
    default_client: bool,
) -> Result<Option<HeaderValue>, Error> {
    let own = text.map(HeaderValue::from_str).transpose().map_err(|error| {
        Error::settings_because("the user agent cannot stand in a header", error)
    })?;
    let default = || default_client.then(|| HeaderValue::from_static(DEFAULT_USER_AGENT));
    Ok(own.or_else(default))
}

/// Parses the address of a server. Errors do not repeat the text, which may contain a password.
pub(crate) fn parse_address(text: &str) -> Result<Url, Error> {
    const NO_SCHEME: &str = "the server's address does not begin with http:// or https://";
    let (scheme, rest) = text.split_once(':').unwrap_or_default();
    let scheme = scheme.trim_start().to_ascii_lowercase();
    let named = ["http", "https", "ws", "wss"].into_iter().find(|name| *name == scheme);
    let Some(scheme) = named else { return Err(Error::settings(NO_SCHEME)) };
    if !rest.starts_with("//") {
        let text = format!("the server's address lacks a slash: it begins with {scheme}://");
        return Err(Error::settings(text));
    }
    if scheme.starts_with("ws") {
        let http = scheme.replace("ws", "http");
        let text = format!("the server's address begins with {http}://, not with {scheme}://");
        return Err(Error::settings(text));
    }
    let mut address = Url::parse(text)
        .map_err(|error| Error::settings_because("the server's address is no URL", error))?;
    if address.query().is_some() || address.fragment().is_some() {
        return Err(Error::settings("the server's address has a query or a fragment"));
    }
    let prefix = address.path().trim_end_matches('/').to_owned();
    address.set_path(&prefix);
    Ok(address)
}

/// Creates an HTTP client with these root certificates in PEM form, or those of the system. Returns
/// it with the proxy that it uses.
pub(crate) fn default_http_client(
    address: &Url,
    roots: Option<&[u8]>,
) -> Result<(reqwest::Client, Option<String>), Error> {
    let mut builder =
        reqwest::Client::builder().redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT);
    let proxy = proxy::of(address);
    if proxy.is_none() {
        builder = builder.no_proxy();
    }
    if let Some(pem) = roots {
        builder = builder.tls_certs_only(read_roots(pem)?);
    } else if address.scheme() == "http" {
        // A machine without any certificates, such as a container, must not fail where none is
        // needed.
        builder = builder.tls_certs_only([]);
    }
    let http = builder.build();
    let http = http.map_err(|error| Error::settings_because("TLS cannot be set up", error))?;
    Ok((http, proxy))
}

fn read_roots(pem: &[u8]) -> Result<Vec<Certificate>, Error> {
    let roots = Certificate::from_pem_bundle(pem)
        .map_err(|error| Error::settings_because("the root certificates are not PEM", error))?;
    if roots.is_empty() {
        return Err(Error::settings("there is no certificate among the root certificates"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::MESSAGE;
    use crate::error::ErrorKind;

    #[test]
    fn clients_can_be_shared() {
        fn check<T: Clone + Send + Sync + 'static>() {}
        check::<Client>();
        check::<ClientBuilder>();
    }

    #[test]
    fn addresses_are_joined_whatever_they_end_in() {
        for (address, joined) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/message"),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/message"),
            ("http://127.0.0.1:8000//", "http://127.0.0.1:8000/message"),
            ("https://a.example/push", "https://a.example/push/message"),
            ("https://a.example/push/", "https://a.example/push/message"),
            ("HTTPS://a.example/a%20b/c/", "https://a.example/a%20b/c/message"),
            ("http://[::1]:8000/", "http://[::1]:8000/message"),
        ] {
            assert_eq!(MESSAGE.url(&parse_address(address).unwrap()).as_str(), joined);
        }
    }

    #[test]
    fn invalid_addresses_are_refused_and_not_repeated_in_the_error() {
        for address in [
            "",
            "127.0.0.1:8000",
            "localhost:8000",
            "ftp://marked:marked@host/",
            "http:/host",
            "http:marked",
            "ws:/marked/x",
            "ws://marked",
            "http://",
            "http://marked:marked@host:99999",
            "http://host/?secret=marked",
            "http://host/#marked",
        ] {
            let error = Client::builder(address).secret("s").build().expect_err(address);
            assert_eq!(error.kind(), ErrorKind::Builder, "{address}");
            assert!(!format!("{error} {error:?}").contains("marked"), "{error:?}");
        }
    }

    #[test]
    fn errors_name_what_is_wrong_with_an_address() {
        for (address, text) in [
            ("ws:/host/x", "the server's address lacks a slash: it begins with ws://"),
            ("HTTP:/host", "the server's address lacks a slash: it begins with http://"),
            ("http:host", "the server's address lacks a slash: it begins with http://"),
            ("wss://host", "the server's address begins with https://, not with wss://"),
            ("ws://host", "the server's address begins with http://, not with ws://"),
            ("host:8000", "the server's address does not begin with http:// or https://"),
        ] {
            assert_eq!(parse_address(address).unwrap_err().to_string(), text, "{address}");
        }
    }

    #[test]
    fn a_secret_is_needed_and_a_user_agent_must_fit_a_header() {
        let error = Client::builder("http://host").build().unwrap_err();
        assert_eq!(error.to_string(), "the client has no secret to sign requests with");
        let builder = Client::builder("http://host").secret("s").user_agent("two\nlines");
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::Builder);
    }

    #[test]
    fn empty_or_invalid_root_certificates_are_refused() {
        for pem in [
            "",
            "marked",
            "-----BEGIN CERTIFICATE-----\nmarked\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nbWFya2Vk\n-----END CERTIFICATE-----\n",
        ] {
            for address in ["http://host", "https://host"] {
                let builder = Client::builder(address).secret("s").root_certificates(pem);
                let error = builder.build().expect_err(pem);
                assert_eq!(error.kind(), ErrorKind::Builder, "{error:?}");
                assert!(!format!("{error} {error:?}").contains("marked"), "{error:?}");
            }
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let builder = Client::builder("http://marked:marked@host/x").secret("marked");
        let client = builder.clone().build().unwrap();
        assert!(!format!("{builder:?} {client:?}").contains("marked"));
        assert!(format!("{client:?}").contains("http://host/x"), "{client:?}");
    }
}
