//! Which crate may depend on what, and which file may name what.

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

/// Crates that move bytes, read clocks or draw randomness.
const IO: [&str; 5] = ["tokio", "warp", "hyper", "reqwest", "getrandom"];

/// A crate of ours, and what its users must never get with it.
const FORBIDDEN: [(&str, &[&str]); 6] = [
    ("channelstream-signer", &["channelstream-core"]),
    ("channelstream-signer", &IO),
    ("channelstream-core", &["channelstream-signer"]),
    ("channelstream-core", &IO),
    ("channelstream-client", &["channelstream-server", "warp"]),
    ("channelstream-bench", &["channelstream-core", "channelstream-server", "tokio"]),
];

/// A crate of ours, and what it builds on.
const REQUIRED: [(&str, &str); 6] = [
    ("channelstream-server", "channelstream-core"),
    ("channelstream-server", "channelstream-signer"),
    ("channelstream-client", "channelstream-core"),
    ("channelstream-client", "channelstream-signer"),
    ("channelstream-cli", "channelstream-client"),
    ("channelstream-bench", "channelstream-signer"),
];

/// Inside a folder, a text that only one file or folder below it may hold.
const ROOMS: [(&str, &str, &str); 3] = [
    ("channelstream-core/src/protocol/", "crate::state", "nowhere"),
    ("channelstream-server/src/", "warp::", "http/"),
    ("channelstream-server/src/", "Uuid::new_v4", "clock.rs"),
];

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let mut faults = Vec::new();
    for (package, names) in FORBIDDEN {
        let found = dependencies(shell, package)?;
        for name in names.iter().filter(|name| found.iter().any(|found| found == *name)) {
            faults.push(format!("{package} must not depend on {name}"));
        }
    }
    for (package, name) in REQUIRED {
        if !dependencies(shell, package)?.iter().any(|found| found == name) {
            faults.push(format!("{package} should depend on {name}"));
        }
    }
    for path in crate::tidy::files(shell)?.iter().filter(|path| path.ends_with(".rs")) {
        for (folder, text, home) in ROOMS {
            let Some(inside) = path.strip_prefix(folder) else { continue };
            if !inside.starts_with(home) && shell.read_file(path)?.contains(text) {
                faults.push(format!("{path} names {text}, which belongs in {folder}{home}"));
            }
        }
    }
    ensure!(faults.is_empty(), "{} wrong directions\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

/// The names of all crates that a user of `package` gets with it, itself left out.
fn dependencies(shell: &Shell, package: &str) -> Result<Vec<String>> {
    let tree = cmd!(shell, "cargo tree --locked -p {package} -e normal --prefix none").quiet();
    let names = tree.read()?;
    let names = names.lines().skip(1).filter_map(|line| line.split(' ').next());
    Ok(names.map(String::from).collect())
}
