//! Pages that follow growing messages: each has the whole of what was appended, whatever broke meanwhile.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::dice::Dice;
use crate::model::Tick;
use crate::round::Round;

/// An answer that grew to its end.
#[derive(Debug)]
pub(crate) struct Grown {
    /// The number of the channel.
    pub(crate) channel: usize,
    /// When its opening was asked for.
    pub(crate) asked: Tick,
    pub(crate) text: String,
}

/// What a page has of a message.
#[derive(Debug, Default)]
struct Shown {
    text: String,
    rev: u64,
    is_done: bool,
}

/// What a page shows of the growing messages of a channel.
#[derive(Debug, Default)]
pub(crate) struct Page {
    shown: BTreeMap<String, Shown>,
    /// The gaps it was told.
    gaps: Vec<Value>,
}

impl Page {
    /// Takes an event by the rules for pages (contract §14).
    pub(crate) fn take(&mut self, event: &Value) -> Result<(), String> {
        let uuid = event["uuid"].as_str().unwrap_or_default();
        let rev = event["rev"].as_u64().unwrap_or_default();
        let text = |value: &Value| value["text"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str() {
            Some("message") => {
                let is_done = event["status"] == "done";
                let shown = Shown { text: text(&event["message"]), rev, is_done };
                let older = self.shown.insert(uuid.to_owned(), shown);
                match older.filter(|older| older.rev > rev) {
                    Some(older) => Err(format!("{event} has less than there was: {older:?}")),
                    None => Ok(()),
                }
            }
            Some("message:append") => {
                // Of a message that was opened before the page came there is only the rest.
                let from = event["from"].as_u64().unwrap_or_default();
                let begins = || Shown { rev: from, ..Shown::default() };
                let shown = self.shown.entry(uuid.to_owned()).or_insert_with(begins);
                if from == shown.rev {
                    shown.text += &text(&event["append"]);
                    shown.rev = rev;
                    shown.is_done |= event["status"] == "done";
                }
                Ok(())
            }
            Some("gap") => {
                self.gaps.push(event.clone());
                Ok(())
            }
            _ => Err(format!("an event of no growing message: {event}")),
        }
    }

    /// What it lacks of the messages that were opened after it came, if it lacks anything. Of others it has
    /// what came since, or a gap.
    pub(crate) fn lacks<'a>(
        &self,
        grown: impl Iterator<Item = (&'a String, &'a Grown)>,
        came: Tick,
    ) -> Option<String> {
        let (mut lacks, mut all_are_new) = (None, true);
        for (uuid, grown) in grown {
            if grown.asked <= came {
                all_are_new = false;
                continue;
            }
            let shown = self.shown.get(uuid);
            if !shown.is_some_and(|shown| shown.is_done && shown.text == grown.text) {
                lacks = Some(format!("message {uuid} is {shown:?} and not {:?}", grown.text));
            }
        }
        let gap = self.gaps.first().filter(|_| all_are_new);
        lacks.or_else(|| gap.map(|gap| format!("a gap where messages grow: {gap}")))
    }
}

/// Writes one answer after the other to a channel until the round stops.
pub(crate) async fn write(round: Rc<Round>, mut dice: Dice, channel: usize) {
    while !round.stopped() {
        let number = round.number();
        let uuid = Uuid::from_u128(number.into()).to_string();
        let open = json!([{"user": "p", "channel": format!("g{channel}"), "uuid": uuid,
            "message": {"text": ""}, "status": "open", "append_timeout": 600}]);
        let asked = round.record.tick();
        if !ask(&round, "POST", &open).await {
            return;
        }
        let mut text = String::new();
        let tokens = 5 + dice.below(60);
        for step in 1..=tokens {
            let token = format!("{step}é ");
            text += &token;
            let mut item = json!({"uuid": uuid, "append": {"text": token}, "step": step});
            if step == tokens {
                item["status"] = json!("done");
            }
            if !ask(&round, "PATCH", &json!([item])).await {
                return;
            }
            if round.stopped() && step < tokens {
                let done = json!([{"uuid": uuid, "status": "done", "step": step + 1}]);
                ask(&round, "PATCH", &done).await;
                break;
            }
            tokio::time::sleep(dice.pause(60)).await;
        }
        round.record.count("growing message");
        round.record.grown.borrow_mut().insert(uuid, Grown { channel, asked, text });
    }
}

async fn ask(round: &Round, method: &str, body: &Value) -> bool {
    let answer = round.site.insist(method, "/message", &body.to_string()).await;
    let is_taken = match &answer {
        Ok((200, told)) => {
            let told: Value = serde_json::from_slice(told).unwrap_or_default();
            method == "POST" || told[0]["taken"] == true
        }
        _ => false,
    };
    if !is_taken {
        let answer = answer.map(|(status, told)| (status, told.escape_ascii().to_string()));
        round.record.fault(format!("{method} {body} was answered {answer:?}"));
    }
    is_taken
}
