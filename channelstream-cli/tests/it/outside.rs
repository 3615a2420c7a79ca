//! The surroundings of the program: proxies of the environment, incomplete addresses, and ports with
//! another protocol.

use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::doctor::{findings, server};
use crate::program::{Ended, end, failed, printed, program};
use crate::server::{SECRET, Server};

/// The address of a proxy that is not running.
fn dead_proxy() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://user:password@{}", socket.local_addr().unwrap())
}

fn by(proxy: &str, url: &str, arguments: &[&str]) -> Command {
    let mut command = program(&[arguments, &["--url", url]].concat());
    command.env("CHANNELSTREAM_SECRET", SECRET);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"] {
        command.env(name, proxy);
    }
    command
}

#[test]
fn this_machine_is_not_asked_through_a_proxy() {
    let (server, proxy) = (server(), dead_proxy());
    let named = server.url.replace("127.0.0.1", "localhost");
    for url in [&server.url, &named] {
        printed(end(&mut by(&proxy, url, &["info", "--quiet"])));
    }
    let id = printed(end(&mut by(&proxy, &server.url, &["connect", "ann", "--quiet"])));
    printed(end(&mut by(&proxy, &server.url, &["publish", "--to-user", "ann", "x", "--quiet"])));
    for arguments in [&["listen", id.trim_end()][..], &["listen", "--user", "bob"]] {
        let arguments = [arguments, &["--for", "2s", "--json"]].concat();
        let output = printed(end(&mut by(&proxy, &server.url, &arguments)));
        assert!(output.contains("websocket") && !output.contains("interrupted"), "{output}");
    }
    let arguments = ["doctor", "--json", "--patience", "4s"];
    assert_eq!(findings(&mut by(&proxy, &server.url, &arguments)), [] as [[String; 3]; 0]);
}

#[test]
fn a_proxy_that_is_in_between_is_named() {
    let proxy = dead_proxy();
    let shown = proxy.replace("user:password@", "");
    let ended = end(&mut by(&proxy, "http://push.example.com", &["info"]));
    let (what, hint) = failed(&ended, 1);
    let through = format!("(through the proxy {shown} of the environment)");
    assert!(what.contains(&through) && !ended.err.contains("password"), "{}", ended.err);
    assert!(hint.unwrap().contains("NO_PROXY"), "{hint:?}");

    let mut doctor = by(&proxy, "http://push.example.com", &["doctor", "--json"]);
    let found = findings(&mut doctor);
    let [[note, check, detail], [fault, _, advice]] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&**note, &**check, &**fault), ("note", "proxy", "fault"));
    assert!(detail.contains(&shown) && detail.contains("NO_PROXY"), "{detail}");
    assert!(advice.contains("is the proxy running") && !detail.contains("password"), "{found:?}");

    // Hosts in `NO_PROXY` are reached directly.
    let mut direct = by(&proxy, "http://push.invalid", &["info"]);
    let ended = end(direct.env("no_proxy", "push.invalid"));
    assert!(!failed(&ended, 1).0.contains("proxy"), "{}", ended.err);
}

#[test]
fn an_address_without_a_scheme_is_http() {
    let server = Server::start();
    let host = server.url.strip_prefix("http://").unwrap();
    let note = "note: the server's address has no scheme; http:// is assumed\n";
    let id = "00000000-0000-0000-0000-000000000007";
    for (arguments, code) in [
        (&["info", "--quiet"][..], 0),
        (&["listen", "--user", "ann", "--for", "50ms", "--quiet"], 0),
        (&["listen", id, "--for", "30s", "--quiet"], 1),
        (&["bench", "--listeners", "1", "--for", "50ms", "--quiet"], 0),
    ] {
        let ended = end(by("", host, arguments).env("no_proxy", "*"));
        assert_eq!(ended.code, code, "{arguments:?}: {}", ended.err);
        assert!(ended.err.starts_with(note), "{arguments:?}: {}", ended.err);
    }
    let variable = program(&["info", "--quiet"])
        .env("CHANNELSTREAM_URL", host)
        .env("CHANNELSTREAM_SECRET", SECRET)
        .output();
    assert_eq!(String::from_utf8(variable.unwrap().stderr).unwrap(), note);
}

#[test]
fn what_is_wrong_with_an_address_is_told_by_every_command() {
    for command in ["info", "top", "doctor", "bench", "listen"] {
        let arguments: &[&str] =
            if command == "listen" { &["listen", "--user", "ann"] } else { &[command] };
        let ended = end(&mut by("", "ws:/host/x", arguments));
        if command == "top" {
            // `top` requires a terminal first.
            assert_eq!(ended.code, 2);
            continue;
        }
        let (what, _) = failed(&ended, 2);
        assert_eq!(what, "the server's address lacks a slash: it begins with ws://", "{command}");
    }
}

fn doctor(url: &str, secret: &str) -> (i32, Value) {
    let mut command = program(&["doctor", "--json", "--patience", "4s", "--url", url]);
    let Ended { code, out, err } = end(command.env("CHANNELSTREAM_SECRET", secret));
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}")))
}

#[test]
fn the_doctor_tells_by_its_exit_status_how_far_it_came() {
    let server = server();
    let host = server.url.strip_prefix("http://").unwrap();
    let (code, report) = doctor(host, SECRET);
    assert_eq!((code, &report["faults"]), (0, &0.into()), "{report}");
    let checks = report["checks"].as_array().unwrap();
    let url = checks.iter().find(|check| check["name"] == "url").unwrap();
    assert_eq!(url["status"], "note", "{url}");

    assert_eq!(doctor(&server.url, "wrong").0, 4, "it refuses the signature");
    assert_eq!(doctor(&format!("{}/prefix", server.url), SECRET).0, 3, "something else answers");
    let nobody = dead_proxy().replace("user:password@", "");
    assert_eq!(doctor(&nobody, SECRET).0, 3, "nobody answers");
    let strict = crate::doctor::server_with(|config| config.enforce_https = true);
    assert_eq!(doctor(&strict.url, SECRET).0, 4, "it refuses plain HTTP");
    let proxy = crate::fault::Proxy::start(server.port(), crate::fault::Fault::NoUpgrade);
    assert_eq!(doctor(&proxy.url, SECRET).0, 1, "no websocket comes through");
}

#[test]
fn https_at_a_port_that_speaks_plain_http() {
    let server = Server::start();
    let url = server.url.replace("http:", "https:");
    for arguments in [&["info"][..], &["listen", "--user", "ann"]] {
        let ended = end(&mut by("", &url, arguments));
        let (what, hint) = failed(&ended, 1);
        assert!(what.contains(": this port speaks plain HTTP; use http://"), "{what}");
        assert_eq!(hint, None);
    }
    let found = findings(&mut by("", &url, &["doctor", "--json"]));
    let [[_, check, text]] = &found[..] else { panic!("{found:?}") };
    assert!(check == "reachable" && text.contains("speaks plain HTTP; use http://"), "{found:?}");
}
