//! Authentication: what checks signatures, and the cookie of a sign-in (contract §3, §10).

use channelstream_signer::{Digest, KeyDerivation, TimestampSigner};
use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};

use crate::clock;
use crate::config::{Config, Secret};
use crate::http::header::items;
use crate::http::request::Request;
use crate::router::signature::Signers;

/// The lifetime of a sign-in, in seconds: 30 days.
const SIGN_IN_AGE: u64 = 30 * 86_400;

/// The prefix of our cookies' names. Browsers keep the cookies of all servers of a host together, so
/// the rest of a name identifies the server.
const COOKIE_NAME: &str = "channelstream_";

/// The name of the reference's cookie, which is the default of the framework Pyramid.
const OLD_COOKIE_NAME: &str = "auth_tkt";

/// Checks signatures and cookies.
#[derive(Debug)]
pub(crate) struct Auth {
    pub(super) signers: Signers,
    cookies: TimestampSigner,
    /// What signs cookies where no setting says it; it stays the same for the life of the process.
    random: Secret,
    /// The port of the server, for the name of the cookie.
    port: u16,
}

impl Auth {
    pub(crate) fn new(config: &Config, port: u16) -> Self {
        let random = clock::secret_id().to_string() + &clock::secret_id().to_string();
        Self::with_random(config, Secret::new(random), port)
    }

    /// The same with other settings. Sign-ins count on, unless what they depend on has changed.
    pub(crate) fn with(&self, config: &Config) -> Self {
        Self::with_random(config, self.random.clone(), self.port)
    }

    fn with_random(config: &Config, random: Secret, port: u16) -> Self {
        let cookies = TimestampSigner::builder(cookie_secret(config, random.expose()))
            .salt("channelstream.sign-in")
            .key_derivation(KeyDerivation::Hmac)
            .digest(Digest::Sha256)
            .build();
        Self { signers: Signers::new(config), cookies, random, port }
    }

    /// Returns `true` if the headers carry the cookie of a sign-in that has not expired.
    pub(crate) fn is_signed_in(&self, headers: &HeaderMap, config: &Config) -> bool {
        self.sign_ins(headers, config).next().is_some()
    }

    /// The names of the cookies that are valid sign-ins. The signature decides, not the name: several
    /// servers behind one address may share their secrets.
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

    /// The header that signs a browser in.
    pub(crate) fn sign_in_cookie(&self, request: &Request, config: &Config) -> Option<HeaderValue> {
        let user = user_in_cookie(&config.admin_user);
        let value = self.cookies.sign_at(&user, clock::unix_seconds());
        cookie(&self.cookie_name(request), &value, SIGN_IN_AGE, request.is_https())
    }

    /// The headers that sign a browser out. They remove this server's cookie and all others by which
    /// the request is signed in.
    pub(crate) fn sign_out_cookies(&self, request: &Request, config: &Config) -> Vec<HeaderValue> {
        let own = self.cookie_name(request);
        let others = self.sign_ins(&request.head.headers, config).filter(|name| *name != own);
        std::iter::once(own.as_str())
            .chain(others)
            .filter_map(|name| cookie(name, "", 0, request.is_https()))
            .collect()
    }

    /// The name of this server's cookie. One host may have several servers, which differ in port or
    /// prefix.
    fn cookie_name(&self, request: &Request) -> String {
        let prefix = request.prefix.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        format!("{COOKIE_NAME}{}{prefix}", self.port)
    }
}

/// The key that signs cookies. A change of the secret, the user or the password ends all sign-ins.
/// Each part follows its length, so no other three parts give the same bytes.
fn cookie_secret(config: &Config, random: &str) -> Vec<u8> {
    let own = config.cookie_secret.as_ref().map_or(random, |secret| secret.expose());
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

/// The user's name in characters that a cookie may hold.
fn user_in_cookie(user: &str) -> String {
    percent_encoding::utf8_percent_encode(user, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_sets_of_secrets_sign_cookies_alike() {
        let secret = |own: &str, user: &str, admin: &str| {
            let config = Config {
                cookie_secret: Some(Secret::new(own)),
                admin_user: user.to_owned(),
                admin_secret: Secret::new(admin),
                ..Config::default()
            };
            cookie_secret(&config, "random")
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
        let random = |random| cookie_secret(&Config::default(), random);
        assert_ne!(random("one"), random("other"));
    }
}
