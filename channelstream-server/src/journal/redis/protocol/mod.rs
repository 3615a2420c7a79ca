//! The protocol by which nodes share a journal in Redis: answers go in, requests come out.
//!
//! It does no IO, reads no clock and draws no random numbers, so that the simulator runs what the server
//! runs. All time is that of a monotonic clock from an arbitrary beginning.
//!
//! An epoch lives on one run of one Redis, because only one run never goes back. When Redis comes back as
//! another run, perhaps without its newest entries, the nodes compare how far each has come. The one that
//! is furthest puts back what Redis lacks and begins the next epoch. An entry is recognized by its node and
//! number, so that appending it again is always safe. The same repairs a journal that somebody else has damaged.

mod damage;
mod following;
mod meeting;
pub(crate) mod message;
mod recovering;
mod ring;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::{NodeId, Order, Position};

use self::following::Following;
use self::message::{
    Answer, Appended, Entry, Fate, Kind, Line, Notice, Output, Request, Run, Standing, View, Why,
};
use self::recovering::Recovery;
use self::ring::Ring;

/// How many entries of this node may wait to be read back.
const WAITING: usize = 8192;

/// How many entries may be appended together.
const TOGETHER: usize = 1024;

/// The first and the longest pause before the lines are opened again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// How long a node counts as alive after its last entry.
const ALIVE: Duration = Duration::from_secs(10);

/// What an operator may set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How many bytes of the newest entries are kept.
    pub(crate) ring: usize,
    /// How long an entry waits before it is given up.
    pub(crate) append_timeout: Duration,
    /// How long Redis may take for an answer, or for a part of it.
    pub(crate) answer_timeout: Duration,
}

impl Settings {
    /// A read waits for entries, and is answered after this time without one.
    pub(crate) const READ_WAITS: Duration = Duration::from_secs(2);
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ring: 64 << 20,
            append_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(1),
        }
    }
}

/// The reason why an entry is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The node does not follow the journal now.
    Away,
    /// Too many entries are waiting.
    Full,
}

/// A rule of the protocol. Tests take rules out, to see that the simulator would find each one missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// An epoch lives on one run of Redis.
    Run,
    /// Entries follow each other without a hole.
    Holes,
    /// What Redis ends with is compared before anything is put back behind it.
    End,
    /// Before an epoch begins, the nodes that live have said how far they are.
    Wait,
    /// What is under way is appended again in a new epoch.
    Again,
    /// What was applied and is lost is appended again.
    Ring,
    /// Whoever applied it first.
    Anyone,
}

/// An entry of this node that was not read back yet.
#[derive(Debug)]
struct Own {
    entry: Entry,
    since: Duration,
    /// How often it was sent.
    sent: u32,
}

/// A request that was not answered yet.
#[derive(Debug)]
struct Asked {
    at: Duration,
    timeout: Duration,
    /// The stage in which it was asked; the answer counts in no other one.
    stage: u64,
    /// The position of the order when it was asked.
    after: Position,
    appends: Option<Appends>,
}

/// What a request appends.
#[derive(Clone, Copy, Debug)]
enum Appends {
    /// The entry of this node with this number, which waits to be read back.
    Own(u64),
    /// An entry that was lost.
    Repeat,
}

/// Where a node is on its way to the journal.
#[derive(Debug)]
enum Phase {
    /// It has no lines, and opens them at this time.
    Away { until: Duration },
    /// The lines are being opened since this time.
    Connecting { since: Duration },
    /// It asks on both lines which Redis this is.
    Meeting { first: Option<(Line, Run, View)> },
    /// It meets Redis again at this time.
    Pausing { until: Duration },
    /// It loads a snapshot. `recovering` is set on a run without an epoch.
    Loading { view: View, recovering: Option<Run> },
    /// It reads and appends.
    Following(Following),
    /// Redis is another run than that of its head.
    Recovering(Recovery),
}

/// The protocol of one node. `S` is a state that was restored from a snapshot.
#[derive(Debug)]
pub(crate) struct Machine<S> {
    node: NodeId,
    settings: Settings,
    now: Duration,
    /// What was given out so far.
    order: Order,
    /// Nothing was given out, and no snapshot restored.
    is_fresh: bool,
    ring: Ring,
    own: VecDeque<Own>,
    /// How many of them, from the front, were sent on these lines.
    asked: usize,
    /// Lost entries that are to be appended again.
    repeats: VecDeque<Entry>,
    phase: Phase,
    session: u64,
    /// The number of phases so far.
    stage: u64,
    lines: [VecDeque<Asked>; 2],
    heard: [Duration; 2],
    pause: Duration,
    standing: Standing,
    /// The order cannot go on from here: a snapshot is needed.
    broken: Option<Broken>,
    /// The run that is being recovered, and since when.
    recovering: Option<(Run, Duration)>,
    /// Since when entries are missing that no snapshot has.
    hole_since: Option<Duration>,
    /// The snapshot that was loaded last, if the order could not go on from it.
    useless: Option<Position>,
    /// The epoch in which nothing can be read behind the position of the order.
    stuck: Option<Epoch>,
    /// The run that has no snapshot to begin from.
    nothing: Option<Run>,
    /// When entries of each node were last given out.
    seen: BTreeMap<NodeId, Duration>,
    outputs: VecDeque<Output<S>>,
    #[cfg(test)]
    without: Vec<Rule>,
}

/// Why the order cannot go on from its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// Entries are missing. A newer snapshot has them.
    Hole,
    /// The others went another way. Any snapshot of theirs is better.
    Diverged,
}

impl<S> Machine<S> {
    /// Creates the protocol of a node that has applied this order.
    pub(crate) fn new(node: NodeId, settings: Settings, now: Duration, order: Order) -> Self {
        let ring = Ring::new(settings.ring, order.position());
        let is_fresh = order.position() == Position::default();
        Self {
            node,
            settings,
            now,
            order,
            is_fresh,
            ring,
            own: VecDeque::new(),
            asked: 0,
            repeats: VecDeque::new(),
            phase: Phase::Away { until: now },
            session: 0,
            stage: 0,
            lines: Default::default(),
            heard: [now; 2],
            pause: PAUSES.0,
            standing: Standing::Away,
            broken: None,
            recovering: None,
            hole_since: None,
            useless: None,
            stuck: None,
            nothing: None,
            seen: BTreeMap::new(),
            outputs: VecDeque::new(),
            #[cfg(test)]
            without: Vec::new(),
        }
    }

    /// Takes rules out.
    #[cfg(test)]
    pub(crate) fn without(mut self, rules: &[Rule]) -> Self {
        self.without = rules.to_vec();
        self
    }

    #[cfg(test)]
    fn keeps(&self, rule: Rule) -> bool {
        !self.without.contains(&rule)
    }

    #[cfg(not(test))]
    const fn keeps(&self, _: Rule) -> bool {
        true
    }

    /// Returns the next thing to do. What was accepted since this was called last is appended together.
    pub(crate) fn output(&mut self) -> Option<Output<S>> {
        if self.outputs.is_empty() {
            self.append_on();
        }
        self.outputs.pop_front()
    }

    /// Returns what was given out so far.
    pub(crate) fn order(&self) -> &Order {
        &self.order
    }

    /// Returns how this node stands to the journal.
    #[cfg(test)]
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// Returns the number of entries of this node that were not read back yet.
    pub(crate) fn waiting(&self) -> usize {
        self.own.len()
    }

    /// Returns the time at which [`Machine::tick`] has something to do.
    pub(crate) fn wake(&self) -> Option<Duration> {
        let phase = match &self.phase {
            Phase::Away { until } | Phase::Pausing { until } => Some(*until),
            Phase::Connecting { since } => Some(*since + self.settings.answer_timeout),
            Phase::Meeting { .. } | Phase::Loading { .. } => None,
            Phase::Following(following) => following.wake(self.is_appending()),
            Phase::Recovering(recovery) => recovery.wake(),
        };
        let own = self.own.front().map(|own| own.since + self.settings.append_timeout);
        let lines = [Line::Append, Line::Read].map(|line| self.line_ends(line));
        phase.into_iter().chain(own).chain(lines.into_iter().flatten()).min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.now = now;
        self.give_up();
        for line in [Line::Append, Line::Read] {
            if self.line_ends(line).is_some_and(|end| end <= now) {
                self.notice(Notice::Stalled(line));
                self.hang_up();
                return;
            }
        }
        match &self.phase {
            Phase::Away { until } if *until <= now => {
                self.session += 1;
                self.enter(Phase::Connecting { since: now });
                self.outputs.push_back(Output::Connect { session: self.session });
            }
            Phase::Connecting { since } if *since + self.settings.answer_timeout <= now => {
                self.hang_up();
            }
            Phase::Pausing { until } if *until <= now => self.meet(),
            Phase::Following(_) => {
                self.repeat_again();
                self.read_on();
            }
            Phase::Recovering(_) => self.claim_again(),
            _ => {}
        }
    }

    /// Both lines are open.
    pub(crate) fn opened(&mut self, now: Duration, session: u64) {
        self.now = now;
        if session == self.session && matches!(self.phase, Phase::Connecting { .. }) {
            self.meet();
        }
    }

    /// A line could not be opened, or has broken.
    pub(crate) fn broke(&mut self, now: Duration, session: u64) {
        self.now = now;
        if session == self.session && !matches!(self.phase, Phase::Away { .. }) {
            self.hang_up();
        }
    }

    /// A part of the oldest request on a line was done: one of the chunks of a snapshot.
    pub(crate) fn progressed(&mut self, now: Duration, session: u64, line: Line) {
        self.now = now;
        if session == self.session {
            self.heard[line as usize] = now;
        }
    }

    /// Redis has answered the oldest request on a line.
    pub(crate) fn answered(&mut self, now: Duration, session: u64, line: Line, answer: Answer<S>) {
        self.now = now;
        if session != self.session {
            return;
        }
        let Some(asked) = self.lines[line as usize].pop_front() else { return };
        self.heard[line as usize] = now;
        if let (Some(appends), Answer::Appended(Appended::Full)) = (asked.appends, &answer) {
            self.redis_is_full(appends);
        }
        if asked.stage != self.stage {
            return;
        }
        match answer {
            Answer::Met { run, view } => self.met(line, run, view),
            Answer::Appended(Appended::Refused) => self.hang_up(),
            Answer::Appended(Appended::Done(at)) if at <= asked.after => {
                self.notice(Notice::WentBack);
                self.hang_up();
            }
            Answer::Appended(_) => {
                // What was appended is read before more is appended, or it would never be.
                self.read_on();
                self.append_on();
            }
            Answer::Entries(entries) => match &self.phase {
                Phase::Following(_) => self.read(entries),
                _ => self.recovered(entries),
            },
            Answer::Moved => self.hang_up(),
            Answer::Unreadable(at) => match &self.phase {
                Phase::Following(_) => self.unreadable(at),
                _ => self.recovered(Vec::new()),
            },
            Answer::Claims { claims, view } => self.claimed(&claims, view),
            Answer::Begun { is_done } => self.begun(is_done),
            Answer::Loaded(snapshot) => self.loaded(snapshot),
            Answer::PutBack | Answer::Noted | Answer::Saved => {}
        }
    }

    /// Takes an entry of this node, the number of which is higher than those before.
    pub(crate) fn append(&mut self, now: Duration, entry: Entry) -> Result<(), Refused> {
        self.now = now;
        if self.standing != Standing::Following {
            return Err(Refused::Away);
        }
        if self.own.len() >= WAITING {
            return Err(Refused::Full);
        }
        self.own.push_back(Own { entry, since: now, sent: 0 });
        Ok(())
    }

    /// Takes the snapshot that was asked for, or a newer one that is to be stored. Returns `true` if Redis is asked
    /// to store it.
    pub(crate) fn snapshot(&mut self, now: Duration, position: Position, snapshot: Bytes) -> bool {
        self.now = now;
        match &self.phase {
            Phase::Following(following) if following.joined => {
                let epoch = following.head.epoch;
                if position.epoch == epoch {
                    self.ask(Line::Append, Request::Save { epoch, position, snapshot });
                    return true;
                }
            }
            Phase::Recovering(_) if position == self.order.position() => {
                self.begin_with(snapshot);
            }
            _ => {}
        }
        false
    }

    fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }

    fn stand(&mut self, standing: Standing) {
        if self.standing != standing {
            self.standing = standing;
            self.outputs.push_back(Output::Standing(standing));
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.stage += 1;
        match &phase {
            Phase::Away { .. } | Phase::Recovering(_) => self.stand(Standing::Away),
            Phase::Loading { .. } | Phase::Following(_) => self.stand(Standing::Joining),
            Phase::Connecting { .. } | Phase::Meeting { .. } | Phase::Pausing { .. } => {}
        }
        self.phase = phase;
    }

    fn ask(&mut self, line: Line, request: Request) {
        let timeout = match &request {
            Request::Read { waits: true, .. } => {
                Settings::READ_WAITS + self.settings.answer_timeout
            }
            _ => self.settings.answer_timeout,
        };
        let appends = match &request {
            Request::Append { entry, .. } if self.own_index(entry).is_some() => {
                Some(Appends::Own(entry.number))
            }
            Request::Append { .. } => Some(Appends::Repeat),
            _ => None,
        };
        let (at, stage, after) = (self.now, self.stage, self.order.position());
        let asked = Asked { at, timeout, stage, after, appends };
        self.lines[line as usize].push_back(asked);
        self.outputs.push_back(Output::Ask { line, request });
    }

    /// Returns when a line is given up if its next answer does not come.
    fn line_ends(&self, line: Line) -> Option<Duration> {
        let oldest = self.lines[line as usize].front()?;
        Some(oldest.at.max(self.heard[line as usize]) + oldest.timeout)
    }

    /// Closes the lines, and opens others after a pause.
    fn hang_up(&mut self) {
        self.outputs.push_back(Output::Hangup);
        for line in &mut self.lines {
            line.clear();
        }
        self.asked = 0;
        self.repeats.clear();
        let until = self.now + self.pause;
        self.pause = (self.pause * 2).min(PAUSES.1);
        self.enter(Phase::Away { until });
    }

    /// Gives out the next entry of the order.
    fn give(&mut self, position: Position, entry: Entry) {
        #[cfg(test)]
        self.jump_to(position, &entry);
        self.is_fresh = false;
        (self.hole_since, self.stuck) = (None, None);
        if entry.kind == Kind::Begin {
            self.order.begin(position.epoch, 0);
        } else {
            self.order.next(entry.node, entry.number);
        }
        if let Some(index) = self.own_index(&entry) {
            self.own.remove(index);
            self.asked -= usize::from(index < self.asked);
        }
        self.seen.insert(entry.node, self.now);
        if self.seen.len() > 64 {
            let now = self.now;
            self.seen.retain(|_, seen| *seen + ALIVE >= now);
        }
        self.ring.push(position, entry.clone());
        self.outputs.push_back(Output::Entry { position, entry });
    }

    /// Without the rule of holes, the order goes on wherever the next entry is.
    #[cfg(test)]
    fn jump_to(&mut self, position: Position, entry: &Entry) {
        if entry.kind == Kind::Begin {
            return;
        }
        if self.order.position().epoch != position.epoch {
            self.order.begin(position.epoch, 0);
        }
        while self.order.position().number + 1 < position.number {
            self.order.next(NodeId::new(0), 0);
        }
    }

    /// Gives up what waits for too long.
    fn give_up(&mut self) {
        while let Some(own) = self.own.front()
            && own.since + self.settings.append_timeout <= self.now
        {
            let fate = if own.sent > 0 { Fate::InDoubt } else { Fate::NotDone(Why::Late) };
            self.tell(0, fate);
        }
    }

    /// An entry could not be appended, because Redis writes nothing now.
    fn redis_is_full(&mut self, appends: Appends) {
        let Appends::Own(number) = appends else {
            self.repeat_later();
            return;
        };
        if let Ok(index) = self.own.binary_search_by_key(&number, |own| own.entry.number) {
            let is_first = self.own[index].sent == 1;
            self.tell(index, if is_first { Fate::NotDone(Why::Full) } else { Fate::InDoubt });
        }
    }

    /// Finds an entry among those of this node that wait to be read back. Their numbers rise.
    fn own_index(&self, entry: &Entry) -> Option<usize> {
        let found = self.own.binary_search_by_key(&entry.number, |own| own.entry.number);
        found.ok().filter(|_| entry.node == self.node)
    }

    /// Tells what became of the own entry at this index, and forgets it.
    fn tell(&mut self, index: usize, fate: Fate) {
        if let Some(own) = self.own.remove(index) {
            self.asked -= usize::from(index < self.asked);
            self.outputs.push_back(Output::Fate { number: own.entry.number, fate });
        }
    }
}
