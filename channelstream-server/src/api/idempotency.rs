//! `Idempotency-Key`: a signed request with one is carried out once, and its repeats get the first answer.
//!
//! The header is that of draft-ietf-httpapi-idempotency-key-header-07. The state keeps the answers, in the
//! one order of all commands: of two requests that come at the same time, the second waits for the
//! first like for any other command and gets its answer, so that there is no moment for a 409.
//!
//! A request that is refused before the state sees it (a body that is not JSON, an invalid field) has
//! done nothing. Its answer is not kept, and the key is free for the request as it should have been.

use std::sync::Arc;

use channelstream_core::state::Repeat;
use http::Method;
use http::header::{HeaderName, HeaderValue};
use sha1::{Digest, Sha1};

use crate::api::prefer::Preferences;
use crate::http::answer::Answer;
use crate::http::problem::Problem;
use crate::http::request::Request;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key, in bytes.
const LONGEST: usize = 255;

const INVALID: &str =
    "Idempotency-Key is not one key of 1 to 255 visible ASCII characters, quoted or not";

/// The key of a request whose body is still to come.
#[derive(Debug)]
pub(crate) struct Key {
    key: Arc<str>,
    /// The hash of what the answer depends on beside the body.
    hash: Sha1,
}

impl Key {
    /// Returns the key of a request, if it has one that counts. Without a signature it does not count:
    /// the pages of the server, which have none, could push out the keys of backends.
    ///
    /// # Errors
    /// Returns an error if the header is not one valid key.
    pub(crate) fn of(
        request: &Request,
        prefer: &Preferences,
    ) -> Result<Option<Box<Self>>, Problem> {
        let mut lines = request.head.headers.get_all(KEY).iter();
        let Some(line) = lines.next() else { return Ok(None) };
        let changes = [Method::POST, Method::PATCH, Method::DELETE].contains(&request.head.method);
        if !request.permissions.signed || !changes {
            return Ok(None);
        }
        let text = str::from_utf8(line.as_bytes()).ok().filter(|_| lines.next().is_none());
        let key = text.and_then(read).ok_or(Problem::BadHead(INVALID))?;
        let mut hash = Sha1::new();
        let connection = request.parameter("conn_id");
        for part in [
            request.head.method.as_str(),
            request.path(),
            // An absent parameter differs from an empty one.
            if connection.is_some() { "conn_id" } else { "" },
            connection.as_deref().unwrap_or_default(),
        ] {
            // The length delimits the part.
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hash.update(prefer.as_bits());
        Ok(Some(Box::new(Self { key: key.into(), hash })))
    }

    /// Returns what makes the request with this body recognizable.
    pub(crate) fn with_body(self, body: &[u8]) -> Box<Repeat> {
        let hash = self.hash.chain_update(body).finalize();
        let mut fingerprint = [0; size_of::<u128>()];
        fingerprint.iter_mut().zip(hash).for_each(|(byte, hashed)| *byte = hashed);
        Box::new(Repeat { key: self.key, fingerprint: u128::from_be_bytes(fingerprint) })
    }
}

/// Reads a key: a string of RFC 8941, whose parameters have no meaning, or the bare key.
fn read(text: &str) -> Option<String> {
    let text = text.trim_matches([' ', '\t']);
    let key = match text.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => text.to_owned(),
    };
    let is_visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    (is_visible && (1..=LONGEST).contains(&key.len())).then_some(key)
}

/// Returns a string of RFC 8941 without its quotes; `text` begins after the first one.
fn unquoted(text: &str) -> Option<String> {
    let mut key = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => key.push(characters.next().filter(|next| ['"', '\\'].contains(next))?),
            other => key.push(other),
        }
        if key.len() > LONGEST {
            return None;
        }
    }
    let rest = characters.as_str().trim_start_matches(' ');
    (rest.is_empty() || rest.starts_with(';')).then_some(key)
}

/// Reports in an answer whether it is that of an earlier request.
pub(crate) fn report(outcome: Result<Answer, Problem>, replayed: bool) -> Result<Answer, Problem> {
    let value = HeaderValue::from_static(if replayed { "true" } else { "false" });
    match outcome {
        Ok(answer) => Ok(answer.with(REPLAYED, value)),
        Err(problem) => Err(Problem::With(Box::new(problem), REPLAYED, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_quoted_or_bare() {
        for (text, key) in [
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", Some("8e03978e-40d5-43dd-bc93-6894a57f9324")),
            (r#""8e03978e""#, Some("8e03978e")),
            (r#""a\"b\\c""#, Some(r#"a"b\c"#)),
            (r#" "a" ;x=1"#, Some("a")),
            ("\ta!~, ", Some("a!~,")),
            ("a,b;c=d", Some("a,b;c=d")),
            (r#"a"b"#, Some(r#"a"b"#)),
            ("", None),
            (" ", None),
            (r#""""#, None),
            (r#"""#, None),
            (r#""a"#, None),
            (r#""a\"#, None),
            (r#""a\b""#, None),
            (r#""a" "b""#, None),
            (r#""a", "b""#, None),
            ("a b", None),
            (r#""a b""#, None),
            ("\u{e9}", None),
            ("\"\u{e9}\"", None),
            ("a\u{7f}", None),
        ] {
            assert_eq!(read(text).as_deref(), key, "{text:?}");
        }
    }

    #[test]
    fn keys_have_a_length() {
        let (longest, longer) = ("k".repeat(LONGEST), "k".repeat(LONGEST + 1));
        assert_eq!(read(&longest).as_deref(), Some(&*longest));
        assert_eq!(read(&format!("\"{longest}\"")).as_deref(), Some(&*longest));
        assert_eq!(read(&longer), None);
        assert_eq!(read(&format!("\"{longer}\"")), None);
        assert_eq!(read(&format!("\"{}", r"\\".repeat(10_000))), None);
    }
}
