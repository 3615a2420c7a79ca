//! What somebody else does to the keys of the journal while servers run: all of it is repaired, and nothing that
//! was answered is lost.

use std::time::Instant;

use serde_json::json;

use crate::app::{Request, Site, eventually, numbered};
use crate::cluster::{Cluster, Outcome, publish, ready, standing, start};
use crate::process::Process;
use crate::redis::{Disk, Redis};

const JOURNAL: &str = "{channelstream}:journal";
const HEAD: &str = "{channelstream}:head";

/// Servers on a Redis, and the numbers that were published to them.
struct Meddled {
    redis: Redis,
    cluster: Cluster,
    published: u64,
}

impl Meddled {
    fn new() -> Self {
        let redis = Redis::start(Disk::None, &[]);
        let cluster = Cluster::start(&redis);
        cluster.keep_all("news");
        Self { redis, cluster, published: 0 }
    }

    /// Publishes some, each once the journal takes it.
    fn publish(&mut self, count: u64) {
        for _ in 0..count {
            self.published += 1;
            let address = self.cluster.site(usize::try_from(self.published).unwrap()).0;
            let once = Request::call("/message", &numbered("news", self.published));
            let once = once.header("idempotency-key", &format!("number-{}", self.published));
            eventually("it is published", || Site(address).send(&once).status == 200);
        }
    }

    /// All servers have everything, and so has a new one.
    fn is_whole(&mut self) {
        self.publish(3);
        let all: Vec<_> = (1..=self.published).collect();
        let info = Request::call("/info", &json!({"info": {}}));
        let is_asked = |address| Site(address).send(&info).status == 200;
        eventually("all can be asked", || self.cluster.addresses().into_iter().all(is_asked));
        self.cluster.ready();
        assert_eq!(self.cluster.agreed("news"), all);
        self.cluster.kill(0);
        self.cluster.start_again(0);
        self.cluster.ready();
        assert_eq!(self.cluster.agreed("news"), all);
        assert!(!self.cluster.logs().contains("panicked"), "{}", self.cluster.logs());
    }

    fn keys(&self) -> Vec<String> {
        self.redis.texts(&["KEYS", "{channelstream}:*"])
    }

    fn end(&self) -> String {
        let info = self.redis.texts(&["XINFO", "STREAM", JOURNAL]);
        let at = info.iter().position(|text| text == "last-generated-id").unwrap();
        info[at + 1].clone()
    }

    fn recoveries(&self) -> u64 {
        self.cluster.figure("journal_recoveries_total")
    }
}

/// Entries that are nobody's are taken away with all behind them, which is appended again.
fn an_entry_is_added(id: impl Fn(&str) -> String, field: &str) {
    let mut meddled = Meddled::new();
    meddled.publish(5);
    let id = id(&meddled.end());
    let before = meddled.recoveries();
    let added = meddled.redis.ask(&["XADD", JOURNAL, &id, field, "bar"]);
    assert!(added.as_ref().is_some_and(|added| added.contains('-')), "{added:?}");
    eventually("they have begun anew", || meddled.recoveries() > before);
    meddled.is_whole();
    assert!(meddled.cluster.logs().contains("was changed by somebody else"));
}

#[test]
fn an_entry_of_somebody_else_stops_nobody() {
    an_entry_is_added(|_| "*".to_owned(), "foo");
}

#[test]
fn an_entry_that_cannot_be_read_stops_nobody() {
    an_entry_is_added(|_| "*".to_owned(), "e");
}

#[test]
fn an_entry_of_an_epoch_that_nobody_began_stops_nobody() {
    let later = |end: &str| {
        let (epoch, _) = end.split_once('-').unwrap();
        format!("{}-7", epoch.parse::<u64>().unwrap() + 1_000)
    };
    an_entry_is_added(later, "e");
}

#[test]
fn numbers_without_end_end() {
    let mut meddled = Meddled::new();
    meddled.publish(5);
    let last = format!("{}-{}", u64::MAX, u64::MAX);
    assert_eq!(meddled.redis.ask(&["XSETID", JOURNAL, &last]).as_deref(), Some("+OK"));
    meddled.is_whole();
}

#[test]
fn an_older_copy_that_is_put_back_is_replaced() {
    let mut meddled = Meddled::new();
    meddled.publish(5);
    let keys = meddled.keys();
    for key in &keys {
        meddled.redis.ask(&["COPY", key, &format!("aside:{key}")]);
    }
    for _ in 0..2 {
        let before = meddled.recoveries();
        meddled.publish(5);
        meddled.redis.ask(
            &[&["DEL"], &meddled.keys().iter().map(String::as_str).collect::<Vec<_>>()[..]]
                .concat(),
        );
        eventually("they have begun anew", || meddled.recoveries() > before);
        meddled.publish(5);
    }
    let before = meddled.recoveries();
    let now = meddled.keys();
    // In one step, as a swap of databases is one.
    let mut swap = vec!["MULTI\r\nDEL".to_owned()];
    swap.extend(now);
    for key in &keys {
        swap.push(format!("\r\nRENAME aside:{key} {key}"));
    }
    swap.push("\r\nEXEC".to_owned());
    meddled.redis.ask(&swap.iter().map(String::as_str).collect::<Vec<_>>());
    eventually("they have begun anew", || meddled.recoveries() > before);
    meddled.is_whole();
}

#[test]
fn a_server_starts_although_entries_were_removed() {
    let mut meddled = Meddled::new();
    meddled.publish(20);
    let newest = meddled.redis.texts(&["XREVRANGE", JOURNAL, "+", "-", "COUNT", "9"]);
    let removed = newest.iter().find(|text| text.contains('-')).unwrap();
    meddled.redis.ask(&["XDEL", JOURNAL, removed]);
    meddled.is_whole();
    meddled.redis.ask(&["XTRIM", JOURNAL, "MAXLEN", "0"]);
    meddled.is_whole();
}

#[test]
fn a_server_starts_although_the_snapshot_was_removed_or_damaged() {
    let mut meddled = Meddled::new();
    meddled.publish(5);
    let chunk = |meddled: &Meddled| {
        let keys = meddled.keys();
        keys.into_iter().find(|key| key.contains(":snapshot:")).expect("a snapshot")
    };
    meddled.redis.ask(&["DEL", &chunk(&meddled)]);
    meddled.is_whole();
    let newest = meddled.redis.texts(&["HGET", HEAD, "snapshot"]).remove(0);
    let key = format!("{{channelstream}}:snapshot:{newest}:0");
    assert!(meddled.redis.ask(&["SETRANGE", &key, "20", "nonsense"]).is_some());
    meddled.is_whole();
    meddled.redis.ask(&["HDEL", HEAD, "snapshot", "chunks"]);
    meddled.is_whole();
    assert!(meddled.cluster.logs().contains("is made anew"));
}

/// What somebody asks of Redis is repaired, and nothing is lost.
fn is_repaired(commands: &[&[&str]]) {
    let mut meddled = Meddled::new();
    meddled.publish(5);
    for command in commands {
        let answer = meddled.redis.ask(command);
        assert!(answer.as_ref().is_some_and(|answer| !answer.starts_with('-')), "{answer:?}");
    }
    meddled.is_whole();
}

#[test]
fn a_head_that_was_removed_or_replaced_is_made_again() {
    is_repaired(&[&["DEL", HEAD]]);
    is_repaired(&[&["SET", HEAD, "text"]]);
}

#[test]
fn fields_of_the_head_that_were_changed_are_made_again() {
    is_repaired(&[&["HSET", HEAD, "epoch", "junk"]]);
    is_repaired(&[&["HSET", HEAD, "epochs", "junk"]]);
    is_repaired(&[&["HSET", HEAD, "snapshot", "18446744073709551615-0"]]);
}

#[test]
fn numbers_that_somebody_wrote_take_no_memory() {
    for chunks in ["9223372036854775808", "100000000", "4096"] {
        is_repaired(&[&["HSET", HEAD, "chunks", chunks]]);
    }
}

#[test]
fn an_epoch_behind_which_none_could_begin_is_none() {
    let last = u64::MAX.to_string();
    is_repaired(&[&["HSET", HEAD, "epoch", &last], &["DEL", JOURNAL]]);
}

#[test]
fn keys_of_another_type_are_replaced() {
    is_repaired(&[&["DEL", JOURNAL], &["RPUSH", JOURNAL, "a"]]);
    is_repaired(&[&["SET", "{channelstream}:claims", "text"], &["DEL", JOURNAL]]);
}

#[test]
fn scripts_that_were_flushed_are_brought_again() {
    is_repaired(&[&["SCRIPT", "FLUSH"]]);
}

#[test]
fn a_new_journal_gives_way_to_servers_that_stood_still() {
    let mut meddled = Meddled::new();
    meddled.publish(5);
    for server in &meddled.cluster.servers {
        server.signal("STOP");
    }
    meddled.redis.ask(&["FLUSHALL"]);
    let newcomer = start(&meddled.redis, &[]);
    ready(&newcomer);
    for server in &meddled.cluster.servers {
        server.signal("CONT");
    }
    eventually("it has what they had", || {
        let shown = json!({"info": {"channels": ["news"], "include_history": true}});
        let answer = Site(newcomer.address).send(&Request::call("/info", &shown));
        answer.status == 200 && answer.json()["channels"]["news"].is_object()
    });
    meddled.is_whole();
    assert_eq!(publish(newcomer.address, "news", 0), Outcome::Done);
}

#[test]
fn without_a_head_and_without_a_server_nothing_new_begins() {
    let mut meddled = Meddled::new();
    meddled.publish(5);
    meddled.cluster.kill_all();
    assert_eq!(meddled.redis.ask(&["DEL", HEAD]).as_deref(), Some(":1"));
    let server = start(&meddled.redis, &[]);
    server.wait_for("the trouble", |log| {
        log.contains("head of the journal is missing").then_some(())
    });
    let length = meddled.redis.ask(&["XLEN", JOURNAL]);
    let begun = Instant::now();
    while begun.elapsed().as_secs() < 8 {
        assert_ne!(publish(server.address, "news", 1), Outcome::Done);
    }
    assert_eq!(meddled.redis.ask(&["XLEN", JOURNAL]), length);
    let report = crate::doctor::doctor(&meddled.redis.url(), &[], &[]);
    report.has("start", "fault", &["there are entries and no head"]);
}

/// Publishes while Redis does not write or read, and then again when it does.
fn redis_does_less(less: &[&str], more: &[&str], state: &str, says: &str) {
    let redis = Redis::start(Disk::None, &[]);
    let server = start(&redis, &[]);
    ready(&server);
    assert_eq!(publish(server.address, "news", 1), Outcome::Done);
    assert_eq!(redis.ask(less).as_deref(), Some("+OK"));
    eventually("it notices", || {
        publish(server.address, "news", 2);
        standing(&server) == state
    });
    let begun = Instant::now();
    let is_ready =
        |server: &Process| Site(server.address).send(&Request::new("GET", "/readyz")).status == 200;
    while begun.elapsed().as_secs() < 3 {
        assert!(!is_ready(&server), "{}", server.log());
        assert_ne!(publish(server.address, "news", 3), Outcome::Done);
    }
    let log = server.log();
    assert!(log.matches(says).count() == 1, "{says} is said once:\n{log}");
    assert_eq!(redis.ask(more).as_deref(), Some("+OK"));
    eventually("it goes on", || publish(server.address, "news", 4) == Outcome::Done);
    eventually("it says so", || is_ready(&server));
}

#[test]
fn redis_that_has_too_few_replicas_is_told_once() {
    let set = |count| ["CONFIG", "SET", "min-replicas-to-write", count];
    redis_does_less(&set("1"), &set("0"), "no_space", "NOREPLICAS");
}

#[test]
fn redis_that_lets_nobody_append_is_told_once() {
    let may = |rule| ["ACL", "SETUSER", "default", rule];
    redis_does_less(&may("-xadd"), &may("+xadd"), "no_space", "NOPERM");
}

#[test]
fn redis_that_lets_nobody_read_is_told_once() {
    let may = |rule| ["ACL", "SETUSER", "default", rule];
    redis_does_less(&may("-xread"), &may("+xread"), "away", "NOPERM");
}
