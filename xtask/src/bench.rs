//! Builds the server and the load generator, and runs benchmarks.

use std::env;

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::tools;

/// Ten thousand sockets need file descriptors at both ends.
const MORE_FILES: &str = r#"ulimit -n "$(ulimit -H -n)" && exec "$0" "$@""#;

/// `cargo xtask bench [--micro | [--runs N] [WORKLOAD...]]`.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    let mut arguments: Vec<String> = env::args().skip(2).collect();
    if arguments.first().is_some_and(|first| first == "--micro") {
        arguments.remove(0);
        let micro =
            cmd!(shell, "cargo bench --locked -p channelstream-core -p channelstream-signer");
        return Ok(micro
            .args(["--bench", "apply", "--bench", "sign", "--"])
            .args(arguments)
            .run()?);
    }
    // One after the other: together they would share the features of their dependencies, and the
    // server would not be the one that is shipped.
    for package in ["channelstream-server", "channelstream-bench"] {
        cmd!(shell, "cargo build --release --locked -p {package}").run()?;
    }
    let built = tools::build_folder()?.with_file_name("release");
    let (bench, server) = (built.join("channelstream-bench"), built.join("channelstream-server"));
    let log = built.with_file_name("bench.jsonl");
    cmd!(shell, "sh -c {MORE_FILES} {bench} --server {server} --log {log} {arguments...}").run()?;
    Ok(())
}
