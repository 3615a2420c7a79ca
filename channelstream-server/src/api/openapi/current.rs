//! The description of the API as `OpenAPI` 3.1, put together from what the server itself goes by.
//!
//! Calls are those of the routing table. What requests may hold, with limits and defaults, is told
//! by the code that reads them. The words come from the old document, and from `new.json` for what
//! that does not know; so do the schemas of answers, against which the tests hold real ones.

use channelstream_core::protocol::request_schemas;
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::router::routes::{Access, Call, ROUTES, Route};

/// Date and time as the server writes them: mostly without zone, which the format `date-time` of
/// JSON Schema does not allow.
const TIME: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:?[0-9]{2})?$";

/// Where the old document has what is a component now: its place there, and the new one's kind and
/// name.
const COMPONENTS: [(&str, &str, &str); 6] = [
    ("/paths/~1info/post/responses/200/schema", "schemas", "ChannelsInfo"),
    ("/paths/~1connect/post/responses/400", "responses", "NotJson"),
    ("/paths/~1connect/post/responses/401", "responses", "BadSignature"),
    ("/paths/~1connect/post/responses/403", "responses", "Forbidden"),
    ("/paths/~1connect/post/responses/413", "responses", "BodyTooLarge"),
    ("/paths/~1connect/post/responses/422", "responses", "Faults"),
];

/// Definitions of the old document that are answers; the others are bodies of requests, which the
/// readers describe.
const ANSWERS: [&str; 1] = ["MessagesBody"];

/// The document: paths in the order of the table.
#[derive(Serialize)]
pub(crate) struct Document {
    openapi: &'static str,
    info: Value,
    servers: Value,
    tags: Value,
    paths: IndexMap<&'static str, IndexMap<String, Value>>,
    components: Value,
}

pub(crate) fn document() -> Document {
    let old = parsed(super::old_document());
    let new = parsed(include_str!("new.json"));
    let mut paths: IndexMap<_, IndexMap<_, _>> = IndexMap::new();
    for route in &ROUTES {
        for method in route.described_methods() {
            let method = method.to_lowercase();
            let operation = operation(&old, &new, route, &method);
            paths.entry(route.path).or_default().insert(method, operation);
        }
    }
    Document {
        openapi: "3.1.0",
        info: json!({
            "title": "Channelstream API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": new["description"],
        }),
        servers: json!([{"url": "."}]),
        tags: new["tags"].clone(),
        paths,
        components: json!({
            "securitySchemes": new["securitySchemes"],
            "schemas": schemas(&old, &new),
            "responses": responses(&old, &new),
        }),
    }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).expect("the documents in the program are JSON, as tests show")
}

/// What is told of one method at one path.
fn operation(old: &Value, new: &Value, route: &Route, method: &str) -> Value {
    let told = &new["paths"][route.path][method];
    let mut operation = if told.is_object() {
        told.clone()
    } else {
        converted_operation(old, &old["paths"][route.path][method])
    };
    if takes_preferences(route) && operation["requestBody"].is_object() {
        add_preferences(&mut operation, new, route);
    }
    operation["security"] = match route.access {
        Access::Open => json!([]),
        Access::Backend => json!([{"signature": []}]),
        Access::Admin | Access::Documents => json!([{"signature": []}, {"cookie": []}]),
    };
    operation
}

fn takes_preferences(route: &Route) -> bool {
    route.access == Access::Backend || route.call == Call::Disconnect
}

/// What a request may prefer, and what the answer then has beside.
fn add_preferences(operation: &mut Value, new: &Value, route: &Route) {
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.push(new["prefer"]["parameter"].clone());
    } else {
        operation["parameters"] = json!([new["prefer"]["parameter"]]);
    }
    let answer = &mut operation["responses"]["200"];
    answer["headers"] = json!({"Preference-Applied": new["prefer"]["applied"]});
    if route.call == Call::Publish {
        answer["content"]["application/json"]["schema"]["items"] =
            json!({"$ref": "#/components/schemas/PostedMessage"});
    }
}

fn converted_operation(old: &Value, told: &Value) -> Value {
    let mut operation = json!({});
    for key in ["tags", "operationId", "summary", "description"] {
        operation[key] = told[key].clone();
    }
    let mut parameters = Vec::new();
    for parameter in told["parameters"].as_array().into_iter().flatten() {
        if parameter["in"] == "body" {
            operation["requestBody"] = request_body(parameter);
        } else {
            parameters.push(converted_parameter(parameter));
        }
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    let answers = told["responses"].as_object().into_iter().flatten();
    let answers: Map<_, _> = answers
        .map(|(status, answer)| (status.clone(), answer_or_reference(old, answer)))
        .collect();
    operation["responses"] = Value::Object(answers);
    operation
}

fn request_body(parameter: &Value) -> Value {
    // The body that the old document describes in place is one with a name now.
    let schema = if parameter["schema"]["additionalProperties"].is_object() {
        json!({"$ref": "#/components/schemas/ChannelConfigsBody"})
    } else {
        converted(&parameter["schema"])
    };
    let mut body = json!({
        "required": parameter["required"],
        "content": {"application/json": {"schema": schema, "example": parameter["x-example"]}},
    });
    if parameter["description"].is_string() {
        body["description"] = parameter["description"].clone();
    }
    body
}

fn converted_parameter(parameter: &Value) -> Value {
    let mut schema = json!({});
    for key in ["type", "format", "maxLength"] {
        if !parameter[key].is_null() {
            schema[key] = parameter[key].clone();
        }
    }
    let mut converted = json!({"schema": schema});
    for (key, old_key) in [
        ("name", "name"),
        ("in", "in"),
        ("required", "required"),
        ("description", "description"),
        ("example", "x-example"),
    ] {
        if !parameter[old_key].is_null() {
            converted[key] = parameter[old_key].clone();
        }
    }
    converted
}

/// An answer, or the reference to it where it is a component.
fn answer_or_reference(old: &Value, answer: &Value) -> Value {
    match answer["$ref"].as_str().map(|place| place.trim_start_matches('#')) {
        None => match COMPONENTS
            .iter()
            .find(|(place, kind, _)| *kind == "responses" && old.pointer(place) == Some(answer))
        {
            Some((_, _, name)) => json!({"$ref": format!("#/components/responses/{name}")}),
            None => converted_answer(answer),
        },
        Some(place) => match COMPONENTS.iter().find(|(known, _, _)| *known == place) {
            Some((_, _, name)) => json!({"$ref": format!("#/components/responses/{name}")}),
            None => answer_or_reference(old, old.pointer(place).unwrap_or(&Value::Null)),
        },
    }
}

fn converted_answer(answer: &Value) -> Value {
    let mut converted_answer = json!({"description": answer["description"]});
    let mut content = json!({});
    if answer["schema"].is_object() {
        content["schema"] = closed(converted(&answer["schema"]));
    }
    if let Some(example) = answer["examples"].get("application/json") {
        content["example"] = example.clone();
    }
    if content != json!({}) {
        converted_answer["content"] = json!({"application/json": content});
    }
    converted_answer
}

/// A schema of the old document in today's words.
fn converted(schema: &Value) -> Value {
    match schema {
        Value::Object(old) => {
            let mut schema = Map::new();
            for (key, value) in old {
                match key.as_str() {
                    "$ref" => {
                        schema.insert("$ref".to_owned(), converted_reference(value));
                    }
                    "x-nullable" => {}
                    "format" if value == "date-time" => {
                        schema.insert("pattern".to_owned(), json!(TIME));
                    }
                    _ => {
                        schema.insert(key.clone(), converted(value));
                    }
                }
            }
            if old.get("x-nullable").is_some_and(|nullable| *nullable == true) {
                let usual = schema.get("type").cloned();
                schema.insert("type".to_owned(), json!([usual, "null"]));
            }
            Value::Object(schema)
        }
        Value::Array(items) => items.iter().map(converted).collect(),
        other => other.clone(),
    }
}

fn converted_reference(reference: &Value) -> Value {
    let place = reference.as_str().unwrap_or_default().trim_start_matches('#');
    let component = COMPONENTS.iter().find(|(known, _, _)| *known == place);
    match (component, place.strip_prefix("/definitions/")) {
        (Some((_, kind, name)), _) => json!(format!("#/components/{kind}/{name}")),
        (None, name) => json!(format!("#/components/schemas/{}", name.unwrap_or(place))),
    }
}

/// Fields of answers are there always, unless it is said which are.
fn closed(mut schema: Value) -> Value {
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        let names: Vec<_> = fields.keys().cloned().collect();
        let fields: Map<_, _> =
            fields.iter().map(|(name, field)| (name.clone(), closed(field.clone()))).collect();
        if schema["required"].is_null() {
            schema["required"] = json!(names);
        }
        schema["properties"] = Value::Object(fields);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            schema[key] = closed(schema[key].take());
        } else if schema[key].is_null() {
            schema.as_object_mut().and_then(|schema| schema.remove(key));
        }
    }
    if let Some(parts) = schema.get_mut("allOf").and_then(Value::as_array_mut) {
        parts.iter_mut().for_each(|part| *part = closed(part.take()));
    }
    schema
}

fn schemas(old: &Value, new: &Value) -> Map<String, Value> {
    let mut schemas = Map::new();
    for (name, mut schema) in request_schemas() {
        describe(&mut schema, &old["definitions"][name]);
        describe(&mut schema, &new["requests"][name]);
        schemas.insert(name.to_owned(), schema);
    }
    for name in ANSWERS {
        schemas.insert(name.to_owned(), closed(converted(&old["definitions"][name])));
    }
    for (place, kind, name) in COMPONENTS {
        if kind == "schemas" {
            let schema = converted(old.pointer(place).unwrap_or(&Value::Null));
            schemas.insert(name.to_owned(), closed(schema));
        }
    }
    schemas.extend(new["schemas"].as_object().cloned().unwrap_or_default());
    schemas
}

/// Puts a document's words to the fields.
fn describe(schema: &mut Value, words: &Value) {
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, field) in fields.into_iter().flatten() {
        let words = &words["properties"][name]["description"];
        if words.is_string() {
            field["description"] = words.clone();
        }
    }
}

fn responses(old: &Value, new: &Value) -> Map<String, Value> {
    let mut responses = Map::new();
    for (place, kind, name) in COMPONENTS {
        if kind == "responses" {
            let answer = old.pointer(place).unwrap_or(&Value::Null);
            responses.insert(name.to_owned(), converted_answer(answer));
        }
    }
    // What JSON is said to be there without a schema of its own.
    for name in ["NotJson", "BodyTooLarge"] {
        responses[name]["content"] =
            json!({"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
    }
    responses.extend(new["responses"].as_object().cloned().unwrap_or_default());
    responses
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use std::collections::BTreeSet;

    use super::*;

    fn whole() -> Value {
        serde_json::to_value(document()).unwrap()
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = whole();
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
        let new = parsed(include_str!("new.json"));
        for (path, methods) in new["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                assert!(described.contains(&format!("{method} {path}")), "{method} {path}");
            }
        }
    }

    #[test]
    fn every_operation_field_and_answer_has_its_words() {
        let document = whole();
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
                    let told = answer["$ref"].is_string() || answer["description"].is_string();
                    assert!(told, "{method} {path} {status}");
                }
            }
        }
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
                let told = schema["$ref"].is_string() || schema["description"].is_string();
                assert!(told, "{name}.{field} has no words");
            }
        }
    }

    #[test]
    fn references_lead_somewhere_and_components_are_used() {
        let document = whole();
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

    #[test]
    fn readers_and_old_document_tell_the_same() {
        let old = parsed(super::super::old_document());
        for (name, schema) in request_schemas() {
            let told = &old["definitions"][name];
            if told.is_null() {
                continue;
            }
            let mut told = converted(told);
            for (field, read) in schema["properties"].as_object().unwrap() {
                let told = &mut told["properties"][field];
                assert!(told.is_object(), "{name}.{field} is read, but not told of");
                for limit in ["minLength", "maxLength", "minItems", "minimum", "$ref"] {
                    assert_eq!(read[limit], told[limit], "{limit} of {name}.{field}");
                    assert_eq!(read["items"][limit], told["items"][limit], "{name}.{field}");
                }
                assert_eq!(read["type"], told["type"], "type of {name}.{field}");
                let no_default = read["default"].is_null() || told["default"].is_null();
                assert!(no_default || read["default"] == told["default"], "{name}.{field}");
            }
            let fields = |schema: &Value| -> BTreeSet<String> {
                schema["properties"].as_object().unwrap().keys().cloned().collect()
            };
            assert_eq!(fields(&schema), fields(&told), "fields of {name}");
        }
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
}
