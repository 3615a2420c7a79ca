//! Checks, tests and builds of the repository: `cargo xtask TASK`; without a task it lists them.
#![expect(clippy::print_stderr, reason = "a program for people at a terminal")]

mod advisories;
mod bench;
mod browser;
mod chart;
mod ci;
mod client;
mod directions;
mod features;
mod guided;
mod licenses;
mod links;
mod llms;
mod manifests;
mod markdown;
mod msrv;
mod oracle;
mod package;
mod python;
mod setup;
mod simulate;
mod storm;
mod test;
mod tidy;
mod tools;
mod windows;

use std::{env, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};

/// A task: its name on the command line, what it does, and its function.
type Task = (&'static str, &'static str, fn(&Shell) -> Result<()>);

/// Tasks that parse further arguments themselves.
const WITH_ARGUMENTS: [&str; 6] = ["oracle", "browser", "storm", "simulate", "bench", "package"];

const TASKS: [Task; 24] = [
    ("setup", "install what the tests need besides Rust", setup::run),
    ("test", "run setup, then all tests, in the browser too", test::run),
    ("ci", "run all checks and tests, up to the first that fails", ci::run),
    ("fmt", "check formatting", fmt),
    ("tidy", "check heads, lengths and names of files, and links of documents", tidy::run),
    ("llms", "write llms.txt, which tidy checks, from the documents", llms::run),
    ("directions", "check which crate and room depends on what", directions::run),
    (
        "licenses",
        "check licenses, sources and duplicates of dependencies (deny.toml)",
        licenses::run,
    ),
    (
        "advisories",
        "check for known vulnerabilities in dependencies (needs a network)",
        advisories::run,
    ),
    ("msrv", "check the oldest Rust that each library declares", msrv::run),
    ("clippy", "run lints, warnings denied", clippy),
    ("features", "lint each crate with each of its features alone", features::run),
    ("windows", "check the portable crates for Windows, if the target is installed", windows::run),
    ("docs", "build the documentation, broken links denied", docs),
    ("client", "check types, size and embedded copy of the browser client", client::run),
    ("python", "check and test the Python client against the server", python::run),
    ("chart", "check the Helm chart with Helm, Kubernetes' schemas and the server", chart::run),
    ("oracle", "[--nodes N] run the oracle alone", oracle::run),
    ("browser", "[--nodes N] run the browser suite alone", browser::run),
    ("storm", "[--seconds N] [--seed S] [--threads T] [--nodes N] run the stress test", storm::run),
    (
        "simulate",
        "[--seeds N] [--seed S] [--without RULE] run the simulator of the shared journal",
        simulate::run,
    ),
    (
        "bench",
        "[--runs N] [WORKLOAD...] measure beside yardsticks; --micro: single steps",
        bench::run,
    ),
    (
        "guided",
        "build the server as it is shipped, optimized with a profile of its load",
        guided::run,
    ),
    ("package", "[--profile P] [WHAT...] make all packages and try them", package::run),
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
    cmd!(shell, "cargo clippy --workspace --all-targets --locked -- -D warnings").run()?;
    // What is not built by default. As a part of the workspace it shares the dependencies that are built.
    let otlp =
        "--workspace --features channelstream-server/otlp --lib --bins --test otlp".split(' ');
    Ok(cmd!(shell, "cargo clippy {otlp...} --locked -- -D warnings").run()?)
}

fn docs(shell: &Shell) -> Result<()> {
    let command = cmd!(shell, "cargo doc --workspace --no-deps --locked");
    Ok(command.env("RUSTDOCFLAGS", "-D warnings").run()?)
}
