//! The manifests of the workspace, as `cargo metadata` and `cargo tree` report them.

use anyhow::{Context as _, Result};
use serde_json::Value;
use xshell::{Shell, cmd};

/// A package of the build.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The oldest Rust that it declares, as `(1, 88)`.
    pub(crate) rust_version: Option<(u32, u32)>,
    pub(crate) features: Vec<String>,
    /// Whether it is a crate of the workspace.
    pub(crate) is_ours: bool,
}

/// Returns all packages of the lock file.
pub(crate) fn packages(shell: &Shell) -> Result<Vec<Package>> {
    let text = cmd!(shell, "cargo metadata --locked --format-version 1").quiet().read()?;
    let metadata: Value = serde_json::from_str(&text).context("the output of cargo metadata")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    packages.iter().map(|package| read(package).context("a package of cargo metadata")).collect()
}

fn read(package: &Value) -> Result<Package> {
    let text = |key| package[key].as_str().map(str::to_owned);
    let features = package["features"].as_object().context("no features")?;
    Ok(Package {
        name: text("name").context("no name")?,
        version: text("version").context("no version")?,
        rust_version: text("rust_version").map(|text| release(&text)).transpose()?,
        features: features.keys().cloned().collect(),
        is_ours: package["source"].is_null(),
    })
}

/// Parses `1.88` or `1.88.0`.
fn release(text: &str) -> Result<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => anyhow::bail!("{text:?} is not a release of Rust"),
    }
}

/// Returns name and version of everything that a user of `package` builds, on any target.
pub(crate) fn built_with(shell: &Shell, package: &str) -> Result<Vec<(String, String)>> {
    let tree = cmd!(
        shell,
        "cargo tree --locked -p {package} --all-features -e normal,build --target all --prefix none"
    );
    let text = tree.quiet().read()?;
    // A line is `name v1.2.3`, perhaps with a path or a mark behind it.
    let named = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next()?.to_owned();
        Some((name, words.next()?.strip_prefix('v')?.to_owned()))
    };
    let mut found: Vec<_> = text.lines().filter_map(named).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn a_release_has_two_or_three_numbers() {
        assert!(release("1.88").is_ok_and(|found| found == (1, 88)));
        assert!(release("1.88.0").is_ok_and(|found| found == (1, 88)));
        assert!(release("1").is_err() && release("stable").is_err());
    }
}
