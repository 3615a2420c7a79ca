//! Segments: how records lie in a file, and whether a bad one is torn or damaged.
//!
//! A segment is a header and records. All numbers are little-endian.
//!
//! ```text
//! header: magic (8), format (4), salt (8), number (8), crc (4)
//! record: length (4), crc (4), number (8), synced (8), entries
//! entry:  length (4), bytes
//! ```
//!
//! `length` counts what follows the crc of its record; it is never zero. The crc covers everything else of the record.
//! `number` is that of the first entry, counted since the journal began. `synced` is how much of this
//! segment was known to be on disk when the record was written.
//!
//! The salt is random. It begins each crc and hides the numbers, so that nobody can send a message that
//! looks like a record, and what an earlier file left on the disk is not taken for one.
//!
//! Reading knows nothing of writing: [`Segment`] takes bytes and stops at the first bad record.

use std::ops::Range;

use thiserror::Error;

/// The form of segments. It rises with each change that an older program cannot read.
pub(crate) const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"chstr-sg";

/// The size of the header of a segment.
pub(crate) const HEADER: usize = 32;

/// The size of a record without entries.
const HEAD: usize = 24;

/// The part of it that `length` does not count.
const UNCOUNTED: usize = 8;

/// Why a file is no segment that can be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum HeaderError {
    #[error("it is not a file of this journal")]
    Foreign,
    #[error("a newer release wrote it: it has format {found}, and this program reads {FORMAT}")]
    Newer { found: u32 },
    #[error("its header is damaged")]
    Damaged,
}

/// What is said once of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The number of the first entry.
    pub(crate) number: u64,
    pub(crate) salt: u64,
}

impl Header {
    /// Returns the first bytes of a segment.
    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.salt.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.number.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the first bytes of a segment.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.get(..8) != Some(&MAGIC) {
            return Err(HeaderError::Foreign);
        }
        let format = u32_at(bytes, 8).ok_or(HeaderError::Damaged)?;
        if format > FORMAT {
            return Err(HeaderError::Newer { found: format });
        }
        let covered = bytes.get(..28).ok_or(HeaderError::Damaged)?;
        match (u64_at(bytes, 12), u64_at(bytes, 20), u32_at(bytes, 28)) {
            (Some(salt), Some(number), Some(crc)) if crc == crc32fast::hash(covered) => {
                Ok(Self { number, salt })
            }
            _ => Err(HeaderError::Damaged),
        }
    }

    fn crc(self, length: &[u8], covered: &[u8]) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "any of the bits are random")]
        let mut hasher = crc32fast::Hasher::new_with_initial(self.salt as u32);
        hasher.update(length);
        hasher.update(covered);
        hasher.finalize()
    }
}

/// A record that is being put together.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    count: u64,
}

impl Builder {
    /// Adds an entry, whose bytes `write` appends.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; HEAD]);
        }
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        write(&mut self.bytes);
        let length = as_u32(self.bytes.len() - begin - 4);
        self.bytes[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
    }

    /// Returns how many entries it has.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Returns its size.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the record, whose first entry has `number`, for a segment of which `synced` bytes are on
    /// disk. There is at least one entry.
    pub(crate) fn finish(&mut self, header: Header, number: u64, synced: u64) -> &[u8] {
        let length = as_u32(self.bytes.len() - UNCOUNTED).to_le_bytes();
        self.bytes[..4].copy_from_slice(&length);
        self.bytes[8..16].copy_from_slice(&(number ^ header.salt).to_le_bytes());
        self.bytes[16..24].copy_from_slice(&(synced ^ header.salt).to_le_bytes());
        let crc = header.crc(&length, &self.bytes[UNCOUNTED..]);
        self.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
    }

    /// Begins anew. Room for more than `most` bytes is released.
    pub(crate) fn clear(&mut self, most: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(most);
        self.count = 0;
    }
}

/// A record as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    /// Where it begins in the segment.
    pub(crate) offset: u64,
    /// The number of its first entry.
    pub(crate) number: u64,
    /// How much of the segment was known to be on disk when it was written.
    pub(crate) synced: u64,
    entries: &'a [u8],
    count: u64,
}

impl<'a> Record<'a> {
    /// Returns the bytes of its entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.entries;
        std::iter::from_fn(move || {
            let (entry, behind) = split_entry(rest)?;
            rest = behind;
            Some(entry)
        })
    }

    /// Returns the number of the entry behind its last one.
    pub(crate) fn end(&self) -> u64 {
        self.number + self.count
    }

    fn size(&self) -> usize {
        HEAD + self.entries.len()
    }
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Why {
    #[error("the file ends in it")]
    Ends,
    #[error("it has no length")]
    NoLength,
    #[error("its checksum is not right")]
    Checksum,
    #[error("it begins with entry {found}, not {expected}")]
    Number { expected: u64, found: u64 },
    #[error("its entries do not fill it")]
    Entries,
}

/// The first bad record of a segment. Nothing from it on can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    /// Where it begins.
    pub(crate) offset: u64,
    pub(crate) why: Why,
    /// The number of its first entry.
    pub(crate) number: u64,
    /// Where a whole record begins behind it that says that this one was on disk. Then it is damaged,
    /// and else the torn end of what was written last.
    pub(crate) proof: Option<u64>,
    /// The number behind the last entry of the whole records behind it, if there are any.
    pub(crate) whole_until: Option<u64>,
}

/// The bytes of a segment, read record by record up to the first bad one.
#[derive(Debug)]
pub(crate) struct Segment<'a> {
    header: Header,
    bytes: &'a [u8],
    offset: usize,
    number: u64,
    is_over: bool,
}

impl<'a> Segment<'a> {
    /// Reads the header of a segment.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, HeaderError> {
        let header = Header::read(bytes)?;
        Ok(Self { header, bytes, offset: HEADER, number: header.number, is_over: false })
    }

    pub(crate) fn header(&self) -> Header {
        self.header
    }

    /// Returns the end of the records that were read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// Reads the record that begins at `offset`, whatever its number.
    fn record_at(&self, offset: usize) -> Result<Record<'a>, Why> {
        let length = u32_at(self.bytes, offset).ok_or(Why::Ends)? as usize;
        if length == 0 {
            return Err(Why::NoLength);
        }
        let begin = offset + UNCOUNTED;
        let covered = self.bytes.get(begin..begin + length).ok_or(Why::Ends)?;
        let crc = u32_at(self.bytes, offset + 4).ok_or(Why::Ends)?;
        if crc != self.header.crc(&self.bytes[offset..offset + 4], covered) {
            return Err(Why::Checksum);
        }
        let (number, synced) = self.numbers_at(offset).ok_or(Why::Entries)?;
        let entries = covered.get(HEAD - UNCOUNTED..).ok_or(Why::Entries)?;
        let (mut rest, mut count) = (entries, 0);
        while let Some((_, behind)) = split_entry(rest) {
            (rest, count) = (behind, count + 1);
        }
        if !rest.is_empty() || count == 0 {
            return Err(Why::Entries);
        }
        Ok(Record { offset: offset as u64, number, synced, entries, count })
    }

    /// Returns what a record that begins at `offset` has as its number and as synced.
    fn numbers_at(&self, offset: usize) -> Option<(u64, u64)> {
        let salt = self.header.salt;
        Some((u64_at(self.bytes, offset + 8)? ^ salt, u64_at(self.bytes, offset + 16)? ^ salt))
    }

    /// Finds out what is behind a bad record: every byte may be the first of a whole one.
    fn judge(&self, why: Why) -> Bad {
        let (offset, number) = (self.offset as u64, self.number);
        let mut bad = Bad { offset, why, number, proof: None, whole_until: None };
        // An entry takes more than a byte, so numbers rise less than offsets.
        let numbers: Range<u64> = number..number + self.bytes.len() as u64;
        let mut at = self.offset + 1;
        while let Some((number, _)) = self.numbers_at(at) {
            let is_likely = numbers.contains(&number);
            let Some(record) = is_likely.then(|| self.record_at(at).ok()).flatten() else {
                at += 1;
                continue;
            };
            bad.whole_until = Some(record.end());
            if record.synced > offset && bad.proof.is_none() {
                bad.proof = Some(record.offset);
            }
            at += record.size();
        }
        bad
    }
}

impl<'a> Iterator for Segment<'a> {
    type Item = Result<Record<'a>, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over || self.offset == self.bytes.len() {
            return None;
        }
        let expected = self.number;
        let record = match self.record_at(self.offset) {
            Ok(record) if record.number == expected => Ok(record),
            Ok(Record { number: found, .. }) => Err(Why::Number { expected, found }),
            Err(why) => Err(why),
        };
        match record {
            Ok(record) => {
                self.offset += record.size();
                self.number = record.end();
                Some(Ok(record))
            }
            Err(why) => {
                self.is_over = true;
                Some(Err(self.judge(why)))
            }
        }
    }
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    bytes[4..].split_at_checked(length)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn as_u32(length: usize) -> u32 {
    u32::try_from(length).expect("requests have less than a gigabyte, and records little more")
}
