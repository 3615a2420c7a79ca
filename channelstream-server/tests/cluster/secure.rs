//! A Redis that speaks TLS: the right certificate, and each that is not.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::app::eventually;
use crate::cluster::{Outcome, publish, ready};
use crate::doctor::doctor;
use crate::process::Process;
use crate::redis::{Disk, Redis, free_port};

/// A certificate for `localhost` and 127.0.0.1, and that of its authority.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../channelstream-client/tests/it/tls").join(name)
}

/// The certificate of a client, which is its own authority.
fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/tls").join(name)
}

/// A Redis that speaks TLS on the port beside it, and on no other for who does not know.
fn start(more: &[&str]) -> (Redis, u16) {
    let port = free_port();
    let (certificate, key, authority) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let settings = [
        ["--tls-port", &port.to_string()],
        ["--tls-cert-file", &text(&certificate)],
        ["--tls-key-file", &text(&key)],
        ["--tls-ca-cert-file", &text(&authority)],
    ];
    let settings: Vec<_> = settings.as_flattened().iter().chain(more).copied().collect();
    (Redis::start(Disk::EverySecond, &settings), port)
}

const NO_CLIENTS: [&str; 2] = ["--tls-auth-clients", "no"];

#[test]
fn a_journal_is_kept_over_tls() {
    let (mut redis, port) = start(&NO_CLIENTS);
    let url = format!("rediss://localhost:{port}");
    let authority = file("ca.pem");
    let environment = [("SSL_CERT_FILE", authority.as_os_str())];
    doctor(&url, &[], &environment).is_good();
    let flags = ["--journal", "redis", "--redis-url", &url, "--shutdown-timeout", "1"];
    let servers = [0, 1].map(|_| Process::start_in(&flags, &environment));
    servers.iter().for_each(ready);
    assert_eq!(publish(servers[0].address, "news", 1), Outcome::Done);
    redis.kill();
    redis.start_again();
    for (number, server) in (2..).zip(&servers) {
        eventually("it goes on", || publish(server.address, "news", number) == Outcome::Done);
    }
    for server in &servers {
        assert!(!server.log().contains("is not encrypted"), "{}", server.log());
    }
}

#[test]
fn a_redis_that_asks_for_certificates_is_shown_one() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, kept, key) =
        (own("client.pem"), own("client.key"), folder.path().join("key"));
    std::fs::copy(&kept, &key).unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, closed).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let (_redis, port) = start(&["--tls-auth-clients", "yes", "--tls-ca-cert-file", certificate]);
    let url = format!("rediss://localhost:{port}");
    let authority = file("ca.pem");
    let environment = [("SSL_CERT_FILE", authority.as_os_str())];
    let identity = ["--redis-tls-cert", certificate, "--redis-tls-key", key];
    doctor(&url, &identity, &environment).is_good();
    let flags = [&["--journal", "redis", "--redis-url", &url], &identity[..]].concat();
    let server = Process::start_in(&flags, &environment);
    ready(&server);
    assert_eq!(publish(server.address, "news", 1), Outcome::Done);

    doctor(&url, &[], &environment).has("reachable", "fault", &["redis_tls_cert"]);
    let (other, its_key) = (file("server.pem"), file("server.key"));
    let (other, its_key) = (other.to_str().unwrap(), its_key.to_str().unwrap());
    let refused = ["--redis-tls-cert", other, "--redis-tls-key", its_key];
    doctor(&url, &refused, &environment).has("reachable", "fault", &["that it accepts"]);
    let mixed = ["--redis-tls-cert", certificate, "--redis-tls-key", its_key];
    let report = doctor(&url, &mixed, &environment);
    report.has("redis_url", "fault", &["is not the key of the certificate", "change the files"]);
}

#[test]
fn what_is_wrong_with_tls_is_said_plainly() {
    let (redis, port) = start(&[&NO_CLIENTS[..], &["--bind", "127.0.0.1", "127.0.0.2"]].concat());
    let authority = file("ca.pem");
    let ours = [("SSL_CERT_FILE", authority.as_os_str())];
    let nobody = [("SSL_CERT_FILE", OsStr::new("/dev/null"))];
    let wrong = |url: &str, environment: &[(&str, &OsStr)], words: &[&str]| {
        doctor(url, &[], environment).has("reachable", "fault", words);
        // A server that runs waits for it to be mended, and its log says the same.
        let flags = ["--journal", "redis", "--redis-url", url, "--shutdown-timeout", "1"];
        let server = Process::start_in(&flags, environment);
        server.wait_for(words[0], |log| log.contains(words[0]).then_some(()));
    };
    let url = format!("rediss://localhost:{port}");
    wrong(&url, &nobody, &["an authority that this machine does not trust", "SSL_CERT_FILE"]);
    let url = format!("rediss://127.0.0.2:{port}");
    wrong(
        &url,
        &ours,
        &["is for", "localhost", "redis_url says 127.0.0.2", "name of the certificate"],
    );
    let url = format!("rediss://localhost:{}", redis.port);
    // What speaks no TLS waits for more.
    doctor(&url, &[], &ours).has("reachable", "fault", &["if it speaks none, redis://"]);
    let url = format!("redis://localhost:{port}");
    doctor(&url, &[], &ours).has("reachable", "fault", &["If it speaks TLS only, use rediss://"]);

    let (_redis, port) = start(&[]);
    let url = format!("rediss://localhost:{port}");
    doctor(&url, &[], &ours).has("reachable", "fault", &["broke", "tls-auth-clients no"]);
}
