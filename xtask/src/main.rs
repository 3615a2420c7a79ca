//! The project's chores: `cargo xtask TASK`, and without a task the list of them.
#![expect(clippy::print_stderr, reason = "a program for people at a terminal")]

mod advisories;
mod bench;
mod browser;
mod ci;
mod client;
mod directions;
mod licences;
mod storm;
mod test;
mod tidy;
mod tools;

use std::{env, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};

/// One chore: its name on the command line, what it does, and the function that does it.
type Task = (&'static str, &'static str, fn(&Shell) -> Result<()>);

/// Tasks that read further arguments themselves.
const WITH_ARGUMENTS: [&str; 2] = ["storm", "bench"];

const TASKS: [Task; 13] = [
    ("ci", "every check below in turn, up to the first that fails", ci::run),
    ("fmt", "formatting", fmt),
    ("tidy", "layout of the files and house rules", tidy::run),
    ("directions", "which crate may depend on what", directions::run),
    ("licences", "licences, sources and duplicates of the dependencies (deny.toml)", licences::run),
    (
        "advisories",
        "known vulnerabilities in the dependencies, where a network is",
        advisories::run,
    ),
    ("clippy", "lints, warnings denied", clippy),
    ("docs", "documentation, broken links denied", docs),
    ("client", "types, size and embedded copy of the browser client", client::run),
    ("test", "installs what the tests need, then runs all of them, in the browser too", test::run),
    ("browser", "the browser suite alone", browser::run),
    ("storm", "a storm of clients for --seconds N with --seed S", storm::run),
    ("bench", "[--runs N] [WORKLOAD...] load beside yardsticks; --micro: small parts", bench::run),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let Some(name) = arguments.next() else { bail!(usage()) };
    if arguments.next().is_some() && !WITH_ARGUMENTS.contains(&name.as_str()) {
        bail!(usage());
    }
    let Some((_, _, task)) = TASKS.iter().find(|task| task.0 == name) else {
        bail!("unknown task {name:?}\n{}", usage())
    };
    let shell = Shell::new()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent")?;
    shell.change_dir(root);
    task(&shell)
}

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask TASK, where TASK is one of");
    for (name, about, _) in TASKS {
        text += &format!("\n  {name:<11} {about}");
    }
    text
}

fn fmt(shell: &Shell) -> Result<()> {
    Ok(cmd!(shell, "cargo fmt --all --check").run()?)
}

fn clippy(shell: &Shell) -> Result<()> {
    Ok(cmd!(shell, "cargo clippy --workspace --all-targets --locked -- -D warnings").run()?)
}

fn docs(shell: &Shell) -> Result<()> {
    let command = cmd!(shell, "cargo doc --workspace --no-deps --locked");
    Ok(command.env("RUSTDOCFLAGS", "-D warnings").run()?)
}
