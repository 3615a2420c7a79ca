//! The journal: the one order of all envelopes.
//!
//! Each envelope that [`Appender::append`] accepted comes back from [`Reader::next`] exactly once: either
//! as [`Given::Entry`], in the order of acceptance, or as [`Given::Undone`], which says that it was not
//! done and never will be. `append` fails at once when the journal is full or has no space; it does not
//! wait without bound, and neither does it hold more than its bounds. Only what the journal returns
//! changes the state.
//!
//! A journal in memory lives as long as the process. One in files outlives it: an entry is given out only once
//! it is written, and with [`JournalSync::Always`](crate::config::JournalSync) only once it is on disk, so
//! that nobody has seen what is gone after a crash. [`open`] returns the state as all entries that were given
//! out left it. One in Redis is shared by several nodes and outlives them all. It is away at times, and
//! then refuses at once; and it may go on from another state, which it gives out as [`Given::Restart`].

mod compact;
mod figures;
pub(crate) mod file;
pub(crate) mod finding;
mod memory;
pub(crate) mod redis;
mod running;
mod shared;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use channelstream_core::state::stored::Levels;
use channelstream_core::state::{Envelope, NodeId, Position, State};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::config::Journal;

pub(crate) use figures::Figures;
pub(crate) use redis::Figures as RedisFigures;
pub(crate) use running::Running;
pub use shared::SharedJournal;

/// How many envelopes may wait. They are written and applied in microseconds: if so many are waiting, the
/// machine is far behind, and to refuse more is better than to queue them.
const CAPACITY: usize = 8192;

/// The reason why the journal refused an envelope. Nothing was done, unless it says so.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// As many envelopes are waiting as the journal holds.
    #[error("the journal is full")]
    Full,
    /// There is no space for the journal. It is tried again.
    #[error("the journal's disk is full")]
    NoSpace,
    /// Redis has no memory for it.
    #[error("the journal is full: Redis has no memory left (maxmemory)")]
    NoMemory,
    /// Redis does not write, for another reason.
    #[error("the journal takes nothing now: Redis does not write (its answer is in the log)")]
    NoWrites,
    /// Redis cannot be reached, or this node still reads what it missed.
    #[error("the journal in Redis is away")]
    Away,
    /// Redis did not take it in time.
    #[error("the journal in Redis did not take it in time")]
    Late,
    /// It was sent to Redis, and nothing tells what became of it.
    #[error("the journal in Redis did not confirm it: it may have been done, or may be yet")]
    InDoubt,
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
    /// The order goes on from another state.
    Restart(Box<State>),
    /// The journal wants the state as all that was given out so far left it.
    Snapshot(oneshot::Sender<Vec<u8>>),
}

/// Whether the journal takes and gives out envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Following,
    /// There is no space to write to, or Redis does not write. It is tried again.
    NoSpace,
    /// It loads the state, or reads what it missed.
    Joining,
    /// It has no connection.
    Away,
    /// It takes no envelope any more.
    Ended,
}

impl Standing {
    pub(crate) const ALL: [Self; 5] =
        [Self::Following, Self::NoSpace, Self::Joining, Self::Away, Self::Ended];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::NoSpace => "no_space",
            Self::Joining => "joining",
            Self::Away => "away",
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
    /// The levels that this node knows.
    pub(crate) known: Levels,
    /// The clock of its stamps, if others stamp by it too.
    pub(crate) clock: Option<Clock>,
    /// The id of this node, if the journal has chosen it.
    pub(crate) node: Option<NodeId>,
    /// What writes files or speaks with Redis, which has to be run.
    pub(crate) writer: Option<Writer>,
}

/// The end of the journal that accepts envelopes.
#[derive(Clone, Debug)]
pub(crate) enum Appender {
    Memory(mpsc::Sender<Given>),
    File { envelopes: mpsc::Sender<Envelope>, figures: Arc<Figures> },
    Shared(shared::Shares),
    Redis(redis::Shared),
}

/// What writes files or speaks with Redis. It blocks the thread that runs it.
#[derive(Debug)]
pub(crate) enum Writer {
    File(Box<file::Writer>),
    Redis(Box<redis::Driver>),
}

impl Writer {
    /// Runs until `stop` completes and what was accepted is done, or until nobody reads any more.
    ///
    /// # Errors
    /// Returns an error if the disk fails, or if Redis cannot hold the journal.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> Result<(), WriterError> {
        match self {
            Self::File(writer) => Ok(writer.run(stop).await?),
            Self::Redis(driver) => Ok(driver.run(stop).await?),
        }
    }
}

/// What ended a writer.
#[derive(Debug, Error)]
pub(crate) enum WriterError {
    #[error(transparent)]
    File(#[from] file::WriterError),
    #[error(transparent)]
    Redis(#[from] redis::Refusal),
}

/// Why a journal cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    File(#[from] file::OpenError),
    #[error(transparent)]
    Redis(#[from] redis::UrlError),
}

/// The end of the journal that returns envelopes.
#[derive(Debug)]
pub(crate) enum Reader {
    Queue(mpsc::Receiver<Given>),
    File(file::Reader),
}

/// Opens a journal for a node that knows these levels. One that is new begins with `initial`.
///
/// This blocks while it reads files.
pub(crate) fn open(
    journal: &Journal,
    known: Levels,
    initial: impl FnOnce() -> State,
) -> Result<Opened, OpenError> {
    match journal {
        Journal::Memory => {
            let (appender, reader) = memory::open();
            // Nobody else reads it, and it ends with this process.
            let state = initial().at_level(known.newest);
            Ok(Opened { appender, reader, state, known, node: None, clock: None, writer: None })
        }
        Journal::File { directory, sync } => Ok(file::open(directory, *sync, known, initial)?),
        Journal::Redis(journal) => Ok(redis::open(journal, known, initial)?),
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
            Self::Redis(shared) => shared.append(envelope),
        }
    }

    /// Returns the word of the setting `journal`, or `shared` for what the nodes of one process share.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::File { .. } => "file",
            Self::Shared(_) => "shared",
            Self::Redis(_) => "redis",
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
            Self::Redis(shared) => shared.standing(),
            Self::Memory(_) | Self::File { .. } | Self::Shared(_) => Standing::Ended,
        }
    }

    /// Returns `true` if others have to know what the listeners of this node were sent: it is not over with
    /// this process, or others read it.
    pub(crate) fn outlives_this(&self) -> bool {
        !matches!(self, Self::Memory(_))
    }

    /// Returns `true` if only this node appends, so that its run begins an epoch.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Memory(_) | Self::File { .. })
    }

    /// Returns the position of the newest envelope that others may have appended; the beginning, if there
    /// are no others.
    ///
    /// # Errors
    /// Returns an error if nobody can say.
    pub(crate) async fn end(&self) -> Result<Position, Error> {
        match self {
            Self::Shared(shares) => Ok(shares.end()),
            Self::Redis(shared) => shared.end().await,
            Self::Memory(_) | Self::File { .. } => Ok(Position::default()),
        }
    }

    /// Says whether this node is the one that does what one node does for all.
    pub(crate) fn lead(&self, leads: bool) {
        if let Self::Redis(shared) = self {
            shared.lead(leads);
        }
    }

    /// Says which level is in force, at which entries are stored.
    pub(crate) fn set_level(&self, level: u32) {
        match self {
            Self::File { figures, .. } => {
                if figures.level.swap(level, Ordering::Relaxed) < level {
                    figures.is_raised.store(true, Ordering::Relaxed);
                }
            }
            Self::Redis(shared) => shared.set_level(level),
            Self::Memory(_) | Self::Shared(_) => {}
        }
    }

    /// Returns what a journal in files counts.
    pub(crate) fn figures(&self) -> Option<&Figures> {
        match self {
            Self::File { figures, .. } => Some(figures),
            Self::Memory(_) | Self::Shared(_) | Self::Redis(_) => None,
        }
    }

    /// Returns what a journal in Redis counts.
    pub(crate) fn redis_figures(&self) -> Option<&RedisFigures> {
        match self {
            Self::Redis(shared) => Some(shared.figures()),
            Self::Memory(_) | Self::File { .. } | Self::Shared(_) => None,
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
        match self {
            Self::Queue(given) => given.recv_many(batch, most).await,
            Self::File(reader) => reader.next(batch, most).await,
        }
    }
}
