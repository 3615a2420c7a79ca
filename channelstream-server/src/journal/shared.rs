//! A journal in memory that several servers of one process share.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard};

use channelstream_core::protocol::Epoch;
use channelstream_core::state::stored::{Levels, UnknownLevel};
use channelstream_core::state::{Envelope, Moment, Position, Rules, SnapshotError, State};
use tokio::sync::mpsc;

use super::{Appender, CAPACITY, Error, Given, Opened, Reader};
use crate::clock::{self, Clock};

/// The one order of what several servers of one process do. Servers that are bound on the same journal
/// are one server with several addresses: a client may connect to one, listen on another and publish on a
/// third, and each answers the same.
///
/// It is in memory, for tests and for programs that want several servers. A server that is bound later
/// begins with the state as the others left it. The journal holds as many envelopes as its slowest
/// server leaves waiting, up to a bound; above it, all servers refuse requests. So a server that is bound
/// has to be run.
///
/// ```
/// use channelstream_server::protocol::{Connect, InfoOptions};
/// use channelstream_server::{Config, Server, SharedJournal};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let journal = SharedJournal::new();
/// let one = Server::bind_on(Config { port: 0, ..Config::default() }, &journal).await?;
/// let other = Server::bind_on(Config { port: 0, ..Config::default() }, &journal).await?;
/// let (here, there) = (one.handle(), other.handle());
/// tokio::spawn(one.run(std::future::pending()));
/// tokio::spawn(other.run(std::future::pending()));
///
/// here.connect(&Connect::new("ann").channels(["news"])).await?;
/// let info = there.info(&InfoOptions::default()).await?;
/// assert!(info.channels.contains_key("news"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct SharedJournal(Arc<Mutex<Option<Shared>>>);

/// The journal once a server has opened it.
struct Shared {
    /// What servers that come later begin with.
    state: State,
    /// The clock of all stamps.
    clock: Clock,
    /// The way to each server.
    readers: Vec<mpsc::Sender<Given>>,
}

/// The end of one server that accepts envelopes.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    journal: SharedJournal,
    /// The way to the reader of the same server.
    own: mpsc::Sender<Given>,
}

impl SharedJournal {
    /// Creates a journal in which nothing has happened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Shared>> {
        self.0.lock().expect("nothing that holds the journal can panic")
    }

    /// Opens the journal for one more server, which knows these levels. The rules count if it is the first.
    pub(crate) fn open(&self, rules: &Rules, known: Levels) -> Result<Opened, UnknownLevel> {
        let (own, reader) = mpsc::channel(CAPACITY);
        let mut journal = self.lock();
        let shared = journal.get_or_insert_with(|| Shared {
            state: State::new(rules.clone())
                .at_level(known.oldest)
                .in_epoch(clock::epoch(Epoch::default())),
            clock: Clock::going_on_from(Moment::default()),
            readers: Vec::new(),
        });
        let state = match State::restore_for(&shared.state.snapshot(), known) {
            Ok(state) => state,
            Err(SnapshotError::Level(level)) => return Err(level),
            Err(error) => panic!("what was written a moment ago can be read: {error}"),
        };
        shared.readers.push(own.clone());
        let clock = shared.clock.clone();
        drop(journal);
        let appender = Appender::Shared(Shares { journal: self.clone(), own });
        let (reader, clock) = (Reader::Queue(reader), Some(clock));
        Ok(Opened { appender, reader, state, known, node: None, clock, writer: None })
    }
}

impl Debug for SharedJournal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedJournal").finish_non_exhaustive()
    }
}

impl Shares {
    /// Takes an envelope, if there is room for it on the way to each server.
    pub(super) fn append(&self, envelope: Envelope) -> Result<(), Error> {
        let mut journal = self.journal.lock();
        let Some(shared) = journal.as_mut().filter(|_| !self.own.is_closed()) else {
            return Err(Error::Closed);
        };
        shared.readers.retain(|reader| !reader.is_closed());
        if shared.readers.iter().any(|reader| reader.capacity() == 0) {
            return Err(Error::Full);
        }
        for reader in &shared.readers {
            // There is room, and it is filled under this lock only.
            let _ = reader.try_send(Given::Entry(envelope.clone()));
        }
        shared.state.apply(envelope);
        Ok(())
    }

    /// Returns the position of the newest envelope.
    pub(super) fn end(&self) -> Position {
        self.journal
            .lock()
            .as_ref()
            .map(|shared| shared.state.order().position())
            .unwrap_or_default()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.own.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use channelstream_core::state::{Command, NodeId};

    use super::*;

    fn envelope(node: u64, number: u64, clock: &Clock) -> Envelope {
        let (node, stamp) = (NodeId::new(node), clock.stamp());
        Envelope { node, number, stamp, command: Command::Tick, repeat: None }
    }

    fn taken(reader: &mut Reader) -> Vec<Position> {
        let Reader::Queue(given) = reader else { panic!("it is a queue") };
        let numbers = std::iter::from_fn(|| match given.try_recv() {
            Ok(Given::Entry(Envelope { node, number, .. })) => Some((node, number)),
            _ => None,
        });
        // Nodes have no numbers that can be read.
        numbers.map(|(_, number)| Position { number, ..Position::default() }).collect()
    }

    #[test]
    fn all_are_given_the_same_in_one_order_and_who_comes_later_begins_there() {
        let journal = SharedJournal::new();
        let rules = Rules::default();
        let mut one = journal.open(&rules, Levels::KNOWN).unwrap();
        let mut two = journal.open(&rules, Levels::KNOWN).unwrap();
        let clock = &one.clock.clone().unwrap();
        one.appender.append(envelope(1, 1, clock)).unwrap();
        two.appender.append(envelope(2, 7, clock)).unwrap();
        one.appender.append(envelope(1, 2, clock)).unwrap();
        let three = journal.open(&rules, Levels::KNOWN).unwrap();
        let Appender::Shared(shares) = &one.appender else { panic!() };
        assert_eq!(three.state.order().position(), shares.end());
        let (mine, theirs) = (taken(&mut one.reader), taken(&mut two.reader));
        assert_eq!(mine.iter().map(|at| at.number).collect::<Vec<_>>(), [1, 7, 2]);
        assert_eq!(mine, theirs);
        assert_eq!(three.state.epoch(), one.state.epoch());
    }

    #[test]
    fn the_slowest_bounds_it_until_it_is_gone() {
        let journal = SharedJournal::new();
        let mut one = journal.open(&Rules::default(), Levels::KNOWN).unwrap();
        let two = journal.open(&Rules::default(), Levels::KNOWN).unwrap();
        let clock = &one.clock.clone().unwrap();
        for number in 1..=CAPACITY as u64 {
            one.appender.append(envelope(1, number, clock)).unwrap();
        }
        assert_eq!(taken(&mut one.reader).len(), CAPACITY);
        let next = || envelope(1, 9999, clock);
        assert_eq!(one.appender.append(next()), Err(Error::Full));
        let Opened { appender, reader, .. } = two;
        drop(reader);
        assert_eq!(appender.append(next()), Err(Error::Closed));
        assert_eq!(one.appender.append(next()), Ok(()));
    }
}
