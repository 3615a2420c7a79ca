//! Checks of the browser client: types, size, embedded copy, packing, and one version for all packages.

use anyhow::{Context as _, Result, ensure};
use toml::{Table, Value};
use xshell::{Shell, cmd};

use crate::tools;

/// The npm package.
pub(crate) const FOLDER: &str = "channelstream-js";

pub(crate) fn run(shell: &Shell) -> Result<()> {
    tools::prepare_debian(shell)?;
    check_versions(shell)?;
    tools::prepare_npm(shell, FOLDER)?;
    let _folder = shell.push_dir(FOLDER);
    cmd!(shell, "npm run --silent check").run()?;
    Ok(cmd!(shell, "npm pack --dry-run --silent").ignore_stdout().run()?)
}

/// Checks that every manifest names the version of the workspace.
fn check_versions(shell: &Shell) -> Result<()> {
    let manifest: Table = toml::from_str(&shell.read_file("Cargo.toml")?).context("Cargo.toml")?;
    let workspace = manifest.get("workspace").context("no workspace")?;
    let version = workspace["package"]["version"].as_str().context("no version")?.to_owned();
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
