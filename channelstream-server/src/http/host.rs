//! `Host`: a request names its host once, and in a valid form (RFC 9112 §3.2).

use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Uri, Version};

/// Checks `Host`. If the request target names a host, that host replaces the header. In HTTP/2 it does so
/// by `:authority`, without the header or with the same (RFC 9113 §8.3.1).
///
/// # Errors
/// Returns a message for the client if the host is missing, repeated or invalid.
pub(crate) fn settle(
    version: Version,
    target: &Uri,
    headers: &mut HeaderMap,
) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err("more than one host header"),
        (Some(host), None) if !is_host(host.as_bytes()) => {
            return Err("invalid host header");
        }
        (Some(host), None) if version == Version::HTTP_2 && differs(host, target) => {
            return Err("the host header and :authority differ");
        }
        (None, _) if version == Version::HTTP_2 && target.authority().is_some() => {}
        (None, _) if version >= Version::HTTP_11 => return Err("missing host header"),
        _ => {}
    }
    if let Some(authority) = target.authority() {
        if !is_host(authority.as_str().as_bytes()) {
            return Err("the request target names an invalid host");
        }
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|_| "the request target names an invalid host")?;
        headers.insert(HOST, host);
    }
    Ok(())
}

/// Returns `true` if the target names another host.
fn differs(host: &HeaderValue, target: &Uri) -> bool {
    target.authority().is_some_and(|authority| {
        !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes())
    })
}

/// Returns `true` for a name or an address with an optional port (RFC 3986 §3.2.2).
pub(crate) fn is_host(text: &[u8]) -> bool {
    let (host, port) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let (address, rest) = (&rest[..end], &rest[end + 1..]);
            if !is_literal(address) {
                return false;
            }
            match rest {
                [] => return true,
                [b':', port @ ..] => (address, port),
                _ => return false,
            }
        }
        None => match text.iter().position(|byte| *byte == b':') {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, &b""[..]),
        },
    };
    let is_name = text.starts_with(b"[") || is_name(host);
    is_name && is_port(port)
}

/// Returns `true` for unreserved characters, sub-delimiters and percent-encoded bytes.
fn is_name(mut name: &[u8]) -> bool {
    if name.is_empty() {
        return false;
    }
    while let [first, rest @ ..] = name {
        name = match (first, rest) {
            (b'%', [high, low, rest @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest
            }
            (b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z', _) => rest,
            (b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')', _) => rest,
            (b'*' | b'+' | b',' | b';' | b'=', _) => rest,
            _ => return false,
        };
    }
    true
}

/// Returns `true` for the content of brackets: IPv6, or an address of a later version of IP.
fn is_literal(address: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(address) else { return false };
    match text.strip_prefix(['v', 'V']).and_then(|rest| rest.split_once('.')) {
        Some((version, rest)) => {
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && is_name(rest.replace(':', "").as_bytes())
        }
        None => text.parse::<std::net::Ipv6Addr>().is_ok(),
    }
}

/// Returns `true` for a port number or nothing.
fn is_port(port: &[u8]) -> bool {
    port.is_empty()
        || (port.iter().all(u8::is_ascii_digit)
            && str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_and_perhaps_a_port() {
        for good in [
            "x",
            "push.example.com",
            "push_backend:8000",
            "127.0.0.1:80",
            "x:",
            "[::1]",
            "[2001:db8::1]:443",
            "[v1.a:b]",
            "a%20b",
            "xn--bcher-kva.example",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "user:pass@b",
            "a:b",
            "a:-1",
            "a:65536",
            "a:80:80",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[]",
            "[1.2.3.4]",
            "a%2",
            "a%zz",
            "<a>",
            "a?b",
            "a#b",
            "a\\b",
            "b\u{fc}cher.example",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    fn settled(target: &'static str, host: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        settle(Version::HTTP_11, &Uri::from_static(target), &mut headers).ok()?;
        crate::http::header::text(&headers, &HOST).map(str::to_owned)
    }

    #[test]
    fn a_host_in_the_target_counts_before_the_header() {
        assert_eq!(settled("/info", "a:1").as_deref(), Some("a:1"));
        assert_eq!(settled("http://b:2/info", "a:1").as_deref(), Some("b:2"));
        assert_eq!(settled("http://user@b/info", "a"), None);
        assert_eq!(settled("http://b/info", ""), None, "the header must be good all the same");
    }

    #[test]
    fn http2_names_the_host_in_its_target() {
        let settled = |target: &'static str, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            settle(Version::HTTP_2, &Uri::from_static(target), &mut headers).ok()?;
            crate::http::header::text(&headers, &HOST).map(str::to_owned)
        };
        assert_eq!(settled("http://a:1/info", &[]).as_deref(), Some("a:1"));
        assert_eq!(settled("http://a:1/info", &["A:1"]).as_deref(), Some("a:1"));
        assert_eq!(settled("/info", &["a:1"]).as_deref(), Some("a:1"));
        assert_eq!(settled("http://a:1/info", &["b:1"]), None);
        assert_eq!(settled("http://a:1/info", &["a:1", "a:1"]), None);
        assert_eq!(settled("/info", &[]), None);
    }
}
