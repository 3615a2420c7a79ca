//! `listen`: events as they arrive, for people and programs.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::program::{ask, ask_until_it_fails, command, failed, printed, published, run};
use crate::server::Server;

/// A listener in the background.
struct Listening {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listening {
    /// Starts the listener and waits until it listens.
    fn start(server: &Server, arguments: &[&str]) -> Self {
        let arguments = [&["listen", "--for", "60s"], arguments].concat();
        let mut command = command(server, &arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn end(mut self) -> (Option<i32>, String) {
        assert!(self.lines.next().is_none());
        let output = self.child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn frames_as_json_lines_until_there_are_enough() {
    let server = Server::start();
    let arguments = ["--user", "ann", "--channel", "news", "--json", "--count", "2"];
    let mut listening = Listening::start(&server, &arguments);
    let opened = listening.json();
    assert_eq!((&opened["event"], &opened["transport"]), (&"opened".into(), &"websocket".into()));
    published(ask(&server, &["publish", "news", "{\"n\": 1.10}"]));
    published(ask(&server, &["publish", "--to-user", "ann", "psst"]));
    let line = listening.line();
    assert!(line.starts_with("{\"event\":\"frame\",\"frame\":{"), "{line}");
    assert!(line.contains("1.10"), "as it was sent: {line}");
    assert_eq!(listening.json()["frame"]["message"]["text"], "psst");
    assert_eq!(listening.end(), (Some(0), String::new()));
    failed(&ask_until_it_fails(&server, &["user", "ann"]), 1);
}

#[test]
fn frames_for_people_and_as_they_were_sent() {
    let server = Server::start();
    let id = printed(ask(&server, &["connect", "ann", "news", "--quiet"]));
    let id = id.trim_end();
    // Both receive it live or as catch-up.
    let sent = published(ask(&server, &["publish", "news", "a\u{1b}b", "--user", "bob"]));
    let mut listening = Listening::start(&server, &[id, "--count", "2"]);
    let line = listening.line();
    let short = &sent.trim_end()[28..];
    let start = format!("Z {short} news bob: {{\"text\":\"a");
    assert!(line.contains(&start) && !line.contains('\u{1b}'), "{line}");
    printed(ask(&server, &["delete", sent.trim_end(), "news"]));
    assert!(listening.line().ends_with(&format!("Z {short} news deleted")));
    let (code, said) = listening.end();
    assert_eq!((code, said), (Some(0), format!("listening on {id} by websocket\n")));

    let mut listening = Listening::start(&server, &[id, "--raw", "--quiet"]);
    published(ask(&server, &["publish", "news", "{\"n\": 1.10}"]));
    let frame = listening.line();
    assert!(frame.starts_with('{') && frame.contains("1.10"), "{frame}");
    printed(ask(&server, &["disconnect", id]));
    assert_eq!(listening.end(), (Some(0), String::new()));
}

/// The output shows which message was edited, and when.
#[test]
fn lines_begin_with_time_and_id() {
    let server = Server::start();
    let mut listening =
        Listening::start(&server, &["--user", "ann", "--channel", "news", "--count", "5"]);
    ask_until_it_is_there(&server, "ann");
    let publish = |text: &str| printed(ask(&server, &["publish", "news", text]));
    let ids = [publish("one"), publish("two")].map(|id| id.trim_end().to_owned());
    let [one, two] = &ids;
    printed(ask(&server, &["edit", one, "news", "uno"]));
    printed(ask(&server, &["edit", two, "news", "--text", "2", "--user", "bob"]));
    printed(ask(&server, &["delete", one, "news"]));
    let texts = [
        (one, "news system: {\"text\":\"one\"}"),
        (two, "news system: {\"text\":\"two\"}"),
        (one, "news edited: {\"text\":\"uno\"}"),
        (two, "news edited: bob: {\"text\":\"2\"}"),
        (one, "news deleted"),
    ];
    for (id, text) in texts {
        let line = listening.line();
        let mut parts = line.splitn(3, ' ');
        let (time, short, rest) =
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        assert!(time.len() >= 20 && time.starts_with("20") && time.ends_with('Z'), "{line}");
        assert_eq!((short, rest), (&id[28..], text), "{line}");
    }
    assert_eq!(listening.end().0, Some(0));
}

/// Waits until this user is connected.
fn ask_until_it_is_there(server: &Server, user: &str) {
    while ask(server, &["user", user]).code != 0 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn it_comes_back_when_the_server_does() {
    let server = Server::start();
    let port = server.port();
    let mut listening =
        Listening::start(&server, &["--user", "ann", "--channel", "news", "--json"]);
    let first = listening.json()["conn_id"].clone();
    drop(server);
    let server = Server::start_with(|config| config.port = port);
    // The old connection may seem to open until the server reports that it does not know it.
    let mut opened = Value::Null;
    loop {
        let event = listening.json();
        match event["event"].as_str().unwrap() {
            "opened" => opened = event,
            "gap" if event["channel"] == "news" => {
                assert_eq!(event["reason"], "epoch");
                break;
            }
            "gap" | "interrupted" => {}
            _ => panic!("{event}"),
        }
    }
    assert_ne!(opened["conn_id"], first);
    published(ask(&server, &["publish", "news", "again"]));
    let frame = loop {
        let event = listening.json();
        match event["event"].as_str().unwrap() {
            "gap" => assert_eq!(event["reason"], "epoch"),
            _ => break event["frame"].clone(),
        }
    };
    assert_eq!(frame["message"]["text"], "again");
    let pid = listening.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(listening.end(), (Some(0), String::new()));
    failed(&ask_until_it_fails(&server, &["user", "ann"]), 1);
}

#[test]
fn a_cursor_goes_on_where_another_run_ended() {
    let server = Server::start();
    let id = printed(ask(&server, &["connect", "bob", "life", "--quiet"]));
    let by_id = [id.trim_end(), "--json", "--count", "1"];
    let mut listening = Listening::start(&server, &by_id);
    listening.json();
    published(ask(&server, &["publish", "life", "one"]));
    let cursor = listening.json()["frame"]["seq"].as_str().unwrap().to_owned();
    assert_eq!(listening.end().0, Some(0));
    published(ask(&server, &["publish", "life", "two"]));
    for _ in 0..2 {
        let arguments = [&by_id[..], &["--since", &cursor]].concat();
        let mut listening = Listening::start(&server, &arguments);
        listening.json();
        assert_eq!(listening.json()["frame"]["message"]["text"], "two");
        assert_eq!(listening.end().0, Some(0));
    }
}

#[test]
fn ends_that_are_failures() {
    let server = Server::start();
    let unknown = "00000000-0000-0000-0000-000000000007";
    let ended = ask(&server, &["listen", unknown, "--for", "30s", "--quiet"]);
    assert_eq!(failed(&ended, 1).0, "the server does not know the connection");
    let ended =
        ask(&server, &["listen", "--user", "ann", "--for", "50ms", "--count", "1", "--quiet"]);
    assert_eq!(failed(&ended, 1).0, "only 0 of 1 events arrived in time");
    let arguments = ["listen", "--user", "ann", "--secret-file", "/no/such/file"];
    failed(&ask(&server, &arguments), 1);
    let ended = run(&["listen", "--user", "ann", "--url", &server.url]);
    assert_eq!(failed(&ended, 1).0, "POST /connect was refused with 401 Unauthorized");
}
