//! The portable crates, checked for Windows where that target is installed.

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::tools;

const TARGET: &str = "x86_64-pc-windows-gnu";

/// Builds the C parts of dependencies for the target.
const COMPILER: &str = "x86_64-w64-mingw32-gcc";

/// All but the server and what runs beside it on Unix alone.
const PORTABLE: [&str; 4] =
    ["channelstream-signer", "channelstream-core", "channelstream-client", "channelstream-cli"];

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let installed = cmd!(shell, "rustup target list --installed").quiet().ignore_stderr();
    let installed = installed.ignore_status().read().unwrap_or_default();
    if !installed.lines().any(|line| line == TARGET) {
        not_checked(&format!("the target isn't installed (`rustup target add {TARGET}`)"));
        return Ok(());
    }
    if tools::find(COMPILER).is_none() {
        not_checked(&format!("{COMPILER} isn't on PATH (Debian: gcc-mingw-w64-x86-64)"));
        return Ok(());
    }
    for package in PORTABLE {
        cmd!(shell, "cargo check --locked --all-features --target {TARGET} -p {package}").run()?;
    }
    Ok(())
}

fn not_checked(why: &str) {
    eprintln!("Windows NOT CHECKED: {why}");
}
