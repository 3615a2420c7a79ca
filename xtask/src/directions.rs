//! Which crate may depend on what, and which room may name what.

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

/// A room, and the modules of its crate that it never names.
const ROOMS: [(&str, &[&str]); 7] = [
    ("channelstream-core/src/protocol/", &["state"]),
    (
        "channelstream-server/src/http/",
        &[
            "admin",
            "api",
            "app",
            "journal",
            "listener",
            "node",
            "pages",
            "program",
            "router",
            "server",
            "transport",
            "webhooks",
        ],
    ),
    (
        "channelstream-server/src/listener/",
        &["admin", "api", "app", "http", "pages", "program", "router", "server", "transport"],
    ),
    (
        "channelstream-server/src/wire/",
        &["admin", "api", "app", "listener", "node", "pages", "router", "transport"],
    ),
    ("channelstream-server/src/journal/", &["http", "listener", "metrics", "node", "webhooks"]),
    ("channelstream-server/src/metrics/", &["journal", "webhooks"]),
    ("channelstream-server/src/webhooks/", &["journal", "metrics"]),
];

/// Inside a folder, a text that only one file may hold.
const HOMES: [(&str, &str, &str); 7] = [
    ("channelstream-server/src/", "warp::", "http/service.rs"),
    ("channelstream-server/src/", "Uuid::new_v4", "clock.rs"),
    ("channelstream-server/src/", "rand::", "clock.rs"),
    ("channelstream-server/src/", "getrandom", "clock.rs"),
    ("channelstream-server/src/", "SystemTime", "clock.rs"),
    ("channelstream-server/src/journal/", "std::fs", "file/disk.rs"),
    ("channelstream-server/src/", "unix_now", "clock.rs"),
];

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let mut wrong = wrong_dependencies(|package| dependencies(shell, package))?;
    for path in crate::tidy::files(shell)?.iter().filter(|path| path.ends_with(".rs")) {
        wrong.extend(wrong_names(path, &shell.read_file(path)?));
    }
    ensure!(wrong.is_empty(), "{} wrong directions\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn wrong_dependencies(of: impl Fn(&str) -> Result<Vec<String>>) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (package, names) in FORBIDDEN {
        let found = of(package)?;
        for name in names.iter().filter(|name| found.iter().any(|found| found == *name)) {
            wrong.push(format!("{package} must not depend on {name}"));
        }
    }
    for (package, name) in REQUIRED {
        if !of(package)?.iter().any(|found| found == name) {
            wrong.push(format!("{package} should depend on {name}"));
        }
    }
    Ok(wrong)
}

/// The names of all crates that a user of `package` gets with it, without itself.
fn dependencies(shell: &Shell, package: &str) -> Result<Vec<String>> {
    let tree = cmd!(shell, "cargo tree --locked -p {package} -e normal --prefix none").quiet();
    let names = tree.read()?;
    let names = names.lines().skip(1).filter_map(|line| line.split(' ').next());
    Ok(names.map(String::from).collect())
}

fn wrong_names(path: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (room, never) in ROOMS {
        if path.starts_with(room) {
            let named = modules(text);
            let named = never.iter().filter(|module| named.contains(module));
            wrong
                .extend(named.map(|module| format!("{path} names {module}, which {room} may not")));
        }
    }
    for (folder, name, home) in HOMES {
        let Some(inside) = path.strip_prefix(folder) else { continue };
        if inside != home && text.contains(name) {
            wrong.push(format!("{path} names {name}, which belongs in {folder}{home}"));
        }
    }
    wrong
}

/// The modules of its own crate that a source text names, also in groups: `crate::{a, b::C}`.
fn modules(text: &str) -> Vec<&str> {
    let mut modules = Vec::new();
    for rest in text.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            modules.push(identifier(rest));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if begins && !character.is_whitespace() => {
                    modules.push(identifier(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    modules
}

/// The identifier at the beginning of a text.
fn identifier(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_alphanumeric() && character != '_');
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_room_refuses_a_planted_import() {
        for (room, never) in ROOMS {
            let path = format!("{room}planted.rs");
            for module in never {
                for planted in [
                    format!("use crate::{module}::Planted;"),
                    format!("use crate::{module};"),
                    format!("use crate::{{clock, {module}::{{self, Planted}}}};"),
                    format!("use crate::{{clock::{{a, b}},\n    {module},\n}};"),
                    format!("fn planted() {{ crate::{module}::planted() }}"),
                ] {
                    assert_eq!(wrong_names(&path, &planted).len(), 1, "{path}: {planted}");
                    let elsewhere = "channelstream-cli/src/planted.rs";
                    assert!(wrong_names(elsewhere, &planted).is_empty(), "{planted}");
                }
                for allowed in [
                    format!("use crate::{module}_of_another_name;"),
                    format!("use crate::clock::{module};"),
                    format!("use crate::clock::{{a, {module}}};"),
                    format!("use {module}::Planted;"),
                ] {
                    assert!(wrong_names(&path, &allowed).is_empty(), "{path}: {allowed}");
                }
            }
        }
    }

    #[test]
    fn each_home_refuses_a_text_planted_elsewhere() {
        for (folder, name, home) in HOMES {
            let planted = format!("use {name};");
            let path = format!("{folder}planted.rs");
            assert_eq!(wrong_names(&path, &planted).len(), 1, "{path}: {planted}");
            assert!(wrong_names(&format!("{folder}{home}"), &planted).is_empty(), "{home}: {name}");
        }
    }

    #[test]
    fn each_crate_refuses_a_planted_dependency() {
        let usual = |package: &str| -> Vec<String> {
            let names = REQUIRED.into_iter().filter(|(of, _)| *of == package);
            names.map(|(_, name)| name.to_owned()).collect()
        };
        let wrong = |of: &dyn Fn(&str) -> Vec<String>| {
            wrong_dependencies(|package| Ok(of(package))).unwrap_or_default()
        };
        assert!(wrong(&usual).is_empty());
        for (package, names) in FORBIDDEN {
            for name in names {
                let planted = |of: &str| {
                    let mut names = usual(of);
                    names.extend((of == package).then(|| (*name).to_owned()));
                    names
                };
                assert_eq!(wrong(&planted), [format!("{package} must not depend on {name}")]);
            }
        }
        for (package, name) in REQUIRED {
            let missing = |of: &str| {
                let mut names = usual(of);
                names.retain(|kept| of != package || kept != name);
                names
            };
            assert_eq!(wrong(&missing), [format!("{package} should depend on {name}")]);
        }
    }
}
