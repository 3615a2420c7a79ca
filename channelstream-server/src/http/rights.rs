//! Rights: what a request may do, by address, signature and sign-in cookie (contract §3).

use channelstream_signer::{InvalidSeparator, TimestampSigner};
use http::HeaderMap;
use http::header::{COOKIE, HeaderName, HeaderValue};

use super::answer::Problem;
use super::request::Request;
use crate::clock;
use crate::config::Config;

/// How old a signature may be, in seconds.
const SIGNATURE_AGE: u64 = 60;

/// How long a sign-in lasts, in seconds: 30 days.
const SIGN_IN_AGE: u64 = 30 * 86_400;

const SIGNATURE: HeaderName = HeaderName::from_static("x-channelstream-secret");

const COOKIE_NAME: &str = "auth_tkt";

/// Checks signatures and cookies.
#[derive(Debug)]
pub(super) struct Gate {
    requests: TimestampSigner,
    cookies: TimestampSigner,
}

impl Gate {
    pub(super) fn new(config: &Config) -> Result<Self, InvalidSeparator> {
        let mut secrets = config.secrets.iter().map(|secret| secret.expose().as_bytes());
        let mut requests = TimestampSigner::builder(secrets.next().unwrap_or_default());
        for older in secrets {
            requests = requests.older_secret(older);
        }
        let random = clock::secret_id().to_string() + &clock::secret_id().to_string();
        let secret =
            config.cookie_secret.as_ref().map_or(random.as_str(), |secret| secret.expose());
        let cookies = TimestampSigner::builder(secret).salt("channelstream.sign-in");
        Ok(Self { requests: requests.build()?, cookies: cookies.build()? })
    }

    /// Whether the request may use the backend API.
    ///
    /// # Errors
    /// If a signature is there and looked at, but not good.
    pub(super) fn may_post(&self, request: &Request, config: &Config) -> Result<bool, Problem> {
        if !config.allow_posting_from.contains(request.peer) {
            return Ok(false);
        }
        let in_query;
        let signature = match request.head.headers.get(SIGNATURE) {
            Some(header) => header.to_str().map_err(|_| Problem::BadSignature)?,
            None => match request.parameter("secret") {
                None => "",
                Some(given) => {
                    in_query = given.ok_or(Problem::BadSignature)?;
                    &in_query
                }
            },
        };
        if signature.is_empty() {
            return Ok(false);
        }
        let checked = if config.validate_requests {
            self.requests.unsign_within(signature, SIGNATURE_AGE, clock::unix_seconds())
        } else {
            self.requests.unsign(signature)
        };
        match checked {
            Ok(_) => Ok(true),
            Err(_) => Err(Problem::BadSignature),
        }
    }

    /// Whether a request with these headers carries the cookie of a sign-in that still counts.
    pub(super) fn is_signed_in(&self, headers: &HeaderMap, config: &Config) -> bool {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        cookies.flat_map(|line| line.split(';')).any(|cookie| {
            let Some((name, value)) = cookie.trim().split_once('=') else { return false };
            name == COOKIE_NAME
                && self
                    .cookies
                    .unsign_within(value.trim_matches('"'), SIGN_IN_AGE, clock::unix_seconds())
                    .is_ok_and(|signed| signed.value == user_in_cookie(&config.admin_user))
        })
    }

    /// The header that signs in.
    pub(super) fn sign_in_cookie(&self, config: &Config, secure: bool) -> Option<HeaderValue> {
        let user = user_in_cookie(&config.admin_user);
        cookie(&self.cookies.sign_at(&user, clock::unix_seconds()), SIGN_IN_AGE, secure)
    }
}

/// The header that signs out.
pub(super) fn sign_out_cookie(secure: bool) -> Option<HeaderValue> {
    cookie("", 0, secure)
}

fn cookie(value: &str, age: u64, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{COOKIE_NAME}={value}; Max-Age={age}; Path=/; SameSite=Lax; HttpOnly{secure}");
    HeaderValue::from_str(&text).ok()
}

/// The user's name in letters that a cookie may hold.
fn user_in_cookie(user: &str) -> String {
    percent_encoding::utf8_percent_encode(user, percent_encoding::NON_ALPHANUMERIC).to_string()
}
