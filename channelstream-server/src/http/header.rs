//! Parses headers as bytes and item by item, so that an odd byte costs only its own item.
//!
//! `HeaderValue::to_str` rejects a whole value for one byte. The byte may come from somebody else: the
//! cookie of another program, or the part of a list that a client sent before a proxy appended to it.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The items between separators in all lines of a header, in order and trimmed. Empty items are
/// included.
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

/// The trimmed text of a header, or `None` if it is empty or not UTF-8. The first of several lines
/// counts.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    text_in(headers.get(name)?)
}

/// The trimmed text of one header line, or `None` if it is empty or not UTF-8.
pub(crate) fn text_in(line: &HeaderValue) -> Option<&str> {
    let text = str::from_utf8(line.as_bytes()).ok()?.trim_ascii();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {

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
