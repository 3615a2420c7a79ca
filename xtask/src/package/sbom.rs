//! Bills of materials in the form of CycloneDX: what is in each program, and under which license.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::FOLDER;
use crate::{manifests, tools};

pub(super) fn make(shell: &Shell, _: &str) -> Result<()> {
    let tools = tools::prepare_cargo(shell, "cargo-cyclonedx", "0.5.9")?;
    for package in ["channelstream-server", "channelstream-cli"] {
        let manifest = format!("{package}/Cargo.toml");
        // It writes one beside each manifest of the workspace.
        let name = "package-sbom";
        cmd!(shell, "{tools}/cargo-cyclonedx cyclonedx --quiet --manifest-path {manifest} --format json --spec-version 1.5 --target all --no-build-deps --override-filename {name}")
            .run()?;
        let text = shell.read_file(format!("{package}/{name}.json"))?;
        for folder in tools::members(shell)? {
            shell.remove_path(format!("{folder}/{name}.json"))?;
        }
        let bill: Value = serde_json::from_str(&text).context("the bill is no JSON")?;
        let listed = bill["components"].as_array().context("no components")?;
        let missing: Vec<_> = manifests::built_with(shell, package)?
            .into_iter()
            .filter(|(name, version)| {
                name != package
                    && !listed
                        .iter()
                        .any(|one| one["name"] == **name && one["version"] == **version)
            })
            .collect();
        // Tools that run in the build, such as a C compiler's driver, are not in the program.
        let known = listed.iter().all(|one| one["licenses"][0] != Value::Null);
        ensure!(known, "a component has no license");
        shell.write_file(format!("{FOLDER}/{package}.cdx.json"), text)?;
        eprintln!("{package}: {} components, {} of the build alone", listed.len(), missing.len());
    }
    Ok(())
}
