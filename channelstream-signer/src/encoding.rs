//! Base64, written strictly and read leniently, and the bytes of a timestamp.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, URL_SAFE_NO_PAD};

/// The bytes of the longest signature, SHA-512's, and the characters they take.
const MAX_BYTES: usize = 64;
const MAX_CHARACTERS: usize = 86;

/// Writers leave random bits after the last byte; only the bytes count (contract §3).
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// Decoded bytes, kept on the stack.
pub(crate) struct Decoded {
    bytes: [u8; MAX_BYTES],
    len: usize,
}

impl Decoded {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Reads base64 of either alphabet, even mixed, with any number of `=` at its end (contract §3).
///
/// `None` for foreign characters, for a length that base64 never has, and for more bytes than the
/// longest signature has.
pub(crate) fn decode(text: &str) -> Option<Decoded> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut url_safe = [0; MAX_CHARACTERS];
    let url_safe = url_safe.get_mut(..text.len())?;
    for (to, &from) in url_safe.iter_mut().zip(text) {
        *to = match from {
            b'+' => b'-',
            b'/' => b'_',
            other => other,
        };
    }
    let mut bytes = [0; MAX_BYTES];
    let len = LENIENT.decode_slice(url_safe, &mut bytes).ok()?;
    Some(Decoded { bytes, len })
}

/// Reads a timestamp: one to eight bytes, big end first, in base64.
pub(crate) fn decode_timestamp(text: &str) -> Option<u64> {
    let decoded = decode(text)?;
    let bytes = decoded.as_bytes();
    let mut wide = [0; 8];
    let start = wide.len().checked_sub(bytes.len())?;
    wide[start..].copy_from_slice(bytes);
    (!bytes.is_empty()).then(|| u64::from_be_bytes(wide))
}

/// Appends a timestamp without leading zero bytes. Zero is written as one byte.
pub(crate) fn append_timestamp(timestamp: u64, out: &mut String) {
    let bytes = timestamp.to_be_bytes();
    let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len() - 1);
    URL_SAFE_NO_PAD.encode_string(&bytes[start..], out);
}

#[cfg(test)]
mod tests {
    use super::{append_timestamp, decode, decode_timestamp};

    fn bytes(text: &str) -> Option<Vec<u8>> {
        decode(text).map(|decoded| decoded.as_bytes().to_vec())
    }

    #[test]
    fn either_alphabet_any_padding_and_loose_bits_are_read() {
        for text in ["-_8", "+/8", "-/8", "+_8=", "-_8==", "-_8====", "-_9", "-_-"] {
            assert_eq!(bytes(text), Some(vec![0xfb, 0xff]), "{text}");
        }
    }

    #[test]
    fn foreign_characters_and_impossible_lengths_are_refused() {
        for text in ["-_ 8", "-_8\n", "-_=8", "=-_8", "é_8", "a", "-_8aa", "-_8*"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn the_longest_signature_fits_and_nothing_longer() {
        assert_eq!(bytes(&"A".repeat(86)), Some(vec![0; 64]));
        assert_eq!(bytes(&format!("{}==", "A".repeat(86))), Some(vec![0; 64]));
        assert_eq!(bytes(&"A".repeat(87)), None);
        assert_eq!(bytes(&"A".repeat(100_000)), None);
    }

    #[test]
    fn timestamps_have_one_to_eight_bytes() {
        assert_eq!(decode_timestamp(""), None);
        assert_eq!(decode_timestamp("=="), None);
        assert_eq!(decode_timestamp("AA"), Some(0));
        assert_eq!(decode_timestamp("AAE"), Some(1));
        assert_eq!(decode_timestamp("AAAAAAAAAAE"), Some(1));
        assert_eq!(decode_timestamp("__________8"), Some(u64::MAX));
        assert_eq!(decode_timestamp("AAAAAAAAAAAB"), None);
    }

    #[test]
    fn timestamps_are_written_without_leading_zero_bytes() {
        for (timestamp, text) in [(0, "AA"), (1, "AQ"), (256, "AQA"), (u64::MAX, "__________8")] {
            let mut out = String::new();
            append_timestamp(timestamp, &mut out);
            assert_eq!(out, text);
        }
    }
}
