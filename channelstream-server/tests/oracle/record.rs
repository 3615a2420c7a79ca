//! What a step records of an HTTP answer.

use std::sync::LazyLock;

use regex_lite::Regex;

use crate::http::{Headers, Response};
use crate::json::{Json, Object, object};
use crate::normal::{self, Normaliser};
use crate::steps::{BodyMode, Http};

/// The cross-origin headers of an ordinary answer; `"cors": "all"` stands for exactly these.
const CORS: [(&str, &str); 5] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, POST, OPTIONS, PUT, DELETE, PATCH"),
    (
        "access-control-allow-headers",
        "Content-Type, Depth, User-Agent, X-File-Size, X-Requested-With, If-Modified-Since, \
         X-File-Name, Cache-Control, Pragma, Origin, Connection, Referer, Cookie",
    ),
    ("access-control-max-age", "86400"),
    ("xdomainrequestallowed", "1"),
];

/// Other headers that are recorded.
const KEPT: [&str; 3] = ["location", "www-authenticate", "x-frame-options"];

static CALL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)^([\w.$]+)\((.*)\);?\s*$").expect("the pattern is fixed"));

/// The fields that `step` records of `response`; `prefix` marks the scenario's own names.
pub(crate) fn record(
    step: &Http,
    prefix: &str,
    response: &Response,
    normal: &mut Normaliser,
) -> Object {
    let kind = response.headers.get("content-type").unwrap_or_default();
    let kind = kind.to_lowercase().replace(' ', "");
    let mut record = object! {
        "status" => usize::from(response.status),
        "content_type" => (!kind.is_empty()).then(|| kind.clone()),
        "cors" => cors(&response.headers, step.raw_cors),
    };
    let mut headers = Object::new();
    for name in KEPT {
        if let Some(value) = response.headers.get(name) {
            headers.insert(name.to_owned(), normal.text(&value).into());
        }
    }
    let cookies: Vec<_> = response.headers.all("set-cookie").map(cookie).collect();
    if !cookies.is_empty() {
        headers.insert("set-cookie".to_owned(), cookies.into());
    }
    if !headers.is_empty() {
        record.insert("headers".to_owned(), headers.into());
    }
    if let Some(texts) = &step.contains {
        let page = response.text();
        let found = texts.iter().map(|text| (text.clone(), page.contains(text).into()));
        record.insert("contains".to_owned(), found.collect::<Object>().into());
    }
    record.extend(body(step, prefix, response, &kind, normal));
    record
}

fn cors(headers: &Headers, one_by_one: bool) -> Json {
    let mut found = Object::new();
    for name in headers.names() {
        if name.starts_with("access-control-") || CORS.iter().any(|(known, _)| *known == name) {
            let value = headers.get(&name).into();
            found.insert(name, value);
        }
    }
    let usual = |from: usize| {
        CORS[from..].iter().map(|(k, v)| (String::from(*k), Json::from(*v))).collect::<Object>()
    };
    if one_by_one {
        found.into()
    } else if found.is_empty() {
        "none".into()
    } else if found == usual(0) {
        "all".into()
    } else if found == usual(1) {
        "all but allow-origin".into()
    } else {
        found.into()
    }
}

fn body(
    step: &Http,
    prefix: &str,
    response: &Response,
    kind: &str,
    normal: &mut Normaliser,
) -> Object {
    match step.body {
        BodyMode::None | BodyMode::Status => return Object::new(),
        BodyMode::Jsonp => {
            let text = response.text();
            let Some(parts) = CALL.captures(&text) else {
                return object! { "text" => normal.text(&text) };
            };
            let body = Json::parse(&parts[2])
                .map_or_else(|_| "<not json>".into(), |value| normal.document(&value));
            return object! { "callback" => &parts[1], "body" => body };
        }
        BodyMode::Json | BodyMode::JsonAny | BodyMode::Shape => {}
    }
    if response.body.is_empty() {
        return object! { "body" => "<empty>" };
    }
    let may_be_json = kind.contains("json") || step.body == BodyMode::JsonAny;
    let Some(mut value) = Json::from_bytes(&response.body).filter(|_| may_be_json) else {
        return object! { "body" => "<not json>" };
    };
    if step.only_ns {
        value = normal::only_prefix(value, prefix);
    }
    if let Some(pointers) = &step.pick {
        let picked =
            pointers.iter().filter_map(|path| Some((path.clone(), value.pointer(path)?.clone())));
        value = picked.collect::<Object>().into();
    }
    if step.body == BodyMode::Shape {
        return object! { "shape" => normal::shape(&value, step.depth) };
    }
    object! { "body" => normal.document(&value) }
}

/// A `Set-Cookie` line without its value, and of its attributes only what does not change.
fn cookie(line: &str) -> Json {
    let mut parts = line.split(';').map(str::trim);
    let (name, value) = parts.next().unwrap_or_default().split_once('=').unwrap_or_default();
    let mut attributes: Vec<_> = parts
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key.to_lowercase() {
                key if key == "expires" || key == "domain" => format!("{key}=<{key}>"),
                key if value.is_empty() => key,
                key => format!("{key}={value}"),
            }
        })
        .collect();
    attributes.sort();
    let value = if matches!(value, "" | "\"\"") { "<empty>" } else { "<value>" };
    format!("{name}={value}; {}", attributes.join("; ")).into()
}
