//! Rights: what a request may do, by address, signature and sign-in cookie (contract §3).

use channelstream_signer::{Digest, InvalidSeparator, KeyDerivation, TimestampSigner};
use http::HeaderMap;
use http::header::{COOKIE, HeaderName, HeaderValue};

use crate::clock;
use crate::config::Config;
use crate::http::answer::Problem;
use crate::http::header::items;
use crate::http::request::Request;

/// How old a signature may be, in seconds.
const SIGNATURE_AGE: u64 = 60;

/// How long a sign-in lasts, in seconds: 30 days.
const SIGN_IN_AGE: u64 = 30 * 86_400;

const SIGNATURE: HeaderName = HeaderName::from_static("x-channelstream-secret");

/// How the names of our cookies begin. The rest tells the servers of one host apart, whose cookies
/// browsers keep together.
const COOKIE_NAME: &str = "channelstream_";

/// The name that the reference has; it is also the default of the framework Pyramid.
const OLD_COOKIE_NAME: &str = "auth_tkt";

/// Checks signatures and cookies.
#[derive(Debug)]
pub(crate) struct Gate {
    /// None if there is no secret: then no signature is good.
    requests: Option<TimestampSigner>,
    cookies: TimestampSigner,
    /// The port that is listened on, for the name of the cookie.
    port: u16,
}

impl Gate {
    pub(crate) fn new(config: &Config, port: u16) -> Result<Self, InvalidSeparator> {
        let secrets = config.secrets.iter().map(|secret| secret.expose());
        let requests = TimestampSigner::with_secrets(secrets.filter(|secret| !secret.is_empty()));
        let cookies = TimestampSigner::builder(cookie_secret(config))
            .salt("channelstream.sign-in")
            .key_derivation(KeyDerivation::Hmac)
            .digest(Digest::Sha256);
        Ok(Self { requests, cookies: cookies.build()?, port })
    }

    /// Whether the request may use the backend API.
    ///
    /// # Errors
    /// If a signature is there and looked at, but not good.
    pub(crate) fn may_post(&self, request: &Request, config: &Config) -> Result<bool, Problem> {
        if !request.peer.is_in(&config.allow_posting_from) {
            return Ok(false);
        }
        let in_query;
        let signature = match request.head.headers.get(SIGNATURE) {
            Some(header) => str::from_utf8(header.as_bytes()).map_err(|_| Problem::BadSignature)?,
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
        let requests = self.requests.as_ref().ok_or(Problem::BadSignature)?;
        let checked = if config.validate_requests {
            requests.unsign_within(signature, SIGNATURE_AGE, clock::unix_seconds())
        } else {
            requests.unsign(signature)
        };
        match checked {
            Ok(_) => Ok(true),
            Err(_) => Err(Problem::BadSignature),
        }
    }

    /// Whether a request with these headers carries the cookie of a sign-in that still counts.
    pub(crate) fn is_signed_in(&self, headers: &HeaderMap, config: &Config) -> bool {
        self.sign_ins(headers, config).next().is_some()
    }

    /// The names of the cookies that are a sign-in which still counts. What is signed is ours,
    /// whichever of several servers behind one address has given it its name.
    fn sign_ins<'a>(
        &'a self,
        headers: &'a HeaderMap,
        config: &Config,
    ) -> impl Iterator<Item = &'a str> {
        let (user, now) = (user_in_cookie(&config.admin_user), clock::unix_seconds());
        items(headers, &COOKIE, b';').filter_map(move |cookie| {
            let (name, value) = str::from_utf8(cookie).ok()?.split_once('=')?;
            if name != OLD_COOKIE_NAME && !name.starts_with(COOKIE_NAME) {
                return None;
            }
            let signed =
                self.cookies.unsign_within(value.trim_matches('"'), SIGN_IN_AGE, now).ok()?;
            (signed.value == user).then_some(name)
        })
    }

    /// The header that signs in.
    pub(crate) fn sign_in_cookie(&self, request: &Request, config: &Config) -> Option<HeaderValue> {
        let user = user_in_cookie(&config.admin_user);
        let value = self.cookies.sign_at(&user, clock::unix_seconds());
        cookie(&self.cookie_name(request), &value, SIGN_IN_AGE, request.is_https())
    }

    /// The headers that sign out: of this server's cookie, and of all others by which the request is
    /// signed in.
    pub(crate) fn sign_out_cookies(&self, request: &Request, config: &Config) -> Vec<HeaderValue> {
        let own = self.cookie_name(request);
        let others = self.sign_ins(&request.head.headers, config).filter(|name| *name != own);
        std::iter::once(own.as_str())
            .chain(others)
            .filter_map(|name| cookie(name, "", 0, request.is_https()))
            .collect()
    }

    /// Behind one host there may be several servers, on several ports or below several prefixes.
    fn cookie_name(&self, request: &Request) -> String {
        let prefix = request.prefix.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        format!("{COOKIE_NAME}{}{prefix}", self.port)
    }
}

/// What signs cookies: a change of any of the three ends all sign-ins. Each has its length before
/// it, so that no other three give the same bytes.
fn cookie_secret(config: &Config) -> Vec<u8> {
    let random = clock::secret_id().to_string() + &clock::secret_id().to_string();
    let own = config.cookie_secret.as_ref().map_or(random.as_str(), |secret| secret.expose());
    let parts = [own, &config.admin_user, config.admin_secret.expose()];
    parts
        .iter()
        .flat_map(|part| [&(part.len() as u64).to_be_bytes(), part.as_bytes()].concat())
        .collect()
}

fn cookie(name: &str, value: &str, age: u64, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Max-Age={age}; Path=/; SameSite=Lax; HttpOnly{secure}");
    HeaderValue::from_str(&text).ok()
}

/// The user's name in letters that a cookie may hold.
fn user_in_cookie(user: &str) -> String {
    percent_encoding::utf8_percent_encode(user, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn no_two_sets_of_secrets_sign_cookies_alike() {
        let secret = |own: &str, user: &str, admin: &str| {
            cookie_secret(&Config {
                cookie_secret: Some(Secret::new(own)),
                admin_user: user.to_owned(),
                admin_secret: Secret::new(admin),
                ..Config::default()
            })
        };
        let all = [
            secret("own", "admin", "pass"),
            secret("other", "admin", "pass"),
            secret("own", "other", "pass"),
            secret("own", "admin", "other"),
            secret("owna", "dmin", "pass"),
            secret("own", "adminp", "ass"),
            secret("own", "", "adminpass"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
        assert_eq!(all[0], secret("own", "admin", "pass"));
        let random = || cookie_secret(&Config::default());
        assert_ne!(random(), random());
    }
}
