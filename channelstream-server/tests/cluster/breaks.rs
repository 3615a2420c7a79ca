//! What breaks under the storm: servers, Redis, and the master behind sentinels.

use std::thread;
use std::time::{Duration, Instant};

use crate::app::eventually;
use crate::cluster::{Cluster, Outcome, figures, publish, ready, start};
use crate::dice::Dice;
use crate::redis::{Disk, Redis};
use crate::rounds;
use crate::storm::{Storm, goes_on, tell};

/// Kills a server. Whatever it knew of others it knew until then.
fn kill(cluster: &mut Cluster, index: usize) {
    let differed = figures(&cluster.servers[index])["digests_differed_total"].take();
    assert_eq!(differed, 0, "{}", cluster.servers[index].log());
    cluster.kill(index);
}

#[test]
fn servers_are_killed_in_a_storm() {
    let redis = Redis::start(Disk::EverySecond, &[]);
    let storm = Storm::new("servers are killed");
    let cluster = storm.start(&redis.url());
    storm.rages(cluster, |cluster, dice| {
        for _ in 0..rounds(3, 20) {
            goes_on(cluster, 0, dice, 800);
            let index = dice.below(3);
            tell(&format!("{} is killed", cluster.servers[index].address));
            kill(cluster, index);
            thread::sleep(dice.pause(600));
            cluster.start_again(index);
            // The next one is killed perhaps before this one has joined.
            if dice.one_in(2) {
                ready(&cluster.servers[index]);
            }
        }
    });
}

#[test]
fn redis_is_killed_in_a_storm() {
    for disk in &[Disk::EverySecond, Disk::Always][..rounds(1, 2)] {
        let mut redis = Redis::start(*disk, &[]);
        let storm = Storm::new("Redis is killed");
        let cluster = storm.start(&redis.url());
        storm.rages(cluster, move |cluster, dice| {
            for _ in 0..rounds(1, 10) {
                goes_on(cluster, dice.below(3), dice, 1000);
                tell("Redis is killed");
                redis.kill();
                thread::sleep(dice.pause(1500));
                // As if power had failed, too.
                if matches!(disk, Disk::EverySecond) && dice.one_in(2) {
                    redis.forget(dice.below(20_000) as u64);
                }
                redis.start_again();
                tell("Redis is back");
                cluster.ready();
            }
            redis
        });
    }
}

/// Two Redis, one of them the master, and a sentinel that decides soon.
struct Watched {
    master: Redis,
    replica: Redis,
    sentinel: Redis,
}

impl Watched {
    fn start() -> Self {
        let flags = ["--repl-diskless-sync-delay", "0"];
        let (master, replica) =
            (Redis::start(Disk::EverySecond, &flags), Redis::start(Disk::EverySecond, &flags));
        let sentinel = Redis::sentinel(&master);
        let watched = Self { master, replica, sentinel };
        watched.follow();
        watched
    }

    fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/main", self.sentinel.port)
    }

    /// Lets the replica follow the master, and waits until the sentinel would choose it.
    fn follow(&self) {
        let port = self.master.port.to_string();
        assert_eq!(self.replica.ask(&["REPLICAOF", "127.0.0.1", &port]).as_deref(), Some("+OK"));
        self.is_followed();
    }

    fn is_followed(&self) {
        let ok = |field: &str, value: &str| {
            let told = self.sentinel.texts(&["SENTINEL", "REPLICAS", "main"]);
            told.iter()
                .zip(told.iter().skip(1))
                .any(|(name, found)| name == field && found == value)
        };
        eventually("the sentinel sees that the replica follows", || {
            ok("flags", "slave") && ok("master-link-status", "ok")
        });
        let has_all = || self.master.ask(&["WAIT", "1", "100"]).as_deref() == Some(":1");
        eventually("the replica has everything", has_all);
    }

    /// Waits until the replica is the master and all servers have gone on with it.
    fn fails_over(&mut self, cluster: &Cluster, recoveries: u64) {
        std::mem::swap(&mut self.master, &mut self.replica);
        let port = self.master.port.to_string();
        eventually("the sentinel names the replica", || {
            let named = self.sentinel.texts(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
            named.contains(&port)
        });
        let has_begun = || cluster.figure("journal_recoveries_total") > recoveries;
        eventually("an epoch begins on it", has_begun);
        cluster.ready();
    }
}

/// Lets something happen to the master, so that the replica takes over.
fn fail_over(
    watched: &mut Watched,
    cluster: &Cluster,
    dice: &mut Dice,
    fault: impl FnOnce(&mut Watched, &mut Dice),
) {
    goes_on(cluster, dice.below(3), dice, 800);
    let recoveries = cluster.figure("journal_recoveries_total");
    tell(&format!("Redis at {} is lost", watched.master.port));
    fault(watched, dice);
    watched.fails_over(cluster, recoveries);
    tell(&format!("Redis at {} has taken over", watched.master.port));
}

#[test]
fn another_redis_takes_over_in_a_storm() {
    let storm = Storm::new("another Redis takes over");
    let mut watched = Watched::start();
    let cluster = storm.start(&watched.url());
    storm.rages(cluster, move |cluster, dice| {
        for round in 0..rounds(1, 5) {
            let before = cluster.figure("journal_put_back_total");
            fail_over(&mut watched, cluster, dice, |watched, dice| {
                // The first replica is behind: it hears nothing any more while the servers go on.
                if round == 0 {
                    watched.replica.signal("STOP");
                    let cut = watched.master.ask(&["CLIENT", "KILL", "TYPE", "replica"]);
                    assert_eq!(cut.as_deref(), Some(":1"));
                    thread::sleep(Duration::from_millis(300) + dice.pause(500));
                }
                watched.master.kill();
                if round == 0 {
                    watched.replica.signal("CONT");
                }
            });
            if round == 0 {
                let put_back = cluster.figure("journal_put_back_total") - before;
                assert!(put_back > 10, "the replica was behind: {put_back}");
            }
            watched.replica.start_again();
            watched.follow();
        }
        watched
    });
}

#[test]
fn a_master_that_comes_back_is_not_believed_in_a_storm() {
    let storm = Storm::new("a master comes back");
    let mut watched = Watched::start();
    let cluster = storm.start(&watched.url());
    let (cluster, _watched) = storm.rages(cluster, move |cluster, dice| {
        for _ in 0..rounds(1, 3) {
            fail_over(&mut watched, cluster, dice, |watched, _| watched.master.signal("STOP"));
            goes_on(cluster, dice.below(3), dice, 800);
            // It goes on where it was, and takes what still lies in the lines to it.
            watched.replica.signal("CONT");
            let stray = start(&watched.replica, &[]);
            ready(&stray);
            assert_eq!(publish(stray.address, "stray", 1), Outcome::Done);
            goes_on(cluster, dice.below(3), dice, 800);
            drop(stray);
            // The sentinel makes it a replica, which takes its time.
            if rounds(0, 1) == 1 {
                watched.is_followed();
            } else {
                watched.follow();
            }
        }
        watched
    });
    assert_eq!(cluster.agreed("stray"), [0; 0], "it was asked on the other one only");
}

#[test]
fn everything_dies_in_a_storm_and_what_is_lost_is_told() {
    for disk in &[Disk::EverySecond, Disk::Always][..rounds(1, 2)] {
        let mut redis = Redis::start(*disk, &[]);
        let keeps = matches!(disk, Disk::Always);
        let storm = match keeps {
            true => Storm::new("everything dies"),
            false => Storm::that_loses("everything dies, and Redis loses its end"),
        };
        let cluster = storm.start(&redis.url());
        let deaths = storm.deaths();
        storm.rages(cluster, move |cluster, dice| {
            for _ in 0..rounds(1, 5) {
                goes_on(cluster, dice.below(3), dice, 1000);
                tell("everything is killed");
                if dice.one_in(2) {
                    redis.kill();
                    cluster.kill_all();
                } else {
                    cluster.kill_all();
                    redis.kill();
                }
                if !keeps {
                    redis.forget(2000 + dice.below(10_000) as u64);
                }
                redis.start_again();
                // What was answered before is read perhaps only now.
                deaths.lock().unwrap().push(Instant::now());
                for index in 0..3 {
                    cluster.start_again(index);
                }
                cluster.ready();
            }
            redis
        });
    }
}
