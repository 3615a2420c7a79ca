//! The browser suite: the reference's browser client in Chromium against the built server.

use anyhow::{Context as _, Result, ensure};
use xshell::{Shell, cmd};

use crate::tools;

/// The suite, with its own npm packages.
pub(crate) const FOLDER: &str = "channelstream-server/tests/browser";

pub(crate) fn run(shell: &Shell) -> Result<()> {
    tools::prepare_debian(shell)?;
    let python = tools::prepare_python(shell)?;
    tools::prepare_npm(shell)?;
    let chromium = tools::find("chromium").context("chromium isn't on PATH")?;
    let client = tools::reference_client(shell, &python)?;

    // The same build as the tests of the crates, so that nothing is compiled a second time.
    cmd!(shell, "cargo test --workspace --locked --no-run --quiet").run()?;
    let server = tools::build_folder()?.join("channelstream-server");
    ensure!(server.is_file(), "{} was not built", server.display());

    let _folder = shell.push_dir(FOLDER);
    cmd!(shell, "node --test --test-reporter=spec")
        .env("CHANNELSTREAM_CHROMIUM", chromium)
        .env("CHANNELSTREAM_CLIENT", client)
        .env("CHANNELSTREAM_SERVER", server)
        .run()?;
    Ok(())
}
