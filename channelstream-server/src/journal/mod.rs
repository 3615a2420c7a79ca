//! The journal: the one order of all envelopes.
//!
//! Each envelope that [`Appender::append`] accepted comes back from [`Reader::next`] exactly once: either
//! as [`Given::Entry`], in the order of acceptance, or as [`Given::Undone`], which says that it was not
//! done and never will be. `append` fails at once when the journal is full or has no space; it does not
//! wait without bound, and neither does it hold more than its bounds. Only what the journal returns
//! changes the state.
//!
//! A journal in memory lives as long as the process. One in files outlives it: an entry is
//! given out only once it is written, and with [`JournalSync::Always`](crate::config::JournalSync) only once it is on disk, so that nobody has
//! seen what is gone after a crash. [`open`] returns the state as all entries that were given out left it.

mod compact;
mod figures;
pub(crate) mod file;
mod memory;
#[cfg(test)]
pub(crate) mod redis;
mod running;
mod shared;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use channelstream_core::state::{Envelope, Position, State};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::config::Journal;

pub(crate) use figures::Figures;
pub(crate) use file::{OpenError, Writer};
pub(crate) use running::Running;
pub use shared::SharedJournal;

/// How many envelopes may wait. They are written and applied in microseconds: if so many are waiting, the
/// machine is far behind, and to refuse more is better than to queue them.
const CAPACITY: usize = 8192;

/// The reason why the journal refused an envelope. Nothing was done.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// As many envelopes are waiting as the journal holds.
    #[error("the journal is full")]
    Full,
    /// There is no space for the journal. It is tried again.
    #[error("the journal's disk is full")]
    NoSpace,
    /// The reader is gone, because the server is stopping.
    #[error("the journal is closed")]
    Closed,
}

/// What the journal gives out.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are entries, which move as they are")]
pub(crate) enum Given {
    /// The next envelope in the one order. It has to be applied.
    Entry(Envelope),
    /// An envelope of this node that was accepted, was not done, and will not be.
    Undone {
        /// The number by which the node recognizes it.
        number: u64,
        why: Error,
    },
}

/// Whether the journal takes and gives out envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Following,
    /// There is no space to write to. It is tried again each second.
    NoSpace,
    /// It takes no envelope any more.
    Ended,
}

impl Standing {
    pub(crate) const ALL: [Self; 3] = [Self::Following, Self::NoSpace, Self::Ended];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::NoSpace => "no_space",
            Self::Ended => "ended",
        }
    }
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) appender: Appender,
    pub(crate) reader: Reader,
    /// The state as the journal left it.
    pub(crate) state: State,
    /// The clock of its stamps, if others stamp by it too.
    pub(crate) clock: Option<Clock>,
    /// What writes files, which has to be run.
    pub(crate) writer: Option<Writer>,
}

/// The end of the journal that accepts envelopes.
#[derive(Clone, Debug)]
pub(crate) enum Appender {
    Memory(mpsc::Sender<Given>),
    File { envelopes: mpsc::Sender<Envelope>, figures: Arc<Figures> },
    Shared(shared::Shares),
}

/// The end of the journal that returns envelopes.
#[derive(Debug)]
pub(crate) struct Reader(mpsc::Receiver<Given>);

/// Opens a journal. One that is new begins with `initial`.
///
/// This blocks while it reads files.
pub(crate) fn open(
    journal: &Journal,
    initial: impl FnOnce() -> State,
) -> Result<Opened, OpenError> {
    match journal {
        Journal::Memory => {
            let (appender, reader) = memory::open();
            Ok(Opened { appender, reader, state: initial(), clock: None, writer: None })
        }
        Journal::File { directory, sync } => file::open(directory, *sync, initial),
    }
}

impl Appender {
    /// Takes an envelope, if there is room for it.
    pub(crate) fn append(&self, envelope: Envelope) -> Result<(), Error> {
        match self {
            Self::Memory(entries) => {
                entries.try_send(Given::Entry(envelope)).map_err(|error| refusal(&error))
            }
            Self::File { figures, .. } if figures.has_no_space.load(Ordering::Relaxed) => {
                Err(Error::NoSpace)
            }
            Self::File { envelopes, .. } => {
                envelopes.try_send(envelope).map_err(|error| refusal(&error))
            }
            Self::Shared(shares) => shares.append(envelope),
        }
    }

    /// Returns whether the journal takes and gives out envelopes.
    pub(crate) fn standing(&self) -> Standing {
        match self {
            Self::Memory(entries) if !entries.is_closed() => Standing::Following,
            Self::File { envelopes, figures } if !envelopes.is_closed() => {
                match figures.has_no_space.load(Ordering::Relaxed) {
                    true => Standing::NoSpace,
                    false => Standing::Following,
                }
            }
            Self::Shared(shares) if !shares.is_closed() => Standing::Following,
            Self::Memory(_) | Self::File { .. } | Self::Shared(_) => Standing::Ended,
        }
    }

    /// Returns `true` if others have to know what the listeners of this node were sent: it is not over with
    /// this process, or others read it.
    pub(crate) fn outlives_this(&self) -> bool {
        !matches!(self, Self::Memory(_))
    }

    /// Returns the position of the newest envelope that others may have appended; the beginning, if there
    /// are no others.
    pub(crate) fn end(&self) -> Position {
        match self {
            Self::Shared(shares) => shares.end(),
            Self::Memory(_) | Self::File { .. } => Position::default(),
        }
    }

    /// Returns what a journal in files counts.
    pub(crate) fn figures(&self) -> Option<&Figures> {
        match self {
            Self::Memory(_) | Self::Shared(_) => None,
            Self::File { figures, .. } => Some(figures),
        }
    }
}

fn refusal<T>(error: &mpsc::error::TrySendError<T>) -> Error {
    match error {
        mpsc::error::TrySendError::Full(_) => Error::Full,
        mpsc::error::TrySendError::Closed(_) => Error::Closed,
    }
}

impl Reader {
    /// Waits for what the journal gives out, and appends up to `most` of it to `batch`. Returns how much,
    /// which is 0 if the journal is closed.
    pub(crate) async fn next(&mut self, batch: &mut Vec<Given>, most: usize) -> usize {
        self.0.recv_many(batch, most).await
    }
}
