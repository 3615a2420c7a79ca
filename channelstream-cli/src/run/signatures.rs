//! `sign` and `unsign`.

use std::io::{Write as _, stdout};

use channelstream_client::{DateTime, Timestamp};
use channelstream_signer::{SignatureError, unix_now};
use serde_json::json;

use crate::access;
use crate::args::{AccessArgs, SignArgs, UnsignArgs};
use crate::failure::Failure;
use crate::output::{self, Align};

/// 10000-01-01, from which on a year has more than four digits.
const END_OF_DATES: u64 = 253_402_300_800;

pub(super) fn sign(access: &AccessArgs, args: &SignArgs) -> Result<(), Failure> {
    let (signer, _) = access::signer(access)?;
    let signed = signer.sign(&args.value);
    if args.json {
        return Ok(output::json(&mut stdout(), &json!({ "signed": signed }))?);
    }
    Ok(writeln!(stdout(), "{signed}")?)
}

pub(super) fn unsign(access: &AccessArgs, args: &UnsignArgs) -> Result<(), Failure> {
    let (signer, origin) = access::signer(access)?;
    let now = unix_now();
    let unsigned =
        signer.unsign_within(&args.text, args.max_age.map_or(u64::MAX, |age| age.as_secs()), now);
    let unsigned = unsigned.map_err(|error| {
        let failure = Failure::from(anyhow::Error::from(error));
        match error {
            SignatureError::Mismatch => {
                failure.with_hint(format!("it was signed with another secret or changed; {origin}"))
            }
            _ => failure,
        }
    })?;
    let signed = unsigned.timestamp;
    if args.quiet {
        return Ok(());
    }
    if args.json {
        let age = i128::from(now) - i128::from(signed);
        // A signed text may claim any future time, so the age saturates.
        let age = i64::try_from(age).unwrap_or(i64::MIN);
        let value = json!({ "value": unsigned.value, "signed": signed, "age": age });
        return Ok(output::json(&mut stdout(), &value)?);
    }
    let age = match now.checked_sub(signed) {
        Some(age) => format!("{age} s"),
        None => format!("-{} s", signed - now),
    };
    let rows = [
        ["value".to_owned(), unsigned.value.to_owned()],
        ["signed".to_owned(), date(signed)],
        ["age".to_owned(), age],
    ];
    Ok(output::rows(&mut stdout(), [Align::Left, Align::Left], &rows)?)
}

/// Formats a time in seconds since 1970 as a date, or as seconds if it is too late for one.
fn date(seconds: u64) -> String {
    match i64::try_from(seconds) {
        Ok(signed) if seconds < END_OF_DATES => {
            DateTime::from(Timestamp::from_micros(signed * 1_000_000)).in_utc().to_string()
        }
        _ => format!("{seconds} s after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_end() {
        assert_eq!(date(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(date(END_OF_DATES - 1), "9999-12-31T23:59:59Z");
        assert_eq!(date(u64::MAX), "18446744073709551615 s after 1970");
    }
}
