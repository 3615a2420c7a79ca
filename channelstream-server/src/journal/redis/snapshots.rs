//! Snapshots in Redis: in parts, so that no command stops Redis for long. The next one is made by replaying
//! what followed, on a thread of its own, as a start does it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::{Order, Position, SnapshotError, State};
use redis::aio::MultiplexedConnection;
use thiserror::Error;
use tokio::sync::oneshot;

use super::super::compact::{Replay, ReplayError};
use super::answer::{self, Stream};
use super::command::{self, CHUNK, Maker, Trouble};
use super::protocol::message::Head;
use super::target::Target;
use crate::thread::Thread;

/// How many entries are read at once to be replayed.
const ENTRIES: usize = 512;

/// How often a snapshot is read anew that was replaced meanwhile.
const TRIES: usize = 3;

/// When the next snapshot is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// What followed the last one exceeds this size in bytes, and so many times its size.
    pub(super) bytes: u64,
    pub(super) times: u64,
    /// Or it is as old as that.
    pub(super) age: Duration,
    /// The newest one that is known.
    pub(super) known: Option<Position>,
}

impl Default for Due {
    fn default() -> Self {
        Self { bytes: 64 << 20, times: 2, age: Duration::from_hours(1), known: None }
    }
}

impl Due {
    /// Returns `true` if a snapshot of `size`, after which `followed` bytes came, is to be replaced.
    pub(super) fn is_due(&self, size: u64, followed: u64, age: Option<Duration>) -> bool {
        let is_large = followed > self.bytes.max(size.saturating_mul(self.times));
        is_large || followed > 0 && age.is_none_or(|age| age >= self.age)
    }
}

/// Reads the newest snapshot, and returns where it is.
async fn read(
    line: &mut MultiplexedConnection,
    maker: &Maker,
    heard: &AtomicU64,
) -> Result<Option<(Position, Vec<u8>)>, Trouble> {
    for _ in 0..TRIES {
        let newest = command::run_one(line, &maker.newest_snapshot()).await?;
        let Some((position, count)) = answer::newest_snapshot(newest)? else { return Ok(None) };
        if let Some(bytes) = read_chunks(line, maker, position, count, heard).await? {
            return Ok(Some((position, bytes)));
        }
    }
    // To begin without it would lose everything.
    Err(Trouble::Snapshot("a part of it is missing".to_owned()))
}

async fn read_chunks(
    line: &mut MultiplexedConnection,
    maker: &Maker,
    position: Position,
    count: usize,
    heard: &AtomicU64,
) -> Result<Option<Vec<u8>>, Trouble> {
    let mut bytes = Vec::new();
    for number in 0..count {
        match command::run_one(line, &maker.load_chunk(position, number)).await? {
            redis::Value::Nil => return Ok(None),
            chunk => bytes.extend(command::bytes(chunk)?),
        }
        heard.fetch_add(1, Ordering::Relaxed);
    }
    Ok(Some(bytes))
}

/// Returns `true` if the newest snapshot has all its parts and all entries behind it are there. What is in them
/// shows when they are read.
pub(super) async fn is_whole(
    mut line: MultiplexedConnection,
    maker: &Maker,
    head: &Head,
) -> Result<bool, Trouble> {
    let epochs = command::run_one(&mut line, &maker.epochs()).await?;
    if command::text(epochs).ok() != Some(command::epochs_as_text(&head.epochs)) {
        return Err(Trouble::Head);
    }
    let newest = command::run_one(&mut line, &maker.newest_snapshot()).await?;
    let newest = match answer::newest_snapshot(newest) {
        Err(Trouble::Snapshot(_)) => None,
        newest => newest?,
    };
    let Some((position, chunks)) = newest else { return Ok(false) };
    let unusable = command::run_one(&mut line, &maker.unusable()).await?;
    if unusable == redis::Value::BulkString(command::id(position).into_bytes()) {
        return Ok(false);
    }
    let answers = command::run(&mut line, &maker.parts_and_stream(position, chunks)).await?;
    let (parts, stream) = answer::parts_and_stream(answers)?;
    Ok(parts == chunks && head.is_all_there(position, stream))
}

/// A snapshot that was loaded: the state, and how many bytes it had.
pub(super) type Loaded = Option<(Order, Box<State>, u64)>;

/// Loads the newest snapshot.
pub(super) async fn load(
    mut line: MultiplexedConnection,
    maker: Maker,
    heard: Arc<AtomicU64>,
) -> Result<Loaded, Trouble> {
    let read = match read(&mut line, &maker, &heard).await {
        Err(trouble) if trouble.is_wrong_type() => {
            let newest = command::run_one(&mut line, &maker.newest_snapshot()).await?;
            if let Some((position, _)) = answer::newest_snapshot(newest)? {
                command::run_one(&mut line, &maker.note_unusable(position)).await?;
            }
            return Err(Trouble::Snapshot(trouble.to_string()));
        }
        read => read?,
    };
    let Some((position, bytes)) = read else { return Ok(None) };
    let known = maker.known;
    let restoring = tokio::task::spawn_blocking(move || {
        State::restore_for(&bytes, known).map(|state| (Box::new(state), bytes.len() as u64))
    });
    let mut restoring = std::pin::pin!(restoring);
    let restored = loop {
        // Redis is not waited for meanwhile.
        match tokio::time::timeout(Duration::from_millis(100), &mut restoring).await {
            Ok(restored) => break restored,
            Err(_) => heard.fetch_add(1, Ordering::Relaxed),
        };
    };
    let restored = restored.map_err(|error| Trouble::Snapshot(error.to_string()))?;
    let (state, size) = match restored {
        Ok(restored) => restored,
        Err(SnapshotError::Level(level)) => return Err(Trouble::Unfit(level.into())),
        Err(error) => {
            // Whoever makes snapshots makes another one.
            command::run_one(&mut line, &maker.note_unusable(position)).await?;
            return Err(Trouble::Snapshot(error.to_string()));
        }
    };
    Ok(Some((state.order().clone(), state, size)))
}

/// Stores the parts of a snapshot, which live for a while only. Returns how many they are.
pub(super) async fn store(
    line: &mut MultiplexedConnection,
    maker: &Maker,
    position: Position,
    bytes: &[u8],
    heard: &AtomicU64,
) -> Result<usize, Trouble> {
    for (number, part) in bytes.chunks(CHUNK).enumerate() {
        command::run_one(line, &maker.store_chunk(position, number, part)).await?;
        heard.fetch_add(1, Ordering::Relaxed);
    }
    Ok(bytes.len().div_ceil(CHUNK))
}

/// A snapshot that is to be the newest one.
pub(super) struct Save {
    pub(super) epoch: Epoch,
    pub(super) position: Position,
    /// The snapshot, unless its parts are in Redis.
    pub(super) bytes: Bytes,
    /// How many parts of it are in Redis.
    pub(super) stored: usize,
}

impl Save {
    /// Stores it. Returns `false` if it is not wanted any more.
    pub(super) async fn run(
        self,
        line: &mut MultiplexedConnection,
        maker: &Maker,
        heard: &AtomicU64,
    ) -> Result<bool, Trouble> {
        let Self { epoch, position, bytes, stored } = self;
        let stored = match stored {
            0 => store(line, maker, position, &bytes, heard).await?,
            stored => stored,
        };
        let save = maker.save(epoch, position, stored);
        let replaced = answer::saved(command::run_one(line, &save).await?)?;
        let newest = command::run_one(line, &maker.newest_snapshot()).await?;
        let newest = answer::newest_snapshot(newest)?;
        // A replaced one is still read by those that just start.
        if let Some((position, chunks)) = replaced {
            command::run(line, &maker.let_go(position, chunks)).await?;
        }
        Ok(newest.is_some_and(|(at, _)| at == position))
    }
}

/// A snapshot that was made, the parts of which are in Redis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) position: Position,
    pub(super) chunks: usize,
    pub(super) size: u64,
    /// The size of the entries between the snapshot before and this one.
    pub(super) covered: u64,
    pub(super) time: Duration,
}

/// Why no snapshot was made.
#[derive(Debug, Error)]
pub(super) enum MakeError {
    #[error(transparent)]
    Trouble(#[from] Trouble),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("the entries before {} are missing", command::id(*.0))]
    Hole(Position),
    #[error("the entry {at} cannot be read: {trouble}")]
    Unreadable { at: String, trouble: Trouble },
    #[error("there is none to begin with")]
    Nothing,
    #[error("a thread cannot be started")]
    Thread(#[from] io::Error),
    #[error("its thread has ended")]
    Ended,
}

impl MakeError {
    /// Returns `true` if what Redis holds is no snapshot with entries that follow it.
    pub(super) fn is_of_what_is_in_redis(&self) -> bool {
        match self {
            Self::Trouble(trouble) => {
                trouble.is_wrong_type()
                    || matches!(trouble, Trouble::Snapshot(_) | Trouble::Unreadable(_))
            }
            Self::Replay(_) | Self::Hole(_) | Self::Unreadable { .. } | Self::Nothing => true,
            Self::Thread(_) | Self::Ended => false,
        }
    }
}

/// What the making of a snapshot came to. The other one is what another node has made meanwhile, after which
/// none is due.
pub(super) type Outcome = Result<Result<Made, Made>, MakeError>;

/// The making of a snapshot, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Making {
    outcome: oneshot::Receiver<Outcome>,
    _thread: Thread,
}

impl Making {
    /// Begins to make a snapshot of the state at `until`. Redis has this head and leads there.
    pub(super) fn start(
        target: Target,
        maker: Maker,
        head: Head,
        until: Position,
        due: Due,
    ) -> Result<Self, MakeError> {
        let thread = Thread::start()?;
        let (tell, outcome) = oneshot::channel();
        thread.handle().spawn(async move {
            let made = make(&target, &maker, &head, until, due).await;
            // Who asked may be gone.
            let _ = tell.send(made);
        });
        Ok(Self { outcome, _thread: thread })
    }

    pub(super) async fn outcome(&mut self) -> Outcome {
        (&mut self.outcome).await.unwrap_or(Err(MakeError::Ended))
    }
}

/// Waits for what the making of a snapshot comes to, or forever without one.
pub(super) async fn outcome_of(making: Option<&mut Making>) -> Outcome {
    match making {
        Some(making) => making.outcome().await,
        None => std::future::pending().await,
    }
}

async fn make(target: &Target, maker: &Maker, head: &Head, until: Position, due: Due) -> Outcome {
    let begun = Instant::now();
    let heard = AtomicU64::default();
    let (mut line, _) = target.line().await?;
    let Replayed { replay, from, size, followed, .. } =
        replay(&mut line, maker, head, until).await?;
    let position = replay.state().order().position();
    if due.known != Some(from) && !due.is_due(size, followed, Some(Duration::ZERO)) {
        let (position, time) = (from, Duration::ZERO);
        return Ok(Err(Made { position, chunks: 0, size, covered: followed, time }));
    }
    let bytes = Bytes::from(replay.into_snapshot()?);
    let chunks = store(&mut line, maker, position, &bytes, &heard).await?;
    let (size, time) = (bytes.len() as u64, begun.elapsed());
    Ok(Ok(Made { position, chunks, size, covered: followed, time }))
}

/// The state as the newest snapshot and the entries behind it lead to it.
#[derive(Debug)]
pub(super) struct Replayed {
    replay: Replay,
    /// Where the snapshot is, and its size in bytes.
    pub(super) from: Position,
    pub(super) size: u64,
    /// How many entries followed, and their size in bytes.
    pub(super) entries: u64,
    followed: u64,
}

/// Replays what Redis has, up to a position. Redis has this head and leads there.
pub(super) async fn replay(
    line: &mut MultiplexedConnection,
    maker: &Maker,
    head: &Head,
    until: Position,
) -> Result<Replayed, MakeError> {
    let newest = read(line, maker, &AtomicU64::default()).await?;
    let Some((from, bytes)) = newest else { return Err(MakeError::Nothing) };
    let size = bytes.len() as u64;
    let mut replay =
        Replay::restore(&bytes, from.number, maker.known).map_err(ReplayError::from)?;
    drop(bytes);
    let (mut at, mut entries, mut followed) = (from, 0, 0);
    loop {
        let range = maker.range(at, until, ENTRIES);
        let read = maker.entries(command::run_one(line, &range).await?)?;
        let is_last = read.found.is_empty() && read.unreadable.is_none();
        for (position, entry, _) in read.found {
            at = position;
            if head.is_lost(position) {
                continue;
            }
            (entries, followed) = (entries + 1, followed + entry.bytes.len() as u64);
            replay.apply(&entry.bytes)?;
            // The state counts for itself.
            if replay.state().order().position() != position {
                return Err(MakeError::Hole(position));
            }
        }
        if let Some((position, trouble)) = read.unreadable {
            return Err(MakeError::Unreadable { at: command::id(position), trouble });
        }
        if is_last {
            return Ok(Replayed { replay, from, size, entries, followed });
        }
    }
}

impl Head {
    /// Returns `true` unless entries behind a snapshot are missing in the stream, which their number shows.
    fn is_all_there(&self, snapshot: Position, stream: Stream) -> bool {
        let Some(first) = stream.first else { return stream.last <= snapshot };
        let follows = first <= snapshot
            || Some(first.number) == snapshot.number.checked_add(1)
                && first.epoch == snapshot.epoch
            || first.number == 0 && self.before(first.epoch) == Some(snapshot);
        follows
            && self.entries_between(first, stream.last).is_none_or(|count| stream.length >= count)
    }

    /// Returns how many entries of its epochs stand from one position to another, both included, if it knows.
    fn entries_between(&self, first: Position, last: Position) -> Option<u64> {
        let last_epoch = self.epochs.iter().position(|(epoch, _)| *epoch == last.epoch)?;
        let later = self.epochs[..=last_epoch].iter().filter(|(epoch, _)| *epoch > first.epoch);
        let (mut count, mut from) = (0, first.number);
        for (_, after) in later {
            count += after.number.checked_add(1)?.checked_sub(from)?;
            from = 0;
        }
        last.number.checked_add(1)?.checked_sub(from)?.checked_add(count)
    }

    /// Returns `true` for an entry that stands beyond the end of its epoch, or of an epoch that was none.
    fn is_lost(&self, position: Position) -> bool {
        let begins = |epoch| self.epochs.iter().any(|(began, _)| *began == epoch);
        let next = self.epochs.iter().find(|(_, after)| after.epoch == position.epoch);
        !begins(position.epoch) || next.is_some_and(|(_, end)| position > *end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::message::Run;
    use super::*;

    fn at(epoch: u64, number: u64) -> Position {
        Position { epoch: Epoch::new(epoch), number }
    }

    /// Two epochs, of which the second one began after 5-9.
    fn head() -> Head {
        let epochs = vec![(Epoch::new(5), at(0, 0)), (Epoch::new(8), at(5, 9))];
        Head { epoch: Epoch::new(8), run: Run::new("a"), epochs }
    }

    fn has_all(snapshot: Position, first: Option<Position>, last: Position, length: u64) -> bool {
        head().is_all_there(snapshot, Stream { length, first, last })
    }

    #[test]
    fn entries_that_are_missing_behind_a_snapshot_are_noticed_by_their_number() {
        // From 5-3 to 5-9 and from 8-0 to 8-4.
        assert!(has_all(at(5, 2), Some(at(5, 3)), at(8, 4), 12));
        assert!(!has_all(at(5, 2), Some(at(5, 3)), at(8, 4), 11));
        // Those beyond the end of an epoch were lost, and stand there still.
        assert!(has_all(at(5, 2), Some(at(5, 3)), at(8, 4), 14));
        // A position that somebody wrote has no next one.
        assert!(!has_all(at(5, u64::MAX), Some(at(8, 1)), at(8, 4), 4));
        // Older ones are kept for a while.
        assert!(has_all(at(5, 8), Some(at(5, 3)), at(8, 4), 12));
        assert!(has_all(at(8, 2), Some(at(8, 1)), at(8, 4), 4));
    }

    #[test]
    fn the_first_entry_has_to_follow_the_snapshot() {
        assert!(!has_all(at(5, 2), Some(at(5, 4)), at(8, 4), 11));
        assert!(has_all(at(5, 9), Some(at(8, 0)), at(8, 4), 5));
        assert!(!has_all(at(5, 8), Some(at(8, 0)), at(8, 4), 5));
        assert!(!has_all(at(5, 9), Some(at(8, 1)), at(8, 4), 4));
    }

    #[test]
    fn a_stream_without_entries_lacks_those_that_it_had() {
        assert!(has_all(at(8, 4), None, at(8, 4), 0));
        assert!(!has_all(at(8, 4), None, at(8, 5), 0));
    }

    #[test]
    fn what_the_head_does_not_know_is_not_counted() {
        assert!(has_all(at(5, 2), Some(at(5, 3)), at(9, 4), 1));
        assert!(has_all(at(5, 9), Some(at(8, 0)), at(8, u64::MAX - 1), u64::MAX));
    }
}
