//! `ClockSkew`: the difference between this machine's clock and the server's.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::DATE;

/// The smallest skew that is reported. A signature is valid for 60 s (contract §3), but a slightly
/// smaller skew may already be the cause: requests take time, and `Date` has whole seconds.
const SMALLEST_REPORTED: Duration = Duration::from_secs(55);

/// The difference between this machine's clock and the server's.
///
/// Servers refuse signatures that are older than 60 s, as those of a clock that is behind seem to be.
/// Some verifiers also refuse signatures from the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSkew {
    /// This machine's clock is ahead of the server's by this duration.
    Ahead(Duration),
    /// This machine's clock is behind the server's by this duration.
    Behind(Duration),
}

impl ClockSkew {
    /// Returns the skew by the `Date` of an answer that arrived at `now`, or `None` if it is too small
    /// for a signature to be refused.
    pub(crate) fn between(headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        let theirs =
            httpdate::parse_http_date(str::from_utf8(headers.get(DATE)?.as_bytes()).ok()?).ok()?;
        let skew = match now.duration_since(theirs) {
            Ok(ahead) => Self::Ahead(ahead),
            Err(behind) => Self::Behind(behind.duration()),
        };
        (skew.size() >= SMALLEST_REPORTED).then_some(skew)
    }

    fn size(self) -> Duration {
        let (Self::Ahead(size) | Self::Behind(size)) = self;
        size
    }
}

/// Writes the skew in the form `95 s ahead` or `70 s behind`.
impl Display for ClockSkew {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let direction = match self {
            Self::Ahead(_) => "ahead",
            Self::Behind(_) => "behind",
        };
        write!(f, "{} s {direction}", self.size().as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skew(ours: u64) -> Option<String> {
        let headers =
            HeaderMap::from_iter([(DATE, "Tue, 14 Nov 2023 22:13:20 GMT".parse().unwrap())]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(ours);
        ClockSkew::between(&headers, now).map(|skew| skew.to_string())
    }

    #[test]
    fn skews_are_reported_if_they_matter() {
        assert_eq!(skew(1_700_000_000), None);
        assert_eq!(skew(1_700_000_054), None);
        assert_eq!(skew(1_699_999_946), None);
        assert_eq!(skew(1_700_000_095).as_deref(), Some("95 s ahead"));
        assert_eq!(skew(1_699_999_930).as_deref(), Some("70 s behind"));
        assert_eq!(ClockSkew::between(&HeaderMap::new(), SystemTime::UNIX_EPOCH), None);
        let broken = HeaderMap::from_iter([(DATE, "yesterday".parse().unwrap())]);
        assert_eq!(ClockSkew::between(&broken, SystemTime::UNIX_EPOCH), None);
    }
}
