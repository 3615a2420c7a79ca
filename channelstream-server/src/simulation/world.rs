//! The world of a simulation: one queue of events in virtual time, and all that happens by one seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::state::stored::Levels;
use channelstream_core::state::{NodeId, Order, Position};

use super::check::Books;
use super::commands::Clients;
use super::dice::Dice;
use super::events::{Due, Event};
use super::listening::Serving;
use super::redis::{Asked, Careless, Data, Parked, Process};
use super::replica::{NEW, OLD, Replica};
use super::watchers::Watcher;
use super::{Missing, Planted, Report};
use crate::journal::redis::protocol::message::{
    Answer, Entry, Fate, Line, Notice, Output, Request, Why,
};
use crate::journal::redis::protocol::{Machine, Rule, Settings};
use tokio::runtime::{Builder, Runtime};

/// A microsecond of virtual time is 1.
pub(super) const MILLI: u64 = 1_000;
pub(super) const SECOND: u64 = 1_000_000;

/// When commands come, faults begin, faults end, commands end, and all is over.
const COMMANDS: u64 = 7 * SECOND;
const FAULTS: u64 = 8 * SECOND;
pub(super) const HEALED: u64 = 28 * SECOND;
pub(super) const QUIET: u64 = 42 * SECOND;
/// When the last tick is appended.
pub(super) const LAST: u64 = 49 * SECOND;
/// Nodes that are quiet are taken for dead a little later.
const END: u64 = 51 * SECOND;

/// The planted faults of deliveries.
const TAMPERING: [Planted; 5] = [
    Planted::FrameDoubled,
    Planted::FrameLost,
    Planted::FramesSwapped,
    Planted::FrameMisled,
    Planted::Cursor,
];

/// How many clients listen with cursors.
const WATCHERS: usize = 8;

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap()
}

/// A node, and the little that its driver does.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) machine: Machine<Replica>,
    pub(super) replica: Replica,
    pub(super) is_alive: bool,
    /// Nothing happens in it before this time.
    pub(super) paused_until: u64,
    /// Nothing that it sends or is sent arrives before this time.
    pub(super) cut_until: u64,
    pub(super) session: u64,
    /// Something on the lines of the session was lost.
    is_lost: bool,
    /// The process that each line leads to.
    pub(super) processes: [usize; 2],
    /// When the newest request and the newest answer of each line arrive.
    arrivals: [[u64; 2]; 2],
    pub(super) number: u64,
    /// What its monotonic clock shows at the beginning.
    clock: u64,
    /// How far its wall clock is ahead, in microseconds.
    pub(super) wall: i64,
    wake: u64,
    /// The digest that it told last.
    pub(super) told: u64,
    /// Its listeners.
    pub(super) serving: Serving,
}

/// All of it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: u64,
    planned: u64,
    queue: BinaryHeap<Reverse<Due>>,
    pub(super) dice: Dice,
    pub(super) nodes: Vec<Node>,
    pub(super) processes: Vec<Process>,
    pub(super) master: usize,
    /// A master that was replaced and still lives, until this time.
    pub(super) old: Option<(usize, u64)>,
    pub(super) replica_stalls: bool,
    pub(super) disk_stalls: bool,
    pub(super) is_healed: bool,
    pub(super) books: Books,
    pub(super) clients: Clients,
    pub(super) watchers: Vec<Watcher>,
    pub(super) report: Report,
    /// Nodes of two releases come and go.
    pub(super) is_rolling: bool,
    /// Nodes make a snapshot only if the one in Redis is of no use. Else they make far more than the server, which hides
    /// what is wrong behind an old one.
    pub(super) is_sparing: bool,
    /// A planted fault is one of deliveries.
    pub(super) tampers: bool,
    /// The hubs need one for tasks, of which none is ever started.
    runtime: Runtime,
    missing: Vec<Missing>,
    /// The last snapshot that an epoch was begun with.
    stale: Bytes,
    tells: bool,
}

impl World {
    /// Lives through all of a seed.
    pub(super) fn live(seed: u64, missing: &[Missing], tells: bool) -> Report {
        let mut world = Self::new(seed, missing, tells);
        while let Some(Reverse(due)) = world.queue.pop() {
            if due.at > END || world.report.faults.len() > 3 {
                break;
            }
            world.now = due.at;
            world.report.events += 1;
            world.happen(due.event);
        }
        world.close_books();
        world.report
    }

    fn new(seed: u64, missing: &[Missing], tells: bool) -> Self {
        let careless = Careless::of(missing);
        let mut world = Self {
            now: 0,
            planned: 0,
            queue: BinaryHeap::new(),
            dice: Dice::new(seed),
            nodes: Vec::new(),
            processes: vec![Process::new(0, Data::default(), careless)],
            master: 0,
            old: None,
            replica_stalls: false,
            disk_stalls: false,
            is_healed: false,
            books: Books::default(),
            clients: Clients::default(),
            watchers: Vec::new(),
            report: Report::default(),
            is_rolling: false,
            is_sparing: seed % 3 == 2,
            tampers: TAMPERING.iter().any(|fault| missing.contains(&Missing::Planted(*fault))),
            runtime: Builder::new_current_thread().build().unwrap(),
            missing: missing.to_vec(),
            stale: Bytes::new(),
            tells,
        };
        world.is_rolling = world.dice.one_in(2) || world.is_planted(Planted::Level);
        for _ in 0..3 {
            world.start_node_of(OLD);
        }
        if world.is_rolling {
            let at = FAULTS + world.dice.between(0, 8 * SECOND);
            world.plan(at, Event::Roll);
        }
        for watcher in 0..WATCHERS {
            world.watchers.push(Watcher::new(watcher));
            world.plan(COMMANDS, Event::Watch { watcher });
        }
        for (at, event) in [
            (COMMANDS, Event::Command),
            (FAULTS, Event::Fault),
            (FAULTS, Event::Check),
            (HEALED, Event::Heal),
            (MILLI, Event::Replicate),
            (MILLI, Event::Persist),
        ] {
            world.plan(at, event);
        }
        world
    }

    pub(super) fn careless(&self) -> Careless {
        Careless::of(&self.missing)
    }

    pub(super) fn is_planted(&self, planted: Planted) -> bool {
        self.missing.contains(&Missing::Planted(planted))
    }

    pub(super) fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.queue.push(Reverse(Due { at, number: self.planned, event }));
    }

    pub(super) fn tell(&self, text: impl FnOnce() -> String) {
        if self.tells {
            #[expect(clippy::print_stdout, reason = "the story of a seed is for who asked for it")]
            {
                println!("{:>3}.{:06} {}", self.now / SECOND, self.now % SECOND, text());
            }
        }
    }

    pub(super) fn fault(&mut self, text: &str) {
        self.tell(|| format!("FAULT {text}"));
        let at = format!("{}.{:06}", self.now / SECOND, self.now % SECOND);
        self.report.faults.push(format!("at {at}: {text}"));
    }

    /// Starts a node of the release that it is time for.
    pub(super) fn start_node(&mut self) {
        let is_new = self.is_rolling && self.dice.one_in(2);
        self.start_node_of(if is_new { NEW } else { OLD });
    }

    pub(super) fn start_node_of(&mut self, known: Levels) {
        let id = NodeId::new(self.dice.draw());
        let goes_by = known.newest;
        let known = if self.is_planted(Planted::Level) { NEW } else { known };
        let clock = self.dice.between(0, 1_000 * SECOND);
        let forgetful = self.missing.contains(&Missing::Numbers);
        let rules: Vec<Rule> = self.missing.iter().filter_map(|missing| missing.rule()).collect();
        let now = Duration::from_micros(self.now + clock);
        let machine = Machine::new(id, Settings::default(), now, Order::default());
        let at = self.now + self.dice.between(0, 50 * MILLI);
        let index = self.nodes.len();
        self.nodes.push(Node {
            id,
            machine: machine.without(&rules),
            replica: Replica::new(id, (known, goes_by), forgetful),
            is_alive: true,
            paused_until: 0,
            cut_until: 0,
            session: 0,
            is_lost: false,
            processes: [0; 2],
            arrivals: [[0; 2]; 2],
            number: 0,
            clock,
            wall: 0,
            wake: at,
            told: 0,
            serving: Serving::new(self.runtime.handle()),
        });
        self.plan(at, Event::Wake { node: index, at });
        let alive = self.now + self.dice.between(0, 2 * SECOND);
        self.plan(alive, Event::Alive { node: index });
        self.tell(|| format!("node {index} starts"));
    }

    fn happen(&mut self, event: Event) {
        // What stands still lets things wait.
        let waits = match &event {
            Event::AtNode { node, .. }
            | Event::Progress { node, .. }
            | Event::Opened { node, .. }
            | Event::Broke { node, .. }
            | Event::Wake { node, .. }
            | Event::SnapshotMade { node, .. }
            | Event::Tick { node, .. }
            | Event::Alive { node } => {
                let node = &self.nodes[*node];
                if !node.is_alive {
                    return;
                }
                node.paused_until
            }
            Event::AtRedis { process, .. } | Event::ReadEnds { process, .. } => {
                self.processes[*process].stalled_until
            }
            _ => 0,
        };
        if waits > self.now {
            self.plan(waits, event);
            return;
        }
        match event {
            Event::AtRedis { node, session, line, process, asked } => {
                self.at_redis(node, session, line, process, asked);
            }
            Event::AtNode { node, session, line, answer } => {
                let now = self.time_of(node);
                match self.nodes[node].replica.read(self.nodes[node].id, answer) {
                    Ok(answer) => {
                        self.nodes[node].machine.answered(now, session, line, answer);
                        self.drain(node);
                    }
                    Err(level) => self.stop(node, level),
                }
            }
            Event::Progress { node, session, line } => {
                let now = self.time_of(node);
                self.nodes[node].machine.progressed(now, session, line);
            }
            Event::ReadEnds { node, session, process } => {
                let redis = &mut self.processes[process];
                let is_it = |parked: &Parked| (parked.node, parked.session) == (node, session);
                if let Some(index) = redis.parked.iter().position(is_it) {
                    let Parked { epoch, .. } = redis.parked.remove(index);
                    let answer = redis.answer_read(Vec::new(), epoch);
                    self.answer(node, session, Line::Read, answer);
                }
            }
            Event::Opened { node, session } => {
                let now = self.time_of(node);
                self.nodes[node].machine.opened(now, session);
                self.drain(node);
            }
            Event::Broke { node, session } => {
                let now = self.time_of(node);
                self.nodes[node].machine.broke(now, session);
                self.drain(node);
            }
            Event::Wake { node, at } => {
                if self.nodes[node].wake == at {
                    self.nodes[node].wake = u64::MAX;
                    let now = self.time_of(node);
                    self.nodes[node].machine.tick(now);
                    self.drain(node);
                }
            }
            Event::SnapshotMade { node, position, snapshot } => {
                let now = self.time_of(node);
                self.nodes[node].machine.snapshot(now, position, snapshot);
                self.drain(node);
            }
            Event::Command => self.command(),
            Event::Alive { node } => self.alive(node),
            Event::Tick { node, at } => self.tick(node, at),
            Event::Watch { watcher } => self.watch(watcher),
            Event::Replicate => {
                if !self.replica_stalls {
                    self.processes[self.master].replicate();
                }
                let at = self.now + self.dice.between(MILLI, 100 * MILLI);
                self.plan(at, Event::Replicate);
            }
            Event::Persist => {
                if !self.disk_stalls {
                    self.processes[self.master].persist();
                }
                let at = self.now + self.dice.between(10 * MILLI, SECOND);
                self.plan(at, Event::Persist);
            }
            Event::Fault => self.something_happens(),
            Event::Check => self.check_snapshot(),
            Event::PutBack { process, data } => self.put_back(process, *data),
            Event::Roll => self.roll(),
            Event::Heal => self.heal(),
            Event::RedisUp => {
                // A Redis that dies may be one that has no memory left.
                let full = if self.dice.one_in(4) { self.dice.between(0, SECOND) } else { 0 };
                // While it loads its data, all that is asked of it waits.
                let loads = if self.dice.one_in(2) { self.dice.between(0, SECOND) } else { 0 };
                let master = &mut self.processes[self.master];
                master.is_up = true;
                master.stalled_until = self.now + loads;
                master.full_until = self.now + full;
                self.tell(|| format!("redis is up, and full for {full} us"));
            }
        }
    }

    pub(super) fn time_of(&self, node: usize) -> Duration {
        Duration::from_micros(self.now + self.nodes[node].clock)
    }

    /// Does what a machine wants done.
    pub(super) fn drain(&mut self, node: usize) {
        while self.nodes[node].is_alive
            && let Some(output) = self.nodes[node].machine.output()
        {
            match output {
                Output::Connect { session } => self.connect(node, session),
                Output::Hangup => self.nodes[node].session = 0,
                Output::Ask { line, request } => self.ask(node, line, request),
                Output::Entry { position, entry } => self.apply(node, position, &entry),
                Output::Restart(state) => {
                    self.report.restarts += 1;
                    self.tell(|| {
                        format!("node {node} goes on from {:?}", state.order().position())
                    });
                    self.nodes[node].replica = state;
                    self.restarted(node);
                }
                Output::Fate { number, fate } => {
                    let id = self.nodes[node].id;
                    self.tell(|| format!("node {node} tells {number}: {fate:?}"));
                    let lies = self.is_planted(Planted::Fate) && fate == Fate::InDoubt;
                    let fate = if lies { Fate::NotDone(Why::Late) } else { fate };
                    self.books.fate(id, number, fate);
                    self.undone(node, number);
                }
                Output::Snapshot => {
                    let replica = &self.nodes[node].replica;
                    let (position, mut snapshot) = (replica.order().position(), replica.snapshot());
                    if self.is_planted(Planted::Stale) && !self.stale.is_empty() {
                        snapshot = self.stale.clone();
                    }
                    self.stale.clone_from(&snapshot);
                    let at = self.now + self.dice.between(MILLI, 50 * MILLI);
                    self.plan(at, Event::SnapshotMade { node, position, snapshot });
                }
                Output::Standing(standing) => {
                    self.tell(|| format!("node {node} is {standing:?}"));
                }
                Output::Notice(notice) => {
                    self.tell(|| format!("node {node}: {notice:?}"));
                    match notice {
                        Notice::Diverged { .. } => self.report.divergences += 1,
                        Notice::Begins { rebuilt, .. } => {
                            self.report.epochs += 1;
                            self.report.rebuilt += u64::from(rebuilt);
                        }
                        Notice::Repeats { count } => self.report.repeats += count as u64,
                        Notice::Hole { .. } => self.report.holes += 1,
                        Notice::Damaged(_) => self.report.damages += 1,
                        Notice::Stalled(_) | Notice::WentBack | Notice::Headless => {}
                    }
                }
            }
        }
        if !self.nodes[node].is_alive {
            return;
        }
        self.settle(node);
        let (machine, replica) = (&self.nodes[node].machine, &self.nodes[node].replica);
        if machine.order().position() != replica.order().position() {
            let (here, there) = (machine.order().position(), replica.order().position());
            self.fault(&format!("node {node} is at {here:?}, its state at {there:?}"));
        }
        let Some(wake) = self.nodes[node].machine.wake() else { return };
        let clock = self.nodes[node].clock;
        let wake = micros(wake).saturating_sub(clock).max(self.now);
        // Timers are a little late.
        if wake < self.nodes[node].wake {
            let at = wake + self.dice.between(1, MILLI);
            self.nodes[node].wake = at;
            self.plan(at, Event::Wake { node, at });
        }
    }

    fn connect(&mut self, node: usize, session: u64) {
        self.nodes[node].session = session;
        self.nodes[node].is_lost = false;
        self.nodes[node].arrivals = [[0; 2]; 2];
        for line in 0..2 {
            self.nodes[node].processes[line] = match self.old {
                Some((old, until)) if self.now < until && self.dice.between(0, 10) < 4 => old,
                _ => self.master,
            };
        }
        let at = self.now + self.dice.between(200, 3 * MILLI);
        let processes = self.nodes[node].processes;
        if self.now < self.nodes[node].cut_until {
            // Nobody answers: the machine gives up by itself.
        } else if processes.iter().all(|process| self.processes[*process].is_up) {
            self.plan(at, Event::Opened { node, session });
        } else {
            self.plan(at, Event::Broke { node, session });
        }
    }

    fn ask(&mut self, node: usize, line: Line, request: Request) {
        let mut delay = self.dice.between(50, 2 * MILLI);
        if self.dice.one_in(80) {
            delay += self.dice.between(0, 300 * MILLI);
        }
        let is_long = match &request {
            Request::Begin(beginning) => beginning.instead.is_some(),
            Request::Load | Request::Save { .. } => true,
            _ => false,
        };
        if is_long && self.dice.one_in(4) {
            let session = self.nodes[node].session;
            for part in 1..=self.dice.between(1, 6) {
                delay += part.min(1) * 400 * MILLI;
                self.plan(self.now + delay, Event::Progress { node, session, line });
            }
        }
        let begins = match &request {
            Request::Begin(beginning) => {
                Some(self.begin_entry(node, beginning.above, beginning.alone))
            }
            _ => None,
        };
        let asked = Asked { request, begins, sender: self.nodes[node].id };
        let sender = &mut self.nodes[node];
        let at = (self.now + delay).max(sender.arrivals[line as usize][0]);
        sender.arrivals[line as usize][0] = at;
        let (session, process) = (sender.session, sender.processes[line as usize]);
        if self.now >= sender.cut_until && !sender.is_lost {
            self.plan(at, Event::AtRedis { node, session, line, process, asked });
        } else {
            self.lose(node, session);
        }
    }

    /// Something on a line is lost, with all that comes behind it. Who waits for it may hear so.
    fn lose(&mut self, node: usize, session: u64) {
        let was_lost = std::mem::replace(&mut self.nodes[node].is_lost, true);
        if !was_lost && self.dice.one_in(2) {
            self.plan(self.now + 300 * MILLI, Event::Broke { node, session });
        }
    }

    fn at_redis(&mut self, node: usize, session: u64, line: Line, process: usize, asked: Asked) {
        let is_old = self.old.is_some_and(|(old, until)| old == process && self.now < until);
        if !(process == self.master && self.processes[process].is_up || is_old) {
            return;
        }
        let most = if self.dice.one_in(2) { 512 } else { self.dice.index(20) + 1 };
        let redis = &mut self.processes[process];
        let read = match &asked.request {
            Request::Read { after, epoch, .. } => Some((*after, *epoch)),
            _ => None,
        };
        let end = redis.data.end;
        let answer = redis.carry_out(self.now, most, asked);
        let wakes = redis.data.end != end;
        match answer {
            Some(answer) => self.answer(node, session, line, answer),
            None => {
                let (after, epoch) = read.unwrap();
                redis.parked.push(Parked { node, session, after, epoch });
                let at = self.now + micros(Settings::READ_WAITS);
                self.plan(at, Event::ReadEnds { node, session, process });
            }
        }
        if wakes {
            let parked = std::mem::take(&mut self.processes[process].parked);
            for waiting in parked {
                let redis = &mut self.processes[process];
                let entries = redis.read(waiting.after, most);
                if entries.is_empty() {
                    redis.parked.push(waiting);
                } else {
                    let answer = redis.answer_read(entries, waiting.epoch);
                    self.answer(waiting.node, waiting.session, Line::Read, answer);
                }
            }
        }
    }

    fn answer(&mut self, node: usize, session: u64, line: Line, answer: Answer<Bytes>) {
        let delay = self.dice.between(50, 2 * MILLI);
        let receiver = &mut self.nodes[node];
        if receiver.session != session {
            return;
        }
        let at = (self.now + delay).max(receiver.arrivals[line as usize][1]);
        receiver.arrivals[line as usize][1] = at;
        if self.now >= receiver.cut_until && !receiver.is_lost {
            self.plan(at, Event::AtNode { node, session, line, answer });
        } else {
            self.lose(node, session);
        }
    }

    fn apply(&mut self, node: usize, position: Position, entry: &Entry) {
        self.report.applied += 1;
        if self.is_planted(Planted::Dropped) && self.dice.one_in(500) {
            return;
        }
        if self.is_planted(Planted::Doubled) && self.dice.one_in(500) {
            drop(self.nodes[node].replica.apply(entry));
        }
        let level = self.nodes[node].replica.state.level();
        let (applied, outcome) = if self.is_planted(Planted::Flipped) && self.dice.one_in(500) {
            self.nodes[node].replica.apply(&Replica::flipped(entry))
        } else {
            self.nodes[node].replica.apply(entry)
        };
        let operation = applied.operation;
        self.tell(|| format!("node {node} applies operation {operation} at {position:?}"));
        if let Some(fault) = self.books.applied(node, position, entry, applied) {
            self.fault(&fault);
        }
        let Replica { state, known, .. } = &self.nodes[node].replica;
        let (is_raised, checked) = (state.level() != level, known.check(state.level()));
        if is_raised {
            self.report.raised += 1;
            self.tell(|| format!("node {node} is at another level"));
        }
        match checked {
            Err(level) => self.stop(node, level),
            Ok(()) => self.serve(node, entry, outcome),
        }
    }
}
