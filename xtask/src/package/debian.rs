//! The package for Debian: made by cargo-deb, checked by lintian, and installed, used, upgraded and purged in a chroot.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use super::{
    Chroot, FOLDER, made,
    settings::{self, INI, JOURNAL, SERVICE, SOCKET},
    stage,
};
use crate::tools;

const NAME: &str = "channelstream-server";

pub(super) fn make(shell: &Shell, profile: &str) -> Result<()> {
    tools::prepare_packages(shell, &[("lintian", "lintian")])?;
    let tools = tools::prepare_cargo(shell, "cargo-deb", "3.8.0")?;
    stage::make(shell, profile)?;
    changelog(shell)?;
    // A smaller package is worth the time if it is published.
    let fast = (profile == "dev").then_some("--fast");
    let package = made(shell, ".deb", || {
        Ok(cmd!(
            shell,
            "{tools}/cargo-deb --quiet --no-build --no-strip -p {NAME} -o {FOLDER}/ {fast...}"
        )
        .run()?)
    })?;
    // A first upload closes a bug in Debian's own archive, into which this does not go.
    let other = "initial-upload-closes-no-bugs";
    cmd!(shell, "lintian --allow-root --fail-on error,warning --suppress-tags {other} {package}")
        .run()?;
    try_out(shell, &package)
}

/// The changelog in the form of Debian, which names the real one. Its date is that of the last commit.
fn changelog(shell: &Shell) -> Result<()> {
    let date = cmd!(shell, "git log -1 --format=%aD").quiet().read()?;
    let version = crate::client::version(shell)?;
    let text = format!(
        "{NAME} ({version}-1) unstable; urgency=medium\n\n  \
         * See https://github.com/channelstream/channelstream/blob/main/CHANGELOG.md.\n\n \
         -- The channelstream developers <channelstream@users.noreply.github.com>  {date}\n"
    );
    Ok(shell.write_file(format!("{}/debian/changelog", stage::FOLDER), text)?)
}

/// Installs the package in a fresh system, starts the server as its user, publishes, installs again, and purges.
fn try_out(shell: &Shell, package: &Path) -> Result<()> {
    let chroot = Chroot::debian(shell)?;
    fs::copy(package, chroot.path("/package.deb"))?;
    let before = chroot.files(shell)?;

    let install = || chroot.run(&["dpkg", "-i", "/package.deb"]);
    install()?;
    let ini = settings::check(shell, &chroot)?;

    // An upgrade keeps the settings and what is enabled, and what the operator put beside them outlives a purge.
    let is_enabled = |path| fs::symlink_metadata(chroot.path(path)).is_ok();
    fs::write(chroot.path(INI), format!("{ini}\n# Changed by hand.\n"))?;
    fs::write(chroot.path("/etc/channelstream/notes"), "mine")?;
    chroot.run(&["systemctl", "disable", "channelstream-server.service"])?;
    chroot.run(&["systemctl", "enable", "channelstream-server.socket"])?;
    install()?;
    ensure!(
        fs::read_to_string(chroot.path(INI))?.ends_with("by hand.\n"),
        "an upgrade changed the settings"
    );
    ensure!(!is_enabled(SERVICE) && is_enabled(SOCKET), "an upgrade changed what is enabled");
    chroot.run(&["dpkg", "-r", NAME])?;
    ensure!(
        chroot.path(INI).exists() && chroot.path(JOURNAL).exists(),
        "a removal took settings or journal"
    );
    chroot.run(&["dpkg", "-P", NAME])?;
    ensure!(
        chroot.path("/etc/channelstream/notes").exists(),
        "a purge took what is not of the package"
    );
    fs::remove_dir_all(chroot.path("/etc/channelstream"))?;
    let after = chroot.files(shell)?;
    let left: Vec<_> = after.iter().filter(|path| !before.contains(path)).collect();
    ensure!(left.is_empty(), "a purge leaves {left:?}");
    let gone: Vec<_> = before.iter().filter(|path| !after.contains(path)).collect();
    ensure!(gone.is_empty(), "a purge took {gone:?}");
    let users = fs::read_to_string(chroot.path("/etc/passwd"))?;
    ensure!(!users.contains("channelstream"), "a purge leaves the user");
    eprintln!("installed, started, upgraded and purged");
    Ok(())
}
