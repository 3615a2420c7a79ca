//! A terminal of 80 by 24 cells in which a shell runs the program.

use std::fs;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vt100::Parser;

use crate::program::command;
use crate::server::Server;

const ROWS: NonZero<u16> = NonZero::new(24).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(80).unwrap();

/// The script of the shell, which notes the terminal's settings before and after.
const SCRIPT: &str = r#"
    stty rows 24 cols 80
    stty -g > "$NOTES/before"
    sh -c 'echo $$ > "$NOTES/pid"; exec $PROGRAM'
    echo "ended with $?"
    stty -g > "$NOTES/after"
    read -r line
"#;

pub(crate) struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    seen: Arc<Mutex<Seen>>,
    reader: Option<JoinHandle<()>>,
    notes: TempDir,
}

struct Seen {
    parser: Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    /// Runs the program for a server, with these changes of its environment.
    pub(crate) fn start(server: &Server, arguments: &str, variables: &[(&str, &str)]) -> Self {
        let notes = tempfile::tempdir().unwrap();
        let mut terminal = Command::new("script");
        terminal.args(["--quiet", "--flush", "--command", SCRIPT, "/dev/null"]);
        terminal.env("SHELL", "/bin/sh").env("TERM", "xterm-256color").env("NOTES", notes.path());
        terminal.env_remove("NO_COLOR");
        let mut program = command(server, &[]);
        for (name, value) in program.env_remove("SHELL").env_remove("TERM").get_envs() {
            match value {
                Some(value) => terminal.env(name, value),
                None if name == "SHELL" || name == "TERM" => &mut terminal,
                None => terminal.env_remove(name),
            };
        }
        terminal.env("PROGRAM", format!("{} {arguments}", env!("CARGO_BIN_EXE_channelstream")));
        terminal.envs(variables.iter().copied());
        terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = terminal.spawn().unwrap();
        let (keys, mut output) = (child.stdin.take(), child.stdout.take().unwrap());
        let seen =
            Arc::new(Mutex::new(Seen { parser: Parser::new(ROWS, COLUMNS, 0), bytes: Vec::new() }));
        let sees = Arc::clone(&seen);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let mut seen = sees.lock().unwrap();
                seen.parser.process(&buffer[..count]);
                seen.bytes.extend_from_slice(&buffer[..count]);
            }
        });
        Self { child, keys, seen, reader: Some(reader), notes }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        let stdin = self.keys.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Returns the lines on the screen.
    pub(crate) fn lines(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.parser.screen().rows(0, 80).map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until the lines of the screen meet a condition.
    #[track_caller]
    pub(crate) fn wait_until(&self, is_right: impl Fn(&[String]) -> bool) {
        let begun = Instant::now();
        while !is_right(&self.lines()) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:#?}", self.lines());
            sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_until(|lines| lines.iter().any(|line| line.contains(text)));
    }

    /// Returns everything that was ever written to the terminal.
    pub(crate) fn written(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().bytes).into_owned()
    }

    /// Sends a signal to the program, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.note("pid");
        let kill = Command::new("kill").args([&format!("-{name}"), pid.trim()]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits for the program's end with this status, and checks that the terminal is restored.
    #[track_caller]
    pub(crate) fn ends_with(&self, code: i32) {
        self.wait_for(&format!("ended with {code}"));
        let after = self.notes.path().join("after");
        let begun = Instant::now();
        while fs::read_to_string(&after).is_ok_and(|text| text.is_empty()) || !after.exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "no settings");
            sleep(Duration::from_millis(20));
        }
        assert_eq!(self.note("before"), self.note("after"));
        let seen = self.seen.lock().unwrap();
        let screen = seen.parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{:?}", screen.contents());
    }

    fn note(&self, name: &str) -> String {
        let path: PathBuf = self.notes.path().join(name);
        fs::read_to_string(path).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if thread::panicking() && self.notes.path().join("pid").exists() {
            self.signal("TERM");
        }
        // The shell waits for a line, or for the end of its input.
        if let Some(mut keys) = self.keys.take() {
            let _ = keys.write_all(b"\r");
        }
        let _ = self.child.wait();
        let _ = self.reader.take().map(JoinHandle::join);
    }
}
