//! Bare requests, looked at more closely than the client's calls allow.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use channelstream_client::{StatusCode, TimestampSigner, Uuid};
use reqwest::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, ORIGIN,
    WWW_AUTHENTICATE,
};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The server by its address, without a signature unless one is given.
pub(super) struct Probe {
    http: Client,
    url: String,
}

/// An answer's head, and what it says.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: String,
}

impl Probe {
    pub(super) fn new(url: &str) -> Result<Self> {
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .http1_only()
            .user_agent(concat!("channelstream-doctor/", env!("CARGO_PKG_VERSION")));
        if url.starts_with("http://") {
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().context("TLS cannot be set up")?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned() })
    }

    /// `POST /info`, which needs rights and changes nothing.
    pub(super) async fn info(&self, signer: Option<&TimestampSigner>) -> Result<Answer> {
        let mut request = self
            .http
            .post(format!("{}/info", self.url))
            .header(CONTENT_TYPE, "application/json")
            .body(
                r#"{"info": {"channels": [], "include_history": false, "include_users": false}}"#,
            );
        if let Some(signer) = signer {
            let mut signature = HeaderValue::from_str(&signer.sign("/info"))
                .context("the signature cannot stand in a header")?;
            signature.set_sensitive(true);
            request = request.header("x-channelstream-secret", signature);
        }
        read(request.timeout(TIMEOUT)).await
    }

    /// A poll, which takes its time.
    pub(super) async fn poll(&self, conn_id: Uuid, patience: Duration) -> Result<Answer> {
        read(self.listen(conn_id).timeout(patience)).await
    }

    /// What a poll from a page of this origin gets; that of an unknown connection comes at once.
    pub(super) async fn poll_from(&self, origin: &str) -> Result<Answer> {
        read(self.listen(Uuid::from_u128(0)).header(ORIGIN, origin).timeout(TIMEOUT)).await
    }

    fn listen(&self, conn_id: Uuid) -> RequestBuilder {
        self.http.get(format!("{}/listen?conn_id={conn_id}", self.url))
    }

    /// The beginning of a websocket.
    pub(super) fn websocket(&self, conn_id: Uuid) -> RequestBuilder {
        self.http.get(format!("{}/ws?conn_id={conn_id}", self.url))
    }
}

impl Answer {
    /// By how many seconds this machine's clock is ahead of the server's, or before the server's.
    pub(super) fn skew(&self, now: SystemTime) -> Option<i64> {
        let date = httpdate::parse_http_date(self.header(DATE.as_str())?).ok()?;
        let seconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            i64::try_from(since.as_secs()).ok()
        };
        Some(seconds(now)? - seconds(date)?)
    }

    /// Where it sends us.
    pub(super) fn location(&self) -> Option<&str> {
        self.header(LOCATION.as_str())
    }

    /// Whether something before the server wants to know who we are.
    pub(super) fn asks_who(&self) -> bool {
        self.headers.contains_key(WWW_AUTHENTICATE)
    }

    /// The origins whose pages may read it, as often as that is said.
    pub(super) fn allowed_origins(&self) -> Vec<String> {
        let values = self.headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An error with its last cause, and without the address, in which a password may be.
pub(super) fn told(error: &anyhow::Error) -> String {
    let what = error.to_string();
    let root = error.root_cause().to_string();
    if what == root { what } else { format!("{what}: {root}") }
}

async fn read(request: RequestBuilder) -> Result<Answer> {
    let response = send(request).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.text().await.map_err(brief).context("the answer broke off")?;
    Ok(Answer { status, headers, body })
}

pub(super) async fn send(request: RequestBuilder) -> Result<Response> {
    request.send().await.map_err(brief)
}

fn brief(error: reqwest::Error) -> anyhow::Error {
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "cannot be reached"
    } else {
        "the line broke"
    };
    let error = error.without_url();
    if error.source().is_some() {
        anyhow::Error::new(error).context(what)
    } else {
        anyhow::anyhow!(what)
    }
}
