//! `doctor`: finds each planted fault, and nothing in a correct setup.

use std::process::Command;
use std::time::Duration;

use channelstream_server::Config;
use channelstream_server::config::{Scheme, Secret};
use serde_json::Value;

use crate::fault::{Fault, Proxy};
use crate::program::{end, program};
use crate::server::{SECRET, Server};

/// Starts a server with frequent heartbeats.
pub(crate) fn server() -> Server {
    server_with(|_| ())
}

pub(crate) fn server_with(change: impl FnOnce(&mut Config)) -> Server {
    Server::start_with(|config| {
        config.heartbeat_interval = Duration::from_secs(1);
        config.wake_connections_after = Duration::from_secs(1);
        change(config);
    })
}

pub(crate) fn doctor(url: &str, arguments: &[&str]) -> Command {
    let mut command =
        program(&[&["doctor", "--json", "--patience", "4s", "--url", url], arguments].concat());
    command.env("CHANNELSTREAM_SECRET", SECRET);
    command
}

/// Returns the checks with findings: status, name, and detail with advice. The exit status must agree
/// with them. The limit of open files depends on the machine and is ignored.
pub(crate) fn findings(command: &mut Command) -> Vec<[String; 3]> {
    let ended = end(command);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    let found: Vec<_> = checks
        .filter(|check| check["status"] == "fault" || check["status"] == "note")
        .map(|check| {
            let words = format!("{}; {}", text(check, "detail"), text(check, "advice"));
            [text(check, "status"), text(check, "name"), words]
        })
        .filter(|[status, name, _]| status == "fault" || name != "open files")
        .collect();
    let faults = found.iter().filter(|[status, ..]| status == "fault").count();
    assert_eq!(report["faults"], faults, "{found:?}");
    let codes: &[i32] = if faults > 0 { &[1, 3, 4] } else { &[0] };
    assert!(codes.contains(&ended.code), "{}: {found:?}", ended.code);
    found
}

/// Checks that the only finding is a fault of this check, with these words in its text.
#[track_caller]
pub(crate) fn finds(command: &mut Command, name: &str, words: &str) {
    let found = findings(command);
    assert!(
        matches!(&found[..], [[status, check, text]]
            if status == "fault" && check == name && text.contains(words)),
        "{found:?}"
    );
}

#[track_caller]
pub(crate) fn finds_nothing(command: &mut Command) {
    assert_eq!(findings(command), [] as [[String; 3]; 0]);
}

#[test]
fn nothing_is_wrong_where_all_is_well() {
    let server = server();
    finds_nothing(&mut doctor(&server.url, &["--origin", "https://shop.example.com"]));
    // A correct proxy has no findings either.
    let proxy = Proxy::start(server.port(), Fault::None);
    finds_nothing(&mut doctor(&proxy.url, &[]));

    let mut command = program(&["doctor", "--url", &server.url]);
    let ended = end(command.env("CHANNELSTREAM_SECRET", SECRET));
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    for check in ["open files", "reachable", "clock", "redirects", "signature", "idle lines"] {
        assert!(ended.out.contains(&format!("  {check}")), "{check}: {}", ended.out);
    }
    assert!(ended.out.contains("good     websocket         it opens\n"), "{}", ended.out);
    assert!(!ended.out.contains('\u{1b}'), "colors are for terminals");
}

#[test]
fn servers_that_are_not_there_or_something_else() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    finds(&mut doctor(&url, &[]), "reachable", "is the server running");
    let server = server();
    let url = format!("{}/prefix", server.url);
    finds(&mut doctor(&url, &[]), "reachable", "is the path prefix in --url right");
}

#[test]
fn secrets() {
    let server = server();
    let mut command = doctor(&server.url, &[]);
    finds(command.env("CHANNELSTREAM_SECRET", "wrong"), "signature", "use the server's setting");
    let two = server_with(|config| config.secrets.push(Secret::new("secret")));
    finds(&mut doctor(&two.url, &[]), "secret", "anyone who can reach the server");
    let mut command = doctor(&two.url, &[]);
    finds(command.env("CHANNELSTREAM_SECRET", "wrong"), "signature", "well-known default");
}

#[test]
fn addresses_without_rights() {
    let server = server_with(|config| config.allow_posting_from = "10.0.0.1".parse().unwrap());
    finds(&mut doctor(&server.url, &[]), "address", "allow_posting_from");
}

#[test]
fn clocks() {
    let server = server();
    let proxy = Proxy::start(server.port(), Fault::OldDate);
    finds(&mut doctor(&proxy.url, &[]), "clock", "ahead of the server's");
}

#[test]
fn proxies_that_drop_the_upgrade() {
    let server = server();
    let proxy = Proxy::start(server.port(), Fault::NoUpgrade);
    finds(&mut doctor(&proxy.url, &[]), "websocket", "proxy_set_header Upgrade");
}

#[test]
fn proxies_that_keep_frames_back() {
    let server = server();
    let proxy = Proxy::start(server.port(), Fault::Buffers);
    finds(&mut doctor(&proxy.url, &[]), "delivery", "proxy_buffering off");
}

#[test]
fn proxies_that_cut_idle_lines() {
    let server = server_with(|config| config.heartbeat_interval = Duration::from_secs(9));
    let proxy = Proxy::start(server.port(), Fault::CutsIdle);
    let mut command = doctor(&proxy.url, &[]);
    finds(&mut command, "idle lines", "an idle websocket was cut after");
    finds(&mut command, "idle lines", "proxy_read_timeout");
}

#[test]
fn proxies_that_speak_an_old_http() {
    let server = server();
    let proxy = Proxy::start(server.port(), Fault::OldHttp);
    finds(&mut doctor(&proxy.url, &[]), "http version", "HTTP/1.0, which has no websockets");
}

#[test]
fn https_that_is_wanted() {
    let server = server_with(|config| config.enforce_https = true);
    finds(&mut doctor(&server.url, &[]), "reachable", "enforce_https");
}

/// The server is reached from the inside, past the proxy.
#[test]
fn schemes_that_are_set() {
    let server = server_with(|config| config.http_scheme = Some(Scheme::Https));
    let found = findings(&mut doctor(&server.url, &[]));
    let [[status, check, text]] = &found[..] else { panic!("{found:?}") };
    assert_eq!((status.as_str(), check.as_str()), ("note", "redirects"));
    assert!(text.contains("http_scheme"), "{text}");
}

#[test]
fn heartbeats_that_do_not_come_in_time() {
    let server = server_with(|config| config.heartbeat_interval = Duration::from_secs(60));
    let mut command = program(&["doctor", "--json", "--patience", "1500ms", "--url", &server.url]);
    command.env("CHANNELSTREAM_SECRET", SECRET);
    finds(
        &mut command,
        "idle lines",
        "no heartbeat arrived within 1.5 s, and the connection was not cut",
    );
    finds(&mut command, "idle lines", "--patience");
}

#[test]
fn origins_without_access() {
    let server = server_with(|config| config.allow_cors = vec!["shop.example.com".to_owned()]);
    finds_nothing(&mut doctor(&server.url, &["--origin", "https://shop.example.com"]));
    let mut command = doctor(&server.url, &["--origin", "https://other.example.com"]);
    finds(&mut command, "cross-origin", "allow_cors");
}

#[test]
fn few_open_files() {
    let server = server();
    let doctor = doctor(&server.url, &[]);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("ulimit -n 100; exec \"$@\"").arg("sh").arg(doctor.get_program());
    shell.args(doctor.get_args());
    for (name, value) in doctor.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    finds(&mut shell, "open files", "LimitNOFILE");
}
