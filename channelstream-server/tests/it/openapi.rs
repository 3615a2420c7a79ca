//! The API document against real requests and answers: what it says of each is so.

use std::collections::BTreeSet;

use channelstream_server::Config;
use serde_json::{Map, Value, json};

use crate::app::{Answer, App, Request, eventually};

/// A server and the document that it gives out.
struct Described {
    app: App,
    document: Value,
}

impl Described {
    fn start() -> Self {
        let wake_connections_after = std::time::Duration::from_millis(300);
        let app = App::start(Config { wake_connections_after, ..Config::default() });
        let document = app.send(&Request::new("GET", "/openapi.json").signed()).ok();
        Self { app, document }
    }

    /// A schema with its reference followed.
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(place) => {
                self.resolved(self.document.pointer(place.trim_start_matches('#')).unwrap())
            }
            None => schema,
        }
    }

    /// The properties of a schema, those of its parts included.
    fn properties(&self, schema: &Value) -> Map<String, Value> {
        let schema = self.resolved(schema);
        let parts = schema["allOf"].as_array().into_iter().flatten();
        let mut all: Map<_, _> = parts.flat_map(|part| self.properties(part)).collect();
        all.extend(schema["properties"].as_object().cloned().unwrap_or_default());
        all
    }

    /// Asserts that a value has exactly what a schema says; what it does not require may be left
    /// out.
    fn check(&self, schema: &Value, value: &Value, place: &str) {
        let schema = self.resolved(schema);
        if value.is_null() && schema["x-nullable"] == true {
            return;
        }
        let properties = self.properties(schema);
        if !properties.is_empty() {
            let given = value.as_object().unwrap_or_else(|| panic!("{place}: {value}"));
            let required = schema["required"].as_array();
            // The settings that answers have only if they were set.
            let is_optional = |key: &str| ["append_as_edit", "history_ttl"].contains(&key);
            let is_required = |key: &String| {
                required.map_or(!is_optional(key), |keys| keys.iter().any(|one| one == key))
            };
            let told = properties.keys().filter(|key| is_required(key) || given.contains_key(*key));
            let told: BTreeSet<_> = told.collect();
            assert_eq!(given.keys().collect::<BTreeSet<_>>(), told, "{place}: {value}");
            for (key, schema) in properties.iter().filter(|(key, _)| told.contains(key)) {
                self.check(schema, &value[key], &format!("{place}.{key}"));
            }
        }
        let fits = match schema["type"].as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_u64(),
            Some("boolean") => value.is_boolean(),
            Some("array") => value.is_array(),
            Some("object") => value.is_object(),
            None => true,
            Some(other) => panic!("{place} is said to be {other}"),
        };
        assert!(fits, "{place}: {value} is not {}", schema["type"]);
        for (number, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&schema["items"], item, &format!("{place}[{number}]"));
        }
        if !schema["additionalProperties"].is_null() {
            for (key, item) in value.as_object().unwrap() {
                self.check(&schema["additionalProperties"], item, &format!("{place}[{key}]"));
            }
        }
    }

    /// Sends a request and checks its answer against what is said of it.
    fn answer(&self, method: &str, path: &str, query: &str, body: Option<&Value>) -> Answer {
        let mut request = Request::new(&method.to_uppercase(), &format!("{path}{query}")).signed();
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.app.send(&request);
        let operation = &self.document["paths"][path][method];
        let told = self.resolved(&operation["responses"][answer.status.to_string()]);
        assert!(told.is_object(), "{method} {path}: {} is not described", answer.status);
        answer
    }

    fn good(&self, method: &str, path: &str, query: &str, body: Option<&Value>) -> Value {
        let answer = self.answer(method, path, query, body).ok();
        let responses = &self.document["paths"][path][method]["responses"];
        let schema = &self.resolved(&responses["200"])["schema"];
        assert!(!schema.is_null(), "{method} {path}: the answer is not described");
        self.check(schema, &answer, path);
        answer
    }

    /// The example of a body.
    fn example(&self, method: &str, path: &str) -> Value {
        self.body(method, path).unwrap()["x-example"].clone()
    }

    fn body(&self, method: &str, path: &str) -> Option<&Value> {
        let parameters = self.document["paths"][path][method]["parameters"].as_array()?;
        parameters.iter().find(|parameter| parameter["in"] == "body")
    }
}

#[test]
fn every_call_answers_as_described() {
    let it = Described::start();
    let connected = it.good("post", "/connect", "", Some(&it.example("post", "/connect")));
    let connection = connected["conn_id"].clone();
    let query = format!("?conn_id={}", connection.as_str().unwrap());
    let with_connection = |method, path| {
        let mut body = it.example(method, path);
        body["conn_id"] = connection.clone();
        body
    };
    it.good("post", "/subscribe", "", Some(&with_connection("post", "/subscribe")));
    let config = it.example("post", "/channel_config");
    it.good("post", "/channel_config", "", Some(&config));
    let state = it.good("post", "/user_state", "", Some(&it.example("post", "/user_state")));
    assert!(!state["changed_state"].as_array().unwrap().is_empty(), "nothing to compare");
    let posted = it.good("post", "/message", "", Some(&it.example("post", "/message")));
    let info = it.good("post", "/info", "", Some(&it.example("post", "/info")));
    assert!(!info["channels"]["news"]["history"].as_array().unwrap().is_empty());
    assert!(!info["users"].as_array().unwrap().is_empty(), "nothing to compare");
    assert!(info["channels"]["news"]["history_length"].is_null());
    let asked = json!({"info": {"include_history_length": true}});
    let info = it.good("post", "/info", "", Some(&asked));
    assert!(info["channels"]["news"]["history_length"].as_u64().unwrap() > 0);
    let figures = it.good("get", "/admin/admin.json", "", None);
    it.answer("post", "/admin/admin.json", "", None).ok();
    assert!(!figures["users"].as_array().unwrap().is_empty(), "nothing to compare");
    let info_of_channel = &it.document["paths"]["/info"]["post"]["responses"]["200"]["schema"];
    let channel = &info_of_channel["properties"]["channels"];
    it.check(channel, &figures["channels"], "channels");
    let mut edit = it.example("patch", "/message");
    edit[0]["uuid"] = posted[0]["uuid"].clone();
    for (key, value) in [("user", json!("alice")), ("timestamp", json!("2024-05-06T07:08:09"))] {
        edit[0][key] = value;
    }
    it.good("patch", "/message", "", Some(&edit));
    let delete = json!([{"uuid": posted[0]["uuid"], "channel": "news"}]);
    it.good("delete", "/message", "", Some(&delete));
    it.good("post", "/unsubscribe", "", Some(&with_connection("post", "/unsubscribe")));
    // Events have keys by their kind; another test looks at them.
    let events = it.answer("get", "/listen", &query, None).events();
    assert!(!events.is_empty(), "there are no events");
    assert_eq!(it.good("get", "/disconnect", &query, None), true);
    assert_eq!(it.answer("get", "/disconnect", "?conn_id=x", None).status, 422);
    let disconnect = json!({"conn_id": connection});
    assert_eq!(it.good("post", "/disconnect", "", Some(&disconnect)), true);
    eventually("the connection is gone", || {
        it.answer("get", "/listen", &query, None).status == 401
    });
}

#[test]
fn every_path_and_method_is_there() {
    let it = Described::start();
    let mut count = 0;
    for (path, methods) in it.document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            // An empty body or query says nothing good, but something that is described.
            let answer = it.answer(method, path, "", Some(&json!({})));
            assert!(answer.status == 200 || answer.status == 422, "{method} {path}: {answer:?}");
            count += 1;
        }
    }
    assert_eq!(count, 14);
}

#[test]
fn fields_are_read_as_described() {
    let it = Described::start();
    let mut seen = BTreeSet::new();
    for (path, methods) in it.document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let Some(body) = it.body(method, path) else { continue };
            let schema = it.resolved(&body["schema"]);
            // Where fields stand in the body, and where their faults in the answer.
            let (fields, wrap, found): (_, fn(Value) -> Value, _) = if schema["type"] == "array" {
                (&schema["items"], |fields| json!([fields]), "/0")
            } else if !schema["additionalProperties"].is_null() {
                (&schema["additionalProperties"], |fields| json!({"news": fields}), "")
            } else {
                (schema, |fields| fields, "")
            };
            let faults = |fields: Value| {
                let answer = it.answer(method, path, "", Some(&wrap(fields)));
                answer.json().pointer(found).cloned().unwrap_or_default()
            };
            for (key, schema) in it.properties(fields) {
                let wrong = wrong_for(it.resolved(&schema));
                let told = faults(json!({ &key: wrong }));
                assert!(!told[&key].is_null(), "{method} {path} takes {key} as {wrong}: {told}");
                seen.insert(key);
            }
            let required = it.resolved(fields)["required"].as_array().cloned().unwrap_or_default();
            if !required.is_empty() {
                let told = faults(json!({}));
                let told: BTreeSet<_> = told.as_object().unwrap().keys().cloned().collect();
                let required = required.iter().map(|key| key.as_str().unwrap().to_owned());
                assert_eq!(told, required.collect(), "{method} {path}: what is required");
            }
        }
    }
    let info = it.properties(&json!({"$ref": "#/definitions/InfoResolution"}));
    for (key, schema) in info {
        let wrong = wrong_for(it.resolved(&schema));
        let body = json!({"info": { &key: wrong }});
        let told = it.answer("post", "/info", "", Some(&body)).json();
        assert!(!told["info"][&key].is_null(), "info takes {key} as {wrong}: {told}");
    }
    assert!(seen.len() > 15, "{seen:?}");
}

/// A value that is not of the type of a schema.
fn wrong_for(schema: &Value) -> Value {
    if schema["type"] == "object" { json!(1) } else { json!({"a": 1}) }
}

#[test]
fn events_have_the_described_keys() {
    let it = Described::start();
    let app = &it.app;
    let settings = json!({
        "notify_presence": true, "broadcast_presence_with_user_lists": true, "notify_state": true,
    });
    app.configure("room", &settings);
    let listener = app.connect("alice", &["room"]);
    app.connect("bob", &["room"]);
    app.call("/user_state", &json!({"user": "alice", "user_state": {"a": 1}}));
    let posted = app.call("/message", &json!([{"user": "bob", "channel": "room", "message": {}}]));
    let edit = json!([{"uuid": posted[0]["uuid"], "channel": "room", "message": {"b": 2}}]);
    assert_eq!(it.answer("patch", "/message", "", Some(&edit)).status, 200);
    let other = json!([{"uuid": uuid::Uuid::nil(), "channel": "room"}]);
    assert_eq!(it.answer("delete", "/message", "", Some(&other)).status, 200);
    let events = app.poll(&listener);
    let list = &it.document["paths"]["/listen"]["get"]["responses"]["200"]["schema"];
    let told = it.properties(&list["items"]);
    let mut keys = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for event in &events {
        kinds.insert(event["type"].clone().as_str().unwrap().to_owned());
        for (key, value) in event.as_object().unwrap() {
            let schema = told.get(key).unwrap_or_else(|| panic!("{key} is not described"));
            it.check(schema, value, key);
            keys.insert(key.clone());
        }
    }
    assert_eq!(keys, told.keys().cloned().collect());
    let described = told["type"]["enum"].as_array().unwrap();
    assert_eq!(kinds, described.iter().map(|kind| kind.as_str().unwrap().to_owned()).collect());
}
