//! `ClockSkew`: how far this machine's clock is from the server's.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::DATE;

/// A signature counts for 60 s (contract §3). A little less may be the cause already, since
/// requests are on the way for a time and `Date` has whole seconds.
const WORTH_TELLING: Duration = Duration::from_secs(55);

/// This machine's clock compared with the server's.
///
/// Servers refuse signatures that are older than 60 s, which those of a clock behind seem to be;
/// some verifiers refuse those of the future too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSkew {
    /// Ours shows a later time, by so much.
    Ahead(Duration),
    /// Ours shows an earlier time, by so much.
    Behind(Duration),
}

impl ClockSkew {
    /// By the `Date` of an answer that came at `now`; nothing if that doesn't differ enough to
    /// have a signature refused.
    pub(crate) fn between(headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        let theirs =
            httpdate::parse_http_date(str::from_utf8(headers.get(DATE)?.as_bytes()).ok()?).ok()?;
        let skew = match now.duration_since(theirs) {
            Ok(ahead) => Self::Ahead(ahead),
            Err(behind) => Self::Behind(behind.duration()),
        };
        (skew.size() >= WORTH_TELLING).then_some(skew)
    }

    fn size(self) -> Duration {
        let (Self::Ahead(size) | Self::Behind(size)) = self;
        size
    }
}

/// `95 s ahead`, `70 s behind`
impl Display for ClockSkew {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let way = match self {
            Self::Ahead(_) => "ahead",
            Self::Behind(_) => "behind",
        };
        write!(f, "{} s {way}", self.size().as_secs())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
mod tests {
    use super::*;

    fn skew(ours: u64) -> Option<String> {
        let headers =
            HeaderMap::from_iter([(DATE, "Tue, 14 Nov 2023 22:13:20 GMT".parse().unwrap())]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(ours);
        ClockSkew::between(&headers, now).map(|skew| skew.to_string())
    }

    #[test]
    fn differences_are_told_if_they_matter() {
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
