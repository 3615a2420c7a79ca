//! The sources of the secret.

use std::fs;
use std::io::pipe;
use std::process::Command;

use channelstream_server::config::Secret;
use channelstream_signer::{TimestampSigner, unix_now};
use tempfile::NamedTempFile;

use crate::program::{end, failed, printed, program};
use crate::server::Server;

fn file(content: impl AsRef<[u8]>) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, content).unwrap();
    file
}

fn sign(set_up: impl FnOnce(&mut Command)) -> Command {
    let mut command = program(&["sign"]);
    set_up(&mut command);
    command
}

#[track_caller]
fn signs_with(secret: &str, text: &str) {
    let text = text.strip_suffix('\n').unwrap();
    let unsigned = TimestampSigner::new(secret).unsign_within(text, 60, unix_now()).unwrap();
    assert_eq!(unsigned.value, "/");
}

#[test]
fn flags_come_before_variables_and_variables_before_the_default() {
    let from_file = file("from file\n");
    let with_return = file("from file\r\n");
    let path = from_file.path();
    let of = |mut command: Command| printed(end(&mut command));

    signs_with("secret", &of(sign(|_| ())));
    signs_with(
        "secret",
        &of(sign(|c| {
            c.env("CHANNELSTREAM_SECRET", "");
        })),
    );
    signs_with(
        "variable",
        &of(sign(|c| {
            c.env("CHANNELSTREAM_SECRET", "variable");
        })),
    );
    signs_with(
        "from file",
        &of(sign(|c| {
            c.env("CHANNELSTREAM_SECRET_FILE", path);
        })),
    );
    signs_with(
        "from file",
        &of(sign(|c| {
            c.arg("--secret-file").arg(path).env("CHANNELSTREAM_SECRET", "variable");
        })),
    );
    signs_with(
        "from file",
        &of(sign(|c| {
            c.arg("--secret-file").arg(with_return.path());
        })),
    );
}

#[test]
fn a_secret_on_the_command_line_is_warned_of() {
    let ended = end(&mut sign(|c| {
        c.args(["--secret", "typed"]).env("CHANNELSTREAM_SECRET_FILE", "/none");
    }));
    signs_with("typed", &ended.out);
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (0, "warning: a secret on the command line is visible to other users of this machine\n")
    );
}

#[test]
fn the_newest_of_several_signs_as_the_server_reads_them() {
    let several = file("\u{feff}newest\r\n\r\n  older \r\n");
    let set_up = |c: &mut Command| {
        c.env("CHANNELSTREAM_SECRET_FILE", several.path());
    };
    signs_with("newest", &printed(end(&mut sign(set_up))));
    // Signatures with the older secret are still valid.
    let before = TimestampSigner::new("older").sign("/");
    let mut unsign = program(&["unsign", &before, "--max-age", "1m"]);
    set_up(&mut unsign);
    assert!(printed(end(&mut unsign)).starts_with("value   /\n"));

    let server = Server::start_with(|config| {
        config.secrets = vec![Secret::new("newest"), Secret::new("older")];
    });
    for command in ["info", "doctor"] {
        let mut command = program(&[command, "--json", "--url", &server.url]);
        set_up(&mut command);
        let ended = end(&mut command);
        assert!(!ended.out.contains("secret differs from the server's"), "{}", ended.out);
        assert!(!ended.err.contains("secret differs from the server's"), "{}", ended.err);
    }
}

#[test]
fn secrets_that_are_none_are_refused() {
    for (bytes, because) in [
        (&b"\n"[..], "it is empty"),
        (b"\xff\xfeh\0i\0", "it is UTF-16 by its byte order mark; save it as UTF-8"),
        (b"hi\0dden", "line 1 has the character U+0000, which cannot be seen"),
        (b"\xff", "line 1 is not UTF-8"),
        (&[b'x'; 70_000], "it is larger than 65536 bytes"),
    ] {
        let refused = file(bytes);
        let ended = end(&mut sign(|c| {
            c.env("CHANNELSTREAM_SECRET_FILE", refused.path());
        }));
        let (what, _) = failed(&ended, 1);
        assert!(what.starts_with("cannot read the secret from /"), "{what}");
        assert!(what.ends_with(because), "{what}");
    }
    let ended = end(&mut sign(|c| {
        c.env("CHANNELSTREAM_SECRET", " ");
    }));
    assert!(failed(&ended, 2).0.starts_with("the secret is empty (the secret came from CHANNEL"));

    let ended = end(&mut sign(|c| {
        c.arg("--secret-file").arg("/no/such/file");
    }));
    let (what, _) = failed(&ended, 1);
    assert!(what.starts_with("cannot read the secret from /no/such/file: No such"), "{what}");

    let ended = end(&mut sign(|c| {
        c.env("CHANNELSTREAM_SECRET", "a").env("CHANNELSTREAM_SECRET_FILE", "b");
    }));
    let text = "CHANNELSTREAM_SECRET and CHANNELSTREAM_SECRET_FILE are both set; unset one of them";
    assert_eq!(failed(&ended, 2), (text, None));
}

#[test]
fn nobody_reading_the_output_is_no_failure() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    printed(end(sign(|_| ()).stdout(writer)));
}
