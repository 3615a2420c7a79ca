//! A journal in Redis, which several nodes share and which outlives them all.
//!
//! `protocol` decides what is asked of Redis and what its answers mean. The driver asks, on two lines: one
//! that appends, and one that reads and may wait for entries. A line is never mended. What breaks is
//! thrown away, and the protocol begins anew with two others, so that nothing is ever sent into a history
//! that is not known.

mod answer;
mod asking;
mod checks;
mod command;
mod doctor;
mod driver;
mod figures;
mod giving;
mod identity;
mod lines;
mod notices;
pub(crate) mod protocol;
mod snapshots;
mod target;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use channelstream_core::state::stored::Levels;
use channelstream_core::state::{Envelope, NodeId, Order, Position, State};
use tokio::sync::{mpsc, oneshot};

use super::{Appender, CAPACITY, Error, Opened, Reader, Standing, Writer};
use crate::clock;
use crate::config::RedisJournal;
use asking::Asker;
use command::Keys;
use protocol::{Machine, Settings};
use snapshots::Due;
use target::Target;

pub(crate) use checks::{Refusal, megabytes};
pub(crate) use doctor::examine;
pub(crate) use driver::Driver;
pub(crate) use figures::Figures;
pub(crate) use target::UrlError;

/// How many questions for the end of the journal may wait.
const ASKERS: usize = 1024;

/// How far the loop may be behind what was read before the node is not ready.
const LAG: Duration = Duration::from_secs(2);

/// The end of a journal in Redis that accepts envelopes.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    envelopes: mpsc::Sender<Envelope>,
    askers: mpsc::Sender<Asker>,
    figures: Arc<Figures>,
}

/// Opens the journal. Nothing is connected before its driver runs. Until the state of the journal is given
/// out as a restart, it is away.
pub(super) fn open(
    journal: &RedisJournal,
    known: Levels,
    initial: impl FnOnce() -> State,
) -> Result<Opened, UrlError> {
    open_with(journal, known, initial, Due::default())
}

fn open_with(
    journal: &RedisJournal,
    known: Levels,
    initial: impl FnOnce() -> State,
    due: Due,
) -> Result<Opened, UrlError> {
    let keys = Keys::new(&journal.name);
    let target = Target::of(journal, keys.clone())?;
    for warning in target.warnings() {
        tracing::warn!("{}", warning.line());
    }
    let number = clock::salt();
    let node = NodeId::new(number);
    let mut settings = Settings { append_timeout: journal.timeout, ..Settings::default() };
    if journal.replicas > 0 {
        // An answer may come behind the waiting of the requests before it.
        settings.answer_timeout += lines::WAIT;
    }
    let machine = Machine::new(node, settings, Duration::ZERO, Order::default());
    let state = initial();
    let figures = Arc::new(Figures::new(target.shown(), state.level()));
    let (envelopes, accepted) = mpsc::channel(CAPACITY);
    let (given, reader) = mpsc::channel(CAPACITY);
    let (askers, asked) = mpsc::channel(ASKERS);
    let driver = Driver::new(driver::Parts {
        machine,
        target,
        keys,
        known,
        node: (node, number),
        replicas: journal.replicas,
        due,
        envelopes: accepted,
        askers: asked,
        given,
        figures: Arc::clone(&figures),
    });
    let appender = Appender::Redis(Shared { envelopes, askers, figures });
    Ok(Opened {
        appender,
        reader: Reader::Queue(reader),
        state,
        known,
        node: Some(node),
        clock: None,
        writer: Some(Writer::Redis(Box::new(driver))),
    })
}

impl Shared {
    /// Takes an envelope, if the journal is followed and has room for it.
    pub(super) fn append(&self, envelope: Envelope) -> Result<(), Error> {
        if self.figures.standing() != Standing::Following {
            return Err(if self.envelopes.is_closed() { Error::Closed } else { Error::Away });
        }
        self.envelopes.try_send(envelope).map_err(|error| super::refusal(&error))
    }

    pub(super) fn standing(&self) -> Standing {
        match self.figures.standing() {
            _ if self.envelopes.is_closed() => Standing::Ended,
            Standing::Following if self.figures.lag() > LAG => Standing::Joining,
            Standing::Following if self.figures.takes_nothing() => Standing::NoSpace,
            standing => standing,
        }
    }

    /// Asks Redis for the position of the newest entry.
    pub(super) async fn end(&self) -> Result<Position, Error> {
        if self.figures.standing() != Standing::Following {
            return Err(Error::Away);
        }
        let (asker, end) = oneshot::channel();
        self.askers.try_send(asker).map_err(|error| super::refusal(&error))?;
        end.await.unwrap_or(Err(Error::Closed))
    }

    /// Says whether this node makes the snapshots.
    pub(super) fn lead(&self, leads: bool) {
        self.figures.lead(leads);
    }

    /// Says which level is in force.
    pub(super) fn set_level(&self, level: u32) {
        if self.figures.level.swap(level, Ordering::Relaxed) < level {
            self.figures.is_raised.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }
}
