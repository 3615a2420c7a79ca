//! `POST /history` over HTTP (contract §14).

use channelstream_server::Config;
use serde_json::{Value, json};

use crate::app::{App, Request};

#[test]
fn a_history_is_read_by_pages_and_on_from_there() {
    let app = App::start(Config::default());
    app.configure("room", &json!({"store_history": true, "history_size": 30}));
    (0..25).for_each(|number| app.publish("room", number));
    let (mut numbers, mut since) = (Vec::new(), Value::Null);
    let last = loop {
        let page = app.call("/history", &json!({"channel": "room", "since": since, "limit": 10}));
        assert_eq!(page["gap"], Value::Null, "{page}");
        let messages = page["messages"].as_array().unwrap();
        numbers.extend(messages.iter().map(|message| message["message"]["n"].as_u64().unwrap()));
        since = page["next"].clone();
        if since.is_null() {
            break page["cursor"].clone();
        }
    };
    assert!(numbers.into_iter().eq(0..25));
    app.publish("room", 25);
    let page = app.call("/history", &json!({"channel": "room", "since": last}));
    assert_eq!(page["messages"][0]["message"]["n"], 25, "{page}");
    (0..30).for_each(|number| app.publish("room", number));
    let page = app.call("/history", &json!({"channel": "room", "since": last}));
    assert_eq!(page["gap"], "evicted");
}

#[test]
fn a_cursor_of_an_event_is_one_of_the_history() {
    let app = App::start(Config::default());
    app.configure("room", &json!({"store_history": true}));
    let prefer =
        |body: &Value| Request::call("/message", body).header("prefer", "return=representation");
    let posted = app.send(&prefer(&json!([{"user": "a", "channel": "room"}]))).ok();
    app.publish("room", 7);
    let since = json!({"channel": "room", "since": posted[0]["seq"]});
    let page = app.call("/history", &since);
    assert_eq!((&page["messages"][0]["message"]["n"], &page["gap"]), (&json!(7), &Value::Null));
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1));
}

#[test]
fn only_backends_read_it_and_bad_requests_are_told() {
    let app = App::start(Config::default());
    app.connect("ann", &["room"]);
    let good = json!({"channel": "room"});
    assert_eq!(app.send(&Request::new("POST", "/history").json(&good)).status, 403);
    assert_eq!(app.send(&Request::new("GET", "/history").signed()).status, 404);
    assert_eq!(app.send(&Request::new("POST", "/tutorial/history").json(&good)).status, 404);
    for (bad, want) in [
        (json!({"channel": "nowhere"}), r#"{"channel":["Unknown channel"]}"#),
        (json!({"channel": "room", "since": "x"}), r#"{"since":["Not a cursor."]}"#),
        (json!({"channel": "room", "limit": 1001}), r#"{"limit":["Must be between 1 and 1000."]}"#),
        (json!({}), r#"{"channel":["Missing data for required field."]}"#),
    ] {
        let refused = app.send(&Request::call("/history", &bad));
        assert_eq!((refused.status, refused.body.trim()), (422, want), "{bad}");
    }
    let strict = json!({"channel": "room", "after": 7});
    let strict = Request::call("/history", &strict).header("prefer", "handling=strict");
    assert_eq!(app.send(&strict).status, 422);
}
