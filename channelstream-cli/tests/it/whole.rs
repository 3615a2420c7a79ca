//! `--sign-bodies`: commands and profiles that sign whole requests.

use std::fs;

use tempfile::TempDir;

use crate::program::{ask, end, failed, printed, program};
use crate::server::{SECRET, Server};

#[test]
fn commands_sign_whole_requests_where_the_server_wants_it() {
    let server = Server::start_with(|config| config.require_signed_bodies = true);
    let refused = ask(&server, &["info"]);
    assert!(failed(&refused, 1).0.contains("require_signed_bodies"), "{}", refused.err);
    printed(ask(&server, &["--sign-bodies", "info"]));
    printed(ask(&server, &["connect", "ann", "news", "--sign-bodies"]));
    printed(ask(&server, &["publish", "news", "hello", "--quiet", "--sign-bodies"]));

    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("secret"), SECRET).unwrap();
    let config = folder.path().join("config.toml");
    let profile = |sign: bool| {
        let text = format!(
            "[profiles.p]\nurl = \"{}\"\nsecret_file = \"secret\"\nsign_bodies = {sign}\n",
            server.url
        );
        fs::write(&config, text).unwrap();
        end(program(&["info", "--quiet", "--profile", "p"]).env("CHANNELSTREAM_CONFIG", &config))
    };
    assert_eq!(profile(true).code, 0);
    assert_eq!(profile(false).code, 1);
}

#[test]
fn doctor_says_what_kind_of_signature_the_server_wants() {
    let server = Server::start_with(|config| config.require_signed_bodies = true);
    let ended = ask(&server, &["doctor"]);
    assert!(ended.out.contains("the server wants whole requests to be signed"), "{}", ended.out);
    assert!(ended.out.contains("--sign-bodies"), "{}", ended.out);
    // Repeats until the second of the server's start is over; doctor repeats nothing.
    printed(ask(&server, &["--sign-bodies", "info"]));
    let ended = ask(&server, &["doctor", "--sign-bodies"]);
    assert!(ended.out.contains("accepted"), "{} {}", ended.out, ended.err);
}
