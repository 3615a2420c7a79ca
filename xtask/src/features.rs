//! Lints of each crate with none of its features, and with each of several alone.
//!
//! A build of the whole workspace turns on every feature that one crate needs of another, so that
//! nothing else compiles a crate without them. It also covers the only feature of a crate.

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
        let own = package.features.iter().filter(|feature| *feature != "default");
        let mut single: Vec<_> = own.map(String::as_str).collect();
        if single.len() == 1 {
            single.clear();
        }
        for features in std::iter::once("").chain(single) {
            cmd!(shell, "cargo clippy --quiet --locked -p {name} --lib --bins --no-default-features --features {features} -- -D warnings")
                .run()?;
            count += 1;
        }
    }
    ensure!(count > 0, "no crate has a feature");
    eprintln!("{count} combinations of features compile");
    Ok(())
}
