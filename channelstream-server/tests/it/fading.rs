//! Messages that expire, and channels whose messages leave by age, over HTTP (contract §14).

use channelstream_core::protocol::ChannelConfig;
use channelstream_core::state::{ChannelDefaults, Pattern};
use channelstream_server::config::{Journal, JournalSync};
use channelstream_server::{Config, SharedJournal};
use serde_json::{Value, json};

use crate::app::{App, Request, Site, eventually};

/// A request that servers of a new journal refuse until one of them has raised the level.
fn call_when_possible(site: Site, path: &str, body: &Value) -> Value {
    let mut answer = None;
    eventually("the level is raised", || {
        let sent = site.send(&Request::call(path, body));
        let is_there = sent.status != 503;
        answer = is_there.then(|| sent.ok());
        is_there
    });
    answer.unwrap()
}

fn history(site: Site, channel: &str) -> usize {
    site.channel(channel)["history"].as_array().map_or(0, Vec::len)
}

fn with_history(app: &App) {
    app.configure("room", &json!({"store_history": true}));
}

#[test]
fn a_message_expires() {
    let app = App::start(Config::default());
    with_history(&app);
    let ann = app.connect("ann", &["room"]);
    let mut socket = app.socket(&ann);
    let message = json!([{"user": "bot", "channel": "room", "message": {}, "expires": 1}]);
    let posted = app.call("/message", &message);
    let event = socket.event();
    assert_eq!(event["expires_at"], posted[0]["expires_at"]);
    assert!(posted[0]["expires_at"].is_string(), "{posted}");
    assert_eq!(history(*app, "room"), 1);
    eventually("it has expired", || history(*app, "room") == 0);
    let bad = json!([{"user": "bot", "channel": "room", "expires": 5, "status": "open"}]);
    let refused = app.send(&Request::call("/message", &bad));
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains(r#"Not with status \"open\"."#), "{refused:?}");
}

#[test]
fn messages_leave_a_channel_by_age() {
    let app = App::start(Config::default());
    with_history(&app);
    app.publish("room", 1);
    let settings = json!({"room": {"store_history": true, "history_ttl": 1}});
    let told = app.call("/channel_config", &settings);
    assert_eq!(told["channels"]["room"]["settings"]["history_ttl"], 1);
    eventually("it has left", || history(*app, "room") == 0);
}

#[test]
fn both_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    let pattern = Pattern::new("room*");
    let settings = ChannelConfig {
        store_history: Some(true),
        history_ttl: Some(600),
        ..ChannelConfig::default()
    };
    let start = || {
        let journal = Journal::File { directory: directory.clone(), sync: JournalSync::Always };
        let defaults = ChannelDefaults { pattern: pattern.clone(), settings };
        App::start(Config { journal, channel_defaults: vec![defaults], ..Config::default() })
    };
    let app = start();
    app.configure("room", &json!({"notify_state": true}));
    let goes = json!([{"user": "bot", "channel": "room", "message": {}, "expires": 2}]);
    app.call("/message", &goes);
    app.publish("room", 1);
    app.stop();
    let app = start();
    eventually("it has expired", || history(*app, "room") == 1);
    assert_eq!(app.channel("room")["settings"]["history_ttl"], 600);
}

#[test]
fn it_expires_on_all_nodes() {
    let journal = SharedJournal::new();
    let nodes = [(); 2].map(|()| App::start_on(&journal, Config::default()));
    with_history(&nodes[0]);
    let goes = json!([{"user": "bot", "channel": "room", "message": {}, "expires": 1}]);
    call_when_possible(*nodes[1], "/message", &goes);
    for node in &nodes {
        eventually("it has expired", || history(**node, "room") == 0);
    }
}
