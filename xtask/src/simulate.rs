//! The simulator of the shared journal: any number of seeds, or the story of one.

use std::env;

use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};

const USAGE: &str = "usage: cargo xtask simulate [--seeds N] [--seed S] [--without RULE]";

/// Runs seeds, 1,000 by default, and prints the first that fail. `--seed` tells the story of one; `--without`
/// takes a rule out, so that seeds have to fail.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    // Not as long to build as a release, and nearly as fast.
    let mut simulate = cmd!(
        shell,
        "cargo test --profile simulation --locked --package channelstream-server --lib -- --nocapture --exact simulation::seeds"
    )
    .env("CHANNELSTREAM_SIMULATE_SEEDS", "1000");
    let mut words = env::args().skip(2);
    while let Some(word) = words.next() {
        let value = words.next().context(USAGE)?;
        let number = value.parse::<u64>().map(|number| number.to_string());
        simulate = match word.as_str() {
            "--seeds" => simulate.env("CHANNELSTREAM_SIMULATE_SEEDS", number.context(USAGE)?),
            "--seed" => simulate.env("CHANNELSTREAM_SIMULATE_SEED", number.context(USAGE)?),
            "--without" => simulate.env("CHANNELSTREAM_SIMULATE_WITHOUT", value),
            _ => bail!(USAGE),
        };
    }
    simulate.run()?;
    Ok(())
}
