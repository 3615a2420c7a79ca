//! A rolling restart of servers behind a proxy, which nobody notices.

use std::ffi::OsStr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::Site;
use crate::backend::Backend;
use crate::cluster::{Cluster, figures, ready};
use crate::crowd::{Crowd, How};
use crate::process::Process;
use crate::proxy;
use crate::redis::{Disk, Redis};
use crate::rounds;

/// Most clients have a websocket.
const HOWS: [How; 5] =
    [How::WebSocket, How::WebSocket, How::EventStream, How::WebSocket, How::Poll];

fn start(redis: &Redis, flags: &[&str]) -> Process {
    let settings = proxy::settings(redis);
    let settings =
        settings.map(|(key, value)| (format!("CHANNELSTREAM_{}", key.to_uppercase()), value));
    let settings: Vec<_> =
        settings.iter().map(|(key, value)| (key.as_str(), OsStr::new(value))).collect();
    Process::start_in(flags, &settings)
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are asked for beside the verdict")]
fn a_rolling_restart_parts_nobody_and_loses_nothing() {
    let begun = Instant::now();
    let count = rounds(60, 3000);
    let redis = Redis::start(Disk::None, &[]);
    let mut cluster = Cluster::of((0..3).map(|_| start(&redis, &[])).collect(), &redis.url(), &[]);
    cluster.ready();
    let nginx = proxy::before(&cluster.addresses());
    let address = ([127, 0, 0, 1], nginx.port).into();
    let settings = |has_presence| {
        json!({"store_history": true, "history_size": 100_000, "store_frames": true,
            "frames_size": 100_000, "notify_presence": has_presence})
    };
    Site(address).configure("news", &settings(false));
    let crowd = Crowd::gather(address, "news", count, &HOWS);
    // From here on everybody would hear of each who parts or joins.
    Site(address).configure("news", &settings(true));
    for server in &cluster.servers {
        assert!(figures(server)["listeners"].as_u64().unwrap() > 0, "nginx passes it by");
    }
    println!("{count} clients listen after {:?}", begun.elapsed());

    let pause = Duration::from_micros(50 * count as u64);
    let backend = Backend::start(address, "news", pause);
    for index in 0..3 {
        backend.goes_on(20);
        let ends = Instant::now();
        let port = cluster.servers[index].address.port().to_string();
        cluster.servers[index].signal("TERM");
        let status = cluster.servers[index].ended();
        assert!(status.success(), "{}", cluster.servers[index].log());
        let ended = ends.elapsed();
        backend.goes_on(10);
        let starts = Instant::now();
        cluster.servers[index] = start(&redis, &["--port", &port]);
        ready(&cluster.servers[index]);
        println!("server {index}: ended in {ended:?}, follows after {:?}", starts.elapsed());
    }
    backend.goes_on(20);
    // Longer than `gc_conns_after`, after which those part who have not come back.
    thread::sleep(Duration::from_secs(rounds(0, 16) as u64));
    let (last, repeats) = backend.stop();
    crowd.hears(last);
    let lines = crowd.lines();
    println!("{last} messages, {repeats} repeats, {lines} lines, {:?} in all", begun.elapsed());
    assert!(lines > count, "nobody had to come back");
    assert_eq!(cluster.agreed("news"), (1..=last).collect::<Vec<_>>());
    for server in &cluster.servers {
        let channel = Site(server.address).channel("news");
        assert_eq!(channel["total_users"], count, "{channel}");
        assert_eq!(channel["total_connections"], count, "{channel}");
    }
    assert_eq!(cluster.figure("journal_divergences_total"), 0);
}
