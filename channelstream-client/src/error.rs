//! `Error`: the error of every call, with a kind to decide by and no secret in its text.

use std::error::Error as StdError;
use std::fmt::{self, Display, Formatter};
use std::time::{Duration, SystemTime};

use crate::call::REPLAYED;
use crate::endpoint::Endpoint;
use crate::skew::ClockSkew;
use channelstream_core::protocol::{FieldError, FieldErrors, PayloadError};
use channelstream_signer::unix_now;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

/// The maximum number of field errors in an error's text. [`Error::field_errors`] has all.
const SHOWN_FIELD_ERRORS: usize = 5;

/// Why a call failed.
///
/// Programs decide by [`kind`](Self::kind). The text is for people and may change. The text, the
/// `Debug` output and the sources never contain the secret, a signature, or the user, password or
/// query of an address.
///
/// `Display` writes the outer sentence and [`source`](StdError::source) returns the cause. The
/// alternate form `{:#}` writes the sentence followed by all causes.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    text: String,
    status: Option<StatusCode>,
    field_errors: Option<FieldErrors>,
    retryable: bool,
    in_doubt: bool,
    /// Whether the server answers for all attempts, because it recognized them by their key.
    settled: bool,
    attempts: u32,
    retry_after: Option<Duration>,
    skew: Option<ClockSkew>,
    proxy: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kind of an error, by which a program can decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server could not be reached. Nothing was sent.
    Connect,
    /// The answer did not arrive completely in time. The request may have been carried out.
    Timeout,
    /// The server refused the request with a 4xx, or with a redirect, as the admin endpoints do.
    /// Nothing was carried out, and the same request will be refused again.
    Refused,
    /// The server, or a proxy before it, failed or is busy: a 5xx, 408 or 429. The request may succeed
    /// later.
    Unavailable,
    /// The answer broke off, is too large, or violates the protocol. The request may have been carried
    /// out.
    BadAnswer,
    /// The settings are not valid for a client, or the values not valid for a request.
    Builder,
    /// The function that creates new connections for an event stream failed.
    Renewal,
    /// The address has `https` for a port that speaks plain HTTP, or `http` for one that speaks TLS.
    /// Nothing was carried out. The address must be corrected.
    Scheme,
}

/// The answers of nginx, Go and Apache to plain HTTP at a TLS port.
const AT_TLS_PORT: [&str; 3] = [
    "The plain HTTP request was sent to HTTPS port",
    "Client sent an HTTP request to an HTTPS server",
    "speaking plain HTTP to an SSL-enabled server port",
];
const SPEAKS_TLS: &str = "this port speaks TLS; use https://";
const SPEAKS_PLAIN_HTTP: &str = "this port speaks plain HTTP; use http://";
/// The HTTP client does not report whether the invalid answer was a TLS alert.
const SPEAKS_NO_HTTP: &str =
    "this port does not answer in plain HTTP; if it speaks TLS, use https://";

impl Error {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the status of the answer, if there was one and it was not a success.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// Returns `true` if the answer did not arrive in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::Timeout
    }

    /// Returns `true` if the same request may succeed a little later: the server could not be
    /// reached, was busy (408, 429, 502, 503, 504), or the answer did not arrive completely or in time.
    ///
    /// A repeat may still do harm if the request [was carried out](Self::is_in_doubt): another call has
    /// another key.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Returns `true` if the request may have been carried out nevertheless, at the last attempt or an
    /// earlier one. Returns `false` if it certainly was not.
    ///
    /// On servers that know [keys](crate#repeats) this is rare: the call repeats what is in doubt until
    /// the [policy](crate::RetryPolicy) ends it, and the answer to any repeat is that of the first.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.0.in_doubt
    }

    /// Returns the number of attempts to send the request.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Returns the time that the server asks to wait before the next request (`Retry-After`).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the difference between this machine's clock and the server's, if the signature was
    /// refused and this is the likely cause. The difference is then about a minute or more, by the
    /// `Date` of the answer.
    #[must_use]
    pub fn clock_skew(&self) -> Option<ClockSkew> {
        self.0.skew
    }

    /// Returns what is wrong with each field of the request, if the server reported it with a 422
    /// (contract §4).
    #[must_use]
    pub fn field_errors(&self) -> Option<&FieldErrors> {
        self.0.field_errors.as_ref()
    }

    /// Returns the proxy of the environment that the request went through, without its user and
    /// password. Returns `None` if the answer was certainly the server's own.
    #[must_use]
    pub fn proxy(&self) -> Option<&str> {
        self.0.proxy.as_deref()
    }

    fn new(kind: ErrorKind, text: String) -> Self {
        Self(Box::new(Inner {
            kind,
            text,
            status: None,
            field_errors: None,
            retryable: matches!(kind, ErrorKind::Connect | ErrorKind::Timeout),
            in_doubt: matches!(kind, ErrorKind::Timeout | ErrorKind::BadAnswer),
            settled: false,
            attempts: 1,
            retry_after: None,
            skew: None,
            proxy: None,
            source: None,
        }))
    }

    fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// Returns the error as that of the last of several attempts.
    pub(crate) fn after(mut self, attempts: u32, in_doubt: bool) -> Self {
        self.0.attempts = attempts;
        self.0.in_doubt |= in_doubt && !self.0.settled;
        self
    }

    /// Returns the error with the proxy that the request went through, which may be the cause.
    pub(crate) fn through(mut self, proxy: Option<&str>) -> Self {
        let Some(proxy) = proxy else { return self };
        let is_servers_own = self.0.field_errors.is_some() || self.0.skew.is_some();
        if is_servers_own || self.0.kind == ErrorKind::Builder {
            return self;
        }
        self.0.text.push_str(&format!(" (through the proxy {proxy} of the environment)"));
        self.0.proxy = Some(proxy.to_owned());
        self
    }

    pub(crate) fn settings(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Builder, text.into())
    }

    pub(crate) fn settings_because(
        text: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self::settings(text).because(source)
    }

    /// Creates the error of a request that could not be sent, or whose answer could not be received.
    /// `server` is an address without user, password and query.
    pub(crate) fn transport(endpoint: Endpoint, server: &str, source: reqwest::Error) -> Self {
        let broken = !source.is_redirect();
        let cause = root(&source);
        let (kind, text) = if cause.contains("InvalidContentType") {
            // The answer does not begin with a TLS record.
            (
                ErrorKind::Scheme,
                format!("cannot reach {server} for {endpoint}: {SPEAKS_PLAIN_HTTP}"),
            )
        } else if server.starts_with("http:") && cause.contains("invalid HTTP version") {
            (ErrorKind::Scheme, format!("cannot reach {server} for {endpoint}: {SPEAKS_NO_HTTP}"))
        } else if source.is_connect() {
            (ErrorKind::Connect, format!("cannot reach {server} for {endpoint}"))
        } else if source.is_timeout() {
            (ErrorKind::Timeout, format!("no answer to {endpoint} in time"))
        } else if source.is_builder() {
            (ErrorKind::Builder, format!("cannot make the request {endpoint}"))
        } else {
            (ErrorKind::BadAnswer, format!("the answer to {endpoint} broke off"))
        };
        let mut error = Self::new(kind, text).because(source.without_url());
        error.0.retryable |= kind == ErrorKind::BadAnswer && broken;
        error
    }

    /// Creates the error of an answer whose status is not a success.
    pub(crate) fn status_of(endpoint: Endpoint, answered: &Answered) -> Self {
        let Answered { status, headers, body } = answered;
        let status = *status;
        let busy = matches!(status.as_u16(), 408 | 429);
        let says = |text: &&str| body.windows(text.len()).any(|part| part == text.as_bytes());
        if status == StatusCode::BAD_REQUEST && AT_TLS_PORT.iter().any(says) {
            let mut error = Self::new(ErrorKind::Scheme, format!("{endpoint}: {SPEAKS_TLS}"));
            error.0.status = Some(status);
            return error;
        }
        let (kind, how) = if busy {
            (ErrorKind::Unavailable, "was put off")
        } else if status.is_client_error() || status.is_redirection() {
            (ErrorKind::Refused, "was refused")
        } else if status.is_server_error() {
            (ErrorKind::Unavailable, "failed")
        } else {
            (ErrorKind::BadAnswer, "was answered")
        };
        let mut error = Self::new(kind, format!("{endpoint} {how} with {status}"));
        error.0.status = Some(status);
        error.0.retryable = busy || matches!(status.as_u16(), 502..=504);
        error.0.settled = headers.contains_key(REPLAYED);
        error.0.in_doubt |= kind == ErrorKind::Unavailable && !busy && !was_not_done(body);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(unix_now());
        error.0.retry_after = retry_after(headers, now);
        if status == StatusCode::UNAUTHORIZED && is_bad_signature(body) {
            error.0.skew = ClockSkew::between(headers, now);
            if let Some(skew) = error.0.skew {
                let text = format!(": signature refused; this machine's clock is {skew}");
                error.0.text.push_str(&text);
            }
        }
        if status == StatusCode::UNPROCESSABLE_ENTITY {
            error.0.field_errors = serde_json::from_slice(body).ok();
        }
        if let Some(errors) = &error.0.field_errors {
            error.0.text.push_str(&summary(errors));
        } else if let Some(message) = message(body, status) {
            error.0.text.push_str(&format!(": {message}"));
        }
        error
    }

    pub(crate) fn too_large(endpoint: Endpoint, limit: usize) -> Self {
        let text = format!("the answer to {endpoint} is larger than {limit} bytes");
        Self::new(ErrorKind::BadAnswer, text)
    }

    /// Creates the error of an answer that does not fit the request.
    pub(crate) fn unexpected(endpoint: Endpoint, how: &str) -> Self {
        Self::new(ErrorKind::BadAnswer, format!("the answer to {endpoint} {how}"))
    }

    /// Creates the error of an answer that is not JSON, or not the JSON of the endpoint. Of serde's
    /// error it has only the position, since the text may quote the answer.
    pub(crate) fn unreadable(endpoint: Endpoint, cause: &serde_json::Error) -> Self {
        let what = if cause.is_data() { "not what the protocol says" } else { "not JSON" };
        let (line, column) = (cause.line(), cause.column());
        let text = format!("the answer to {endpoint} is {what} (at line {line}, column {column})");
        Self::new(ErrorKind::BadAnswer, text)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)?;
        let mut cause = self.source().filter(|_| f.alternate());
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<PayloadError> for Error {
    fn from(error: PayloadError) -> Self {
        Self::settings_because("the message has no valid payload", error)
    }
}

/// The errors of event streams.
#[cfg(feature = "listen")]
impl Error {
    /// Creates the error of the function that creates new connections. An [`Error`] of this crate is
    /// returned unchanged.
    pub(crate) fn renewal(source: Box<dyn StdError + Send + Sync>) -> Self {
        match source.downcast::<Self>() {
            Ok(error) => *error,
            Err(source) => {
                let mut error =
                    Self::new(ErrorKind::Renewal, "no new connection was made".to_owned());
                error.0.retryable = true;
                error.0.source = Some(source);
                error
            }
        }
    }

    /// Creates the error of a transport that broke, or received something invalid.
    pub(crate) fn broken(text: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::BadAnswer, text.into());
        error.0.retryable = true;
        error
    }

    pub(crate) fn broken_because(
        text: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self::broken(text).because(source)
    }

    /// Creates the error of a transport that was silent for too long.
    pub(crate) fn silence(endpoint: Endpoint, silence: Duration) -> Self {
        Self::new(ErrorKind::Timeout, format!("{endpoint} brought nothing for {silence:?}"))
    }

    /// Creates the error of a websocket that the server closed for a temporary reason.
    pub(crate) fn closed(code: u16, reason: &str) -> Self {
        let reason = if reason.is_empty() { "no reason given" } else { reason };
        let text = format!("the server closed the websocket with {code}: {reason}");
        let mut error = Self::new(ErrorKind::Unavailable, text);
        error.0.retryable = true;
        error
    }
}

/// A complete answer.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Returns `true` if the body of a 401 is that of the server (contract §3), not that of a proxy.
fn is_bad_signature(body: &[u8]) -> bool {
    let answer: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    answer.is_some_and(|answer| answer["request"] == "Bad Signature")
}

/// Returns the text of the innermost cause.
fn root(error: &dyn StdError) -> String {
    let mut root = error;
    while let Some(inner) = root.source() {
        root = inner;
    }
    root.to_string()
}

/// Returns `true` if the server states that the request was not carried out (contract §13). The
/// answer of a proxy does not state it.
fn was_not_done(body: &[u8]) -> bool {
    let answer: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    answer.is_some_and(|answer| answer["outcome"] == "not_done")
}

/// Returns the server's message about an error (contract §2), such as the setting that is the limit, or its reason to
/// refuse a signature (§14).
/// Answers in another form are not the server's, may contain anything, and are left out.
fn message(body: &[u8], status: StatusCode) -> Option<String> {
    /// The server's messages are shorter.
    const LONGEST: usize = 300;
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    if status == StatusCode::UNAUTHORIZED && answer["request"] == "Bad Signature" {
        let reason = answer["reason"].as_str().filter(|reason| reason.len() <= LONGEST)?;
        return Some(reason.to_owned());
    }
    let code = answer["code"].as_str()?;
    let message = answer["message"].as_str().filter(|message| message.len() <= LONGEST)?;
    code.starts_with(status.as_str()).then(|| message.to_owned())
}

/// Parses `Retry-After`, which has seconds or a date. A date in the past is zero.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = str::from_utf8(headers.get(RETRY_AFTER)?.as_bytes()).ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Returns the first field errors, such as `: 0.user: Not a valid string.`
fn summary(errors: &FieldErrors) -> String {
    let mut texts = Vec::new();
    collect("", errors, &mut texts);
    let more = texts.len().saturating_sub(SHOWN_FIELD_ERRORS);
    texts.truncate(SHOWN_FIELD_ERRORS);
    let mut text = format!(": {}", texts.join("; "));
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

fn collect(path: &str, errors: &FieldErrors, texts: &mut Vec<String>) {
    for (field, error) in errors.iter() {
        match error {
            FieldError::Texts(own) => texts.push(format!("{path}{field}: {}", own.join(" "))),
            FieldError::Inner(inner) => collect(&format!("{path}{field}."), inner, texts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::MESSAGE;

    impl Answered {
        pub(crate) fn new(status: StatusCode) -> Self {
            Self { status, headers: HeaderMap::new(), body: Vec::new() }
        }
    }

    #[test]
    fn statuses_have_kinds() {
        for (status, kind) in [
            (302, ErrorKind::Refused),
            (401, ErrorKind::Refused),
            (422, ErrorKind::Refused),
            (408, ErrorKind::Unavailable),
            (429, ErrorKind::Unavailable),
            (500, ErrorKind::Unavailable),
            (503, ErrorKind::Unavailable),
            (101, ErrorKind::BadAnswer),
            (700, ErrorKind::BadAnswer),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = Error::status_of(MESSAGE, &Answered::new(status));
            assert_eq!((error.kind(), error.status()), (kind, Some(status)));
            assert!(error.field_errors().is_none() && error.clock_skew().is_none());
            let code = status.as_u16();
            assert_eq!(error.is_retryable(), [408, 429, 503].contains(&code), "{status}");
            assert_eq!(error.is_in_doubt(), [101, 500, 503, 700].contains(&code), "{status}");
        }
    }

    #[test]
    fn a_request_that_was_not_done_is_not_in_doubt() {
        for (body, in_doubt) in [
            (r#"{"message": "full", "outcome": "not_done"}"#, false),
            (r#"{"message": "stopped", "outcome": "unknown"}"#, true),
            (r#"{"message": "full"}"#, true),
            ("<html>not_done</html>", true),
            ("", true),
        ] {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let answered = Answered { body: body.into(), ..Answered::new(status) };
            let error = Error::status_of(MESSAGE, &answered);
            assert_eq!((error.is_retryable(), error.is_in_doubt()), (true, in_doubt), "{body}");
        }
    }

    #[test]
    fn the_servers_message_is_in_the_text() {
        let text = |body: &str| {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            Error::status_of(MESSAGE, &Answered { body: body.into(), ..Answered::new(status) })
                .to_string()
        };
        let plain = "POST /message was refused with 413 Payload Too Large";
        assert_eq!(
            text(r#"{"message": "too large (max_body_size)", "code": "413 Payload Too Large"}"#),
            format!("{plain}: too large (max_body_size)")
        );
        let long = format!(r#"{{"message": "{}", "code": "413 x"}}"#, "x".repeat(301));
        for other in
            ["", "<html>", r#"{"message": "x"}"#, r#"{"message": "x", "code": 413}"#, &long]
        {
            assert_eq!(text(other), plain, "{other}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let asked = |text: &str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]), now)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Tue, 14 Nov 2023 22:13:29 GMT"), Some(Duration::from_secs(9)));
        assert_eq!(asked("Tue, 14 Nov 2023 22:13:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("-1"), None);
        assert_eq!(asked("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn doubt_of_an_earlier_attempt_stays() {
        let error = |status| Error::status_of(MESSAGE, &Answered::new(status));
        assert!(error(StatusCode::NOT_FOUND).after(3, true).is_in_doubt());
        assert!(!error(StatusCode::NOT_FOUND).after(3, false).is_in_doubt());
        assert_eq!(error(StatusCode::NOT_FOUND).after(3, true).attempts(), 3);
    }

    #[test]
    fn a_server_that_recognizes_repeats_answers_for_all_attempts() {
        let mut answered = Answered::new(StatusCode::UNPROCESSABLE_ENTITY);
        answered.headers.insert(REPLAYED, http::HeaderValue::from_static("true"));
        assert!(!Error::status_of(MESSAGE, &answered).after(3, true).is_in_doubt());
    }

    #[test]
    fn the_text_has_the_first_field_errors_by_path() {
        let text = |body: &str| {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Error::status_of(MESSAGE, &Answered { body: body.into(), ..Answered::new(status) })
                .to_string()
        };
        assert_eq!(
            text(r#"{"0": {"user": ["One.", "Two."], "pm_users": {"3": ["Three."]}}}"#),
            "POST /message was refused with 422 Unprocessable Entity: 0.user: One. Two.; \
             0.pm_users.3: Three."
        );
        let many: Vec<_> = (0..7).map(|n| format!(r#""{n}": ["No."]"#)).collect();
        let shown = text(&format!("{{{}}}", many.join(",")));
        assert!(shown.ends_with("; 4: No.; and 2 more"), "{shown}");
        assert!(text("[]").ends_with("Entity"));
    }
}
