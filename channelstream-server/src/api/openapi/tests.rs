//! What the API descriptions hold: every route, words for everything, and the frame of the reference.

use std::collections::BTreeSet;

use serde_json::Map;

use super::*;

fn legacy() -> Value {
    serde_json::from_str(legacy_document()).unwrap()
}

fn current() -> Value {
    serde_json::from_str(document()).unwrap()
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Calls `visit` for each object in a value.
fn walk(value: &Value, visit: &mut impl FnMut(&Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(object);
            object.values().for_each(|below| walk(below, visit));
        }
        Value::Array(items) => items.iter().for_each(|below| walk(below, visit)),
        _ => {}
    }
}

#[test]
fn the_frame_of_the_legacy_document_is_that_of_the_reference() {
    let document = legacy();
    assert_eq!(document["swagger"], "2.0.0");
    assert_eq!(document["info"], json!({"title": "Channelstream API", "version": "0.7.0"}));
    let key = json!({"type": "apiKey", "in": "header", "name": "X-Channelstream-Secret"});
    assert_eq!(document["securityDefinitions"], json!({ "APIKeyHeader": key }));
    let top = ["definitions", "info", "paths", "securityDefinitions", "swagger"];
    assert_eq!(keys(&document), BTreeSet::from(top));

    let operations: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            keys(methods).into_iter().map(move |method| format!("{method} {path}"))
        })
        .collect();
    let expected = [
        "post /connect",
        "post /subscribe",
        "post /unsubscribe",
        "post /user_state",
        "post /channel_config",
        "post /info",
        "post /message",
        "patch /message",
        "delete /message",
        "get /listen",
        "get /disconnect",
        "post /disconnect",
        "get /admin/admin.json",
        "post /admin/admin.json",
    ];
    assert_eq!(operations, expected.map(str::to_owned).into());
}

#[test]
fn definitions_have_the_names_and_parts_of_the_reference() {
    let document = legacy();
    let required = [
        "ConnectBody",
        "SubscribeBody",
        "UnsubscribeBody",
        "UserStateBody",
        "MessageBody",
        "MessagesBody",
        "MessageEditBody",
        "MessagesDeleteBody",
        "DisconnectBody",
        "ChannelInfoBody",
    ];
    let free = ["ChannelConfigBody", "InfoResolution"];
    let definitions = document["definitions"].as_object().unwrap();
    assert_eq!(definitions.len(), required.len() + free.len());
    for name in required {
        assert_eq!(
            keys(&definitions[name]),
            BTreeSet::from(["properties", "required", "type"]),
            "{name}"
        );
    }
    for name in free {
        assert_eq!(keys(&definitions[name]), BTreeSet::from(["properties", "type"]), "{name}");
    }
}

#[test]
fn legacy_references_lead_somewhere_and_definitions_are_used() {
    let document = legacy();
    let mut used = BTreeSet::new();
    walk(&document, &mut |object| {
        let Some(Value::String(reference)) = object.get("$ref") else { return };
        let pointer = reference.strip_prefix('#').unwrap();
        let target = document.pointer(pointer);
        assert!(target.is_some_and(Value::is_object), "{reference} leads nowhere");
        assert_eq!(object.len(), 1, "what stands beside {reference} is not read");
        used.extend(pointer.strip_prefix("/definitions/").map(str::to_owned));
    });
    assert_eq!(used, keys(&document["definitions"]).into_iter().map(str::to_owned).collect());
}

#[test]
fn everything_in_the_legacy_document_is_described() {
    let document = legacy();
    walk(&document, &mut |object| {
        if let Some(Value::Object(properties)) = object.get("properties") {
            for (name, field) in properties {
                assert!(
                    field.get("$ref").is_some() || field["description"].is_string(),
                    "field {name}"
                );
            }
            for name in object.get("required").and_then(Value::as_array).into_iter().flatten() {
                assert!(
                    properties.contains_key(name.as_str().unwrap()),
                    "required {name} is no field"
                );
            }
        }
        if let Some(Value::Object(responses)) = object.get("responses") {
            for text in ["summary", "description", "operationId"] {
                assert!(object[text].is_string(), "an operation lacks {text}: {object:?}");
            }
            for (status, answer) in responses {
                assert!(
                    answer.get("$ref").is_some() || answer["description"].is_string(),
                    "status {status}"
                );
            }
        }
        if object.get("in").is_some_and(|place| place == "body") {
            assert!(!object["x-example"].is_null(), "a body has no example: {object:?}");
        }
    });
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = current();
    let described: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        })
        .collect();
    let routed = ROUTES.iter().flat_map(|route| {
        let methods = route.described_methods().iter();
        methods.map(|method| format!("{} {}", method.to_lowercase(), route.path))
    });
    assert_eq!(described, routed.collect());
    for (path, methods) in source()["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            assert!(described.contains(&format!("{method} {path}")), "{method} {path}");
        }
    }
}

#[test]
fn every_operation_field_and_answer_has_its_words() {
    let document = current();
    let mut ids = BTreeSet::new();
    let tags: Vec<_> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].clone()).collect();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for text in ["summary", "description"] {
                assert!(operation[text].is_string(), "{method} {path} has no {text}");
            }
            assert!(tags.contains(&operation["tags"][0]), "{method} {path} has no group");
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
            let answers = operation["responses"].as_object().unwrap();
            assert!(!answers.is_empty(), "{method} {path} has no answers");
            for (status, answer) in answers {
                let described = answer["$ref"].is_string() || answer["description"].is_string();
                assert!(described, "{method} {path} {status}");
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            let described = schema["$ref"].is_string() || schema["description"].is_string();
            assert!(described, "{name}.{field} has no words");
        }
    }
}

#[test]
fn references_lead_somewhere_and_components_are_used() {
    let document = current();
    let mut used = BTreeSet::new();
    walk(&document, &mut |object| {
        if let Some(Value::String(reference)) = object.get("$ref") {
            let place = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(place).is_some(), "{reference} leads nowhere");
            used.insert(place.to_owned());
        }
        assert!(!object.contains_key("x-nullable") && !object.contains_key("x-example"));
    });
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let place = format!("/components/{kind}/{name}");
            assert!(used.contains(&place), "{place} is not used");
        }
    }
}

/// Fields that the reference does not have (contract §14).
const OPT_IN: [&str; 9] = [
    "append",
    "append_as_edit",
    "append_timeout",
    "cancel_by",
    "expires",
    "frames_size",
    "history_ttl",
    "status",
    "step",
];

#[test]
fn readers_and_legacy_document_agree() {
    let old = legacy();
    for (name, schema) in request_schemas() {
        let described = &old["definitions"][name];
        if described.is_null() {
            continue;
        }
        let known = |field: &str| !OPT_IN.contains(&field);
        for (field, read) in schema["properties"].as_object().unwrap() {
            if !known(field) {
                continue;
            }
            let described = modern(&described["properties"][field]);
            assert!(described.is_object(), "{name}.{field} is read, but not described");
            for limit in ["minLength", "maxLength", "minItems", "minimum", "$ref"] {
                assert_eq!(read[limit], described[limit], "{limit} of {name}.{field}");
                assert_eq!(read["items"][limit], described["items"][limit], "{name}.{field}");
            }
            assert_eq!(read["type"], described["type"], "type of {name}.{field}");
            let no_default = read["default"].is_null() || described["default"].is_null();
            assert!(no_default || read["default"] == described["default"], "{name}.{field}");
        }
        let fields = |schema: &Value| -> BTreeSet<String> {
            let fields = schema["properties"].as_object().unwrap().keys();
            fields.filter(|field| known(field)).cloned().collect()
        };
        assert_eq!(fields(&schema), fields(described), "fields of {name}");
    }
}

/// A field of the legacy document with the reference and the null of today's JSON Schema.
fn modern(field: &Value) -> Value {
    let mut field = field.clone();
    if let Some(name) =
        field["$ref"].as_str().and_then(|place| place.strip_prefix("#/definitions/"))
    {
        field["$ref"] = json!(format!("#/components/schemas/{name}"));
    }
    if field["x-nullable"] == true {
        field["type"] = json!([field["type"], "null"]);
    }
    field
}
