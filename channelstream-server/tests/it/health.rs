//! `/healthz`, `/readyz`, and `channelstream-server health`: what supervisors and balancers see.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};
use std::time::Duration;

use channelstream_server::Config;
use serde_json::json;

use crate::app::{App, Line, Request, Site, eventually, numbered};
use crate::process::{PROGRAM, Process, quiet};

/// Runs `channelstream-server health`.
fn health(flags: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("health");
    quiet(&mut command, flags).output().unwrap()
}

fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn probes_need_nothing_and_say_one_word() {
    let app = App::start(Config { enforce_https: true, ..Config::default() });
    for (path, word) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let answer = app.get(path);
        assert_eq!(answer.ok(), json!({"status": word}), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let forged = Request::new("GET", path).header("x-channelstream-secret", "forged");
        assert_eq!(app.send(&forged).status, 200, "{path}");
        assert_eq!(app.send(&Request::new("HEAD", path)).status, 200, "{path}");
    }
}

#[test]
fn a_server_whose_loop_stands_still_is_neither_alive_nor_ready() {
    let app = App::start(Config { threads: 3, ..Config::default() });
    app.block(Duration::from_secs(15));
    std::thread::scope(|scope| {
        for path in ["/healthz", "/readyz"] {
            let app = &app;
            scope.spawn(move || {
                let answer = app.get(path);
                assert_eq!((answer.status, answer.json()), (503, json!({"status": "stuck"})));
            });
        }
    });
    eventually("it is alive again", || app.get("/healthz").status == 200);
}

#[test]
fn nobody_is_told_that_a_server_is_ready_while_it_shuts_down() {
    let mut process = Process::start(&["--shutdown-timeout", "25", "--body-timeout", "300"]);
    let request = Request::call("/message", &numbered("room", 1)).bytes();
    let (begin, rest) = request.split_at(request.len() - 5);
    let mut posting = Line::open(process.address);
    posting.write(begin);
    let debug = Request::new("GET", "/admin/debug").signed();
    let site = Site(process.address);
    eventually("it is under way", || site.send(&debug).body.contains("requests_in_flight: 2\n"));
    process.signal("TERM");
    process.wait_for("the shutdown", |log| log.contains("shutting down").then_some(()));
    let ready = || health(&[&format!("http://{}/readyz", process.address)]).status.code();
    eventually("it is not ready", || ready() == Some(1));
    posting.write(rest);
    assert_eq!(posting.answer(false).unwrap().status, 200);
    assert_eq!(process.ended().code(), Some(0));
}

#[test]
fn the_command_asks_and_its_exit_status_says_what_it_heard() {
    let process = Process::start(&[]);
    let port = process.address.port().to_string();
    let url = format!("http://{}/readyz", process.address);
    for (flags, word) in [
        (&["--port", &port][..], "ok"),
        (&["--port", &port, "--host", "0.0.0.0", "--allow-default-secrets"], "ok"),
        (&[&url], "ready"),
    ] {
        let output = health(flags);
        assert!(output.status.success(), "{flags:?}: {output:?}");
        assert_eq!(output.stdout, format!("{{\"status\":\"{word}\"}}\n").into_bytes());
    }
    let missing = said(&health(&[&format!("http://{}/nowhere", process.address)]));
    assert!(missing.contains("404"), "{missing}");
    let tls = said(&health(&[&format!("https://{}/readyz", process.address)]));
    assert!(tls.contains("https://"), "{tls}");
    let other = said(&health(&["ftp://127.0.0.1/readyz"]));
    assert!(other.contains("http://"), "{other}");
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let nobody = said(&health(&["--port", &port.to_string()]));
    assert!(nobody.contains("refused") && nobody.contains("/healthz"), "{nobody}");
    let far = said(&health(&["http://127.0.0.1:99999/readyz"]));
    assert!(far.contains("the port of the URL"), "{far}");
    // It may be in the log of a supervisor.
    for url in ["http://me:hunter2@127.0.0.1:1/", "http://127.0.0.1:1/x?token=hunter2"] {
        let secret = said(&health(&[url]));
        assert!(!secret.contains("hunter2"), "{secret}");
    }
    // Settings that the server would refuse are told as it tells them.
    let wrong = said(&health(&["--port", &port.to_string(), "--threads", "many"]));
    assert!(wrong.contains("threads"), "{wrong}");
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/healthz", silent.local_addr().unwrap());
    let text = said(&health(&[&url]));
    assert!(text.contains("no answer within 10 s"), "{text}");
}
