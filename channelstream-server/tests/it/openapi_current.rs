//! The `OpenAPI` 3.1 document against real requests and answers, by a validator of JSON Schema.

use std::collections::BTreeSet;

use channelstream_server::Config;
use serde_json::{Value, json};

use crate::app::{Answer, App, Request};

/// A server and the document that it gives out.
struct Described {
    app: App,
    document: Value,
}

impl Described {
    fn start() -> Self {
        let wake_connections_after = std::time::Duration::from_millis(300);
        let app = App::start(Config { wake_connections_after, ..Config::default() });
        let document = app.send(&Request::new("GET", "/openapi-3.1.json").signed()).ok();
        Self { app, document }
    }

    /// Asserts that a value is what a schema of the document says, with no field that it does not
    /// describe.
    fn check(&self, schema: &Value, value: &Value, place: &str) {
        let mut whole = closed(schema, false);
        whole["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        whole["components"] = self.document["components"].clone();
        for (_, schema) in whole["components"]["schemas"].as_object_mut().unwrap() {
            *schema = closed(schema, true);
        }
        let validator =
            jsonschema::validator_for(&whole).unwrap_or_else(|e| panic!("{place}: {e}"));
        let faults: Vec<_> = validator
            .iter_errors(value)
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{place}: {value}\nis not as described:\n{}", faults.join("\n"));
    }

    /// What is said of an answer.
    fn told(&self, method: &str, path: &str, status: u16) -> &Value {
        let told = &self.document["paths"][path][method]["responses"][status.to_string()];
        assert!(told.is_object(), "{method} {path}: {status} is not described");
        match told["$ref"].as_str() {
            Some(place) => self.document.pointer(place.trim_start_matches('#')).unwrap(),
            None => told,
        }
    }

    /// Sends a request and holds its answer against what is said of it.
    fn send(&self, method: &str, path: &str, request: &Request) -> Answer {
        let answer = self.app.send(request);
        let told = self.told(method, path, answer.status);
        let schema = &told["content"]["application/json"]["schema"];
        let is_json = answer.header("content-type") == Some("application/json");
        if is_json {
            assert!(schema.is_object(), "{method} {path}: {} has no schema", answer.status);
            self.check(schema, &answer.json(), &format!("{method} {path} {}", answer.status));
        }
        answer
    }

    /// The same of a signed one.
    fn call(&self, method: &str, path: &str, query: &str, body: Option<&Value>) -> Answer {
        let mut request = Request::new(&method.to_uppercase(), &format!("{path}{query}")).signed();
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(method, path, &request.header("accept", "application/json"))
    }

    fn example(&self, method: &str, path: &str) -> Value {
        self.content(method, path)["example"].clone()
    }

    fn content(&self, method: &str, path: &str) -> &Value {
        &self.document["paths"][path][method]["requestBody"]["content"]["application/json"]
    }
}

/// The schema, without any fields that it does not describe. What is a part of another (`allOf`),
/// or a component, which may be one, stays open: where it is referred to, it is closed.
fn closed(schema: &Value, is_part: bool) -> Value {
    let Value::Object(told) = schema else { return schema.clone() };
    let mut schema = told.clone();
    for (key, below) in &mut schema {
        match key.as_str() {
            "properties" => {
                for (_, field) in below.as_object_mut().unwrap() {
                    *field = closed(field, false);
                }
            }
            "items" | "additionalProperties" => *below = closed(below, false),
            "oneOf" | "anyOf" => {
                for one in below.as_array_mut().unwrap() {
                    *one = closed(one, false);
                }
            }
            "allOf" => {
                for one in below.as_array_mut().unwrap() {
                    *one = closed(one, true);
                }
            }
            _ => {}
        }
    }
    let names_fields = ["properties", "allOf", "$ref"].iter().any(|key| schema.contains_key(*key));
    if names_fields && !is_part {
        schema.insert("unevaluatedProperties".to_owned(), json!(false));
    }
    Value::Object(schema)
}

#[test]
fn preferences_are_described_and_so_are_their_answers() {
    let it = Described::start();
    let mut described = 0;
    for (path, methods) in it.document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let prefers = parameters.filter(|told| told["name"] == "Prefer").count();
            let is_backend =
                operation["security"] == json!([{"signature": []}, {"request_signature": []}]);
            let is_of_page = ["/disconnect", "/cancel"].contains(&&**path) && method == "post";
            let may_prefer =
                is_of_page || is_backend && !["/message/stream", "/reload"].contains(&&**path);
            assert_eq!(prefers, usize::from(may_prefer), "{method} {path}");
            described += prefers;
        }
    }
    assert_eq!(described, 16);
    it.app.connect("ann", &["news"]);
    let messages = json!([
        {"user": "a", "channel": "news", "message": {}}, {"user": "a"},
        {"user": "a", "channel": "none"}, {"user": "a", "pm_users": ["nobody"]},
    ]);
    for prefer in ["handling=strict", "return=representation, handling=strict"] {
        let request = Request::call("/message", &messages).header("prefer", prefer);
        let answer = it.send("post", "/message", &request);
        assert_eq!(answer.ok()[3]["problem"], "no such user", "{prefer}");
    }
    let unknown = Request::call("/message", &json!([{"user": "a", "chanel": "x"}]));
    let unknown = unknown.header("prefer", "handling=strict");
    assert_eq!(it.send("post", "/message", &unknown).status, 422);
}

#[test]
fn every_call_answers_as_described() {
    let it = Described::start();
    let post = |path: &str, body: &Value| it.call("post", path, "", Some(body)).ok();
    let connected = post("/connect", &it.example("post", "/connect"));
    let connection = connected["conn_id"].clone();
    let query = format!("?conn_id={}", connection.as_str().unwrap());
    let with_connection = |path: &str| {
        let mut body = it.example("post", path);
        body["conn_id"] = connection.clone();
        body
    };
    post("/subscribe", &with_connection("/subscribe"));
    let mut in_query = with_connection("/subscribe");
    in_query.as_object_mut().unwrap().remove("conn_id");
    it.call("post", "/subscribe", &query, Some(&in_query)).ok();
    post("/channel_config", &it.example("post", "/channel_config"));
    let state = post("/user_state", &it.example("post", "/user_state"));
    assert!(!state["changed_state"].as_array().unwrap().is_empty(), "nothing to compare");
    let posted = post("/message", &it.example("post", "/message"));
    let dated = json!([{"user": "a", "channel": "news", "timestamp": "2024-05-06T07:08:09+02:00"}]);
    post("/message", &dated);
    let info = post("/info", &it.example("post", "/info"));
    assert!(!info["channels"]["news"]["history"].as_array().unwrap().is_empty());
    let page = post("/history", &it.example("post", "/history"));
    assert!(!page["messages"].as_array().unwrap().is_empty(), "nothing to compare");
    let figures = it.call("get", "/admin/admin.json", "", None).ok();
    assert!(!figures["users"].as_array().unwrap().is_empty(), "nothing to compare");
    it.call("post", "/admin/admin.json", "", None).ok();
    let mut edit = it.example("patch", "/message");
    edit[0]["uuid"] = posted[0]["uuid"].clone();
    it.call("patch", "/message", "", Some(&edit)).ok();
    edit[0]["user"] = json!("alice");
    edit[0]["timestamp"] = json!("2024-05-06T07:08:09");
    it.call("patch", "/message", "", Some(&edit)).ok();
    let delete = json!([{"uuid": posted[0]["uuid"], "channel": "news"}]);
    it.call("delete", "/message", "", Some(&delete)).ok();
    post("/unsubscribe", &with_connection("/unsubscribe"));
    assert!(!it.call("get", "/listen", &query, None).events().is_empty(), "there are no events");
    let channels = json!({"channels": ["nowhere", "news"]});
    let deleted = it.call("delete", "/channels", "", Some(&channels)).ok();
    assert_eq!(deleted, json!({"deleted": ["news"], "unknown": ["nowhere"]}));
    assert_eq!(it.call("get", "/disconnect", &query, None).ok(), true);
    let users = it.call("post", "/list_users", "", Some(&json!({"limit": 1}))).ok();
    assert_eq!(users["users"].as_array().map(Vec::len), Some(1));
    it.call("post", "/list_channels", "", None).ok();
    let removed = json!({"user": "nobody", "reason": "spam", "refuse_for": 1});
    let removed = it.call("post", "/disconnect_user", "", Some(&removed)).ok();
    assert_eq!(removed["refused_for"], 1);
    assert_eq!(
        it.call("post", "/disconnect", "", Some(&json!({"conn_id": connection}))).ok(),
        true
    );
    it.call("get", "/openapi.json", "", None).ok();
    it.call("get", "/openapi-3.1.json", "", None).ok();
}

#[test]
fn every_kind_of_event_is_as_described() {
    let it = Described::start();
    let app = &it.app;
    let settings = json!({
        "notify_presence": true, "broadcast_presence_with_user_lists": true, "notify_state": true,
    });
    app.configure("room", &settings);
    let state = json!({"username": "alice", "channels": ["room"], "user_state": {"a": 0},
        "state_public_keys": ["a"]});
    let listener = app.call("/connect", &state)["conn_id"].as_str().unwrap().to_owned();
    let bob = app.connect("bob", &["room"]);
    app.call("/user_state", &json!({"user": "alice", "user_state": {"a": 1}}));
    app.publish("room", 1);
    app.tell("alice", 2);
    let posted = app.call("/message", &json!([{"user": "bob", "channel": "room", "message": {}}]));
    let edit = json!([{"uuid": posted[0]["uuid"], "channel": "room", "message": {"b": 2}}]);
    it.call("patch", "/message", "", Some(&edit)).ok();
    let delete = json!([{"uuid": posted[0]["uuid"], "channel": "room"}]);
    let open = json!([{"user": "bob", "channel": "room", "status": "open", "message": {"t": ""}}]);
    let growing = it.call("post", "/message", "", Some(&open)).ok()[0]["uuid"].clone();
    let append = json!([{"uuid": growing, "append": {"t": "x", "l": [1]}, "step": 1}]);
    let append = |number| {
        let mut append = append.clone();
        append[0]["step"] = json!(number);
        it.call("patch", "/message", "", Some(&append)).ok();
    };
    append(1);
    let query = format!("?conn_id={listener}");
    let mut kinds = BTreeSet::new();
    // Stored ones first, then live.
    for _ in 0..2 {
        let events = it.call("get", "/listen", &query, None).events();
        kinds.extend(events.iter().map(|event| event["type"].as_str().unwrap().to_owned()));
        it.call("delete", "/message", "", Some(&delete)).ok();
        app.get(&format!("/disconnect?conn_id={bob}"));
    }
    let events = it.call("get", "/listen", &query, None).events();
    kinds.extend(events.iter().map(|event| event["type"].as_str().unwrap().to_owned()));
    // Appends come live only.
    let mut socket = app.socket(&listener);
    append(2);
    let mut event = socket.event();
    while event["type"] != "message:append" {
        event = socket.event();
    }
    it.check(&json!({"$ref": "#/components/schemas/Event"}), &event, "an append");
    kinds.insert("message:append".to_owned());
    let all = [
        "message",
        "message:append",
        "message:delete",
        "message:edit",
        "presence",
        "user_state_change",
    ];
    assert_eq!(kinds, all.map(str::to_owned).into());
}

#[test]
fn refusals_are_as_described() {
    let it = Described::start();
    let signed = |method: &str, path: &str| {
        Request::new(&method.to_uppercase(), path).signed().header("accept", "application/json")
    };
    for (path, methods) in it.document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let path = path.as_str();
            let has_json = operation["requestBody"]["content"]["application/json"].is_object();
            if has_json
                && operation["security"] == json!([{"signature": []}, {"request_signature": []}])
            {
                let broken = signed(method, path).body("{");
                assert_eq!(it.send(method, path, &broken).status, 400, "{method} {path}");
                let large = signed(method, path).body(vec![b' '; 2 << 20]);
                assert_eq!(it.send(method, path, &large).status, 413, "{method} {path}");
                let wrong = it.call(method, path, "", Some(&json!([7])));
                assert_eq!(wrong.status, 422, "{method} {path}");
            }
            if operation["security"] == json!([{"signature": []}, {"request_signature": []}]) {
                let open = Request::new(&method.to_uppercase(), path).json(&json!({}));
                let open = open.header("accept", "application/json");
                assert_eq!(it.send(method, path, &open).status, 403, "{method} {path}");
            }
            if operation["security"] != json!([]) {
                let forged = Request::new(&method.to_uppercase(), path);
                let forged = forged.header("x-channelstream-secret", "forged");
                assert_eq!(it.send(method, path, &forged).status, 401, "{method} {path}");
            }
        }
    }
    let unknown = format!("?conn_id={}", uuid::Uuid::nil());
    assert_eq!(it.call("get", "/listen", &unknown, None).status, 401);
    assert_eq!(it.call("get", "/listen", "?conn_id=x", None).status, 422);
    assert_eq!(it.call("get", "/disconnect", "?conn_id=x", None).status, 422);
    for path in ["/sse", "/stream"] {
        assert_eq!(it.call("get", path, "?conn_id=x", None).status, 422, "{path}");
    }
    assert_eq!(it.call("get", "/ws", "", None).status / 100, 4);
    assert_eq!(it.call("get", "/admin/ws", "", None).status, 403);
}

#[test]
fn every_other_route_answers_as_described() {
    let it = Described::start();
    for (path, methods) in it.document["paths"].as_object().unwrap() {
        let operation = &methods["get"];
        if !operation.is_object()
            || ["/ws", "/admin/ws", "/sse", "/stream", "/listen", "/disconnect"].contains(&&**path)
        {
            continue;
        }
        let example = operation["parameters"][0]["example"].as_str().unwrap_or_default();
        let address = path.replace("{file}", example);
        let request = Request::new("GET", &address).signed().header("accept", "text/html");
        let answer = it.app.send(&request);
        let told = it.told("get", path, answer.status);
        assert!(answer.status < 400, "{path}: {answer:?}");
        let content_type = answer.header("content-type").unwrap_or_default();
        let types = told["content"].as_object();
        let fits =
            types.is_none_or(|types| types.keys().any(|one| content_type.starts_with(&**one)));
        assert!(fits, "{path}: {content_type}, told: {told}");
    }
    // Requests without permissions.
    for path in
        ["/admin", "/api-explorer", "/admin/debug", "/admin/stats.json", "/admin/admin.json"]
    {
        let answer = it.app.get(path);
        it.told("get", path, answer.status);
        assert_eq!(answer.status, 302);
    }
}

#[test]
fn examples_are_as_the_schemas_want_them() {
    let it = Described::start();
    let mut count = 0;
    for (path, methods) in it.document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let content = it.content(method, path);
            if content["schema"].is_object() {
                it.check(&content["schema"], &content["example"], &format!("{method} {path}"));
                count += 1;
            }
        }
    }
    assert_eq!(count, 16);
}

/// Values just within what a schema allows, and just beyond.
fn at_the_limits(schema: &Value) -> (Vec<Value>, Vec<Value>) {
    let text =
        |length: &Value| json!("é".repeat(usize::try_from(length.as_u64().unwrap()).unwrap()));
    let plus = |length: &Value, more: i64| json!(length.as_i64().unwrap() + more);
    let (mut within, mut beyond) = (Vec::new(), Vec::new());
    if schema["maxLength"].is_u64() {
        within.extend([text(&schema["minLength"]), text(&schema["maxLength"])]);
        beyond.push(text(&plus(&schema["maxLength"], 1)));
        if schema["minLength"] != 0 {
            beyond.push(text(&plus(&schema["minLength"], -1)));
        }
        beyond.push(json!(7));
    }
    if schema["minimum"].is_u64() {
        within.push(schema["minimum"].clone());
        beyond.push(plus(&schema["minimum"], -1));
        beyond.push(json!("x"));
    }
    if schema["type"] == "boolean" {
        within.extend([json!(true), json!(false)]);
        beyond.push(json!("perhaps"));
    }
    if schema["format"] == "uuid" {
        within.push(json!(uuid::Uuid::from_u128(7)));
        beyond.extend([json!("x"), json!(7)]);
    }
    if schema["items"].is_object() {
        let (good, bad) = at_the_limits(&schema["items"]);
        within.push(json!(good));
        beyond.extend(bad.into_iter().map(|item| json!([item])));
        if schema["minItems"].is_u64() {
            beyond.push(json!([]));
        }
        beyond.push(json!({}));
    }
    if schema["additionalProperties"].is_object() {
        let is_scalar = schema["additionalProperties"]["type"].is_array();
        let wrong = if is_scalar { json!({"a": 1}) } else { json!(7) };
        beyond.extend([json!([]), json!({ "key": wrong })]);
    }
    if schema["type"].as_array().is_some_and(|types| types.contains(&json!("null"))) {
        within.push(Value::Null);
    } else {
        beyond.push(Value::Null);
    }
    (within, beyond)
}

#[test]
fn the_limits_of_fields_are_those_that_are_told() {
    let it = Described::start();
    let schemas = &it.document["components"]["schemas"];
    let whole = |fields: Value| fields;
    let listed = |fields: Value| json!([fields]);
    let named = |fields: Value| json!({"news": fields});
    let asked = |fields: Value| json!({"info": fields});
    type Wrap<'a> = &'a dyn Fn(Value) -> Value;
    let bodies: [(&str, &str, &str, Wrap<'_>, &str); 15] = [
        ("ConnectBody", "post", "/connect", &whole, ""),
        ("SubscribeBody", "post", "/subscribe", &whole, ""),
        ("UnsubscribeBody", "post", "/unsubscribe", &whole, ""),
        ("UserStateBody", "post", "/user_state", &whole, ""),
        ("MessageBody", "post", "/message", &listed, "/0"),
        ("MessageEditBody", "patch", "/message", &listed, "/0"),
        ("MessagesDeleteBody", "delete", "/message", &listed, "/0"),
        ("ChannelsDeleteBody", "delete", "/channels", &whole, ""),
        ("ChannelConfigBody", "post", "/channel_config", &named, ""),
        ("DisconnectBody", "post", "/disconnect", &whole, ""),
        ("ChannelListBody", "post", "/list_channels", &whole, ""),
        ("UserListBody", "post", "/list_users", &whole, ""),
        ("HistoryBody", "post", "/history", &whole, ""),
        ("UserDisconnectBody", "post", "/disconnect_user", &whole, ""),
        ("InfoResolution", "post", "/info", &asked, "/info"),
    ];
    let mut probes = 0;
    for (name, method, path, wrap, found) in bodies {
        let body = &schemas[name];
        let required = body["required"].as_array().cloned().unwrap_or_default();
        for (field, schema) in body["properties"].as_object().unwrap() {
            let faults = |value: &Value| -> String {
                let answer = it.call(method, path, "", Some(&wrap(json!({ field: value }))));
                let answer = answer.json();
                answer.pointer(found).map_or(Value::Null, |told| told[field].clone()).to_string()
            };
            let is_fault = |told: &str| told != "null" && told.contains('[');
            let (within, beyond) = at_the_limits(schema);
            for value in within {
                let told = faults(&value);
                // That it names nobody, or lacks another field, is not a matter of form; what is answered is none at all.
                let is_form =
                    is_fault(&told) && !told.contains("Unknown") && !told.contains("Needs") && {
                        it.call(method, path, "", Some(&wrap(json!({ field: value })))).status
                            == 422
                    };
                assert!(!is_form, "{name}.{field} refuses {value}: {told}");
                probes += 1;
            }
            for value in beyond {
                let told = faults(&value);
                assert!(is_fault(&told), "{name}.{field} takes {value}");
                probes += 1;
            }
        }
        if !required.is_empty() {
            let answer = it.call(method, path, "", Some(&wrap(json!({})))).json();
            let told: BTreeSet<_> =
                answer.pointer(found).unwrap().as_object().unwrap().keys().cloned().collect();
            for field in &required {
                assert!(told.contains(field.as_str().unwrap()), "{name}: {field} is not missed");
            }
        }
    }
    assert!(probes > 150, "{probes} probes");
}
