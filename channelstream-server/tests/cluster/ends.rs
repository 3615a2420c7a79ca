//! Redis that is killed, stopped, emptied and taken away under load, while servers and sockets live.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::app::eventually;
use crate::cluster::{Cluster, Outcome, figures, ready, standing, start};
use crate::redis::{Disk, Redis};
use crate::rounds;
use crate::visitor::{Publisher, Visitor, compare};

/// Servers under load, and all that was asked of them.
struct Story {
    redis: Redis,
    cluster: Cluster,
    visitors: Vec<Visitor>,
    outcomes: BTreeMap<u64, Outcome>,
}

impl Story {
    fn begin(disk: Disk) -> Self {
        let redis = Redis::start(disk, &[]);
        let url = redis.url();
        Self::begin_on(redis, &url)
    }

    fn begin_on(redis: Redis, url: &str) -> Self {
        let cluster = Cluster::start_at(url);
        cluster.keep_all("news");
        let visitors = (0..3).map(|index| {
            let connection = cluster.site(index).connect(&format!("user{index}"), &["news"]);
            Visitor::listen(vec![cluster.servers[index].address], connection)
        });
        let visitors = visitors.collect();
        Self { redis, cluster, visitors, outcomes: BTreeMap::new() }
    }

    fn restarts(&self) -> Vec<u64> {
        let of = |server| figures(server)["journal_restarts_total"].as_u64().unwrap();
        self.cluster.servers.iter().map(of).collect()
    }

    /// Lets something happen to Redis under load, after which all goes on. Nothing that was answered is
    /// lost, and no socket breaks.
    fn happens(&mut self, what: &str, fault: impl FnOnce(&mut Redis, &Publisher, &Cluster)) {
        let lines: Vec<_> = self.visitors.iter().map(Visitor::opened).collect();
        let restarts = self.restarts();
        let from = self.outcomes.len() as u64 + 1;
        let publisher = Publisher::start(self.cluster.addresses(), "news", from);
        publisher.answered(30);
        fault(&mut self.redis, &publisher, &self.cluster);
        publisher.answered(30);
        self.outcomes.extend(publisher.stop());
        let last = self.outcomes.len() as u64 + 1;
        self.cluster.ready();
        self.cluster.site(0).publish("news", last);
        self.outcomes.insert(last, Outcome::Done);
        for (index, visitor) in self.visitors.iter().enumerate() {
            compare(&self.outcomes, &visitor.hears(last), what);
            // A server that lacked the very last entries when Redis lost them took over a state.
            if self.restarts()[index] == restarts[index] {
                assert_eq!(visitor.opened(), lines[index], "{what}: a socket has ended");
            }
        }
        compare(&self.outcomes, &self.cluster.agreed("news"), what);
        assert_eq!(self.cluster.figure("journal_divergences_total"), 0, "{what}");
    }
}

fn comes_back(redis: &mut Redis, publisher: &Publisher, cluster: &Cluster) {
    redis.kill();
    publisher.refused();
    for server in &cluster.servers {
        assert_ne!(standing(server), "following");
    }
    redis.start_again();
}

#[test]
fn redis_that_comes_back_has_lost_nothing_that_was_answered() {
    for disk in [Disk::Always, Disk::EverySecond] {
        let mut story = Story::begin(disk);
        for round in 1..=rounds(1, 10) {
            story.happens(&format!("{disk:?}, round {round}"), comes_back);
        }
        assert!(story.cluster.figure("journal_recoveries_total") > 1);
    }
}

#[test]
fn redis_that_lost_everything_is_filled_again() {
    let mut story = Story::begin(Disk::None);
    for _ in 0..rounds(1, 10) {
        story.happens("started empty", |redis, publisher, _| {
            redis.wipe();
            publisher.refused();
            redis.start_again();
        });
        story.happens("emptied", |redis, _, _| {
            assert_eq!(redis.ask(&["FLUSHALL"]).unwrap(), "+OK");
        });
    }
    assert!(story.cluster.figure("journal_recoveries_total") > 2);
}

#[test]
fn a_running_redis_whose_journal_is_gone_or_an_older_one_is_filled_again() {
    let mut story = Story::begin(Disk::None);
    story.happens("taken away", |redis, _, _| {
        assert_eq!(redis.ask(&["DEL", "{channelstream}:journal"]).as_deref(), Some(":1"));
    });
    // As from a backup that is brought back.
    story.happens("older", |redis, publisher, _| {
        let (journal, copy) = ("{channelstream}:journal", "{channelstream}:copy");
        assert_eq!(redis.ask(&["COPY", journal, copy]).as_deref(), Some(":1"));
        publisher.answered(30);
        assert_eq!(redis.ask(&["RENAME", copy, journal]).as_deref(), Some("+OK"));
    });
    assert!(story.cluster.figure("journal_recoveries_total") > 2);
    // Who comes now has the same.
    let late = start(&story.redis, &[]);
    ready(&late);
    story.cluster.servers.push(late);
    compare(&story.outcomes, &story.cluster.agreed("news"), "a server that is started later");
}

#[test]
fn redis_that_stands_still_is_noticed_and_waited_for() {
    let mut story = Story::begin(Disk::None);
    story.happens("stopped", |redis, publisher, cluster| {
        redis.signal("STOP");
        let begun = Instant::now();
        publisher.refused();
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        for server in &cluster.servers {
            assert_ne!(standing(server), "following");
        }
        // Who waits in its socket's queue meanwhile must not be mistaken for who comes later.
        thread::sleep(Duration::from_secs(1));
        redis.signal("CONT");
    });
}

#[test]
fn redis_that_lost_its_newest_entries_gets_them_back() {
    let mut story = Story::begin(Disk::Always);
    for _ in 0..rounds(1, 10) {
        story.happens("from an old copy", |redis, publisher, _| {
            redis.kill();
            publisher.refused();
            redis.forget(3000);
            redis.start_again();
        });
    }
    assert!(story.cluster.figure("journal_put_back_total") > 5);
}

#[test]
fn another_redis_takes_over_where_sentinels_say() {
    let mut master = Redis::start(Disk::None, &["--repl-diskless-sync-delay", "0"]);
    let port = master.port.to_string();
    let replica = Redis::start(Disk::None, &["--replicaof", "127.0.0.1", &port]);
    let sentinel = Redis::sentinel(&master);
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port);
    let is_connected = || master.ask(&["WAIT", "1", "100"]).as_deref() == Some(":1");
    eventually("the replica is connected", is_connected);
    let sees = || sentinel.ask(&["SENTINEL", "REPLICAS", "main"]).as_deref() == Some("*1");
    eventually("the sentinel sees the replica", sees);
    let mut story = Story::begin_on(replica, &url);
    story.happens("failed over", |_, _, cluster| {
        master.kill();
        // A request may wait until the replica is the master, so that none fails.
        let has_begun = || cluster.figure("journal_recoveries_total") > 1;
        eventually("an epoch begins on the replica", has_begun);
    });
}
