//! What must be true: at each step, and at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use channelstream_core::state::{NodeId, Position};

use super::replica::{AT_SECOND, Applied, Replica};
use super::world::World;
use crate::journal::redis::protocol::message::{Entry, Fate, Kind, Standing};

/// What became of an operation, as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Answered(Position),
    Fate(Fate),
}

/// An operation that a node accepted.
#[derive(Debug)]
struct Operation {
    number: u32,
    node: usize,
    kind: Kind,
    told: Told,
    /// The nodes that have applied it, one bit each.
    applied_by: u128,
}

/// Everything that was promised.
#[derive(Debug, Default)]
pub(super) struct Books {
    operations: Vec<Operation>,
    by_entry: HashMap<(NodeId, u64), usize>,
    drawn: u32,
    /// Which entry was applied at a position first, and the digest of the state after it.
    applied: HashMap<Position, (NodeId, u64, u64)>,
    /// The channel and the id of the message that an operation publishes.
    pub(super) messages: BTreeMap<u32, (String, u128)>,
    /// The ids of those that expire: who comes back later lacks them, and no gap is told.
    pub(super) expiring: BTreeSet<u128>,
    /// Ticks of nodes that are not the first, in a time in which nothing goes wrong.
    pub(super) needless_ticks: u32,
}

impl Books {
    pub(super) fn next_operation(&mut self) -> u32 {
        self.drawn += 1;
        self.drawn
    }

    pub(super) fn accepted(&mut self, number: u32, node: usize, entry: (NodeId, u64), kind: Kind) {
        self.by_entry.insert(entry, self.operations.len());
        let told = Told::Nothing;
        self.operations.push(Operation { number, node, kind, told, applied_by: 0 });
    }

    pub(super) fn fate(&mut self, id: NodeId, number: u64, fate: Fate) {
        if let Some(index) = self.by_entry.get(&(id, number)) {
            self.operations[*index].told = Told::Fate(fate);
        }
    }

    /// Notes that a node has applied an entry. Returns what is wrong with it.
    pub(super) fn applied(
        &mut self,
        node: usize,
        position: Position,
        entry: &Entry,
        applied: Applied,
    ) -> Option<String> {
        let found = (entry.node, entry.number, applied.digest);
        let other = *self.applied.entry(position).or_insert(found);
        if other != found {
            return Some(format!(
                "node {node} applies {found:?} at {position:?}, another has applied {other:?}"
            ));
        }
        if applied.is_new
            && let Some(index) = self.by_entry.get(&(entry.node, entry.number))
        {
            let operation = &mut self.operations[*index];
            operation.applied_by |= 1 << node;
            if operation.node == node && operation.told == Told::Nothing {
                operation.told = Told::Answered(position);
            }
            if operation.number != applied.operation {
                return Some(format!("{found:?} is not operation {}", operation.number));
            }
        }
        None
    }
}

impl World {
    /// Checks what must be true at the end.
    pub(super) fn close_books(&mut self) {
        if self.report.faults.len() > 3 {
            return;
        }
        let living: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].is_alive).collect();
        for node in &living {
            let machine = &self.nodes[*node].machine;
            let (standing, waiting) = (machine.standing(), machine.waiting());
            if standing != Standing::Following {
                let machine = format!("{:?}", self.nodes[*node].machine);
                self.tell(|| machine);
                self.fault(&format!("node {node} is not back, but {standing:?}"));
            }
            if waiting > 0 {
                self.fault(&format!("node {node} still waits for {waiting} entries"));
            }
        }
        let first = &self.nodes[living[0]].replica;
        let mut faults = Vec::new();
        for node in &living[1..] {
            let replica = &self.nodes[*node].replica;
            let (here, there) = (replica.operations(), first.operations());
            if here != there || replica.state.snapshot() != first.state.snapshot() {
                let differ = here.iter().zip(there).position(|(here, there)| here != there);
                let (at, other) = (replica.order().position(), first.order().position());
                faults.push(format!(
                    "nodes {} and {node} differ from operation {differ:?} on: {} and {} operations, \
                     {other:?} and {at:?}",
                    living[0],
                    there.len(),
                    here.len(),
                ));
            }
        }
        let (new, end) =
            (self.processes[self.master].data.leads_new_nodes_to(), first.order().position());
        if new != Some(end) {
            faults.push(format!("a new node comes to {new:?}, the others are at {end:?}"));
        }
        for fault in faults {
            self.fault(&fault);
        }
        self.check_operations(living[0], &living);
        let done = self.nodes[living[0]].replica.operations();
        let done: Vec<u32> = done.iter().map(|operation| operation & !AT_SECOND).collect();
        for fault in self.check_watchers(&done) {
            self.fault(&fault);
        }
        // A few may cross the first one's on the way: three in one of 10,000 seeds.
        if self.books.needless_ticks > 3 {
            let count = self.books.needless_ticks;
            self.fault(&format!("{count} ticks came from nodes that are not the first"));
        }
    }

    fn check_operations(&mut self, first: usize, living: &[usize]) {
        let replica: &Replica = &self.nodes[first].replica;
        let (mut done, mut faults) = (BTreeSet::new(), Vec::new());
        for number in replica.operations().iter().map(|number| number & !AT_SECOND) {
            if !done.insert(number) {
                faults.push(format!("operation {number} was done twice"));
            }
        }
        let alive: u128 = living.iter().map(|node| 1 << node).sum();
        for operation in &self.books.operations {
            let Operation { number, node, kind, told, applied_by } = operation;
            let is_done = done.contains(number);
            let outlives = kind.outlives_its_epoch();
            match told {
                Told::Answered(_) if is_done => self.report.answered += 1,
                Told::Answered(position) => {
                    self.report.lost += 1;
                    if outlives && applied_by & alive != 0 {
                        faults.push(format!(
                            "operation {number} of node {node} was answered, applied by nodes \
                             {applied_by:b} of which some live, and is gone"
                        ));
                    }
                    if self.report.losses == 0 {
                        faults.push(format!("operation {number} is gone without a loss"));
                    }
                    if replica.includes(*position) {
                        faults.push(format!("the loss of operation {number} is not told"));
                    }
                }
                Told::Fate(Fate::Done) if !is_done && outlives && alive >> node & 1 == 1 => {
                    faults.push(format!("operation {number} is gone, and was told as done"));
                }
                Told::Fate(Fate::NotDone(_)) if is_done || *applied_by != 0 => {
                    faults.push(format!(
                        "operation {number} of node {node} was done by nodes {applied_by:b}, and told as \
                         not done"
                    ));
                }
                Told::Nothing if alive >> node & 1 == 1 => {
                    faults.push(format!("nothing was told of operation {number}"));
                }
                Told::Fate(Fate::InDoubt) => self.report.in_doubt += 1,
                Told::Fate(_) | Told::Nothing => {}
            }
        }
        for fault in faults.into_iter().take(5) {
            self.fault(&fault);
        }
    }
}
