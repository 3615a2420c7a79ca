//! Segments as bytes: whole, torn, damaged, and made by somebody who wants to be believed.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::segment::{Bad, Builder, HEADER, Header, HeaderError, Segment, Why};

const SEGMENT: Header = Header { number: 1000, salt: 0x9e37_79b9_7f4a_7c15 };

/// Returns a segment, each record of which says that all before it was on disk if `is_synced`, and where
/// each record begins.
fn segment(header: Header, records: &[Vec<Vec<u8>>], is_synced: bool) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut begins) = (header.to_bytes().to_vec(), Vec::new());
    let mut number = header.number;
    for entries in records {
        let synced = if is_synced { bytes.len() } else { HEADER };
        begins.push(bytes.len());
        let mut record = Builder::default();
        for entry in entries {
            record.push(|bytes| bytes.extend_from_slice(entry));
        }
        bytes.extend_from_slice(record.finish(header, number, synced as u64));
        number += record.count();
    }
    (bytes, begins)
}

/// Reads a segment to its end or its first bad record.
fn read(bytes: &[u8]) -> (Vec<Vec<Vec<u8>>>, Option<Bad>) {
    let (mut records, mut number) = (Vec::new(), None);
    for record in Segment::read(bytes).unwrap() {
        match record {
            Ok(record) => {
                assert!(number.is_none_or(|number| number == record.number));
                number = Some(record.end());
                records.push(record.entries().map(<[u8]>::to_vec).collect());
            }
            Err(bad) => return (records, Some(bad)),
        }
    }
    (records, None)
}

fn records() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    vec(vec(vec(any::<u8>(), 0..40), 1..4), 1..8)
}

proptest! {
    #[test]
    fn what_was_written_is_read(records in records(), is_synced: bool) {
        let (bytes, _) = segment(SEGMENT, &records, is_synced);
        prop_assert_eq!(read(&bytes), (records, None));
    }

    #[test]
    fn a_cut_end_is_torn(records in records(), is_synced: bool, at: prop::sample::Index) {
        let (bytes, begins) = segment(SEGMENT, &records, is_synced);
        let at = HEADER + at.index(bytes.len() - HEADER);
        let (found, bad) = read(&bytes[..at]);
        let whole = begins.iter().skip(1).filter(|begin| **begin <= at).count();
        prop_assert_eq!(&found[..], &records[..whole]);
        prop_assert!(bad.is_none_or(|bad| bad.proof.is_none() && bad.whole_until.is_none()));
    }

    #[test]
    fn a_damaged_byte_is_found_and_proved_by_what_was_written_behind(
        records in records(),
        is_synced: bool,
        at: prop::sample::Index,
        change in 1..=u8::MAX,
    ) {
        let (mut bytes, begins) = segment(SEGMENT, &records, is_synced);
        let at = HEADER + at.index(bytes.len() - HEADER);
        bytes[at] ^= change;
        let hit = begins.iter().rposition(|begin| *begin <= at).unwrap();
        let (found, bad) = read(&bytes);
        let bad = bad.unwrap();
        prop_assert_eq!(&found[..], &records[..hit]);
        prop_assert_eq!(bad.offset, begins[hit] as u64);
        let behind = begins.get(hit + 1).copied();
        prop_assert_eq!(bad.proof, behind.filter(|_| is_synced).map(|begin| begin as u64));
        prop_assert_eq!(bad.whole_until.is_some(), behind.is_some());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..400), with_header: bool) {
        let bytes = if with_header { [&SEGMENT.to_bytes()[..], &bytes].concat() } else { bytes };
        if let Ok(segment) = Segment::read(&bytes) {
            segment.for_each(drop);
        }
    }
}

#[test]
fn a_header_says_whose_it_is() {
    let bytes = SEGMENT.to_bytes();
    assert_eq!(Header::read(&bytes), Ok(SEGMENT));
    assert_eq!(Header::read(b""), Err(HeaderError::Foreign));
    assert_eq!(Header::read(b"SQLite format 3\0 and more of it..."), Err(HeaderError::Foreign));
    assert_eq!(Header::read(&bytes[..20]), Err(HeaderError::Damaged));
    let mut newer = bytes;
    newer[8] = 2;
    assert_eq!(Header::read(&newer), Err(HeaderError::Newer { found: 2 }));
    let mut damaged = bytes;
    damaged[20] ^= 1;
    assert_eq!(Header::read(&damaged), Err(HeaderError::Damaged));
}

#[test]
fn a_message_that_looks_like_a_record_proves_nothing() {
    // Whoever sends it knows all but the salt.
    let offset = HEADER as u64;
    let mut forged = Builder::default();
    forged.push(|bytes| bytes.extend_from_slice(b"x"));
    let guess = Header { salt: 0, ..SEGMENT };
    let forged = forged.finish(guess, SEGMENT.number, offset + 1).to_vec();
    let (bytes, _) = segment(SEGMENT, &[vec![forged.repeat(100)]], true);
    let (found, bad) = read(&bytes[..bytes.len() - 1]);
    assert!(found.is_empty());
    let expected =
        Bad { offset, why: Why::Ends, number: SEGMENT.number, proof: None, whole_until: None };
    assert_eq!(bad, Some(expected));
}

#[test]
fn a_record_out_of_its_place_is_bad() {
    let one = vec![vec![b"one".to_vec()]];
    let (bytes, _) = segment(SEGMENT, &one, true);
    let twice = [&bytes[..], &bytes[HEADER..]].concat();
    let (found, bad) = read(&twice);
    assert_eq!(found, one);
    assert_eq!(bad.unwrap().why, Why::Number { expected: 1001, found: 1000 });
    // What an earlier segment left on the disk has another salt.
    let other = Header { number: 1001, salt: 7 };
    let (stale, _) = segment(other, &one, true);
    let (_, bad) = read(&[&bytes[..], &stale[HEADER..]].concat());
    assert_eq!(bad.unwrap().why, Why::Checksum);
    let (_, bad) = read(&[&bytes[..], &[0; 100]].concat());
    assert_eq!(bad.unwrap().why, Why::NoLength);
}
