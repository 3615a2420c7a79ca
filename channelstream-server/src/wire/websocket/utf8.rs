//! A check of UTF-8 piece by piece, wherever the pieces are cut.

/// Checks a text that arrives in pieces; keeps at most the bytes of one unfinished character.
#[derive(Default)]
pub(super) struct Utf8Check {
    /// The beginning of a character whose end is in the next piece.
    carry: [u8; 4],
    carried: u8,
}

impl Utf8Check {
    /// Takes the next piece. Returns `false` if it holds a byte that can't be UTF-8, whatever follows.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> bool {
        while self.carried > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return true };
            piece = rest;
            self.carry(byte);
            match str::from_utf8(&self.carry[..usize::from(self.carried)]) {
                Ok(_) => self.carried = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return false,
            }
        }
        match str::from_utf8(piece) {
            Ok(_) => true,
            // No error length means that the piece ends inside a character.
            Err(error) if error.error_len().is_none() => {
                piece[error.valid_up_to()..].iter().for_each(|&byte| self.carry(byte));
                true
            }
            Err(_) => false,
        }
    }

    /// Returns `true` if the text may end here, that is, not inside a character.
    pub(super) fn is_complete(&self) -> bool {
        self.carried == 0
    }

    /// Keeps a byte. There are never four already: those are a character or an error.
    fn carry(&mut self, byte: u8) {
        self.carry[usize::from(self.carried)] = byte;
        self.carried += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn utf8_is_judged_as_std_does(
            bytes in vec(
                prop_oneof![
                    any::<u8>(),
                    0x80..=0xbf_u8,
                    prop::sample::select(&b"\xc2\xe0\xed\xef\xf0\xf4\xa0\x90\x8f"[..]),
                ],
                0..8,
            ),
        ) {
            // Hopeless from the first byte that no continuation can mend.
            let hopeless = (1..=bytes.len())
                .find(|&end| str::from_utf8(&bytes[..end]).is_err_and(|e| e.error_len().is_some()));
            let mut check = Utf8Check::default();
            let refused = bytes.iter().position(|&byte| !check.push(&[byte])).map(|at| at + 1);
            prop_assert_eq!(refused, hopeless);
            if refused.is_none() {
                prop_assert_eq!(check.is_complete(), str::from_utf8(&bytes).is_ok());
            }
            for cut in 0..=bytes.len() {
                let mut check = Utf8Check::default();
                let (head, tail) = bytes.split_at(cut);
                let valid = check.push(head) && check.push(tail) && check.is_complete();
                prop_assert_eq!(valid, str::from_utf8(&bytes).is_ok());
            }
        }
    }
}
