//! Checks of the browser client: types, size, embedded copy, its tarball, and one version for all packages.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use toml::{Table, Value};
use xshell::{Shell, cmd};

use crate::tools;

/// The npm package.
pub(crate) const FOLDER: &str = "channelstream-js";

/// The chat with the AI SDK, which the browser suite drives.
pub(crate) const EXAMPLE: &str = "channelstream-js/examples/ai-chat";

pub(crate) fn run(shell: &Shell) -> Result<()> {
    tools::prepare_debian(shell)?;
    check_versions(shell)?;
    tools::prepare_npm(shell, FOLDER)?;
    let _folder = shell.push_dir(FOLDER);
    cmd!(shell, "npm run --silent check").run()?;
    let folder = shell.create_temp_dir()?;
    pack(shell, folder.path()).map(drop)
}

/// Packs the tarball into a folder, checks how it is taken by programs that depend on it, and returns its path.
pub(crate) fn pack(shell: &Shell, into: &Path) -> Result<PathBuf> {
    // The build tells the sizes first, and the last line is the name.
    let told = cmd!(shell, "npm pack --silent --pack-destination {into}").quiet().read()?;
    let tarball = into.join(told.lines().last().context("npm pack names no file")?);
    cmd!(shell, "npm run --silent check:package").env("TARBALL", &tarball).ignore_stdout().run()?;
    Ok(tarball)
}

/// Returns the version of all packages.
pub(crate) fn version(shell: &Shell) -> Result<String> {
    let manifest: Table = toml::from_str(&shell.read_file("Cargo.toml")?).context("Cargo.toml")?;
    let version = manifest["workspace"]["package"]["version"].as_str();
    version.map(str::to_owned).context("no version")
}

/// Checks that every manifest names the version of the workspace.
fn check_versions(shell: &Shell) -> Result<()> {
    let manifest: Table = toml::from_str(&shell.read_file("Cargo.toml")?).context("Cargo.toml")?;
    let workspace = manifest.get("workspace").context("no workspace")?;
    let version = version(shell)?;
    let mut named = Vec::new();
    for (name, dependency) in workspace["dependencies"].as_table().context("no dependencies")? {
        if dependency.get("path").is_some() {
            let found = dependency.get("version").and_then(Value::as_str).unwrap_or_default();
            named.push((format!("{name} in Cargo.toml"), found.to_owned()));
        }
    }
    for member in workspace["members"].as_array().context("no members")? {
        let path = format!("{}/Cargo.toml", member.as_str().context("a member is not a string")?);
        let member: Table = toml::from_str(&shell.read_file(&path)?).context(path.clone())?;
        let own = &member["package"]["version"];
        if own.get("workspace").and_then(Value::as_bool) != Some(true) {
            named.push((path, own.as_str().unwrap_or_default().to_owned()));
        }
    }
    let chart = shell.read_file("deploy/helm/channelstream/Chart.yaml")?;
    for (key, quote) in [("version", ""), ("appVersion", "\"")] {
        let line = format!("{key}: {quote}{version}{quote}");
        ensure!(chart.lines().any(|found| found == line), "the Helm chart has no line {line:?}");
    }
    let project: Table = toml::from_str(&shell.read_file("python/pyproject.toml")?)?;
    let found = project["project"]["version"].as_str().unwrap_or_default();
    named.push(("python/pyproject.toml".to_owned(), found.to_owned()));
    let argument = format!("ARG VERSION={version}\n");
    ensure!(shell.read_file("Dockerfile")?.contains(&argument), "Dockerfile has no {argument:?}");
    let code = "const at = (name) => require(`./${name}`); \
        [at('package.json'), at('package-lock.json'), at('package-lock.json').packages['']]\
        .map(({ version }) => version).join()";
    let _folder = shell.push_dir(FOLDER);
    for found in cmd!(shell, "node -p {code}").quiet().read()?.split(',') {
        named.push((format!("{FOLDER}'s package files"), found.to_owned()));
    }
    for (place, found) in named {
        ensure!(found == version, "{place} has version {found}, the workspace {version}");
    }
    Ok(())
}
