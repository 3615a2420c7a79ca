//! Looking at a journal without changing it: its files, its entries, and the state of an earlier time.
//!
//! A server may have the journal open. What it is writing then looks like a torn end.

use std::path::Path;

use channelstream_core::protocol::Timestamp;
use channelstream_core::state::stored::{self, Levels, StoredError, UnknownLevel};
use channelstream_core::state::{Envelope, SnapshotError, State};
use thiserror::Error;

use super::disk::{Files, Looked};
use super::names::{Listing, Name};
use super::recovery::{Damage, OpenError, damage, failed};
use super::segment::{HeaderError, Segment};
use super::snapshot;

/// A journal that is looked at.
#[derive(Debug)]
pub(crate) struct Journal {
    files: Looked,
    listing: Listing,
}

/// What is in one file of a journal.
#[derive(Debug)]
pub(crate) struct FileRow {
    pub(crate) name: Name,
    pub(crate) bytes: u64,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    /// A snapshot, or why it cannot be used.
    Snapshot(Result<(), HeaderError>),
    /// The entries of a segment, and how it ends.
    Segment { entries: u64, end: End },
}

/// How a segment ends.
#[derive(Debug)]
pub(crate) enum End {
    Whole,
    /// So many bytes of a record that was not on disk as a whole.
    Torn(u64),
    Damaged(Box<Damage>),
    /// It has no header that can be read.
    Unreadable(HeaderError),
}

/// An entry of a journal.
#[derive(Debug)]
pub(crate) struct EntryRow {
    pub(crate) number: u64,
    pub(crate) bytes: usize,
    pub(crate) envelope: Envelope,
}

/// Up to where a journal is replayed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    End,
    /// All entries up to this time of day.
    Time(Timestamp),
    /// All entries before this number.
    Entry(u64),
}

impl Until {
    fn includes(self, number: u64, time: Timestamp) -> bool {
        match self {
            Self::End => true,
            Self::Time(until) => time <= until,
            Self::Entry(end) => number < end,
        }
    }
}

/// Why a journal cannot be shown.
#[derive(Debug, Error)]
pub(crate) enum LookError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("there is no journal in {0}")]
    Nothing(String),
    #[error("entry {number} cannot be read")]
    Entry { number: u64, source: StoredError },
    #[error("{file} has {level}")]
    Level { file: String, level: UnknownLevel },
    #[error("no snapshot is as old as that")]
    TooEarly,
}

impl Journal {
    /// Looks at the journal of a directory.
    pub(crate) fn look(path: &Path) -> Result<Self, LookError> {
        let files = Looked(path.to_owned());
        let names = files.names().map_err(failed(&files, "list", ""))?;
        let listing = Listing::new(names);
        if listing.snapshots.is_empty() && listing.segments.is_empty() {
            return Err(LookError::Nothing(files.show("")));
        }
        Ok(Self { files, listing })
    }

    fn read(&self, name: Name) -> Result<Vec<u8>, OpenError> {
        let name = name.to_string();
        self.files.read(&name).map_err(failed(&self.files, "read", &name))
    }

    /// Returns what is in each file, snapshots first.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Result<FileRow, OpenError>> {
        let snapshots = self.listing.snapshots.iter().map(|number| {
            let name = Name::Snapshot(*number);
            let bytes = self.read(name)?;
            let content = Content::Snapshot(snapshot::read(*number, &bytes).map(|_| ()));
            Ok(FileRow { name, bytes: bytes.len() as u64, content })
        });
        let segments = self.listing.segments.iter().enumerate().map(|(at, number)| {
            let name = Name::Segment(*number);
            let bytes = self.read(name)?;
            let later = &self.listing.segments[at + 1..];
            let mut entries = 0;
            let end = self.records(*number, &bytes, later, |record| {
                entries += record.len() as u64;
                Ok::<_, OpenError>(true)
            })?;
            let content = Content::Segment { entries, end };
            Ok(FileRow { name, bytes: bytes.len() as u64, content })
        });
        snapshots.chain(segments)
    }

    /// Returns why a server cannot open this journal, if it is for a reason that repair does not mend.
    pub(crate) fn beyond_repair(&self) -> Result<Option<String>, OpenError> {
        let mut next = None;
        let mut goes_on = false;
        let missing = |number| {
            let missing = self.files.show(&Name::Segment(number).to_string());
            Ok(Some(format!("{missing} is missing")))
        };
        for row in self.rows() {
            let row = row?;
            let file = self.files.show(&row.name.to_string());
            match (row.name, row.content) {
                (Name::Snapshot(number), Content::Snapshot(Ok(()))) => next = Some(number),
                (Name::Snapshot(_), _) => {}
                (Name::Segment(number), Content::Segment { entries, end }) => {
                    let Some(expected) = next else { break };
                    if number < expected {
                        continue;
                    }
                    if number > expected {
                        return missing(expected);
                    }
                    if let End::Unreadable(why) = end {
                        return Ok(Some(format!("cannot use {file}: {why}")));
                    }
                    next = Some(number + entries);
                    goes_on = true;
                }
                (Name::Segment(_), Content::Snapshot(_)) => {}
            }
        }
        match next {
            None => Ok(Some("no snapshot can be used".to_owned())),
            // Each snapshot is followed by a segment.
            Some(expected) if !goes_on => missing(expected),
            Some(_) => Ok(None),
        }
    }

    /// Calls a function with the numbered entries of each record of a segment until it returns `false`.
    /// Returns how the segment ends.
    fn records<E>(
        &self,
        number: u64,
        bytes: &[u8],
        later: &[u64],
        mut each: impl FnMut(Vec<(u64, &[u8])>) -> Result<bool, E>,
    ) -> Result<End, E> {
        let segment = match Segment::read(bytes) {
            Ok(segment) => segment,
            Err(why) => return Ok(End::Unreadable(why)),
        };
        for record in segment {
            match record {
                Ok(record) => {
                    if !each((record.number..).zip(record.entries()).collect())? {
                        break;
                    }
                }
                Err(bad) => {
                    let size = bytes.len() as u64;
                    let torn = size - bad.offset;
                    let damage = damage(&self.files, number, bad, size, later);
                    return Ok(damage.map_or(End::Torn(torn), |it| End::Damaged(Box::new(it))));
                }
            }
        }
        Ok(End::Whole)
    }

    /// Calls a function with each entry from a number on, until it returns `false`.
    ///
    /// # Errors
    /// Returns an error at the first place that is damaged. What was before it was passed on.
    pub(crate) fn entries(
        &self,
        from: u64,
        mut each: impl FnMut(EntryRow) -> bool,
    ) -> Result<(), LookError> {
        let segments = &self.listing.segments;
        let first = segments.partition_point(|number| *number <= from).saturating_sub(1);
        let mut goes_on = true;
        for (at, number) in segments.iter().copied().enumerate().skip(first) {
            if !goes_on {
                break;
            }
            let bytes = self.read(Name::Segment(number))?;
            let end = self.records(number, &bytes, &segments[at + 1..], |record| {
                for (number, bytes) in record.into_iter().filter(|(number, _)| *number >= from) {
                    let envelope = stored::decode(bytes, Levels::KNOWN)
                        .map_err(|source| LookError::Entry { number, source })?;
                    goes_on = each(EntryRow { number, bytes: bytes.len(), envelope });
                    if !goes_on {
                        break;
                    }
                }
                Ok::<_, LookError>(goes_on)
            })?;
            match end {
                End::Whole | End::Torn(_) => {}
                End::Damaged(damage) => return Err(OpenError::Damaged(damage).into()),
                End::Unreadable(why) => {
                    let file = self.files.show(&Name::Segment(number).to_string());
                    return Err(OpenError::Header { file, why }.into());
                }
            }
        }
        Ok(())
    }

    /// Returns the state at an earlier time, and the number of the entry behind it.
    pub(crate) fn replay(&self, until: Until) -> Result<(State, u64), LookError> {
        let (mut state, mut next) = self.snapshot_before(until)?;
        let begin = next;
        self.entries(begin, |EntryRow { number, envelope, .. }| {
            let goes_on = until.includes(number, envelope.stamp.now);
            if goes_on {
                drop(state.apply(envelope));
                next = number + 1;
            }
            goes_on
        })?;
        Ok((state, next))
    }

    /// Returns the newest snapshot that is whole and not too new.
    fn snapshot_before(&self, until: Until) -> Result<(State, u64), LookError> {
        for number in self.listing.snapshots.iter().rev().copied() {
            let bytes = self.read(Name::Snapshot(number))?;
            let Ok(state) = snapshot::read(number, &bytes) else { continue };
            let state = match State::restore(state) {
                Ok(state) => state,
                Err(SnapshotError::Level(level)) => {
                    let file = self.files.show(&Name::Snapshot(number).to_string());
                    return Err(LookError::Level { file, level });
                }
                Err(_) => continue,
            };
            let is_early = match until {
                Until::End => true,
                Until::Time(until) => state.time() <= until,
                Until::Entry(end) => number <= end,
            };
            if is_early {
                return Ok((state, number));
            }
        }
        Err(LookError::TooEarly)
    }
}
