//! Counts the SETTINGS frames of a peer of HTTP/2.
//!
//! Each of them may change the windows of all streams, which costs h2 a look at each stream. h2 bounds
//! neither how many come nor how fast.

use std::fmt;

/// The frames that a connection may send in its life. Peers send one, and few more while they measure the
/// network.
const MOST: u32 = 100;

/// Bytes before the first frame.
const PREFACE: usize = 24;

const HEAD: usize = 9;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// Reads the heads of frames in what a peer sends.
pub(super) struct SettingsFrames {
    /// Bytes up to the next head.
    skip: usize,
    head: [u8; HEAD],
    /// Bytes of the head that are there.
    have: usize,
    count: u32,
}

/// A peer sent more SETTINGS frames than a connection may.
#[derive(Debug)]
pub(super) struct TooMany;

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {MOST} SETTINGS frames")
    }
}

impl std::error::Error for TooMany {}

impl Default for SettingsFrames {
    fn default() -> Self {
        Self { skip: PREFACE, head: [0; HEAD], have: 0, count: 0 }
    }
}

impl SettingsFrames {
    /// Takes what comes next.
    ///
    /// # Errors
    /// If there were too many frames.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<(), TooMany> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < HEAD {
                continue;
            }
            let [high, middle, low, kind, flags, ..] = self.head;
            self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
            self.have = 0;
            if kind == SETTINGS && flags & ACK == 0 {
                self.count += 1;
                if self.count > MOST {
                    return Err(TooMany);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with this kind, flags and length.
    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 0];
        bytes.extend(std::iter::repeat_n(SETTINGS, length.into()));
        bytes
    }

    #[test]
    fn settings_are_counted_however_they_arrive() {
        let mut all = vec![b'P'; PREFACE];
        for _ in 0..MOST {
            all.extend(frame(SETTINGS, 0, 6));
            // These are none: acknowledgements, data that looks like them, and pings.
            all.extend(frame(SETTINGS, ACK, 0));
            all.extend(frame(0, 0, 40));
            all.extend(frame(6, 0, 8));
        }
        for piece in [1, 2, 7, 9, 10, 1000, all.len()] {
            let mut frames = SettingsFrames::default();
            for bytes in all.chunks(piece) {
                assert!(frames.take(bytes).is_ok(), "{piece}");
            }
            assert_eq!(frames.count, MOST, "{piece}");
            assert!(frames.take(&frame(SETTINGS, 0, 0)).is_err(), "{piece}");
        }
    }
}
