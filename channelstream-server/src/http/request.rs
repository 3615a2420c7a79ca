//! One request: path, query, headers, the client behind proxies, and the body.

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use channelstream_signer::request::Content;
use http::{HeaderMap, Method, Uri, Version};
use hyper::upgrade::OnUpgrade;
use percent_encoding::percent_decode_str;

use crate::config::{Config, Networks, Scheme};
use crate::http::access::Line;
use crate::http::body::{self, BodyError, BodyLimit, Chunks};
use crate::http::connection_limit::ConnectionGuard;
use crate::http::forwarded::{Forwarded, Notes};
use crate::http::negotiate::asks_for_html;
use crate::http::peer::Peer;
use crate::http::trace_context::TraceContext;
use crate::settings::Settings;

/// The number of requests so far. It numbers requests in the log.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// One request. The headers of proxies have been evaluated.
pub(crate) struct Request {
    pub(crate) head: Arc<Head>,
    /// The number of the request in the log, unique in this process.
    pub(crate) id: u64,
    /// Decoded, without the prefix of a proxy. `None` if it is not UTF-8.
    pub(crate) path: Option<Arc<str>>,
    /// The prefix that a proxy puts in front of all paths; mostly empty.
    pub(crate) prefix: String,
    /// The client: the other end of the TCP connection, or the address that trusted proxies name.
    pub(crate) peer: Peer,
    /// The trace of the caller, whoever that is.
    pub(crate) trace: Option<TraceContext>,
    /// What the log tells of it, if it is logged.
    pub(crate) line: Option<Arc<Line>>,
    /// The settings by which it is decided, also if others are loaded meanwhile.
    pub(crate) settings: Arc<Settings>,
    forwarded: Forwarded,
    pub(crate) upgrade: Option<OnUpgrade>,
    pub(crate) permissions: Permissions,
    /// What a signature says about the body.
    pub(crate) content: Option<Content>,
    body: Chunks,
}

/// The head of a request, and the TCP connection on which it arrived.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) tcp: Arc<ConnectionGuard>,
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// Why the request cannot be served, if its head is malformed.
    pub(crate) error: Option<&'static str>,
}

/// What a request may do. It may do nothing until the router has checked it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Permissions {
    /// It may call the endpoints of backends.
    pub(crate) backend: bool,
    /// It may because a backend signed it, not because of the page that makes it.
    pub(crate) signed: bool,
    /// It has the cookie of an admin.
    pub(crate) signed_in: bool,
}

impl Request {
    pub(crate) fn new(
        head: Arc<Head>,
        upgrade: Option<OnUpgrade>,
        body: Chunks,
        settings: Arc<Settings>,
        notes: &Notes,
    ) -> Self {
        let config = &settings.config;
        let forwarded =
            Forwarded::new(head.tcp.peer, head.tcp.is_secure(), &head.headers, config, notes);
        let prefix = forwarded.prefix(&head.headers).to_owned();
        let path = percent_decode_str(head.uri.path()).decode_utf8().ok().map(|path| {
            let inner = if prefix.is_empty() { None } else { path.strip_prefix(&prefix) };
            inner.filter(|inner| inner.starts_with('/')).unwrap_or(&path).into()
        });
        let id = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let (peer, permissions) = (forwarded.peer, Permissions::default());
        let trace = TraceContext::of(&head.headers);
        let line = Line::begin(&head, id, peer, path.as_ref(), trace, config.access_log);
        Self {
            head,
            id,
            path,
            prefix,
            peer,
            trace,
            line,
            settings,
            forwarded,
            upgrade,
            permissions,
            content: None,
            body,
        }
    }

    /// The path, or nothing if it is not UTF-8.
    pub(crate) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }

    /// The path and query as they were sent, without the prefix of a proxy.
    pub(crate) fn target(&self) -> &str {
        let whole = self.head.uri.path_and_query().map_or("", |target| target.as_str());
        let inner = if self.prefix.is_empty() { None } else { whole.strip_prefix(&self.prefix) };
        inner.filter(|inner| inner.starts_with('/')).unwrap_or(whole)
    }

    /// A parameter of the query. If it is repeated, the last one counts.
    pub(crate) fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        parameter(self.head.uri.query()?, name)
    }

    /// The address of a path of this server, for redirects. Programs get the whole address as they
    /// know it, as from the reference. `local` stands in for an unknown host. Browsers get the path
    /// alone, because they know the rest better than proxies do.
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

    /// The host and port by which the client knows this server.
    pub(crate) fn authority(&self) -> Option<(&str, Option<u16>)> {
        self.forwarded.authority(&self.head.headers)
    }

    /// The host that trusted proxies name, with an optional port.
    pub(crate) fn forwarded_host(&self) -> Option<&str> {
        self.forwarded.host(&self.head.headers)
    }

    /// Returns `true` if the client is allowed by its address. Behind a proxy that is not trusted it is
    /// not: every client would have the address of the proxy.
    pub(crate) fn is_from(&self, networks: &Networks) -> bool {
        self.peer.is_allowed_by(networks) && !self.forwarded.hides_client(&self.head.headers)
    }

    /// Returns `true` if the client uses https, with this server or as a trusted proxy says.
    pub(crate) fn is_https(&self) -> bool {
        self.forwarded.scheme(&self.head.headers) == Some(Scheme::Https)
    }

    /// All values of a parameter of the query.
    pub(crate) fn parameters<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        let query = self.head.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(move |(key, _)| key == name).map(|(_, value)| value)
    }

    /// Takes the body, to read it while it arrives.
    ///
    /// # Errors
    /// Returns an error if the body is compressed.
    pub(crate) fn chunks(&mut self) -> Result<Chunks, BodyError> {
        body::check_coding(&self.head.headers)?;
        Ok(mem::replace(&mut self.body, Box::pin(futures_util::stream::empty())))
    }

    /// Reads the body to its end.
    ///
    /// # Errors
    /// Returns an error if the body is too large, compressed, incomplete or late, or another one than was
    /// signed.
    pub(crate) async fn body(
        &mut self,
        limit: BodyLimit,
        within: Duration,
    ) -> Result<Bytes, BodyError> {
        let body = body::read(&mut self.body, &self.head.headers, limit, within).await?;
        match self.content {
            Some(signed) if signed != Content::of(&body) => Err(BodyError::Altered),
            _ => Ok(body),
        }
    }
}

/// A parameter of a query or a form. If it is repeated, the last one counts. Bytes that are not
/// UTF-8 become U+FFFD.
pub(crate) fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    pairs.filter(|(key, _)| key == name).last().map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let query = "a=1&conn_id=x%20y+z&b&a=2&c=%FF";
        let parameter = |name| parameter(query, name);
        assert_eq!(parameter("conn_id").as_deref(), Some("x y z"));
        assert_eq!(parameter("a").as_deref(), Some("2"), "the last one counts");
        assert_eq!(parameter("b").as_deref(), Some(""));
        assert_eq!(parameter("c").as_deref(), Some("\u{fffd}"), "not UTF-8");
        assert_eq!(parameter("d"), None);
    }
}
