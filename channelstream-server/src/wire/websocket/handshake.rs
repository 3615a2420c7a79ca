//! The opening handshake: whether a request may become a websocket, and its accept key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Method, StatusCode, Version};
use sha1::{Digest as _, Sha1};

use crate::http::header::items;

/// What RFC 6455 §1.3 appends to the client's key before hashing.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The headers that tell a client what it should have asked for.
static UPGRADE_WANTED: [(HeaderName, HeaderValue); 3] = [
    (CONNECTION, HeaderValue::from_static("upgrade")),
    (UPGRADE, HeaderValue::from_static("websocket")),
    (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
];

/// Why a request cannot become a websocket; the text is fit for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The method is not GET.
    #[error("a websocket handshake must be a GET request")]
    NotGet,
    /// The request is HTTP/1.0 or older, which has no upgrade.
    #[error(
        "the request came as HTTP/1.0, which has no upgrade: a proxy in between speaks HTTP/1.0 \
         and must be set to HTTP/1.1"
    )]
    OldHttp,
    /// There is no `Upgrade` header with the token `websocket`.
    #[error(
        "no upgrade header with websocket: the request was not meant for a websocket, or a proxy \
         in between dropped the header"
    )]
    NoUpgrade,
    /// There is no `Connection` header with the token `upgrade`.
    #[error(
        "no connection header with upgrade: the request was not meant for a websocket, or a proxy \
         in between dropped the header"
    )]
    NoConnectionUpgrade,
    /// `Sec-WebSocket-Version` is missing or not 13.
    #[error("the sec-websocket-version header must be 13")]
    WrongVersion,
    /// There is no `Sec-WebSocket-Key`.
    #[error("the sec-websocket-key header is missing")]
    NoKey,
    /// There is more than one `Sec-WebSocket-Key`.
    #[error("the sec-websocket-key header must stand once")]
    RepeatedKey,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64.
    #[error("the sec-websocket-key header must be 16 bytes in base64")]
    InvalidKey,
}

impl HandshakeError {
    /// Returns 426 where asking for an upgrade to version 13 would help, otherwise 400.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::NoUpgrade | Self::NoConnectionUpgrade | Self::WrongVersion => {
                StatusCode::UPGRADE_REQUIRED
            }
            Self::NotGet | Self::OldHttp | Self::NoKey | Self::RepeatedKey | Self::InvalidKey => {
                StatusCode::BAD_REQUEST
            }
        }
    }

    /// Returns the headers that the answer must have: the wanted upgrade with a 426, none with a 400.
    pub(crate) fn headers(self) -> &'static [(HeaderName, HeaderValue)] {
        if self.status() == StatusCode::UPGRADE_REQUIRED { &UPGRADE_WANTED } else { &[] }
    }
}

/// Checks a request for a websocket and returns the value of `Sec-WebSocket-Accept` for the answer 101.
///
/// Offered extensions and subprotocols are ignored.
///
/// # Errors
///
/// Returns the first thing that is missing or wrong, in the order of [`HandshakeError`]'s variants.
pub(crate) fn check_handshake(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Result<String, HandshakeError> {
    if method != Method::GET {
        return Err(HandshakeError::NotGet);
    }
    if version < Version::HTTP_11 {
        return Err(HandshakeError::OldHttp);
    }
    if !has_token(headers, &UPGRADE, "websocket") {
        return Err(HandshakeError::NoUpgrade);
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(HandshakeError::NoConnectionUpgrade);
    }
    let mut versions = headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    if versions.next().is_none_or(|version| version != "13") || versions.next().is_some() {
        return Err(HandshakeError::WrongVersion);
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter().map(HeaderValue::as_bytes);
    let key = keys.next().ok_or(HandshakeError::NoKey)?;
    if keys.next().is_some() {
        return Err(HandshakeError::RepeatedKey);
    }
    if !is_key(key) {
        return Err(HandshakeError::InvalidKey);
    }
    Ok(STANDARD.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize()))
}

/// Returns `true` if one of the header's lines lists the token, in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    items(headers, name, b',').any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
}

/// Returns `true` for base64 of 16 bytes: 22 digits and two signs of padding. The four spare bits of
/// the last digit may have any value, since some clients choose random digits.
fn is_key(key: &[u8]) -> bool {
    key.strip_suffix(b"==").is_some_and(|digits| {
        digits.len() == 22
            && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
    })
}

#[cfg(test)]
mod tests {

    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn check(headers: &[(&str, &str)]) -> Result<String, HandshakeError> {
        check_handshake(&Method::GET, Version::HTTP_11, &map(headers))
    }

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        headers.iter().map(pair).collect()
    }

    /// The good headers, with one of them replaced by as many lines as there are values.
    fn with(name: &str, values: &[&str]) -> Result<String, HandshakeError> {
        let mut headers: Vec<_> = GOOD.into_iter().filter(|(other, _)| *other != name).collect();
        headers.extend(values.iter().map(|value| (name, *value)));
        check(&headers)
    }

    #[test]
    fn answers_the_example_of_the_rfc() {
        assert_eq!(check(&GOOD).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn finds_tokens_in_any_case_place_and_line() {
        for connection in [
            &["keep-alive, Upgrade"][..],
            &["keep-alive", "Upgrade"],
            &["UPGRADE"],
            &["keep-alive\t,\t upgrade \t, x"],
            &[",,upgrade,"],
        ] {
            assert!(with("connection", connection).is_ok(), "{connection:?}");
        }
        for upgrade in [&["WebSocket"][..], &["h2c, websocket"], &["h2c", "WEBSOCKET"]] {
            assert!(with("upgrade", upgrade).is_ok(), "{upgrade:?}");
        }
    }

    #[test]
    fn passes_over_extensions_and_subprotocols() {
        let mut headers = map(&GOOD);
        headers.append("sec-websocket-extensions", "permessage-deflate".parse().unwrap());
        headers.append("sec-websocket-protocol", "chat, \u{fe}\u{ff}".parse().unwrap());
        assert!(check_handshake(&Method::GET, Version::HTTP_11, &headers).is_ok());
    }

    #[test]
    fn tells_a_lack_of_upgrade_from_a_bad_request() {
        use HandshakeError::{
            InvalidKey, NoConnectionUpgrade, NoKey, NoUpgrade, RepeatedKey, WrongVersion,
        };
        let cases: [(&str, &[&str], HandshakeError, u16); 17] = [
            ("upgrade", &[], NoUpgrade, 426),
            ("upgrade", &["websockets"], NoUpgrade, 426),
            ("upgrade", &["web socket"], NoUpgrade, 426),
            ("connection", &[], NoConnectionUpgrade, 426),
            ("connection", &["xupgradex"], NoConnectionUpgrade, 426),
            ("connection", &["keep-alive", "close"], NoConnectionUpgrade, 426),
            ("sec-websocket-version", &[], WrongVersion, 426),
            ("sec-websocket-version", &["8"], WrongVersion, 426),
            ("sec-websocket-version", &["13", "13"], WrongVersion, 426),
            ("sec-websocket-key", &[], NoKey, 400),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ=="; 2], RepeatedKey, 400),
            ("sec-websocket-key", &[""], InvalidKey, 400),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ"], InvalidKey, 400),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ="], InvalidKey, 400),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZWU="], InvalidKey, 400),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25j_Q=="], InvalidKey, 400),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ===="], InvalidKey, 400),
        ];
        for (name, values, error, status) in cases {
            assert_eq!(with(name, values), Err(error), "{name}: {values:?}");
            assert_eq!(error.status().as_u16(), status, "{name}: {values:?}");
        }
    }

    #[test]
    fn wants_get_and_a_protocol_that_knows_upgrades() {
        let good = map(&GOOD);
        let post = check_handshake(&Method::POST, Version::HTTP_11, &good).unwrap_err();
        assert_eq!((post, post.status()), (HandshakeError::NotGet, StatusCode::BAD_REQUEST));
        for version in [Version::HTTP_10, Version::HTTP_09] {
            let old = check_handshake(&Method::GET, version, &good).unwrap_err();
            assert_eq!((old, old.status()), (HandshakeError::OldHttp, StatusCode::BAD_REQUEST));
            assert!(old.to_string().contains("a proxy in between speaks HTTP/1.0"));
        }
    }

    #[test]
    fn names_the_wanted_upgrade_beside_426_only() {
        let wanted: HeaderMap = HandshakeError::WrongVersion.headers().iter().cloned().collect();
        assert_eq!(wanted["sec-websocket-version"], "13");
        assert_eq!(wanted["upgrade"], "websocket");
        assert!(HandshakeError::NoKey.headers().is_empty());
    }
}
