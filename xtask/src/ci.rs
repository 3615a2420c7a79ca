//! Everything a change must pass: the quick checks first, the tests last.

use std::time::Instant;

use anyhow::{Context as _, Result};
use xshell::Shell;

use crate::setup;

const STEPS: [&str; 14] = [
    "fmt",
    "tidy",
    "directions",
    "licenses",
    "advisories",
    "msrv",
    "clippy",
    "features",
    "windows",
    "docs",
    "client",
    "python",
    "test",
    "chart",
];

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let start = Instant::now();
    setup::prepare(shell)?;
    for name in STEPS {
        let (_, about, task) =
            crate::TASKS.iter().find(|task| task.0 == name).expect("each step is a task");
        eprintln!("\n== {name}: {about}");
        let begin = Instant::now();
        task(shell).with_context(|| format!("ci failed in step {name}"))?;
        eprintln!("== {name}: passed in {:.1} s", begin.elapsed().as_secs_f64());
    }
    eprintln!("\nci: all steps passed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
