//! The largest lawful request of each endpoint: how long it holds up others, and that this grows as
//! its lists do. Prints, in milliseconds on the processor, the whole for 10,000 and 80,000 items, the
//! ratio, and the steps of the larger one, between which others are served.

#[path = "../tests/it/workloads.rs"]
mod workloads;

use workloads::{ENDINGS, WORKLOADS, expired, least};

const FEW: usize = 10_000;
const MANY: usize = 80_000;

#[expect(clippy::print_stdout, reason = "it is what a benchmark is for")]
fn main() {
    let ms = |seconds: f64| seconds * 1000.0;
    println!(
        "{:<40} {:>8} {:>8} {:>6}   {:>6} {:>6} {:>6}",
        "", "10,000", "80,000", "ratio", "read", "apply", "write"
    );
    for workload in WORKLOADS {
        let (few, many) = (least(workload, FEW).total(), least(workload, MANY));
        let (total, ratio) = (many.total(), many.total() / few);
        println!(
            "{:<40} {:>8.1} {:>8.1} {ratio:>6.1}   {:>6.1} {:>6.1} {:>6.1}",
            workload.name,
            ms(few),
            ms(total),
            ms(many.read),
            ms(many.apply),
            ms(many.write)
        );
    }
    for (name, before) in ENDINGS {
        let ((few, _), (many, steps)) = (expired(*before, FEW), expired(*before, MANY));
        let ratio = many / few;
        println!("{name:<40} {:>8.1} {:>8.1} {ratio:>6.1}   in {steps} steps", ms(few), ms(many));
    }
}
