//! Parses durations as people write them in settings and flags: `500ms`, `5s`, `1m`, `2h`, `1d`, or seconds.

use std::time::Duration;

use thiserror::Error;

/// The units, the longer name of each ending first, so that `5ms` is not `5m` and a remainder.
const UNITS: [(&str, f64); 5] =
    [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];

/// The error for a text that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[error("not a number of seconds, nor one with ms, s, m, h or d behind it, such as 500ms or 1.5h")]
pub struct NotADuration;

/// Parses a number with its unit, or a plain number of seconds. Decimals are allowed, and blanks around
/// both.
///
/// ```
/// use std::time::Duration;
///
/// use channelstream_core::parse_duration;
///
/// assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
/// assert_eq!(parse_duration("5"), Ok(Duration::from_secs(5)));
/// assert!(parse_duration("soon").is_err());
/// ```
///
/// # Errors
/// Returns an error for any other text, a negative number, or more than a [`Duration`] holds.
pub fn parse_duration(text: &str) -> Result<Duration, NotADuration> {
    let text = text.trim();
    let with_unit = UNITS.iter().find_map(|(unit, seconds)| {
        text.strip_suffix(unit).map(|number| (number.trim_end(), *seconds))
    });
    let (number, seconds) = with_unit.unwrap_or((text, 1.0));
    let number: f64 = number.parse().map_err(|_| NotADuration)?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| NotADuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_a_unit_or_is_seconds() {
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5000),
            ("1m", 60_000),
            ("2h", 7_200_000),
            ("3d", 259_200_000),
            ("5", 5000),
            (" 0.25 ", 250),
            ("1.5 h", 5_400_000),
            ("1e3", 1_000_000),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "ms",
            "five",
            "5x",
            "5S",
            "-1s",
            "-5",
            "1.2.3s",
            "1h30m",
            "5 s s",
            "inf",
            "NaN",
            "nan ms",
            "1e300",
            "99999999999999999999h",
            "5\u{a0}\u{a0}y",
        ] {
            assert_eq!(parse_duration(text), Err(NotADuration), "{text}");
        }
    }
}
