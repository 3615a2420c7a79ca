//! A storm: hundreds of clients that come, go, stall, break off and publish, and a model of its own
//! that knows what each listener had to be given. `cargo xtask storm` makes it long.
#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
#![allow(clippy::disallowed_methods, reason = "a test may wait")]

mod client;
mod dice;
mod ear;
#[allow(dead_code, reason = "the tests of a cluster need more of it")]
mod follower;
#[allow(dead_code, reason = "the tests of a cluster need more of it")]
mod model;
mod order;
#[allow(dead_code, reason = "the tests of a cluster need more of it")]
mod page;
mod publisher;
mod round;
mod run;
mod server;
mod verdict;
#[allow(dead_code, reason = "the tests of a cluster need more of it")]
mod wire;

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use channelstream_signer::unix_now;
use dice::Dice;
use round::Plan;
use server::Server;
use tokio::task::LocalSet;
use tokio::time::Instant;

/// Seconds of storm in an ordinary run of the tests.
const SHORT: u64 = 8;

/// The longest a round lasts; after each everything has to be as it was before.
const ROUND: u64 = 10;

/// What the server may hold more after the last round than after the second: a tenth, and what the
/// allocator keeps of the largest moment, when many were stalled at once.
const MEMORY: (u64, u64) = (10, 8 << 20);

/// A number from the environment, as `cargo xtask storm` puts it there.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_with_a_fixed_seed_and_three_threads() {
    if number("CHANNELSTREAM_STORM_SECONDS").is_none() {
        storm(SHORT / 2, 1, 1, 3);
    }
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_on_three_nodes() {
    if number("CHANNELSTREAM_STORM_SECONDS").is_none() {
        storm(SHORT / 2, 1, 3, 1);
    }
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_with_any_seed() {
    let any = (unix_now() + u64::from(std::process::id())) % 1_000_000;
    let seed = number("CHANNELSTREAM_STORM_SEED").unwrap_or(any);
    let threads = number("CHANNELSTREAM_STORM_THREADS").unwrap_or(1);
    let nodes = number("CHANNELSTREAM_STORM_NODES").unwrap_or(1);
    storm(number("CHANNELSTREAM_STORM_SECONDS").unwrap_or(SHORT / 2), seed, nodes, threads);
}

#[expect(clippy::print_stdout, reason = "the figures are asked for beside the verdict")]
fn storm(seconds: u64, seed: u64, nodes: u64, threads: u64) {
    println!("storm of {seconds} s with seed {seed}, {nodes} servers of {threads} threads");
    let begun = Instant::now();
    let dice = Dice::new(seed);
    let server = Server::start(nodes, threads);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut frames, mut faults) = (0, Vec::new());
    let mut done = BTreeMap::<&str, usize>::new();
    let mut memory = Vec::new();
    let rounds = seconds.div_ceil(ROUND).max(2);
    for number in 0..rounds {
        let time = Duration::from_secs(seconds) / u32::try_from(rounds).unwrap();
        let plan = Plan {
            users: 300,
            followers: 60,
            channels: 24,
            publishers: 12,
            writers: 0,
            pace: 60,
            time,
        };
        let round = run::run(server.site(dice.part(1 << 32 | number)), plan, dice.part(number));
        let outcome = LocalSet::new().block_on(&runtime, round);
        frames += outcome.frames;
        outcome.done.into_iter().for_each(|(what, count)| *done.entry(what).or_default() += count);
        faults.extend(outcome.faults.into_iter().map(|fault| format!("round {number}: {fault}")));
        if let Err(left) = server.drained() {
            faults.push(format!("round {number}: something is left: {left}"));
        }
        memory.extend(server.memory());
        if !faults.is_empty() {
            break;
        }
    }
    let operations: usize = done.values().sum();
    println!("{done:#?}");
    println!("memory after each round: {memory:?} bytes");
    println!(
        "storm: {operations} operations, {frames} frames checked, {} faults, {rounds} rounds, \
         {:.0} s, seed {seed}",
        faults.len(),
        begun.elapsed().as_secs_f64()
    );
    if let ([_, second, ..], Some(last)) = (&memory[..], memory.last())
        && *last > second + second / MEMORY.0 + MEMORY.1
    {
        faults.push(format!("memory grows: {memory:?}"));
    }
    let told = faults.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "seed {seed}: {} faults\n{told}\n{}", faults.len(), server.log());
}
