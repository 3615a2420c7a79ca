//! A journal in Redis, which several nodes share and which outlives them all: the driver of the protocol.
//!
//! It opens lines, carries requests there and answers back, and rings the protocol's timers. What to
//! do is decided by the [`protocol`] alone.

mod line;
pub(crate) mod protocol;
mod reply;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::{Envelope, NodeId, Order, Position, State};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::line::{Heard, Keys, LineTask};
use self::protocol::message::{Entry, Fate, Line, Notice, Output, Request, Standing};
use self::protocol::{Machine, Refused, Settings};
use self::reply::LineError;

/// How many envelopes are taken from the node at once.
const BATCH: usize = 256;

/// How many requests may wait on a line. The protocol has fewer under way.
const REQUESTS: usize = 16 << 10;

/// How many answers may wait.
const ANSWERS: usize = 1024;

/// How long to wait for a timer when there is none.
const LONG: Duration = Duration::from_secs(3600);

/// What the driver tells its node, in this order.
#[derive(Debug)]
pub(crate) enum Told {
    /// The next entry of the order.
    Entry(Position, Entry),
    /// The order goes on from another state.
    Restart(Box<State>),
    /// What became of an envelope of this node that will not be given out.
    Fate(u64, Fate),
    /// An envelope of this node was not accepted.
    Refused(u64, Refused),
    /// A snapshot is needed of the state after all that was told so far.
    Snapshot,
    Standing(Standing),
    Notice(Notice),
}

/// The other ends of a driver.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) envelopes: mpsc::Sender<Envelope>,
    pub(crate) snapshots: mpsc::Sender<(Position, Bytes)>,
    pub(crate) told: mpsc::Receiver<Told>,
}

/// The driver of a node's journal in Redis.
pub(crate) struct Driver {
    node: NodeId,
    client: Client,
    keys: Keys,
    begins: line::Begins,
    machine: Machine<Box<State>>,
    started: Instant,
    session: u64,
    lines: Option<[mpsc::Sender<Request>; 2]>,
    tasks: JoinSet<()>,
    envelopes: mpsc::Receiver<Envelope>,
    snapshots: mpsc::Receiver<(Position, Bytes)>,
    told: mpsc::Sender<Told>,
}

/// Both lines of a session, or why there are none.
type Lines = Result<[MultiplexedConnection; 2], RedisError>;

impl Driver {
    /// Creates the driver of a node that has applied this order. `begins` makes the envelope by which the node begins
    /// an epoch that is later than another one.
    pub(crate) fn new(
        node: NodeId,
        url: &str,
        name: &str,
        settings: Settings,
        order: Order,
        begins: impl Fn(Epoch, bool) -> Envelope + Send + Sync + 'static,
    ) -> Result<(Self, Ends), RedisError> {
        let (envelopes, taken) = mpsc::channel(8192);
        let (snapshots, made) = mpsc::channel(1);
        let (tells, told) = mpsc::channel(BATCH);
        let driver = Self {
            node,
            client: Client::open(url)?,
            keys: Keys::new(name),
            begins: Arc::new(begins),
            machine: Machine::new(node, settings, Duration::ZERO, order),
            started: Instant::now(),
            session: 0,
            lines: None,
            tasks: JoinSet::new(),
            envelopes: taken,
            snapshots: made,
            told: tells,
        };
        Ok((driver, Ends { envelopes, snapshots, told }))
    }

    /// Runs until the node is gone.
    pub(crate) async fn run(mut self) {
        let (opens, mut opened) = mpsc::channel::<(u64, Lines)>(1);
        let (hears, mut heard) = mpsc::channel(ANSWERS);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            while let Some(output) = self.machine.output() {
                if self.put_out(output, &opens).await.is_none() {
                    return;
                }
            }
            let wake =
                self.machine.wake().map_or(Instant::now() + LONG, |wake| self.started + wake);
            tokio::select! {
                Some((session, line, heard)) = heard.recv() => self.hear(session, line, heard),
                Some((session, lines)) = opened.recv() => self.open(session, lines, &hears),
                count = self.envelopes.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    for envelope in batch.drain(..) {
                        let now = self.now();
                        if let Err(refused) = self.machine.append(now, Entry::of(&envelope)) {
                            let told = Told::Refused(envelope.number, refused);
                            if self.told.send(told).await.is_err() {
                                return;
                            }
                        }
                    }
                }
                Some((position, snapshot)) = self.snapshots.recv() => {
                    self.machine.snapshot(self.now(), position, snapshot);
                }
                () = sleep_until(wake) => self.machine.tick(self.now()),
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Does what the protocol wants done. Returns `None` if the node is gone.
    async fn put_out(
        &mut self,
        output: Output<Box<State>>,
        opens: &mpsc::Sender<(u64, Lines)>,
    ) -> Option<()> {
        let told = match output {
            Output::Connect { session } => {
                self.session = session;
                let (client, opens) = (self.client.clone(), opens.clone());
                self.tasks.spawn(async move {
                    // The node may be gone.
                    let _ = opens.send((session, connect(&client).await)).await;
                });
                return Some(());
            }
            Output::Hangup => {
                self.lines = None;
                self.tasks.abort_all();
                return Some(());
            }
            Output::Ask { line, request } => {
                let lines = self.lines.as_ref();
                let asked = lines.map(|lines| lines[line as usize].try_send(request));
                if !matches!(asked, Some(Ok(()))) {
                    let error = LineError::Refused("the line is closed".to_owned());
                    self.hear(self.session, line, Heard::Broke(error));
                }
                return Some(());
            }
            Output::Entry { position, entry } => Told::Entry(position, entry),
            Output::Restart(state) => Told::Restart(state),
            Output::Fate { number, fate } => Told::Fate(number, fate),
            Output::Snapshot => Told::Snapshot,
            Output::Standing(standing) => Told::Standing(standing),
            Output::Notice(notice) => Told::Notice(notice),
        };
        self.told.send(told).await.ok()
    }

    /// The lines of a session are open, or cannot be opened.
    fn open(&mut self, session: u64, lines: Lines, hears: &mpsc::Sender<(u64, Line, Heard)>) {
        let now = self.now();
        let lines = match lines {
            Ok(lines) if session == self.session => lines,
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(%error, "no line to Redis");
                self.machine.broke(now, session);
                return;
            }
        };
        let mut index = [Line::Append, Line::Read].into_iter();
        let senders = lines.map(|connection| {
            let (sender, requests) = mpsc::channel(REQUESTS);
            let line = index.next().unwrap_or(Line::Read);
            let (node, keys, begins) = (self.node, self.keys.clone(), Arc::clone(&self.begins));
            let heard = hears.clone();
            let task = LineTask { line, session, node, connection, keys, begins, heard };
            self.tasks.spawn(task.run(requests));
            sender
        });
        self.lines = Some(senders);
        self.machine.opened(now, session);
    }

    fn hear(&mut self, session: u64, line: Line, heard: Heard) {
        let now = self.now();
        match heard {
            Heard::Progress => self.machine.progressed(now, session, line),
            Heard::Answer(answer) => self.machine.answered(now, session, line, answer),
            Heard::Broke(error) => {
                tracing::debug!(%error, ?line, "a line to Redis broke");
                self.machine.broke(now, session);
            }
        }
        // Tasks that have ended are forgotten.
        while self.tasks.try_join_next().is_some() {}
    }
}

/// Opens both lines. They do not open again by themselves, perhaps to another Redis, and the protocol knows how
/// long it waits.
async fn connect(client: &Client) -> Lines {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let append = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok([append, client.get_multiplexed_async_connection_with_config(&config).await?])
}
