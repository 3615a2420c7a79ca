//! The machine-readable descriptions of the API: `OpenAPI` 3.1, and the reference's Swagger 2.0.
//!
//! `openapi.json` is the source of the current description, with all words and all answers. Three
//! things are put into it: the version of the program, who may call a route (from the routing table)
//! and the schemas of requests (from the code that reads them). What several operations share stands
//! once, in `x-shared`.

use std::sync::LazyLock;

use channelstream_core::protocol::request_schemas;
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Value, json};

use crate::router::routes::{Access, ROUTES};

#[cfg(test)]
mod tests;

/// The document for `/openapi.json` (contract §10), which programs written for the reference may
/// read. It is frozen: its paths, the names of its definitions and its API key do not change.
pub(crate) fn legacy_document() -> &'static str {
    include_str!("legacy.json")
}

/// The document for `/openapi-3.1.json`.
pub(crate) fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        serde_json::to_string(&Document::new()).expect("JSON under keys that are texts")
    });
    &DOCUMENT
}

/// The current description. Its paths have the order of the routing table.
#[derive(Serialize)]
struct Document {
    openapi: Value,
    info: Value,
    servers: Value,
    tags: Value,
    paths: IndexMap<&'static str, IndexMap<String, Value>>,
    components: Value,
}

impl Document {
    fn new() -> Self {
        let mut source = source();
        let shared = source["x-shared"].take();
        resolve(&mut source, &shared);
        let mut paths: IndexMap<_, IndexMap<_, _>> = IndexMap::new();
        for route in &ROUTES {
            for method in route.described_methods() {
                let method = method.to_lowercase();
                let mut operation = source["paths"][route.path][&method].take();
                operation["security"] = security(route.access);
                paths.entry(route.path).or_default().insert(method, operation);
            }
        }
        let schemas = &mut source["components"]["schemas"];
        for (name, mut schema) in request_schemas() {
            describe(&mut schema, &schemas[name]);
            schemas[name] = schema;
        }
        source["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
        Self {
            openapi: source["openapi"].take(),
            info: source["info"].take(),
            servers: source["servers"].take(),
            tags: source["tags"].take(),
            paths,
            components: source["components"].take(),
        }
    }
}

fn source() -> Value {
    let text = include_str!("openapi.json");
    serde_json::from_str(text).expect("the document in the program is JSON, as tests show")
}

/// Replaces references to what operations share.
fn resolve(value: &mut Value, shared: &Value) {
    let name = value["$ref"].as_str().and_then(|place| place.strip_prefix("#/x-shared/"));
    if let Some(name) = name {
        *value = shared[name].clone();
        return;
    }
    match value {
        Value::Object(object) => object.values_mut().for_each(|below| resolve(below, shared)),
        Value::Array(items) => items.iter_mut().for_each(|below| resolve(below, shared)),
        _ => {}
    }
}

fn security(access: Access) -> Value {
    match access {
        Access::Handshake | Access::Probe | Access::Open => json!([]),
        Access::Backend => json!([{"signature": []}, {"request_signature": []}]),
        Access::Admin | Access::Documents => {
            json!([{"signature": []}, {"request_signature": []}, {"cookie": []}])
        }
    }
}

/// Copies the descriptions of fields into the schema of a request.
fn describe(schema: &mut Value, words: &Value) {
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, field) in fields.into_iter().flatten() {
        let description = &words["properties"][name]["description"];
        if description.is_string() {
            field["description"] = description.clone();
        }
    }
}
