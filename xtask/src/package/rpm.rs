//! The package for systems with RPM: made by cargo-generate-rpm, checked by rpm and rpmlint, and installed, used,
//! upgraded and removed in a chroot.

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
    tools::prepare_packages(shell, &[("rpm", "rpm"), ("rpmlint", "rpmlint")])?;
    let tools = tools::prepare_cargo(shell, "cargo-generate-rpm", "0.21.1")?;
    stage::make(shell, profile)?;
    let (pages, packed) = (format!("{}/man", stage::FOLDER), format!("{}/man.gz", stage::FOLDER));
    cmd!(shell, "cp -r {pages} {packed}").quiet().run()?;
    cmd!(shell, "gzip -9nr {packed}").quiet().run()?;
    let package = made(shell, ".rpm", || {
        Ok(cmd!(shell, "{tools}/cargo-generate-rpm generate-rpm -p {NAME} -o {FOLDER}/").run()?)
    })?;
    cmd!(shell, "rpmlint --strict --config deploy/rpm/rpmlint.toml {package}").run()?;
    let checked = cmd!(shell, "rpm --checksig --nosignature {package}").quiet().read()?;
    ensure!(checked.ends_with("digests OK"), "{checked}");
    let list = cmd!(shell, "rpm -qp --nosignature --list {package}").quiet().read()?;
    for path in [
        "/usr/bin/channelstream-server",
        "/usr/lib/systemd/system/channelstream-server.service",
        "/usr/lib/systemd/system/channelstream-server.socket",
        "/usr/share/licenses/channelstream-server/LICENSE",
        "/usr/share/zsh/site-functions/_channelstream-server",
    ] {
        ensure!(list.lines().any(|line| line == path), "{path} is not in the package");
    }
    let needed = cmd!(shell, "rpm -qp --nosignature --requires {package}").quiet().read()?;
    ensure!(needed.contains("libc.so.6("), "the package needs no libc: {needed}");
    try_out(shell, &package)
}

/// Installs the package in a fresh system, starts the server as its user, publishes, upgrades, and removes.
fn try_out(shell: &Shell, package: &Path) -> Result<()> {
    let chroot = Chroot::debian(shell)?;
    let root = chroot.path("/");
    // What a distribution with RPM decides about services, here for the sake of the test that this one is enabled.
    fs::create_dir_all(chroot.path("/etc/systemd/system-preset"))?;
    fs::write(
        chroot.path("/etc/systemd/system-preset/10-test.preset"),
        "enable channelstream-server.service\ndisable *\n",
    )?;
    // Folders of other packages.
    for folder in ["licenses", "fish/vendor_completions.d", "zsh/site-functions"] {
        fs::create_dir_all(chroot.path("/usr/share").join(folder))?;
    }
    let before = chroot.files(shell)?;
    // What it needs has other names here. rpm carries out the scripts in the chroot.
    let rpm = |what: &str, argument: &Path| {
        cmd!(shell, "rpm --root {root} --nodeps --nosignature --force-debian {what} {argument}")
            .run()
    };
    rpm("-i", package)?;
    let ini = settings::check(shell, &chroot)?;
    let verified = cmd!(shell, "rpm --root {root} --verify --nodeps {NAME}").quiet().read()?;
    ensure!(verified.is_empty(), "files are not as they were packed: {verified}");

    // The same version once more, in place of a newer one.
    let is_enabled = |path| fs::symlink_metadata(chroot.path(path)).is_ok();
    fs::write(chroot.path(INI), format!("{ini}\n# Changed by hand.\n"))?;
    chroot.run(&["systemctl", "disable", "channelstream-server.service"])?;
    chroot.run(&["systemctl", "enable", "channelstream-server.socket"])?;
    cmd!(
        shell,
        "rpm --root {root} --nodeps --nosignature --force-debian -U --replacepkgs {package}"
    )
    .run()?;
    ensure!(
        fs::read_to_string(chroot.path(INI))?.ends_with("by hand.\n"),
        "an upgrade changed the settings"
    );
    ensure!(!is_enabled(SERVICE) && is_enabled(SOCKET), "an upgrade changed what is enabled");

    rpm("-e", Path::new(NAME))?;
    ensure!(!is_enabled(SOCKET), "a removal leaves the socket enabled");
    ensure!(
        chroot.path(INI).exists() && chroot.path(JOURNAL).exists(),
        "a removal took settings or journal"
    );
    // The last is where Debian's rpm has its own notes.
    let kept = ["./etc/channelstream", "./var/lib/channelstream", "./root/.rpmdb"];
    let left = chroot.files(shell)?;
    let left: Vec<_> = left
        .iter()
        .filter(|path| !before.contains(path) && !kept.iter().any(|kept| path.starts_with(kept)))
        .collect();
    ensure!(left.is_empty(), "a removal leaves {left:?}");
    eprintln!("installed, started, upgraded and removed");
    Ok(())
}
