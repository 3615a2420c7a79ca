//! A crowd of listeners whose server is restarted: nobody parts, and nobody with a cursor misses anything.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::Site;
use crate::backend::Backend;
use crate::crowd::{Crowd, How};
use crate::journal::{Journal, kept};
use crate::rounds;

#[test]
#[expect(clippy::print_stdout, reason = "the figures are asked for beside the verdict")]
fn a_restart_parts_nobody_and_loses_nothing() {
    let begun = Instant::now();
    let count = rounds(200, 10_000) as usize;
    let journal = Journal::new();
    // Who comes back later parts, and a busy machine needs its time for ten thousand.
    let patience = rounds(15, 60).to_string();
    let patience = ["--gc-conns-after", &patience];
    let mut server = journal.start(&patience);
    let (address, site) = (server.address, Site(server.address));
    let port = address.port().to_string();
    let settings = |has_presence| {
        json!({"store_history": true, "history_size": 100_000, "store_frames": true,
            "frames_size": 100_000, "notify_presence": has_presence})
    };
    site.configure("news", &settings(false));
    let crowd = Crowd::gather(address, "news", count, &[How::WebSocket]);
    // From here on everybody would hear of each who parts or joins.
    site.configure("news", &settings(true));
    println!("{count} clients listen after {:?}", begun.elapsed());
    let backend = Backend::start(address, "news", Duration::from_micros(50 * count as u64));
    for (round, signal) in (2..).zip(["TERM", "KILL"]) {
        backend.goes_on(10);
        let ends = Instant::now();
        server.signal(signal);
        server.ended();
        let ended = ends.elapsed();
        server = journal.start(&[&patience[..], &["--port", &port]].concat());
        let started = ends.elapsed();
        crowd.opens(round);
        println!(
            "{signal}: ended in {ended:?}, listens after {started:?}, all are back after {:?}",
            ends.elapsed()
        );
    }
    backend.goes_on(10);
    let (last, repeats) = backend.stop();
    crowd.hears(last);
    println!(
        "{last} messages, {repeats} repeats, {} lines, {:?} in all",
        crowd.lines(),
        begun.elapsed()
    );
    assert!(kept(site, "news").into_iter().eq(1..=last));
    let channel = site.channel("news");
    assert_eq!(channel["total_users"], count, "{channel}");
    assert_eq!(channel["total_connections"], count, "{channel}");
}
