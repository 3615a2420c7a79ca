//! The browser client: its types, its size, and that the copy which the server embeds is what the
//! sources give.

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::tools;

/// The npm package.
pub(crate) const FOLDER: &str = "channelstream-js";

pub(crate) fn run(shell: &Shell) -> Result<()> {
    tools::prepare_debian(shell)?;
    tools::prepare_npm(shell, FOLDER)?;
    let _folder = shell.push_dir(FOLDER);
    Ok(cmd!(shell, "npm run --silent check").run()?)
}
