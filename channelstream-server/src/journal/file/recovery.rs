//! Recovery: from what is on the disk to the state, and to where writing goes on.

use std::io;
use std::sync::Arc;

use channelstream_core::state::stored::Levels;
use channelstream_core::state::{SnapshotError, State};
use thiserror::Error;

use super::super::compact::{Replay, ReplayError};
use super::disk::{DirectoryError, Disk, Files};
use super::log::{Fault, Log};
use super::names::{Listing, Name};
use super::segment::{Bad, HeaderError, Segment};
use super::snapshot;

/// Why a journal is not opened. Nothing of it was changed.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(
        "{directory} has files that are not of a journal ({names}): journal_dir needs a directory of its own"
    )]
    Foreign { directory: String, names: String },
    #[error("cannot {what} {file}")]
    Disk { what: &'static str, file: String, source: io::Error },
    #[error("cannot use {file}: {why}")]
    Header { file: String, why: HeaderError },
    #[error("no snapshot can be used; the newest, {file}: {why}")]
    NoSnapshot { file: String, why: String },
    #[error("{file} is missing")]
    Missing { file: String },
    #[error("{0}")]
    Damaged(Box<Damage>),
    #[error("cannot replay {file}")]
    Replay { file: String, source: ReplayError },
    #[error(transparent)]
    Write(#[from] Fault),
    #[error("the thread of the journal could not be started")]
    Thread(#[source] io::Error),
}

/// A place of the journal that is not what was written.
#[derive(Debug, Error)]
#[error(
    "{file} is damaged at byte {}: {}. {proof}, so that this was on disk. `channelstream-server journal repair` \
     would cut the journal there, and drop {bytes} bytes with the entries from {} to {last} at least",
    .bad.offset, .bad.why, .bad.number
)]
pub(crate) struct Damage {
    pub(crate) file: String,
    /// The number of the segment.
    pub(crate) segment: u64,
    pub(crate) bad: Bad,
    /// What says that the bad record was on disk.
    pub(crate) proof: String,
    /// How many bytes are behind the place.
    pub(crate) bytes: u64,
    /// The last entry that is known to be behind the place.
    pub(crate) last: u64,
}

/// The last snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    pub(super) number: u64,
    pub(super) size: u64,
}

/// What was found on the disk.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) known: Levels,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) log: Log,
    pub(super) base: Base,
    /// The size of what followed the snapshot, in bytes.
    pub(super) followed: u64,
    /// How many entries followed it.
    pub(super) entries: u64,
    /// How many bytes were cut from a torn end.
    pub(super) cut: u64,
}

/// Restores the newest snapshot that is whole, applies what followed, and cuts a torn end. A directory
/// without a journal gets one, which begins with `initial`. A journal at a level that is not known is left as it is.
pub(super) fn recover(
    disk: Arc<dyn Disk>,
    known: Levels,
    initial: impl FnOnce() -> State,
    most: u64,
    salt: fn() -> u64,
) -> Result<Recovered, OpenError> {
    let listing = list(&*disk)?;
    if is_unbegun(&*disk, &listing)? {
        remove_unfinished(&*disk, &listing)?;
        return begin(disk, known, initial(), most, salt);
    }
    let (mut replay, base) = newest_snapshot(&*disk, known, &listing)?;
    let segments: Vec<u64> =
        listing.segments.iter().copied().filter(|number| *number >= base.number).collect();
    let mut followed = 0;
    let mut end = None;
    for (at, number) in segments.iter().copied().enumerate() {
        let name = Name::Segment(number).to_string();
        // A hole: a segment begins where the one before ended.
        if number != replay.number() {
            return Err(OpenError::Missing {
                file: disk.show(&Name::Segment(replay.number()).to_string()),
            });
        }
        let bytes = disk.read(&name).map_err(failed(&*disk, "read", &name))?;
        let later = &segments[at + 1..];
        let read = replay_segment(&*disk, number, &bytes, later, &mut replay)?;
        followed += read.length;
        end = Some((read, bytes.len() as u64));
    }
    remove_unfinished(&*disk, &listing)?;
    let entries = replay.number() - base.number;
    let (log, cut) = match end {
        Some((read, size)) => {
            let end = (read.length, replay.number());
            let log = Log::open(Arc::clone(&disk), read.header, end, most, salt)?;
            (log, size - read.length)
        }
        None => {
            let file = disk.show(&Name::Segment(base.number).to_string());
            return Err(OpenError::Missing { file });
        }
    };
    Ok(Recovered { state: replay.into_state(), known, disk, log, base, followed, entries, cut })
}

/// Lists the files of a directory, which are those of a journal alone.
pub(super) fn list(files: &dyn Files) -> Result<Listing, OpenError> {
    let listing = Listing::new(files.names().map_err(failed(files, "list", ""))?);
    if listing.foreign.is_empty() {
        return Ok(listing);
    }
    let names = listing.foreign.into_iter().take(3).collect::<Vec<_>>().join(", ");
    Err(OpenError::Foreign { directory: files.show(""), names })
}

/// Removes what a start or a snapshot that was broken off left.
fn remove_unfinished(disk: &dyn Disk, listing: &Listing) -> Result<(), OpenError> {
    for name in &listing.unfinished {
        disk.remove(name).map_err(failed(disk, "remove", name))?;
    }
    Ok(())
}

/// Returns `true` if there is no journal, or one whose beginning was broken off before its snapshot was there.
fn is_unbegun(disk: &dyn Disk, listing: &Listing) -> Result<bool, OpenError> {
    Ok(match &listing.segments[..] {
        _ if !listing.snapshots.is_empty() => false,
        [] => true,
        [0] => {
            let name = Name::Segment(0).to_string();
            let bytes = disk.read(&name).map_err(failed(disk, "read", &name))?;
            // Nothing was accepted yet.
            Segment::read(&bytes).is_ok_and(|segment| segment.count() == 0)
        }
        _ => false,
    })
}

/// Begins a journal. Its first segment is there before its first snapshot, so that a snapshot without a
/// segment is one whose segments were lost.
fn begin(
    disk: Arc<dyn Disk>,
    known: Levels,
    state: State,
    most: u64,
    salt: fn() -> u64,
) -> Result<Recovered, OpenError> {
    let log = Log::create(Arc::clone(&disk), 0, most, salt)?;
    let name = Name::Snapshot(0).to_string();
    let bytes = snapshot::to_bytes(0, &state.snapshot());
    drop(disk.create(&name, &bytes).map_err(failed(&*disk, "write", &name))?);
    let base = Base { number: 0, size: bytes.len() as u64 };
    Ok(Recovered { state, known, disk, log, base, followed: 0, entries: 0, cut: 0 })
}

/// Restores the newest snapshot that is whole.
fn newest_snapshot(
    disk: &dyn Disk,
    known: Levels,
    listing: &Listing,
) -> Result<(Replay, Base), OpenError> {
    let mut newest = None;
    for number in listing.snapshots.iter().rev().copied() {
        let name = Name::Snapshot(number).to_string();
        let file = disk.show(&name);
        let bytes = disk.read(&name).map_err(failed(disk, "read", &name))?;
        let why = match snapshot::read(number, &bytes) {
            Ok(state) => match Replay::restore(state, number, known) {
                Ok(replay) => return Ok((replay, Base { number, size: bytes.len() as u64 })),
                Err(why @ SnapshotError::Level(_)) => {
                    let source = ReplayError::Snapshot(why);
                    return Err(OpenError::Replay { file, source });
                }
                Err(why) => why.to_string(),
            },
            Err(why @ HeaderError::Newer { .. }) => return Err(OpenError::Header { file, why }),
            Err(why) => why.to_string(),
        };
        tracing::warn!(file, why, "a snapshot cannot be used; taking the one before");
        newest.get_or_insert((file, why));
    }
    let (file, why) = newest.unwrap_or_else(|| (disk.show("snapshot"), "there is none".to_owned()));
    Err(OpenError::NoSnapshot { file, why })
}

/// The end of a segment that was read.
#[derive(Debug)]
pub(super) struct Read {
    header: super::segment::Header,
    length: u64,
}

/// Applies the entries of a segment, up to its torn end if it is the last one. `later` are the numbers
/// of the segments behind it.
pub(super) fn replay_segment(
    disk: &dyn Disk,
    number: u64,
    bytes: &[u8],
    later: &[u64],
    replay: &mut Replay,
) -> Result<Read, OpenError> {
    let name = Name::Segment(number).to_string();
    let of_header = |why| OpenError::Header { file: disk.show(&name), why };
    let mut segment = Segment::read(bytes).map_err(of_header)?;
    if segment.header().number != number {
        return Err(of_header(HeaderError::Damaged));
    }
    for record in segment.by_ref() {
        match record {
            Ok(record) => {
                for entry in record.entries() {
                    replay.apply(entry).map_err(|source| {
                        let file = disk.show(&name);
                        OpenError::Replay { file, source }
                    })?;
                }
            }
            Err(bad) => {
                if let Some(damage) = damage(disk, number, bad, bytes.len() as u64, later) {
                    return Err(OpenError::Damaged(Box::new(damage)));
                }
                break;
            }
        }
    }
    Ok(Read { header: segment.header(), length: segment.offset() })
}

/// Tells a damaged record from a torn one, of which nothing says that it was on disk.
pub(super) fn damage(
    disk: &dyn Files,
    segment: u64,
    bad: Bad,
    size: u64,
    later: &[u64],
) -> Option<Damage> {
    let proof = match (later.first(), bad.proof) {
        (_, Some(offset)) => format!("The record at byte {offset} was written after it"),
        // The next segment is made once this one is on disk.
        (Some(next), None) => format!("{} was made after it", Name::Segment(*next)),
        (None, None) => return None,
    };
    let behind = later.iter().filter_map(|number| {
        let bytes = disk.read(&Name::Segment(*number).to_string()).ok()?;
        Some(bytes.len() as u64)
    });
    let bytes = size - bad.offset + behind.sum::<u64>();
    let until = later.last().copied().max(bad.whole_until).unwrap_or_default();
    let last = until.saturating_sub(1).max(bad.number);
    let file = disk.show(&Name::Segment(segment).to_string());
    Some(Damage { file, segment, bad, proof, bytes, last })
}

pub(super) fn failed(
    disk: &dyn Files,
    what: &'static str,
    name: &str,
) -> impl FnOnce(io::Error) -> OpenError + use<> {
    let file = disk.show(name);
    move |source| OpenError::Disk { what, file, source }
}
