//! Snapshot files: a state as bytes, behind a header that tells whether they are whole.
//!
//! ```text
//! magic (8), format (4), number (8), length (8), crc (4) of all else, state
//! ```

use super::segment::{FORMAT, HeaderError};

const MAGIC: [u8; 8] = *b"chstr-sn";

const HEADER: usize = 32;

/// Returns the content of the file of a state after all entries before `number`.
pub(crate) fn to_bytes(number: u64, state: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + state.len());
    bytes.extend_from_slice(&header(number, state));
    bytes.extend_from_slice(state);
    bytes
}

/// Returns the state of the file of this number.
pub(crate) fn read(number: u64, bytes: &[u8]) -> Result<&[u8], HeaderError> {
    if bytes.get(..8) != Some(&MAGIC) {
        return Err(HeaderError::Foreign);
    }
    let (first, state) = bytes.split_at_checked(HEADER).ok_or(HeaderError::Damaged)?;
    let found = u32::from_le_bytes([first[8], first[9], first[10], first[11]]);
    if found > FORMAT {
        return Err(HeaderError::Newer { found });
    }
    if first == header(number, state) { Ok(state) } else { Err(HeaderError::Damaged) }
}

fn header(number: u64, state: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[12..20].copy_from_slice(&number.to_le_bytes());
    header[20..28].copy_from_slice(&(state.len() as u64).to_le_bytes());
    let crc = crc(&header[..28], state);
    header[28..].copy_from_slice(&crc.to_le_bytes());
    header
}

fn crc(header: &[u8], state: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(state);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_back_or_said_to_be_damaged() {
        let bytes = to_bytes(7, b"a state");
        assert_eq!(read(7, &bytes), Ok(&b"a state"[..]));
        assert_eq!(read(8, &bytes), Err(HeaderError::Damaged), "renamed");
        for at in 0..bytes.len() {
            assert!(read(7, &bytes[..at]).is_err(), "cut at {at}");
            let mut rotten = bytes.clone();
            rotten[at] ^= 0x10;
            assert!(read(7, &rotten).is_err(), "rotten at {at}");
        }
        let mut newer = bytes;
        newer[8] = 2;
        assert_eq!(read(7, &newer), Err(HeaderError::Newer { found: 2 }));
    }
}
