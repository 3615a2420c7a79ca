//! The simulator: nodes that run the product's protocol, a model of Redis, and all that can go wrong between
//! them, in virtual time and by one seed.

mod check;
mod dice;
mod faults;
mod redis;
mod replica;
mod world;

use std::env;
use std::time::Instant;

use crate::journal::redis::protocol::Rule;
use world::World;

/// What may be missing, so that the simulator has to find a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A rule of the protocol.
    Rule(Rule),
    /// The state does not recognize entries by their numbers.
    Numbers,
    /// An epoch begins wherever Redis ends.
    Compare,
    /// Appending makes a journal where there is none.
    Exists,
}

impl Missing {
    fn rule(self) -> Option<Rule> {
        match self {
            Self::Rule(rule) => Some(rule),
            _ => None,
        }
    }

    /// All that may be missing, by name.
    const NAMES: [(&str, &[Self]); 11] = [
        ("run", &[Self::Rule(Rule::Run)]),
        ("holes", &[Self::Rule(Rule::Holes)]),
        ("ends", &[Self::Rule(Rule::Ends)]),
        ("wait", &[Self::Rule(Rule::Wait)]),
        ("again", &[Self::Rule(Rule::Again)]),
        ("ring", &[Self::Rule(Rule::Ring)]),
        ("anyone", &[Self::Rule(Rule::Anyone)]),
        ("numbers", &[Self::Numbers]),
        ("compare", &[Self::Compare]),
        ("exists", &[Self::Exists]),
        ("wait+compare", &[Self::Rule(Rule::Wait), Self::Compare]),
    ];
}

/// What happened by one seed, or by several.
#[derive(Debug, Default)]
pub(crate) struct Report {
    faults: Vec<String>,
    events: u64,
    operations: u64,
    answered: u64,
    in_doubt: u64,
    /// Answered operations that were lost together with all nodes that had applied them.
    lost: u64,
    applied: u64,
    epochs: u64,
    rebuilt: u64,
    restarts: u64,
    repeats: u64,
    divergences: u64,
    holes: u64,
    losses: u64,
    splits: u64,
}

impl Report {
    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.operations += other.operations;
        self.answered += other.answered;
        self.in_doubt += other.in_doubt;
        self.lost += other.lost;
        self.applied += other.applied;
        self.epochs += other.epochs;
        self.rebuilt += other.rebuilt;
        self.restarts += other.restarts;
        self.repeats += other.repeats;
        self.divergences += other.divergences;
        self.holes += other.holes;
        self.losses += other.losses;
        self.splits += other.splits;
    }
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs seeds: those of the environment, or some hundred. `CHANNELSTREAM_SIMULATE_SEED` tells the story of
/// one.
#[test]
#[expect(clippy::print_stdout, reason = "who asks for seeds reads what came of them")]
fn seeds() {
    let missing = env::var("CHANNELSTREAM_SIMULATE_WITHOUT").unwrap_or_default();
    let missing = Missing::NAMES.iter().find(|(name, _)| *name == missing).map_or(&[][..], |x| x.1);
    if let Some(seed) = setting("CHANNELSTREAM_SIMULATE_SEED") {
        let report = World::live(seed, missing, true);
        println!("{report:#?}");
        assert!(report.faults.is_empty(), "seed {seed}");
        return;
    }
    let count = setting("CHANNELSTREAM_SIMULATE_SEEDS").unwrap_or(100);
    let begun = Instant::now();
    let mut total = Report::default();
    let mut bad = 0;
    for seed in 0..count {
        let report = World::live(seed, missing, false);
        total.add(&report);
        if !report.faults.is_empty() {
            bad += 1;
            if bad <= 5 {
                println!("seed {seed}: {:#?}", report.faults);
            }
        }
    }
    println!("{total:#?}\n{bad} of {count} seeds are bad, {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(bad, 0);
}
