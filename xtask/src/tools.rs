//! What checks and tests need besides Rust: packages of Debian, PyPI and npm, installed once.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use xshell::{Shell, cmd};

/// Programs, and the Debian package of each.
const PROGRAMS: [(&str, &str); 12] = [
    ("caddy", "caddy"),
    ("haproxy", "haproxy"),
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

/// Packages of PyPI: of the tests, of what makes packages, and of what builds for other machines.
const REQUIREMENTS: &str = include_str!("../requirements.txt");
const PACKAGING: &str = include_str!("../packaging.txt");
const STATIC: &str = include_str!("../static.txt");
const PUSH: &str = include_str!("../../python/requirements-dev.txt");

/// Installs the programs of the tests that are missing.
///
/// Without root and `sudo`, or without `apt-get`, it fails and names the command to type.
pub(crate) fn prepare_debian(shell: &Shell) -> Result<()> {
    prepare_packages(shell, &PROGRAMS)
}

/// Installs those of these programs that are missing.
pub(crate) fn prepare_packages(shell: &Shell, programs: &[(&str, &str)]) -> Result<()> {
    let mut packages: Vec<&str> = programs
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
    for service in ["prometheus", "haproxy", "caddy"] {
        if packages.contains(&service) && find("systemctl").is_some() {
            // Only the program is wanted. Without a running systemd, nothing was started, and this fails.
            let mut words = sudo.into_iter().chain(["systemctl", "disable", "--now", service]);
            let program = words.next().context("no program")?;
            shell.cmd(program).args(words).quiet().ignore_stderr().ignore_status().run()?;
        }
    }
    Ok(())
}

/// Creates the virtual environment of the tests and returns its Python.
pub(crate) fn prepare_python(shell: &Shell) -> Result<PathBuf> {
    prepare_environment(shell, "python", "requirements.txt", REQUIREMENTS)
}

/// The same for what makes packages: Helm, the schemas of Kubernetes, maturin.
pub(crate) fn prepare_packaging(shell: &Shell) -> Result<PathBuf> {
    prepare_environment(shell, "packaging", "packaging.txt", PACKAGING)
}

/// The same for what builds programs with musl: zig, and what has cargo use it.
pub(crate) fn prepare_static(shell: &Shell) -> Result<PathBuf> {
    prepare_environment(shell, "static", "static.txt", STATIC)
}

/// The same for the Python client: what it needs, and what checks and tests it.
pub(crate) fn prepare_push(shell: &Shell) -> Result<PathBuf> {
    prepare_environment(shell, "push", "../python/requirements-dev.txt", PUSH)
}

/// Returns the line of the tests' requirements that pins a package, with its hash.
pub(crate) fn requirement(name: &str) -> Result<&'static str> {
    let is_line = |line: &&str| line.starts_with(&format!("{name}=="));
    REQUIREMENTS.lines().find(is_line).with_context(|| format!("no requirement {name}"))
}

/// Installs a program of crates.io for the project alone. Returns the folder in which it is.
pub(crate) fn prepare_cargo(shell: &Shell, name: &str, version: &str) -> Result<PathBuf> {
    let root = tools_folder()?.join("cargo");
    shell.create_dir(&root)?;
    once(&root.join(format!("{name}.installed")), version, || {
        let folder = root.join("target");
        // It is a program of the project, and no part of what the project builds.
        Ok(cmd!(
            shell,
            "cargo install --quiet --locked --root {root} --target-dir {folder} {name}@{version}"
        )
        .run()?)
    })?;
    Ok(root.join("bin"))
}

/// Returns the folders of the workspace's crates, whose names are those of the crates.
pub(crate) fn members(shell: &Shell) -> Result<Vec<String>> {
    let manifest: toml::Table = toml::from_str(&shell.read_file("Cargo.toml")?)?;
    let members = manifest["workspace"]["members"].as_array().context("no members")?;
    let names = members.iter().map(|member| member.as_str().map(str::to_owned));
    names.collect::<Option<_>>().context("a member is not a string")
}

fn prepare_environment(shell: &Shell, name: &str, file: &str, wanted: &str) -> Result<PathBuf> {
    let folder = tools_folder()?.join(name);
    let python = folder.join("bin/python");
    // The interpreter is a link to that of the machine, which may be removed since.
    if !python.exists() {
        shell.remove_path(&folder)?;
    }
    once(&folder.join("installed"), wanted, || {
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
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

/// Returns the name of the kind of machine that this is.
pub(crate) fn host(shell: &Shell) -> Result<String> {
    let told = cmd!(shell, "rustc -vV").quiet().read()?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc tells no host")
}

/// Returns the folder of what is installed for the project alone.
pub(crate) fn tools_folder() -> Result<PathBuf> {
    Ok(build_folder()?.with_file_name("test-tools"))
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
pub(crate) fn once(stamp: &Path, wanted: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    if fs::read_to_string(stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(stamp, wanted).with_context(|| format!("writing {}", stamp.display()))
}
