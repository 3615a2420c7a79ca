//! The Python client: its format, lints, types and wheel, and its tests against the server.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use xshell::{Shell, cmd};

use crate::tools;

/// The package, whose `pyproject.toml` has the settings of all its tools.
pub(crate) const FOLDER: &str = "python";

/// `cargo xtask python`.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    tools::prepare_packages(
        shell,
        &[("python3", "python3-venv"), ("openssl", "openssl"), ("chromium", "chromium")],
    )?;
    let python = tools::prepare_push(shell)?;

    // The same build as the tests of the crates, so that nothing is compiled a second time.
    cmd!(shell, "cargo test --workspace --locked --no-run --quiet").run()?;
    let server = tools::build_folder()?.join("channelstream-server");
    ensure!(server.is_file(), "{} was not built", server.display());

    let wheels = shell.create_temp_dir()?;
    let wheels = wheels.path();
    let _folder = shell.push_dir(FOLDER);
    cmd!(shell, "{python} -m ruff check .").run()?;
    cmd!(shell, "{python} -m ruff format --check .").run()?;
    cmd!(shell, "{python} -m mypy").run()?;
    // What users write, as the checker of many editors sees it. It would ask another Python.
    cmd!(shell, "{python} -m basedpyright --pythonpath {python}").run()?;
    cmd!(shell, "{python} -m hatchling build --directory {wheels}").ignore_stdout().run()?;
    let built = shell.read_dir(wheels)?;
    let is_wheel = |path: &&PathBuf| path.extension().is_some_and(|end| end == "whl");
    let wheel = built.iter().find(is_wheel).context("hatchling built no wheel")?;
    cmd!(shell, "{python} -m zipfile --test {wheel}").ignore_stdout().run()?;
    Ok(cmd!(shell, "{python} -m pytest -q").env("CHANNELSTREAM_SERVER", &server).run()?)
}
