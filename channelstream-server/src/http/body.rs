//! The body of a request: read to its end within limits of size and time.

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::protocol::NotJson;
use futures_util::{FutureExt, Stream, StreamExt};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, StatusCode};
use thiserror::Error;
use tokio::time::timeout;

use crate::http::header;

/// The connection broke inside a body.
#[derive(Debug)]
pub(crate) struct Broken;

/// The chunks of a body as they arrive.
pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, Broken>> + Send>>;

/// The size limit of a body, and its name: a setting, or the reason why it is fixed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit {
    pub(crate) bytes: usize,
    pub(crate) name: &'static str,
}

/// Why a body cannot be used.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("the body is incomplete")]
    Broken,
    #[error("the body is larger than {} bytes ({})", .0.bytes, .0.name)]
    TooLarge(BodyLimit),
    #[error("the body is another one than was signed")]
    Altered,
    #[error("the body did not arrive in time (body_timeout)")]
    TooSlow,
    #[error("nothing of the body arrived for too long (pipe_timeout)")]
    Idle,
    #[error("content-type {0} is not supported; send text/plain or application/x-ndjson")]
    Type(String),
    #[error("content-encoding {0} is not supported; send plain JSON")]
    Compressed(String),
    #[error("{}{}", .0, setting(.0))]
    NotJson(NotJson),
}

/// The setting that a JSON body exceeds, as the end of a message.
fn setting(error: &NotJson) -> &'static str {
    match error {
        NotJson::TooDeep { .. } => " (max_json_depth)",
        NotJson::TooMany { .. } => " (max_json_elements)",
        _ => "",
    }
}

impl BodyError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Broken | Self::NotJson(_) => StatusCode::BAD_REQUEST,
            Self::Altered => StatusCode::UNAUTHORIZED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow | Self::Idle => StatusCode::REQUEST_TIMEOUT,
            Self::Compressed(_) | Self::Type(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

/// Reads a body to its end.
///
/// # Errors
/// Returns an error if the body is too large, compressed, incomplete or late.
pub(crate) async fn read(
    chunks: &mut Chunks,
    headers: &HeaderMap,
    limit: BodyLimit,
    within: Duration,
) -> Result<Bytes, BodyError> {
    check_coding(headers)?;
    let announced = header::text(headers, &CONTENT_LENGTH).and_then(|text| text.parse().ok());
    if announced.is_some_and(|length: u64| length > limit.bytes as u64) {
        return Err(BodyError::TooLarge(limit));
    }
    let mut whole = pin!(concat(chunks, limit));
    // Most bodies have arrived already and need no timer.
    if let Some(body) = whole.as_mut().now_or_never() {
        return body;
    }
    timeout(within, whole).await.unwrap_or(Err(BodyError::TooSlow))
}

/// Returns an error if the body is compressed.
pub(crate) fn check_coding(headers: &HeaderMap) -> Result<(), BodyError> {
    let Some(coding) = headers.get(CONTENT_ENCODING) else { return Ok(()) };
    let coding = String::from_utf8_lossy(coding.as_bytes()).trim().to_owned();
    if coding.is_empty() || coding.eq_ignore_ascii_case("identity") {
        Ok(())
    } else {
        Err(BodyError::Compressed(coding))
    }
}

async fn concat(chunks: &mut Chunks, limit: BodyLimit) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|Broken| BodyError::Broken)?;
        if first.len() + rest.len() + chunk.len() > limit.bytes {
            return Err(BodyError::TooLarge(limit));
        }
        if first.is_empty() {
            first = chunk;
        } else {
            rest.extend_from_slice(&chunk);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = Vec::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.append(&mut rest);
    Ok(whole.into())
}
