//! The headers of proxies: client address, scheme, host and path prefix of a request.
//!
//! Each proxy appends its item to a list on the right. So lists are parsed from the right, across the
//! trusted proxies. All items beyond these come from untrusted clients and are ignored. An item of a
//! trusted proxy that cannot be parsed is not skipped.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::Duration;

use http::header::{HOST, HeaderMap, HeaderName};
use tokio::time::Instant;

use crate::config::{Config, Scheme};
use crate::http::header;
use crate::http::host;
use crate::http::peer::Peer;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const SCHEME: HeaderName = HeaderName::from_static("x-scheme");
const SCRIPT_NAME: HeaderName = HeaderName::from_static("x-script-name");
const URL_SCHEME: HeaderName = HeaderName::from_static("x-url-scheme");

/// The trusted part of the proxy headers of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwarded {
    /// The client: the other end of the TCP connection, or the address that trusted proxies name.
    pub(crate) peer: Peer,
    trust: Trust,
    /// The index of the outermost trusted proxy's item in a list, from the right.
    place: usize,
    /// Whether the peer of the TCP connection speaks TLS with this server.
    is_secure: bool,
}

/// How far the peer of a TCP connection is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// No header counts.
    None,
    /// The prefix and the scheme of redirects count, in the headers that the reference accepts from
    /// everybody. Loopback has this trust while no proxies are set (contract §2).
    Addresses,
    /// All headers count, because the peer is in `trusted_proxies`.
    All,
}

impl Forwarded {
    pub(crate) fn new(
        peer: Peer,
        is_secure: bool,
        headers: &HeaderMap,
        config: &Config,
        notes: &Notes,
    ) -> Self {
        let trusted = &config.trusted_proxies;
        let trust = if peer.is_in(trusted) {
            Trust::All
        } else if trusted.is_empty() && peer.is_of_this_machine() {
            Trust::Addresses
        } else {
            Trust::None
        };
        if trust != Trust::All && headers.contains_key(FORWARDED_FOR) {
            notes.untrusted(peer);
        }
        let mut parsed = Self { peer, trust, place: 0, is_secure };
        if trust != Trust::All {
            return parsed;
        }
        for (place, hop) in header::items(headers, &FORWARDED_FOR, b',').rev().enumerate() {
            if !parsed.peer.is_in(trusted) {
                break;
            }
            parsed.place = place;
            let Some(address) = address(hop) else {
                notes.unreadable(peer, hop);
                parsed.peer = Peer::UNKNOWN;
                break;
            };
            parsed.peer = Peer::at(address);
        }
        parsed
    }

    /// Returns `true` if the request came through a proxy that is not trusted, so that nothing tells who
    /// the client is.
    pub(crate) fn hides_client(self, headers: &HeaderMap) -> bool {
        self.trust != Trust::All && headers.contains_key(FORWARDED_FOR)
    }

    /// The path prefix of the server, without a trailing slash; mostly empty. The last of several
    /// header lines comes from the nearest proxy.
    pub(crate) fn prefix(self, headers: &HeaderMap) -> &str {
        if self.trust == Trust::None {
            return "";
        }
        let line = headers.get_all(SCRIPT_NAME).iter().next_back();
        let prefix = line.and_then(header::text_in).filter(|prefix| is_prefix(prefix));
        prefix.unwrap_or_default().trim_end_matches('/')
    }

    /// The client's scheme according to trusted proxies, or https if this server speaks TLS itself and
    /// they say nothing. A client may add a header that its proxy does not set, so all of the headers
    /// must say https.
    pub(crate) fn scheme(self, headers: &HeaderMap) -> Option<Scheme> {
        let own = self.is_secure.then_some(Scheme::Https);
        if self.trust != Trust::All {
            return own;
        }
        let mut items = [URL_SCHEME, SCHEME, FORWARDED_PROTO]
            .into_iter()
            .filter_map(|name| self.item(headers, &name));
        let Some(first) = items.next() else { return own };
        let is_https = scheme(first) == Some(Scheme::Https)
            && items.all(|other| scheme(other) == Some(Scheme::Https));
        Some(if is_https { Scheme::Https } else { Scheme::Http })
    }

    /// The scheme of addresses in answers.
    pub(crate) fn scheme_of_addresses(self, headers: &HeaderMap) -> Option<Scheme> {
        match self.trust {
            Trust::Addresses => {
                let mut named = [URL_SCHEME, SCHEME].into_iter();
                let named = named.find_map(|name| scheme(self.item(headers, &name)?));
                named.or_else(|| self.scheme(headers))
            }
            Trust::None | Trust::All => self.scheme(headers),
        }
    }

    /// The host and port by which the client knows the server. A port inside the host is more
    /// reliable than the port header of a proxy.
    pub(crate) fn authority(self, headers: &HeaderMap) -> Option<(&str, Option<u16>)> {
        let host = || header::text(headers, &HOST).filter(|host| is_host(host));
        let (name, port) = split_port(self.host(headers).or_else(host)?);
        let default = default_port(self.scheme(headers).unwrap_or(Scheme::Http));
        let in_header = || self.trusted(headers, &FORWARDED_PORT)?.parse().ok();
        let in_header = || in_header().filter(|port| *port != default);
        Some((name, port.or_else(in_header)))
    }

    /// The host that trusted proxies name, with an optional port.
    pub(crate) fn host(self, headers: &HeaderMap) -> Option<&str> {
        self.trusted(headers, &FORWARDED_HOST).filter(|host| is_host(host))
    }

    /// The text of the outermost trusted proxy's item in a list.
    fn trusted<'a>(self, headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
        let item = (self.trust == Trust::All).then(|| self.item(headers, name)).flatten();
        item.and_then(|item| str::from_utf8(item).ok())
    }

    /// The item of the outermost trusted proxy in a list. If the list is shorter than the chain, a
    /// nearer proxy has replaced it, and the leftmost item counts.
    fn item<'a>(self, headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
        header::items(headers, name, b',').rev().take(self.place + 1).last()
    }
}

fn scheme(text: &[u8]) -> Option<Scheme> {
    [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|scheme| text.eq_ignore_ascii_case(scheme.as_str().as_bytes()))
}

/// The address in an item of `X-Forwarded-For`, with or without port, brackets and zone.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(hop).ok()?;
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            (address, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => (address, Some(port)),
            _ => (text, None),
        },
    };
    // Rust parses a number with a sign, which no port has.
    let is_port = |port: &str| port.parse::<u16>().is_ok() && !port.starts_with('+');
    if port.is_some_and(|port| !is_port(port)) {
        return None;
    }
    match address.split_once('%') {
        Some((address, _zone)) => address.parse().map(Ipv6Addr::into).ok(),
        None => address.parse().ok(),
    }
}

/// Splits an authority into host and port. An invalid port stays part of the host.
pub(crate) fn split_port(authority: &str) -> (&str, Option<u16>) {
    if let Some((host, port)) = authority.rsplit_once(':')
        && (!host.contains(':') || host.ends_with(']'))
        && let Ok(port) = port.parse()
    {
        return (host, Some(port));
    }
    (authority, None)
}

/// The default port of a scheme.
pub(crate) fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// Returns `true` for a host with an optional port that is safe in the addresses of answers.
fn is_host(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    host::is_host(host.as_bytes()) && host.bytes().all(fits)
}

/// Returns `true` for a path prefix. In an address it follows the host and must not become part of
/// it.
fn is_prefix(prefix: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    prefix.starts_with('/') && !prefix.starts_with("//") && prefix.bytes().all(fits)
}

/// Warnings about proxies, which are logged seldom.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// When an item that cannot be parsed was last logged.
    unreadable: Mutex<Option<Instant>>,
    /// The untrusted peers that were logged.
    untrusted: Mutex<HashSet<Peer>>,
}

impl Notes {
    /// The minimum interval between warnings about items that cannot be parsed.
    const EVERY: Duration = Duration::from_secs(60);
    /// The maximum number of untrusted peers that are logged. Every client can send the header.
    const PEERS: usize = 64;
    /// Bytes of an unparsable item that are logged.
    const SHOWN: usize = 64;

    fn unreadable(&self, proxy: Peer, hop: &[u8]) {
        let now = Instant::now();
        let mut last = self.unreadable.lock().expect("nothing that holds it can panic");
        if last.is_some_and(|last| now.duration_since(last) < Self::EVERY) {
            return;
        }
        *last = Some(now);
        drop(last);
        let read = hop[..hop.len().min(Self::SHOWN)].escape_ascii();
        tracing::warn!(
            %proxy,
            %read,
            "X-Forwarded-For of a trusted proxy names no address: the client is unknown and has no \
             permissions by address"
        );
    }

    fn untrusted(&self, peer: Peer) {
        let mut logged = self.untrusted.lock().expect("nothing that holds it can panic");
        if logged.len() < Self::PEERS && logged.insert(peer.network()) {
            drop(logged);
            tracing::warn!(
                %peer,
                "X-Forwarded-For from an address that is not in trusted_proxies is ignored; if this \
                 is a proxy, add it to trusted_proxies"
            );
        }
    }
}

#[cfg(test)]
mod tests {

    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    /// What is trusted of a TCP connection from this address.
    fn parse(peer: &str, trusted: &str, headers: &HeaderMap) -> Forwarded {
        let config = Config { trusted_proxies: trusted.parse().unwrap(), ..Config::default() };
        let peer = Peer::at(peer.parse().unwrap());
        Forwarded::new(peer, false, headers, &config, &Notes::default())
    }

    const TRUSTED: &str = "10.0.0.0/8, 127.0.0.1";

    fn client(peer: &str, forwarded: &[&[u8]]) -> String {
        let lines: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
        parse(peer, TRUSTED, &headers(&lines)).peer.to_string()
    }

    #[test]
    fn only_trusted_proxies_name_the_client() {
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(client("192.0.2.1", &[b"203.0.113.5"]), "192.0.2.1");
        assert_eq!(client("192.0.2.1", &[b"\xff"]), "192.0.2.1");
        assert_eq!(client("127.0.0.1", &[b"203.0.113.5"]), "203.0.113.5");
        assert_eq!(client("127.0.0.1", &[b"198.51.100.9, 203.0.113.5, 10.1.1.1"]), "203.0.113.5");
        assert_eq!(client("127.0.0.1", &[b"198.51.100.9", b"10.1.1.1"]), "198.51.100.9");
        // All of them are proxies, so the first is the client.
        assert_eq!(client("127.0.0.1", &[b"10.1.1.1,10.1.1.2"]), "10.1.1.1");
    }

    #[test]
    fn a_hop_that_decides_and_cannot_be_read_is_nobody() {
        for hop in [
            &b""[..],
            b" ",
            b"\xff",
            b"unknown",
            b"_hidden",
            b"203.0.113.5,",
            b",",
            b"203.0.113.5 x",
            b"203.0.113.5\xff",
            b"\xff203.0.113.5",
            b"203.0.113",
            b"203.0.113.05",
            b"203.0.113.5:",
            b"203.0.113.5:x",
            b"203.0.113.5:99999",
            b"[2001:db8::1",
            b"[2001:db8::1]4711",
            b"[]",
            b"2001:db8::1]:80",
            b"203.0.113.5%eth0",
            b"127.0.0.1, nonsense",
            b"localhost",
            b"10.0.0.1;",
            b"for=10.0.0.1",
            b"\"10.0.0.1\"",
            b"203.0.113.5, \xff, 10.1.1.1",
        ] {
            assert_eq!(client("127.0.0.1", &[hop]), "unknown", "{}", hop.escape_ascii());
            assert_eq!(
                client("127.0.0.1", &[b"203.0.113.5", hop]),
                "unknown",
                "{}",
                hop.escape_ascii()
            );
        }
    }

    #[test]
    fn what_stands_beyond_the_client_costs_nothing() {
        for beyond in [&b"\xff"[..], b"unknown", b"", b"127.0.0.1", b"\xff, , unknown"] {
            let list = [beyond, b", 203.0.113.5, 10.1.1.1"].concat();
            assert_eq!(client("127.0.0.1", &[&list]), "203.0.113.5", "{}", list.escape_ascii());
            assert_eq!(client("127.0.0.1", &[beyond, b"203.0.113.5"]), "203.0.113.5");
        }
    }

    #[test]
    fn an_address_is_read_in_each_form_that_proxies_write() {
        for (hop, expected) in [
            ("203.0.113.5:4711", "203.0.113.5"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("::ffff:203.0.113.5", "203.0.113.5"),
            ("[::ffff:203.0.113.5]:4711", "203.0.113.5"),
            ("::ffff:cb00:7105", "203.0.113.5"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
            ("\t203.0.113.5 ", "203.0.113.5"),
            // A trusted one, so that the walk goes on to what stands before it.
            ("198.51.100.9,::ffff:10.1.1.1", "198.51.100.9"),
            ("198.51.100.9, 10.1.1.1:4711", "198.51.100.9"),
        ] {
            assert_eq!(client("127.0.0.1", &[hop.as_bytes()]), expected, "{hop}");
            assert_eq!(client("::ffff:127.0.0.1", &[hop.as_bytes()]), expected, "{hop}");
        }
    }

    fn schemes(peer: &str, trusted: &str, lines: &[(&'static str, &[u8])]) -> [Option<Scheme>; 2] {
        let headers = headers(lines);
        let parsed = parse(peer, trusted, &headers);
        [parsed.scheme(&headers), parsed.scheme_of_addresses(&headers)]
    }

    #[test]
    fn the_scheme_is_what_the_outermost_trusted_proxy_says() {
        let (http, https) = (Some(Scheme::Http), Some(Scheme::Https));
        for (lines, expected) in [
            (&[("x-forwarded-proto", &b"https"[..])][..], https),
            (&[("x-forwarded-proto", b"HTTPS")], https),
            (&[("x-forwarded-proto", b"http")], http),
            (&[("x-forwarded-proto", b"https, http")], http),
            (&[("x-forwarded-proto", b"http, https")], https),
            (&[("x-forwarded-proto", b"https"), ("x-forwarded-proto", b"http")], http),
            (&[("x-forwarded-proto", b"https,")], http),
            (&[("x-forwarded-proto", b"https\xff")], http),
            (&[("x-forwarded-proto", b"\xff, https")], https),
            // Behind two proxies that each append an item, and behind two of which the inner one
            // replaces the list.
            (
                &[
                    ("x-forwarded-for", b"203.0.113.5, 10.1.1.1"),
                    ("x-forwarded-proto", b"http, https, http"),
                ],
                https,
            ),
            (
                &[("x-forwarded-for", b"203.0.113.5, 10.1.1.1"), ("x-forwarded-proto", b"https")],
                https,
            ),
            // A client may have added what its proxy does not set.
            (&[("x-forwarded-proto", b"http"), ("x-url-scheme", b"https")], http),
            (&[("x-forwarded-proto", b"http"), ("x-scheme", b"https")], http),
            (&[("x-forwarded-proto", b"https"), ("x-scheme", b"https")], https),
            (&[("x-url-scheme", b"")], http),
            (&[], None),
        ] {
            assert_eq!(schemes("127.0.0.1", TRUSTED, lines), [expected; 2], "{lines:?}");
            assert_eq!(schemes("192.0.2.1", TRUSTED, lines), [None; 2], "{lines:?}");
        }
    }

    #[test]
    fn without_named_proxies_the_machine_itself_tells_the_scheme_of_redirects() {
        let https = Some(Scheme::Https);
        let both = [("x-scheme", &b"http"[..]), ("x-url-scheme", b"https")];
        assert_eq!(schemes("127.0.0.1", "", &both), [None, https]);
        assert_eq!(schemes("::1", "", &both[..1]), [None, Some(Scheme::Http)]);
        assert_eq!(schemes("192.0.2.1", "", &both), [None; 2]);
        assert_eq!(schemes("127.0.0.1", "10.0.0.0/8", &both), [None; 2]);
        assert_eq!(schemes("127.0.0.1", "", &[("x-forwarded-proto", b"https")]), [None; 2]);
    }

    #[test]
    fn the_prefix_is_a_path_that_a_trusted_proxy_tells() {
        let prefix = |line: &str, trusted: &str, values: &[&'static [u8]]| {
            let lines: Vec<_> = values.iter().map(|value| ("x-script-name", *value)).collect();
            let headers = headers(&lines);
            parse(line, trusted, &headers).prefix(&headers).to_owned()
        };
        for (line, trusted, expected) in [
            ("127.0.0.1", TRUSTED, "/push"),
            ("127.0.0.1", "", "/push"),
            ("127.0.0.1", "10.0.0.0/8", ""),
            ("192.0.2.1", TRUSTED, ""),
            ("192.0.2.1", "", ""),
        ] {
            assert_eq!(prefix(line, trusted, &[b"/push/"]), expected, "{line} {trusted}");
        }
        for none in [&b"push"[..], b"", b"/", b"//evil.test", b"/a b", b"/\xff", b"http://x"] {
            assert_eq!(prefix("127.0.0.1", TRUSTED, &[none]), "", "{}", none.escape_ascii());
        }
        // Where a proxy adds a line of its own to the client's.
        assert_eq!(prefix("127.0.0.1", TRUSTED, &[b"/ws", b"/push"]), "/push");
    }

    #[test]
    fn a_trusted_proxy_or_else_the_client_names_host_and_port() {
        let authority = |line: &str, lines: &[(&'static str, &[u8])]| {
            let headers = headers(lines);
            let parsed = parse(line, TRUSTED, &headers);
            parsed.authority(&headers).map(|(host, port)| (host.to_owned(), port))
        };
        let is = |host: &str, port| Some((host.to_owned(), port));
        let (host, port) = (("host", &b"inner:8000"[..]), ("x-forwarded-port", &b"8080"[..]));
        let outer = ("x-forwarded-host", &b"outer"[..]);
        let https = ("x-forwarded-proto", &b"https"[..]);
        assert_eq!(authority("127.0.0.1", &[host]), is("inner", Some(8000)));
        assert_eq!(authority("127.0.0.1", &[host, outer]), is("outer", None));
        assert_eq!(authority("127.0.0.1", &[host, outer, port]), is("outer", Some(8080)));
        assert_eq!(authority("127.0.0.1", &[host, port]), is("inner", Some(8000)));
        assert_eq!(authority("127.0.0.1", &[("host", b"h"), port]), is("h", Some(8080)));
        assert_eq!(authority("127.0.0.1", &[("host", b"[::1]"), port]), is("[::1]", Some(8080)));
        let default = ("x-forwarded-port", &b"443"[..]);
        assert_eq!(authority("127.0.0.1", &[("host", b"h"), https, default]), is("h", None));
        assert_eq!(authority("127.0.0.1", &[("host", b"h"), default]), is("h", Some(443)));
        assert_eq!(authority("192.0.2.1", &[host, outer, port]), is("inner", Some(8000)));
        for odd in [&b"\xff"[..], b"a b", b"a/b", b""] {
            let odd = ("x-forwarded-host", odd);
            assert_eq!(authority("127.0.0.1", &[host, odd]), is("inner", Some(8000)), "{odd:?}");
        }
        assert_eq!(authority("127.0.0.1", &[]), None);
    }

    #[test]
    fn the_number_of_remembered_peers_is_bounded() {
        let notes = Notes::default();
        for last in 0..=u8::MAX {
            notes.untrusted(Peer::at([192, 0, 2, last].into()));
        }
        assert_eq!(notes.untrusted.lock().unwrap().len(), Notes::PEERS);
    }

    #[test]
    fn ports() {
        for (authority, host, port) in [
            ("h:80", "h", Some(80)),
            ("h", "h", None),
            ("[::1]:80", "[::1]", Some(80)),
            ("[::1]", "[::1]", None),
            ("::1", "::1", None),
            ("h:", "h:", None),
            ("h:99999", "h:99999", None),
        ] {
            assert_eq!(split_port(authority), (host, port), "{authority}");
        }
    }
}
