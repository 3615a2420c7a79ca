//! The simulator: nodes that run the product's protocol, state, hub, outboxes and encodings, a model of Redis,
//! clients, and all that can go wrong between them, in virtual time and by one seed.
//!
//! Not in it are what has tasks, sockets or files: the driver with its lines and the commands of Redis, the loop around
//! the state, the writer of sockets, and the journal in files, which has a model of a disk of its own.

mod check;
mod commands;
mod dice;
mod events;
mod faults;
mod listening;
mod redis;
mod replica;
mod watchers;
mod world;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::Range;
use std::time::Instant;
use std::{env, thread};

use crate::journal::redis::protocol::Rule;
use world::World;

/// How many seeds the tests run when nobody says how many.
const SOME: u64 = 200;

/// What may be missing, so that the simulator has to find a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A rule of the protocol.
    Rule(Rule),
    /// The state does not recognize entries by their numbers.
    Numbers,
    /// An epoch begins, and entries are put back, wherever Redis ends.
    Compare,
    /// Appending makes a journal where there is none.
    Exists,
    /// What was read counts in whatever epoch.
    Moved,
    /// Not a rule, but a fault around the protocol, which has to be found as well.
    Planted(Planted),
}

/// A fault of the parts around the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// Some entry is applied twice by a node.
    Doubled,
    /// Some entry is not applied by a node.
    Dropped,
    /// Some command has another effect on one node.
    Flipped,
    /// The snapshot that an epoch begins with is older than it should be.
    Stale,
    /// Some frame comes twice.
    FrameDoubled,
    /// Some frame does not come.
    FrameLost,
    /// Two frames come in the wrong order.
    FramesSwapped,
    /// Some frame comes to another client.
    FrameMisled,
    /// Some frame has the cursor of the one before it.
    Cursor,
    /// Clients are not told that events are missing.
    Gap,
    /// A node tells the digest of an earlier state.
    Digest,
    /// A node says that something was not done, when nothing is known of it.
    Fate,
    /// All nodes append ticks, and not the first of them.
    Ticks,
    /// A node of the release before claims to know the next level, and goes on as if it did.
    Level,
}

impl Missing {
    fn rule(self) -> Option<Rule> {
        match self {
            Self::Rule(rule) => Some(rule),
            _ => None,
        }
    }

    /// All that may be missing, by name.
    const NAMES: [(&str, &[Self]); 26] = [
        ("run", &[Self::Rule(Rule::Run)]),
        ("holes", &[Self::Rule(Rule::Holes)]),
        ("end", &[Self::Rule(Rule::End)]),
        ("wait", &[Self::Rule(Rule::Wait)]),
        ("again", &[Self::Rule(Rule::Again)]),
        ("ring", &[Self::Rule(Rule::Ring)]),
        ("anyone", &[Self::Rule(Rule::Anyone)]),
        ("numbers", &[Self::Numbers]),
        ("compare", &[Self::Compare]),
        ("exists", &[Self::Exists]),
        ("moved", &[Self::Moved]),
        ("doubled", &[Self::Planted(Planted::Doubled)]),
        ("dropped", &[Self::Planted(Planted::Dropped)]),
        ("flipped", &[Self::Planted(Planted::Flipped)]),
        ("stale", &[Self::Planted(Planted::Stale)]),
        ("frame-doubled", &[Self::Planted(Planted::FrameDoubled)]),
        ("frame-lost", &[Self::Planted(Planted::FrameLost)]),
        ("frames-swapped", &[Self::Planted(Planted::FramesSwapped)]),
        ("frame-misled", &[Self::Planted(Planted::FrameMisled)]),
        ("cursor", &[Self::Planted(Planted::Cursor)]),
        ("gap", &[Self::Planted(Planted::Gap)]),
        ("digest", &[Self::Planted(Planted::Digest)]),
        ("fate", &[Self::Planted(Planted::Fate)]),
        ("ticks", &[Self::Planted(Planted::Ticks)]),
        ("level", &[Self::Planted(Planted::Level)]),
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
    damages: u64,
    holes: u64,
    losses: u64,
    splits: u64,
    /// Frames that clients received, and how often they were told of a gap.
    frames: u64,
    gaps: u64,
    /// How often the level was raised, and a node stopped because it did not know it.
    raised: u64,
    unknown: u64,
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
        self.damages += other.damages;
        self.holes += other.holes;
        self.losses += other.losses;
        self.splits += other.splits;
        self.frames += other.frames;
        self.gaps += other.gaps;
        self.raised += other.raised;
        self.unknown += other.unknown;
    }
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs these seeds on all cores, and returns what happened by all of them together with those that are bad.
fn run(seeds: Range<u64>, missing: &[Missing], threads: u64) -> (Report, BTreeMap<u64, Report>) {
    let (mut total, mut bad) = (Report::default(), BTreeMap::new());
    let part = |thread: u64| {
        let seeds = seeds.clone().filter(move |seed| seed % threads == thread);
        let reports = seeds.map(|seed| (seed, World::live(seed, missing, false)));
        reports.collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
        for (seed, report) in parts.into_iter().flat_map(|part| part.join().unwrap()) {
            total.add(&report);
            if !report.faults.is_empty() {
                bad.insert(seed, report);
            }
        }
    });
    (total, bad)
}

/// Runs some seeds, or as many as the environment says. `CHANNELSTREAM_SIMULATE_SEED` tells the story of one, and
/// `CHANNELSTREAM_SIMULATE_WITHOUT` takes something out.
#[test]
#[expect(clippy::print_stdout, reason = "who asks for seeds reads what came of them")]
fn seeds() {
    let without = env::var("CHANNELSTREAM_SIMULATE_WITHOUT").unwrap_or_default();
    let missing = Missing::NAMES.iter().find(|(name, _)| *name == without);
    let missing = match missing {
        Some((_, missing)) => missing,
        None if without.is_empty() => &[][..],
        None => panic!("{without} is none of {:?}", Missing::NAMES.map(|(name, _)| name)),
    };
    if let Some(seed) = setting("CHANNELSTREAM_SIMULATE_SEED") {
        let report = World::live(seed, missing, true);
        println!("{report:#?}");
        assert!(report.faults.is_empty(), "seed {seed} is bad");
        return;
    }
    let count = setting("CHANNELSTREAM_SIMULATE_SEEDS");
    let count = count.unwrap_or(SOME);
    let threads = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let begun = Instant::now();
    let (total, bad) = run(0..count, missing, threads);
    let seconds = begun.elapsed().as_secs_f64();
    println!("{total:#?}");
    for (seed, report) in bad.iter().take(5) {
        println!("seed {seed}: {:#?}", report.faults);
    }
    println!(
        "{} of {count} seeds are bad; {seconds:.1} s, {:.0} seeds a second",
        bad.len(),
        count as f64 / seconds
    );
    assert!(bad.is_empty(), "seeds are bad: {:?}", bad.keys().take(20).collect::<Vec<_>>());
}

/// A seed lives twice and has the same end.
#[test]
fn a_seed_is_a_story() {
    for seed in 0..3 {
        let [one, other] = [(); 2].map(|()| format!("{:?}", World::live(seed, &[], false)));
        assert_eq!(one, other);
    }
}

/// The first seeds that found what was missing, for each name. For what is not here, see below.
const FOUND: [(&str, u64); 22] = [
    ("run", 0),
    ("holes", 1),
    ("end", 299),
    ("again", 1),
    ("ring", 6),
    ("anyone", 15),
    ("numbers", 6),
    ("exists", 114),
    ("doubled", 0),
    ("dropped", 0),
    ("flipped", 0),
    ("stale", 18),
    ("frame-doubled", 0),
    ("frame-lost", 0),
    ("frames-swapped", 1),
    ("frame-misled", 0),
    ("cursor", 0),
    ("gap", 0),
    ("digest", 0),
    ("fate", 4),
    ("ticks", 0),
    ("level", 3),
];

/// Without any of its rules, the protocol fails, and each planted fault is found. The rules without which it does so
/// in few seeds are looked for by `cargo xtask simulate --without NAME`.
#[test]
fn what_is_missing_is_found() {
    const SELDOM: [&str; 4] = ["compare", "moved", "wait", "wait+compare"];
    for (name, missing) in Missing::NAMES.iter().filter(|(name, _)| !SELDOM.contains(name)) {
        let found = FOUND.iter().find(|(found, _)| found == name);
        let (_, seed) = found.unwrap_or_else(|| panic!("no seed is known for {name}"));
        let is_bad = |missing| !World::live(*seed, missing, false).faults.is_empty();
        assert!(
            is_bad(missing),
            "{name} needs another seed: cargo xtask simulate --without {name}"
        );
        assert!(!is_bad(&[]), "seed {seed} is bad by itself");
    }
}
