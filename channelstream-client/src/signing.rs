//! How requests are signed: over the time alone, or as a whole.

use channelstream_signer::request::{Content, Nonce, RequestSigner, Target};
use channelstream_signer::{TimestampSigner, unix_now};
use http::HeaderValue;
use http::header::HeaderName;
use uuid::Uuid;

use crate::endpoint::Endpoint;
use crate::error::Error;

const TIMESTAMP: HeaderName = HeaderName::from_static("x-channelstream-secret");
const WHOLE: HeaderName = HeaderName::from_static("x-channelstream-signature");

/// What signs the requests of a client.
#[derive(Clone)]
pub(crate) enum Signing {
    Timestamp(TimestampSigner),
    Whole(RequestSigner),
}

impl Signing {
    /// Returns the header that signs a request now. No two requests have the same.
    pub(crate) fn header(
        &self,
        endpoint: Endpoint,
        key: Option<&HeaderValue>,
        body: &[u8],
    ) -> Result<(HeaderName, HeaderValue), Error> {
        let cannot = |error| {
            Error::settings_because("what the signer makes cannot stand in a header", error)
        };
        let (name, text) = match self {
            Self::Timestamp(signer) => (TIMESTAMP, signer.sign(endpoint.path)),
            Self::Whole(signer) => (WHOLE, whole(signer, endpoint, key, body)?),
        };
        let mut value = HeaderValue::from_str(&text).map_err(cannot)?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

fn whole(
    signer: &RequestSigner,
    endpoint: Endpoint,
    key: Option<&HeaderValue>,
    body: &[u8],
) -> Result<String, Error> {
    let target = Target {
        method: endpoint.method.as_str(),
        path: endpoint.path,
        idempotency_key: key.map_or(b"", HeaderValue::as_bytes),
    };
    let nonce = Uuid::new_v4().simple().to_string();
    let nonce = Nonce::new(&nonce).expect("a UUID without hyphens is 32 letters and digits");
    let signed = signer.sign_at(&target, Content::of(body), unix_now(), nonce);
    signed.map_err(|error| Error::settings_because("the request cannot be signed", error))
}
