//! Servers that are killed under load, one after the other and all at once.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Outcome, figures, publish, ready};
use crate::redis::{Disk, Redis};
use crate::rounds;
use crate::visitor::{Publisher, Visitor, compare};

#[test]
fn clients_of_a_killed_server_go_on_elsewhere_and_miss_nothing() {
    let redis = Redis::start(Disk::None, &[]);
    let mut cluster = Cluster::start(&redis);
    cluster.keep_all("news");
    let epoch = |cluster: &Cluster| figures(&cluster.servers[2])["journal_epoch"].take();
    let begun = epoch(&cluster);
    let visitors: Vec<_> = (0..6)
        .map(|index| {
            let connection = cluster.site(index).connect(&format!("user{index}"), &["news"]);
            let mut addresses = cluster.addresses();
            addresses.rotate_left(index % 3);
            Visitor::listen(addresses, connection)
        })
        .collect();
    let publisher = Publisher::start(cluster.addresses(), "news", 1);
    for round in 0..rounds(2, 20) {
        publisher.answered(30);
        let index = round % 3;
        cluster.kill(index);
        publisher.answered(30);
        cluster.start_again(index);
        ready(&cluster.servers[index]);
    }
    let outcomes = publisher.stop();
    let last = outcomes.len() as u64 + 1;
    assert_eq!(publish(cluster.servers[2].address, "news", last), Outcome::Done);
    for (index, visitor) in visitors.iter().enumerate() {
        compare(&outcomes, &visitor.hears(last), &format!("visitor {index}"));
    }
    compare(&outcomes, &cluster.agreed("news"), "history");
    assert_eq!(cluster.figure("journal_divergences_total"), 0);
    assert_eq!(epoch(&cluster), begun, "Redis was there all the time");
}

#[test]
fn what_all_servers_and_redis_had_is_there_after_all_were_killed() {
    let mut redis = Redis::start(Disk::Always, &[]);
    let mut cluster = Cluster::start(&redis);
    cluster.keep_all("news");
    let connection = cluster.site(0).connect("ann", &["news"]);
    // Who does not listen for too long parts.
    let visitor = Visitor::listen(cluster.addresses(), connection);
    let mut outcomes = BTreeMap::new();
    for round in 0..rounds(2, 10) {
        let publisher = Publisher::start(cluster.addresses(), "news", outcomes.len() as u64 + 1);
        publisher.answered(40);
        cluster.kill_all();
        // The second time, Redis dies too.
        if round % 2 == 1 {
            redis.kill();
            redis.start_again();
        }
        outcomes.extend(publisher.stop());
        for index in 0..3 {
            cluster.start_again(index);
        }
        cluster.ready();
        compare(&outcomes, &cluster.agreed("news"), &format!("round {round}"));
        let users = cluster.site(1).channel("news")["total_users"].clone();
        assert_eq!(users, 1, "nobody has parted");
    }
    let last = outcomes.len() as u64 + 1;
    cluster.site(2).publish("news", last);
    compare(&outcomes, &visitor.hears(last), "visitor");
}
