//! Signatures of requests: those over the time alone (contract §3) and those over the whole request (§14).

use std::borrow::Cow;

use channelstream_signer::request::{Content, RequestSigner, Target, Verified};
use channelstream_signer::{SignatureError, TimestampSigner};
use http::header::HeaderName;
use tokio::time::Instant;

use crate::app::App;
use crate::clock;
use crate::config::Config;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::limits::Limit;
use crate::metrics::signatures::Scheme;
use crate::router::nonces::{Arrival, Refusal, WINDOW};
use crate::settings::Settings;

/// The maximum age of a signature over the time, in seconds.
const TIMESTAMP_AGE: u64 = 60;

const TIMESTAMP: HeaderName = HeaderName::from_static("x-channelstream-secret");
const WHOLE: HeaderName = HeaderName::from_static("x-channelstream-signature");
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What checks signatures with the secrets of the settings.
#[derive(Debug)]
pub(crate) struct Signers {
    /// One for each secret, the newest first.
    timestamps: Vec<TimestampSigner>,
    /// `None` if there is no secret. Then no signature is valid.
    requests: Option<RequestSigner>,
}

impl Signers {
    pub(crate) fn new(config: &Config) -> Self {
        let secrets = config.secrets.iter().map(|secret| secret.expose());
        let secrets = secrets.filter(|secret| !secret.is_empty());
        Self {
            timestamps: secrets.clone().map(TimestampSigner::new).collect(),
            requests: RequestSigner::with_secrets(secrets),
        }
    }

    /// Returns the index of the secret of a signature over the time.
    fn check_timestamp(&self, text: &str, max_age: Option<u64>) -> Result<usize, Problem> {
        for (index, signer) in self.timestamps.iter().enumerate() {
            let checked = match max_age {
                Some(age) => signer.unsign_within(text, age, clock::unix_seconds()),
                None => signer.unsign(text),
            };
            match checked {
                Ok(_) => return Ok(index),
                Err(SignatureError::Mismatch) => {}
                Err(_) => break,
            }
        }
        Err(Problem::BadSignature)
    }

    /// Verifies the head of a request with this header, but for its time.
    fn verify(&self, header: &[u8], request: &Request) -> Result<Verified, Problem> {
        let requests = self.requests.as_ref().ok_or(Problem::BadSignature)?;
        let mut keys = request.head.headers.get_all(KEY).iter();
        let key = keys.next().map_or(&b""[..], |key| key.as_bytes());
        if keys.next().is_some() {
            return Err(refused("there are several headers Idempotency-Key"));
        }
        let method = request.head.method.as_str();
        let target = Target { method, path: request.target(), idempotency_key: key };
        requests.verify(header, &target).map_err(|error| refused(error.to_string()))
    }
}

impl App {
    /// Returns `true` if a valid signature from an allowed address permits the backend API.
    /// `takes_stream` says whether the route of the request acts on a body before it is whole.
    ///
    /// # Errors
    /// Returns an error if the address is allowed and the signature is invalid, or counted before.
    pub(super) fn check_signature(
        &self,
        settings: &Settings,
        request: &mut Request,
        takes_stream: bool,
    ) -> Result<bool, Problem> {
        let Settings { config, auth, .. } = settings;
        if !request.peer.is_allowed_by(&config.allow_posting_from) {
            return Ok(false);
        }
        let signers = &auth.signers;
        let mut lines = request.head.headers.get_all(WHOLE).iter();
        let (scheme, secret) = if let Some(line) = lines.next() {
            // Beside it, a signature over the time does not count, good or bad.
            if lines.next().is_some() {
                return Err(refused("there are several headers X-Channelstream-Signature"));
            }
            let verified = signers.verify(line.as_bytes(), request)?;
            self.claim(&verified, request, takes_stream)?;
            request.content = Some(verified.content);
            (Scheme::Body, verified.secret)
        } else {
            let signature = timestamp(request)?;
            if signature.is_empty() {
                return Ok(false);
            }
            if config.require_signed_bodies {
                return Err(refused("the body must be signed (require_signed_bodies)"));
            }
            let age = config.validate_requests.then_some(TIMESTAMP_AGE);
            (Scheme::Timestamp, signers.check_timestamp(&signature, age)?)
        };
        self.metrics.signatures.count(scheme, secret);
        Ok(true)
    }

    /// Checks the time of a genuine signature, and lets it count once.
    fn claim(
        &self,
        verified: &Verified,
        request: &Request,
        takes_stream: bool,
    ) -> Result<(), Problem> {
        let arrival = Arrival { time: clock::unix_seconds(), instant: Instant::now() };
        verified.check_time(WINDOW, arrival.time).map_err(|error| refused(error.to_string()))?;
        match (verified.content, takes_stream) {
            (Content::Unsigned, false) => return Err(refused("h=- is for streams alone")),
            (Content::Sha256(_), true) => {
                return Err(refused("a stream acts on its body before it is whole; sign h=-"));
            }
            (Content::Unsigned, true) | (Content::Sha256(_), false) => {}
        }
        match self.nonces.claim(verified, arrival, self.settings().config.max_nonces) {
            Ok(()) => Ok(()),
            Err(Refusal::Replay) => {
                self.metrics.signatures_replayed.increment();
                tracing::debug!(request = request.id, peer = %request.peer, "signature replayed");
                Err(refused("this signature counted before; sign each request anew"))
            }
            Err(Refusal::Full) => {
                self.limits.refused(Limit::Nonces, request.peer);
                let why = "too many signatures are remembered (max_nonces)";
                Err(Problem::Unavailable(why.into()))
            }
            Err(Refusal::Forgotten { set_back }) => {
                if let Some(seconds) = set_back {
                    tracing::warn!(
                        seconds,
                        "the clock was set back: signatures over requests are refused until it \
                         has caught up, or the server is restarted"
                    );
                }
                let why = "the request was signed before the server started, or its clock was set \
                           back; sign it anew";
                Err(Problem::Unavailable(why.into()))
            }
        }
    }
}

/// Returns the signature over the time, from the header or the query; empty if there is none.
fn timestamp(request: &Request) -> Result<Cow<'_, str>, Problem> {
    match request.head.headers.get(TIMESTAMP) {
        Some(header) => {
            let text = str::from_utf8(header.as_bytes()).map_err(|_| Problem::BadSignature)?;
            Ok(text.into())
        }
        None => Ok(request.parameter("secret").unwrap_or_default()),
    }
}

fn refused(why: impl Into<Cow<'static, str>>) -> Problem {
    Problem::SignatureRefused(why.into())
}
