//! A disk that is full, and has space again: the limit of a file's size stands for it.

use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tempfile::NamedTempFile;

use crate::app::{Frame, Request, Site, eventually, numbered};
use crate::journal::{Journal, keep_all, kept};
use crate::process::{PROGRAM, Process, ended, quiet};

/// The limit, in the blocks of the shell.
const LIMIT: u32 = 200;

/// Returns the processor time that a process has used.
fn ticks_of_cpu(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // Behind the name, which may have spaces, these are the 12th and 13th.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// Starts a server without space, which has to end. Returns what it said.
fn refused_behind(limit: &str, flags: &[&str]) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limit}; exec \"$@\""), "sh", PROGRAM]);
    let output = NamedTempFile::new().unwrap();
    let mut child = quiet(&mut shell, flags).stderr(output.reopen().unwrap()).spawn().unwrap();
    let said = || std::fs::read_to_string(output.path()).unwrap();
    assert_eq!(ended(&mut child, said).code(), Some(1), "{}", said());
    said()
}

#[test]
fn without_space_writes_are_refused_and_sockets_live_until_there_is_space() {
    let journal = Journal::new();
    let flags = journal.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let limit = format!("trap '' XFSZ; ulimit -S -f {LIMIT}");
    let server = Process::start_behind(&limit, &flags);
    let site = Site(server.address);
    keep_all(site, "news");
    let connection = site.connect("ann", &["news"]);
    let mut socket = site.socket(&connection);
    let mut answered = 0;
    let text = "x".repeat(1000);
    let refusal = loop {
        let message = json!([{"user": "tests", "channel": "news",
            "message": {"n": answered, "text": text}}]);
        let answer = site.send(&Request::call("/message", &message));
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
        assert!(answered < 10_000, "there is no limit");
    };
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert_eq!(refusal.json()["message"], "the journal's disk is full");
    assert_eq!(refusal.json()["outcome"], "not_done");
    let ready = site.send(&Request::new("GET", "/readyz"));
    assert_eq!((ready.status, ready.json()), (503, json!({"status": "no_space"})));
    assert_eq!(refusal.header("retry-after"), Some("1"));
    assert_eq!(kept(site, "news").len() as u64, answered, "what is there is shown");
    let heard = socket.events(usize::try_from(answered).unwrap());
    assert_eq!(crate::app::numbers(&heard).len() as u64, answered);
    assert!(server.log().contains("there is no space for the journal"), "{}", server.log());
    // It is still full, and the socket still open.
    assert_eq!(site.send(&Request::call("/message", &numbered("news", 0))).status, 503);
    let before = ticks_of_cpu(server.id());
    // Nothing but a heartbeat may come.
    let frame = socket.next_within(Duration::from_secs(2));
    assert!(matches!(frame, None | Some(Frame::Heartbeat)), "{frame:?}");
    // In two seconds, of a hundred ticks each.
    assert!(ticks_of_cpu(server.id()) - before < 50, "it tries again and again");

    let id = server.id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &id, "--fsize=unlimited"]).status();
    assert!(raised.unwrap().success());
    eventually("writes are accepted again", || {
        site.send(&Request::call("/message", &numbered("news", answered))).status == 200
    });
    assert_eq!(crate::app::numbers(&[socket.event()]), [answered]);
    drop(server);
    // Less than is there already.
    let said = refused_behind("trap '' XFSZ; ulimit -S -f 10", &flags);
    assert!(said.contains("beginning of the journal: the journal's disk is full"), "{said}");
    let server = journal.start(&[]);
    let kept = kept(Site(server.address), "news");
    assert!(kept.into_iter().eq(0..=answered), "what was refused is not there");
}
