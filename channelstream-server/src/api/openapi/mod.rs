//! The machine-readable descriptions of the API: as the reference has it, and as `OpenAPI` 3.1.

mod current;

use std::sync::LazyLock;

/// The old document, for `/openapi.json` (contract §10): Swagger 2.0 as JSON. Programs written for
/// the reference may read it, so its frame (paths, names of definitions, the API key) is fixed. What
/// has no definition of its own there is described where it is first used, and referred to by its
/// place.
pub(crate) fn old_document() -> &'static str {
    include_str!("old.json")
}

/// The document of today, for `/openapi-3.1.json`.
pub(crate) fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        serde_json::to_string(&current::document()).expect("JSON under keys that are texts")
    });
    &DOCUMENT
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn parsed() -> Value {
        serde_json::from_str(old_document()).unwrap()
    }

    fn keys(object: &Value) -> BTreeSet<&str> {
        object.as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// Calls `visit` for each object in a value.
    fn walk(value: &Value, visit: &mut impl FnMut(&serde_json::Map<String, Value>)) {
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
    fn the_frame_is_that_of_the_reference() {
        let document = parsed();
        assert_eq!(document["swagger"], "2.0.0");
        assert_eq!(document["info"], json!({"title": "Channelstream API", "version": "0.7.0"}));
        let key = json!({"type": "apiKey", "in": "header", "name": "X-Channelstream-Secret"});
        assert_eq!(document["securityDefinitions"], json!({ "APIKeyHeader": key }));
        let top = ["definitions", "info", "paths", "securityDefinitions", "swagger"];
        assert_eq!(keys(&document), BTreeSet::from(top));

        let calls: BTreeSet<_> = document["paths"]
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
        assert_eq!(calls, expected.map(str::to_owned).into());
    }

    #[test]
    fn definitions_have_the_names_and_parts_of_the_reference() {
        let document = parsed();
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
    fn every_reference_leads_somewhere_and_every_definition_is_used() {
        let document = parsed();
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
    fn everything_is_described() {
        let document = parsed();
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
}
