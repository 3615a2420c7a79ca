//! The cost of the largest requests grows linearly. The tests compare two sizes, and measure
//! processor time, which does not depend on what else the machine does.

use crate::workloads::{ENDINGS, WORKLOADS, expired, least};

const FEW: usize = 2_000;
const MANY: usize = 8 * FEW;

/// A linear cost has the ratio 8, a quadratic one 64.
const MOST: f64 = 24.0;

/// Shorter times, in seconds, are below the resolution of the clock.
const GRAIN: f64 = 0.008;

fn is_near_linear(name: &str, few: f64, many: f64) {
    let ratio = many.max(GRAIN) / few.max(GRAIN);
    assert!(ratio < MOST, "{name}: {few:.3} s for {FEW}, but {many:.3} s for {MANY}");
}

#[test]
fn the_cost_of_a_request_is_linear_in_its_lists() {
    for workload in WORKLOADS {
        let (few, many) = (least(workload, FEW), least(workload, MANY));
        is_near_linear(workload.name, few.total(), many.total());
    }
}

#[test]
fn the_cost_of_ending_is_linear_in_what_ends() {
    for (name, before) in ENDINGS {
        let ((few, _), (many, _)) = (expired(*before, FEW), expired(*before, MANY));
        is_near_linear(name, few, many);
    }
}
