//! The two lines to Redis while they are open: what is under way on each, and what comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use channelstream_core::protocol::Epoch;
use channelstream_core::state::stored::Levels;
use channelstream_core::state::{Command, Envelope, Moment, NodeId, Position, Stamp, State};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};

use super::answer::{self, Entries, Found, NoWrites, Written};
use super::checks::Refusal;
use super::command::{self, Keys, Maker, Scripts, Trouble};
use super::protocol::message::{self, Answer, Appended, Beginning, Entry, Request};
use super::snapshots;
use super::target::Target;
use crate::clock;

/// How long it may take until both lines are open. The protocol gives up a little later.
const OPENING: Duration = Duration::from_millis(950);

/// How many bytes of entries a read should bring at most, if they are like those before.
const READ_BYTES: usize = 16 << 20;

/// How many entries a read brings at most, and at least if there are so many.
const READ_ENTRIES: (usize, usize) = (512, 8);

/// How long replicas have time to confirm what was appended.
pub(super) const WAIT: Duration = Duration::from_secs(1);

/// What comes back on a line.
pub(super) enum Got {
    /// Answers to as many requests.
    Answers(Vec<Answer<Box<State>>>),
    /// Answers to entries that were appended, and why Redis did not write one of them.
    Appended(Vec<Answer<Box<State>>>, Option<NoWrites>),
    /// The answer to a read.
    Entries(Entries),
    /// The answer to a request for the snapshot.
    Loaded(snapshots::Loaded),
    /// A snapshot was stored, if it is still wanted.
    Saved(bool),
    /// So many replicas have these entries of this node.
    Replicated { numbers: Vec<u64>, replicas: usize },
}

/// A connection and the requests on it.
pub(super) struct Line {
    pub(super) connection: MultiplexedConnection,
    under_way: FuturesOrdered<BoxFuture<'static, Result<Got, Trouble>>>,
    /// How many parts of requests were done.
    heard: Arc<AtomicU64>,
    known: u64,
}

impl Line {
    fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, under_way: FuturesOrdered::new(), heard: Arc::default(), known: 0 }
    }

    /// Waits for what comes next, in the order of the requests.
    pub(super) async fn next(&mut self) -> Result<Got, Trouble> {
        match self.under_way.next().await {
            Some(got) => got,
            None => std::future::pending().await,
        }
    }

    /// Returns `true` if a part of a request was done since this was asked last.
    pub(super) fn has_progressed(&mut self) -> bool {
        let heard = self.heard.load(Ordering::Relaxed);
        std::mem::replace(&mut self.known, heard) != heard
    }

    /// Sends in the order of the calls.
    async fn send(&mut self, request: impl Future<Output = Result<Got, Trouble>> + Send + 'static) {
        let mut request: BoxFuture<'static, _> = Box::pin(request);
        // A request is sent when it is polled first. Nothing says that requests are polled in order.
        match futures_util::poll!(&mut request) {
            std::task::Poll::Ready(got) => self.under_way.push_back(Box::pin(async { got })),
            std::task::Poll::Pending => self.under_way.push_back(request),
        }
    }
}

/// Entries that are appended in one pipeline.
#[derive(Default)]
pub(super) struct Batch {
    pipeline: Pipeline,
    /// The numbers of those of this node.
    numbers: Vec<u64>,
    bytes: usize,
}

impl Batch {
    /// The most entries of a pipeline.
    const ENTRIES: usize = 256;
    /// The size from which on a pipeline takes no further entry.
    const BYTES: usize = 1 << 20;

    pub(super) fn is_full(&self) -> bool {
        self.pipeline.len() >= Self::ENTRIES || self.bytes >= Self::BYTES
    }
}

/// Both lines, and what makes commands for them.
pub(super) struct Lines {
    pub(super) append: Line,
    pub(super) read: Line,
    pub(super) maker: Maker,
    pub(super) address: String,
    node: NodeId,
    /// How many replicas have to confirm.
    replicas: usize,
    /// The size of the largest entries of late.
    largest: usize,
}

/// Lines that were opened, and what is to be said of this Redis.
pub(super) struct Opened {
    pub(super) lines: Lines,
    pub(super) checked: Result<Vec<String>, Refusal>,
}

/// Opens both lines.
pub(super) async fn open(
    target: Target,
    keys: Keys,
    known: Levels,
    (node, number): (NodeId, u64),
    replicas: usize,
) -> Result<Opened, Trouble> {
    let opening = async {
        let mut lines = target.lines().await?;
        let scripts = Scripts::load(&mut lines.append).await?;
        let checked = command::told(&mut lines.append).await?.check(replicas);
        let maker = Maker { keys, scripts, known, node: number };
        let (append, read) = (Line::new(lines.append), Line::new(lines.read));
        let address = lines.address;
        let lines = Lines { append, read, maker, address, node, replicas, largest: 0 };
        Ok(Opened { lines, checked })
    };
    let opened = tokio::time::timeout(OPENING, opening).await;
    opened.unwrap_or_else(|_| Err(Trouble::Connect("it does not answer in time".to_owned())))
}

impl Lines {
    /// Adds an entry that is to be appended to an epoch to a batch that is not full.
    pub(super) fn add(&self, batch: &mut Batch, epoch: Epoch, entry: &Entry) {
        self.maker.append(&mut batch.pipeline, epoch, entry);
        batch.bytes += entry.bytes.len();
        if entry.node == self.node {
            batch.numbers.push(entry.number);
        }
    }

    /// Sends a batch. Returns the numbers of this node's entries whose replicas are waited for.
    pub(super) async fn send(&mut self, batch: Batch) -> Vec<u64> {
        let Batch { pipeline, numbers, .. } = batch;
        if pipeline.is_empty() {
            return Vec::new();
        }
        let mut connection = self.append.connection.clone();
        let heard = Arc::clone(&self.append.heard);
        self.append
            .send(async move {
                let answers = command::run(&mut connection, &pipeline).await?;
                heard.fetch_add(1, Ordering::Relaxed);
                let mut why = None;
                let answers = answers.into_iter().map(|answer| {
                    let appended = match answer::written(answer)? {
                        Written::At(at) => Appended::Done(at),
                        Written::Refused => Appended::Refused,
                        Written::No(no) => {
                            why = Some(no);
                            Appended::Full
                        }
                    };
                    Ok(Answer::Appended(appended))
                });
                let answers = answers.collect::<Result<_, Trouble>>()?;
                Ok(Got::Appended(answers, why))
            })
            .await;
        if self.replicas == 0 || numbers.is_empty() {
            return Vec::new();
        }
        let mut connection = self.append.connection.clone();
        let (waited_for, replicas) = (numbers.clone(), self.replicas);
        self.append
            .send(async move {
                let mut wait = Pipeline::new();
                wait.cmd("WAIT").arg(replicas).arg(WAIT.as_millis().to_string());
                let replicas = match command::run_one(&mut connection, &wait).await? {
                    Value::Int(count) => usize::try_from(count).unwrap_or(0),
                    _ => return Err(Trouble::Unreadable("a number of replicas")),
                };
                Ok(Got::Replicated { numbers: waited_for, replicas })
            })
            .await;
        numbers
    }

    /// Sends a request that is alone in its pipeline. `stored` are the parts of a snapshot that is to be
    /// saved; an epoch begins at `level`.
    pub(super) async fn ask(&mut self, request: Request, stored: usize, level: u32) {
        let maker = self.maker.clone();
        let (read, append) = (self.read.connection.clone(), self.append.connection.clone());
        match request {
            // Those are sent in batches, and by `meet` on either line.
            Request::Append { .. } | Request::Meet => {}
            Request::PutBack { after, entries } => {
                let (mut line, pipeline) = (append, maker.put_back(after, &entries));
                let request = async move {
                    let answer = command::run(&mut line, &pipeline).await?.pop();
                    answer::put_back(answer.unwrap_or_default())?;
                    Ok(Got::Answers(vec![Answer::PutBack]))
                };
                self.append.send(request).await;
            }
            Request::Read { after, waits, epoch } => {
                let mut read = read;
                let (most, least) = READ_ENTRIES;
                let most = (READ_BYTES / self.largest.max(1)).clamp(least, most);
                let pipeline = maker.read(after, waits, most);
                let request = async move {
                    let mut answers = command::run(&mut read, &pipeline).await?.into_iter();
                    let entries = maker.entries_of_stream(answers.next().unwrap_or_default())?;
                    let newest = answer::newest_epoch(answers.next().unwrap_or_default())?;
                    let is_moved = epoch.is_some_and(|epoch| newest != Some(epoch));
                    match entries {
                        Some(entries) if !is_moved => Ok(Got::Entries(entries)),
                        None if epoch.is_none() => Ok(Got::Entries(Entries::default())),
                        _ => Ok(Got::Answers(vec![Answer::Moved])),
                    }
                };
                self.read.send(request).await;
            }
            Request::Claim { run, position } => {
                let (mut line, pipeline) = (append, maker.claim(&run, position));
                let request = async move {
                    let mut answers = command::run(&mut line, &pipeline).await?;
                    let view = answer::view(answers.pop().unwrap_or_default())?;
                    let claims = answer::claims(answers.pop().unwrap_or_default())?;
                    Ok(Got::Answers(vec![Answer::Claims { claims, view }]))
                };
                self.append.send(request).await;
            }
            Request::Begin(beginning) => {
                let heard = Arc::clone(&self.append.heard);
                let node = self.node;
                self.append.send(begin(append, maker, (node, level), *beginning, heard)).await;
            }
            Request::Load => {
                let heard = Arc::clone(&self.read.heard);
                let request = async { Ok(Got::Loaded(snapshots::load(read, maker, heard).await?)) };
                self.read.send(request).await;
            }
            Request::Useless(position) => {
                let (mut line, pipeline) = (append, maker.note_unusable(position));
                let request = async move {
                    match command::run_one(&mut line, &pipeline).await {
                        // What cannot be written now is noted later.
                        Ok(_) | Err(Trouble::Answers(_)) => Ok(Got::Answers(vec![Answer::Noted])),
                        Err(trouble) => Err(trouble),
                    }
                };
                self.append.send(request).await;
            }
            Request::Save { epoch, position, snapshot } => {
                let mut line = append;
                let heard = Arc::clone(&self.append.heard);
                let request = async move {
                    let save = snapshots::Save { epoch, position, bytes: snapshot, stored };
                    match save.run(&mut line, &maker, &heard).await {
                        // What cannot be written is no reason to part with Redis.
                        Err(Trouble::Answers(why)) => {
                            tracing::warn!("the snapshot could not be stored: Redis answers {why}");
                            Ok(Got::Saved(false))
                        }
                        is_done => Ok(Got::Saved(is_done?)),
                    }
                };
                self.append.send(request).await;
            }
        }
    }

    /// Asks on a line which Redis this is.
    pub(super) async fn meet(&mut self, line: message::Line) {
        let line = match line {
            message::Line::Append => &mut self.append,
            message::Line::Read => &mut self.read,
        };
        let (mut connection, pipeline) = (line.connection.clone(), self.maker.meet());
        let request = async move {
            let mut answers = command::run(&mut connection, &pipeline).await?;
            let view = answer::view(answers.pop().unwrap_or_default())?;
            let run = answer::run_of(&command::text(answers.pop().unwrap_or_default())?)?;
            Ok(Got::Answers(vec![Answer::Met { run, view }]))
        };
        line.send(request).await;
    }

    /// Asks where the journal ends, apart from the requests of the protocol.
    pub(super) fn end(&self) -> BoxFuture<'static, Result<Position, Trouble>> {
        let (mut line, pipeline) = (self.append.connection.clone(), self.maker.end());
        Box::pin(async move {
            let view = command::run_one(&mut line, &pipeline).await?;
            Ok(answer::view(view)?.end.unwrap_or_default())
        })
    }

    /// Asks whether the newest snapshot is whole, apart from the requests of the protocol.
    pub(super) fn is_snapshot_whole(
        &self,
        head: message::Head,
    ) -> BoxFuture<'static, Result<bool, Trouble>> {
        let (line, maker) = (self.append.connection.clone(), self.maker.clone());
        Box::pin(async move { snapshots::is_whole(line, &maker, &head).await })
    }

    /// Notes how large entries are, so that a read does not bring too many.
    pub(super) fn has_read(&mut self, entries: &[Found]) {
        let largest = entries.iter().map(|(_, entry, _)| entry.bytes.len()).max().unwrap_or(0);
        self.largest = largest.max(self.largest / 8 * 7);
    }
}

/// Waits for what comes next on a line, or forever without one.
pub(super) async fn next_on(line: Option<&mut Line>) -> Result<Got, Trouble> {
    match line {
        Some(line) => line.next().await,
        None => std::future::pending().await,
    }
}

/// Begins an epoch, after the parts of the snapshot that replaces everything, if there is one.
pub(super) async fn begin(
    mut line: MultiplexedConnection,
    maker: Maker,
    (node, level): (NodeId, u32),
    beginning: Beginning,
    heard: Arc<AtomicU64>,
) -> Result<Got, Trouble> {
    let epoch = clock::epoch(beginning.above);
    let command = Command::Begin { epoch, alone: beginning.alone };
    let stamp = beginning_stamp();
    let envelope = Envelope { node, number: 0, stamp, command, repeat: None };
    let (mut chunks, mut replaced) = (0, None);
    if let Some(snapshot) = &beginning.instead {
        let newest = command::run_one(&mut line, &maker.newest_snapshot()).await;
        replaced = match newest {
            Ok(newest) => answer::newest_snapshot(newest).ok().flatten(),
            // Something else is there.
            Err(Trouble::Answers(_)) => None,
            Err(trouble) => return Err(trouble),
        };
        replaced = replaced.filter(|(at, _)| *at != beginning.after);
        chunks = snapshots::store(&mut line, &maker, beginning.after, snapshot, &heard).await?;
    }
    let entry = Entry::of(&envelope, level);
    let begin = maker.begin(&beginning, epoch, &entry.bytes, chunks);
    let is_done = answer::begun(command::run(&mut line, &begin).await?.pop().unwrap_or_default())?;
    if let Some((position, chunks)) = replaced.filter(|_| is_done) {
        command::run(&mut line, &maker.let_go(position, chunks)).await?;
    }
    Ok(Got::Answers(vec![Answer::Begun { is_done }]))
}

/// The stamp of an entry that begins an epoch. It has no moment, so that it moves no clock.
fn beginning_stamp() -> Stamp {
    Stamp { now: clock::now(), moment: Moment::default(), seed: u128::from(clock::salt()) }
}
