//! Channels over real sockets: settings by name from the file, and deletion.

use channelstream_core::protocol::ChannelConfig;
use channelstream_core::state::{ChannelDefaults, Pattern};
use channelstream_server::Config;
use serde_json::json;

use crate::app::{App, Request, signature_with};

fn delete(channels: &serde_json::Value) -> Request {
    Request::new("DELETE", "/channels").signed().json(channels)
}

#[test]
fn channels_get_settings_by_their_names() {
    let settings = ChannelConfig {
        store_history: Some(true),
        history_size: Some(2),
        ..ChannelConfig::default()
    };
    let defaults = ChannelDefaults { pattern: Pattern::new("orders-*"), settings };
    let app = App::start(Config { channel_defaults: vec![defaults], ..Config::default() });
    app.connect("ann", &["orders-1", "other"]);
    for number in 1..=3 {
        app.publish("orders-1", number);
        app.publish("other", number);
    }
    assert_eq!(app.channel("orders-1")["history"].as_array().unwrap().len(), 2);
    assert_eq!(app.channel("other")["history"], json!([]));
    // The fields of a request override the settings.
    let request = json!({"username": "ann", "channels": ["orders-2"],
        "channel_configs": {"orders-2": {"history_size": 1}}});
    app.call("/connect", &request);
    let told = &app.channel("orders-2")["settings"];
    assert_eq!((&told["history_size"], &told["store_history"]), (&json!(1), &json!(true)));
    app.configure("orders-2", &json!({"notify_state": true}));
    let told = &app.channel("orders-2")["settings"];
    assert_eq!((&told["history_size"], &told["notify_state"]), (&json!(2), &json!(true)));
}

#[test]
fn a_channel_is_deleted_with_all_that_is_in_it() {
    let app = App::start(Config::default());
    app.configure("room", &json!({"store_history": true, "notify_presence": true}));
    let ann = app.connect("ann", &["room", "other"]);
    let away = app.connect("away", &["room"]);
    let ben = app.connect("ben", &["room"]);
    let mut listening = app.socket(&ben);
    app.publish("room", 1);
    assert_eq!(listening.event()["message"]["n"], 1);

    let answer = app.send(&delete(&json!({"channels": ["room", "nowhere", "room"]}))).ok();
    assert_eq!(answer, json!({"deleted": ["room"], "unknown": ["nowhere"]}));
    for user in ["ann", "away"] {
        let event = listening.event();
        assert_eq!((&event["user"], &event["message"]["action"]), (&json!(user), &json!("parted")));
    }

    // Its members stay in their other channels and can join it again; nothing of it comes back.
    let info = app.call("/info", &json!({"info": {}}));
    assert_eq!(info["channels"].as_object().unwrap().keys().collect::<Vec<_>>(), ["other"]);
    let joined = app.call("/subscribe", &json!({"conn_id": ann, "channels": ["room"]}));
    assert_eq!(joined["channels"], json!(["other", "room"]));
    assert_eq!(joined["channels_info"]["channels"]["room"]["history"], json!([]));
    let mut back = app.socket(&away);
    app.tell("away", 2);
    assert_eq!(back.event()["message"]["n"], 2, "no stored event of the channel before");
    let again = app.send(&delete(&json!({"channels": ["nowhere"]}))).ok();
    assert_eq!(again, json!({"deleted": [], "unknown": ["nowhere"]}));
}

#[test]
fn only_backends_delete_channels_and_say_which() {
    let app = App::start(Config {
        tutorial: channelstream_server::config::Tutorial::On,
        ..Config::default()
    });
    app.connect("ann", &["room"]);
    let body = json!({"channels": ["room"]});
    let bare = Request::new("DELETE", "/channels").json(&body);
    assert_eq!(app.send(&bare).status, 403);
    let wrong = signature_with("wrong");
    let signed = Request::new("DELETE", "/channels").json(&body);
    assert_eq!(app.send(&signed.header("x-channelstream-secret", &wrong)).status, 401);
    assert_eq!(app.send(&Request::new("DELETE", "/tutorial/channels").json(&body)).status, 404);
    assert_eq!(app.send(&Request::new("POST", "/channels").signed().json(&body)).status, 404);
    for (body, faults) in [
        (json!({}), json!({"channels": ["Missing data for required field."]})),
        (json!({"channels": []}), json!({"channels": ["Shorter than minimum length 1."]})),
        (json!({"channels": "room"}), json!({"channels": ["Not a valid list."]})),
        (json!({"channels": [1]}), json!({"channels": {"0": ["Not a valid string."]}})),
        (json!(["room"]), json!({"_schema": ["Invalid input type."]})),
    ] {
        let answer = app.send(&delete(&body));
        assert_eq!((answer.status, answer.json()), (422, faults), "{body}");
    }
    assert_eq!(app.channel("room")["total_users"], 1);
}

#[test]
fn a_channel_of_any_name_that_is_there_is_read_and_deleted() {
    let app = App::start(Config::default());
    let long = "x".repeat(300);
    for name in ["", &long] {
        app.call("/channel_config", &json!({name: {"store_history": true}}));
        let page = app.send(&Request::call("/history", &json!({"channel": name}))).ok();
        assert_eq!(page["messages"], json!([]));
        let answer = app.send(&delete(&json!({"channels": [name]}))).ok();
        assert_eq!(answer, json!({"deleted": [name], "unknown": []}));
    }
}
