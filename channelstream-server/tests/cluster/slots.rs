//! A Redis Cluster: servers that know any of its nodes, and a master that hands over.

use std::thread;
use std::time::{Duration, Instant};

use crate::app::eventually;
use crate::cluster::{Outcome, figures, publish, ready, start_at};
use crate::doctor::doctor;
use crate::redis::{Disk, Redis, free_port};

/// The nodes of a Redis Cluster, the first three of which have the slots; the rest are replicas of the one
/// that has those of the journal.
struct Slots {
    nodes: Vec<(Redis, u16)>,
}

fn node() -> (Redis, u16) {
    let bus = free_port();
    let cluster = ["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()];
    let soon = ["--cluster-node-timeout", "1000", "--cluster-allow-replica-migration", "no"];
    (Redis::start(Disk::EverySecond, &[cluster, soon].concat()), bus)
}

impl Slots {
    fn start() -> Self {
        let nodes: Vec<_> = (0..4).map(|_| node()).collect();
        for ((redis, _), (from, to)) in
            nodes.iter().zip([(0, 5_000), (5_001, 10_000), (10_001, 16_383)])
        {
            let (from, to) = (i32::to_string(&from), i32::to_string(&to));
            assert_eq!(redis.ask(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]).unwrap(), "+OK");
        }
        for (other, bus) in &nodes[1..] {
            let (port, bus) = (other.port.to_string(), bus.to_string());
            let answer = nodes[0].0.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
            assert_eq!(answer.unwrap(), "+OK");
        }
        let slots = Self { nodes };
        eventually("all nodes of the cluster know each other", || {
            slots.nodes.iter().all(|(redis, _)| {
                redis.ask_all(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && redis.ask_all(&["CLUSTER", "NODES"]).matches(" connected").count() == 4
            })
        });
        let id = slots.owner().ask(&["CLUSTER", "MYID"]).unwrap();
        let replica = &slots.nodes[3].0;
        eventually("a node becomes its replica", || {
            replica.ask(&["CLUSTER", "REPLICATE", &id]).is_some_and(|answer| answer == "+OK")
        });
        eventually("the owner has a replica", || {
            replica.ask_all(&["INFO", "replication"]).contains("master_link_status:up")
        });
        slots
    }

    /// The node that has the keys of the journal.
    fn owner(&self) -> &Redis {
        let is_owner = |redis: &&Redis| {
            let answer = redis.ask(&["EXISTS", "{channelstream}:journal"]);
            answer.is_some_and(|answer| answer.starts_with(':'))
        };
        self.nodes.iter().map(|(redis, _)| redis).find(is_owner).unwrap()
    }
}

#[test]
fn servers_follow_the_slot_of_the_journal_wherever_it_is() {
    let slots = Slots::start();
    let first = slots.owner().port;
    let masters = &slots.nodes[..3];
    for (redis, _) in masters {
        let report = doctor(&redis.url(), &[], &[]);
        report.is_good();
        report.has("cluster", "good", &["{channelstream}", "one slot"]);
        report.has("reachable", "good", &[&format!("at 127.0.0.1:{first}")]);
    }
    // Each server knows another node, none of which need be the one with the keys.
    let servers: Vec<_> = masters.iter().map(|(redis, _)| start_at(&redis.url(), &[])).collect();
    servers.iter().for_each(ready);
    for (number, server) in (1..).zip(&servers) {
        assert_eq!(publish(server.address, "news", number), Outcome::Done);
    }
    let answer = slots.nodes[3].0.ask(&["CLUSTER", "FAILOVER"]);
    assert_eq!(answer.unwrap(), "+OK");
    let begun = Instant::now();
    while slots.owner_now() != Some(slots.nodes[3].0.port) {
        assert!(begun.elapsed() < Duration::from_secs(30), "no failover");
        thread::sleep(Duration::from_millis(50));
    }
    for (number, server) in (4..).zip(&servers) {
        let what = "it goes on with the new owner";
        eventually(what, || publish(server.address, "news", number) == Outcome::Done);
    }
    for server in &servers {
        ready(server);
        assert_eq!(figures(server)["journal_divergences_total"], 0, "{}", server.log());
    }
    doctor(&slots.nodes[0].0.url(), &[], &[]).has(
        "reachable",
        "good",
        &[&format!("at 127.0.0.1:{}", slots.nodes[3].0.port)],
    );
}

impl Slots {
    fn owner_now(&self) -> Option<u16> {
        let is_master = self.nodes[3].0.ask_all(&["INFO", "replication"]).contains("role:master");
        is_master.then_some(self.nodes[3].0.port)
    }
}
