//! Media types: which one a client accepts, and which one it sends.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

use crate::http::header::items;

/// The formats in which a status page can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Html,
    Json,
    Text,
}

impl Format {
    /// Returns the format with the highest quality in `Accept`. HTML wins a tie, then JSON. Without
    /// `Accept` it is text.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let mut best = (Self::Text, 0.0);
        for (format, media_type) in [
            (Self::Html, "text/html"),
            (Self::Json, "application/json"),
            (Self::Text, "text/plain"),
        ] {
            let quality = quality(headers, media_type);
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }
}

/// The quality of a media type in `Accept`, from 0 to 1. The most specific range that matches it
/// decides.
fn quality(headers: &HeaderMap, media_type: &str) -> f32 {
    let whole_type = media_type.split('/').next().unwrap_or_default();
    let mut found = (0, 0.0);
    for range in items(headers, &ACCEPT, b',').filter_map(|range| str::from_utf8(range).ok()) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let specificity = if name.eq_ignore_ascii_case(media_type) {
            3
        } else if name.strip_suffix("/*").is_some_and(|t| t.eq_ignore_ascii_case(whole_type)) {
            2
        } else if name == "*/*" {
            1
        } else {
            continue;
        };
        let quality = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(1.0, |q| q.trim().parse().unwrap_or(0.0));
        if specificity > found.0 {
            found = (specificity, quality);
        }
    }
    found.1
}

/// Returns `true` if `Accept` prefers one media type to another.
pub(crate) fn prefers(headers: &HeaderMap, one: &str, to: &str) -> bool {
    quality(headers, one) > quality(headers, to)
}

/// Returns `true` if `Accept` names HTML, as browsers do. A range such as `*/*` is not enough.
pub(crate) fn asks_for_html(headers: &HeaderMap) -> bool {
    items(headers, &ACCEPT, b',').any(|range| is_media_type(range, b"text/html"))
}

/// Returns `true` if `Content-Type` is JSON. A form of another site cannot send that.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| is_media_type(value.as_bytes(), b"application/json"))
}

/// Compares a media type and ignores its parameters.
fn is_media_type(text: &[u8], media_type: &[u8]) -> bool {
    let name = text.split(|byte| *byte == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(media_type)
}

#[cfg(test)]
mod tests {

    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_format_of_status_pages() {
        let accepted = |accept: &str| {
            let accept = HeaderValue::from_bytes(accept.as_bytes()).unwrap();
            Format::accepted(&HeaderMap::from_iter([(ACCEPT, accept)]))
        };
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::Text);
        assert_eq!(accepted("text/html;x=\u{e9}, application/json;q=0.5"), Format::Html);
        assert_eq!(accepted("*/*"), Format::Html);
        assert_eq!(accepted("text/html"), Format::Html);
        assert_eq!(accepted("application/json"), Format::Json);
        assert_eq!(accepted("Application/JSON; q=0.9, */*;q=0.1"), Format::Json);
        assert_eq!(accepted("text/plain"), Format::Text);
        assert_eq!(accepted("text/*;q=0.5, application/json;q=0.4"), Format::Html);
        assert_eq!(accepted("image/png"), Format::Text);
        assert_eq!(accepted("text/html;q=0, */*"), Format::Json);
        assert_eq!(accepted(""), Format::Text);
    }
}
