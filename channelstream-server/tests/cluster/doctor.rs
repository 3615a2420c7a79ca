//! `channelstream-server doctor` before a real Redis: what is right, and each setting that is wrong.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::process::Command;

use serde_json::Value;

use crate::cluster::{Outcome, publish, ready, start_at};
use crate::process::{PROGRAM, quiet};
use crate::redis::{Disk, Redis, free_port};

/// What `doctor` has printed.
pub(crate) struct Report {
    pub(crate) code: Option<i32>,
    text: String,
    report: Value,
}

/// Runs `doctor` for a Redis.
pub(crate) fn doctor(url: &str, flags: &[&str], environment: &[(&str, &OsStr)]) -> Report {
    let own = ["--journal", "redis", "--json"];
    let mut command = Command::new(PROGRAM);
    command.arg("doctor");
    let output = quiet(&mut command, &[&own, flags].concat())
        .env("CHANNELSTREAM_REDIS_URL", url)
        .env("CHANNELSTREAM_SECRET", "a secret of the application")
        .env("CHANNELSTREAM_ADMIN_SECRET", "a secret of the operators")
        .env("CHANNELSTREAM_COOKIE_SECRET", "a secret of all servers")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    let report = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}"));
    Report { code: output.status.code(), text: text + &error, report }
}

impl Report {
    fn checks(&self) -> impl Iterator<Item = &Value> {
        self.report["checks"].as_array().unwrap().iter()
    }

    /// Checks that there is a finding of this name and status, with these words in detail and advice.
    #[track_caller]
    pub(crate) fn has(&self, name: &str, status: &str, words: &[&str]) {
        let is_it = |check: &&Value| check["name"] == name && check["status"] == status;
        let has_words = |check: &Value| {
            let text = format!("{} -> {}", check["detail"], check["advice"]);
            words.iter().all(|word| text.contains(word))
        };
        let found = self.checks().filter(is_it).any(has_words);
        assert!(found, "no {status} {name} with {words:?} in {}", self.text);
        let advised = self.checks().filter(is_it).all(|check| {
            let is_wrong = status == "fault" || status == "note";
            check["advice"].as_str().is_some_and(|advice| !advice.is_empty()) == is_wrong
        });
        assert!(advised, "what is wrong has advice, and nothing else has: {}", self.text);
        assert_eq!(self.report["faults"] == 0, self.code == Some(0), "{}", self.text);
    }

    /// Checks that nothing is wrong, but for how long answers take on a busy machine.
    #[track_caller]
    pub(crate) fn is_good(&self) {
        let mut checks = self.checks().filter(|check| check["name"] != "latency");
        assert!(checks.all(|check| check["status"] == "good"), "{}", self.text);
    }
}

#[test]
fn nothing_is_wrong_with_a_redis_as_it_is_documented() {
    let redis = Redis::start(Disk::EverySecond, &[]);
    let report = doctor(&redis.url(), &[], &[]);
    report.is_good();
    report.has("redis_url", "good", &[&redis.url()]);
    report.has("version", "good", &["Redis 7."]);
    report.has("persistence", "good", &["appendfsync everysec"]);
    report.has("journal", "good", &["there is no {channelstream}:journal yet"]);
    let server = start_at(&redis.url(), &[]);
    ready(&server);
    assert_eq!(publish(server.address, "news", 1), Outcome::Done);
    // Each server would sign its own cookies.
    doctor(&redis.url(), &[], &[("CHANNELSTREAM_COOKIE_SECRET", OsStr::new(""))]).has(
        "sign-ins",
        "note",
        &["cookie_secret", "all servers"],
    );
    let keys = redis.ask(&["DBSIZE"]);
    let report = doctor(&redis.url(), &[], &[]);
    report.is_good();
    report.has(
        "journal",
        "good",
        &["{channelstream}:journal is there, its newest epoch began at 20"],
    );
    assert_eq!(redis.ask(&["DBSIZE"]), keys, "nothing was written");
    // A server with another name would begin anew, which is seen.
    doctor(&redis.url(), &["--redis-name", "other"], &[]).has(
        "journal",
        "good",
        &["there is no {other}:journal yet"],
    );
    assert!(!server.log().contains("Redis keeps"), "{}", server.log());
}

#[test]
fn each_wrong_setting_is_named_with_what_to_change() {
    let check = |disk, settings: &[&str], flags: &[&str], findings: &[(&str, &str, &[&str])]| {
        let redis = Redis::start(disk, settings);
        let report = doctor(&redis.url(), flags, &[]);
        for (name, status, words) in findings {
            report.has(name, status, words);
        }
    };
    check(Disk::None, &[], &[], &[("persistence", "fault", &["keeps nothing", "appendonly yes"])]);
    check(
        Disk::None,
        &["--maxmemory-policy", "allkeys-lru"],
        &["--redis-replicas", "1"],
        &[
            ("eviction", "fault", &["noeviction", "allkeys-lru"]),
            ("replicas", "fault", &["(0)", "redis_replicas = 1"]),
        ],
    );
    check(
        Disk::Always,
        &["--appendfsync", "no", "--min-replicas-to-write", "1"],
        &[],
        &[
            ("persistence", "note", &["appendfsync no", "everysec"]),
            ("replicas", "fault", &["min-replicas-to-write = 1", "refuses all writes"]),
            ("access", "fault", &["NOREPLICAS", "min-replicas-to-write"]),
        ],
    );
    check(
        Disk::Always,
        &["--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"],
        &[],
        &[("memory", "note", &["raise maxmemory"]), ("eviction", "good", &["volatile-ttl"])],
    );
    let redis = Redis::start(Disk::Always, &[]);
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", "100kb"]).unwrap(), "+OK");
    let report = doctor(&redis.url(), &[], &[]);
    report.has("memory", "fault", &["maxmemory is 0.1 MB", "raise maxmemory"]);
    report.has("access", "fault", &["OOM", "raise maxmemory"]);
}

#[test]
fn a_journal_from_which_no_server_could_start_is_told() {
    const JOURNAL: &str = "{channelstream}:journal";
    let damaged = |damage: &dyn Fn(&Redis), says: &str| {
        let redis = Redis::start(Disk::EverySecond, &[]);
        let mut server = start_at(&redis.url(), &[]);
        ready(&server);
        assert_eq!(publish(server.address, "news", 1), Outcome::Done);
        doctor(&redis.url(), &[], &[]).has("start", "good", &["a server would begin with"]);
        server.signal("KILL");
        server.ended();
        damage(&redis);
        let report = doctor(&redis.url(), &[], &[]);
        report.has("start", "fault", &["no server could start", says, "{channelstream}:*"]);
    };
    let remove = |kind: &'static str| {
        move |redis: &Redis| {
            let keys = redis.texts(&["KEYS", "{channelstream}:*"]);
            let key = keys.iter().find(|key| key.contains(kind)).expect("a key");
            assert_eq!(redis.ask(&["DEL", key]).as_deref(), Some(":1"));
        }
    };
    damaged(&remove(":snapshot:"), "a part of it is missing");
    damaged(
        &|redis: &Redis| drop(redis.ask(&["HDEL", "{channelstream}:head", "snapshot"])),
        "none",
    );
    damaged(
        &|redis: &Redis| drop(redis.ask(&["XADD", JOURNAL, "*", "foo", "bar"])),
        "cannot be read",
    );
    damaged(
        &|redis: &Redis| drop(redis.ask(&["XSETID", JOURNAL, "9999999999999999-1"])),
        "of no epoch",
    );
}

#[test]
fn a_replica_is_no_place_for_the_journal() {
    let master = Redis::start(Disk::None, &[]);
    let port = master.port.to_string();
    let replica = Redis::start(Disk::Always, &["--replicaof", "127.0.0.1", &port]);
    let report = doctor(&replica.url(), &[], &[]);
    report.has("role", "fault", &["replica", "name the master"]);
    report.has("access", "fault", &["READONLY"]);
    crate::app::eventually("the master has a replica", || {
        let report = doctor(&master.url(), &["--redis-replicas", "1"], &[]);
        report.text.contains("1 connected, redis_replicas = 1")
    });
    doctor(&master.url(), &["--redis-replicas", "1"], &[]).has(
        "replicas",
        "note",
        &["min-replicas-to-write = 0", "set min-replicas-to-write 1"],
    );
}

#[test]
fn a_redis_that_is_not_reached_is_told_in_time() {
    let mut redis = Redis::start(Disk::Always, &[]);
    let begun = std::time::Instant::now();
    redis.signal("STOP");
    let report = doctor(&redis.url(), &[], &[]);
    report.has("reachable", "fault", &["is Redis running"]);
    report.has("the rest", "skipped", &[]);
    assert!(begun.elapsed() < crate::app::PATIENCE);
    redis.signal("CONT");
    redis.kill();
    doctor(&redis.url(), &[], &[]).has("reachable", "fault", &["refused", "is Redis running"]);
    let sentinel = format!("redis+sentinel://127.0.0.1:{}/main", free_port());
    doctor(&sentinel, &[], &[]).has("reachable", "fault", &["refused"]);
    doctor("http://localhost", &[], &[]).has("redis_url", "fault", &["redis://", "redis_url_file"]);
}

#[test]
fn a_password_is_asked_for_and_never_shown() {
    let redis = Redis::start(Disk::Always, &["--requirepass", "rosebud"]);
    let with = |credentials: &str| {
        let report = doctor(&format!("redis://{credentials}127.0.0.1:{}", redis.port), &[], &[]);
        assert!(
            !report.text.contains("rosebud") && !report.text.contains("lilac"),
            "{}",
            report.text
        );
        report
    };
    with(":rosebud@").is_good();
    with("").has("reachable", "fault", &["NOAUTH", "redis://USER:PASSWORD@HOST:PORT"]);
    with(":lilac@").has("reachable", "fault", &["password", "correct the user and password"]);
}

/// The rules of the user that the operators' guide shows, each a word.
fn documented_user() -> Vec<String> {
    let guide = include_str!("../../../docs/operations.md");
    let line = guide.lines().find(|line| line.starts_with("user push on ")).unwrap();
    line.split(' ').skip(2).map(|word| word.replace("PASSWORD", "rosebud")).collect()
}

#[test]
fn the_documented_user_may_do_all_that_is_needed_and_no_more() {
    let words = documented_user();
    let mut settings = vec!["--user", "push"];
    settings.extend(words.iter().map(String::as_str));
    let mut redis = Redis::start(Disk::Always, &settings);
    let url = format!("redis://push:rosebud@127.0.0.1:{}", redis.port);
    doctor(&url, &[], &[]).is_good();
    let server = start_at(&url, &[]);
    ready(&server);
    assert_eq!(publish(server.address, "news", 1), Outcome::Done);
    // What Redis lost has to be put back, and all of it made anew from a snapshot.
    redis.wipe();
    redis.start_again();
    crate::app::eventually("it has all again", || {
        publish(server.address, "news", 2) == Outcome::Done
    });
    ready(&server);
    assert!(!server.log().contains("NOPERM"), "{}", server.log());

    let mut nothing = vec!["--user", "push"];
    nothing.extend(["on", ">rosebud", "~{other}:*", "+multi", "+discard", "+exists", "+info"]);
    let redis = Redis::start(Disk::Always, &nothing);
    let url = format!("redis://push:rosebud@127.0.0.1:{}", redis.port);
    let other = doctor(&url, &["--redis-name", "other"], &[]);
    other.has("access", "fault", &["may not use", "docs/operations.md"]);
    let detail = |check: &&Value| check["name"] == "access";
    let detail = other.checks().find(detail).unwrap()["detail"].as_str().unwrap().to_lowercase();
    let (_, forbidden) = detail.split_once("may not use ").unwrap();
    let forbidden: BTreeSet<_> = forbidden.split(", ").collect();
    let optional = ["multi", "discard", "exists", "info", "config|get"];
    let documented = words.iter().filter_map(|word| word.strip_prefix('+'));
    let documented: BTreeSet<_> = documented.filter(|word| !optional.contains(word)).collect();
    assert_eq!(forbidden, documented, "what doctor asks for is what is documented");
    // Its keys are of another name.
    doctor(&url, &[], &[]).has("reachable", "fault", &["NOPERM", "docs/operations.md"]);
}
