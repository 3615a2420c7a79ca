//! Times: the instant in a stamp, and the date and time on the wire (contract §4).

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The first time that can be written: years have four digits.
const FIRST: i64 = -719_162 * DAY;
/// The last time that can be written.
const LAST: i64 = 2_932_897 * DAY - 1;

/// An instant in microseconds since 1970, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Creates the instant this many microseconds after the beginning of 1970.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the beginning of 1970.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns the instant `duration` later. It saturates.
    pub fn after(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// Returns the time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A date and time in requests and answers, with a zone or without one.
///
/// Times of the server itself are UTC without a zone. `Display` and JSON have the form of HTTP
/// answers; events write UTC as `Z` (see [`DateTime::in_event`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// The microseconds since 1970 in local time.
    pub(crate) local: i64,
    /// The offset of local time from UTC in minutes.
    pub(crate) offset: Option<i16>,
}

impl From<Timestamp> for DateTime {
    fn from(instant: Timestamp) -> Self {
        Self { local: instant.0, offset: None }
    }
}

impl DateTime {
    /// Parses `YYYY-M-D`, `T` or a blank, `H:M`, then optionally seconds, a fraction and a zone.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = Rest(text.as_bytes());
        let year = rest.digits(4, 4)?;
        rest.expect(b"-")?;
        let month = rest.digits(1, 2)?;
        rest.expect(b"-")?;
        let day = rest.digits(1, 2)?;
        rest.expect(b"T ")?;
        let hour = rest.digits(1, 2)?;
        rest.expect(b":")?;
        let minute = rest.digits(1, 2)?;
        let (mut second, mut micros) = (0, 0);
        if rest.expect(b":").is_some() {
            second = rest.digits(1, 2)?;
            if rest.expect(b".").is_some() {
                micros = rest.fraction()?;
            }
        }
        let offset = rest.zone()?;
        if year == 0 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        if !(1..=days_in(year, month)).contains(&day) {
            return None;
        }
        let seconds = (days(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
        Some(Self { local: seconds * SECOND + micros, offset })
    }

    /// Returns the instant. A time without a zone is UTC.
    pub fn instant(self) -> Timestamp {
        let offset = i64::from(self.offset.unwrap_or(0)) * 60 * SECOND;
        Timestamp(self.local.saturating_sub(offset))
    }

    /// Returns the form that events and poll answers use: UTC is `Z`.
    pub fn in_event(self) -> InEvent {
        InEvent(self)
    }

    /// Returns the form for people: always in UTC, and ending in `Z`.
    pub fn in_utc(self) -> InEvent {
        let Timestamp(local) = self.instant();
        InEvent(Self { local, offset: Some(0) })
    }

    /// Returns the text, with UTC as `utc`. It is written by hand: each event and each answer has such
    /// texts, and `format!` would be a large part of their cost.
    fn text(self, utc: &str) -> String {
        let local = self.local.clamp(FIRST, LAST);
        let (year, month, day) = date(local.div_euclid(DAY));
        let in_day = local.rem_euclid(DAY);
        let (seconds, micros) = (in_day / SECOND, in_day % SECOND);
        let mut digits = *b"0000-00-00T00:00:00.000000";
        for (at, number) in [
            (0, year / 100),
            (2, year % 100),
            (5, month),
            (8, day),
            (11, seconds / 3600),
            (14, seconds / 60 % 60),
            (17, seconds % 60),
            (20, micros / 10_000),
            (22, micros / 100 % 100),
            (24, micros % 100),
        ] {
            [digits[at], digits[at + 1]] = two_digits(number);
        }
        let shown = if micros == 0 { "0000-00-00T00:00:00".len() } else { digits.len() };
        let mut text = String::with_capacity(digits.len() + "+00:00".len());
        text.push_str(str::from_utf8(&digits[..shown]).expect("digits are ASCII"));
        match self.offset {
            None => {}
            Some(0) => text.push_str(utc),
            Some(offset) => {
                let minutes = i64::from(offset.unsigned_abs());
                text.push(if offset < 0 { '-' } else { '+' });
                text.extend(two_digits(minutes / 60).map(char::from));
                text.push(':');
                text.extend(two_digits(minutes % 60).map(char::from));
            }
        }
        text
    }
}

/// Returns the digits of a number below 100.
fn two_digits(number: i64) -> [u8; 2] {
    [number / 10, number % 10].map(|digit| b'0' + u8::try_from(digit).unwrap_or_default())
}

impl Display for DateTime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text("+00:00"))
    }
}

impl Serialize for DateTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text("+00:00"))
    }
}

impl<'de> Deserialize<'de> for DateTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a date and time"))
    }
}

/// A [`DateTime`] that writes UTC as `Z`.
#[derive(Clone, Copy, Debug)]
pub struct InEvent(DateTime);

impl Display for InEvent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text("Z"))
    }
}

impl Serialize for InEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.text("Z"))
    }
}

/// The rest of a text that is parsed.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn expect(&mut self, any_of: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        any_of.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// Parses `min` to `max` digits as a number.
    fn digits(&mut self, min: usize, max: usize) -> Option<i64> {
        let count = self.0.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
        if count < min {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    }

    /// Parses one to twelve digits after the point, cut to microseconds.
    fn fraction(&mut self) -> Option<i64> {
        let before = self.0.len();
        let micros = self.digits(1, 6)?;
        let count = before - self.0.len();
        self.digits(0, 6)?;
        Some((count..6).fold(micros, |value, _| value * 10))
    }

    /// Parses the end of the text: nothing, `Z`, or an offset of less than a day. Returns minutes.
    fn zone(&mut self) -> Option<Option<i16>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let sign = self.expect(b"Z+-")?;
        let mut minutes = 0;
        if sign != b'Z' {
            minutes = self.digits(2, 2)? * 60;
            if !self.0.is_empty() {
                self.expect(b":");
                minutes += self.digits(2, 2)?;
            }
        }
        if !self.0.is_empty() || minutes >= 24 * 60 {
            return None;
        }
        let minutes = i16::try_from(minutes).ok()?;
        Some(Some(if sign == b'-' { -minutes } else { minutes }))
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the days from 1970-01-01 to this date. Years begin in March here, so that the leap day is
/// the last day and the lengths of the months before it follow one rule.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

/// Returns the date this many days after 1970-01-01. It is the inverse of [`days`].
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_are_read() {
        for (text, want) in [
            ("2024-05-06T07:08:09.123456", "2024-05-06T07:08:09.123456"),
            ("2024-5-6 7:8", "2024-05-06T07:08:00"),
            ("2024-05-06T07:08:09.5", "2024-05-06T07:08:09.500000"),
            ("2024-05-06T07:08:09.123456789012", "2024-05-06T07:08:09.123456"),
            ("2024-05-06T07:08:09.000000", "2024-05-06T07:08:09"),
            ("2024-02-29T00:00Z", "2024-02-29T00:00:00+00:00"),
            ("2024-05-06T07:08:09-00", "2024-05-06T07:08:09+00:00"),
            ("2024-05-06T07:08:09+0230", "2024-05-06T07:08:09+02:30"),
            ("2024-05-06T07:08:09-23:59", "2024-05-06T07:08:09-23:59"),
            ("0001-01-01T00:00:00", "0001-01-01T00:00:00"),
            ("9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"),
        ] {
            let time = DateTime::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(time.to_string(), want, "{text}");
        }
        let utc = DateTime::parse("2024-05-06T07:08Z").unwrap();
        assert_eq!(utc.in_event().to_string(), "2024-05-06T07:08:00Z");
    }

    #[test]
    fn times_beyond_the_years_of_four_digits_are_the_nearest_that_can_be_shown() {
        for (micros, want) in [
            (i64::MIN, "0001-01-01T00:00:00"),
            (FIRST, "0001-01-01T00:00:00"),
            (LAST, "9999-12-31T23:59:59.999999"),
            (LAST + 1, "9999-12-31T23:59:59.999999"),
            (i64::MAX, "9999-12-31T23:59:59.999999"),
        ] {
            assert_eq!(DateTime::from(Timestamp(micros)).to_string(), want, "{micros}");
        }
    }

    #[test]
    fn instants_are_the_same_in_every_zone() {
        for text in ["1970-01-02T00:00", "1970-01-02T02:30+02:30", "1970-01-01T23:00-01"] {
            assert_eq!(DateTime::parse(text).unwrap().instant(), Timestamp(DAY), "{text}");
        }
    }

    #[test]
    fn people_see_one_zone() {
        for text in ["2024-05-06T05:08", "2024-05-06T05:08Z", "2024-05-06T07:08+02:00"] {
            let time = DateTime::parse(text).unwrap();
            assert_eq!(time.in_utc().to_string(), "2024-05-06T05:08:00Z", "{text}");
        }
    }

    #[test]
    fn forms_that_are_refused() {
        for text in [
            "",
            "2024-05-06",
            "24-05-06T07:08",
            "2024-05-06  07:08",
            "2024-05-06t07:08",
            "2024-05-06T07",
            "2024-05-06T24:00",
            "2024-05-06T07:60",
            "2024-05-06T07:08:60",
            "2024-05-06T07:08:09.",
            "2024-05-06T07:08:09,5",
            "2024-05-06T07:08:09.1234567890123",
            "2024-02-30T07:08",
            "2023-02-29T07:08",
            "2024-13-01T07:08",
            "2024-00-01T07:08",
            "0000-01-01T07:08",
            "2024-05-06T07:08+24",
            "2024-05-06T07:08+2",
            "2024-05-06T07:08 Z",
            "2024-05-06T07:08:09Z ",
            "١٢٣٤-05-06T07:08",
        ] {
            assert_eq!(DateTime::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_is_told_right() {
        let mut day = days(1600, 1, 1);
        for year in 1600..2400 {
            for month in 1..=12 {
                for of_month in 1..=days_in(year, month) {
                    assert_eq!(days(year, month, of_month), day);
                    assert_eq!(date(day), (year, month, of_month));
                    day += 1;
                }
            }
        }
        assert_eq!(date(0), (1970, 1, 1));
    }
}
