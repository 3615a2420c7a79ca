//! The whole life of two users as a shell script.

use std::process::{Command, Stdio};

use crate::program::{command, end};
use crate::server::Server;

#[test]
fn a_whole_life_from_a_shell() {
    let server = Server::start();
    let mut program = command(&server, &[]);
    let mut shell = Command::new("sh");
    shell.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/life.sh")).stdin(Stdio::null());
    for (name, value) in program.env_remove("PATH").get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None if name == "PATH" => &mut shell,
            None => shell.env_remove(name),
        };
    }
    shell.env("CHANNELSTREAM", env!("CARGO_BIN_EXE_channelstream"));
    let ended = end(&mut shell);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.out.ends_with("that was a whole life\n"), "{}{}", ended.out, ended.err);
}
