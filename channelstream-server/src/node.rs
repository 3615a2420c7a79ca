//! The node: a handle that submits commands and asks questions, and the loop that owns the state.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use channelstream_core::state::{Command, Envelope, Moment, Refusal, Reply, State};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::journal::{self, Appender, Entry, Reader};
use crate::limits::{Limit, Limits};
use crate::listener::hub::Hub;
use crate::metrics::Metrics;

/// Entries taken from the journal at once.
const BATCH: usize = 256;

/// An entry that took so long gives others a turn before the next. Short ones don't, so that many at
/// once are applied as quickly as they come.
const LONG: Duration = Duration::from_millis(10);

/// The longest that own time stands still while something is to happen. Less than the state's
/// longest step, so that it keeps pace.
const TICK: Duration = Duration::from_secs(2);

/// Questions that may wait.
const QUESTIONS: usize = 1024;

/// Why there is no reply.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The state turned the command down.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server is too far behind, or at its end. Nothing was done.
    #[error("the server is overloaded or shutting down: {0}")]
    Unavailable(#[from] journal::Error),
    /// The server came to its end before the reply; what was wanted may have been done.
    #[error("the server is shutting down")]
    Stopped,
}

type Waiting = HashMap<u64, oneshot::Sender<Result<Reply, Refusal>>>;
type Question = Box<dyn FnOnce(&State) + Send>;

/// Submits commands and asks questions; cheap to clone.
#[derive(Clone)]
pub(crate) struct Node(Arc<Inner>);

struct Inner {
    journal: Appender,
    questions: mpsc::Sender<Question>,
    /// Who waits for a reply, by the number of the entry.
    waiting: Mutex<Waiting>,
    submitted: AtomicU64,
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
    node: Node,
}

/// A node and its loop, which has to be run.
pub(crate) fn new(
    state: State,
    hub: Arc<Hub>,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
) -> (Node, Loop) {
    let (journal, reader) = journal::open();
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let (waiting, submitted) = (Mutex::default(), AtomicU64::new(0));
    let clock = Clock::going_on_from(state.latest_stamp());
    let inner = Inner { journal, questions, waiting, submitted, clock, hub, limits, metrics };
    let node = Node(Arc::new(inner));
    (node.clone(), Loop { state, journal: reader, questions: asked, node })
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

    /// How long it is until a moment of the state.
    pub(crate) fn until(&self, moment: Moment) -> Duration {
        self.0.clock.until(moment)
    }

    /// Puts a command into the one order and waits for what came of it.
    pub(crate) async fn submit(&self, command: Command) -> Result<Reply, Error> {
        let reply = self.append(command)?;
        Ok(reply.await.map_err(|_| Error::Stopped)??)
    }

    /// The same without waiting: when it returns, the order stands.
    fn append(
        &self,
        command: Command,
    ) -> Result<oneshot::Receiver<Result<Reply, Refusal>>, journal::Error> {
        let id = self.0.submitted.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(id, sender);
        let envelope = Envelope { stamp: self.0.clock.stamp(), command };
        if let Err(error) = self.0.journal.append(Entry { id, envelope }) {
            self.waiting().remove(&id);
            if matches!(error, journal::Error::Full) {
                self.0.limits.refused(Limit::WaitingCommands, None);
            }
            return Err(error);
        }
        Ok(receiver)
    }

    /// Asks the state as it is after everything that was replied to.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, answer) = oneshot::channel();
        let question: Question = Box::new(move |state| {
            // Who asked may have gone meanwhile.
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
    /// Applies what the journal gives, until it is closed.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            // Counted from the latest stamp: questions, which bring none, must not put it off.
            let latest = self.state.latest_stamp().after(TICK);
            let pause = self.state.next_deadline().map(|when| self.node.until(when.min(latest)));
            tokio::select! {
                biased;
                count = self.journal.next(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    let mut begun = Instant::now();
                    for entry in batch.drain(..) {
                        self.apply(&entry).await;
                        let done = Instant::now();
                        if done.duration_since(begun) > LONG {
                            tokio::task::yield_now().await;
                        }
                        begun = done;
                    }
                }
                Some(question) = self.questions.recv() => question(&self.state),
                () = wait(pause) => {
                    // If the journal is full, what comes out of it brings the time as well.
                    let _ = self.node.append(Command::Tick);
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    async fn apply(&mut self, entry: &Entry) {
        let outcome = self.state.apply(&entry.envelope);
        self.node.hub().deliver(outcome.deliveries, self.state.sequence()).await;
        if let Some(waiting) = self.node.waiting().remove(&entry.id) {
            // Who submitted may have gone meanwhile.
            let _ = waiting.send(outcome.reply);
        }
    }
}

/// Waits so long; for ever, if there is nothing to wait for.
async fn wait(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
