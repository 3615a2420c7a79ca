//! The faults of a simulation.

use channelstream_core::state::stored::UnknownLevel;

use super::events::Event;
use super::redis::{Data, Process};
use super::replica::{NEW, OLD};
use super::world::{HEALED, MILLI, SECOND, World};

impl World {
    fn living(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].is_alive).collect()
    }

    /// Draws the next fault.
    pub(super) fn something_happens(&mut self) {
        if self.is_healed {
            return;
        }
        let at = self.now + self.dice.between(200 * MILLI, 2_500 * MILLI);
        self.plan(at, Event::Fault);
        let living = self.living();
        let node = living[self.dice.index(living.len())];
        let is_up = self.processes[self.master].is_up;
        let parts = self.old.is_some_and(|(_, until)| self.now < until);
        match self.dice.between(0, 20) {
            0 => {
                self.kill(node);
                self.start_node();
            }
            1 if self.dice.one_in(4) => {
                for node in living {
                    self.kill(node);
                    self.start_node();
                }
            }
            2 | 3 => {
                let time = self.dice.between(100 * MILLI, 6 * SECOND);
                self.nodes[node].cut_until = self.now + time;
                self.tell(|| format!("NODE {node} is cut off for {time} us"));
            }
            4 | 5 => {
                // At times so long that the others take it for dead.
                let most = if self.dice.one_in(4) { 14 } else { 5 };
                let time = self.dice.between(100 * MILLI, most * SECOND);
                // Not shorter than before: what waits already would come behind what follows it.
                let until = &mut self.nodes[node].paused_until;
                *until = (*until).max(self.now + time);
                self.tell(|| format!("NODE {node} stands still for {time} us"));
            }
            6 => {
                let session = self.nodes[node].session;
                self.plan(self.now, Event::Broke { node, session });
            }
            7 if is_up => {
                let master = &self.processes[self.master];
                self.replace(master.data_after(master.on_disk), "restarts from its disk");
            }
            8 | 9 if is_up => {
                let master = &self.processes[self.master];
                self.replace(master.data_after(master.on_replica), "fails over to its replica");
            }
            10 if is_up && self.dice.one_in(4) => {
                self.replace(Data::default(), "restarts with nothing");
            }
            11 if is_up && self.dice.one_in(4) => {
                let aside = self.processes[self.master].data.clone();
                self.processes[self.master].flush();
                self.report.losses += 1;
                self.tell(|| "REDIS is flushed".to_owned());
                if self.dice.one_in(2) {
                    let at = self.now + self.dice.between(100 * MILLI, 8 * SECOND);
                    self.plan(at, Event::PutBack { process: self.master, data: Box::new(aside) });
                }
            }
            12 if is_up => {
                let time = self.dice.between(100 * MILLI, 4 * SECOND);
                let until = &mut self.processes[self.master].stalled_until;
                *until = (*until).max(self.now + time);
                self.tell(|| format!("REDIS stands still for {time} us"));
            }
            13 | 14 if is_up && !parts => self.part(),
            15 => self.replica_stalls ^= true,
            16 => self.disk_stalls ^= true,
            17 => {
                let hours = self.dice.between(0, 3);
                self.nodes[node].wall = (hours as i64 - 1) * 3600 * SECOND as i64;
                self.tell(|| format!("NODE {node} has another time of day"));
            }
            18 if is_up => {
                let time = self.dice.between(100 * MILLI, 3 * SECOND);
                self.processes[self.master].full_until = self.now + time;
                self.tell(|| format!("REDIS is full for {time} us"));
            }
            19 if is_up && self.dice.one_in(3) => self.damage_journal(),
            _ => {}
        }
    }

    /// Somebody who is no node changes the journal.
    fn damage_journal(&mut self) {
        self.report.losses += 1;
        let (what, from_end) = (self.dice.between(0, 3), self.dice.index(4));
        let redis = &mut self.processes[self.master];
        match what {
            0 => redis.spoil(false),
            1 => redis.spoil(true),
            _ => redis.remove(from_end),
        }
        self.tell(|| format!("REDIS is tampered with: {what}, {from_end} from its end"));
    }

    /// Somebody puts back what was there before Redis was flushed.
    pub(super) fn put_back(&mut self, process: usize, data: Data) {
        if process == self.master && self.processes[process].is_up && !self.is_healed {
            self.tell(|| format!("REDIS ends at {:?} again", data.end));
            self.processes[process].put_in_place(data);
            self.report.losses += 1;
        }
    }

    fn kill(&mut self, node: usize) {
        self.nodes[node].is_alive = false;
        self.tell(|| format!("NODE {node} is killed"));
        self.node_has_died(node);
    }

    /// A node of the release before is replaced by one of the next. At times one goes back, which is too late if the
    /// level was raised.
    pub(super) fn roll(&mut self) {
        let living = self.living();
        let goes_back = self.dice.one_in(5);
        let (from, to) = if goes_back { (NEW, OLD) } else { (OLD, NEW) };
        let node = living.into_iter().find(|node| self.nodes[*node].replica.known == from);
        if let Some(node) = node {
            self.kill(node);
            self.start_node_of(to);
        }
        if self.now < HEALED {
            let at = self.now + self.dice.between(500 * MILLI, 4 * SECOND);
            self.plan(at, Event::Roll);
        }
    }

    /// A node stops because it does not know the level in force. One that does comes in its place.
    pub(super) fn stop(&mut self, node: usize, level: UnknownLevel) {
        if self.nodes[node].is_alive {
            self.tell(|| format!("node {node} stops: the journal has {level}"));
            self.report.unknown += 1;
            self.kill(node);
            self.start_node_of(NEW);
        }
    }

    /// The master dies, and comes back as another run with this data.
    fn replace(&mut self, data: Data, how: &str) {
        let (from, to) = (self.processes[self.master].data.end, data.end);
        self.report.losses += u64::from(to < from);
        self.tell(|| format!("REDIS {how}: its end {from:?} becomes {to:?}"));
        self.processes[self.master].is_up = false;
        self.processes[self.master].parked.clear();
        for node in self.living() {
            let session = self.nodes[node].session;
            if self.nodes[node].processes.contains(&self.master) {
                let at = self.now + self.dice.between(0, 200 * MILLI);
                self.plan(at, Event::Broke { node, session });
            }
        }
        self.begin_run(data);
        self.processes[self.master].is_up = false;
        let at = self.now + self.dice.between(50 * MILLI, 1_500 * MILLI);
        self.plan(at, Event::RedisUp);
    }

    fn begin_run(&mut self, data: Data) {
        let number = self.processes.len();
        self.processes.push(Process::new(number, data, self.careless()));
        self.master = number;
        if self.is_sparing && self.dice.one_in(4) {
            // Before an epoch begins on this run.
            self.damage_journal();
        }
    }

    /// The replica is made master, while the old one lives on for those that reach it.
    fn part(&mut self) {
        let time = self.dice.between(200 * MILLI, 8 * SECOND);
        let old = self.master;
        let data = self.processes[old].data_after(self.processes[old].on_replica);
        self.report.losses += 1;
        self.report.splits += 1;
        self.tell(|| {
            format!("REDIS is two masters for {time} us, the new one ends at {:?}", data.end)
        });
        self.old = Some((old, self.now + time));
        self.begin_run(data);
        for node in self.living() {
            let session = self.nodes[node].session;
            let after = if self.dice.one_in(2) { self.dice.between(0, 200 * MILLI) } else { time };
            self.plan(self.now + after, Event::Broke { node, session });
        }
    }

    /// No fault begins any more, and those that do not end by themselves end.
    pub(super) fn heal(&mut self) {
        self.tell(|| "all faults end".to_owned());
        self.is_healed = true;
        self.replica_stalls = false;
        self.disk_stalls = false;
        self.processes[self.master].full_until = 0;
        if let Some((_, until)) = &mut self.old {
            *until = 0;
        }
        for node in &mut self.nodes {
            node.cut_until = 0;
        }
    }
}
