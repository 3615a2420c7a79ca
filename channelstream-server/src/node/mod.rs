//! The node: a handle that submits commands and asks questions, and the loop that owns the state.

mod advance;
mod alive;
pub(crate) mod digests;
mod peers;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use channelstream_core::protocol::Epoch;
use channelstream_core::state::stored::{self, UnknownLevel};
use channelstream_core::state::{
    Command, ConnectionId, Delivery, EndReason, Envelope, ListenerId, Moment, NodeId, Position,
    Refusal, Repeat, Reply, Rules, State,
};
use thiserror::Error;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{self, Clock};
use crate::journal::{self, Appender, Given, Opened, Reader};
use crate::limits::{Limit, Limits};
use crate::listener;
use crate::listener::hub::Hub;
use crate::listener::outbox::{Ending, Outbox};
use crate::listener::portions::Portions;
use crate::metrics::Metrics;
use crate::spans::Appended;
use crate::webhooks::Webhooks;

use alive::Telling;
use peers::Peers;

/// How many envelopes are taken from the journal at once.
const BATCH: usize = 256;

/// The time after which applying an envelope yields before the next one. Shorter ones do not yield, so
/// that many of them are applied as quickly as they come.
const LONG: Duration = Duration::from_millis(10);

/// The longest time without a stamp while a deadline is ahead. It is less than the state's longest
/// step, so that own time keeps pace.
const TICK: Duration = Duration::from_secs(2);

/// How much longer the second node waits than the first before it appends a tick, the third than the
/// second, and so on.
const RANK: Duration = Duration::from_millis(250);

/// The pause before the next stamp if the journal has no space for one.
const NO_SPACE: Duration = Duration::from_secs(1);

/// The pause before a command is submitted again to a journal without room.
const RETRY: Duration = Duration::from_millis(50);

/// The longest such pause.
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// How many questions may wait.
const QUESTIONS: usize = 1024;

/// The reason why there is no reply.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The state refused the command.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server is too far behind or stopping, or its disk is full. Nothing was done.
    #[error("the server is overloaded or shutting down: {0}")]
    Unavailable(#[from] journal::Error),
    /// The server stopped before it replied. The command may have been carried out.
    #[error("the server is shutting down")]
    Stopped,
}

/// A reply or refusal, and whether it is that of an earlier command.
type Replied = (Result<Reply, Refusal>, bool);

/// What a caller receives: an error if its command was not done.
type Answer = Result<Replied, journal::Error>;

/// The callers that wait for a reply.
#[derive(Default)]
struct Waiting {
    /// The number of the newest envelope.
    submitted: u64,
    /// The callers, by the number of their envelope, and the moment at which each began to wait.
    callers: HashMap<u64, (Moment, oneshot::Sender<Answer>)>,
    /// Whether the node has left, after which it appends nothing.
    has_left: bool,
}

/// What somebody asks the state.
struct Question {
    /// The state has to be as new as this.
    since: Position,
    ask: Box<dyn FnOnce(&State) + Send>,
}

/// Submits commands and asks questions; cheap to clone.
#[derive(Clone)]
pub(crate) struct Node(Arc<Inner>);

struct Inner {
    id: NodeId,
    journal: Appender,
    questions: mpsc::Sender<Question>,
    waiting: Mutex<Waiting>,
    clock: Clock,
    hub: Arc<Hub>,
    peers: Peers,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    /// The commands of traced requests.
    appended: Appended,
}

/// The loop: the only place that changes the state.
pub(crate) struct Loop {
    state: State,
    journal: Reader,
    questions: mpsc::Receiver<Question>,
    /// Listeners that ask for what they missed.
    asking: mpsc::UnboundedReceiver<Arc<Outbox>>,
    portions: Portions,
    /// A question that waits until the state is new enough. Those behind it wait, too.
    question: Option<Question>,
    /// What it takes to tell others of this node, if there are others.
    telling: Option<Telling>,
    webhooks: Webhooks,
    /// The tick that is under way.
    tick: Option<oneshot::Receiver<Answer>>,
    node: Node,
}

/// The first entries of a run, which are under way.
pub(crate) struct Beginning(oneshot::Receiver<Answer>);

impl Beginning {
    /// Waits until they were applied.
    ///
    /// # Errors
    /// Returns an error if the journal had no space for them: without them, nothing may be served.
    pub(crate) async fn done(self) -> Result<(), journal::Error> {
        self.0.await.map_err(|_| journal::Error::Closed)?.map(drop)
    }
}

/// Creates a node and its loop, which has to be run. The node was started with these rules, and `holds` the
/// level of the journal or not.
pub(crate) fn new(
    Opened { state, known, appender: journal, reader, node, clock, .. }: Opened,
    (rules, holds): (Rules, bool),
    hub: Arc<Hub>,
    asking: mpsc::UnboundedReceiver<Arc<Outbox>>,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    webhooks: Webhooks,
) -> (Node, Loop) {
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let clock = clock.unwrap_or_else(|| Clock::going_on_from(state.latest_stamp()));
    let id = node.unwrap_or_else(|| NodeId::new(clock::salt()));
    let state = state.for_node(id);
    journal.set_level(state.level());
    let waiting = Mutex::default();
    let telling = journal.outlives_this().then(|| Telling::new(rules, known, holds));
    let peers = Peers::default();
    let appended = Appended::default();
    let inner =
        Inner { id, journal, questions, waiting, clock, hub, peers, limits, metrics, appended };
    let node = Node(Arc::new(inner));
    let portions = Portions::default();
    let state_loop = Loop {
        state,
        journal: reader,
        questions: asked,
        asking,
        portions,
        question: None,
        telling,
        webhooks,
        tick: None,
        node: node.clone(),
    };
    (node, state_loop)
}

impl Node {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.waiting.lock().expect("nothing that holds the map can panic")
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    /// Returns how the journal names this node.
    pub(crate) fn id(&self) -> NodeId {
        self.0.id
    }

    /// Returns what this node has heard of the others.
    pub(crate) fn peers(&self) -> &Peers {
        &self.0.peers
    }

    /// Returns how many commands of this node were appended and are not applied yet, and how long the
    /// oldest of them has been waiting. There are as many as the journal holds at most.
    pub(crate) fn under_way(&self) -> (usize, Duration) {
        let waiting = self.waiting();
        let oldest = waiting.callers.values().map(|(since, _)| *since).min();
        let count = waiting.callers.len();
        drop(waiting);
        let since = |oldest| self.0.clock.since(oldest, Instant::now());
        (count, oldest.map(since).unwrap_or_default())
    }

    /// Returns the time until a moment of the state.
    pub(crate) fn until(&self, moment: Moment) -> Duration {
        self.0.clock.until(moment)
    }

    /// Appends a command to the journal and waits for the reply.
    pub(crate) async fn submit(&self, command: Command) -> Result<Reply, Error> {
        self.check_level(&command).await?;
        let replied = self.append(command, None)?;
        let (reply, _) = replied.await.map_err(|_| Error::Stopped)??;
        Ok(reply?)
    }

    /// Checks that the journal is at a level that knows a command. Levels only rise.
    async fn check_level(&self, command: &Command) -> Result<(), Error> {
        let since = command.since();
        if since > stored::OLDEST && self.look(State::level).await? < since {
            return Err(Refusal::LevelTooLow.into());
        }
        Ok(())
    }

    /// Appends a command, again and again while the journal has no room for it, and waits until it is
    /// applied, unless the server stops before.
    pub(crate) async fn insist(&self, command: impl Fn() -> Command) {
        let mut pause = RETRY;
        while let Err(Error::Unavailable(why)) = self.submit(command()).await
            && why != journal::Error::Closed
        {
            tokio::time::sleep(pause).await;
            // A journal may be away for hours, and very many may wait for it.
            pause = (pause * 2).min(LONGEST_RETRY);
        }
    }

    /// Appends a command that is not carried out if it is the repeat of an earlier one, and waits for
    /// the reply. Returns `true` beside it if it is that of the earlier command.
    pub(crate) async fn submit_once(
        &self,
        command: Command,
        repeat: Box<Repeat>,
    ) -> Result<Replied, Error> {
        self.check_level(&command).await?;
        let replied = self.append(command, Some(repeat))?;
        Ok(replied.await.map_err(|_| Error::Stopped)??)
    }

    /// Begins an epoch in a journal that only this node appends to: all listeners that are open in the
    /// state are gone.
    pub(crate) fn begin(&self, epoch: Epoch, rules: Rules) -> Result<Beginning, journal::Error> {
        drop(self.append(Command::Begin { epoch, alone: true }, None)?);
        Ok(Beginning(self.append(Command::Rules(Box::new(rules)), None)?))
    }

    /// Lets other rules count from now on.
    pub(crate) async fn set_rules(&self, rules: Rules) -> Result<(), Error> {
        self.submit(Command::Rules(Box::new(rules))).await.map(drop)
    }

    /// Lets other rules count than those that do, on a journal that others share.
    pub(crate) fn join_with(&self, rules: Rules) -> Result<(), journal::Error> {
        alive::warn_of_rules();
        self.append(Command::Rules(Box::new(rules)), None).map(drop)
    }

    /// Returns the journal, to ask how it is.
    pub(crate) fn journal(&self) -> &Appender {
        &self.0.journal
    }

    /// Appends a command to the journal. When this returns, its place in the order is fixed.
    fn append(
        &self,
        command: Command,
        repeat: Option<Box<Repeat>>,
    ) -> Result<oneshot::Receiver<Answer>, journal::Error> {
        let (sender, receiver) = oneshot::channel();
        let stamp = self.0.clock.stamp();
        // Numbers rise along the order, so that the number is drawn and queued under one lock.
        let mut waiting = self.waiting();
        if waiting.has_left {
            return Err(journal::Error::Closed);
        }
        let is_last = matches!(command, Command::Leave);
        let (number, since) = (waiting.submitted + 1, stamp.moment);
        let envelope = Envelope { node: self.0.id, number, stamp, command, repeat };
        self.0.appended.note(number);
        let appended = self.0.journal.append(envelope);
        if appended.is_ok() {
            waiting.submitted = number;
            waiting.has_left = is_last;
            waiting.callers.insert(number, (since, sender));
        } else {
            self.0.appended.forget(number);
        }
        drop(waiting);
        if let Err(error) = appended {
            if matches!(error, journal::Error::Full) {
                self.0.limits.refused(Limit::WaitingCommands, None);
            }
            return Err(error);
        }
        Ok(receiver)
    }

    /// Tells the others that this node has ended, which appends nothing from then on.
    pub(crate) async fn leave(&self) {
        if self.0.journal.outlives_this() {
            // Who does not hear of it finds out later.
            let _ = self.submit(Command::Leave).await;
        }
    }

    /// Asks the state. It is at least as new as all replies so far, also those of other nodes.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let since = self.0.journal.end().await?;
        self.ask_since(since, question).await
    }

    /// Asks the state as it is on this node, also while the journal is away.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.ask_since(Position::default(), question).await
    }

    async fn ask_since<T: Send + 'static>(
        &self,
        since: Position,
        question: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, answer) = oneshot::channel();
        let ask = Box::new(move |state: &State| {
            // The caller may be gone.
            let _ = sender.send(question(state));
        });
        self.0.questions.try_send(Question { since, ask }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.0.limits.refused(Limit::WaitingQuestions, None);
                journal::Error::Full
            }
            mpsc::error::TrySendError::Closed(_) => journal::Error::Closed,
        })?;
        answer.await.map_err(|_| Error::Stopped)
    }
}

impl Loop {
    /// Applies what the journal returns. When it is closed, nothing happens any more.
    ///
    /// # Errors
    /// Returns an error if the journal was raised to a level that this node does not know.
    pub(crate) async fn run(mut self) -> Result<Infallible, UnknownLevel> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut least = Duration::ZERO;
        loop {
            let until = |when| self.node.until(when).max(least);
            let pause = until_tick(&self.state, self.rank(), until).filter(|_| self.tick.is_none());
            let tell = self.telling.as_ref().map(Telling::due);
            tokio::select! {
                biased;
                count = self.journal.next(&mut batch, BATCH) => {
                    if count == 0 {
                        // Whoever ended it says why.
                        return std::future::pending().await;
                    }
                    let first = Instant::now();
                    let mut begun = first;
                    for given in batch.drain(..) {
                        match given {
                            Given::Entry(envelope) => self.apply(envelope, first).await?,
                            Given::Undone { number, why } => {
                            self.node.0.appended.forget(number);
                            self.answer(number, Err(why));
                        }
                            Given::Restart(state) => self.restart(*state),
                            Given::Snapshot(wanted) => drop(wanted.send(self.state.snapshot())),
                        }
                        let done = Instant::now();
                        if done.duration_since(begun) > LONG {
                            tokio::task::yield_now().await;
                        }
                        begun = done;
                    }
                    self.node.metrics().loop_batch.observe(begun.duration_since(first), 1);
                    self.tick.take_if(|tick| !matches!(tick.try_recv(), Err(TryRecvError::Empty)));
                    // A journal that is never empty must not starve the questions, nor those who catch up.
                    if self.question.is_none() {
                        self.question = self.questions.try_recv().ok();
                    }
                    self.answer_question();
                    if tell.is_some_and(|due| due.elapsed() > Duration::ZERO) {
                        self.tell().await;
                    }
                    if let Ok(outbox) = self.asking.try_recv() {
                        self.read_on(outbox).await;
                    }
                }
                Some(question) = self.questions.recv(), if self.question.is_none() => {
                    self.question = Some(question);
                    self.answer_question();
                }
                Some(outbox) = self.asking.recv() => {
                    self.read_on(outbox).await;
                    tokio::task::yield_now().await;
                }
                () = wait_until(tell) => {
                    self.tell().await;
                    tokio::task::yield_now().await;
                }
                () = wait(pause) => {
                    // A full journal advances the clock anyway when its envelopes are applied.
                    let tick = self.node.append(Command::Tick, None);
                    let has_no_space =
                        matches!(tick, Err(journal::Error::NoSpace | journal::Error::Away));
                    least = if has_no_space { NO_SPACE } else { Duration::ZERO };
                    self.tick = tick.ok();
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Brings the next portion to a listener that asked for it. Its place in the order of deliveries
    /// says which events it holds.
    async fn read_on(&mut self, outbox: Arc<Outbox>) {
        if let Some(portion) = self.portions.read(&self.state, &outbox, self.node.metrics()) {
            self.node.hub().bring(outbox, portion).await;
        }
    }

    /// Applies an envelope of a batch that was taken at `now`, after all of it was accepted.
    async fn apply(&mut self, envelope: Envelope, now: Instant) -> Result<(), UnknownLevel> {
        let Envelope { node, number, .. } = envelope;
        match &mut self.telling {
            Some(telling) if node == self.node.0.id => telling.sent(&envelope.command),
            Some(telling) => telling.check(&envelope, self.node.peers(), self.node.metrics()),
            None => {}
        }
        let opens = match &envelope.command {
            Command::Open { connection, .. } if self.telling.is_some() => Some(*connection),
            _ => None,
        };
        let published = match &envelope.command {
            Command::Publish(_) | Command::Change(_) | Command::Delete(_) => {
                Some(envelope.stamp.moment)
            }
            _ => None,
        };
        let evicted = envelope.repeat.is_some().then(|| self.state.evicted_answers());
        if node != self.node.0.id {
            self.node.0.clock.follow(envelope.stamp.moment);
        }
        // Dropped at the end, when the listeners have it.
        let applying =
            if node == self.node.0.id { self.node.0.appended.apply(number) } else { None };
        let level = self.state.level();
        // Each node hears of all, and the one that caused it tells.
        let tells = node == self.node.0.id && self.webhooks.are_wanted();
        self.state.collect_notices(tells);
        let outcome = self.state.apply(envelope);
        if !outcome.notices.is_empty() {
            self.webhooks.offer(outcome.notices, self.state.time());
        }
        if self.state.level() != level {
            self.level_changed()?;
        }
        if evicted.is_some_and(|evicted| evicted < self.state.evicted_answers()) {
            self.node.0.limits.refused(Limit::KeptAnswers, None);
        }
        if let Some(telling) = &mut self.telling {
            telling.applied(&self.state, !outcome.deliveries.is_empty());
        }
        let superseded = opens.and_then(|connection| superseded(connection, &outcome.deliveries));
        let accepted = published.map(|moment| {
            let ago = self.node.0.clock.since(moment, now);
            self.node.metrics().delivery.accepted(ago, now)
        });
        if let (Some(applying), Some(accepted)) = (&applying, accepted) {
            self.node.metrics().delivery.writes.begin(applying, accepted, &outcome.deliveries);
        }
        self.node.hub().deliver(outcome.deliveries, self.state.cursor(), accepted).await;
        if let Some((connection, listener)) = superseded {
            tokio::spawn(listener::report(self.node.clone(), connection, listener));
        }
        if node == self.node.0.id && outcome.is_new {
            self.answer(number, Ok((outcome.reply, outcome.replayed)));
        }
        Ok(())
    }

    /// Goes on from another state. The listeners of this node are not in it, or not as they are here.
    fn restart(&mut self, state: State) {
        self.node.0.clock.follow(state.latest_stamp());
        self.state = state.for_node(self.node.0.id);
        self.node.journal().set_level(self.state.level());
        self.node.peers().found(&self.state);
        self.portions = Portions::default();
        self.tick = None;
        if let Some(telling) = &mut self.telling {
            telling.restarted();
        }
        self.node.hub().end_some(Ending::NodeSilent, usize::MAX);
    }

    fn answer_question(&mut self) {
        let position = self.state.order().position();
        if let Some(question) = self.question.take_if(|question| question.since <= position) {
            (question.ask)(&self.state);
        }
    }

    /// Returns how many nodes append a tick before this one does.
    fn rank(&self) -> u32 {
        match self.telling {
            Some(_) => u32::try_from(self.state.rank(self.node.0.id)).unwrap_or(u32::MAX),
            None => 0,
        }
    }

    /// Answers who waits for the command of this number.
    fn answer(&self, number: u64, answer: Answer) {
        let caller = self.node.waiting().callers.remove(&number);
        if let Some((_, caller)) = caller {
            // The caller may be gone.
            let _ = caller.send(answer);
        }
    }
}

/// Returns how long a node waits before it appends a tick, if any is due: as many nodes as `rank` do so before
/// it. `until` is the time until a moment.
pub(crate) fn until_tick(
    state: &State,
    rank: u32,
    until: impl Fn(Moment) -> Duration,
) -> Option<Duration> {
    // Counted from the latest stamp: questions have no stamp and must not delay it.
    let latest = state.latest_stamp().after(TICK);
    let when = state.next_deadline()?.min(latest);
    Some(until(when).saturating_add(RANK.saturating_mul(rank)))
}

/// Returns the listener of a connection that has to report because one on another node takes over.
fn superseded(
    connection: ConnectionId,
    deliveries: &[Delivery],
) -> Option<(ConnectionId, ListenerId)> {
    deliveries.iter().find_map(|delivery| match delivery {
        Delivery::End { listener, reason: EndReason::SupersededElsewhere } => {
            Some((connection, *listener))
        }
        _ => None,
    })
}

/// Waits until then, or forever without an instant.
async fn wait_until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Waits for this time, or forever without one.
async fn wait(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
