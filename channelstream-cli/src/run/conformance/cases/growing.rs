//! Cases of publishers whose messages grow.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::publishing::{check_signature, end};
use crate::run::conformance::door::Visit;
use crate::run::conformance::events::{CHANNEL, USER, cursor, uuid};
use crate::run::conformance::stage::{SECRET, Stage};
use crate::run::conformance::verdict::{Deviation, Played};

/// What is appended, of which a client may put some together.
const PIECES: [&str; 5] = ["Hello", ", ", "wörld", "!", " \u{1f980}"];
/// The most requests of a case.
const MOST_REQUESTS: usize = 50;

pub(super) fn growing(stage: &mut Stage) -> Played {
    play(stage, &[])
}

pub(super) fn growing_in_doubt(stage: &mut Stage) -> Played {
    // The first appends are done, and the answers are lost; so is that to a repeat.
    play(stage, &[0, 1, 3])
}

/// Lets the client publish a growing message. The answers to these appends, by their number, are lost.
fn play(stage: &mut Stage, lost: &[usize]) -> Played {
    let order = json!({
        "do": "grow", "id": "g1", "url": stage.url, "secret": SECRET, "pieces": PIECES,
        "message": { "user": USER, "channel": CHANNEL, "message": { "text": "" } },
    });
    stage.order(&order)?;
    let mut message = Message { uuid: uuid(1), ..Message::default() };
    let mut appends = 0;
    for _ in 0..MOST_REQUESTS {
        let Some(visit) = stage.told_or_visit(&json!({ "event": "published", "id": "g1" }))? else {
            message.is_whole()?;
            return end(stage);
        };
        check_signature(&visit)?;
        let sent: Value = serde_json::from_slice(&visit.body).unwrap_or_default();
        let answer = match (visit.method.as_str(), visit.path.as_str()) {
            ("POST", "/message") => message.open(&visit, &sent)?,
            ("PATCH", "/message") => {
                let items = sent.as_array().into_iter().flatten();
                items.map(|item| message.append(item)).collect::<Played<Value>>()?
            }
            _ => return Err(Deviation::new("POST or PATCH /message", visit.line())),
        };
        let is_append = visit.method == "PATCH";
        if is_append && lost.contains(&appends) {
            visit.stream.shutdown(std::net::Shutdown::Both)?;
        } else {
            let has_key = !visit.header("idempotency-key").is_empty();
            let header = if has_key { "Idempotency-Replayed: false\r\n" } else { "" };
            visit.answer("200 OK", header, &answer)?;
        }
        appends += usize::from(is_append);
    }
    Err(Deviation::new(format!("no more than {MOST_REQUESTS} requests"), "it goes on"))
}

/// A message as the server has it.
#[derive(Default)]
struct Message {
    uuid: String,
    is_open: bool,
    text: String,
    rev: u32,
    status: String,
    /// The items that were done, by their steps.
    steps: BTreeMap<u64, Value>,
}

impl Message {
    fn open(&mut self, visit: &Visit, sent: &Value) -> Played<Value> {
        let mut message = sent[0].clone();
        if message["status"] != "open" || message["message"] != json!({ "text": "" }) {
            let expected = r#"a message with "status":"open" and an empty text"#;
            return Err(Deviation::new(expected, sent));
        }
        if self.is_open && visit.header("idempotency-key").is_empty() {
            return Err(Deviation::new("the message is opened once", visit.line()));
        }
        if let Some(uuid) = message["uuid"].as_str() {
            self.uuid = uuid.to_owned();
        }
        self.is_open = true;
        self.status = "open".to_owned();
        if let Some(fields) = message.as_object_mut() {
            fields.retain(|key, _| ["user", "channel", "message"].contains(&&**key));
        }
        let more = json!({
            "uuid": self.uuid, "timestamp": "2026-11-29T07:24:43.851497", "edited": null,
            "no_history": false, "pm_users": [], "exclude_users": [], "status": "open", "rev": 0,
            "recipients": 1, "stored": true, "seq": cursor(1),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            message[key] = value.clone();
        }
        Ok(json!([message]))
    }

    fn append(&mut self, item: &Value) -> Played<Value> {
        if item["uuid"] != self.uuid.as_str() || !self.is_open {
            return Err(Deviation::new(format!("an append to {}", self.uuid), item));
        }
        let last = self.steps.keys().next_back().copied().unwrap_or(0);
        match item["step"].as_u64() {
            // A sign of life.
            None if item["append"] == json!({}) && item["status"].is_null() => {}
            None => return Err(Deviation::new("a step in each item that changes something", item)),
            Some(step) if step <= last => {
                let what = |item: &Value| (item["append"].clone(), item["status"].clone());
                let first = &self.steps[&step];
                if what(first) != what(item) {
                    return Err(Deviation::new(format!("step {step} is {first}"), item));
                }
            }
            Some(step) if step == last + 1 => {
                self.text.push_str(item["append"]["text"].as_str().unwrap_or_default());
                if let Some(status) = item["status"].as_str() {
                    self.status = status.to_owned();
                }
                self.rev += 1;
                self.steps.insert(step, item.clone());
            }
            Some(_) => return Err(Deviation::new(format!("step {}", last + 1), item)),
        }
        let step = self.steps.keys().next_back();
        Ok(json!({
            "uuid": self.uuid, "channel": CHANNEL, "taken": true, "rev": self.rev,
            "status": self.status, "size": self.text.len() + 11, "step": step,
        }))
    }

    fn is_whole(&self) -> Played {
        let whole = PIECES.concat();
        if self.text == whole && self.status == "done" {
            return Ok(());
        }
        Err(Deviation::new(format!("{whole:?}, done"), format!("{:?}, {}", self.text, self.status)))
    }
}
