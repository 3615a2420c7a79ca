//! Questions for the end of the journal, which are asked together.

use std::time::Duration;

use channelstream_core::state::Position;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::Error;
use super::command::Trouble;

/// How long a question may take.
const QUESTION: Duration = Duration::from_secs(1);

/// Who waits to hear where the journal ends.
pub(super) type Asker = oneshot::Sender<Result<Position, Error>>;

/// A question that is under way.
type Question = BoxFuture<'static, Result<Position, Trouble>>;

/// Those who wait. Who comes while a question is under way shares the next one, since its answer may be from
/// before.
#[derive(Default)]
pub(super) struct Asking {
    askers: Vec<Asker>,
    later: Vec<Asker>,
    question: Option<Question>,
}

impl Asking {
    /// Takes somebody who asks.
    pub(super) fn take(&mut self, asker: Asker) {
        if self.question.is_some() { &mut self.later } else { &mut self.askers }.push(asker);
    }

    /// Returns `true` if somebody waits, and nothing is under way.
    pub(super) fn wants_question(&self) -> bool {
        self.question.is_none() && !self.askers.is_empty()
    }

    /// Asks.
    pub(super) fn ask(&mut self, question: Question) {
        let question = timeout(QUESTION, question);
        self.question = Some(Box::pin(async { question.await.unwrap_or(Err(Trouble::Stalled)) }));
    }

    /// Waits for the answer to the question that is under way.
    pub(super) async fn end(&mut self) -> Result<Position, Trouble> {
        match &mut self.question {
            Some(question) => question.await,
            None => std::future::pending().await,
        }
    }

    /// Tells those who have asked. The next ones are to be asked for.
    pub(super) fn tell(&mut self, end: Option<Position>) {
        self.question = None;
        for asker in self.askers.drain(..) {
            // Who asked may be gone.
            let _ = asker.send(end.ok_or(Error::Away));
        }
        std::mem::swap(&mut self.askers, &mut self.later);
    }

    /// Tells all that there is no answer.
    pub(super) fn give_up(&mut self) {
        self.tell(None);
        self.tell(None);
    }
}

/// Waits for a future, or forever without one.
pub(super) async fn maybe<T>(future: Option<&mut BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
