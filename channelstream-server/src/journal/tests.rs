//! What every journal keeps to, whatever it is made of.

use std::path::Path;
use std::time::Duration;

use channelstream_core::protocol::Connect;
use channelstream_core::state::{
    Command, ConnectionId, Envelope, Moment, NodeId, Rules, Stamp, State,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::redis::tests::real::{Disk, Redis};
use super::redis::tests::{begin, in_redis};
use super::*;
use crate::config::JournalSync;

/// The name of the user that the envelope of this number connects.
pub(super) fn user(number: u64) -> String {
    format!("user{number}")
}

/// An envelope that leaves a trace in the state.
pub(super) fn envelope(number: u64) -> Envelope {
    envelope_of(NodeId::new(1), number)
}

fn envelope_of(node: NodeId, number: u64) -> Envelope {
    let connection = ConnectionId::from_u128(u128::from(number) + 1);
    let request = Box::new(Connect::new(&*user(number)));
    let moment = Moment::default().after(Duration::from_millis(number));
    let stamp = Stamp { now: crate::clock::now(), moment, seed: u128::from(number) };
    let command = Command::Connect { connection, request };
    Envelope { node, number, stamp, command, repeat: None }
}

pub(super) fn initial() -> State {
    State::new(Rules::default())
}

pub(super) fn number(given: &Given) -> u64 {
    match given {
        Given::Entry(envelope) => envelope.number,
        Given::Undone { number, .. } => *number,
        Given::Restart(_) | Given::Snapshot(_) => panic!("it has no number"),
    }
}

type Written = JoinHandle<Result<(), Box<dyn std::error::Error + Send + Sync>>>;

/// A journal that is open.
pub(super) struct Open {
    pub(super) appender: Appender,
    pub(super) reader: Reader,
    pub(super) state: State,
    node: NodeId,
    writer: Option<(oneshot::Sender<()>, Written)>,
}

/// A journal that can be opened.
enum Place {
    /// Where the settings say.
    Set(Journal),
    /// Between the servers of this process.
    Shared(SharedJournal),
}

impl Place {
    /// Returns `true` if what was given out is there when it is opened again.
    fn lasts(&self) -> bool {
        !matches!(self, Self::Set(Journal::Memory))
    }
}

impl Open {
    /// Opens a journal, whose writer waits until something else has nothing to do.
    async fn new(place: &Place) -> Self {
        let journal = match place {
            Place::Set(journal) => journal,
            Place::Shared(shared) => {
                return Self::of(shared.open(&Rules::default(), Levels::KNOWN).unwrap()).await;
            }
        };
        loop {
            match super::open(journal, Levels::KNOWN, initial) {
                // What another test starts has the lock until it is another program.
                Err(error) if error.to_string().contains("another process") => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                opened => return Self::of(opened.unwrap()).await,
            }
        }
    }

    /// Runs the writer of a journal, and waits until it is followed.
    pub(super) async fn of(opened: Opened) -> Self {
        let Opened { appender, reader, state, node, writer, .. } = opened;
        let writer = writer.map(|writer| {
            let (stop, stopped) = oneshot::channel();
            let writes =
                async { writer.run(async { drop(stopped.await) }).await.map_err(Into::into) };
            (stop, tokio::spawn(writes))
        });
        let node = node.unwrap_or(NodeId::new(1));
        let mut open = Self { appender, reader, state, node, writer };
        open.follow().await;
        open
    }

    /// Waits until the journal is followed, and takes all that others have appended.
    pub(super) async fn follow(&mut self) {
        while self.appender.standing() == Standing::Away
            || self.appender.standing() == Standing::Joining
        {
            self.take_what_comes().await;
        }
        let end = self.appender.end().await.unwrap();
        while self.state.order().position() < end {
            self.take_what_comes().await;
        }
    }

    /// Takes what comes in a moment.
    async fn take_what_comes(&mut self) {
        let mut batch = Vec::new();
        let coming = self.reader.next(&mut batch, 1000);
        // Nothing is lost: either it was taken, or it still waits.
        let _ = tokio::time::timeout(Duration::from_millis(10), coming).await;
        for given in batch {
            self.apply(given);
        }
    }

    fn apply(&mut self, given: Given) {
        match given {
            Given::Entry(envelope) => drop(self.state.apply(envelope)),
            Given::Undone { number, why } => panic!("{number} is undone: {why}"),
            Given::Restart(state) => self.state = *state,
            Given::Snapshot(wanted) => wanted.send(self.state.snapshot()).unwrap(),
        }
    }

    /// Appends the envelope of this number.
    pub(super) fn append(&self, number: u64) -> Result<(), Error> {
        self.appender.append(envelope_of(self.node, number))
    }

    /// Takes so many entries, and applies them.
    pub(super) async fn take(&mut self, count: usize) -> Vec<u64> {
        let (mut batch, mut numbers) = (Vec::new(), Vec::new());
        while numbers.len() < count {
            let taken = self.reader.next(&mut batch, 1000.min(count - numbers.len())).await;
            assert_ne!(taken, 0, "the journal is closed");
            for given in batch.drain(..) {
                numbers.push(number(&given));
                self.apply(given);
            }
        }
        numbers
    }

    pub(super) async fn stop(&mut self) {
        if let Some((stop, writer)) = self.writer.take() {
            stop.send(()).unwrap();
            writer.await.unwrap().unwrap();
        } else {
            // It ends with its server.
            self.reader = Reader::Queue(mpsc::channel(1).1);
        }
    }
}

/// Runs a test with each journal.
fn with_each(test: &impl AsyncFn(&Place)) {
    let run_on = |place: &Place| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Runtime::block_on(&runtime.unwrap(), test(place));
    };
    let run = |journal: Journal| run_on(&Place::Set(journal));
    run(Journal::Memory);
    run_on(&Place::Shared(SharedJournal::new()));
    for sync in
        [JournalSync::Always, JournalSync::Every(Duration::from_millis(1)), JournalSync::Never]
    {
        let folder = TempDir::new().unwrap();
        run(in_files(folder.path(), sync));
    }
    let redis = Redis::start(Disk::None, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(begin(&redis));
    run(in_redis(&redis));
}

fn in_files(folder: &Path, sync: JournalSync) -> Journal {
    Journal::File { directory: folder.join("journal"), sync }
}

#[test]
fn what_was_accepted_is_given_out_once_and_in_order() {
    with_each(&async |journal| {
        let mut open = Open::new(journal).await;
        let mut expected = 1;
        for burst in [1, 2, 300, 1, 1000, 7] {
            for number in expected..expected + burst {
                open.append(number).unwrap();
            }
            let taken = open.take(usize::try_from(burst).unwrap()).await;
            assert!(taken.into_iter().eq(expected..expected + burst));
            expected += burst;
        }
        assert_eq!(open.appender.standing(), Standing::Following);
    });
}

#[test]
fn a_journal_that_is_full_refuses_and_keeps_what_it_took() {
    with_each(&async |journal| {
        let mut open = Open::new(journal).await;
        let mut accepted = 1;
        let refusal = loop {
            match open.append(accepted) {
                Ok(()) => accepted += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refusal, Error::Full);
        assert!(accepted > CAPACITY as u64, "{accepted}");
        assert!(
            open.take(usize::try_from(accepted - 1).unwrap()).await.into_iter().eq(1..accepted)
        );
        open.append(accepted).unwrap();
        assert_eq!(open.take(1).await, [accepted]);
    });
}

#[test]
fn a_journal_without_a_reader_is_closed() {
    with_each(&async |journal| {
        let Open { appender, reader, writer, node, .. } = Open::new(journal).await;
        drop(reader);
        // In files, the writer finds out when it has something to give.
        let mut tried = 1;
        while appender.append(envelope_of(node, tried)) != Err(Error::Closed) {
            tried += 1;
            tokio::task::yield_now().await;
        }
        assert_eq!(appender.standing(), Standing::Ended);
        if let Some((_, writer)) = writer {
            writer.await.unwrap().unwrap();
        }
    });
}

#[test]
fn what_was_given_out_is_there_when_the_journal_is_opened_again() {
    with_each(&async |journal| {
        if !journal.lasts() {
            return;
        }
        let mut next = 1;
        for count in [0, 1, 500, 20] {
            let mut open = Open::new(journal).await;
            for number in next..next + count {
                open.append(number).unwrap();
            }
            open.take(usize::try_from(count).unwrap()).await;
            next += count;
            let before = open.state.snapshot();
            open.stop().await;
            assert_eq!(open.appender.standing(), Standing::Ended);
            assert_eq!(open.append(next), Err(Error::Closed));
            let mut again = Open::new(journal).await;
            assert_eq!(again.state.snapshot(), before, "the states differ");
            again.stop().await;
        }
    });
}

#[test]
fn what_waits_when_the_journal_is_stopped_is_written() {
    with_each(&async |journal| {
        if !journal.lasts() {
            return;
        }
        let mut open = Open::new(journal).await;
        for number in 1..=400 {
            open.append(number).unwrap();
        }
        open.stop().await;
        let again = Open::new(journal).await;
        assert!((1..=400).all(|number| again.state.knows_user(&user(number))));
    });
}
