//! The commands of the README, typed in terminals. Each answer and each prompt begins on its own line.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use channelstream_server::config::Secret;
use tempfile::TempDir;

use crate::program::command;
use crate::server::Server;

const README: &str = include_str!("../../../README.md");
/// The headings below which all commands are typed, in this order.
const QUICK_START: [&str; 2] = ["First message", "Over HTTP"];
/// Commands that listen until Ctrl-C are typed in their own terminal, as the README says.
const STAYS: &str = "channelstream listen ";
/// Commands that build or start programs are skipped, since the test has the programs already.
const STAND_INS: [&str; 2] = ["cargo", "channelstream-server"];
const CTRL_C: &[u8] = b"\x03";
const PROMPT: &str = "PROMPT> ";
const MORE: &str = "MORE> ";

/// Returns the shell blocks below a heading, up to the next one of its level.
fn blocks(heading: &str) -> Vec<&'static str> {
    let (_, rest) = README.split_once(&format!("\n## {heading}\n")).expect("the heading is there");
    let section = rest.split("\n## ").next().unwrap();
    let blocks = section.split("\n```sh\n").skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap()).collect()
}

/// An interactive shell in a terminal.
struct Shell {
    child: Child,
    keys: Option<ChildStdin>,
    seen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl Shell {
    fn start(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_channelstream"));
        std::os::unix::fs::symlink(program, bin.join("channelstream")).unwrap();
        for name in STAND_INS {
            fs::write(bin.join(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(folder.path().join("inputrc"), "set enable-bracketed-paste off\n").unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut terminal = Command::new("script");
        let shell = "stty rows 50 cols 500; exec bash --norc --noprofile -i";
        terminal.args(["--quiet", "--flush", "--command", shell, "/dev/null"]);
        for (name, value) in command(server, &[]).get_envs() {
            match value {
                Some(value) => terminal.env(name, value),
                None => terminal.env_remove(name),
            };
        }
        terminal
            .current_dir(folder.path())
            .env_remove("CHANNELSTREAM_SECRET")
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("INPUTRC", folder.path().join("inputrc"))
            .env("HISTFILE", "/dev/null")
            .env("SHELL", "/bin/sh")
            .env("TERM", "vt100")
            .env("PS1", PROMPT)
            .env("PS2", MORE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = terminal.spawn().unwrap();
        let (keys, mut output) = (child.stdin.take(), child.stdout.take().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = Arc::clone(&seen);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                sees.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        let shell = Self { child, keys, seen, reader: Some(reader), _folder: folder };
        shell.wait_for_prompts(1);
        shell
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    fn prompts(&self) -> usize {
        let seen = self.seen();
        seen.matches(PROMPT).count() + seen.matches(MORE).count()
    }

    #[track_caller]
    fn wait_for_prompts(&self, count: usize) {
        let begun = Instant::now();
        while self.prompts() < count {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", self.seen());
            sleep(Duration::from_millis(10));
        }
    }

    /// Pastes lines whose last command stays in the foreground, and waits until it shows this text.
    #[track_caller]
    fn paste_and_stay(&mut self, lines: &str, shown: &str) {
        let before = self.prompts();
        self.type_in(lines);
        self.wait_for_prompts(before + lines.lines().count() - 1);
        self.wait_until_seen(shown);
    }

    #[track_caller]
    fn wait_until_seen(&self, text: &str) {
        let begun = Instant::now();
        while !self.seen().contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{text}: {}", self.seen());
            sleep(Duration::from_millis(10));
        }
    }

    /// Ends the command in the foreground, and waits for the prompt after it.
    #[track_caller]
    fn interrupt(&mut self) {
        let before = self.prompts();
        self.keys.as_mut().unwrap().write_all(CTRL_C).unwrap();
        self.wait_for_prompts(before + 1);
    }

    fn type_in(&mut self, lines: &str) {
        let keys = self.keys.as_mut().unwrap();
        keys.write_all(format!("{lines}\n").as_bytes()).unwrap();
        keys.flush().unwrap();
    }

    /// Pastes lines, and waits for the prompt after each.
    #[track_caller]
    fn paste(&mut self, lines: &str) {
        let before = self.prompts();
        self.type_in(lines);
        self.wait_for_prompts(before + lines.lines().count());
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if thread::panicking() {
            // A command in the foreground would ignore `exit`.
            let _ = self.child.kill();
        }
        if let Some(mut keys) = self.keys.take() {
            let _ = keys.write_all(b"exit\n");
        }
        let _ = self.child.wait();
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

#[test]
fn the_quick_start_can_be_typed() {
    let server = Server::start_with(|config| config.secrets = vec![Secret::new("secret")]);
    let host = server.url.strip_prefix("http://").unwrap();
    let (mut listening, mut shell) = (Shell::start(&server), Shell::start(&server));
    for block in QUICK_START.into_iter().flat_map(blocks) {
        let block = block.replace("127.0.0.1:8000", host);
        if block.lines().last().is_some_and(|line| line.starts_with(STAYS)) {
            listening.paste_and_stay(&block, "listening on");
        } else {
            shell.paste(&block);
        }
    }
    listening.wait_until_seen("Hello!");
    let seen = shell.seen() + &listening.seen();
    listening.interrupt();
    for trouble in ["not found", "No such file", "rror", "refused", "Usage"] {
        assert!(!seen.contains(trouble), "{trouble}: {seen}");
    }
    let lines: Vec<&str> = seen.split(['\n', '\r']).collect();
    for line in &lines {
        for prompt in [PROMPT, MORE] {
            assert!(!line.contains(prompt) || line.starts_with(prompt), "{line:?} in {seen}");
        }
    }
    let answers: Vec<_> =
        lines.iter().filter(|line| line.starts_with('{') || line.starts_with('[')).collect();
    let answers: Vec<_> = answers
        .into_iter()
        .filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
        .collect();
    assert!(answers.iter().filter(|line| line.contains("Hello!")).count() >= 2, "{seen}");
    assert!(answers.iter().any(|line| line.contains("conn_id")), "{seen}");
}
