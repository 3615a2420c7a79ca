//! When a certificate is valid: the two times in its DER (RFC 5280 §4.1.2.5), and nothing else of it.

/// The times between which a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Returns when a certificate is valid, or `None` if it is none.
pub(crate) fn validity(certificate: &[u8]) -> Option<Validity> {
    let mut certificate = expect(&mut { certificate }, SEQUENCE)?;
    let mut signed = expect(&mut certificate, SEQUENCE)?;
    if signed.first() == Some(&VERSION) {
        element(&mut signed)?;
    }
    expect(&mut signed, INTEGER)?; // the serial number
    expect(&mut signed, SEQUENCE)?; // the algorithm of the signature
    expect(&mut signed, SEQUENCE)?; // the issuer
    let mut times = expect(&mut signed, SEQUENCE)?;
    Some(Validity { from: time(&mut times)?, until: time(&mut times)? })
}

/// Takes an element. Returns its tag and its content.
fn element<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, behind) = rest.split_first()?;
    let (&first, mut behind) = behind.split_first()?;
    let mut length = usize::from(first);
    if length >= 0x80 {
        let (digits, content) = behind.split_at_checked(length - 0x80)?;
        if digits.len() > 4 {
            return None;
        }
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        behind = content;
    }
    let (content, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some((tag, content))
}

fn expect<'a>(rest: &mut &'a [u8], expected: u8) -> Option<&'a [u8]> {
    element(rest).filter(|(tag, _)| *tag == expected).map(|(_, content)| content)
}

/// Takes a time: `YYMMDDHHMMSSZ` for the years 1950 to 2049, `YYYYMMDDHHMMSSZ` for others.
fn time(rest: &mut &[u8]) -> Option<i64> {
    let (tag, text) = element(rest)?;
    let text = text.strip_suffix(b"Z").filter(|text| text.iter().all(u8::is_ascii_digit))?;
    let number = |digits: &[u8]| digits.iter().fold(0, |sum, it| sum * 10 + i64::from(it - b'0'));
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = number(year);
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (number(year), rest)
        }
        _ => return None,
    };
    let [month, day, hour, minute, second] =
        <[i64; 5]>::try_from(rest.chunks(2).map(number).collect::<Vec<_>>()).ok()?;
    let is_one = rest.len() == 10 && (1..=12).contains(&month) && (1..=31).contains(&day);
    is_one.then(|| ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Returns the days since 1970 of a day in the Gregorian calendar. A year begins in March here, so that
/// the day of a leap year is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    let days_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + days_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element_of(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let length = if length < 0x80 { vec![length] } else { vec![0x81, length] };
        [&[tag][..], &length, content].concat()
    }

    /// A certificate with these times, as far as it is looked at.
    fn certificate(times: &[(u8, &str)]) -> Vec<u8> {
        let times: Vec<u8> =
            times.iter().flat_map(|(tag, text)| element_of(*tag, text.as_bytes())).collect();
        let signed = [
            element_of(VERSION, &[INTEGER, 1, 2]),
            element_of(INTEGER, &[1; 20]),
            element_of(SEQUENCE, b"algorithm"),
            element_of(SEQUENCE, &[b'x'; 100]),
            element_of(SEQUENCE, &times),
        ]
        .concat();
        element_of(SEQUENCE, &element_of(SEQUENCE, &signed))
    }

    #[test]
    fn times_of_both_forms() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "500101000000Z", -631_152_000),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (GENERALIZED_TIME, "20000229120000Z", 951_825_600),
            (GENERALIZED_TIME, "21260101000000Z", 4_922_899_200),
        ] {
            let bytes = certificate(&[(tag, text), (tag, text)]);
            assert_eq!(
                validity(&bytes),
                Some(Validity { from: seconds, until: seconds }),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_times() {
        let good = certificate(&[(UTC_TIME, "700101000000Z"), (UTC_TIME, "700101000000Z")]);
        for length in 0..good.len() {
            assert_eq!(validity(&good[..length]), None, "{length}");
        }
        for text in ["700101000000", "70010100000Z", "701301000000Z", "xx0101000000Z", "Z", ""] {
            assert_eq!(
                validity(&certificate(&[(UTC_TIME, text), (UTC_TIME, text)])),
                None,
                "{text}"
            );
        }
        assert_eq!(validity(&[SEQUENCE, 0x88, 1, 1, 1, 1, 1, 1, 1, 1]), None);
    }
}
