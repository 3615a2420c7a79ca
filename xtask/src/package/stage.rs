//! What packages have in common: the programs without debug information, their manual pages and completions.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use crate::guided::Guided;

pub(super) const FOLDER: &str = "target/package/stage";

/// The programs, the section of the manual, and the commands with a page of their own.
const PROGRAMS: [(&str, &str, &[&str]); 2] = [
    ("channelstream-server", "8", &["config", "doctor", "health", "journal"]),
    ("channelstream", "1", &["publish", "stream", "listen", "top", "bench", "doctor"]),
];

/// Builds the programs with a profile, and makes the rest from them.
pub(super) fn make(shell: &Shell, profile: &str) -> Result<()> {
    let folder = PathBuf::from("target").join(folder_of(profile));
    let mut built = PROGRAMS.map(|(name, ..)| folder.join(name));
    if profile == "dev" {
        // The programs of the tests, so that nothing is compiled a second time.
        cmd!(shell, "cargo test --workspace --locked --no-run --quiet").run()?;
    } else {
        built[0] = Guided::here(shell, profile)?.build(shell)?;
        cmd!(shell, "cargo build --locked --profile {profile} -p channelstream-cli").run()?;
    }
    shell.remove_path(FOLDER)?;
    for folder in ["bin", "man", "completions"] {
        shell.create_dir(format!("{FOLDER}/{folder}"))?;
    }
    for ((name, section, commands), built) in PROGRAMS.into_iter().zip(built) {
        let program = format!("{FOLDER}/bin/{name}");
        cmd!(shell, "strip -o {program} {built}").quiet().run()?;
        let page = cmd!(shell, "{program} man").quiet().read()?;
        ensure!(page.contains(".SH NAME"), "{name} man prints no page");
        shell.write_file(format!("{FOLDER}/man/{name}.{section}"), page + "\n")?;
        for command in commands {
            let page = cmd!(shell, "{program} man {command}").quiet().read()?;
            shell.write_file(format!("{FOLDER}/man/{name}-{command}.{section}"), page + "\n")?;
        }
        for (for_shell, file) in [
            ("bash", format!("{name}.bash")),
            ("zsh", format!("_{name}")),
            ("fish", format!("{name}.fish")),
        ] {
            let script = cmd!(shell, "{program} completions {for_shell}").quiet().read()?;
            shell.write_file(format!("{FOLDER}/completions/{file}"), script + "\n")?;
        }
    }
    Ok(())
}

/// The name of the folder in which cargo puts what it builds with a profile.
pub(super) fn folder_of(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}
