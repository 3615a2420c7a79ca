//! Folders that stand for other systems, in which packages are installed and programs tried.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use xshell::{Shell, cmd};

use super::stage;
use crate::{chart::Running, tools};

/// The search path of commands in there, and of `chroot` itself.
pub(super) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A system in a folder, which goes with this.
pub(super) struct Chroot {
    folder: TempDir,
}

impl Chroot {
    /// A fresh and small Debian, of the release of this machine.
    pub(super) fn debian(shell: &Shell) -> Result<Self> {
        tools::prepare_packages(shell, &[("mmdebstrap", "mmdebstrap")])?;
        let release = release()?;
        let base = tools::tools_folder()?.join(&release);
        if !base.join("usr/bin/systemctl").exists() {
            shell.remove_path(&base)?;
            bootstrap(shell, &base, "essential", "adduser,libgcc-s1,systemd")?;
        }
        let chroot = Self::empty(shell)?;
        let root = chroot.path("/");
        cmd!(shell, "cp -a --reflink=auto {base}/. {root}").quiet().run()?;
        Ok(chroot)
    }

    /// A folder with nothing in it.
    pub(super) fn empty(shell: &Shell) -> Result<Self> {
        ensure!(
            cmd!(shell, "id -u").quiet().read()? == "0",
            "a chroot needs root: run this with sudo"
        );
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("root"))?;
        // Everybody may look into the root of a system.
        for path in [folder.path(), &folder.path().join("root")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { folder })
    }

    /// Where a path of the system is on this machine.
    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join("root").join(inside.trim_start_matches('/'))
    }

    /// Makes a folder, and returns where it is on this machine.
    pub(super) fn made(&self, inside: &str) -> Result<PathBuf> {
        let path = self.path(inside);
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// Carries out a command as root in there, and returns what it prints.
    pub(super) fn run(&self, command: &[&str]) -> Result<String> {
        output(&mut self.command("0:0", command), &format!("{command:?}"))
    }

    /// A command in there, with a user and no variables but the search path.
    pub(super) fn command(&self, user: &str, command: &[&str]) -> Command {
        let mut words = Command::new("chroot");
        words.arg(format!("--userspec={user}")).arg(self.path("/")).args(command);
        words.env_clear().env("PATH", PATH).env("DEBIAN_FRONTEND", "noninteractive");
        words.stdin(Stdio::null());
        words
    }

    /// All paths but those in which package managers, adduser and systemd's helper note what they did.
    pub(super) fn files(&self, shell: &Shell) -> Result<Vec<String>> {
        let _folder = shell.push_dir(self.path("/"));
        let list = cmd!(
            shell,
            "find . -xdev ( -path ./var/lib/dpkg -o -path ./var/lib/rpm -o -path ./var/log -o -path ./run ) -prune -o -print"
        );
        let list = list.quiet().read()?;
        let mut paths: Vec<_> = list.lines().map(str::to_owned).collect();
        // Copies of user databases before the last change.
        paths.retain(|path| !(path.starts_with("./etc/") && path.ends_with('-')));
        paths.sort_unstable();
        Ok(paths)
    }

    /// Starts the server twice as its unit does, but at a free port, and publishes: what is published the first time
    /// is there the second time.
    pub(super) fn serves(&self, shell: &Shell, ini: &str, secret: &str) -> Result<()> {
        let file = self.folder.path().join("secret");
        fs::write(&file, secret)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        for (text, known) in [("one", vec!["one"]), ("two", vec!["one", "two"])] {
            let command = ["/usr/bin/channelstream-server", "--ini", ini, "--port", "0"];
            let mut command = self.command("channelstream:channelstream", &command);
            let server = Running::start(&mut command)?;
            let url = format!("http://{}", server.address);
            self.run(&["channelstream-server", "health", &format!("{url}/healthz")])?;
            let client = format!("{}/bin/channelstream", stage::FOLDER);
            let client = || {
                let client = cmd!(shell, "{client} --url {url} --secret-file {file}");
                client.quiet().ignore_stderr()
            };
            client().args(["connect", "ann", "news"]).ignore_stdout().run()?;
            client()
                .args(["channel", "news", "--set", "store_history=true"])
                .ignore_stdout()
                .run()?;
            client().args(["publish", "news", text]).ignore_stdout().run()?;
            let channel = client().args(["channel", "news", "--json"]).read()?;
            let known = known.iter().all(|text| channel.contains(&format!("\"{text}\"")));
            ensure!(known, "after publishing {text}: {channel}");
            server.end()?;
        }
        Ok(())
    }
}

/// Makes a Debian in a folder, of the release and from the sources of this machine.
pub(super) fn bootstrap(shell: &Shell, into: &Path, variant: &str, packages: &str) -> Result<()> {
    let release = release()?;
    let sources = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    let sources =
        sources.into_iter().find(|path| Path::new(path).exists()).context("no sources")?;
    Ok(cmd!(
        shell,
        "mmdebstrap --quiet --variant={variant} --include={packages} {release} {into} {sources}"
    )
    .run()?)
}

/// Returns what a command prints, on both of its streams.
pub(super) fn output(command: &mut Command, what: &str) -> Result<String> {
    let output = command.output().with_context(|| what.to_owned())?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    ensure!(output.status.success(), "{what}: {text}");
    Ok(text)
}

/// The code name of this machine's Debian.
fn release() -> Result<String> {
    let system = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let release = system.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(release.context("/etc/os-release has no VERSION_CODENAME")?.to_owned())
}
