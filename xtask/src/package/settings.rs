//! What an installation leaves: settings with fresh secrets, a journal, a user, and units, one of which is enabled.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use xshell::Shell;

use super::chroot::Chroot;

pub(super) const INI: &str = "/etc/channelstream/server.ini";
pub(super) const JOURNAL: &str = "/var/lib/channelstream";
pub(super) const SERVICE: &str =
    "/etc/systemd/system/multi-user.target.wants/channelstream-server.service";
pub(super) const SOCKET: &str =
    "/etc/systemd/system/sockets.target.wants/channelstream-server.socket";

/// Checks what is installed, and that it serves. Returns the settings.
pub(super) fn check(shell: &Shell, chroot: &Chroot) -> Result<String> {
    let told = chroot.run(&["stat", "-c", "%a %U:%G", INI, JOURNAL])?;
    ensure!(told == "640 root:channelstream\n700 channelstream:channelstream\n", "{told}");
    let ini = fs::read_to_string(chroot.path(INI))?;
    let setting = |key: &str| {
        let line = ini.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
        line.map(str::to_owned).with_context(|| format!("{INI} has no {key}"))
    };
    ensure!(setting("journal")? == "file" && setting("journal_dir")? == JOURNAL, "{ini}");
    let secret = setting("secret")?;
    ensure!(secret.len() >= 32 && setting("admin_secret")? != secret, "the secrets are not fresh");
    let told = chroot.run(&["channelstream-server", "config", "check", INI])?;
    ensure!(told == "ok\n", "config check: {told}");
    for file in
        ["man/man8/channelstream-server.8", "bash-completion/completions/channelstream-server"]
    {
        let is_there =
            ["", ".gz"].iter().any(|end| chroot.path(&format!("/usr/share/{file}{end}")).is_file());
        ensure!(is_there, "no {file}");
    }
    // The links of units lead to where they are in the system.
    let is_enabled = |path| fs::symlink_metadata(chroot.path(path)).is_ok();
    ensure!(is_enabled(SERVICE) && !is_enabled(SOCKET), "the service alone is to be enabled");
    chroot.serves(shell, INI, &secret)?;
    ensure!(fs::read_dir(chroot.path(JOURNAL))?.count() > 0, "there is no journal");
    Ok(ini)
}
