//! `publish --file`: many messages, and the report about them.

use std::fs;
use std::io::{Write as _, pipe};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::program::{ask, command, end, failed, printed, program, published};
use crate::server::Server;
use crate::traffic::{configure, history};

fn file(lines: impl IntoIterator<Item = String>) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let text: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
    fs::write(&file, text).unwrap();
    file
}

fn numbered(count: usize) -> NamedTempFile {
    file((1..=count).map(|n| format!("{{\"n\": {n}}}")))
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

fn report(out: &str) -> Value {
    serde_json::from_str(out).unwrap()
}

/// Returns the numbers that the channel keeps, which are at most the last ten.
fn kept(server: &Server) -> Vec<u64> {
    let history = history(server, "news");
    let messages = history.as_array().unwrap().iter();
    messages.map(|message| message["message"]["n"].as_u64().unwrap()).collect()
}

fn send_signal(child: &Child, name: &str) {
    let killed = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
}

#[test]
fn all_lines_of_a_file() {
    let server = Server::start();
    configure(&server, &["news"]);
    let numbers = numbered(2500);
    let out = published(ask(&server, &["publish", "news", "--file", path(&numbers), "--json"]));
    let report = report(&out);
    assert_eq!((&report["complete"], &report["lines"]), (&true.into(), &2500.into()), "{report}");
    assert_eq!((&report["messages"], &report["in_doubt"]), (&2500.into(), &0.into()));
    assert!(report["requests"].as_u64().unwrap() >= 3);
    assert_eq!(kept(&server), (2491..=2500).collect::<Vec<_>>());

    let ended = ask(&server, &["publish", "news", "--file", path(&numbers), "--skip", "2498"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
    assert!(ended.err.starts_with("2500 lines done: 2 messages in "), "{}", ended.err);
    let arguments = ["publish", "news", "--quiet", "--file", path(&numbers), "--skip", "2500"];
    assert_eq!(printed(ask(&server, &arguments)), "");
    let ended = ask(&server, &["publish", "news", "--file", path(&numbers), "--skip", "2501"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("there are only 2500 lines"), "{}", ended.err);
}

#[test]
fn whole_messages_from_standard_input() {
    let server = Server::start();
    configure(&server, &["news"]);
    let mut command = command(&server, &["publish", "--file", "-", "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let first = r#"{"channel": "news", "user": "ann", "message": {"n": 1}}"#;
    writeln!(input, "{first}\n\n").unwrap();
    // The available messages are sent, although more may follow.
    let begun = Instant::now();
    while kept(&server) != [1] {
        assert!(begun.elapsed() < Duration::from_secs(20), "it waits for more");
        thread::sleep(Duration::from_millis(20));
    }
    writeln!(input, r#"{{"user": "ann", "message": {{"n": 2}}}}"#).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let report = report(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!((&report["lines"], &report["messages"]), (&4.into(), &1.into()), "{report}");
    assert_eq!(report["dropped"], 1, "it had no address");
    assert_eq!(report["nowhere"], 0, "{report}");
}

#[test]
fn messages_to_nobody_are_counted() {
    let server = Server::start();
    let lines = file(["{\"n\": 1}", "{\"n\": 2}"].map(str::to_owned));
    let ended = ask(&server, &["publish", "nosuch", "--file", path(&lines)]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains(", 2 to channels or users that do not exist, "), "{}", ended.err);
}

#[test]
fn an_invalid_line_ends_the_command_and_is_named() {
    let server = Server::start();
    configure(&server, &["news"]);
    for (invalid, text) in
        [("{\"n\": 3", "line 3: not a JSON object"), ("[3]", "line 3: not a JSON object")]
    {
        let lines = ["{\"n\": 1}", "{\"n\": 2}", invalid, "{\"n\": 4}"].map(str::to_owned);
        let lines = file(lines);
        let ended = ask(&server, &["publish", "news", "--file", path(&lines)]);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""));
        let said: Vec<_> = ended.err.lines().collect();
        assert!(said[0].starts_with("2 lines done: 2 messages in "), "{}", ended.err);
        assert_eq!(said[1..], ["to resume: --skip 2", &format!("channelstream: {text}")]);
    }
    // The server's field errors count from the request's first message.
    let message = |user: &str| format!(r#"{{"channel": "news", "user": "{user}"}}"#);
    let lines = file([message("ann"), String::new(), message(""), message("bob")]);
    let ended = ask(&server, &["publish", "--file", path(&lines), "--json"]);
    let report = report(&ended.out);
    assert_eq!(report["complete"], false);
    assert!(report["lines"].as_u64().unwrap() < 3, "{report}");
    assert!(
        ended.err.starts_with("channelstream: line 3: POST /message was refused"),
        "{}",
        ended.err
    );
    let lines = file([r#"{"chanel": "news"}"#.to_owned()]);
    let ended = ask(&server, &["publish", "--file", path(&lines)]);
    assert!(ended.err.contains("line 1: not a message: unknown field `chanel`"), "{}", ended.err);
}

#[test]
fn a_rate_is_kept() {
    let server = Server::start();
    configure(&server, &["news"]);
    let numbers = numbered(30);
    let begun = Instant::now();
    let arguments = ["publish", "news", "--file", path(&numbers), "--rate", "50", "--json"];
    let report = report(&printed(ask(&server, &arguments)));
    assert_eq!(report["messages"], 30);
    assert!(
        begun.elapsed() >= Duration::from_millis(490),
        "five messages at a time, a tenth of a second apart"
    );
}

#[test]
fn an_interrupt_reports_how_to_resume() {
    for signal in ["-INT", "-TERM"] {
        let server = Server::start();
        configure(&server, &["news"]);
        let numbers = numbered(1000);
        let arguments = ["publish", "news", "--file", path(&numbers), "--rate", "10", "--json"];
        let mut command = command(&server, &arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while kept(&server).len() < 3 {
            assert!(begun.elapsed() < Duration::from_secs(20), "nothing is sent");
            thread::sleep(Duration::from_millis(20));
        }
        send_signal(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stderr, b"channelstream: interrupted\n");
        let report = report(std::str::from_utf8(&output.stdout).unwrap());
        assert_eq!((&report["complete"], &report["in_doubt"]), (&false.into(), &0.into()));
        let lines = report["lines"].as_u64().unwrap();
        assert_eq!(kept(&server).last(), Some(&lines), "exactly these were accepted");
    }
}

#[test]
fn a_server_that_falls_silent_leaves_doubt() {
    // The server does not answer the request. A second interrupt does not wait for it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let numbers = numbered(7);
    let arguments = ["publish", "news", "--file", path(&numbers), "--url", &url];
    let mut child = program(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let _stream = silent.accept().unwrap();
    // Two interrupts at the same time count as one.
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(8), "it waits for the answer");
        send_signal(&child, "-INT");
        thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(" may have been accepted; "), "{said}");
    assert!(said.contains("to resume: --skip 0\nchannelstream: interrupted"), "{said}");
}

#[test]
fn the_report_is_written_even_if_nobody_reads_the_output() {
    let server = Server::start();
    let numbers = numbered(3);
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let arguments = ["publish", "news", "--file", path(&numbers), "--json"];
    let ended = end(command(&server, &arguments).stdout(writer));
    assert_eq!(ended.code, 0);
    assert!(ended.err.starts_with("3 lines done: 3 messages in "), "{}", ended.err);
}

#[test]
fn missing_files_are_reported() {
    let ended = end(&mut program(&["publish", "news", "--file", "/no/such/file"]));
    assert!(failed(&ended, 1).0.starts_with("cannot read messages from /no/such/file: No such"));
    let ended = end(&mut program(&["publish", "news", "text", "--file", "/no/such/file"]));
    assert_eq!(failed(&ended, 2).0, "--file and a message exclude each other");
}

/// Messages have times with any zone or none. All are shown in UTC.
#[test]
fn times_of_any_zone_are_shown_in_utc() {
    let server = Server::start();
    configure(&server, &["news"]);
    let lines = file(["07:08:00+02:00", "05:08:00Z", "05:08:00"].map(|time| {
        let rest = r#""channel": "news", "user": "ann", "message": {}"#;
        format!(r#"{{"timestamp": "2024-05-06T{time}", {rest}}}"#)
    }));
    printed(ask(&server, &["publish", "--file", path(&lines), "--quiet"]));
    let shown = printed(ask(&server, &["channel", "news"]));
    let times: Vec<_> = shown.lines().filter(|line| line.contains("  ann  ")).collect();
    assert_eq!(times.len(), 3, "{shown}");
    for line in times {
        assert!(line.contains("  2024-05-06T05:08:00Z  ann"), "{shown}");
    }

    let id = printed(ask(&server, &["connect", "bob", "news", "--quiet"]));
    let mut listening =
        command(&server, &["listen", id.trim_end(), "--count", "1", "--for", "60s"]);
    let listening = listening.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The message arrives live or as catch-up.
    let lines =
        file([r#"{"timestamp": "2024-05-06T07:08:00+02:00", "channel": "news", "message": {}}"#
            .to_owned()]);
    printed(ask(&server, &["publish", "--file", path(&lines), "--quiet"]));
    let output = listening.wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(output.starts_with("2024-05-06T05:08:00Z "), "{output}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let server = Server::start();
    configure(&server, &["news"]);
    let marked = file(["\u{feff}{\"n\": 1}\r".to_owned()]);
    let ended = ask(&server, &["publish", "news", "--file", path(&marked)]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.starts_with("1 line done: 1 message in 1 request, "), "{}", ended.err);
    let foreign = file([]);
    fs::write(&foreign, b"\xff\xfe{\0}\0\n\0").unwrap();
    let ended = ask(&server, &["publish", "news", "--file", path(&foreign)]);
    assert_eq!(ended.code, 1);
    let text = "channelstream: line 1: it is UTF-16 by its byte order mark; save it as UTF-8\n";
    assert!(ended.err.contains(text), "{}", ended.err);
}
