//! Each crate with none of its features, and with each of them alone.
//!
//! A build of the whole workspace turns on every feature that one crate needs of another, so that
//! nothing else compiles a crate without them.

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use crate::manifests;

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let packages = manifests::packages(shell)?;
    let with_features =
        packages.iter().filter(|package| package.is_ours && !package.features.is_empty());
    let mut count = 0;
    for package in with_features {
        let name = &package.name;
        let single = package.features.iter().filter(|feature| *feature != "default");
        for features in std::iter::once("").chain(single.map(String::as_str)) {
            cmd!(shell, "cargo check --quiet --locked -p {name} --lib --bins --no-default-features --features {features}")
                .run()?;
            count += 1;
        }
    }
    ensure!(count > 0, "no crate has a feature");
    eprintln!("{count} combinations of features compile");
    Ok(())
}
