//! What browsers tell in the headers of a request: whose page asks, and what for.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, ORIGIN};

use super::forwarded::{default_port, split_port};
use super::request::Request;
use crate::config::Scheme;
use crate::header::{items, text};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether HTML is named in what is accepted, as browsers do; that anything is accepted is not enough.
pub(super) fn asks_for_html(headers: &HeaderMap) -> bool {
    items(headers, &ACCEPT, b',').any(|range| is_media_type(range, b"text/html"))
}

/// Whether the body is said to be JSON: a form of another site cannot say so.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| is_media_type(value.as_bytes(), b"application/json"))
}

/// Whether this is the media type, with whatever parameters.
fn is_media_type(text: &[u8], media_type: &[u8]) -> bool {
    let name = text.split(|byte| *byte == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(media_type)
}

/// Whether a page of this server asks. Browsers that do not tell so name the page's origin at least.
///
/// # Errors
/// Why it is not taken for one, in words for who set up the proxy.
pub(super) fn is_same_origin(request: &Request) -> Result<(), String> {
    let headers = &request.head.headers;
    if let Some(site) = headers.get(FETCH_SITE) {
        return match site == "same-origin" {
            true => Ok(()),
            false => Err("only a page of this server may do that, and the browser says that \
                          none of them asks (sec-fetch-site)"
                .to_owned()),
        };
    }
    let Some(origin) = text(headers, &ORIGIN) else {
        return Err("only a page of this server may do that, and the request names no page \
                    (sec-fetch-site, origin)"
            .to_owned());
    };
    let own = request.authority();
    if own.is_some_and(|own| is_of(origin, own)) {
        return Ok(());
    }
    let own = match own {
        None => "no host is told".to_owned(),
        Some((host, None)) => format!("it is asked as {host}"),
        Some((host, Some(port))) => format!("it is asked as {host}:{port}"),
    };
    Err(format!(
        "only a page of this server may do that; the page is of {origin}, but {own}: if both are the \
         same server, a proxy in between has to pass on host and port (in nginx: proxy_set_header \
         Host $http_host;)"
    ))
}

/// Whether this is the origin of pages at this host and port. A port that is not named is the
/// default one; of which scheme, the origin knows better than we.
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

#[cfg(test)]
mod tests {
    use super::is_of;
    use crate::http::forwarded::split_port;

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
