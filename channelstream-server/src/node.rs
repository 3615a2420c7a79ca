//! The node: a handle that submits commands and asks questions, and the loop that owns the state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use channelstream_core::state::{Command, Envelope, Moment, NodeId, Refusal, Repeat, Reply, State};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{self, Clock};
use crate::journal::{self, Appender, Reader};
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

/// How many questions may wait.
const QUESTIONS: usize = 1024;

/// The reason why there is no reply.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The state refused the command.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server is too far behind, or stopping. Nothing was done.
    #[error("the server is overloaded or shutting down: {0}")]
    Unavailable(#[from] journal::Error),
    /// The server stopped before it replied. The command may have been carried out.
    #[error("the server is shutting down")]
    Stopped,
}

/// A reply or refusal, and whether it is that of an earlier command.
type Replied = (Result<Reply, Refusal>, bool);

/// The callers that wait for a reply.
#[derive(Default)]
struct Waiting {
    /// The number of the newest envelope.
    submitted: u64,
    /// The callers, by the number of their envelope.
    callers: HashMap<u64, oneshot::Sender<Replied>>,
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
    node: Node,
}

/// Creates a node and its loop, which has to be run.
pub(crate) fn new(
    state: State,
    hub: Arc<Hub>,
    asking: mpsc::UnboundedReceiver<Arc<Outbox>>,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
) -> (Node, Loop) {
    let (journal, reader) = journal::open();
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let clock = Clock::going_on_from(state.latest_stamp());
    let id = NodeId::new(clock::secret_id().as_u64_pair().1);
    let state = state.for_node(id);
    let waiting = Mutex::default();
    let inner = Inner { id, journal, questions, waiting, clock, hub, limits, metrics };
    let node = Node(Arc::new(inner));
    let portions = Portions::default();
    (node.clone(), Loop { state, journal: reader, questions: asked, asking, portions, node })
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
        let (reply, _) = replied.await.map_err(|_| Error::Stopped)?;
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
        replied.await.map_err(|_| Error::Stopped)
    }

    /// Appends a command to the journal. When this returns, its place in the order is fixed.
    fn append(
        &self,
        command: Command,
        repeat: Option<Box<Repeat>>,
    ) -> Result<oneshot::Receiver<Replied>, journal::Error> {
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
    /// Applies what the journal returns, until it is closed.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            // Counted from the latest stamp: questions have no stamp and must not delay it.
            let latest = self.state.latest_stamp().after(TICK);
            let pause = self.state.next_deadline().map(|when| self.node.until(when.min(latest)));
            tokio::select! {
                biased;
                count = self.journal.next(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    let mut begun = Instant::now();
                    for envelope in batch.drain(..) {
                        self.apply(envelope).await;
                        let done = Instant::now();
                        if done.duration_since(begun) > LONG {
                            tokio::task::yield_now().await;
                        }
                        begun = done;
                    }
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
                    let _ = self.node.append(Command::Tick, None);
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
        let caller = self.node.waiting().callers.remove(&number);
        if let Some(caller) = caller {
            // The caller may be gone.
            let _ = caller.send((outcome.reply, outcome.replayed));
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
