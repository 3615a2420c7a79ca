//! `top` in a terminal: its output, its keys, and the restored terminal.

use channelstream_client::{Client, Configure};

use crate::program::{ask, command, end, failed, printed, published};
use crate::server::{SECRET, Server};
use crate::terminal::Terminal;
use crate::traffic::configure;

/// Returns the names in the first column of the table.
fn names(lines: &[String]) -> Vec<&str> {
    let rows = lines.iter().skip(4).take(19);
    rows.filter_map(|line| line.split("  ").next()).filter(|name| !name.is_empty()).collect()
}

#[test]
fn channels_are_sorted_filtered_and_looked_at() {
    let server = Server::start();
    configure(&server, &["chat", "news", "old news"]);
    printed(ask(&server, &["connect", "ann", "news", "--quiet"]));
    published(ask(&server, &["publish", "news", "Hello, \u{1b}[2J!", "--quiet"]));
    let mut terminal = Terminal::start(&server, "top --interval 200ms", &[]);
    terminal.wait_until(|lines| names(lines) == ["news", "chat", "old news"]);
    terminal.wait_until(|lines| lines[1].starts_with("channels 3   users 1   listeners 0"));
    terminal.wait_until(|lines| {
        lines[2].starts_with("messages 0.0/s   deliveries 0.0/s   events 0.0/s")
    });
    terminal.press("n");
    terminal.wait_until(|lines| names(lines) == ["chat", "news", "old news"]);
    terminal.press("r");
    terminal.wait_until(|lines| names(lines) == ["old news", "news", "chat"]);

    printed(ask(&server, &["connect", "bob", "fresh", "--quiet"]));
    terminal.wait_until(|lines| names(lines) == ["old news", "news", "fresh", "chat"]);
    terminal.press("/NEWS\r");
    terminal.wait_until(|lines| names(lines) == ["old news", "news"]);
    terminal.wait_for("/NEWS (2 of 4)");
    terminal.press("\u{1b}[B\r");
    terminal.wait_for("CHANNEL news");
    terminal.wait_for("system: {\"text\":\"Hello, ");
    terminal.wait_until(|lines| lines.iter().any(|line| line == "MEMBERS (1)"));
    terminal.wait_until(|lines| lines.iter().any(|line| line == "ann"));
    terminal.press("\u{1b}");
    terminal.wait_until(|lines| names(lines) == ["old news", "news"]);
    terminal.press("\u{1b}");
    terminal.wait_until(|lines| names(lines).len() == 4);
    terminal.press("\t");
    terminal.wait_until(|lines| names(lines) == ["ann", "bob"]);
    assert!(terminal.written().contains("\u{1b}[38;5;6;"), "headings are colored");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn the_length_of_histories_is_shown() {
    let server = Server::start();
    configure(&server, &["news", "quiet"]);
    for text in ["one", "two", "three"] {
        printed(ask(&server, &["publish", "news", text, "--quiet"]));
    }
    let mut terminal = Terminal::start(&server, "top --interval 100ms", &[]);
    // The columns are users, connections and history.
    let row = |lines: &[String], name: &str| -> Vec<String> {
        let line = lines.iter().find(|line| line.starts_with(name)).cloned().unwrap_or_default();
        line.split_whitespace().skip(1).take(3).map(str::to_owned).collect()
    };
    terminal.wait_until(|lines| row(lines, "news") == ["0", "0", "3"]);
    terminal.wait_until(|lines| row(lines, "quiet") == ["0", "0", "0"]);
    printed(ask(&server, &["publish", "news", "four", "--quiet"]));
    terminal.wait_until(|lines| row(lines, "news") == ["0", "0", "4"]);
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn ten_thousand_channels_are_no_burden() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(&server.url, SECRET).unwrap();
    for thousand in 0..10 {
        let names = (0..1000).map(|number| format!("channel-{:05}", thousand * 1000 + number));
        let channels = names.map(|name| (name, None)).collect();
        runtime.block_on(client.configure(Configure { channels })).unwrap();
    }
    let mut terminal = Terminal::start(&server, "top", &[("NO_COLOR", "1")]);
    terminal.wait_for("channels 10,000");
    terminal.wait_until(|lines| lines[4].starts_with("channel-00000"));
    terminal.press("\u{1b}[F");
    terminal.wait_until(|lines| lines[22].starts_with("channel-09999"));
    terminal.press("/777");
    terminal.wait_for("/777▏ 19 of 10,000");
    assert!(!terminal.written().contains("[38;5;"), "there are no colors");
    // Ctrl-C also ends `top` while a filter is typed, as a key of raw mode.
    terminal.press("\u{3}");
    terminal.ends_with(0);
}

#[test]
fn it_waits_for_a_server_that_is_gone_and_leaves_when_it_is_told_to() {
    let server = Server::start();
    let port = server.port();
    configure(&server, &["news"]);
    let terminal = Terminal::start(&server, "top --interval 100ms", &[]);
    terminal.wait_until(|lines| names(lines) == ["news"]);
    drop(server);
    terminal.wait_until(|lines| {
        lines[2].starts_with("stats of ") && lines[2].contains("cannot reach http://")
    });
    terminal.wait_until(|lines| names(lines) == ["news"]);
    let server = Server::start_with(|config| config.port = port);
    configure(&server, &["chat"]);
    terminal.wait_until(|lines| names(lines) == ["chat"] && lines[2].starts_with("messages"));
    terminal.signal("TERM");
    terminal.ends_with(0);
}

#[test]
fn it_draws_on_terminals_and_about_servers_only() {
    let server = Server::start();
    let ended = ask(&server, &["top"]);
    let (what, hint) = failed(&ended, 2);
    assert_eq!(what, "top draws on a terminal, and this is none");
    assert_eq!(hint, Some("for programs there is `channelstream info --json`"));
    assert_eq!(end(&mut command(&server, &["top", "--interval", "1ms"])).code, 2);

    let terminal = Terminal::start(&server, "top", &[("CHANNELSTREAM_SECRET", "wrong")]);
    terminal.wait_for("GET /admin/stats.json was refused with 401");
    terminal.ends_with(1);
    assert!(!terminal.written().contains("\u{1b}[?1049h"), "no screen was opened");
}
