//! `stream` and `cancel`: messages that grow by what arrives on standard input.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Ended, ask, command, failed, printed};
use crate::server::Server;

const ID: &str = "00000000-0000-0000-0000-000000000007";

/// A `stream` in the background.
struct Streaming {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Streaming {
    fn start(server: &Server, arguments: &[&str]) -> Self {
        let arguments = [&["stream", "chat", "--user", "bot"], arguments].concat();
        let mut command = command(server, &arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).unwrap();
        self.input.flush().unwrap();
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits for the end, with standard input open.
    fn end(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let lines: Vec<_> = self.lines.map(Result::unwrap).collect();
        Ended { code: status.code().unwrap_or(-1), out: lines.join("\n"), err }
    }

    fn end_of_input(self) -> Ended {
        let Self { child, input, lines } = self;
        drop(input);
        // A pipe whose other end nobody holds.
        let input = Command::new("true").stdin(Stdio::piped()).spawn().unwrap().stdin.unwrap();
        Self { child, input, lines }.end()
    }
}

fn with_chat() -> Server {
    let server = Server::start();
    let arguments = ["channel", "chat", "--create", "--set", "store_history=true", "--quiet"];
    printed(ask(&server, &arguments));
    server
}

/// Returns the newest message of the channel.
fn newest(server: &Server) -> Value {
    let info = printed(ask(server, &["info", "chat", "--json"]));
    let info: Value = serde_json::from_str(&info).unwrap();
    info["channels"]["chat"]["history"].as_array().unwrap().last().cloned().unwrap_or_default()
}

fn wait_for(server: &Server, key: &str, expected: &str) {
    let begun = Instant::now();
    loop {
        let message = newest(server);
        let value = if key == "text" { &message["message"]["text"] } else { &message[key] };
        if value == expected {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{message}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_arrives_is_appended_as_it_comes() {
    let server = with_chat();
    let mut streaming = Streaming::start(&server, &[]);
    let id = streaming.line();
    streaming.write("Grüß".as_bytes());
    wait_for(&server, "text", "Grüß");
    // A character that arrives in two reads is whole.
    let smile = "😀".as_bytes();
    streaming.write(&smile[..2]);
    streaming.write(b"");
    streaming.write(&smile[2..]);
    wait_for(&server, "text", "Grüß😀");
    assert_eq!(newest(&server)["status"], "open");
    assert_eq!(printed(streaming.end_of_input()), "");
    let message = newest(&server);
    assert_eq!((&message["uuid"], &message["status"]), (&id.into(), &"done".into()));
}

#[test]
fn json_lines_tell_the_beginning_and_the_end() {
    let server = with_chat();
    let arguments = [
        "--json",
        "--uuid",
        ID,
        "--key",
        "answer",
        "--message",
        "{\"n\": 1.10, \"answer\": \">\"}",
    ];
    let mut streaming = Streaming::start(&server, &arguments);
    let opened: Value = serde_json::from_str(&streaming.line()).unwrap();
    assert_eq!((&opened["event"], &opened["uuid"]), (&"opened".into(), &ID.into()));
    assert_eq!((&opened["channel"], &opened["rev"]), (&"chat".into(), &0.into()));
    streaming.write(b"42");
    let ended: Value = serde_json::from_str(&printed(streaming.end_of_input())).unwrap();
    assert_eq!((&ended["event"], &ended["status"]), (&"ended".into(), &"done".into()));
    assert_eq!(newest(&server)["message"]["answer"], ">42");
}

#[test]
fn a_reader_cancels_and_the_program_ends() {
    let server = with_chat();
    let ann = printed(ask(&server, &["connect", "ann", "chat", "--quiet"]));
    let eve = printed(ask(&server, &["connect", "eve", "chat", "--quiet"]));
    let mut streaming = Streaming::start(&server, &["--cancel-by", "ann", "--quiet", "--uuid", ID]);
    streaming.write(b"a");
    wait_for(&server, "text", "a");
    let refused = ask(&server, &["cancel", eve.trim_end(), ID]);
    let hint = "the message is unknown, or its publisher does not let the user cancel it";
    assert_eq!(failed(&refused, 1).1, Some(hint));
    let cancelled = printed(ask(&server, &["cancel", ann.trim_end(), ID]));
    assert_eq!(cancelled, format!("canceled {ID}\n"));
    let again = ask(&server, &["cancel", ann.trim_end(), ID, "--quiet"]);
    assert_eq!(failed(&again, 1).0, "the message was canceled before");
    // The next word shows it, and the model that is before it in the pipe ends, too.
    streaming.write(b"b");
    assert_eq!(failed(&streaming.end(), 3).0, "the message was canceled");
    let message = newest(&server);
    assert_eq!(
        (&message["status"], &message["message"]["text"]),
        (&"cancelled".into(), &"a".into())
    );
    let again = Streaming::start(&server, &["--uuid", ID]);
    assert_eq!(failed(&again.end(), 3).0, "the message was canceled");
}

#[test]
fn a_killed_one_is_taken_over_and_a_living_one_fails() {
    let server = with_chat();
    let mut first = Streaming::start(&server, &["--quiet", "--uuid", ID]);
    first.write(b"1 ");
    wait_for(&server, "text", "1 ");
    first.signal("-KILL");
    first.end();
    let mut second = Streaming::start(&server, &["--uuid", ID]);
    assert_eq!(second.line(), ID);
    second.write(b"2 ");
    wait_for(&server, "text", "1 2 ");
    let mut third = Streaming::start(&server, &["--uuid", ID]);
    assert_eq!(third.line(), ID);
    second.write(b"lost");
    let ended = second.end();
    assert_eq!(failed(&ended, 1).0, "another producer has taken over the message");
    third.write(b"3");
    assert_eq!(printed(third.end_of_input()), "");
    wait_for(&server, "text", "1 2 3");
}

#[test]
fn what_goes_wrong_is_said_and_shown() {
    let server = with_chat();
    let mut streaming = Streaming::start(&server, &["--quiet"]);
    streaming.write(b"a\xff");
    assert_eq!(failed(&streaming.end(), 1).0, "standard input is not UTF-8");
    wait_for(&server, "status", "failed");
    wait_for(&server, "text", "a");

    let mut streaming = Streaming::start(&server, &["--quiet"]);
    streaming.write(b"a\xe2");
    wait_for(&server, "text", "a");
    assert_eq!(failed(&streaming.end_of_input(), 1).0, "standard input is not UTF-8");

    let mut streaming = Streaming::start(&server, &["--quiet"]);
    streaming.write(b"interrupted");
    wait_for(&server, "text", "interrupted");
    streaming.signal("-INT");
    assert_eq!(failed(&streaming.end(), 1).0, "interrupted");
    wait_for(&server, "status", "failed");

    let nowhere = ask(&server, &["stream", "nowhere"]);
    assert_eq!(failed(&nowhere, 1).0, "the message went nowhere: no such channel");
    assert_eq!(ask(&server, &["stream", "chat", "--append-timeout", "2h"]).code, 2);
    assert_eq!(ask(&server, &["stream"]).code, 2);
    let list = ask(&server, &["stream", "chat", "--message", "[1]"]);
    failed(&list, 2);
}

#[test]
fn listeners_see_it_grow() {
    let server = with_chat();
    let arguments =
        ["listen", "--user", "ann", "--channel", "chat", "--for", "60s", "--count", "3"];
    let mut command = command(&server, &arguments);
    let listening = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while ask(&server, &["user", "ann"]).code != 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut streaming = Streaming::start(&server, &["--uuid", ID]);
    streaming.write(b"wor");
    wait_for(&server, "text", "wor");
    printed(Ended { out: String::new(), ..streaming.end_of_input() });
    let output = listening.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> =
        text.lines().map(|line| line.split_once("Z 00000007 ").unwrap().1).collect();
    let expected =
        ["chat bot: {} (grows)", "chat appended: {\"text\":\"wor\"}", "chat appended: {} (done)"];
    assert_eq!(lines, expected);
}
