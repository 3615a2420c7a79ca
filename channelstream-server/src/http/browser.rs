//! What browsers tell in the headers of a request: whose page asks, and what for.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use http::uri::Authority;

use crate::config::is_loopback;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether HTML is named in what is accepted, as browsers do; that anything is accepted is not enough.
pub(super) fn asks_for_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|range| {
        let media_type = range.split(';').next().unwrap_or_default();
        media_type.trim().eq_ignore_ascii_case("text/html")
    })
}

/// Whether the body is said to be JSON: a form of another site cannot say so.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// Whether a page of this server asks. Browsers that do not tell so name the page's origin at least.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        return site == "same-origin";
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(ORIGIN), text(HOST)) else { return false };
    origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

/// Whether a browser tells that a page of another site asks. Programs tell nothing of the kind.
pub(super) fn is_of_another_site(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(FETCH_SITE).iter();
    if sites.any(|site| site != "same-origin" && site != "none") {
        return true;
    }
    headers.contains_key(ORIGIN) && !is_same_origin(headers)
}

/// Whether `Host` is this machine's own name or address. Any other name may belong to somebody else
/// who lets it lead here (DNS rebinding): their pages would be of the server's own origin.
pub(super) fn names_loopback(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    is_loopback(authority.host().trim_start_matches('[').trim_end_matches(']'))
}

/// Whether a secret that everybody knows may count for this request: a browser does not ask for a
/// page of somebody else. A server that other machines reach has names that it does not know, so
/// that `Host` decides on loopback alone.
///
/// # Errors
/// Why it may not.
pub(super) fn may_use_defaults(
    headers: &HeaderMap,
    is_on_loopback: bool,
) -> Result<(), &'static str> {
    if is_of_another_site(headers) {
        return Err("a page of another site asks");
    }
    if is_on_loopback && !names_loopback(headers) {
        return Err("the address is not 127.0.0.1 or localhost");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
            "[::1]",
            "[::1]:8000",
            "[::ffff:127.0.0.1]:8000",
        ] {
            assert!(names_loopback(&headers(&[("host", host)])), "{host}");
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
            assert!(!names_loopback(&headers(&[("host", host)])), "{host}");
        }
        assert!(!names_loopback(&headers(&[])));
        assert!(!names_loopback(&headers(&[("host", "localhost"), ("host", "localhost")])));
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
        for lines in own {
            assert!(!is_of_another_site(&headers(lines)), "{lines:?}");
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
            assert!(is_of_another_site(&headers(lines)), "{lines:?}");
        }
    }
}
