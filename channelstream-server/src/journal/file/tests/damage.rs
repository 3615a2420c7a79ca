//! What the start does with files that are not what was written.

use std::error::Error as _;

use super::super::super::tests::{envelope, user};
use super::super::names::{Listing, Name};
use super::super::segment::Segment;
use super::*;

/// A journal with two snapshots and several segments, and how many entries it has.
fn written() -> (Model, u64) {
    let disk = Model::new(Dice::new(1));
    let count = 90;
    in_paused_time(async {
        let Running { appender, mut reader, stop, writer } =
            run(open_at(&disk).unwrap(), JournalSync::Always);
        let mut batch = Vec::new();
        for number in 0..count {
            appender.append(envelope(number)).unwrap();
            reader.next(&mut batch, 1).await;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        drop(stop);
        writer.await.unwrap().unwrap();
    });
    (disk, count)
}

fn listing(disk: &Model) -> Listing {
    Listing::new(disk.contents().into_iter().map(|(name, _)| name).collect())
}

fn content(disk: &Model, name: &str) -> Vec<u8> {
    disk.contents().into_iter().find(|(found, _)| found == name).unwrap().1
}

/// Returns how many of the first entries are in the state.
fn entries(recovered: &Recovered) -> u64 {
    (0..).find(|number| !recovered.state.knows_user(&user(*number))).unwrap()
}

fn refusal(disk: &Model) -> String {
    let error = open_at(disk).unwrap_err();
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

#[test]
fn rot_is_refused_or_does_no_harm() {
    let (disk, count) = written();
    let newest = *listing(&disk).segments.last().unwrap();
    let last_segment = Name::Segment(newest).to_string();
    let bytes = content(&disk, &last_segment);
    let last_record = Segment::read(&bytes).unwrap().last().unwrap().unwrap();
    let (mut refused, mut harmless, mut cut) = (0, 0, 0);
    let mut dice = Dice::new(2);
    for (name, content) in disk.contents() {
        for _ in 0..60 {
            let at = dice.place(content.len());
            let mut rotten = content.clone();
            rotten[at] ^= 1 << dice.within(0..8);
            disk.put(&name, rotten);
            match open_at(&disk) {
                Err(error) => {
                    let in_last = name == last_segment && at as u64 >= last_record.offset;
                    assert!(!in_last, "{name} at {at}: {error}");
                    refused += 1;
                }
                Ok(recovered) if entries(&recovered) == count => harmless += 1,
                Ok(recovered) => {
                    // Nothing says of the last record that it was on disk.
                    assert_eq!(entries(&recovered), last_record.number);
                    assert!(
                        name == last_segment && at as u64 >= last_record.offset,
                        "{name}: {at}"
                    );
                    cut += 1;
                }
            }
            disk.put(&name, content.clone());
            if name == last_segment {
                // It may have been cut.
                disk.put(&name, bytes.clone());
            }
        }
    }
    assert!(refused > 20 && harmless > 20 && cut > 0, "{refused} {harmless} {cut}");
}

#[test]
fn a_refusal_names_the_file_the_place_and_what_a_repair_drops() {
    let (disk, count) = written();
    let newest = *listing(&disk).segments.last().unwrap();
    let name = Name::Segment(newest).to_string();
    let mut bytes = content(&disk, &name);
    let records: Vec<_> = Segment::read(&bytes).unwrap().map(Result::unwrap).collect();
    let [first, second, ..] = &records[..] else { panic!("too few records") };
    let (begin, number, proof) = (first.offset, first.number, second.offset);
    let dropped = bytes.len() as u64 - begin;
    let at = usize::try_from(proof).unwrap() - 1;
    bytes[at] ^= 1;
    disk.put(&name, bytes);
    let last = count - 1;
    assert_eq!(
        refusal(&disk),
        format!(
            "{name} is damaged at byte {begin}: its checksum is not right. The record at byte {proof} was \
             written after it, so that this was on disk. `channelstream-server journal repair` would cut \
             the journal there, and drop {dropped} bytes with the entries from {number} to {last} at least"
        )
    );
    assert_eq!(content(&disk, &name).len() as u64, begin + dropped, "nothing was changed");
}

#[test]
fn an_end_that_is_missing_before_another_segment_is_damage() {
    let (disk, _) = written();
    let [.., before, last] = listing(&disk).segments[..] else { panic!("too few segments") };
    let name = Name::Segment(before).to_string();
    let mut bytes = content(&disk, &name);
    bytes.pop();
    disk.put(&name, bytes);
    let refusal = refusal(&disk);
    let expected = format!("{} was made after it", Name::Segment(last));
    assert!(refusal.contains("the file ends in it") && refusal.contains(&expected), "{refusal}");
}

#[test]
fn a_snapshot_that_is_gone_or_damaged_costs_nothing_while_there_is_an_older_one() {
    let (disk, count) = written();
    let [older, newer] = listing(&disk).snapshots[..] else { panic!("two snapshots") };
    let damage = |number| {
        let name = Name::Snapshot(number).to_string();
        let mut bytes = content(&disk, &name);
        bytes[50] ^= 1;
        disk.put(&name, bytes);
        name
    };
    let newest = damage(newer);
    let recovered = open_at(&disk).unwrap();
    assert_eq!((entries(&recovered), recovered.base.number), (count, older));
    damage(older);
    let expected = format!("no snapshot can be used; the newest, {newest}: its header is damaged");
    assert_eq!(refusal(&disk), expected);
}

#[test]
fn a_hole_between_segments_is_refused() {
    let (disk, _) = written();
    let listing = listing(&disk);
    let base = listing.snapshots[1];
    let missing = Name::Segment(base).to_string();
    let without = |name: &str| {
        let other = Model::new(Dice::new(1));
        for (found, content) in disk.contents() {
            if found != name {
                other.put(&found, content);
            }
        }
        other
    };
    assert_eq!(refusal(&without(&missing)), format!("{missing} is missing"));
}

#[test]
fn a_beginning_that_was_broken_off_is_begun_again_and_lost_segments_are_not() {
    let (first, snapshot) = (Name::Segment(0).to_string(), Name::Snapshot(0).to_string());
    let keep = |disk: &Model, name: &str| {
        let other = Model::new(Dice::new(1));
        for (found, content) in disk.contents().into_iter().filter(|(found, _)| found == name) {
            other.put(&found, content);
        }
        other
    };
    let begun = Model::new(Dice::new(1));
    drop(open_at(&begun).unwrap());
    assert_eq!(entries(&open_at(&keep(&begun, &first)).unwrap()), 0);
    assert_eq!(refusal(&keep(&begun, &snapshot)), format!("{first} is missing"));
}

#[test]
fn files_of_others_and_of_newer_releases_are_refused() {
    let (disk, _) = written();
    disk.put("notes.txt", Vec::new());
    assert_eq!(
        refusal(&disk),
        " has files that are not of a journal (notes.txt): journal_dir needs a directory of its own"
    );
    let newest = *listing(&written().0).segments.last().unwrap();
    for (name, what) in [
        (Name::Segment(newest), "segment"),
        (Name::Snapshot(listing(&disk).snapshots[1]), "snapshot"),
    ] {
        let (disk, _) = written();
        let name = name.to_string();
        let mut bytes = content(&disk, &name);
        bytes[8] = 9;
        disk.put(&name, bytes);
        let expected = format!(
            "cannot use {name}: a newer release wrote it: it has format 9, and this program reads 1"
        );
        assert_eq!(refusal(&disk), expected, "{what}");
    }
    let (disk, _) = written();
    disk.put(&Name::Segment(newest).to_string(), b"something else entirely".to_vec());
    assert!(refusal(&disk).ends_with("it is not a file of this journal"), "{}", refusal(&disk));
}
