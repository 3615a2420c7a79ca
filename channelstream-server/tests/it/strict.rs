//! `Prefer`: misspelt fields are refused, messages without receivers are reported, and nothing changes
//! for old programs.

use channelstream_server::Config;
use serde_json::{Value, json};

use crate::app::{Answer, App, Request};

const STRICT: (&str, &str) = ("prefer", "handling=strict");
const BOTH: (&str, &str) = ("prefer", "handling=strict, return=representation");

fn call(app: &App, method: &str, path: &str, prefer: &str, body: &Value) -> Answer {
    let request = Request::new(method, path).signed().json(body);
    app.send(&if prefer.is_empty() { request } else { request.header("prefer", prefer) })
}

#[test]
fn unknown_fields_are_refused_with_what_was_meant() {
    let app = App::start(Config::default());
    let id = app.connect("ann", &["news"]);
    for (method, path, body, told) in [
        (
            "POST",
            "/message",
            json!([{"user": "a", "chanel": "news", "message": {"a": 1}}]),
            json!({"0": {"chanel": ["Unknown field; did you mean channel?"]}}),
        ),
        (
            "POST",
            "/channel_config",
            json!({"news": {"histry_size": 5}}),
            json!({"news": {"histry_size": ["Unknown field; did you mean history_size?"]}}),
        ),
        (
            "POST",
            "/connect",
            json!({"username": "a", "chanels": ["news"], "info": {"x": 1}}),
            json!({
                "chanels": ["Unknown field; did you mean channels?"],
                "info": {"x": ["Unknown field."]},
            }),
        ),
        (
            "POST",
            "/subscribe",
            json!({"conn_id": id, "channels": ["a"], "zzz": {}}),
            json!({"zzz": ["Unknown field."]}),
        ),
        (
            "POST",
            "/unsubscribe",
            json!({"conn_id": uuid::Uuid::nil(), "channels": ["a"], "chan": []}),
            json!({"chan": ["Unknown field; did you mean channels?"], "conn_id": ["Unknown connection"]}),
        ),
        (
            "POST",
            "/user_state",
            json!({"user": "nobody", "state": {}}),
            json!({"state": ["Unknown field; did you mean user_state?"], "user": ["Unknown user"]}),
        ),
        (
            "PATCH",
            "/message",
            json!([{"uuid": id, "channel": "news", "mesage": {}}]),
            json!({"0": {"mesage": ["Unknown field; did you mean message?"]}}),
        ),
        (
            "DELETE",
            "/message",
            json!([{"uuid": id, "channel": "news"}, {"uid": id}]),
            json!({"1": {
                "uuid": ["Missing data for required field."],
                "uid": ["Unknown field; did you mean uuid?"],
            }}),
        ),
        (
            "POST",
            "/info",
            json!({"info": {"channel": ["news"]}}),
            json!({"info": {"channel": ["Unknown field; did you mean channels?"]}}),
        ),
        (
            "POST",
            "/disconnect",
            json!({"conn_id": id, "why": 1}),
            json!({"why": ["Unknown field."]}),
        ),
    ] {
        let answer = call(&app, method, path, STRICT.1, &body);
        assert_eq!((answer.status, answer.json()), (422, told), "{method} {path}");
    }
    let info = app.channel("news");
    assert_eq!(info["settings"]["history_size"], 10, "nothing was carried out");
    assert_eq!(info["users"], json!(["ann"]), "nobody was disconnected");
}

#[test]
fn without_the_header_all_is_as_before() {
    let app = App::start(Config::default());
    app.connect("ann", &["news"]);
    let id = uuid::Uuid::from_u128(7);
    let body = json!([
        {"user": "a", "chanel": "news", "message": {"a": 1}},
        {"user": "a", "channel": "none", "uuid": id, "timestamp": "2024-05-06T07:08:09"},
    ]);
    for prefer in ["", "respond-async", "handling=lenient", "return=minimal"] {
        let answer = call(&app, "POST", "/message", prefer, &body);
        assert_eq!(
            answer.body,
            format!(
                concat!(
                    r#"[{{"uuid":"{}","user":"a","channel":"none","pm_users":[],"exclude_users":[],"#,
                    r#""no_history":false,"timestamp":"2024-05-06T07:08:09","edited":null}}]"#
                ),
                id
            ),
            "{prefer}"
        );
    }
    assert_eq!(call(&app, "POST", "/info", "", &json!({"x": 1, "info": {}})).status, 200);
    let plain = call(&app, "POST", "/info", "", &json!({"info": {}}));
    assert_eq!(plain.header("preference-applied"), None);
}

#[test]
fn each_message_is_told_what_became_of_it() {
    let app = App::start(Config::default());
    let id = app.connect("ann", &["news"]);
    let mut socket = app.socket(&id);
    let message = |address: Value| {
        let mut message = json!({"user": "a", "message": {"n": 1}});
        message.as_object_mut().unwrap().extend(address.as_object().unwrap().clone());
        message
    };
    let body = Value::from(vec![
        message(json!({"channel": "news"})),
        message(json!({})),
        message(json!({"channel": "none"})),
        message(json!({"pm_users": ["nobody"]})),
        message(json!({"pm_users": ["ann", "nobody"]})),
    ]);
    let told = |answer: &Answer| -> Vec<Value> {
        let fields = ["recipients", "stored", "problem"];
        let messages = answer.ok().as_array().unwrap().clone();
        messages.iter().map(|m| fields.iter().map(|name| m[name].clone()).collect()).collect()
    };
    let none = Value::Null;
    let both = call(&app, "POST", "/message", BOTH.1, &body);
    assert_eq!(
        told(&both),
        [
            json!([1, true, none]),
            json!([0, false, "no address"]),
            json!([0, false, "no such channel"]),
            json!([0, false, "no such user"]),
            json!([1, true, none]),
        ]
    );
    assert_eq!(both.ok()[0]["message"], json!({"n": 1}), "the rest is as without it");
    let strict = call(&app, "POST", "/message", STRICT.1, &body);
    let problems =
        [none.clone(), "no address".into(), "no such channel".into(), "no such user".into()];
    let problems = problems.into_iter().chain([none.clone()]);
    assert!(told(&strict).iter().map(|told| told[2].clone()).eq(problems), "{strict:?}");
    assert_eq!(told(&strict)[0], json!([none, none, none]));
    let representation = call(&app, "POST", "/message", "return=representation", &body);
    assert_eq!(told(&representation).len(), 4, "messages without an address are left out");
    assert_eq!(told(&representation)[1], json!([0, false, none]));
    assert_eq!(socket.events(6).len(), 6);
}

#[test]
fn what_was_preferred_and_done_is_told() {
    let app = App::start(Config::default());
    let applied = |prefer: &str, path: &str, body: Value| {
        let request = Request::call(path, &body).header("prefer", prefer);
        app.send(&request).header("preference-applied").map(str::to_owned)
    };
    let info = json!({"info": {}});
    assert_eq!(applied("handling=strict", "/info", info.clone()).unwrap(), "handling=strict");
    assert_eq!(applied("handling=lenient", "/info", info.clone()).unwrap(), "handling=lenient");
    assert_eq!(applied("return=representation", "/info", info), None, "it is one already");
    let applied = applied(BOTH.1, "/message", json!([])).unwrap();
    assert!(applied.contains("return=representation"), "{applied}");
}

#[test]
fn the_setting_is_for_requests_that_prefer_nothing() {
    let app = App::start(Config { strict_requests: true, ..Config::default() });
    let unknown = json!({"info": {}, "x": 1});
    assert_eq!(call(&app, "POST", "/info", "", &unknown).status, 422);
    assert_eq!(call(&app, "POST", "/info", "handling=lenient", &unknown).status, 200);
    let nowhere = call(&app, "POST", "/message", "", &json!([{"user": "a"}])).ok();
    assert_eq!(nowhere[0]["problem"], "no address");
}

#[test]
fn a_body_full_of_unknown_fields_is_refused_in_few_words() {
    let app = App::start(Config::default());
    let fields: String = (0..40_000).map(|n| format!(r#""chanel{n}":1,"#)).collect();
    let body = format!(r#"{{{fields}"username":"a"}}"#);
    let request = Request::new("POST", "/connect").signed().header(STRICT.0, STRICT.1).body(body);
    let answer = app.send(&request);
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json().as_object().unwrap().len(), 20);
}
