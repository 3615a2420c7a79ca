//! Files that end in the middle of a write, and files that are not what was written.

use std::fs;
use std::ops::Range;
use std::path::Path;

use channelstream_signer::unix_now;

use crate::app::Site;
use crate::journal::{Journal, keep_all, kept};
use crate::rounds;

/// How many messages there are.
const MESSAGES: u64 = 60;

/// Numbers that differ from run to run.
struct Dice(u64);

impl Dice {
    fn any() -> Self {
        Self(unix_now() << 16 | u64::from(std::process::id()))
    }

    fn next(&mut self, range: Range<usize>) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let span = range.len() as u64;
        range.start + usize::try_from((self.0 >> 33) % span).unwrap()
    }
}

/// Makes a journal of a server that was killed. Returns it with the sizes of its segment before the
/// messages and behind each of them.
fn killed() -> (Journal, Vec<usize>) {
    let journal = Journal::new();
    let mut server = journal.start(&[]);
    let site = Site(server.address);
    keep_all(site, "news");
    let size = |path: &Path| usize::try_from(fs::metadata(path).unwrap().len()).unwrap();
    let segment = journal.segment();
    let mut sizes = vec![size(&segment)];
    for number in 0..MESSAGES {
        site.publish("news", number);
        sizes.push(size(&segment));
    }
    server.signal("KILL");
    server.ended();
    (journal, sizes)
}

#[test]
fn a_torn_end_is_cut_and_all_before_it_is_there() {
    let (journal, sizes) = killed();
    let bytes = fs::read(journal.segment()).unwrap();
    let mut dice = Dice::any();
    for round in 0..rounds(10, 100) {
        let copy = journal.copy();
        let length = dice.next(sizes[0]..bytes.len());
        let mut torn = bytes[..length].to_vec();
        // What a file system leaves where nothing was written, or what was there before.
        match round % 3 {
            0 => {}
            1 => torn.resize(length + dice.next(1..5000), 0),
            _ => torn
                .extend((0..dice.next(1..500)).map(|_| u8::try_from(dice.next(0..256)).unwrap())),
        }
        fs::write(copy.segment(), torn).unwrap();
        let server = copy.start(&[]);
        let kept = kept(Site(server.address), "news");
        // Behind a message the server may have written an entry of its own, before the size was taken.
        let whole = sizes.iter().filter(|size| **size <= length).count() - 1;
        assert!((whole..=whole + 1).contains(&kept.len()), "cut at {length}:\n{}", server.log());
        assert!(kept.into_iter().zip(0..).all(|(kept, number)| kept == number));
        let told = server.log().contains("the journal ended within a record");
        assert!(told || round % 3 == 0, "{}", server.log());
    }
}

#[test]
fn a_damaged_segment_is_refused_and_left_as_it_is() {
    let (journal, sizes) = killed();
    let bytes = fs::read(journal.segment()).unwrap();
    let mut dice = Dice::any();
    // Nothing is known of the last record but that it is bad.
    let certain = sizes[sizes.len() - 2];
    for _ in 0..rounds(5, 20) {
        let copy = journal.copy();
        let at = dice.next(0..certain);
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << dice.next(0..8);
        fs::write(copy.segment(), &damaged).unwrap();
        let said = copy.refused();
        let name = copy.segment().display().to_string();
        assert!(said.contains(&name), "{at}: {said}");
        // The first bytes of a segment say what it is.
        if at >= 32 {
            assert!(
                said.contains("is damaged at byte") && said.contains("journal repair"),
                "{said}"
            );
        }
        assert_eq!(fs::read(copy.segment()).unwrap(), damaged, "it was changed");
    }
}
