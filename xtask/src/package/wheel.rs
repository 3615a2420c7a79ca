//! The wheel: made by maturin, and installed into a fresh environment beside the package that it replaces.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::{FOLDER, chroot::output, made};
use crate::{chart::Running, client, guided::Guided, tools};

/// Prints the files and the commands of each of the packages that are named, by its name.
const FILES: &str = "
import json, sys
from importlib.metadata import distribution
def told(name):
    found = distribution(name)
    return {
        'files': [str(file.locate()) for file in found.files],
        'commands': [point.name for point in found.entry_points],
    }
print(json.dumps({name: told(name) for name in sys.argv[1:]}))
";

const NAMES: [&str; 2] = ["channelstream", "channelstream-server"];

pub(super) fn make(shell: &Shell, profile: &str) -> Result<()> {
    let python = tools::prepare_packaging(shell)?;
    let wheel = made(shell, ".whl", || {
        let out = shell.current_dir().join(FOLDER);
        let mut build =
            cmd!(shell, "{python} -m maturin build --quiet --profile {profile} --out {out}");
        if profile != "dev" {
            let guided = Guided::here(shell, profile)?;
            build = build
                .args(["--target", &guided.target])
                .env("CARGO_TARGET_DIR", guided.folder(shell, "built"))
                .env("CARGO_ENCODED_RUSTFLAGS", guided.flags(shell)?);
        }
        let _folder = shell.push_dir("deploy/wheel");
        Ok(build.run()?)
    })?;
    let name = wheel.file_name().and_then(|name| name.to_str()).context("no name")?;
    ensure!(
        name.starts_with("channelstream_server-") && name.contains("-py3-none-manylinux"),
        "{name} is not for every Python 3 of Linux"
    );
    try_out(shell, &wheel)
}

fn try_out(shell: &Shell, wheel: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let environment = folder.path().join("environment");
    let python = environment.join("bin/python");
    cmd!(shell, "python3 -m venv {environment}").quiet().run()?;
    // The reference without what it needs: its files and commands are what matters.
    let reference = folder.path().join("reference.txt");
    fs::write(&reference, tools::requirement(NAMES[0])?)?;
    let pip = || {
        cmd!(shell, "{python} -m pip --disable-pip-version-check install --quiet --no-deps").quiet()
    };
    pip().args(["--require-hashes", "-r"]).arg(&reference).run()?;
    pip().arg("--no-index").arg(wheel).run()?;

    let told = cmd!(shell, "{python} -c {FILES}").args(NAMES).quiet().read()?;
    let told: Value = serde_json::from_str(&told)?;
    let files = |name: &str| {
        let files = told[name]["files"].as_array().into_iter().flatten();
        files.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let (theirs, own) = (files(NAMES[0]), files(NAMES[1]));
    let shared: Vec<_> = own.iter().filter(|file| theirs.contains(file)).collect();
    ensure!(!theirs.is_empty() && shared.is_empty(), "both packages have {shared:?}");
    let program = environment.join("bin/channelstream-server");
    let is_program = |file: &&String| Path::new(file).ends_with("bin/channelstream-server");
    ensure!(own.iter().filter(is_program).count() == 1, "the program is not in {own:?}");
    let outside = own.iter().filter(|file| !file.contains(".dist-info/")).count();
    ensure!(outside == 1, "there is more than the program in {own:?}");
    ensure!(own.iter().any(|file| file.ends_with("/LICENSE")), "the license is not in {own:?}");
    for command in told[NAMES[0]]["commands"].as_array().context("no commands")? {
        let command = command.as_str().context("a command without a name")?;
        ensure!(command != NAMES[1] && environment.join("bin").join(command).exists(), "{command}");
    }

    let version = output(Command::new(&program).arg("--version"), "--version")?;
    ensure!(
        version.trim_end().ends_with(&client::version(shell)?),
        "the program is of version {version}"
    );
    let server = Running::start(Command::new(&program).args(["--port", "0"]).env_clear())?;
    let url = format!("http://{}/healthz", server.address);
    output(Command::new(&program).args(["health", &url]), "health")?;
    server.end()?;
    cmd!(
        shell,
        "{python} -m pip --disable-pip-version-check uninstall --quiet -y channelstream-server"
    )
    .quiet()
    .run()?;
    ensure!(!program.exists(), "the program is there after its package was uninstalled");
    ensure!(
        theirs.iter().all(|file| file.ends_with(".pyc") || Path::new(file).exists()),
        "files of the other package were removed"
    );
    eprintln!("installed beside the reference, started and uninstalled");
    Ok(())
}
