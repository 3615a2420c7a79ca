//! Why a request is not served, and the answer that says so.

use std::borrow::Cow;

use channelstream_core::protocol::{FieldErrors, NotJson, Taken};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::http::answer::{Answer, TEXT};
use crate::http::body::BodyError;
use crate::http::negotiate::{Format, asks_for_html};
use crate::limits::Limit;
use crate::wire::websocket::HandshakeError;

/// The text of a 503 for a listener beyond the limit.
pub(crate) const FULL: &str = "too many open listeners (max_listeners)";

/// A request that is not served. No other type has error statuses.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The signature is invalid (contract §3).
    BadSignature,
    /// The signature over the request is invalid, for a reason (contract §14).
    SignatureRefused(Cow<'static, str>),
    /// This path needs permissions that the request does not have.
    Forbidden,
    /// This request is not allowed, for a reason.
    Refused(Cow<'static, str>),
    /// There is no such path, or it does not take this method. The text says which.
    NotFound(Cow<'static, str>),
    /// A listener asks for a connection that does not exist.
    UnknownConnection,
    /// Only https is served.
    HttpsOnly,
    /// Fields are invalid.
    FieldErrors(FieldErrors),
    /// A 422 that is a list of texts, as `/listen` answers it.
    Texts(&'static [&'static str]),
    /// The head of the request is malformed.
    BadHead(&'static str),
    /// The body cannot be used.
    BadBody(BodyError),
    /// The websocket handshake is wrong.
    Handshake(HandshakeError),
    /// The address exceeds a rate. It may try again in `retry_after` seconds.
    TooMany { what: &'static str, retry_after: u64 },
    /// The server is not in a state in which this can be done.
    Conflict(Cow<'static, str>),
    /// An item of a pipe was not taken: its message was closed, or a bound is reached.
    NotTaken(Box<Taken>),
    /// The server is shutting down. A pipe goes on at another one.
    GoElsewhere(Box<Taken>),
    /// A limit is reached, or the server is shutting down. Nothing was done.
    Unavailable(Cow<'static, str>),
    /// Nothing tells whether the command was applied.
    InDoubt(Cow<'static, str>),
    /// The server is shutting down, and the command may have been applied.
    Stopped,
    /// Another problem, whose answer has one more header.
    With(Box<Self>, HeaderName, HeaderValue),
}

/// Renders an HTML page with a title and a message.
pub(crate) type RenderPage<'a> = &'a dyn Fn(StatusCode, &str) -> String;

impl From<FieldErrors> for Problem {
    fn from(errors: FieldErrors) -> Self {
        Self::FieldErrors(errors)
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Altered => Self::SignatureRefused(error.to_string().into()),
            error => Self::BadBody(error),
        }
    }
}

impl Problem {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadSignature | Self::SignatureRefused(_) | Self::UnknownConnection => {
                StatusCode::UNAUTHORIZED
            }
            Self::Forbidden | Self::Refused(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::HttpsOnly => StatusCode::NOT_ACCEPTABLE,
            Self::FieldErrors(_) | Self::Texts(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BadHead(_) => StatusCode::BAD_REQUEST,
            Self::BadBody(error) => error.status(),
            Self::Handshake(error) => error.status(),
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::With(problem, ..) => problem.status(),
            Self::Conflict(_) | Self::NotTaken(_) => StatusCode::CONFLICT,
            Self::Unavailable(_) | Self::InDoubt(_) | Self::Stopped | Self::GoElsewhere(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Returns the limit that the body of the request exceeds. All other limits are counted where
    /// they are checked.
    pub(crate) fn limit(&self) -> Option<Limit> {
        match self {
            Self::BadBody(BodyError::TooLarge(_)) => Some(Limit::BodySize),
            Self::BadBody(BodyError::TooSlow) => Some(Limit::BodyTime),
            Self::BadBody(BodyError::Idle) => Some(Limit::PipeTimeout),
            Self::NotTaken(taken) => Limit::of_growing(taken.reason.as_deref()?),
            Self::BadBody(BodyError::NotJson(NotJson::TooDeep { .. })) => Some(Limit::JsonDepth),
            Self::BadBody(BodyError::NotJson(NotJson::TooMany { .. })) => Some(Limit::JsonElements),
            Self::With(problem, ..) => problem.limit(),
            _ => None,
        }
    }

    /// A sentence for people. If a limit refuses the request, the sentence names the setting.
    pub(crate) fn message(&self) -> Cow<'static, str> {
        match self {
            Self::BadSignature => "invalid signature".into(),
            Self::Forbidden => "a valid signature from an allowed address is required".into(),
            Self::Refused(why)
            | Self::SignatureRefused(why)
            | Self::NotFound(why)
            | Self::Conflict(why)
            | Self::Unavailable(why)
            | Self::InDoubt(why) => why.clone(),
            Self::UnknownConnection => "unknown connection".into(),
            Self::HttpsOnly => "https is required".into(),
            Self::FieldErrors(_) | Self::Texts(_) => "invalid fields".into(),
            Self::BadHead(why) => (*why).into(),
            Self::BadBody(error) => error.to_string().into(),
            Self::Handshake(error) => error.to_string().into(),
            Self::TooMany { what, .. } => (*what).into(),
            Self::With(problem, ..) => problem.message(),
            Self::NotTaken(_) => "nothing is appended to this message".into(),
            Self::Stopped | Self::GoElsewhere(_) => "the server is shutting down".into(),
        }
    }

    /// The `outcome` of a 503: whether a program may repeat the request without doing it twice.
    fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable(_) => Some("not_done"),
            Self::InDoubt(_) | Self::Stopped => Some("unknown"),
            Self::With(problem, ..) => problem.outcome(),
            _ => None,
        }
    }

    /// Makes the answer to a request with these headers. `render` renders it for browsers.
    pub(crate) fn into_answer(self, headers: &HeaderMap, render: RenderPage<'_>) -> Answer {
        if let Self::With(problem, name, value) = self {
            return problem.into_answer(headers, render).with(name, value);
        }
        let (status, message) = (self.status(), self.message());
        let answer = match &self {
            Self::BadSignature => Answer::json(&serde_json::json!({"request": "Bad Signature"})),
            Self::SignatureRefused(why) => {
                Answer::json(&serde_json::json!({"request": "Bad Signature", "reason": why}))
            }
            Self::FieldErrors(errors) => Answer::json(errors),
            Self::Texts(texts) => Answer::json(texts),
            Self::NotTaken(taken) | Self::GoElsewhere(taken) => Answer::json(taken),
            Self::Forbidden | Self::NotFound(_) | Self::UnknownConnection | Self::HttpsOnly => {
                return status_page(status, &message, headers, render);
            }
            // Only a client that names HTML gets a page here. Others get JSON.
            Self::Refused(_) if asks_for_html(headers) => {
                return status_page(status, &message, headers, render);
            }
            _ => status_json(status, &message, self.outcome()),
        };
        let answer = answer.with_status(status);
        match self {
            Self::Handshake(error) => error
                .headers()
                .iter()
                .fold(answer, |answer, (name, value)| answer.with(name.clone(), value.clone())),
            Self::TooMany { retry_after, .. } => {
                answer.with(header::RETRY_AFTER, HeaderValue::from(retry_after))
            }
            Self::Unavailable(_) | Self::InDoubt(_) | Self::Stopped | Self::GoElsewhere(_) => {
                answer.with(header::RETRY_AFTER, HeaderValue::from(1))
            }
            _ => answer,
        }
    }
}

/// A status and a message in the format that the client prefers.
pub(crate) fn status_page(
    status: StatusCode,
    message: &str,
    headers: &HeaderMap,
    render: RenderPage<'_>,
) -> Answer {
    let title = title(status);
    let answer = match Format::accepted(headers) {
        Format::Json => status_json(status, message, None),
        Format::Html => Answer::page(render(status, message)),
        Format::Text => Answer::new(TEXT, format!("{} {title}\n\n{message}\n", status.as_u16())),
    };
    answer.with_status(status)
}

fn status_json(status: StatusCode, message: &str, outcome: Option<&'static str>) -> Answer {
    #[derive(Serialize)]
    struct StatusBody<'a> {
        message: &'a str,
        code: &'a str,
        title: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        outcome: Option<&'static str>,
    }
    let title = title(status);
    let code = format!("{} {title}", status.as_u16());
    Answer::json(&StatusBody { message, code: &code, title, outcome })
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_503_says_whether_anything_was_done() {
        for (problem, expected) in
            [(Problem::Unavailable("full".into()), "not_done"), (Problem::Stopped, "unknown")]
        {
            let answer = problem.into_answer(&HeaderMap::new(), &|_, _| String::new());
            let (status, body) = answer.parts();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            assert_eq!(body["outcome"], expected);
        }
    }
}
