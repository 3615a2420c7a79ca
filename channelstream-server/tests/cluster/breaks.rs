//! What breaks under the storm: servers, Redis, and the master behind sentinels.

use std::thread;

use crate::cluster::{Cluster, figures, ready};
use crate::redis::{Disk, Redis};
use crate::rounds;
use crate::storm::{Storm, goes_on};

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
    for disk in [Disk::Always, Disk::EverySecond] {
        let mut redis = Redis::start(disk, &[]);
        let storm = Storm::new("Redis is killed");
        let cluster = storm.start(&redis.url());
        storm.rages(cluster, move |cluster, dice| {
            for _ in 0..rounds(1, 10) {
                goes_on(cluster, dice.below(3), dice, 1000);
                redis.kill();
                thread::sleep(dice.pause(1500));
                // As if power had failed, too.
                if matches!(disk, Disk::EverySecond) && dice.one_in(2) {
                    redis.forget(dice.below(20_000) as u64);
                }
                redis.start_again();
                cluster.ready();
            }
            redis
        });
    }
}
