//! What the protocol and Redis say to each other, and what the protocol tells its node.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::stored::encode;
use channelstream_core::state::{Command, Envelope, NodeId, Order, Position};

/// What the protocol has to know of the command in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An epoch begins.
    Begin,
    /// A listener of the entry's node opens.
    Open,
    /// A listener of the entry's node ends.
    Close,
    /// The entry's node lives, or time has passed.
    Alive,
    /// Anything else.
    Other,
}

impl Kind {
    /// Returns the kind of a command.
    pub(crate) fn of(command: &Command) -> Self {
        match command {
            Command::Begin { .. } => Self::Begin,
            Command::Open { .. } => Self::Open,
            Command::Close { .. } => Self::Close,
            Command::Alive(_) | Command::Tick => Self::Alive,
            _ => Self::Other,
        }
    }

    /// Returns `true` if an entry still has its meaning after the epoch in which it was applied was lost.
    /// The others tell of a moment in the life of their node, which tells it anew.
    pub(crate) fn outlives_its_epoch(self) -> bool {
        matches!(self, Self::Other)
    }
}

/// An envelope as it is stored, and what the protocol reads of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) node: NodeId,
    /// The number by which it is recognized; 0 for an entry that begins an epoch.
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) bytes: Bytes,
}

impl Entry {
    /// The stored form of an envelope, at this level.
    pub(crate) fn of(envelope: &Envelope, level: u32) -> Self {
        let mut bytes = Vec::new();
        encode(envelope, level, &mut bytes);
        let (node, number, kind) = (envelope.node, envelope.number, Kind::of(&envelope.command));
        Self { node, number, kind, bytes: bytes.into() }
    }
}

/// One life of one Redis as a master. A restart, a failover, and a master that becomes a replica and a
/// master again make another run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run(Arc<str>);

impl Run {
    pub(crate) fn new(id: &str) -> Self {
        Self(id.into())
    }
}

impl Display for Run {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What Redis holds beside the entries: the newest epoch, the run of Redis on which it lives, and its list
/// of epochs with the last entry before each, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) epoch: Epoch,
    pub(crate) run: Run,
    pub(crate) epochs: Vec<(Epoch, Position)>,
}

impl Head {
    /// Returns the last entry before this epoch.
    pub(crate) fn before(&self, epoch: Epoch) -> Option<Position> {
        let found = self.epochs.iter().rfind(|(began, _)| *began == epoch);
        found.map(|(_, after)| *after)
    }
}

/// The head, and the id of the newest entry that Redis ever held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) head: Option<Head>,
    pub(crate) end: Option<Position>,
}

/// A connection to Redis. Each keeps the order of its requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// What changes Redis.
    Append,
    /// Reads that may wait.
    Read,
}

/// What Redis is asked.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Which run of Redis this is, and its view.
    Meet,
    /// Appends an entry to this epoch, if there is a journal and no later epoch.
    Append { epoch: Epoch, entry: Entry },
    /// The entries behind a position; `waits` for the first one. They count only if the newest epoch is this one
    /// afterwards.
    Read { after: Position, waits: bool, epoch: Option<Epoch> },
    /// Claims to be at a position, and asks for all claims on this run that are young enough.
    Claim { run: Run, position: Position },
    /// Puts entries at their old positions, if Redis ends exactly at `after`.
    PutBack { after: Position, entries: Vec<(Position, Entry)> },
    /// Begins an epoch on this run.
    Begin(Box<Beginning>),
    /// The newest snapshot.
    Load,
    /// Notes that the snapshot at this position is of no use, so that whoever makes snapshots makes another one.
    Useless(Position),
    /// Stores a snapshot, if the epoch is still this one and the stored one is older.
    Save { epoch: Epoch, position: Position, snapshot: Bytes },
}

/// An epoch that is to begin. Redis begins it in one step, or refuses.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    /// The epoch of the head as it was seen; if it is another one, somebody else has begun.
    pub(crate) seen: Option<Epoch>,
    /// Where Redis has to end.
    pub(crate) end: Option<Position>,
    /// It may end anywhere: nothing of what it has is of this order.
    pub(crate) anywhere: bool,
    pub(crate) run: Run,
    /// The new epoch has to be greater.
    pub(crate) above: Epoch,
    /// The last entry before the epoch.
    pub(crate) after: Position,
    /// The epochs before it.
    pub(crate) epochs: Vec<(Epoch, Position)>,
    /// No other node took part.
    pub(crate) alone: bool,
    /// The state at `after`, which replaces all that Redis holds.
    pub(crate) instead: Option<Bytes>,
}

/// What became of an entry that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// It is in the journal, at this position.
    Done(Position),
    /// There is no journal, or it has a later epoch. Nothing was done.
    Refused,
    /// Redis writes nothing now: it has no memory left, too few replicas, or no right for this node. Nothing was
    /// done.
    Full,
}

/// What Redis answers. `S` is a state that was restored from a snapshot.
#[derive(Clone, Debug)]
pub(crate) enum Answer<S> {
    Met {
        run: Run,
        view: View,
    },
    Appended(Appended),
    Entries(Vec<(Position, Entry)>),
    /// The newest epoch is another one than that which was read.
    Moved,
    /// The first entry behind the position cannot be read: no node has written it.
    Unreadable(Position),
    Claims {
        claims: Vec<(NodeId, Position)>,
        view: View,
    },
    PutBack,
    Begun {
        is_done: bool,
    },
    Loaded(Option<(Order, S)>),
    Noted,
    Saved,
}

/// What the protocol wants done.
#[derive(Debug)]
pub(crate) enum Output<S> {
    /// Open both lines of this session, and say when they are open.
    Connect { session: u64 },
    /// Close the lines of the session. Nothing of it is asked or answered any more.
    Hangup,
    /// Ask Redis.
    Ask { line: Line, request: Request },
    /// The next entry in the order.
    Entry { position: Position, entry: Entry },
    /// The order goes on from another state.
    Restart(S),
    /// What became of an entry of this node that will not be given, or was given with a snapshot.
    Fate { number: u64, fate: Fate },
    /// Make a snapshot of the state after all that was given so far.
    Snapshot,
    /// How the node stands.
    Standing(Standing),
    /// Something to log.
    Notice(Notice),
}

/// What became of an entry that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is part of the state that was restored. Its reply is not known.
    Done,
    /// It was not done, and will not be.
    NotDone(Why),
    /// It was sent, and may have been done, or may be yet.
    InDoubt,
}

/// Why an entry was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It waited too long for Redis.
    Late,
    /// Redis writes nothing.
    Full,
}

/// How a node stands to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has read to the end and may append.
    Following,
    /// It is connected, and restores or reads what is older.
    Joining,
    /// It has no connection, or Redis no epoch.
    Away,
}

/// What somebody who is no node has done to the journal on a run that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// It lacks entries of its epoch that were given out.
    Behind,
    /// An older one was put in its place.
    Older,
    /// One that has nothing in common with it was begun in its place, though nodes lived that had its state.
    Anew,
    /// There are entries that are of no epoch.
    Foreign,
    /// Behind this position, an entry cannot be read, or is missing, and no snapshot goes on behind it.
    Stuck { after: Position },
}

/// An event for the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The order parted from that of the others: `common` is the last position of both.
    Diverged { at: Position, common: Position },
    /// Entries are missing behind this position; a snapshot is loaded.
    Hole { after: Position },
    /// Redis lives on, and its journal was changed by somebody else.
    Damaged(Damage),
    /// This node begins an epoch after so many entries that it put back, or with a snapshot.
    Begins { after: Position, put_back: usize, rebuilt: bool },
    /// So many entries were lost by Redis and are appended again.
    Repeats { count: usize },
    /// An answer did not come in time.
    Stalled(Line),
    /// Redis has forgotten entries that it gave out.
    WentBack,
    /// There are entries and no head, and this node has no state to begin with.
    Headless,
}
