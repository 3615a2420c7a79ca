//! `doctor` through nginx: no findings with the configuration of docs/operations.md, and a finding for
//! each deviation.

use std::process::Command;
use std::time::{Duration, SystemTime};

use channelstream_signer::unix_now;

use crate::authority::{Authority, Issued};
use crate::doctor::{doctor, findings, finds, finds_nothing, server_with};
use crate::nginx::{Nginx, example, example_with};
use crate::program::{end, failed, printed, program};
use crate::server::{SECRET, Server};

/// Starts a server that trusts the proxy, as docs/operations.md describes.
fn server() -> Server {
    server_with(|config| config.trusted_proxies = "127.0.0.1".parse().unwrap())
}

#[test]
fn nothing_is_wrong_as_documented() {
    let server = server();
    let nginx = Nginx::start(&example(), &server, None);
    finds_nothing(&mut doctor(&nginx.url(), &["--origin", "https://shop.example.com"]));
    let prefixed = example_with("location / {", "location /push/ {")
        .replace("X-Script-Name \"\";", "X-Script-Name /push;");
    let nginx = Nginx::start(&prefixed, &server, None);
    finds_nothing(&mut doctor(&format!("{}/push/", nginx.url()), &[]));
    // The samples of the reference have this form.
    let text = example_with("Connection $connection_upgrade;", "Connection \"upgrade\";");
    let nginx = Nginx::start(&text, &server, None);
    finds_nothing(&mut doctor(&nginx.url(), &[]));
}

/// A sign-in of the proxy before the admin pages is not a fault.
#[test]
fn admin_areas_that_are_hidden() {
    let server = server();
    let text = example_with(
        "location / {",
        "location /admin { return 302 https://sign-in.example.com/; }\nlocation / {",
    );
    let nginx = Nginx::start(&text, &server, None);
    let found = findings(&mut doctor(&nginx.url(), &[]));
    assert!(
        matches!(&found[..], [[status, check, _]] if status == "note" && check == "version"),
        "{found:?}"
    );
}

#[test]
fn upgrades_that_are_dropped() {
    let server = server();
    let text = example_with("proxy_set_header Upgrade $http_upgrade;", "");
    let nginx = Nginx::start(&text, &server, None);
    finds(&mut doctor(&nginx.url(), &[]), "websocket", "proxy_set_header Upgrade");
}

#[test]
fn an_old_http_to_the_server() {
    let server = server();
    let text = example_with("proxy_http_version 1.1;", "proxy_http_version 1.0;");
    let nginx = Nginx::start(&text, &server, None);
    finds(&mut doctor(&nginx.url(), &[]), "websocket", "in nginx: proxy_http_version 1.1;");
}

#[test]
fn silence_that_is_not_borne() {
    let server = server_with(|config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.heartbeat_interval = Duration::from_secs(3);
        config.wake_connections_after = Duration::from_secs(3);
    });
    let text = example_with("proxy_read_timeout 60s;", "proxy_read_timeout 1s;");
    let nginx = Nginx::start(&text, &server, None);
    let mut command = doctor(&nginx.url(), &[]);
    finds(&mut command, "idle lines", "an idle websocket was cut after");
    finds(&mut command, "idle lines", "504 Gateway Timeout");
}

#[test]
fn a_missing_address_header_is_found() {
    let server = server();
    // The proxy removes a path without a header for it.
    let text = example_with("location / {", "location /push/ {")
        .replace("proxy_pass http://127.0.0.1:8000;", "proxy_pass http://127.0.0.1:8000/;");
    let nginx = Nginx::start(&text, &server, None);
    finds(&mut doctor(&format!("{}/push", nginx.url()), &[]), "redirects", "X-Script-Name");
    // The proxy forwards a path without a header for it.
    let nginx = Nginx::start(&example_with("location / {", "location /push/ {"), &server, None);
    finds(&mut doctor(&format!("{}/push", nginx.url()), &[]), "reachable", "path prefix");
    let text = example_with("Host $http_host;", "Host inner.example.com;");
    let nginx = Nginx::start(&text, &server, None);
    finds(&mut doctor(&nginx.url(), &[]), "redirects", "proxy_set_header Host $http_host");
}

/// Returns `doctor` for a server with this certificate and a client that trusts the authority.
fn over_tls(nginx: &Nginx, authority: &Authority) -> Command {
    let mut command = doctor(&format!("https://localhost:{}", nginx.port), &[]);
    command.arg("--ca-file").arg(authority.certificate());
    command
}

#[test]
fn nothing_is_wrong_over_tls() {
    let (server, authority) = (server(), Authority::new());
    let certificate = authority.issue("localhost", &["-days", "100"]);
    let nginx = Nginx::start(&example(), &server, Some(&certificate));
    finds_nothing(&mut over_tls(&nginx, &authority));

    // All commands trust only the authority, by flag, variable or profile.
    let url = format!("https://localhost:{}", nginx.port);
    let info = |arguments: &[&str]| {
        let mut command = program(&[&["info", "--quiet"], arguments].concat());
        command.env("CHANNELSTREAM_SECRET", SECRET).env("CHANNELSTREAM_URL", &url);
        command
    };
    let ended = end(&mut info(&[]));
    let (what, hint) = failed(&ended, 1);
    assert!(what.starts_with("cannot reach https://localhost"), "{what}");
    assert!(hint.unwrap().contains("doctor"), "{hint:?}");
    printed(end(info(&[]).env("CHANNELSTREAM_CA_FILE", authority.certificate())));
    printed(end(info(&["--ca-file"]).arg(authority.certificate())));
    let folder = authority.certificate().parent().unwrap().to_owned();
    let profile = "default = \"own\"\n[profiles.own]\nca_file = \"authority.pem\"\n";
    std::fs::write(folder.join("config.toml"), profile).unwrap();
    printed(end(info(&[]).env("CHANNELSTREAM_CONFIG", folder.join("config.toml"))));
    let ended = end(&mut info(&["--ca-file", "/dev/null"]));
    assert!(failed(&ended, 2).1.unwrap().contains("--ca-file"), "{}", ended.err);
}

#[test]
fn a_missing_scheme_header_is_found() {
    let authority = Authority::new();
    let certificate = authority.issue("localhost", &["-days", "100"]);
    let text = example_with("proxy_set_header X-Forwarded-Proto $scheme;", "");
    let server = server();
    let nginx = Nginx::start(&text, &server, Some(&certificate));
    finds(&mut over_tls(&nginx, &authority), "redirects", "X-Forwarded-Proto");
    // The server ignores the header of a proxy that it does not trust.
    let server = server_with(|_| ());
    let nginx = Nginx::start(&example(), &server, Some(&certificate));
    finds(&mut over_tls(&nginx, &authority), "redirects", "trusted_proxies");
}

#[test]
fn certificates_that_are_not_good() {
    let (server, authority) = (server(), Authority::new());
    let front = |certificate: &Issued| Nginx::start(&example(), &server, Some(certificate));
    let good = authority.issue("localhost", &["-days", "100"]);

    let nginx = front(&good);
    let mut stranger = doctor(&format!("https://localhost:{}", nginx.port), &[]);
    finds(&mut stranger, "certificate", "its issuer is not trusted here");
    finds(&mut over_tls(&nginx, &Authority::new()), "certificate", "ssl_certificate");

    let nginx = front(&authority.not_ours("localhost"));
    finds(&mut over_tls(&nginx, &authority), "certificate", "it is self-signed");

    let nginx = front(&authority.issue("other.example.com", &["-days", "100"]));
    let other = "it is valid for other.example.com, not for localhost";
    finds(&mut over_tls(&nginx, &authority), "certificate", other);

    let past = ["-startdate", "20240101000000Z", "-enddate", "20240201000000Z"];
    let nginx = front(&authority.issue("localhost", &past));
    let expired = "it expired on Thu, 01 Feb 2024 00:00:00 GMT";
    finds(&mut over_tls(&nginx, &authority), "certificate", expired);

    let future = ["-startdate", "20990101000000Z", "-enddate", "20990201000000Z"];
    let nginx = front(&authority.issue("localhost", &future));
    finds(&mut over_tls(&nginx, &authority), "certificate", "not valid before Thu, 01 Jan 2099");
}

#[test]
fn certificates_that_expire_soon() {
    let (server, authority) = (server(), Authority::new());
    let nginx =
        Nginx::start(&example(), &server, Some(&authority.issue("localhost", &["-days", "10"])));
    let found = findings(&mut over_tls(&nginx, &authority));
    let [[status, check, text]] = &found[..] else { panic!("{found:?}") };
    assert_eq!((status.as_str(), check.as_str()), ("note", "certificate"));
    let date = text.strip_prefix("it expires on ").unwrap().split_once(';').unwrap().0;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(unix_now());
    let left = httpdate::parse_http_date(date).unwrap().duration_since(now).unwrap();
    let days = Duration::from_secs(24 * 60 * 60);
    assert!(left > 9 * days && left <= 10 * days, "{text}");
}

/// The port is not the proxy's: it speaks no TLS, or only TLS.
#[test]
fn schemes_that_are_mixed_up() {
    let (server, authority) = (server(), Authority::new());
    let plain = Nginx::start(&example(), &server, None);
    let words = "this port speaks plain HTTP; use http://";
    finds(&mut over_tls(&plain, &authority), "reachable", words);
    let certificate = authority.issue("localhost", &["-days", "100"]);
    let tls = Nginx::start(&example(), &server, Some(&certificate));
    let url = format!("http://localhost:{}", tls.port);
    finds(&mut doctor(&url, &[]), "reachable", "this port speaks TLS; use https://");
    let mut info = program(&["info", "--url", &url]);
    let ended = end(info.env("CHANNELSTREAM_SECRET", SECRET));
    assert_eq!(failed(&ended, 1), ("POST /info: this port speaks TLS; use https://", None));
}
