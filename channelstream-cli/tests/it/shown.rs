//! Nothing that a terminal would obey, and nothing that turns round what it shows, is printed;
//! columns stand as terminals show them.

use serde_json::Value;

use crate::program::{ask, command, end, printed};
use crate::server::Server;
use crate::traffic::configure;

/// Turns text round, begins a control sequence, is seen by nobody, ends a line.
const NASTY: &str = "e\u{202e}v\u{9b}31m\u{200b}i\u{2028}l\u{1b}[2J";
const SHOWN: &str = "e\\u{202e}v\\u{9b}31m\\u{200b}i\\u{2028}l\\u{1b}[2J";

/// Whether all of it can be seen, and each line is one.
#[track_caller]
fn is_harmless(text: &str) {
    let bad = |c: char| {
        c != '\n' && c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
    };
    assert!(!text.contains(bad), "{text:?}");
}

#[test]
fn names_and_messages_of_others_do_nothing_to_the_terminal() {
    let server = Server::start();
    configure(&server, &[NASTY, "plain"]);
    let state = format!("mood={NASTY}");
    let connect = ["connect", NASTY, NASTY, "--state", &state, "--public", "mood"];
    let shown = printed(ask(&server, &connect));
    is_harmless(&shown);
    assert!(shown.contains(SHOWN), "{shown}");
    let connected = printed(ask(&server, &[&connect[..], &["--json"]].concat()));
    is_harmless(&connected);
    let connected: Value = serde_json::from_str(&connected).unwrap();
    assert_eq!(connected["username"], NASTY, "JSON says the same by its own escapes");
    printed(ask(&server, &["publish", NASTY, NASTY, "--user", NASTY, "--quiet"]));
    for arguments in [
        &["info"][..],
        &["info", NASTY, "--json"],
        &["channel", NASTY],
        &["channel", NASTY, "--json"],
        &["user", NASTY],
        &["user", NASTY, "--json"],
        &["user-state", NASTY, &state],
        &["user-state", NASTY, &state, "--json"],
    ] {
        let shown = printed(ask(&server, arguments));
        is_harmless(&shown);
        assert!(shown.contains("u{202e}") || shown.contains("\\u202e"), "{arguments:?}: {shown}");
    }
    // Caught up, each time anew.
    let id = connected["conn_id"].as_str().unwrap();
    for form in ["--json", "--raw", "--quiet"] {
        printed(ask(&server, &["publish", NASTY, NASTY, "--user", NASTY, "--quiet"]));
        let heard = end(&mut command(&server, &["listen", id, form, "--count", "1"]));
        is_harmless(&heard.out);
        assert!(
            heard.out.contains("u{202e}") || heard.out.contains("\\u202e"),
            "{form}: {heard:?}"
        );
        if form != "--quiet" {
            let line = heard.out.lines().last().unwrap();
            let event: Value = serde_json::from_str(line).unwrap();
            let frame = if form == "--json" { &event["frame"] } else { &event };
            assert_eq!(frame["message"]["text"], NASTY, "{form}");
        }
    }
    // What the server says of a name that it refuses, and what we say of one it doesn't know.
    for arguments in [&["user", "\u{202e}"][..], &["info", "\u{9b}"], &["disconnect", "\u{202e}"]] {
        let ended = ask(&server, arguments);
        assert_ne!(ended.code, 0);
        if arguments[0] != "disconnect" {
            is_harmless(&ended.err);
        }
    }
}

#[test]
fn columns_stand_below_each_other_whatever_the_letters() {
    let server = Server::start();
    configure(&server, &["日本語", "e\u{301}clair", "plain"]);
    let table = printed(ask(&server, &["info"]));
    let cells = |line: &str| -> usize {
        let before = line.split_once("  0 ").map_or(line, |(before, _)| before);
        // As wide as a terminal shows them.
        before
            .chars()
            .map(|c| {
                if c == '\u{301}' {
                    0
                } else if c > '\u{2e80}' {
                    2
                } else {
                    1
                }
            })
            .sum()
    };
    let widths: Vec<_> = table.lines().skip(1).map(cells).collect();
    assert!(widths.len() == 3 && widths.iter().all(|width| *width == widths[0]), "{table}");
}
