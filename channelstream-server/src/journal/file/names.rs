//! The names of the files of a journal.

use std::fmt::{self, Display, Formatter};

use super::disk::UNFINISHED;

/// A file of a journal. Both kinds have the number of the first entry behind what is before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// Entries from this number on.
    Segment(u64),
    /// The state after all entries before this number.
    Snapshot(u64),
}

impl Name {
    /// Reads a name as it is displayed.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (kind, number) = text.split_once('-')?;
        let number = number.parse().ok()?;
        let name = match kind {
            "segment" => Self::Segment(number),
            "snapshot" => Self::Snapshot(number),
            _ => return None,
        };
        (name.to_string() == text).then_some(name)
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(number) => write!(f, "segment-{number:020}"),
            Self::Snapshot(number) => write!(f, "snapshot-{number:020}"),
        }
    }
}

/// Files beside those of a journal: that of webhooks that wait, and one of file systems.
const BESIDE: [&str; 3] = ["webhooks", "webhooks.new", "lost+found"];

/// What is in a directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The numbers of segments, in their order.
    pub(crate) segments: Vec<u64>,
    /// The numbers of snapshots, in their order.
    pub(crate) snapshots: Vec<u64>,
    /// Files that were not finished.
    pub(crate) unfinished: Vec<String>,
    /// Files of others.
    pub(crate) foreign: Vec<String>,
}

impl Listing {
    /// Sorts the names of a directory. What is hidden, and what file systems put there, is left out.
    pub(crate) fn new(names: Vec<String>) -> Self {
        let mut listing = Self::default();
        for name in names {
            let finished = name.strip_suffix(UNFINISHED);
            match Name::read(finished.unwrap_or(&name)) {
                Some(_) if finished.is_some() => listing.unfinished.push(name),
                Some(Name::Segment(number)) => listing.segments.push(number),
                Some(Name::Snapshot(number)) => listing.snapshots.push(number),
                None if name.starts_with('.') || BESIDE.contains(&&*name) => {}
                None => listing.foreign.push(name),
            }
        }
        listing.segments.sort_unstable();
        listing.snapshots.sort_unstable();
        listing.foreign.sort_unstable();
        listing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [Name::Segment(0), Name::Segment(u64::MAX), Name::Snapshot(42)] {
            assert_eq!(Name::read(&name.to_string()), Some(name));
        }
        for foreign in ["segment-1", "segment-", "snapshot-+0000000000000000001", "lock", ""] {
            assert_eq!(Name::read(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_listing_has_numbers_in_order_and_names_what_is_foreign() {
        let two = Name::Segment(2).to_string();
        let names = [".hidden", "lost+found", "webhooks", "notes.txt", &two, &format!("{two}.new")];
        let mut names: Vec<_> = names.into_iter().map(String::from).collect();
        names.push(Name::Segment(1).to_string());
        let listing = Listing::new(names);
        assert_eq!(listing.segments, [1, 2]);
        assert_eq!(listing.unfinished, [format!("{two}.new")]);
        assert_eq!(listing.foreign, ["notes.txt"]);
    }
}
