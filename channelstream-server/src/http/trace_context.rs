//! `traceparent`: the trace that a request is part of (W3C Trace Context, level 2).

use std::fmt;

use http::header::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace of a caller, and its span that makes the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// Reads the trace from the headers of a request. A value that is malformed, or there twice, is as none.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let line = lines.next()?;
        if lines.next().is_some() { None } else { Self::parse(line.as_bytes()) }
    }

    /// Parses `version-trace_id-span_id-flags`. A version that is not known yet may have more behind it.
    fn parse(value: &[u8]) -> Option<Self> {
        /// The bytes of version 00.
        const LENGTH: usize = 55;
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let [b'-', b'-', b'-'] = [known[2], known[35], known[52]] else { return None };
        let version = hex(&known[..2])?;
        let is_complete = match version {
            0x00 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest, [] | [b'-', ..]),
        };
        let trace_id = hex(&known[3..35])?;
        let span_id = u64::try_from(hex(&known[36..52])?).ok()?;
        let flags = u8::try_from(hex(&known[53..])?).ok()?;
        (is_complete && trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, flags })
    }

    /// Returns `true` if the caller may have recorded its span.
    #[cfg(feature = "otlp")]
    pub(crate) fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }

    /// The id of the trace, as the log and other programs show it.
    pub(crate) fn trace_id(self) -> impl fmt::Display {
        Hex::<32>(self.trace_id)
    }

    /// The id of the span that makes the request.
    pub(crate) fn span_id(self) -> impl fmt::Display {
        Hex::<16>(self.span_id.into())
    }
}

/// A number in lower-case hex, of this many digits.
struct Hex<const DIGITS: usize>(u128);

impl<const DIGITS: usize> fmt::Display for Hex<DIGITS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$x}", self.0)
    }
}

/// Parses at most 32 digits of lower-case hex.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_of_each_known_and_later_version_is_read() {
        let later = [GOOD.replacen("00", "01", 1), GOOD.replacen("00", "fe", 1) + "-what-comes"];
        let other_flags = [GOOD.replace("-01", "-00"), GOOD.replace("-01", "-ff")];
        for text in later.iter().chain(&other_flags).map(String::as_str).chain([GOOD]) {
            let trace = TraceContext::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(trace.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(trace.span_id().to_string(), "00f067aa0ba902b7");
            assert_eq!(format!("{:02x}", trace.flags), &text[53..55]);
        }
    }

    #[test]
    fn what_is_malformed_is_no_trace() {
        let zeros = |digits: usize| "0".repeat(digits);
        for text in [
            String::new(),
            "00".to_owned(),
            GOOD.to_uppercase(),
            GOOD.replacen("00", "ff", 1),
            GOOD.replacen("00", "0g", 1),
            GOOD.replace('-', "_"),
            GOOD[..54].to_owned(),
            format!("{GOOD}-00"),
            format!("{GOOD}0"),
            format!(" {GOOD}"),
            GOOD.replacen("00", "01", 1) + "0",
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros(32)),
            GOOD.replace("00f067aa0ba902b7", &zeros(16)),
            GOOD.replace("4bf9", "4BF9"),
            GOOD.replace("-01", "-+1"),
            GOOD.replace("4bf9", "é9"),
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn two_traces_are_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::of(&headers), None);
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert!(TraceContext::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(TraceContext::of(&headers), None);
    }
}
