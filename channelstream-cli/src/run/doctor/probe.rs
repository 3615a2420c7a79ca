//! `Probe`: plain requests whose answers show more than the client's calls return.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use channelstream_client::{StatusCode, Uuid};
use reqwest::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, ORIGIN,
    WWW_AUTHENTICATE,
};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url, Version};

use super::Findings;
use super::tls::Examiner;
use crate::access::Signing;
use crate::failure::Failure;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends requests to the server; they are signed only on demand.
pub(super) struct Probe {
    http: Client,
    /// The path has no trailing slash.
    url: Url,
    /// `Some` for https.
    examiner: Option<Arc<Examiner>>,
}

/// The head and body of an answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    headers: HeaderMap,
    pub(super) body: String,
}

impl Probe {
    /// Creates a probe that trusts these root certificates in PEM, or those of the system, and uses
    /// the proxy of the environment if `use_proxy` is set.
    pub(super) fn new(url: &str, roots: Option<&[u8]>, use_proxy: bool) -> Result<Self> {
        let url = Url::parse(url.trim_end_matches('/')).context("the address is not a URL")?;
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .http1_only()
            .user_agent(concat!("channelstream-doctor/", env!("CARGO_PKG_VERSION")));
        if !use_proxy {
            builder = builder.no_proxy();
        }
        let mut examiner = None;
        if url.scheme() == "http" {
            builder = builder.tls_certs_only([]);
        } else {
            let (config, own) = Examiner::new(roots).context("TLS cannot be set up")?;
            builder = builder.tls_backend_preconfigured(config);
            examiner = Some(own);
        }
        let http = builder.build().context("TLS cannot be set up")?;
        Ok(Self { http, url, examiner })
    }

    /// Returns the address of a path, without user and password.
    pub(super) fn address(&self, path: &str) -> Url {
        let mut url = self.of(path);
        // Addresses with a host can have neither.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url
    }

    fn of(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        url
    }

    /// Reports on the server's certificate; returns `false` if it is invalid, which explains why the
    /// server cannot be reached.
    pub(super) fn certificate(&self, findings: &mut Findings) -> Result<bool, Failure> {
        self.examiner.as_ref().map_or(Ok(true), |examiner| examiner.report(findings))
    }

    /// Sends `GET /admin` without permissions, which is redirected to the sign-in page.
    pub(super) async fn admin(&self) -> Result<Answer> {
        read(self.http.get(self.of("/admin")).timeout(TIMEOUT)).await
    }

    /// Sends `POST /info`, which needs permissions and changes nothing.
    pub(super) async fn info(&self, signing: Option<&Signing>) -> Result<Answer> {
        const BODY: &str =
            r#"{"info": {"channels": [], "include_history": false, "include_users": false}}"#;
        let mut request = self.http.post(self.of("/info")).body(BODY);
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(signing) = signing {
            let (name, signature) = signing.header("/info", BODY)?;
            let mut signature = HeaderValue::from_str(&signature)
                .context("the signature is not a valid header value")?;
            signature.set_sensitive(true);
            request = request.header(name, signature);
        }
        read(request.timeout(TIMEOUT)).await
    }

    /// Sends a long poll.
    pub(super) async fn poll(&self, conn_id: Uuid, patience: Duration) -> Result<Answer> {
        read(self.listen(conn_id).timeout(patience)).await
    }

    /// Sends a poll as a page of this origin would. The connection is unknown, so that the answer
    /// arrives at once.
    pub(super) async fn poll_from(&self, origin: &str) -> Result<Answer> {
        read(self.listen(Uuid::from_u128(0)).header(ORIGIN, origin).timeout(TIMEOUT)).await
    }

    fn listen(&self, conn_id: Uuid) -> RequestBuilder {
        self.get_as("/listen", conn_id)
    }

    /// Returns the request for a websocket, without its upgrade headers.
    pub(super) fn websocket(&self, conn_id: Uuid) -> RequestBuilder {
        self.get_as("/ws", conn_id)
    }

    fn get_as(&self, path: &str, conn_id: Uuid) -> RequestBuilder {
        let mut url = self.of(path);
        url.query_pairs_mut().append_pair("conn_id", &conn_id.to_string());
        self.http.get(url)
    }
}

impl Answer {
    /// Returns how many seconds this machine's clock is ahead of the server's; negative if behind.
    pub(super) fn skew(&self, now: SystemTime) -> Option<i64> {
        let date = httpdate::parse_http_date(self.header(DATE.as_str())?).ok()?;
        let seconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            i64::try_from(since.as_secs()).ok()
        };
        Some(seconds(now)? - seconds(date)?)
    }

    /// Returns the target of a redirect.
    pub(super) fn location(&self) -> Option<&str> {
        self.header(LOCATION.as_str())
    }

    /// Returns `true` if something in front of the server requires a sign-in.
    pub(super) fn requires_sign_in(&self) -> bool {
        self.headers.contains_key(WWW_AUTHENTICATE)
    }

    /// Returns all values of `Access-Control-Allow-Origin`.
    pub(super) fn allowed_origins(&self) -> Vec<String> {
        let values = self.headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    fn header(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.headers.get(name)?.as_bytes()).ok()
    }
}

/// Describes an error with its root cause, but without the address, which may contain a password.
pub(super) fn describe(error: &anyhow::Error) -> String {
    let what = error.to_string();
    let root = error.root_cause().to_string();
    if what == root { what } else { format!("{what}: {root}") }
}

async fn read(request: RequestBuilder) -> Result<Answer> {
    let response = send(request).await?;
    let (status, version) = (response.status(), response.version());
    let headers = response.headers().clone();
    let body = response.text().await.map_err(classify).context("the answer broke off")?;
    Ok(Answer { status, version, headers, body })
}

pub(super) async fn send(request: RequestBuilder) -> Result<Response> {
    request.send().await.map_err(classify)
}

/// Classifies an error of a request.
fn classify(error: reqwest::Error) -> anyhow::Error {
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "unreachable"
    } else {
        "the connection broke"
    };
    let error = error.without_url();
    if error.source().is_some() {
        anyhow::Error::new(error).context(what)
    } else {
        anyhow::anyhow!(what)
    }
}
