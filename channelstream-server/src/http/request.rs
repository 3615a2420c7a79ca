//! What a handler gets: method, path, query, headers, the peer behind proxies, a bounded body.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{FutureExt, Stream, StreamExt};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use hyper::upgrade::OnUpgrade;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use crate::config::{Config, Scheme};
use crate::http::answer::{BodyBound, Problem};
use crate::http::connection::Head;
use crate::http::forwarded::{Forwarded, Notes};
use crate::http::header;
use crate::http::peer::Peer;
use crate::router::browser::asks_for_html;

/// The pieces of a body as they come.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

/// The number of requests so far, which names each in the log.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// One request, with what proxies said about it already looked at.
pub(crate) struct Request {
    pub(crate) head: Arc<Head>,
    /// Names it in the log; no other of this process has it.
    pub(crate) id: u64,
    /// Decoded, without the prefix of a proxy; none if it cannot be decoded.
    pub(crate) path: Option<String>,
    /// The prefix that a proxy has put in front of all paths, or nothing.
    pub(crate) prefix: String,
    /// Who asks: the other end of the line, or whom trusted proxies name.
    pub(crate) peer: Peer,
    forwarded: Forwarded,
    pub(crate) upgrade: Option<OnUpgrade>,
    /// Whether what it asks for was found to be allowed: until then, little of its body is read.
    pub(crate) has_rights: bool,
    body: Pieces,
}

impl Request {
    pub(crate) fn new(
        head: Arc<Head>,
        upgrade: Option<OnUpgrade>,
        body: Pieces,
        config: &Config,
        notes: &Notes,
    ) -> Self {
        let forwarded = Forwarded::new(head.line.peer, &head.headers, config, notes);
        let prefix = forwarded.prefix(&head.headers).to_owned();
        let path = percent_decode_str(head.uri.path()).decode_utf8().ok().map(|path| {
            let inner = if prefix.is_empty() { None } else { path.strip_prefix(&prefix) };
            inner.filter(|inner| inner.starts_with('/')).unwrap_or(&path).to_owned()
        });
        let id = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let peer = forwarded.peer;
        Self { head, id, path, prefix, peer, forwarded, upgrade, has_rights: false, body }
    }

    /// A parameter of the query; of repeated ones the last. `Some(None)` if it is not UTF-8.
    pub(crate) fn parameter(&self, name: &str) -> Option<Option<String>> {
        parameter(self.head.uri.query()?, name)
    }

    /// Where a path of this server is, for redirects. Programs are told the whole address as they
    /// know it, as the reference tells it; `local` stands in for a host that is not told. Browsers
    /// are told the path alone: they know the rest better than proxies do.
    pub(crate) fn address_of(&self, path: &str, config: &Config, local: &str) -> String {
        let (headers, prefix) = (&self.head.headers, &self.prefix);
        if config.http_scheme.is_none() && asks_for_html(headers) {
            return format!("{prefix}{path}");
        }
        let scheme = config.http_scheme.or_else(|| self.forwarded.scheme_of_addresses(headers));
        let scheme = scheme.unwrap_or(Scheme::Http).as_str();
        match self.authority() {
            None => format!("{scheme}://{local}{prefix}{path}"),
            Some((host, None)) => format!("{scheme}://{host}{prefix}{path}"),
            Some((host, Some(port))) => format!("{scheme}://{host}:{port}{prefix}{path}"),
        }
    }

    /// Host and port by which the client knows this server.
    pub(crate) fn authority(&self) -> Option<(&str, Option<u16>)> {
        self.forwarded.authority(&self.head.headers)
    }

    /// Whether the client's line was https, as far as a trusted proxy says so.
    pub(crate) fn is_https(&self) -> bool {
        self.forwarded.scheme(&self.head.headers) == Some(Scheme::Https)
    }

    /// Reads the body to its end.
    ///
    /// # Errors
    /// If it is over the bound, compressed, broken or late.
    pub(crate) async fn body(
        &mut self,
        most: BodyBound,
        within: Duration,
    ) -> Result<Bytes, Problem> {
        if let Some(coding) = self.head.headers.get(CONTENT_ENCODING) {
            let coding = String::from_utf8_lossy(coding.as_bytes()).trim().to_owned();
            if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
                return Err(Problem::Encoded(coding));
            }
        }
        let announced =
            header::text(&self.head.headers, &CONTENT_LENGTH).and_then(|text| text.parse().ok());
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
pub(crate) fn piece(mut buf: impl Buf) -> Bytes {
    buf.copy_to_bytes(buf.remaining())
}

/// A parameter of a query or a form; of repeated ones the last. `Some(None)` if it is not UTF-8.
pub(crate) fn parameter(query: &str, name: &str) -> Option<Option<String>> {
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
}
