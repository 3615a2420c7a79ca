//! The image that the Dockerfile describes, without Docker: what its last stage says is carried out in a folder, and
//! tried there in a network of its own.
//!
//! The first stage is not carried out. Its programs are those of the other packages.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use xshell::{Shell, cmd};

use super::{
    Chroot,
    chroot::{PATH, bootstrap, output},
    stage,
};
use crate::{chart::Running, client, tools};

/// The user of the base image.
const USER: u32 = 65532;

/// What is in the base image, of which a chroot needs the files alone.
const BASE: &str = "base-files,base-passwd,ca-certificates,libc6,libgcc-s1,tzdata";

/// What the last stage of a Dockerfile says.
#[derive(Debug, Default)]
struct Image {
    base: String,
    labels: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    /// From, to, and the owner.
    copies: Vec<(String, String, Option<String>)>,
    ports: Vec<String>,
    volumes: Vec<String>,
    health: Vec<String>,
    entry: Vec<String>,
}

pub(super) fn make(shell: &Shell, profile: &str) -> Result<()> {
    tools::prepare_packages(shell, &[("mmdebstrap", "mmdebstrap"), ("ip", "iproute2")])?;
    stage::make(shell, profile)?;
    let text = shell.read_file("Dockerfile")?;
    let image = read(&text)?;
    let version = client::version(shell)?;
    let label = |name: &str| image.labels.get(&format!("org.opencontainers.image.{name}"));
    ensure!(label("version") == Some(&version), "the label version is {:?}", label("version"));
    for name in ["title", "description", "licenses", "source", "documentation", "revision"] {
        ensure!(label(name).is_some(), "no label {name}");
    }
    ensure!(image.base.ends_with(":nonroot"), "{} has no user of its own", image.base);
    let chroot = carry_out(shell, &text, &image)?;
    try_out(shell, &chroot, &image)
}

/// Reads the last stage.
fn read(text: &str) -> Result<Image> {
    let text: String =
        text.lines().filter(|line| !line.starts_with('#')).fold(String::new(), |text, line| {
            match line.strip_suffix('\\') {
                Some(line) => text + line,
                None => text + line + "\n",
            }
        });
    let (mut image, mut arguments) = (Image::default(), BTreeMap::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (instruction, rest) = line.split_once(' ').context("an instruction alone")?;
        let words: Vec<_> = rest.split_whitespace().collect();
        match instruction {
            "FROM" => {
                image = Image { base: words[0].to_owned(), ..Image::default() };
                arguments.clear();
            }
            "ARG" => arguments.extend(pairs(rest)?),
            "LABEL" => {
                for (name, value) in pairs(rest)? {
                    let value = match value.strip_prefix('$') {
                        Some(argument) => {
                            arguments.get(argument).with_context(|| format!("no {value}"))?.clone()
                        }
                        None => value,
                    };
                    image.labels.insert(name, value);
                }
            }
            "ENV" => image.environment.extend(pairs(rest)?),
            "EXPOSE" => image.ports.push(rest.to_owned()),
            "VOLUME" => image.volumes.push(rest.to_owned()),
            "HEALTHCHECK" => {
                let command = rest.strip_prefix("CMD ").context("a HEALTHCHECK without CMD")?;
                image.health = serde_json::from_str(command)?;
            }
            "ENTRYPOINT" => image.entry = serde_json::from_str(rest)?,
            "COPY" => {
                let flag = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
                let owner = flag("--chown=").map(str::to_owned);
                let paths: Vec<_> = words.iter().filter(|word| !word.starts_with("--")).collect();
                let [from, to] = paths[..] else { bail!("COPY of {paths:?}") };
                image.copies.push(((*from).to_owned(), (*to).to_owned(), owner));
            }
            // Of the first stage.
            "RUN" | "WORKDIR" => {}
            _ => bail!("nothing here knows {instruction}"),
        }
    }
    Ok(image)
}

/// Reads `name=value other="another value"`.
fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let (mut found, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=').with_context(|| format!("no value in {rest}"))?;
        let (value, behind) = match value.strip_prefix('"') {
            Some(value) => value.split_once('"').context("a quote is open")?,
            None => value.split_once(' ').unwrap_or((value, "")),
        };
        found.push((name.to_owned(), value.to_owned()));
        rest = behind.trim_start();
    }
    Ok(found)
}

/// Does in a folder what the last stage says.
fn carry_out(shell: &Shell, text: &str, image: &Image) -> Result<Chroot> {
    let chroot = Chroot::empty(shell)?;
    let base = tools::tools_folder()?.join("image-base");
    if !base.join("etc/debian_version").exists() {
        shell.remove_path(&base)?;
        bootstrap(shell, &base, "extract", BASE)?;
    }
    let root = chroot.path("/");
    cmd!(shell, "cp -a --reflink=auto {base}/. {root}").quiet().run()?;
    for (from, to, owner) in &image.copies {
        let into = chroot.path(to);
        if text.contains(&format!("strip -o {from} ")) {
            fs::create_dir_all(into.parent().context("no folder")?)?;
            fs::copy(format!("{}/bin{from}", stage::FOLDER), &into)?;
        } else if text.contains(&format!("install -d -m 0700 {from}\n")) {
            fs::create_dir_all(&into)?;
            fs::set_permissions(&into, fs::Permissions::from_mode(0o700))?;
        } else {
            bail!("nothing in the first stage makes {from}");
        }
        if let Some((user, group)) = owner.as_deref().and_then(|owner| owner.split_once(':')) {
            chown(&into, Some(user.parse()?), Some(group.parse()?))?;
        }
    }
    Ok(chroot)
}

/// Starts it as a container is started: as its user, with its variables, and with its own port in a network of its own.
fn try_out(shell: &Shell, chroot: &Chroot, image: &Image) -> Result<()> {
    ensure!(image.ports == ["8000"], "the ports are {:?}", image.ports);
    let [volume] = &image.volumes[..] else { bail!("the volumes are {:?}", image.volumes) };
    let user = format!("{USER}:{USER}");
    let root = chroot.path("/");
    let start = |more: &[(&str, &str)]| {
        let script = "ip link set lo up && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", script, "sh", "chroot"]);
        command.arg(format!("--userspec={user}")).arg(&root).args(&image.entry);
        command.env_clear().env("PATH", PATH);
        command.envs(&image.environment).envs(more.iter().copied()).stdin(Stdio::null());
        command
    };
    // Everybody would know its secrets.
    let refused = start(&[]).output()?;
    let told = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && told.contains("well-known default"), "{told}");

    let before = chroot.files(shell)?;
    let own = [
        ("CHANNELSTREAM_SECRET", "0123456789abcdef0123"),
        ("CHANNELSTREAM_ADMIN_SECRET", "its own, and long enough"),
        ("CHANNELSTREAM_JOURNAL", "file"),
        ("CHANNELSTREAM_JOURNAL_DIR", volume.as_str()),
    ];
    for _ in 0..2 {
        let server = Running::start(&mut start(&own))?;
        ensure!(server.address.ends_with(":8000"), "it listens on {}", server.address);
        let mut health = Command::new("nsenter");
        health.arg(format!("--net=/proc/{}/ns/net", server.id())).arg("chroot");
        health.arg(format!("--userspec={user}")).arg(&root).args(&image.health);
        health.env_clear().env("PATH", PATH).envs(&image.environment).envs(own);
        output(&mut health, "health")?;
        server.end()?;
    }
    let after = chroot.files(shell)?;
    let inside = format!(".{volume}");
    let written: Vec<_> = after.iter().filter(|path| !before.contains(path)).collect();
    ensure!(!written.is_empty(), "there is no journal");
    ensure!(written.iter().all(|path| path.starts_with(&inside)), "it wrote {written:?}");
    eprintln!("carried out, and started twice as user {USER}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{pairs, read};

    #[test]
    fn the_last_stage_is_read() {
        let text = "FROM a AS build\nRUN make \\\n  all\nFROM b:nonroot\nARG V=1\nLABEL x=\"$V\" \\\n  y=\"a b\"\n\
            # A comment.\nCOPY --from=build --chown=1:2 /a /b\nENV A=b\nEXPOSE 1\nVOLUME /v\n\
            HEALTHCHECK CMD [\"/b\", \"health\"]\nENTRYPOINT [\"/b\"]\n";
        let image = read(text).expect("a file that can be read");
        assert_eq!(image.base, "b:nonroot");
        assert_eq!((&*image.labels["x"], &*image.labels["y"]), ("1", "a b"));
        assert_eq!(image.copies, [("/a".to_owned(), "/b".to_owned(), Some("1:2".to_owned()))]);
        assert_eq!(
            (&*image.health, &*image.entry),
            (&["/b", "health"].map(str::to_owned)[..], &["/b".to_owned()][..])
        );
        assert!(read("FROM a\nUSER b\n").is_err());
        assert!(pairs("a=\"b").is_err() && pairs("a").is_err());
    }
}
