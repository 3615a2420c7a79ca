//! `bench`: its report, the errors that it finds, and what it leaves behind.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fault::{Fault, Proxy};
use crate::program::{ask, ask_until_it_fails, command, end, failed, printed, program};
use crate::server::{SECRET, Server};

#[test]
fn each_message_reaches_everybody() {
    let server = Server::start();
    let arguments =
        ["bench", "--listeners", "5", "--rate", "40", "--for", "500ms", "--size", "5000"];
    let report = printed(ask(&server, &[&arguments[..], &["--json"]].concat()));
    let report: Value = serde_json::from_str(&report).unwrap();
    for (key, count) in [
        ("listeners", 5),
        ("wanted", 20),
        ("messages", 20),
        ("deliveries", 100),
        ("lost", 0),
        ("doubled", 0),
        ("reordered", 0),
        ("interruptions", 0),
    ] {
        assert_eq!(report[key], count, "{key}: {report}");
    }
    let time = |name: &str, key: &str| report[name][key].as_f64().unwrap();
    assert!(time("latency_ms", "p50") > 0.0 && time("connect_ms", "p50") > 0.0, "{report}");
    assert!(time("latency_ms", "p50") <= time("latency_ms", "max"), "{report}");
    // Ended connections are removed within a second.
    failed(&ask_until_it_fails(&server, &["user", "channelstream-bench"]), 1);
    assert_eq!(remembered(&server), 1, "users are kept for a day: there is but one");

    let table = printed(ask(&server, &arguments));
    assert!(table.contains("\ndeliveries     100, ") && table.contains("\nlost           0\n"));
    assert_eq!(printed(ask(&server, &[&arguments[..], &["--quiet"]].concat())), "");
}

#[test]
fn what_goes_wrong_on_the_way_is_found() {
    let server = Server::start();
    // Message 1 arrives again instead of 3, and 6 arrives before 5 and 4.
    let proxy = Proxy::start(server.port(), Fault::Renumbers);
    let arguments = ["bench", "--listeners", "2", "--rate", "20", "--for", "500ms", "--json"];
    let ended = end(program(&arguments)
        .env("CHANNELSTREAM_URL", &proxy.url)
        .env("CHANNELSTREAM_SECRET", SECRET));
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert_eq!(ended.err, "channelstream: 2 deliveries lost, 2 doubled, 4 reordered\n");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&report["lost"], &report["messages"]), (&2.into(), &10.into()), "{report}");
}

#[test]
fn who_interrupts_it_leaves_nobody_behind() {
    let server = Server::start();
    let mut running = command(&server, &["bench", "--listeners", "3", "--for", "60s"]);
    let child = running.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while ask(&server, &["user", "channelstream-bench"]).code != 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody has come");
        sleep(Duration::from_millis(50));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "channelstream: interrupted\n");
    failed(&ask_until_it_fails(&server, &["user", "channelstream-bench"]), 1);
}

/// Returns the number of users that the server remembers, connected or not.
fn remembered(server: &Server) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = channelstream_client::Client::new(&server.url, SECRET).unwrap();
    runtime.block_on(client.admin_stats()).unwrap().remembered_user_count
}

#[test]
fn it_is_bounded() {
    let server = Server::start();
    let ended = ask(&server, &["bench", "--listeners", "10000", "--rate", "10000"]);
    assert_eq!(failed(&ended, 2).0, "more than 10000000 deliveries");
    for arguments in
        [["--listeners", "0"], ["--rate", "0"], ["--size", "100001"], ["--for", "soon"]]
    {
        assert_eq!(ask(&server, &[&["bench"], &arguments[..]].concat()).code, 2, "{arguments:?}");
    }
    let ended = end(command(&server, &["bench"]).env("CHANNELSTREAM_SECRET", "wrong"));
    assert_eq!(failed(&ended, 1).0, "POST /connect was refused with 401 Unauthorized");
}
