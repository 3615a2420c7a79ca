//! The crates as crates.io would take them: packed, and built from what is packed alone.

use std::fs;

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use super::FOLDER;
use crate::{client, tools};

/// No crate has a reason to be larger.
const LARGEST: u64 = 1024 * 1024;

pub(super) fn make(shell: &Shell, profile: &str) -> Result<()> {
    // What is published is what is committed; who is trying may have changed something.
    let dirty = (profile == "dev").then_some("--allow-dirty");
    // Each is built with the others that it needs, though none of them is on crates.io yet.
    cmd!(shell, "cargo publish --workspace --dry-run --locked {dirty...}").run()?;
    // The trial leaves no files.
    let mut published = Vec::new();
    for name in tools::members(shell)? {
        let manifest: toml::Table =
            toml::from_str(&shell.read_file(format!("{name}/Cargo.toml"))?)?;
        if manifest["package"].as_table().is_some_and(|package| !package.contains_key("publish")) {
            published.push(name);
        }
    }
    let packages: Vec<_> = published.iter().flat_map(|name| ["-p", name]).collect();
    cmd!(shell, "cargo package --quiet --no-verify --locked {packages...} {dirty...}")
        .ignore_stderr()
        .run()?;
    let version = client::version(shell)?;
    for name in &published {
        let unpacked = format!("{FOLDER}/{name}-{version}");
        let file = format!("{unpacked}.crate");
        let list = cmd!(shell, "tar -tzf {file}").quiet().read()?;
        let has = |path: &str| list.lines().any(|line| line == format!("{name}-{version}/{path}"));
        ensure!(has("README.md") && has("LICENSE"), "{name} has no README.md or LICENSE");
        let size = fs::metadata(shell.current_dir().join(&file))?.len();
        ensure!(size <= LARGEST, "{file} has {size} bytes, at most {LARGEST} allowed");
        eprintln!("{name}: {} files, {} KiB", list.lines().count(), size.div_ceil(1024));
        // What it was built from.
        shell.remove_path(&unpacked)?;
    }
    for left in ["tmp-crate", "tmp-registry"] {
        shell.remove_path(format!("{FOLDER}/{left}"))?;
    }
    Ok(())
}
