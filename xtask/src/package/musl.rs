//! Programs that need no libc, for two kinds of machines: built with musl, and tried where nothing else is.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use xshell::{Shell, cmd};

use super::{Chroot, FOLDER, chroot::output, stage};
use crate::{chart::Running, client, guided::Guided, tools};

/// Another folder than that of other builds, so that both may go on at once.
const BUILT: &str = "target/static";

struct Target {
    name: &'static str,
    /// What is installed to build for it: programs, and the Debian package of each.
    needs: &'static [(&'static str, &'static str)],
    strip: &'static str,
    /// What carries out its programs on another machine.
    emulator: Option<&'static str>,
}

const TARGETS: [Target; 2] = [
    Target {
        name: "x86_64-unknown-linux-musl",
        needs: &[("musl-gcc", "musl-tools")],
        strip: "strip",
        emulator: None,
    },
    Target {
        name: "aarch64-unknown-linux-musl",
        needs: &[
            ("aarch64-linux-gnu-strip", "binutils-aarch64-linux-gnu"),
            ("qemu-aarch64-static", "qemu-user-static"),
        ],
        strip: "aarch64-linux-gnu-strip",
        emulator: Some("qemu-aarch64-static"),
    },
];

pub(super) fn make(shell: &Shell, profile: &str) -> Result<()> {
    stage::make(shell, profile)?;
    for target in &TARGETS {
        let name = target.name;
        let folder = build(shell, profile, target)?;
        try_out(shell, &folder, target).with_context(|| format!("the programs for {name}"))?;
        let (parent, inner) = (BUILT, folder.file_name().context("no name")?);
        let archive = format!("{FOLDER}/{}.tar.gz", inner.to_string_lossy());
        // The same files give the same archive.
        let date = cmd!(shell, "git log -1 --format=@%ct").quiet().read()?;
        let gzip = "gzip -9n";
        cmd!(shell, "tar --sort=name --owner=0 --group=0 --numeric-owner --mtime={date} --directory={parent} -I {gzip} -cf {archive} {inner}")
            .run()?;
    }
    Ok(())
}

/// Builds the programs for a target. Returns a folder with them, and with what belongs to them.
fn build(shell: &Shell, profile: &str, target: &Target) -> Result<PathBuf> {
    tools::prepare_packages(shell, target.needs)?;
    let name = target.name;
    cmd!(shell, "rustup target add {name}").quiet().run()?;
    let mut path = env::var_os("PATH").unwrap_or_default();
    let mut command = "build";
    if target.emulator.is_some() {
        // zig is a compiler for every machine. cargo-zigbuild looks for that of PyPI in the first Python there.
        let python = tools::prepare_static(shell)?;
        let bin = python.parent().context("no folder")?;
        path = env::join_paths([bin.to_owned()].into_iter().chain(env::split_paths(&path)))?;
        command = "zigbuild";
    }
    let build = |package: &str| {
        cmd!(shell, "cargo {command} --locked --profile {profile} --target {name} --target-dir {BUILT} -p {package}")
            .env("PATH", &path)
            .run()
    };
    build("channelstream-cli")?;
    let built = PathBuf::from(format!("{BUILT}/{name}/{}", stage::folder_of(profile)));
    // What runs here by an emulator alone is not put under load.
    let server = if profile == "dev" || target.emulator.is_some() {
        build("channelstream-server")?;
        built.join("channelstream-server")
    } else {
        Guided { profile: profile.to_owned(), target: name.to_owned() }.build(shell)?
    };

    let version = client::version(shell)?;
    let folder = shell.current_dir().join(BUILT).join(format!("channelstream-{version}-{name}"));
    shell.remove_path(&folder)?;
    shell.create_dir(&folder)?;
    let strip = target.strip;
    for program in [server, built.join("channelstream")] {
        let stripped = folder.join(program.file_name().context("no name")?);
        cmd!(shell, "{strip} -o {stripped} {program}").quiet().run()?;
    }
    for file in ["README.md", "LICENSE", "CHANGELOG.md"] {
        shell.copy_file(file, &folder)?;
    }
    let (man, completions) =
        (format!("{}/man", stage::FOLDER), format!("{}/completions", stage::FOLDER));
    cmd!(shell, "cp -r {man} {completions} deploy/systemd {folder}").quiet().run()?;
    Ok(folder)
}

/// Runs the programs in an empty folder, as a user that nobody knows there.
fn try_out(shell: &Shell, folder: &Path, target: &Target) -> Result<()> {
    let chroot = Chroot::empty(shell)?;
    for program in ["channelstream-server", "channelstream"] {
        fs::copy(folder.join(program), chroot.path(program))?;
    }
    if let Some(emulator) = target.emulator {
        let program = tools::find(emulator).with_context(|| format!("no {emulator}"))?;
        fs::copy(program, chroot.path(emulator))?;
    }
    let user = "65532:65532";
    std::os::unix::fs::chown(&chroot.made("/journal")?, Some(65532), Some(65532))?;
    let emulator = target.emulator.map(|emulator| format!("/{emulator}"));
    let command = |words: &[&str]| -> Command {
        let emulator = emulator.as_deref().into_iter();
        chroot.command(user, &emulator.chain(words.iter().copied()).collect::<Vec<_>>())
    };
    let version = client::version(shell)?;
    for program in ["/channelstream-server", "/channelstream"] {
        let told = output(&mut command(&[program, "--version"]), "--version")?;
        ensure!(told.trim_end().ends_with(&version), "{program} is of version {told}");
    }
    let mut server = command(&["/channelstream-server", "--port", "0"]);
    server.args(["--journal", "file", "--journal-dir", "/journal"]);
    let server = Running::start(&mut server)?;
    let url = format!("http://{}", server.address);
    output(&mut command(&["/channelstream-server", "health", &format!("{url}/readyz")]), "health")?;
    output(&mut command(&["/channelstream", "--url", &url, "connect", "ann", "news"]), "connect")?;
    server.end()?;
    ensure!(fs::read_dir(chroot.path("/journal"))?.count() > 0, "there is no journal");
    eprintln!("{}: started, asked and ended in an empty folder", target.name);
    Ok(())
}
