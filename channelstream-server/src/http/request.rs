//! What a handler gets: method, path, query, headers, the peer behind proxies, a bounded body.

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{FutureExt, Stream, StreamExt};
use http::header::{self, HeaderMap, HeaderName};
use hyper::upgrade::OnUpgrade;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use super::accept::Head;
use super::answer::{BodyBound, Problem};
use crate::config::{Config, Networks, Scheme};

// What proxies tell.
const SCRIPT_NAME: HeaderName = HeaderName::from_static("x-script-name");
const URL_SCHEME: HeaderName = HeaderName::from_static("x-url-scheme");
const SCHEME: HeaderName = HeaderName::from_static("x-scheme");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The pieces of a body as they come.
pub(super) type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

/// The number of requests so far, which names each in the log.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// One request, with what proxies said about it already looked at.
pub(super) struct Request {
    pub(super) head: Arc<Head>,
    /// Names it in the log; no other of this process has it.
    pub(super) id: u64,
    /// Decoded, without the prefix of a proxy; none if it cannot be decoded.
    pub(super) path: Option<String>,
    /// The prefix that a proxy has put in front of all paths, or nothing.
    pub(super) prefix: String,
    /// Who asks: the other end of the line, or whom a trusted proxy names.
    pub(super) peer: IpAddr,
    pub(super) upgrade: Option<OnUpgrade>,
    /// Whether what it asks for was found to be allowed: until then, little of its body is read.
    pub(super) has_rights: bool,
    body: Pieces,
}

impl Request {
    pub(super) fn new(
        head: Arc<Head>,
        upgrade: Option<OnUpgrade>,
        body: Pieces,
        trusted_proxies: &Networks,
    ) -> Self {
        let peer = client_address(head.line.peer, &head.headers, trusted_proxies);
        let prefix = text(&head.headers, &SCRIPT_NAME).filter(|prefix| is_prefix(prefix));
        let prefix = prefix.unwrap_or_default();
        let prefix = prefix.trim_end_matches('/').to_owned();
        let path = percent_decode_str(head.uri.path()).decode_utf8().ok().map(|path| {
            let inner = if prefix.is_empty() { None } else { path.strip_prefix(&prefix) };
            inner.filter(|inner| inner.starts_with('/')).unwrap_or(&path).to_owned()
        });
        let id = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        Self { head, id, path, prefix, peer, upgrade, has_rights: false, body }
    }

    /// A parameter of the query; of repeated ones the last. `Some(None)` if it is not UTF-8.
    pub(super) fn parameter(&self, name: &str) -> Option<Option<String>> {
        parameter(self.head.uri.query()?, name)
    }

    /// Scheme and host as the client knows them, for addresses that are given back; `local` stands
    /// in for a host that is not told. Proxies tell the scheme; it decides nothing but how these
    /// addresses begin.
    pub(super) fn address_of(&self, path: &str, config: &Config, local: &str) -> String {
        let told = self.told_scheme(&[URL_SCHEME, SCHEME]);
        let scheme = config.http_scheme.or(told).or_else(|| self.trusted_scheme(config));
        let scheme = scheme.unwrap_or(Scheme::Http).as_str();
        let host = text(&self.head.headers, &header::HOST).filter(|host| is_host(host));
        format!("{scheme}://{}{}{path}", host.unwrap_or(local), self.prefix)
    }

    /// Whether the client's line was https, as far as a trusted proxy says so.
    pub(super) fn is_https(&self, config: &Config) -> bool {
        self.trusted_scheme(config) == Some(Scheme::Https)
    }

    fn trusted_scheme(&self, config: &Config) -> Option<Scheme> {
        if !config.trusted_proxies.contains(self.head.line.peer) {
            return None;
        }
        self.told_scheme(&[URL_SCHEME, SCHEME, FORWARDED_PROTO])
    }

    fn told_scheme(&self, headers: &[HeaderName]) -> Option<Scheme> {
        headers.iter().find_map(|name| match text(&self.head.headers, name)? {
            scheme if scheme.eq_ignore_ascii_case("https") => Some(Scheme::Https),
            scheme if scheme.eq_ignore_ascii_case("http") => Some(Scheme::Http),
            _ => None,
        })
    }

    /// Reads the body to its end.
    ///
    /// # Errors
    /// If it is over the bound, compressed, broken or late.
    pub(super) async fn body(
        &mut self,
        most: BodyBound,
        within: Duration,
    ) -> Result<Bytes, Problem> {
        if let Some(coding) = self.head.headers.get(header::CONTENT_ENCODING) {
            let coding = String::from_utf8_lossy(coding.as_bytes()).trim().to_owned();
            if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
                return Err(Problem::Encoded(coding));
            }
        }
        let announced =
            text(&self.head.headers, &header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
        if announced.is_some_and(|length: u64| length > most.bytes as u64) {
            return Err(Problem::BodyTooLarge(most));
        }
        let mut pieces = pin!(self.gather(most));
        // It is there already, mostly, and needs no timer.
        if let Some(body) = pieces.as_mut().now_or_never() {
            return body;
        }
        timeout(within, pieces).await.unwrap_or(Err(Problem::BodyTooSlow))
    }

    async fn gather(&mut self, most: BodyBound) -> Result<Bytes, Problem> {
        let mut first = Bytes::new();
        let mut rest = Vec::new();
        while let Some(piece) = self.body.next().await {
            let piece = piece.map_err(|_| Problem::BrokenBody)?;
            if first.len() + rest.len() + piece.len() > most.bytes {
                return Err(Problem::BodyTooLarge(most));
            }
            if first.is_empty() {
                first = piece;
            } else {
                rest.extend_from_slice(&piece);
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
}

/// One piece of a body in one place.
pub(super) fn piece(mut buf: impl Buf) -> Bytes {
    buf.copy_to_bytes(buf.remaining())
}

/// A header that stands there as text; nothing if it is empty.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then_some(value)
}

/// Letters that may stand in a host and port; anything else is not given back.
fn is_host(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// Whether this is a path: in an address it stands right behind the host and must not become part
/// of it.
fn is_prefix(prefix: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    prefix.starts_with('/') && prefix.bytes().all(fits)
}

/// Who is behind trusted proxies: the last address in `X-Forwarded-For` that is not one itself.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    let mut client = peer;
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    for line in lines.into_iter().rev() {
        let Ok(line) = line.to_str() else { return client };
        for hop in line.rsplit(',') {
            if !trusted.contains(client) {
                return client;
            }
            match hop.trim().parse() {
                Ok(address) => client = address,
                Err(_) => return client,
            }
        }
    }
    client
}

/// A parameter of a query or a form; of repeated ones the last. `Some(None)` if it is not UTF-8.
pub(super) fn parameter(query: &str, name: &str) -> Option<Option<String>> {
    query.rsplit('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key).as_deref() == Some(name)).then(|| decoded(value))
    })
}

fn decoded(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use super::*;

    #[test]
    fn parameters() {
        let query = "a=1&conn_id=x%20y+z&b&a=2&c=%FF";
        assert_eq!(parameter(query, "conn_id"), Some(Some("x y z".to_owned())));
        assert_eq!(parameter(query, "a"), Some(Some("2".to_owned())), "the last counts");
        assert_eq!(parameter(query, "b"), Some(Some(String::new())));
        assert_eq!(parameter(query, "c"), Some(None), "not UTF-8");
        assert_eq!(parameter(query, "d"), None);
    }

    #[test]
    fn only_trusted_proxies_name_the_client() {
        let trusted: Networks = "10.0.0.0/8, 127.0.0.1".parse().unwrap();
        let client = |peer: &str, forwarded: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in forwarded {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
        };
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(client("192.0.2.1", &["203.0.113.5"]), "192.0.2.1");
        assert_eq!(client("127.0.0.1", &["203.0.113.5"]), "203.0.113.5");
        assert_eq!(client("127.0.0.1", &["198.51.100.9, 203.0.113.5, 10.1.1.1"]), "203.0.113.5");
        assert_eq!(client("127.0.0.1", &["198.51.100.9", "10.1.1.1"]), "198.51.100.9");
        assert_eq!(client("127.0.0.1", &["203.0.113.5, nonsense"]), "127.0.0.1");
    }
}
