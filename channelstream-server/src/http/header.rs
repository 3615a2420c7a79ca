//! Reading headers: as bytes and item by item, so that an odd byte costs no more than what it stands in.
//!
//! `HeaderValue::to_str` gives up a whole value for one byte, and the byte may be somebody else's: the
//! cookie of another program, or what a client said before a proxy added its word.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// What lies between separators, over all lines of a header in their order, without the blanks
/// around it. Empty items are there too.
pub(crate) fn items<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    separator: u8,
) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
    let lines = headers.get_all(name).iter();
    lines
        .flat_map(move |line| line.as_bytes().split(move |byte| *byte == separator))
        .map(<[u8]>::trim_ascii)
}

/// What stands in a header, without the blanks around it; nothing if that is empty or no text. Of
/// several lines the first counts.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    text_in(headers.get(name)?)
}

/// What stands in one line, as [`text`] has it.
pub(crate) fn text_in(line: &HeaderValue) -> Option<&str> {
    let text = str::from_utf8(line.as_bytes()).ok()?.trim_ascii();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use http::header::{ACCEPT, HOST, VIA};

    use super::*;

    #[test]
    fn an_odd_byte_costs_the_item_it_stands_in() {
        let mut headers = HeaderMap::new();
        for line in [&b"a, \xff ,b"[..], b"", b" c\t"] {
            headers.append(ACCEPT, HeaderValue::from_bytes(line).unwrap());
        }
        let all: Vec<_> = items(&headers, &ACCEPT, b',').collect();
        assert_eq!(all, [&b"a"[..], b"\xff", b"b", b"", b"c"]);
        let last: Vec<_> = items(&headers, &ACCEPT, b',').rev().take(2).collect();
        assert_eq!(last, [&b"c"[..], b""]);
        assert_eq!(items(&headers, &VIA, b',').count(), 0);
    }

    #[test]
    fn texts() {
        let mut headers = HeaderMap::new();
        for (value, expected) in [
            (&b" a b\t"[..], Some("a b")),
            ("é".as_bytes(), Some("é")),
            (b"\xe9", None),
            (b" ", None),
        ] {
            headers.insert(HOST, HeaderValue::from_bytes(value).unwrap());
            assert_eq!(text(&headers, &HOST), expected, "{value:?}");
        }
        assert_eq!(text(&headers, &VIA), None);
    }
}
