//! The server as it is shipped: optimized with the counts of a build that was put under load (profile-guided
//! optimization).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use xshell::{Shell, cmd};

use crate::tools;

const PACKAGE: &str = "channelstream-server";

/// Another folder than that of other builds, so that both may go on at once.
const FOLDER: &str = "target/guided";

/// What is done while it counts: publishes to few and to many, one by one and in batches, with the journal in memory and
/// in files.
const LOADS: [&str; 5] = ["B", "A", "A1", "K", "D"];

/// A build of the server for a kind of machine whose programs run on this one. The counts of another kind are of no use,
/// because the names of functions depend on it.
pub(crate) struct Guided {
    pub(crate) profile: String,
    pub(crate) target: String,
}

/// `cargo xtask guided`: builds `target/guided/channelstream-server`.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    let built = Guided::here(shell, "release")?.build(shell)?;
    let program = format!("{FOLDER}/{PACKAGE}");
    // The program may be running.
    shell.remove_path(&program)?;
    shell.copy_file(built, &program)?;
    eprintln!("{program}");
    Ok(())
}

impl Guided {
    /// A build for this machine.
    pub(crate) fn here(shell: &Shell, profile: &str) -> Result<Self> {
        Ok(Self { profile: profile.to_owned(), target: tools::host(shell)? })
    }

    /// Builds the server, and returns its path.
    pub(crate) fn build(&self, shell: &Shell) -> Result<PathBuf> {
        self.build_with(shell, &self.folder(shell, "built"), &self.flags(shell)?)
    }

    /// Returns the folder that cargo builds in.
    pub(crate) fn folder(&self, shell: &Shell, name: &str) -> PathBuf {
        shell.current_dir().join(FOLDER).join(name)
    }

    /// Returns the flags of rustc, in the form of `CARGO_ENCODED_RUSTFLAGS`. Counts what the server does under load,
    /// unless that is known of the same program.
    pub(crate) fn flags(&self, shell: &Shell) -> Result<String> {
        let folder = self.folder(shell, &self.target);
        let (raw, counts) = (folder.join("raw"), folder.join("counts.profdata"));
        let flags = format!("-Cprofile-generate={}", raw.display());
        let counting = self.build_with(shell, &self.folder(shell, "counting"), &flags)?;
        let digest = cmd!(shell, "sha256sum {counting}").quiet().read()?;
        shell.create_dir(&folder)?;
        tools::once(&folder.join("counted"), &digest, || {
            shell.remove_path(&raw)?;
            cmd!(shell, "cargo build --release --locked -p channelstream-bench").run()?;
            let bench =
                tools::build_folder()?.with_file_name("release").join("channelstream-bench");
            cmd!(shell, "{bench} --server {counting} --peers server,file {LOADS...}")
                .env("LLVM_PROFILE_FILE", raw.join("%p.profraw"))
                .run()?;
            merge(shell, &raw, &counts)
        })?;
        Ok(format!("-Cprofile-use={}", counts.display()))
    }

    fn build_with(&self, shell: &Shell, folder: &Path, flags: &str) -> Result<PathBuf> {
        let Self { profile, target } = self;
        // With a target, the flags are not those of programs that run during the build.
        let places = ["--target", target, "--target-dir"];
        cmd!(shell, "cargo build --locked --profile {profile} -p {PACKAGE} {places...} {folder}")
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            .run()?;
        Ok(folder.join(target).join(profile).join(PACKAGE))
    }
}

/// Adds up what was counted.
fn merge(shell: &Shell, raw: &Path, counts: &Path) -> Result<()> {
    cmd!(shell, "rustup component add llvm-tools").quiet().run()?;
    let libraries = PathBuf::from(cmd!(shell, "rustc --print target-libdir").quiet().read()?);
    let tool = libraries.with_file_name("bin").join("llvm-profdata");
    let counted = fs::read_dir(raw).context("nothing was counted")?;
    let counted = counted.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    cmd!(shell, "{tool} merge -o {counts} {counted...}").run()?;
    ensure!(fs::metadata(counts)?.len() > 100_000, "next to nothing was counted");
    Ok(())
}
