//! One call: a signed request, its answer, and its repeats.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, USER_AGENT};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::client::Client;
use crate::endpoint::{Endpoint, redacted};
use crate::error::{Answered, Error};
use crate::retry::Repeats;

/// The maximum size of an answer in bytes, so that the peer cannot fill this program's memory.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The server refuses unknown fields, and its answers report what happened to each message.
const PREFERENCES: HeaderValue = HeaderValue::from_static("handling=strict, return=representation");
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// A server is trusted to know a key for this time, which is half of its default.
const KNOWN_FOR: Duration = Duration::from_secs(300);
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Client {
    /// Sends a request with a JSON body and parses the JSON of its answer.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        body: &(impl Serialize + ?Sized),
        repeats: Repeats,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Error::settings_because(format!("the request {endpoint} is no JSON"), error)
        })?;
        self.send(endpoint, body.into(), repeats).await
    }

    /// Sends a request and parses the JSON of its answer. An empty body is not sent.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        repeats: Repeats,
    ) -> Result<T, Error> {
        let read = |answer: &[u8]| {
            serde_json::from_slice(answer).map_err(|error| Error::unreadable(endpoint, &error))
        };
        self.send_and_read(endpoint, body, repeats, read).await
    }

    /// Sends a request, repeats it as the policy and `repeats` allow, and parses its answer with `read`.
    pub(crate) async fn send_and_read<T>(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        repeats: Repeats,
        read: impl Fn(&[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let policy = &self.0.retries;
        let key = (self.0.idempotency_keys && !endpoint.asks).then(new_key).transpose()?;
        let begun = Instant::now();
        let mut timeout = self.0.timeout;
        let (mut repeated, mut in_doubt) = (0, false);
        loop {
            let answer = self.send_once(endpoint, body.clone(), key.as_ref(), timeout).await;
            let error = match answer.and_then(|answer| read(&answer)) {
                Ok(answer) => return Ok(answer),
                Err(error) => error.through(self.proxy()).after(repeated + 1, in_doubt),
            };
            in_doubt = error.is_in_doubt();
            let Some(pause) = policy.pause(repeated, begun.elapsed(), &error) else {
                return Err(error);
            };
            let is_once = key.is_some()
                && self.0.server_knows_keys.load(Ordering::Relaxed)
                && begun.elapsed() + pause < KNOWN_FOR;
            if in_doubt && repeats == Repeats::Doubling && !is_once {
                return Err(error);
            }
            sleep(pause).await;
            repeated += 1;
            timeout = self.0.timeout.min(policy.left(begun.elapsed()));
        }
    }

    async fn send_once(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        key: Option<&HeaderValue>,
        timeout: Duration,
    ) -> Result<Vec<u8>, Error> {
        let parts = &*self.0;
        let (name, signature) = parts.signing.header(endpoint, key, &body)?;
        let mut request = parts
            .http
            .request(endpoint.method.clone(), endpoint.url(&parts.address))
            .timeout(timeout)
            .header(name, signature)
            .header(ACCEPT, JSON);
        if parts.strict {
            request = request.header(PREFER, PREFERENCES);
        }
        if let Some(key) = key {
            request = request.header(KEY, key);
        }
        if let Some(user_agent) = &parts.user_agent {
            request = request.header(USER_AGENT, user_agent);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        let answered = receive(endpoint, &redacted(&parts.address), request.body(body)).await?;
        let replayed = answered.headers.contains_key(REPLAYED);
        // An answer that is not a success may be that of a proxy, or precede the look at the key.
        if key.is_some() && (replayed || answered.status.is_success()) {
            parts.server_knows_keys.store(replayed, Ordering::Relaxed);
        }
        if !answered.status.is_success() {
            return Err(Error::status_of(endpoint, &answered));
        }
        Ok(answered.body)
    }
}

/// Returns a new key, as the header has it.
fn new_key() -> Result<HeaderValue, Error> {
    HeaderValue::from_str(&format!("\"{}\"", Uuid::new_v4()))
        .map_err(|error| Error::settings_because("a key cannot stand in a header", error))
}

/// Sends a request and returns its answer, whatever the status. Errors show `server` as the address.
pub(crate) async fn receive(
    endpoint: Endpoint,
    server: &str,
    request: reqwest::RequestBuilder,
) -> Result<Answered, Error> {
    let transport = |error| Error::transport(endpoint, server, error);
    let mut response = request.send().await.map_err(transport)?;
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    let body = read(response, MAX_ANSWER)
        .await
        .map_err(transport)?
        .ok_or_else(|| Error::too_large(endpoint, MAX_ANSWER))?;
    Ok(Answered { status, headers, body })
}

/// Returns the whole body, or `None` if it has more than `limit` bytes.
async fn read(
    mut response: reqwest::Response,
    limit: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > limit - body.len() {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_are_read_up_to_the_limit() {
        let answer = || reqwest::Response::from(http::Response::new("12345"));
        assert_eq!(read(answer(), 5).await.unwrap(), Some(b"12345".to_vec()));
        assert_eq!(read(answer(), 4).await.unwrap(), None);
    }
}
