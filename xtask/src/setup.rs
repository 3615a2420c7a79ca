//! Installs what the tests need besides Rust, once.

use std::path::PathBuf;

use anyhow::Result;
use xshell::Shell;

use crate::{browser, client, tools};

/// `cargo xtask setup`.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    prepare(shell).map(drop)
}

/// Installs what is missing, and returns the Python of the tests.
pub(crate) fn prepare(shell: &Shell) -> Result<PathBuf> {
    tools::prepare_debian(shell)?;
    for folder in [browser::FOLDER, client::FOLDER, client::EXAMPLE] {
        tools::prepare_npm(shell, folder)?;
    }
    tools::prepare_packaging(shell)?;
    tools::prepare_push(shell)?;
    tools::prepare_python(shell)
}
