//! The node: a handle that submits commands and asks questions, and the loop that owns the state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use channelstream_core::protocol::Epoch;
use channelstream_core::state::{
    Command, Envelope, Moment, NodeId, Refusal, Repeat, Reply, Rules, State,
};
use thiserror::Error;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{self, Clock};
use crate::journal::{self, Appender, Given, Reader};
use crate::limits::{Limit, Limits};
use crate::listener::hub::Hub;
use crate::listener::outbox::Outbox;
use crate::listener::portions::Portions;
use crate::metrics::Metrics;

/// How many envelopes are taken from the journal at once.
const BATCH: usize = 256;

/// The time after which applying an envelope yields before the next one. Shorter ones do not yield, so
/// that many of them are applied as quickly as they come.
const LONG: Duration = Duration::from_millis(10);

/// The longest time without a stamp while a deadline is ahead. It is less than the state's longest
/// step, so that own time keeps pace.
const TICK: Duration = Duration::from_secs(2);

/// The pause before the next stamp if the journal has no space for one.
const NO_SPACE: Duration = Duration::from_secs(1);

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
    /// The callers, by the number of their envelope.
    callers: HashMap<u64, oneshot::Sender<Answer>>,
}

type Question = Box<dyn FnOnce(&State) + Send>;

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
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
}

/// The loop: the only place that changes the state.
pub(crate) struct Loop {
    state: State,
    journal: Reader,
    questions: mpsc::Receiver<Question>,
    /// Listeners that ask for what they missed.
    asking: mpsc::UnboundedReceiver<Arc<Outbox>>,
    portions: Portions,
    /// The tick that is under way.
    tick: Option<oneshot::Receiver<Answer>>,
    node: Node,
}

/// The first entries of a run, which are under way.
pub(crate) struct Beginning(oneshot::Receiver<Answer>);

impl Beginning {
    /// Waits until they were applied.
    pub(crate) async fn done(self) -> Result<(), Error> {
        self.0.await.map_err(|_| Error::Stopped)??.0?;
        Ok(())
    }
}

/// Creates a node and its loop, which has to be run.
pub(crate) fn new(
    state: State,
    (journal, reader): (Appender, Reader),
    hub: Arc<Hub>,
    asking: mpsc::UnboundedReceiver<Arc<Outbox>>,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
) -> (Node, Loop) {
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let clock = Clock::going_on_from(state.latest_stamp());
    let id = NodeId::new(clock::secret_id().as_u64_pair().1);
    let state = state.for_node(id);
    let waiting = Mutex::default();
    let inner = Inner { id, journal, questions, waiting, clock, hub, limits, metrics };
    let node = Node(Arc::new(inner));
    let portions = Portions::default();
    let (journal, questions, tick) = (reader, asked, None);
    (node.clone(), Loop { state, journal, questions, asking, portions, tick, node })
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

    /// Returns the time until a moment of the state.
    pub(crate) fn until(&self, moment: Moment) -> Duration {
        self.0.clock.until(moment)
    }

    /// Appends a command to the journal and waits for the reply.
    pub(crate) async fn submit(&self, command: Command) -> Result<Reply, Error> {
        let replied = self.append(command, None)?;
        let (reply, _) = replied.await.map_err(|_| Error::Stopped)??;
        Ok(reply?)
    }

    /// Appends a command that is not carried out if it is the repeat of an earlier one, and waits for
    /// the reply. Returns `true` beside it if it is that of the earlier command.
    pub(crate) async fn submit_once(
        &self,
        command: Command,
        repeat: Box<Repeat>,
    ) -> Result<Replied, Error> {
        let replied = self.append(command, Some(repeat))?;
        Ok(replied.await.map_err(|_| Error::Stopped)??)
    }

    /// Begins an epoch in a journal that only this node appends to: all listeners that are open in the
    /// state are gone.
    pub(crate) fn begin(&self, epoch: Epoch, rules: Rules) -> Result<Beginning, journal::Error> {
        drop(self.append(Command::Begin { epoch, alone: true }, None)?);
        Ok(Beginning(self.append(Command::Rules(Box::new(rules)), None)?))
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
        let number = waiting.submitted + 1;
        let envelope = Envelope { node: self.0.id, number, stamp, command, repeat };
        let appended = self.0.journal.append(envelope);
        if appended.is_ok() {
            waiting.submitted = number;
            waiting.callers.insert(number, sender);
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

    /// Asks the state. It is at least as new as all replies so far.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, answer) = oneshot::channel();
        let question: Question = Box::new(move |state| {
            // The caller may be gone.
            let _ = sender.send(question(state));
        });
        self.0.questions.try_send(question).map_err(|error| match error {
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
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut least = Duration::ZERO;
        loop {
            // Counted from the latest stamp: questions have no stamp and must not delay it.
            let latest = self.state.latest_stamp().after(TICK);
            let pause = self.state.next_deadline().filter(|_| self.tick.is_none());
            let pause = pause.map(|when| self.node.until(when.min(latest)).max(least));
            tokio::select! {
                biased;
                count = self.journal.next(&mut batch, BATCH) => {
                    if count == 0 {
                        // Whoever ended it says why.
                        return std::future::pending().await;
                    }
                    let mut begun = Instant::now();
                    for given in batch.drain(..) {
                        match given {
                            Given::Entry(envelope) => self.apply(envelope).await,
                            Given::Undone { number, why } => self.answer(number, Err(why)),
                        }
                        let done = Instant::now();
                        if done.duration_since(begun) > LONG {
                            tokio::task::yield_now().await;
                        }
                        begun = done;
                    }
                    self.tick.take_if(|tick| !matches!(tick.try_recv(), Err(TryRecvError::Empty)));
                    // A journal that is never empty must not starve the questions, nor those who catch up.
                    if let Ok(question) = self.questions.try_recv() {
                        question(&self.state);
                    }
                    if let Ok(outbox) = self.asking.try_recv() {
                        self.read_on(outbox).await;
                    }
                }
                Some(question) = self.questions.recv() => question(&self.state),
                Some(outbox) = self.asking.recv() => {
                    self.read_on(outbox).await;
                    tokio::task::yield_now().await;
                }
                () = wait(pause) => {
                    // A full journal advances the clock anyway when its envelopes are applied.
                    let tick = self.node.append(Command::Tick, None);
                    let has_no_space = matches!(tick, Err(journal::Error::NoSpace));
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

    async fn apply(&mut self, envelope: Envelope) {
        let Envelope { node, number, .. } = envelope;
        let evicted = envelope.repeat.is_some().then(|| self.state.evicted_answers());
        let outcome = self.state.apply(envelope);
        if evicted.is_some_and(|evicted| evicted < self.state.evicted_answers()) {
            self.node.0.limits.refused(Limit::KeptAnswers, None);
        }
        self.node.hub().deliver(outcome.deliveries, self.state.cursor()).await;
        if node != self.node.0.id {
            return;
        }
        self.answer(number, Ok((outcome.reply, outcome.replayed)));
    }

    /// Answers who waits for the command of this number.
    fn answer(&self, number: u64, answer: Answer) {
        let caller = self.node.waiting().callers.remove(&number);
        if let Some(caller) = caller {
            // The caller may be gone.
            let _ = caller.send(answer);
        }
    }
}

/// Waits for this time, or forever without one.
async fn wait(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
