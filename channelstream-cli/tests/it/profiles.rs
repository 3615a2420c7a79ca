//! Named profiles, and secrets in files that others can read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::program::{end, failed, printed, program};
use crate::server::{SECRET, Server};

/// Creates a configuration folder with this file.
fn config(text: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let own = folder.path().join("channelstream");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("config.toml"), text).unwrap();
    secret(&own.join("live.secret"), 0o600);
    folder
}

fn secret(path: &Path, mode: u32) {
    fs::write(path, SECRET).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn info(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = program(&[&["info", "--quiet"], arguments].concat());
    command.env("XDG_CONFIG_HOME", folder.path());
    command
}

#[test]
fn a_profile_is_a_server_and_its_secret() {
    let server = Server::start();
    let folder = config(&format!(
        "default = \"dead\"\n\
         [profiles.live]\nurl = \"{}\"\nsecret_file = \"live.secret\"\n\
         [profiles.dead]\nurl = \"http://127.0.0.1:9\"\n",
        server.url
    ));
    printed(end(&mut info(&folder, &["--profile", "live"])));
    printed(end(info(&folder, &[]).env("CHANNELSTREAM_PROFILE", "live")));

    // A named profile takes precedence over the environment, which takes precedence over the default.
    let elsewhere = "http://127.0.0.1:9/elsewhere";
    printed(end(info(&folder, &["--profile", "live"]).env("CHANNELSTREAM_URL", elsewhere)));
    let ended = end(&mut info(&folder, &[]));
    assert!(failed(&ended, 1).0.starts_with("cannot reach http://127.0.0.1:9 "), "{}", ended.err);
    let ended = end(info(&folder, &[]).env("CHANNELSTREAM_URL", elsewhere));
    assert!(failed(&ended, 1).0.contains("/elsewhere"), "{}", ended.err);
    let ended = end(&mut info(&folder, &["--profile", "live", "--url", elsewhere]));
    assert!(failed(&ended, 1).0.contains("/elsewhere"), "{}", ended.err);

    let file = folder.path().join("channelstream/config.toml");
    let mut command = program(&["info", "--quiet", "--profile", "live"]);
    printed(end(command.env("CHANNELSTREAM_CONFIG", file)));
}

#[test]
fn profiles_that_are_none() {
    let folder = config("[profiles.live]\n[profiles.test]\n");
    let ended = end(&mut info(&folder, &["--profile", "lief"]));
    let (what, hint) = failed(&ended, 2);
    assert_eq!(what, "there is no profile `lief`");
    assert!(hint.unwrap().ends_with("config.toml has `live`, `test`"), "{}", ended.err);

    // A profile must not contain a secret, and the error does not show it.
    let folder = config("[profiles.live]\nurl = \"http://127.0.0.1:9\"\nsecret = \"marked\"\n");
    let ended = end(&mut info(&folder, &["--profile", "live"]));
    let (what, hint) = failed(&ended, 1);
    assert!(what.contains("config.toml: line 3: unknown field `secret`"), "{what}");
    assert!(hint.unwrap().contains("a file of their own") && !ended.err.contains("marked"));

    let ended = end(program(&["info"]).env("CHANNELSTREAM_CONFIG", "/no/such/file"));
    let (what, _) = failed(&ended, 1);
    assert!(what.starts_with("cannot read the configuration from /no/such/file: No"), "{what}");
}

#[test]
fn a_secret_that_everybody_can_read_is_warned_of() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("secret");
    secret(&path, 0o644);
    let ended = end(program(&["sign", "--secret-file"]).arg(&path));
    assert_eq!(ended.code, 0);
    assert!(ended.err.starts_with("warning: all users of this machine can read"), "{}", ended.err);
    secret(&path, 0o640);
    printed(end(program(&["sign", "--secret-file"]).arg(&path)));
}

#[test]
fn a_configuration_may_begin_with_a_byte_order_mark() {
    let server = Server::start();
    let text =
        format!("[profiles.live]\nurl = \"{}\"\nsecret_file = \"live.secret\"\n", server.url);
    let folder = config(&format!("\u{feff}{text}"));
    printed(end(&mut info(&folder, &["--profile", "live"])));
    let utf_16: Vec<u8> =
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    fs::write(folder.path().join("channelstream/config.toml"), utf_16).unwrap();
    let ended = end(&mut info(&folder, &["--profile", "live"]));
    let (what, _) = failed(&ended, 1);
    assert!(what.starts_with("cannot read the configuration from "), "{what}");
    assert!(what.ends_with("it is UTF-16 by its byte order mark; save it as UTF-8"), "{what}");
}
