//! All tests: those of the crates, then the browser suite.

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::{browser, setup};

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let python = setup::prepare(shell)?;
    cmd!(shell, "cargo test --workspace --locked --no-fail-fast")
        .env("CHANNELSTREAM_TEST_PYTHON", python)
        .run()?;
    // As a part of the workspace it shares the dependencies that are built.
    let otlp = "--workspace --features channelstream-server/otlp --test otlp".split(' ');
    cmd!(shell, "cargo test {otlp...} --locked").run()?;
    browser::suite(shell, 1)
}
