//! The oldest Rust that each library declares (`rust-version`): what its dependencies need, and a
//! build with that toolchain where it is installed.
//!
//! Clippy's `incompatible_msrv` checks which items of std the crates use.

use anyhow::{Context as _, Result, ensure};
use xshell::{Shell, cmd};

use crate::manifests::{self, Package};

/// The crates that other people's programs build, and the command.
const PUBLISHED: [&str; 4] =
    ["channelstream-signer", "channelstream-core", "channelstream-client", "channelstream-cli"];

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let packages = manifests::packages(shell)?;
    let mut problems = Vec::new();
    for name in PUBLISHED {
        let own = find(&packages, |package| package.name == name && package.is_ours)?;
        let oldest = own.rust_version.with_context(|| format!("{name} has no rust-version"))?;
        for (name, version) in manifests::built_with(shell, name)? {
            let used =
                find(&packages, |package| package.name == name && package.version == version)?;
            if let Some(needed) = used.rust_version.filter(|needed| *needed > oldest) {
                problems.push(format!(
                    "{} declares Rust {}, {name} {version} needs {}",
                    own.name,
                    shown(oldest),
                    shown(needed)
                ));
            }
        }
    }
    ensure!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
    for name in PUBLISHED {
        let own = find(&packages, |package| package.name == name && package.is_ours)?;
        if let Some(oldest) = own.rust_version {
            build(shell, name, &shown(oldest))?;
        }
    }
    Ok(())
}

fn find(packages: &[Package], wanted: impl Fn(&Package) -> bool) -> Result<&Package> {
    packages.iter().find(|package| wanted(package)).context("cargo tree names an unknown package")
}

fn shown((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

/// Checks a crate with a toolchain, or reports that it is not installed.
fn build(shell: &Shell, package: &str, release: &str) -> Result<()> {
    let list = cmd!(shell, "rustup toolchain list").quiet().ignore_stderr().ignore_status().read();
    let list = list.unwrap_or_default();
    let Some(toolchain) = list.lines().find_map(|line| {
        let name = line.split(' ').next()?;
        let rest = name.strip_prefix(release)?;
        (rest.is_empty() || rest.starts_with(['.', '-'])).then_some(name)
    }) else {
        eprintln!(
            "{package} NOT BUILT with Rust {release}: not installed (`rustup toolchain install {release}`)"
        );
        return Ok(());
    };
    // A folder of its own: artifacts of another compiler would replace those of this one.
    let check = cmd!(
        shell,
        "rustup run {toolchain} cargo check --locked --all-features -p {package} --target-dir target/msrv"
    );
    Ok(check.run()?)
}
