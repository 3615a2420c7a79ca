//! Several servers on one journal: each answers for all, and clients may go to any of them.

use channelstream_server::{Config, SharedJournal};
use serde_json::json;

use crate::app::{App, numbers};

fn config() -> Config {
    Config::default()
}

/// Three servers on one journal.
fn three() -> [App; 3] {
    let journal = SharedJournal::new();
    [(); 3].map(|()| App::start_on(&journal, config()))
}

#[test]
fn a_connection_of_one_node_listens_on_another_to_what_a_third_publishes() {
    let [a, b, c] = three();
    let ann = a.connect("ann", &["room"]);
    let mut socket = b.socket(&ann);
    c.publish("room", 1);
    assert_eq!(numbers(&[socket.event()]), [1]);
    for node in [&a, &b, &c] {
        assert_eq!(node.channel("room")["users"], json!(["ann"]));
    }
}
