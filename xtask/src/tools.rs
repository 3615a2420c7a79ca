//! What checks and tests need besides Rust: packages of Debian, PyPI and npm, installed once.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use xshell::{Shell, cmd};

/// Programs, and the Debian package of each.
const PROGRAMS: [(&str, &str); 10] = [
    ("make", "make"),
    ("chromium", "chromium"),
    ("curl", "curl"),
    ("nginx", "nginx"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("promtool", "prometheus"),
    ("python3", "python3-venv"),
    ("redis-server", "redis-server"),
];

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// Installs the programs that are missing.
///
/// Without root and `sudo`, or without `apt-get`, it fails and names the command to type.
pub(crate) fn prepare_debian(shell: &Shell) -> Result<()> {
    let mut packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    // Debian's python3 cannot create virtual environments.
    let venv = find("python3").is_none_or(|_| {
        cmd!(shell, "python3 -c 'import ensurepip, venv'").quiet().ignore_stderr().run().is_ok()
    });
    if !venv {
        packages.push("python3-venv");
    }
    if packages.is_empty() {
        return Ok(());
    }

    ensure!(find("apt-get").is_some(), "the tests need {}: install it", packages.join(", "));
    let root = cmd!(shell, "id -u").quiet().read()? == "0";
    let sudo = if root { None } else { Some("sudo") };
    if sudo.is_some_and(|sudo| find(sudo).is_none()) {
        bail!("the tests need more packages: run `apt-get install {}` as root", packages.join(" "));
    }
    let install = || {
        let apt =
            "env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300".split(' ');
        let mut words = sudo.into_iter().chain(apt);
        let program = words.next().context("no program")?;
        Ok::<_, anyhow::Error>(shell.cmd(program).args(words))
    };
    // The package lists may be old, or absent on a fresh machine. They are fetched if the first
    // attempt fails.
    let first = install()?.args(["install", "-y"]).args(&packages).ignore_stderr();
    if first.ignore_stdout().run().is_err() {
        install()?.arg("update").run()?;
        install()?.args(["install", "-y"]).args(&packages).ignore_stdout().run()?;
    }
    if packages.contains(&"prometheus") && find("systemctl").is_some() {
        // Only its tool is wanted. Without a running systemd, nothing was started, and this fails.
        let mut words = sudo.into_iter().chain(["systemctl", "disable", "--now", "prometheus"]);
        let program = words.next().context("no program")?;
        shell.cmd(program).args(words).quiet().ignore_stderr().ignore_status().run()?;
    }
    Ok(())
}

/// Creates the virtual environment of the tests and returns its Python.
pub(crate) fn prepare_python(shell: &Shell) -> Result<PathBuf> {
    let folder = build_folder()?.with_file_name("test-tools").join("python");
    let python = folder.join("bin/python");
    // The interpreter is a link to that of the machine, which may be removed since.
    if !python.exists() {
        shell.remove_path(&folder)?;
    }
    once(&folder.join("installed"), REQUIREMENTS, || {
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements.txt");
        cmd!(shell, "python3 -m venv --clear {folder}").run()?;
        let pip = cmd!(shell, "{python} -m pip --disable-pip-version-check install --quiet");
        pip.args(["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r"])
            .arg(requirements)
            .run()?;
        Ok(())
    })?;
    Ok(python)
}

/// Returns the module of the reference's browser client.
pub(crate) fn reference_client(shell: &Shell, python: &Path) -> Result<PathBuf> {
    let code = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let packages = PathBuf::from(cmd!(shell, "{python} -c {code}").quiet().read()?);
    let module = packages.join("channelstream/static/channelstream/index.js");
    ensure!(module.is_file(), "the package channelstream has no {}", module.display());
    Ok(module)
}

/// Installs the npm packages that a folder's lock file names.
pub(crate) fn prepare_npm(shell: &Shell, folder: &str) -> Result<()> {
    let folder = Path::new(folder);
    let lock = shell.read_file(folder.join("package-lock.json"))?;
    let stamp = shell.current_dir().join(folder).join("node_modules/installed");
    let _folder = shell.push_dir(folder);
    once(&stamp, &lock, || {
        Ok(cmd!(shell, "npm ci --ignore-scripts --no-audit --no-fund --loglevel error").run()?)
    })
}

/// Returns the folder of the built programs, which is that of this one.
pub(crate) fn build_folder() -> Result<PathBuf> {
    let own = env::current_exe().context("this program has no path")?;
    Ok(own.parent().context("this program has no folder")?.to_owned())
}

/// Returns the first program of that name on `PATH` or in `/usr/sbin`, which is not on every `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Runs `install` unless the file `stamp` says that it succeeded for the same `wanted`.
fn once(stamp: &Path, wanted: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    if fs::read_to_string(stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(stamp, wanted).with_context(|| format!("writing {}", stamp.display()))
}
