//! Three servers are one: each does and answers what any other would.

use serde_json::json;

use crate::app::{Request, numbers};
use crate::cluster::{Cluster, figures};
use crate::redis::{Disk, Redis};

#[test]
fn whatever_is_done_on_one_server_is_true_on_all() {
    let redis = Redis::start(Disk::None, &[]);
    let cluster = Cluster::start(&redis);
    cluster.keep_all("news");
    // Connected here, listened there, published anywhere.
    let connection = cluster.site(0).connect("ann", &["news"]);
    let mut socket = cluster.site(1).socket(&connection);
    for number in 0..9 {
        let index = usize::try_from(number).unwrap();
        cluster.site(index).publish("news", number);
        // What is answered is true at once, wherever it is asked for.
        let found = cluster.site(index + 1).channel("news");
        assert_eq!(found["total_connections"], 1, "{found}");
    }
    let mut got = Vec::new();
    while got.len() < 9 {
        got.extend(numbers(&[socket.event()]));
    }
    assert_eq!(got, (0..9).collect::<Vec<_>>());
    assert_eq!(cluster.agreed("news"), (0..9).collect::<Vec<_>>());

    let state =
        json!({"user": "ann", "user_state": {"mood": "fine"}, "state_public_keys": ["mood"]});
    cluster.site(2).call("/user_state", &state);
    for index in 0..3 {
        let info = json!({"info": {"include_users": true, "channels": ["news"]}});
        let users = cluster.site(index).call("/info", &info)["users"].take();
        assert_eq!(users[0]["state"]["mood"], "fine", "{users}");
    }
    // A repeat is one wherever it is repeated.
    let once = Request::call("/message", &crate::app::numbered("news", 100));
    let once = once.header("idempotency-key", "only-once");
    cluster.site(0).send(&once).ok();
    let again = cluster.site(1).send(&once);
    assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again:?}");

    // A second listener takes over on another server.
    let mut other = cluster.site(2).socket(&connection);
    // What is published before that goes to the older one.
    assert_eq!(socket.closed_after_events(), Some(1000));
    cluster.site(0).publish("news", 101);
    assert_eq!(numbers(&[other.event()]), [101]);
    assert_eq!(cluster.agreed("news"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 100, 101]);
    for server in &cluster.servers {
        let figures = figures(server);
        assert!(figures["journal_epoch"].as_u64().unwrap() > 0, "{figures}");
        assert_eq!(figures["journal_divergences_total"], 0);
        assert!(figures["journal_lag_seconds"].as_f64().unwrap() < 2.0);
    }
}
