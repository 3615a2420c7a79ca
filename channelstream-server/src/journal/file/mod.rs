//! A journal in files: a directory of segments, which hold the entries, and of snapshots.
//!
//! A snapshot is the state before the entry of its number, and a segment begins with the entry of its number.
//! The newest two snapshots are kept, and the segments from the older of them on, so that a snapshot that
//! became unreadable costs time and nothing else.

#[cfg(test)]
mod dice;
mod disk;
pub(crate) mod doctor;
pub(crate) mod inspect;
mod log;
#[cfg(test)]
mod model;
mod names;
mod pen;
mod reader;
mod recovery;
pub(crate) mod repair;
mod segment;
mod snapshot;
mod snapshots;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use channelstream_core::state::State;
use channelstream_core::state::stored::Levels;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{Appender, CAPACITY, Figures, Opened};
use crate::clock;
use crate::config::JournalSync;
use crate::thread::Thread;
use disk::{Directory, Looked};
use pen::{Pen, Shared};
use recovery::{Recovered, list, recover};

pub(crate) use reader::Reader;
pub(crate) use recovery::OpenError;
pub(crate) use writer::{Writer, WriterError};

/// Opens the journal of a directory.
pub(super) fn open(
    directory: &Path,
    sync: JournalSync,
    known: Levels,
    initial: impl FnOnce() -> State,
) -> Result<Opened, OpenError> {
    let begun = Instant::now();
    // A directory of others gets no lock either.
    if let Err(foreign @ OpenError::Foreign { .. }) = list(&Looked(directory.to_owned())) {
        return Err(foreign);
    }
    let disk = Arc::new(Directory::open(directory)?);
    if disk::others_write(directory) {
        tracing::warn!("{}: chmod 700 {}", disk::of_others(directory), directory.display());
    }
    let recovered = recover(disk, known, initial, log::SEGMENT, clock::salt)?;
    let Recovered { entries, cut, base, .. } = &recovered;
    if *cut > 0 {
        tracing::warn!(
            bytes = cut,
            "the journal ended within a record, which was cut: it had not been on disk as a whole"
        );
    }
    tracing::info!(
        snapshot = base.number,
        entries,
        bytes_cut = cut,
        milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        "the journal was replayed"
    );
    let thread = Thread::start().map_err(OpenError::Thread)?;
    Ok(start(recovered, sync, thread.handle(), Some(thread)))
}

/// Makes the two ends of a journal and what is between. Snapshots are made on `runtime`, which `thread`
/// is if it is given.
fn start(
    recovered: Recovered,
    sync: JournalSync,
    runtime: Handle,
    thread: Option<Thread>,
) -> Opened {
    let Recovered { state, known, log, disk, base, followed, .. } = recovered;
    let figures = Arc::new(Figures::new(state.level(), followed, base.size));
    let (sender, envelopes) = mpsc::channel(CAPACITY);
    let (pass, passed) = mpsc::channel(writer::PASSED);
    let lends = sync != JournalSync::Always && disk.is_quick();
    let snapshots = snapshots::Snapshots::new((disk, known), base, log.most(), (runtime, thread));
    let shared = Shared::new(Pen::new(log, sync, envelopes, followed, Arc::clone(&figures)));
    let reader = Reader::new(Arc::downgrade(&shared), passed, lends);
    let writer = Writer::new(shared, pass, lends, snapshots, Arc::clone(&figures));
    let appender = Appender::File { envelopes: sender, figures };
    Opened {
        appender,
        reader: super::Reader::File(reader),
        state,
        known,
        node: None,
        clock: None,
        writer: Some(super::Writer::File(Box::new(writer))),
    }
}
