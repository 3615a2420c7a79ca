//! Output has no characters that control a terminal or reverse its text, and columns are aligned by
//! display width.

use serde_json::Value;

use crate::program::{ask, command, end, printed};
use crate::server::Server;
use crate::traffic::configure;

/// Characters that reverse text, begin a control sequence, are invisible, or end a line.
const NASTY: &str = "e\u{202e}v\u{9b}31m\u{200b}i\u{2028}l\u{1b}[2J";
const SHOWN: &str = "e\\u{202e}v\\u{9b}31m\\u{200b}i\\u{2028}l\\u{1b}[2J";

/// Checks that all characters are visible, and no text breaks its line.
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
    // Each run receives the event as catch-up.
    let id = connected["conn_id"].as_str().unwrap();
    for form in ["--json", "--raw", "--quiet"] {
        printed(ask(&server, &["publish", NASTY, NASTY, "--user", NASTY, "--quiet"]));
        let ended = end(&mut command(&server, &["listen", id, form, "--count", "1"]));
        is_harmless(&ended.out);
        assert!(
            ended.out.contains("u{202e}") || ended.out.contains("\\u202e"),
            "{form}: {ended:?}"
        );
        if form != "--quiet" {
            let line = ended.out.lines().last().unwrap();
            let event: Value = serde_json::from_str(line).unwrap();
            let frame = if form == "--json" { &event["frame"] } else { &event };
            assert_eq!(frame["message"]["text"], NASTY, "{form}");
        }
    }
    // The error of a name that the server refuses, and that of a name that it does not know.
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
        // The display width of the characters.
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
