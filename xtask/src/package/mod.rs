//! Packages, all made below `target/package` and tried: `cargo xtask package [--profile P] [WHAT...]`.

mod chroot;
mod crates;
mod debian;
mod image;
mod musl;
mod rpm;
mod sbom;
mod settings;
mod stage;
mod wheel;

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};

use crate::{chart, client, tools};
use chroot::Chroot;

pub(crate) const FOLDER: &str = "target/package";

/// A kind of package: its name, what it is, and what makes and tries it with a profile.
type Kind = (&'static str, &'static str, fn(&Shell, &str) -> Result<()>);

const KINDS: [Kind; 9] = [
    ("deb", "Debian, installed, started and purged in a chroot", debian::make),
    ("rpm", "RPM, installed, started and removed in a chroot", rpm::make),
    ("wheel", "Python's wheel, installed beside the reference", wheel::make),
    (
        "static",
        "programs without a libc for x86-64 and arm64, started where nothing else is",
        musl::make,
    ),
    ("crates", "the crates, built from what would be published", crates::make),
    ("image", "what the Dockerfile says, carried out and started in a chroot", image::make),
    ("npm", "the browser client", npm),
    ("chart", "the Helm chart", helm),
    ("sbom", "the bill of materials, for what is in the programs", sbom::make),
];

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let (mut profile, mut wanted) = ("release".to_owned(), Vec::new());
    let mut arguments = env::args().skip(2);
    while let Some(argument) = arguments.next() {
        if argument == "--profile" {
            profile = arguments.next().with_context(usage)?;
        } else if KINDS.iter().any(|kind| kind.0 == argument) {
            wanted.push(argument);
        } else {
            bail!(usage());
        }
    }
    shell.create_dir(FOLDER)?;
    for (name, about, make) in KINDS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            eprintln!("\n== {name}: {about}");
            make(shell, &profile).with_context(|| format!("package {name}"))?;
        }
    }
    sums(shell)
}

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask package [--profile PROFILE] [WHAT...], all of");
    for (name, about, _) in KINDS {
        text += &format!("\n  {name:<7} {about}");
    }
    text
}

fn npm(shell: &Shell, _: &str) -> Result<()> {
    tools::prepare_npm(shell, client::FOLDER)?;
    let folder = shell.current_dir().join(FOLDER);
    let _folder = shell.push_dir(client::FOLDER);
    client::pack(shell, &folder).map(drop)
}

fn helm(shell: &Shell, _: &str) -> Result<()> {
    chart::run(shell)?;
    let python = tools::prepare_packaging(shell)?;
    let (chart, folder) = (chart::FOLDER, FOLDER);
    let code = "import sys, helm_python\nwith helm_python.Chart.load(sys.argv[1]) as chart: chart.save(sys.argv[2])";
    Ok(cmd!(shell, "{python} -c {code} {chart} {folder}").run()?)
}

/// Has a package made, and returns its path: the only one in the folder that ends so.
fn made(shell: &Shell, end: &str, make: impl FnOnce() -> Result<()>) -> Result<PathBuf> {
    let found = || {
        let entries = fs::read_dir(shell.current_dir().join(FOLDER))?;
        let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let is_one = |path: &PathBuf| path.to_string_lossy().ends_with(end);
        Ok::<_, anyhow::Error>(paths.into_iter().filter(is_one).collect::<Vec<_>>())
    };
    for old in found()? {
        shell.remove_path(old)?;
    }
    make()?;
    found()?.pop().with_context(|| format!("no {end} was made"))
}

/// Writes the checksums of all files that are there.
fn sums(shell: &Shell) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(shell.current_dir().join(FOLDER))? {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("a name that is not UTF-8")?;
        if entry.file_type()?.is_file() && name != "SHA256SUMS" {
            names.push(name);
        }
    }
    names.sort_unstable();
    let _folder = shell.push_dir(FOLDER);
    let sums = cmd!(shell, "sha256sum {names...}").quiet().read()?;
    shell.write_file("SHA256SUMS", sums.clone() + "\n")?;
    eprintln!("\n{sums}");
    Ok(())
}
