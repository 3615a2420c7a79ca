//! What the largest requests cost grows as their lists do. Only the ratio of two sizes counts, and
//! of the time on the processor, which does not depend on what else the machine does.

use crate::workloads::{ENDINGS, WORKLOADS, expired, least};

const FEW: usize = 2_000;
const MANY: usize = 8 * FEW;

/// 8 for what grows with the items, 64 for what grows with their square.
const MOST: f64 = 24.0;

/// Seconds that are too few to be told apart from the grain of the clock.
const GRAIN: f64 = 0.008;

fn is_near_linear(name: &str, few: f64, many: f64) {
    let ratio = many.max(GRAIN) / few.max(GRAIN);
    assert!(ratio < MOST, "{name}: {few:.3} s for {FEW}, but {many:.3} s for {MANY}");
}

#[test]
fn no_request_costs_more_than_its_lists_are_long() {
    for workload in WORKLOADS {
        let (few, many) = (least(workload, FEW), least(workload, MANY));
        is_near_linear(workload.name, few.total(), many.total());
    }
}

#[test]
fn no_end_costs_more_than_what_ends() {
    for (name, before) in ENDINGS {
        let ((few, _), (many, _)) = (expired(*before, FEW), expired(*before, MANY));
        is_near_linear(name, few, many);
    }
}
