//! The browser suite: both browser clients, the reference's and ours, in Chromium.

use anyhow::{Context as _, Result, ensure};
use xshell::{Shell, cmd};

use crate::{oracle, setup, tools};

const USAGE: &str = "usage: cargo xtask browser [--nodes N]";

/// The suite, with its own npm packages.
pub(crate) const FOLDER: &str = "channelstream-server/tests/browser";

/// Our client, as the server embeds it.
const OURS: &str = "channelstream-server/web/channelstream/index.js";

/// The tests that both clients pass. The rest of the suite covers ours only.
const SHARED: [&str; 4] =
    ["client.test.mjs", "idle.test.mjs", "recovery.test.mjs", "script.test.mjs"];

/// Runs the suite against one server, or against several on one Redis behind nginx.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    suite(shell, oracle::nodes(USAGE)?.unwrap_or(1))
}

/// Runs the suite against so many servers.
pub(crate) fn suite(shell: &Shell, nodes: u16) -> Result<()> {
    let python = setup::prepare(shell)?;
    let chromium = tools::find("chromium").context("chromium isn't on PATH")?;
    let reference = tools::reference_client(shell, &python)?;
    let ours = shell.current_dir().join(OURS);

    // The same build as the tests of the crates, so that nothing is compiled a second time.
    cmd!(shell, "cargo test --workspace --locked --no-run --quiet").run()?;
    let server = tools::build_folder()?.join("channelstream-server");
    ensure!(server.is_file(), "{} was not built", server.display());

    let _folder = shell.push_dir(FOLDER);
    for (name, client, files) in
        [("the reference's", reference, &SHARED[..]), ("our own", ours, &[])]
    {
        eprintln!("\nwith {name} client");
        // The tests wait most of the time.
        cmd!(shell, "node --test --test-concurrency=2 --test-reporter=spec {files...}")
            .env("CHANNELSTREAM_CHROMIUM", &chromium)
            .env("CHANNELSTREAM_CLIENT", client)
            .env("CHANNELSTREAM_NODES", nodes.to_string())
            .env("CHANNELSTREAM_PYTHON", &python)
            .env("CHANNELSTREAM_SERVER", &server)
            .run()?;
    }
    Ok(())
}
