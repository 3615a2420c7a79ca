//! What the headers of a browser say about the page that makes a request.

use http::HeaderMap;
use http::header::{HOST, HeaderName, HeaderValue, ORIGIN};

use crate::config::{Scheme, is_loopback};
use crate::http::forwarded::{default_port, split_port};
use crate::http::header::text;
use crate::http::request::Request;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns `true` if the headers name the page that makes the request. Browsers name it whenever a
/// page of another site might read the answer.
pub(crate) fn names_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.contains_key(FETCH_SITE)
}

/// Checks that a page of this server makes the request. `Sec-Fetch-Site` decides, or `Origin` in
/// browsers without it.
///
/// # Errors
/// Returns the reason in words for the operator of the proxy.
pub(crate) fn is_same_origin(request: &Request) -> Result<(), String> {
    is_from(&request.head.headers, request.authority())
}

/// Checks that a page of the server at the host and port `own` makes the request.
fn is_from(headers: &HeaderMap, own: Option<(&str, Option<u16>)>) -> Result<(), String> {
    if headers.contains_key(FETCH_SITE) {
        return match headers.get_all(FETCH_SITE).iter().all(|site| site == "same-origin") {
            true => Ok(()),
            false => Err("only a page of this server may do that, and the browser names another \
                          (sec-fetch-site)"
                .to_owned()),
        };
    }
    let Some(origin) = text(headers, &ORIGIN) else {
        return Err("only a page of this server may do that, and the request names no page \
                    (sec-fetch-site, origin)"
            .to_owned());
    };
    if own.is_some_and(|own| is_of(origin, own)) {
        return Ok(());
    }
    let own = match own {
        None => "the request names no host".to_owned(),
        Some((host, None)) => format!("the request is for {host}"),
        Some((host, Some(port))) => format!("the request is for {host}:{port}"),
    };
    Err(format!(
        "only a page of this server may do that; the page is of {origin}, but {own}: if both are the \
         same server, a proxy in between has to pass on host and port (in nginx: proxy_set_header \
         Host $http_host;)"
    ))
}

/// Returns `true` if pages at this host and port have this origin. A missing port is the default one
/// of the origin's scheme, which the browser knows better than the server.
fn is_of(origin: &str, (host, port): (&str, Option<u16>)) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let schemes = [Scheme::Http, Scheme::Https];
    let Some(scheme) = schemes.into_iter().find(|known| known.as_str() == scheme) else {
        return false;
    };
    let default = default_port(scheme);
    let (of_page, port_of_page) = split_port(authority);
    of_page.eq_ignore_ascii_case(host) && port_of_page.unwrap_or(default) == port.unwrap_or(default)
}

/// Returns `true` if a browser says that a page of another site makes the request. Programs say
/// nothing of the kind.
pub(crate) fn is_of_another_site(request: &Request) -> bool {
    is_from_another(&request.head.headers, request.authority())
}

fn is_from_another(headers: &HeaderMap, own: Option<(&str, Option<u16>)>) -> bool {
    let mut sites = headers.get_all(FETCH_SITE).iter();
    if sites.any(|site| site != "same-origin" && site != "none") {
        return true;
    }
    headers.contains_key(ORIGIN) && is_from(headers, own).is_err()
}

/// Returns `true` if any `Origin` is not the server's own, whatever else the browser says. If a proxy
/// changes `Host`, the server's own pages count as foreign too.
fn has_foreign_origin(headers: &HeaderMap, own: Option<(&str, Option<u16>)>) -> bool {
    let is_own = |origin: &HeaderValue| {
        let origin = str::from_utf8(origin.as_bytes()).ok();
        origin.zip(own).is_some_and(|(origin, own)| is_of(origin, own))
    };
    headers.get_all(ORIGIN).iter().any(|origin| !is_own(origin))
}

/// Returns `true` if `Host`, and the host that a trusted proxy names, are names or addresses of this
/// machine. Any other name may belong to an attacker who lets it resolve to this machine (DNS
/// rebinding), so that the attacker's pages have the server's own origin.
pub(crate) fn names_loopback(request: &Request) -> bool {
    let forwarded = request.forwarded_host();
    forwarded.is_none_or(is_loopback_host) && has_loopback_host(&request.head.headers)
}

fn has_loopback_host(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    str::from_utf8(host.as_bytes()).is_ok_and(is_loopback_host)
}

/// Returns `true` if a host with an optional port is this machine. That it is a valid one was checked before.
fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(literal) => literal.split(']').next(),
        None => host.split(':').next(),
    };
    name.is_some_and(is_loopback)
}

/// Checks that a well-known secret may count for this request: no page of another site is behind it.
/// A server that other machines reach has names that it does not know, so `Host` is checked on
/// loopback alone.
///
/// # Errors
/// Returns the reason why it may not.
pub(crate) fn may_use_defaults(
    request: &Request,
    is_on_loopback: bool,
) -> Result<(), &'static str> {
    let headers = &request.head.headers;
    if names_a_page(headers) {
        let own = request.authority();
        if has_foreign_origin(headers, own) || is_from_another(headers, own) {
            return Err("it comes from a page of another site");
        }
    }
    if is_on_loopback && !names_loopback(request) {
        return Err("the address is not 127.0.0.1 or localhost");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        lines.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    }

    #[test]
    fn which_hosts_are_this_machine() {
        for host in [
            "localhost",
            "LocalHost:8000",
            "127.0.0.1",
            "127.0.0.1:1",
            "127.9.9.9:8000",
            "127.0.0.1:",
            "[::1]",
            "[::1]:8000",
            "[::ffff:127.0.0.1]:8000",
        ] {
            assert!(has_loopback_host(&headers(&[("host", host)])), "{host}");
        }
        for host in [
            "",
            "[",
            "localhost.evil.test",
            "127.0.0.1.evil.test",
            "evil.test:8000",
            "0.0.0.0",
            "10.0.0.1",
            "[::]",
            "localhost, evil.test",
        ] {
            assert!(!has_loopback_host(&headers(&[("host", host)])), "{host}");
        }
        assert!(!has_loopback_host(&headers(&[])));
        assert!(!has_loopback_host(&headers(&[("host", "localhost"), ("host", "localhost")])));
    }

    #[test]
    fn which_pages_are_of_another_site() {
        const HOST: (&str, &str) = ("host", "127.0.0.1:8000");
        const OWN: (&str, &str) = ("origin", "http://127.0.0.1:8000");
        let own: [&[_]; 5] = [
            &[HOST],
            &[HOST, OWN],
            &[HOST, ("sec-fetch-site", "same-origin")],
            &[HOST, ("sec-fetch-site", "none")],
            &[HOST, OWN, ("sec-fetch-site", "same-origin")],
        ];
        let server = Some(("127.0.0.1", Some(8000)));
        for lines in own {
            assert!(!is_from_another(&headers(lines), server), "{lines:?}");
        }
        let others: [&[_]; 8] = [
            &[HOST, ("origin", "http://evil.test")],
            &[HOST, ("origin", "http://127.0.0.1:8001")],
            &[HOST, ("origin", "null")],
            &[HOST, ("origin", "")],
            &[HOST, ("sec-fetch-site", "cross-site")],
            &[HOST, ("sec-fetch-site", "same-site")],
            &[HOST, OWN, ("sec-fetch-site", "cross-site")],
            &[HOST, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
        ];
        for lines in others {
            assert!(is_from_another(&headers(lines), server), "{lines:?}");
        }
    }

    #[test]
    fn every_origin_has_to_be_the_own_one() {
        const OWN: (&str, &str) = ("origin", "http://127.0.0.1:8000");
        const FOREIGN: (&str, &str) = ("origin", "http://evil.test");
        let server = Some(("127.0.0.1", Some(8000)));
        assert!(!has_foreign_origin(&headers(&[]), server));
        assert!(!has_foreign_origin(&headers(&[OWN]), server));
        let site = ("sec-fetch-site", "same-origin");
        for lines in [&[FOREIGN][..], &[OWN, FOREIGN], &[FOREIGN, OWN], &[site, FOREIGN]] {
            assert!(has_foreign_origin(&headers(lines), server), "{lines:?}");
        }
        assert!(has_foreign_origin(&headers(&[OWN]), None));
    }

    #[test]
    fn default_ports_equal_none() {
        for (origin, host) in [
            ("http://h", "h"),
            ("http://h", "h:80"),
            ("http://h:80", "h"),
            ("https://h", "h:443"),
            ("https://h", "H"),
            ("http://h:8080", "h:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert!(is_of(origin, split_port(host)), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://h", "h:443"),
            ("https://h", "h:80"),
            ("http://h:8080", "h"),
            ("http://h:8080", "h:8081"),
            ("http://other", "h"),
            ("http://h.other", "h"),
            ("null", "null"),
            ("h", "h"),
            ("file://h", "h"),
            ("http://", "h"),
        ] {
            assert!(!is_of(origin, split_port(host)), "{origin} {host}");
        }
    }
}
