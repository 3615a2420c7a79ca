//! The stress test: hundreds of clients against the released server, for any time.

use std::env;

use anyhow::{Context as _, Result, bail, ensure};
use xshell::{Shell, cmd};

use crate::tools;

const USAGE: &str = "usage: cargo xtask storm [--seconds N] [--seed S] [--threads T] [--nodes N]";

/// Runs the stress test: by default for a minute, with a random seed that it prints, and with a
/// server of one thread. Several nodes run inside the test.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    let (mut seconds, mut seed, mut threads, mut nodes) = (60, None, 1, 1);
    let mut words = env::args().skip(2);
    while let Some(word) = words.next() {
        let number: u64 = words.next().and_then(|number| number.parse().ok()).context(USAGE)?;
        match word.as_str() {
            "--seconds" => seconds = number,
            "--seed" => seed = Some(number),
            "--threads" => threads = number,
            "--nodes" => nodes = number,
            _ => bail!(USAGE),
        }
    }
    // The server as it is delivered; the clients may be slower than they could be.
    cmd!(shell, "cargo build --release --locked --package channelstream-server").run()?;
    let folder = tools::build_folder()?;
    let server = folder.with_file_name("release").join("channelstream-server");
    ensure!(server.is_file(), "{} was not built", server.display());
    let storm = cmd!(
        shell,
        "cargo test --locked --package channelstream-server --test storm -- --nocapture any_seed"
    );
    let storm = storm
        .env("CHANNELSTREAM_STORM_SERVER", server)
        .env("CHANNELSTREAM_STORM_SECONDS", seconds.to_string())
        .env("CHANNELSTREAM_STORM_THREADS", threads.to_string())
        .env("CHANNELSTREAM_STORM_NODES", nodes.to_string());
    match seed {
        Some(seed) => storm.env("CHANNELSTREAM_STORM_SEED", seed.to_string()).run()?,
        None => storm.run()?,
    }
    Ok(())
}
