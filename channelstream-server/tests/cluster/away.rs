//! Servers without a Redis, and with one that cannot hold a journal.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::{Request, Site, eventually, numbered};
use crate::cluster::{Outcome, publish, ready, standing, start};
use crate::process::{PROGRAM, Process, ended, quiet};
use crate::redis::{Disk, Redis};

#[test]
fn a_server_starts_without_redis_and_waits_for_it() {
    let mut redis = Redis::stopped(Disk::None, &["--requirepass", "pass-word"]);
    let url = format!("redis://:pass-word@127.0.0.1:{}", redis.port);
    let flags = ["--journal", "redis", "--redis-url", &url, "--log-level", "debug"];
    let server = Process::start(&flags);
    let site = Site(server.address);
    let begun = Instant::now();
    for path in ["/message", "/connect", "/info"] {
        let body = match path {
            "/message" => numbered("news", 1),
            "/connect" => json!({"username": "ann", "channels": ["news"]}),
            _ => json!({"info": {}}),
        };
        let answer = site.send(&Request::call(path, &body));
        assert_eq!(answer.status, 503, "{path}: {answer:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.json()["outcome"], "not_done");
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(standing(&server), "away");
    let probe = |path| site.send(&Request::new("GET", path));
    assert_eq!(probe("/healthz").ok(), json!({"status": "ok"}), "a restart would not help");
    let refused = probe("/readyz");
    assert_eq!((refused.status, refused.json()), (503, json!({"status": "away"})));
    redis.start_again();
    ready(&server);
    eventually("it says so", || probe("/readyz").status == 200);
    assert_eq!(publish(server.address, "news", 1), Outcome::Done);
    let log = server.log();
    assert!(!log.contains("pass-word"), "{log}");
    assert_eq!(log.matches("cannot be reached").count(), 1, "it is logged once:\n{log}");
    assert!(log.contains("keeps nothing on disk"), "{log}");
}

#[test]
fn a_first_start_on_an_empty_redis_has_lost_nothing() {
    let redis = Redis::start(Disk::None, &[]);
    let server = start(&redis, &[]);
    ready(&server);
    let log = server.log();
    assert!(log.contains("a new journal begins in Redis"), "{log}");
    assert!(!log.contains("lacks entries"), "{log}");
}

#[test]
fn redis_without_memory_is_told_and_goes_on_when_it_has_some() {
    let redis = Redis::start(Disk::None, &[]);
    let server = start(&redis, &[]);
    ready(&server);
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let answer = Site(server.address).send(&Request::call("/message", &numbered("news", 1)));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.json().to_string().contains("maxmemory"), "{answer:?}");
    assert_eq!(standing(&server), "no_space");
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually("it goes on", || publish(server.address, "news", 2) == Outcome::Done);
    eventually("it says so", || standing(&server) == "following");
}

#[test]
fn a_redis_that_would_throw_the_journal_away_is_refused() {
    let redis = Redis::start(Disk::None, &["--maxmemory-policy", "allkeys-lru"]);
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(PROGRAM);
    let url = redis.url();
    let mut child = quiet(&mut command, &["--journal", "redis", "--redis-url", &url])
        .stderr(output.reopen().unwrap())
        .spawn()
        .unwrap();
    let log = || std::fs::read_to_string(output.path()).unwrap();
    assert_eq!(ended(&mut child, log).code(), Some(1), "{}", log());
    assert!(log().contains("noeviction"), "{}", log());
}

#[test]
fn with_replicas_an_answer_waits_for_them() {
    let master = Redis::start(Disk::None, &["--repl-diskless-sync-delay", "0"]);
    let port = master.port.to_string();
    let mut replica = Redis::start(Disk::None, &["--replicaof", "127.0.0.1", &port]);
    let is_connected = || master.ask(&["WAIT", "1", "100"]).as_deref() == Some(":1");
    eventually("the replica is connected", is_connected);
    let server = start(&master, &["--redis-replicas", "1"]);
    ready(&server);
    assert_eq!(publish(server.address, "news", 1), Outcome::Done);
    replica.kill();
    eventually("it is in doubt", || publish(server.address, "news", 2) == Outcome::Unknown);
    replica.start_again();
    eventually("it is sure again", || publish(server.address, "news", 3) == Outcome::Done);
    assert_eq!(standing(&server), "following");
}

#[test]
fn a_redis_that_speaks_no_tls_is_away_for_who_wants_it() {
    let redis = Redis::start(Disk::None, &[]);
    let url = format!("rediss://127.0.0.1:{}", redis.port);
    let server = Process::start(&["--journal", "redis", "--redis-url", &url]);
    server.wait_for("the trouble", |log| log.contains("cannot be reached").then_some(()));
    assert_eq!(publish(server.address, "news", 1), Outcome::NotDone);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
