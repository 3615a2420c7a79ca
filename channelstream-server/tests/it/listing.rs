//! `POST /list_channels` and `/list_users` over HTTP (contract §14).

use channelstream_server::Config;
use serde_json::{Value, json};

use crate::app::{App, Request};

#[test]
fn pages_of_channels_and_users() {
    let app = App::start(Config::default());
    for number in 0..25 {
        app.connect(&format!("user{number:02}"), &[&format!("room{number:02}"), "all"]);
    }
    let mut names = Vec::new();
    let mut after = Value::from("");
    while !after.is_null() {
        let page = app.call("/list_channels", &json!({"after": after, "limit": 10}));
        let entries = page["channels"].as_array().unwrap();
        assert!(entries.len() <= 10, "{page}");
        names.extend(entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()));
        after = page["next"].clone();
    }
    let expected: Vec<_> = (0..25).map(|number| format!("room{number:02}")).collect();
    assert_eq!((&names[0][..], &names[1..]), ("all", &expected[..]));
    // Without a body it is the first page.
    let first = app.send(&Request::new("POST", "/list_channels").signed()).ok();
    assert_eq!(first["channels"][0]["users"], 25, "{first}");
    let users = app.call("/list_users", &json!({"prefix": "user0", "connected": true, "limit": 3}));
    let expected = json!([
        {"user": "user00", "connections": 1},
        {"user": "user01", "connections": 1},
        {"user": "user02", "connections": 1},
    ]);
    assert_eq!((&users["users"], &users["next"]), (&expected, &json!("user02")));
}

#[test]
fn only_backends_see_them() {
    let app = App::start(Config::default());
    app.connect("ann", &["room"]);
    for path in ["/list_channels", "/list_users"] {
        assert_eq!(app.send(&Request::new("POST", path)).status, 403, "{path}");
        assert_eq!(app.send(&Request::new("GET", path).signed()).status, 404, "{path}");
        assert_eq!(app.send(&Request::new("POST", &format!("/tutorial{path}"))).status, 404);
        for bad in [json!({"limit": 0}), json!({"limit": 1001}), json!({"after": 7}), json!([])] {
            assert_eq!(app.send(&Request::call(path, &bad)).status, 422, "{path} {bad}");
        }
        let strict = Request::call(path, &json!({"offset": 7})).header("prefer", "handling=strict");
        assert_eq!(app.send(&strict).status, 422, "{path}");
    }
}
