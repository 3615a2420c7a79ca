//! What the largest requests cost grows as their lists do. Only the ratio of two sizes counts, and
//! of the time on the processor, which does not depend on what else the machine does.

use crate::workloads::{ENDINGS, Server, WORKLOADS, expire, on_processor};

const FEW: usize = 2_000;
const MANY: usize = 8 * FEW;

/// 8 for what grows with the items, 64 for what grows with their square.
const MOST: f64 = 24.0;

/// What is too short to be told apart from the grain of the clock counts as this.
const GRAIN: f64 = 0.008;

/// The least time that `act` takes, of some.
fn least(before: fn(usize) -> Server, count: usize, act: impl Fn(&mut Server)) -> f64 {
    let times = (0..2).map(|_| {
        let mut server = before(count);
        let begun = on_processor();
        act(&mut server);
        on_processor() - begun
    });
    times.fold(f64::MAX, f64::min).max(GRAIN)
}

fn is_near_linear(name: &str, time: impl Fn(usize) -> f64) {
    let (few, many) = (time(FEW), time(MANY));
    println!("{name}: {few:.3} s for {FEW}, {many:.3} s for {MANY}");
    assert!(many / few < MOST, "{name}: {few:.3} s for {FEW}, but {many:.3} s for {MANY}");
}

#[test]
fn no_request_costs_more_than_its_lists_are_long() {
    for workload in WORKLOADS {
        is_near_linear(workload.name, |count| {
            let body = (workload.body)(count);
            assert!(body.len() < 1 << 20);
            least(workload.before, count, |server| {
                server.carry_out(workload.path, &body);
            })
        });
    }
}

#[test]
fn no_end_costs_more_than_what_ends() {
    for (name, before) in ENDINGS {
        is_near_linear(name, |count| {
            least(*before, count, |server| {
                expire(server);
            })
        });
    }
}
