//! The oracle alone: against one server and against three, or against as many as are asked for.

use std::env;

use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};

const USAGE: &str = "usage: cargo xtask oracle [--nodes N]";

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let oracle = cmd!(shell, "cargo test --locked --package channelstream-server --test oracle");
    match nodes(USAGE)? {
        Some(nodes) => oracle.env("CHANNELSTREAM_ORACLE_NODES", nodes.to_string()).run()?,
        None => oracle.run()?,
    }
    Ok(())
}

/// Parses the arguments of a task whose only option is how many servers there are.
pub(crate) fn nodes(usage: &'static str) -> Result<Option<u16>> {
    let words: Vec<String> = env::args().skip(2).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(None),
        ["--nodes", number] => {
            let number: u16 = number.parse().context(usage)?;
            if number == 0 { bail!(usage) } else { Ok(Some(number)) }
        }
        _ => bail!(usage),
    }
}
