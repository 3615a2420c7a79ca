//! Events in the form in which the server sends them (contract §7 and §14).

use serde_json::{Value, json};

/// The channel of all events that are not private.
pub(crate) const CHANNEL: &str = "news";
/// The sender of all messages.
pub(crate) const USER: &str = "editor";
/// A time as the server writes it.
const TIME: &str = "2026-11-29T07:24:43.851497";

/// An event with its place in the order of the server.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// The cursor behind it.
    pub(crate) seq: String,
    body: Value,
}

/// Returns the cursor of the place with this number.
pub(crate) fn cursor(number: u32) -> String {
    format!("65a4c7d5e03f1-{number}")
}

/// Returns the id of the message with this number.
pub(crate) fn uuid(number: u32) -> String {
    format!("0b7a9d52-0000-4000-8000-{number:012}")
}

/// A message whose payload is its number.
pub(crate) fn message(number: u32) -> Event {
    with_payload(number, json!({ "number": number }))
}

/// A message with this payload.
pub(crate) fn with_payload(number: u32, payload: Value) -> Event {
    let mut event = Event::new(
        number,
        json!({
            "uuid": uuid(number), "type": "message", "user": USER, "channel": CHANNEL,
            "timestamp": TIME, "edited": null, "catchup": false,
        }),
    );
    event.body["message"] = payload;
    event
}

/// A private message.
pub(crate) fn private(number: u32) -> Event {
    message(number).with("channel", Value::Null)
}

/// An edit of the message `of`, to the payload `{"number": to}`.
pub(crate) fn edit(number: u32, of: u32, to: u32) -> Event {
    Event::new(
        number,
        json!({
            "uuid": uuid(of), "type": "message:edit", "channel": CHANNEL, "edited": TIME,
            "user": USER, "message": { "number": to }, "timestamp": TIME,
        }),
    )
}

/// A delete of the message `of`.
pub(crate) fn delete(number: u32, of: u32) -> Event {
    let body = json!({ "uuid": uuid(of), "type": "message:delete", "channel": CHANNEL });
    Event::new(number, body)
}

/// A message that is opened to grow, with an empty text.
pub(crate) fn open(number: u32) -> Event {
    with_payload(number, json!({ "text": "" })).with("status", "open").with("rev", 0)
}

/// An append to the message `of`, from this `rev` to the next one.
pub(crate) fn append(number: u32, of: u32, from: u32, text: &str) -> Event {
    Event::new(
        number,
        json!({
            "type": "message:append", "uuid": uuid(of), "channel": CHANNEL,
            "append": { "text": text }, "from": from, "rev": from + 1,
        }),
    )
}

/// A gap of a channel; without one, of private events.
pub(crate) fn gap(number: u32, channel: Option<&str>, reason: &str) -> Event {
    let event = Event::new(number, json!({ "type": "gap", "reason": reason }));
    match channel {
        Some(channel) => event.with("channel", channel),
        None => event,
    }
}

/// A user who joined the channel.
pub(crate) fn joined(number: u32, user: &str) -> Event {
    Event::new(
        number,
        json!({
            "uuid": uuid(number), "type": "presence", "user": user, "channel": CHANNEL,
            "timestamp": TIME, "catchup": false, "message": { "action": "joined" },
            "users": [], "state": {},
        }),
    )
}

/// The event that tells a listener without a cursor where it begins.
pub(crate) fn begins(number: u32) -> Event {
    Event::new(number, json!({ "type": "cursor" }))
}

impl Event {
    /// Creates an event of any kind.
    pub(crate) fn new(number: u32, body: Value) -> Self {
        Self { seq: cursor(number), body }
    }

    /// Sets a field.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.body[key] = value.into();
        self
    }

    /// Returns the event as it comes to a listener that was away.
    pub(crate) fn caught_up(self) -> Self {
        self.with("catchup", true)
    }

    /// Returns the JSON of the event as websockets and polls have it.
    pub(crate) fn json(&self) -> Value {
        let mut json = self.body.clone();
        json["seq"] = self.seq.clone().into();
        json
    }

    /// Returns the block of the event in an event stream.
    pub(crate) fn block(&self) -> String {
        let kind = self.body["type"].as_str().unwrap_or_default();
        format!("id: {}\nevent: {kind}\ndata: {}\n\n", self.seq, self.body)
    }

    /// Returns what a client reports of a message.
    pub(crate) fn told(&self) -> Value {
        let mut told = json!({ "event": "message", "cursor": self.seq });
        for key in ["uuid", "channel", "user", "message", "catchup"] {
            told[key] = self.body[key].clone();
        }
        told
    }
}
