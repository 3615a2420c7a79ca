//! The driver: carries out what the protocol wants, and tells it what came of it.

mod snapshots;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use channelstream_core::state::stored::Levels;
use channelstream_core::state::{Envelope, NodeId, Position, State};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::super::{Error, Given, Standing};
use super::answer::{Entries, Found, NoWrites};
use super::asking::{Asker, Asking, maybe};
use super::checks::Refusal;
use super::command::{self, Keys, Trouble};
use super::figures::{Figures, count};
use super::giving::Giving;
use super::lines::{self, Batch, Got, Lines};
use super::notices;
use super::protocol::message::{
    self, Answer, Appended, Damage, Entry, Fate, Head, Notice, Output, Request, Why,
};
use super::protocol::{Machine, Refused};
use super::snapshots::{self as making, Due, Made, Making};
use super::target::Target;

/// How many envelopes are taken at once.
const BATCH: usize = 256;

/// How often it is looked after what has no time of its own.
const EVERY: Duration = Duration::from_secs(1);

/// How long a stop waits for what was accepted.
const STOP: Duration = Duration::from_secs(1);

/// What a driver begins with.
pub(super) struct Parts {
    pub(super) machine: Machine<Box<State>>,
    pub(super) target: Target,
    pub(super) keys: Keys,
    pub(super) known: Levels,
    pub(super) node: (NodeId, u64),
    pub(super) replicas: usize,
    pub(super) due: Due,
    pub(super) envelopes: mpsc::Receiver<Envelope>,
    pub(super) askers: mpsc::Receiver<Asker>,
    pub(super) given: mpsc::Sender<Given>,
    pub(super) figures: Arc<Figures>,
}

/// Runs the protocol over two lines to Redis.
pub(crate) struct Driver {
    machine: Machine<Box<State>>,
    target: Target,
    keys: Keys,
    known: Levels,
    node: (NodeId, u64),
    replicas: usize,
    due: Due,
    envelopes: mpsc::Receiver<Envelope>,
    asked: mpsc::Receiver<Asker>,
    figures: Arc<Figures>,
    giving: Giving,
    started: Instant,
    session: u64,
    connecting: Option<BoxFuture<'static, Result<lines::Opened, Trouble>>>,
    lines: Option<Lines>,
    /// What was read last, as far as it was not given out.
    found: VecDeque<Found>,
    /// The newest head, to tell which entries count.
    head: Option<Head>,
    /// The state that the loop was asked for, and its position.
    wanted: Option<BoxFuture<'static, (Position, Option<Vec<u8>>)>>,
    making: Option<Making>,
    /// A snapshot the parts of which are in Redis.
    made: Option<Made>,
    no_snapshot_before: Instant,
    asking: Asking,
    /// Asks whether the master is still where it was.
    looking: Option<BoxFuture<'static, Result<String, Trouble>>>,
    looks: Instant,
    /// Asks whether the newest snapshot is whole.
    checking: Option<BoxFuture<'static, Result<bool, Trouble>>>,
    checks: Instant,
    /// What Redis said when it wrote nothing last, if it has written nothing since.
    no_writes: Option<NoWrites>,
    /// The damage that was noticed since the journal was followed last.
    damage: Option<Damage>,
    /// What was logged last.
    trouble: Option<Trouble>,
    warnings: Vec<String>,
    /// Redis was found fit before.
    is_checked: bool,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("node", &self.node).finish_non_exhaustive()
    }
}

/// What happened.
enum Event {
    Stop,
    Connected(Box<Result<lines::Opened, Trouble>>),
    Came(message::Line, Result<Got, Trouble>),
    Envelopes,
    Room,
    Made(making::Outcome),
    State(Position, Option<Vec<u8>>),
    Asker(Asker),
    End(Result<Position, Trouble>),
    Address(Result<String, Trouble>),
    Checked(Result<bool, Trouble>),
    Time,
    Closed,
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            machine,
            target,
            keys,
            known,
            node,
            replicas,
            due,
            envelopes,
            askers,
            given,
            figures,
        } = parts;
        let now = Instant::now();
        Self {
            machine,
            target,
            keys,
            known,
            node,
            replicas,
            due,
            envelopes,
            asked: askers,
            figures,
            giving: Giving::new(given, node.0),
            started: now,
            session: 0,
            connecting: None,
            lines: None,
            found: VecDeque::new(),
            head: None,
            wanted: None,
            making: None,
            made: None,
            no_snapshot_before: now,
            asking: Asking::default(),
            looking: None,
            looks: now,
            checking: None,
            checks: now,
            no_writes: None,
            damage: None,
            trouble: None,
            warnings: Vec::new(),
            is_checked: false,
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Runs until `stop` completes and what was accepted was given out or a moment has passed, or until
    /// nobody reads any more.
    ///
    /// # Errors
    /// Returns an error if Redis cannot hold the journal. What breaks later is waited for.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), Refusal> {
        let mut stop = pin!(stop);
        let mut latest: Option<Instant> = None;
        let mut taken = Vec::with_capacity(BATCH);
        loop {
            self.carry_out().await;
            if latest.is_some_and(|latest| self.is_idle() || latest <= Instant::now()) {
                return Ok(());
            }
            let event = self.next(&mut stop, latest, &mut taken).await;
            match event {
                Event::Stop => latest = Some(Instant::now() + STOP),
                Event::Closed => return Ok(()),
                Event::Envelopes => self.append(&mut taken),
                Event::Connected(opened) => match *opened {
                    Ok(opened) => self.opened(opened)?,
                    Err(trouble) => self.broke(trouble),
                },
                Event::Came(line, Ok(got)) => self.came(line, got),
                // The snapshot is of a level that this release does not know.
                Event::Came(_, Err(Trouble::Unfit(refusal))) => return Err(refusal),
                Event::Came(_, Err(trouble)) => self.broke(trouble),
                Event::Room => {}
                Event::Made(outcome) => self.was_made(outcome),
                Event::State(position, bytes) => self.state_came(position, bytes),
                Event::Asker(asker) => {
                    self.asking.take(asker);
                    self.ask_for_end();
                }
                // For example because the scripts were flushed, which new lines bring again.
                Event::End(Err(trouble @ Trouble::Answers(_))) => {
                    self.asking.give_up();
                    self.broke(trouble);
                }
                Event::End(end) => {
                    self.asking.tell(end.ok());
                    self.ask_for_end();
                }
                Event::Address(address) => {
                    self.looking = None;
                    let is_elsewhere = |lines: &Lines| {
                        address.as_ref().is_ok_and(|address| *address != lines.address)
                    };
                    if self.lines.as_ref().is_some_and(is_elsewhere) {
                        self.broke(Trouble::Moved);
                    }
                }
                Event::Checked(is_whole) => self.was_checked(is_whole),
                Event::Time => self.look_after(),
            }
        }
    }

    /// Returns `true` if nothing is under way that somebody waits for.
    fn is_idle(&self) -> bool {
        self.machine.waiting() == 0 && self.giving.is_empty() && self.envelopes.is_empty()
    }

    async fn next(
        &mut self,
        stop: &mut std::pin::Pin<&mut impl Future<Output = ()>>,
        latest: Option<Instant>,
        taken: &mut Vec<Envelope>,
    ) -> Event {
        let (is_behind, wants_room) = (self.giving.is_behind(), self.giving.wants_room());
        let wake = self.machine.wake().map(|wake| self.started + wake);
        let wake = wake.into_iter().chain(latest).fold(self.looks, Instant::min);
        let (append, read) = match &mut self.lines {
            Some(lines) => (Some(&mut lines.append), Some(&mut lines.read)),
            None => (None, None),
        };
        tokio::select! {
            biased;
            () = stop, if latest.is_none() => Event::Stop,
            opened = maybe(self.connecting.as_mut()) => Event::Connected(Box::new(opened)),
            has_room = self.giving.room(), if wants_room => match has_room {
                true => Event::Room,
                false => Event::Closed,
            },
            got = lines::next_on(append) => Event::Came(message::Line::Append, got),
            got = lines::next_on(read), if !is_behind => Event::Came(message::Line::Read, got),
            count = self.envelopes.recv_many(taken, BATCH) => match count {
                0 => Event::Closed,
                _ => Event::Envelopes,
            },
            Some(asker) = self.asked.recv() => Event::Asker(asker),
            end = self.asking.end() => Event::End(end),
            (position, state) = maybe(self.wanted.as_mut()) => Event::State(position, state),
            outcome = making::outcome_of(self.making.as_mut()) => Event::Made(outcome),
            address = maybe(self.looking.as_mut()) => Event::Address(address),
            is_whole = maybe(self.checking.as_mut()) => Event::Checked(is_whole),
            () = sleep_until(wake) => Event::Time,
        }
    }

    /// Does what the protocol wants, and gives out what there is room for.
    async fn carry_out(&mut self) {
        let mut batch = Batch::default();
        while let Some(output) = self.machine.output() {
            match output {
                Output::Ask { request: Request::Append { epoch, entry }, .. } => {
                    if batch.is_full() {
                        self.send(std::mem::take(&mut batch)).await;
                    }
                    if let Some(lines) = &self.lines {
                        lines.add(&mut batch, epoch, &entry);
                    }
                }
                Output::Ask { line, request } => {
                    self.send(std::mem::take(&mut batch)).await;
                    let Some(lines) = &mut self.lines else { continue };
                    match request {
                        Request::Meet => lines.meet(line).await,
                        request => {
                            let stored = self.made.map_or(0, |made| made.chunks);
                            lines.ask(request, stored, self.figures.level()).await;
                        }
                    }
                }
                output => {
                    self.send(std::mem::take(&mut batch)).await;
                    self.carry_out_here(output);
                }
            }
        }
        self.send(batch).await;
        self.found.clear();
        self.giving.give_out(&self.figures);
    }

    async fn send(&mut self, batch: Batch) {
        if let Some(lines) = &mut self.lines {
            self.giving.wait_for(lines.send(batch).await);
        }
    }

    /// Does what needs no line.
    fn carry_out_here(&mut self, output: Output<Box<State>>) {
        match output {
            Output::Connect { session } => {
                self.session = session;
                let (target, keys) = (self.target.clone(), self.keys.clone());
                let opening = lines::open(target, keys, self.known, self.node, self.replicas);
                self.connecting = Some(Box::pin(opening));
            }
            Output::Hangup => {
                self.connecting = None;
                self.lines = None;
                self.looking = None;
                self.checking = None;
                self.making = None;
                self.made = None;
                self.giving.hang_up();
                self.asking.give_up();
            }
            Output::Ask { .. } => {}
            Output::Entry { position, entry } => {
                while self.found.front().is_some_and(|(at, ..)| *at < position) {
                    self.found.pop_front();
                }
                let Some((_, _, envelope)) = self.found.pop_front() else { return };
                count(&self.figures.entries, 1);
                count(&self.figures.bytes, entry.bytes.len());
                self.figures.epoch.store(position.epoch.get(), Ordering::Relaxed);
                self.giving.push(Given::Entry(envelope));
            }
            Output::Restart(state) => {
                count(&self.figures.restarts, 1);
                let epoch = state.order().position().epoch;
                self.figures.epoch.store(epoch.get(), Ordering::Relaxed);
                self.giving.push(Given::Restart(state));
            }
            Output::Fate { number, fate } => {
                let why = match fate {
                    Fate::NotDone(Why::Late) => Error::Late,
                    Fate::NotDone(Why::Full) => match &self.no_writes {
                        Some(no) if !no.for_want_of_memory => Error::NoWrites,
                        _ => Error::NoMemory,
                    },
                    Fate::Done | Fate::InDoubt => Error::InDoubt,
                };
                self.undone(number, why);
            }
            Output::Snapshot => self.ask_loop_for_state(),
            Output::Standing(standing) => self.stands(standing),
            Output::Notice(notice) => self.notice(notice),
        }
    }

    fn undone(&mut self, number: u64, why: Error) {
        count(&self.figures.undone, 1);
        self.giving.push(Given::Undone { number, why });
    }

    fn stands(&mut self, standing: message::Standing) {
        let standing = match standing {
            message::Standing::Following => Standing::Following,
            message::Standing::Joining => Standing::Joining,
            message::Standing::Away => Standing::Away,
        };
        self.figures.stand(standing);
        if standing == Standing::Following {
            (self.trouble, self.damage) = (None, None);
            let position = self.machine.order().position();
            tracing::info!(from = %command::id(position), "the journal in Redis is followed");
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Stalled(_) => self.tell_trouble(Trouble::Stalled),
            Notice::WentBack => self.tell_trouble(Trouble::WentBack),
            Notice::Headless => self.tell_trouble(Trouble::Headless),
            // It is noticed again each time that the journal moves.
            Notice::Damaged(damage) if self.damage == Some(damage) => {}
            notice => {
                if let Notice::Damaged(damage) = notice {
                    self.damage = Some(damage);
                }
                notices::note(notice, &self.figures);
            }
        }
    }

    /// Logs what is wrong, unless it is what was wrong before.
    fn tell_trouble(&mut self, trouble: Trouble) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!("the journal in Redis is away: {trouble}");
            self.trouble = Some(trouble);
        }
    }

    fn broke(&mut self, trouble: Trouble) {
        self.connecting = None;
        self.tell_trouble(trouble);
        let (now, session) = (self.now(), self.session);
        self.machine.broke(now, session);
    }

    fn opened(&mut self, opened: lines::Opened) -> Result<(), Refusal> {
        self.connecting = None;
        match opened.checked {
            Ok(warnings) => {
                for warning in warnings.iter().filter(|it| !self.warnings.contains(it)) {
                    tracing::warn!("{warning}");
                }
                self.warnings = warnings;
                self.is_checked = true;
            }
            Err(refusal) if !self.is_checked => return Err(refusal),
            Err(refusal) => {
                self.broke(refusal.into());
                return Ok(());
            }
        }
        self.figures.found_at(&opened.lines.address);
        self.lines = Some(opened.lines);
        let (now, session) = (self.now(), self.session);
        self.machine.opened(now, session);
        Ok(())
    }

    /// Takes envelopes of this node.
    fn append(&mut self, taken: &mut Vec<Envelope>) {
        for envelope in taken.drain(..) {
            let entry = Entry::of(&envelope, self.figures.level());
            let now = self.now();
            match self.machine.append(now, entry) {
                Ok(()) => count(&self.figures.appended, 1),
                Err(Refused::Away) => self.undone(envelope.number, Error::Away),
                Err(Refused::Full) => self.undone(envelope.number, Error::Full),
            }
        }
    }

    fn came(&mut self, line: message::Line, got: Got) {
        match got {
            Got::Answers(answers) => {
                for answer in answers {
                    self.note(&answer);
                    self.answer(line, answer);
                }
            }
            Got::Appended(answers, no_writes) => {
                let is_written =
                    answers.iter().any(|it| matches!(it, Answer::Appended(Appended::Done(_))));
                self.note_writes(no_writes, is_written);
                for answer in answers {
                    self.answer(line, answer);
                }
            }
            Got::Entries(Entries { found, unreadable: Some((at, why)) }) if found.is_empty() => {
                self.tell_trouble(Trouble::Foreign { at: command::id(at), why: why.to_string() });
                self.answer(line, Answer::Unreadable(at));
            }
            // What cannot be read is the first one of the next read.
            Got::Entries(Entries { found, .. }) => {
                if let Some(lines) = &mut self.lines {
                    lines.has_read(&found);
                }
                let entries = found.iter().map(|(at, entry, _)| (*at, entry.clone())).collect();
                self.found = found.into();
                self.answer(line, Answer::Entries(entries));
            }
            Got::Loaded(loaded) => {
                let snapshot = loaded.map(|(order, state, size)| {
                    self.figures.snapshot_stands(size, Duration::ZERO);
                    self.figures.bytes.store(0, Ordering::Relaxed);
                    self.due.known = Some(order.position());
                    (order, state)
                });
                self.answer(line, Answer::Loaded(snapshot));
            }
            Got::Saved(is_done) => {
                self.was_saved(is_done);
                self.answer(line, Answer::Saved);
            }
            Got::Replicated { numbers, replicas } => {
                self.giving.confirm(numbers, replicas >= self.replicas);
            }
        }
    }

    /// Keeps what the driver itself wants to know.
    fn note(&mut self, answer: &Answer<Box<State>>) {
        match answer {
            Answer::Met { view, .. } | Answer::Claims { view, .. } => {
                self.head.clone_from(&view.head)
            }
            _ => {}
        }
    }

    /// Notes whether Redis writes what is appended.
    fn note_writes(&mut self, no_writes: Option<NoWrites>, is_written: bool) {
        if no_writes.is_none() && !is_written {
            return;
        }
        self.figures.takes_nothing.store(no_writes.is_some(), Ordering::Relaxed);
        match &no_writes {
            Some(no) if self.no_writes != no_writes => tracing::error!(
                "Redis does not write what is appended, and nothing is accepted until it does: {}",
                no.said
            ),
            None if self.no_writes.is_some() => tracing::info!("Redis writes again"),
            _ => {}
        }
        self.no_writes = no_writes;
    }

    fn answer(&mut self, line: message::Line, answer: Answer<Box<State>>) {
        let (now, session) = (self.now(), self.session);
        self.machine.answered(now, session, line, answer);
    }

    /// Asks where the journal ends, if somebody wants to know.
    fn ask_for_end(&mut self) {
        if !self.asking.wants_question() {
            return;
        }
        match &self.lines {
            Some(lines) if self.figures.standing() == Standing::Following => {
                self.asking.ask(lines.end());
            }
            _ => self.asking.give_up(),
        }
    }

    /// Does what is due.
    fn look_after(&mut self) {
        let now = self.now();
        if let Some(lines) = &mut self.lines {
            // An answer that nobody takes yet is none that is late.
            let is_behind = self.giving.is_behind();
            for (line, has_progressed) in [
                (message::Line::Append, lines.append.has_progressed()),
                (message::Line::Read, lines.read.has_progressed() || is_behind),
            ] {
                if has_progressed {
                    self.machine.progressed(now, self.session, line);
                }
            }
        }
        self.machine.tick(now);
        let looks = Instant::now();
        if looks < self.looks {
            return;
        }
        self.looks = looks + EVERY;
        if self.target.moves() && self.lines.is_some() && self.looking.is_none() {
            let target = self.target.clone();
            self.looking = Some(Box::pin(async move { target.address().await }));
        }
        self.snapshot_if_due();
        self.check_snapshot();
    }
}
