//! `Event`: what a connection receives, typed (contract §7).

use channelstream_core::protocol::{
    Action, Changed, DateTime, GapReason, Growth, Payload, Pieces, Status, UserState, UserView,
    Uuid,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::stream_event::Gap;

/// An event, as the server sent it to a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The id of the message, for a message, its edit and its delete; otherwise the id of the event.
    /// Nil only for an event of an unknown kind that has no id.
    pub uuid: Uuid,
    /// The channel; `None` for a private message, its edit or its delete.
    pub channel: Option<String>,
    /// `true` if the event was sent earlier, while nobody listened, and arrives now as catch-up.
    pub catchup: bool,
    /// What happened.
    pub kind: EventKind,
    json: Box<RawValue>,
}

/// What happened, by kind.
///
/// Times that the server made are UTC. Some kinds of events write them with a `Z`, others without a
/// zone: a [`DateTime`] without a zone is UTC, never local time. A `timestamp` that a backend set
/// itself keeps the backend's zone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A message was posted.
    #[non_exhaustive]
    Message {
        /// The sender.
        user: String,
        /// The payload. [`Event::payload`] parses it.
        payload: Option<Payload>,
        /// The time of posting; UTC if it has no zone.
        timestamp: DateTime,
        /// The time of the last edit, if the message arrives as catch-up and was edited before; UTC if
        /// it has no zone.
        edited: Option<DateTime>,
        /// The time after which the server no longer has it, if it was published with `expires`; UTC if it
        /// has no zone.
        expires_at: Option<DateTime>,
        /// How far the message has grown, if it is one that [grows](crate::MessageStream). A message whose
        /// id is known replaces what is known of it.
        growth: Option<Growth>,
    },
    /// A message was edited. Fields that are `None` did not change.
    #[non_exhaustive]
    Edit {
        /// The new sender.
        user: Option<String>,
        /// The whole new payload. [`Event::payload`] parses it.
        payload: Option<Payload>,
        /// The new time of posting; UTC if it has no zone.
        timestamp: Option<DateTime>,
        /// The time of the edit; UTC if it has no zone.
        edited: Option<DateTime>,
        /// How far the message has grown, if it is one that grows.
        growth: Option<Growth>,
    },
    /// A message has grown, or its status changed.
    #[non_exhaustive]
    Append {
        /// What goes behind the value of each key; empty if only the status changed.
        append: Pieces,
        /// The `rev` of the message before. The append counts only if this is the `rev` that is known.
        from: u64,
        /// The `rev` of the message after.
        rev: u64,
        /// The status, if it changed.
        status: Option<Status>,
    },
    /// A message was removed.
    Delete,
    /// A user joined or left the channel.
    #[non_exhaustive]
    Presence {
        /// The user.
        user: String,
        /// Whether the user joined or left.
        action: Action,
        /// The time; UTC if it has no zone.
        timestamp: DateTime,
        /// The users that are present now, if the channel sends such lists.
        users: Vec<UserView>,
        /// The public state of the user that joined.
        state: Option<UserState>,
    },
    /// A user's state changed.
    #[non_exhaustive]
    UserState {
        /// The user.
        user: String,
        /// The time; UTC if it has no zone.
        timestamp: DateTime,
        /// The whole public state after the change.
        state: UserState,
        /// The public keys that changed.
        changed: Vec<Changed>,
    },
    /// An event of a kind that this version does not know. [`Event::json`] returns its JSON.
    Other,
}

impl Event {
    /// Returns the event as it was sent: one JSON object.
    #[must_use]
    pub fn json(&self) -> &str {
        self.json.get()
    }

    /// Parses the payload of a message or an edit. An event without a payload parses as `null`.
    ///
    /// # Errors
    ///
    /// The payload does not fit the type `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let payload = match &self.kind {
            EventKind::Message { payload, .. } | EventKind::Edit { payload, .. } => {
                payload.as_deref()
            }
            _ => None,
        };
        serde_json::from_str(payload.map_or("null", RawValue::get))
    }

    /// Parses an event. An object that does not have the fields of its kind is [`EventKind::Other`].
    fn parse(json: Box<RawValue>) -> Self {
        let (uuid, channel, catchup, kind) = match serde_json::from_str::<Fields<'_>>(json.get()) {
            Ok(mut fields) => {
                let (uuid, channel) = (fields.uuid.unwrap_or_default(), fields.channel.take());
                let catchup = fields.catchup;
                (uuid, channel, catchup, fields.kind().unwrap_or(EventKind::Other))
            }
            Err(_) => (Uuid::nil(), None, false, EventKind::Other),
        };
        Self { uuid, channel, catchup, kind, json }
    }
}

/// An item of what the server sends.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) what: What,
    /// The cursor behind the item, from a server that knows cursors.
    pub(super) cursor: Option<String>,
}

/// What an item is.
#[derive(Debug)]
pub(super) enum What {
    Event(Event),
    Gap(Gap),
    /// Where the listener stands.
    Cursor,
}

impl Sent {
    fn parse(json: Box<RawValue>) -> Self {
        /// Longer texts are no cursors (contract §14), and would be sent with each request.
        const LONGEST: usize = 64;
        let Ok(Place { r#type, channel, reason, seq }) = serde_json::from_str(json.get()) else {
            return Self { what: What::Event(Event::parse(json)), cursor: None };
        };
        let cursor = seq.filter(|seq| !seq.is_empty() && seq.len() <= LONGEST);
        let what = match (r#type.as_str(), reason) {
            ("gap", Some(Reason::Known(reason))) => What::Gap(Gap::Lost { channel, reason }),
            ("gap", Some(Reason::Other)) => What::Gap(Gap::LostOtherwise { channel }),
            ("cursor", _) if cursor.is_some() => What::Cursor,
            _ => What::Event(Event::parse(json)),
        };
        Self { what, cursor }
    }
}

/// Parses a list of items as the server sends it. An empty list is a heartbeat.
pub(super) fn parse_events(text: &str) -> Result<Vec<Sent>, serde_json::Error> {
    let list: Vec<Box<RawValue>> = serde_json::from_str(text)?;
    Ok(list.into_iter().map(Sent::parse).collect())
}

/// What is read of every item.
#[derive(Deserialize)]
struct Place {
    #[serde(default)]
    r#type: String,
    channel: Option<String>,
    #[serde(default, deserialize_with = "reason")]
    reason: Option<Reason>,
    seq: Option<String>,
}

/// The reason of a gap.
enum Reason {
    Known(GapReason),
    /// A text of a later version.
    Other,
}

/// What is not a text is no error, and no reason.
fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let is_text = value.is_string();
    let known = serde_json::from_value(value).ok().map(Reason::Known);
    Ok(known.or(is_text.then_some(Reason::Other)))
}

/// The fields of all kinds of events.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(default)]
    r#type: String,
    uuid: Option<Uuid>,
    channel: Option<String>,
    #[serde(default)]
    catchup: bool,
    user: Option<String>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    timestamp: Option<DateTime>,
    edited: Option<DateTime>,
    expires_at: Option<DateTime>,
    #[serde(default)]
    users: Vec<UserView>,
    state: Option<UserState>,
    append: Option<Pieces>,
    from: Option<u64>,
    rev: Option<u64>,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Acted {
    action: Action,
}

#[derive(Deserialize)]
struct StateChanged {
    state: UserState,
    changed: Vec<Changed>,
}

impl Fields<'_> {
    fn kind(self) -> Option<EventKind> {
        let Self { user, message, timestamp, edited, users, state, .. } = self;
        let Self { expires_at, append, from, rev, status, .. } = self;
        self.uuid?;
        let growth = || Some(Growth { status: status?, rev: rev? });
        let payload = || message.map(|raw| Payload::from(raw.to_owned()));
        Some(match self.r#type.as_str() {
            "message" => EventKind::Message {
                user: user?,
                payload: payload(),
                timestamp: timestamp?,
                edited,
                expires_at,
                growth: growth(),
            },
            "message:edit" => {
                let growth = growth();
                EventKind::Edit { user, payload: payload(), timestamp, edited, growth }
            }
            "message:append" => {
                EventKind::Append { append: append?, from: from?, rev: rev?, status }
            }
            "message:delete" => EventKind::Delete,
            "presence" => {
                let Acted { action } = serde_json::from_str(message?.get()).ok()?;
                EventKind::Presence { user: user?, action, timestamp: timestamp?, users, state }
            }
            "user_state_change" => {
                let StateChanged { state, changed } = serde_json::from_str(message?.get()).ok()?;
                EventKind::UserState { user: user?, timestamp: timestamp?, state, changed }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    fn event(rest: &str) -> Event {
        let text = format!(r#"[{{"uuid": "{ID}", {rest}}}]"#);
        let mut sent = parse_events(&text).unwrap();
        let (Some(Sent { what: What::Event(event), cursor: None }), true) =
            (sent.pop(), sent.is_empty())
        else {
            panic!("{text}")
        };
        assert_eq!(event.uuid, Uuid::from_u128(7));
        assert_eq!(event.json(), &text[1..text.len() - 1]);
        event
    }

    #[test]
    fn every_kind_is_parsed() {
        let message = event(
            r#""type": "message", "user": "a", "channel": "c", "message": {"n": 1.10},
            "timestamp": "2026-01-02T03:04:05Z", "edited": null, "catchup": true"#,
        );
        assert_eq!((message.channel.as_deref(), message.catchup), (Some("c"), true));
        let EventKind::Message {
            user,
            payload: Some(payload),
            timestamp,
            edited: None,
            expires_at: None,
            growth: None,
        } = &message.kind
        else {
            panic!("{message:?}")
        };
        assert_eq!((user.as_str(), payload.get()), ("a", r#"{"n": 1.10}"#));
        assert_eq!(timestamp.to_string(), "2026-01-02T03:04:05+00:00");
        let payload: std::collections::BTreeMap<String, f64> = message.payload().unwrap();
        assert_eq!(payload["n"], 1.1);
        assert!(message.payload::<Vec<u8>>().is_err());

        let edit = event(r#""type": "message:edit", "channel": null, "edited": "2026-1-2T3:4""#);
        assert!(matches!(edit.kind, EventKind::Edit { user: None, edited: Some(_), .. }));
        assert_eq!(edit.payload::<Option<u8>>().unwrap(), None);
        let delete = event(r#""type": "message:delete", "channel": "c""#);
        assert!(matches!(delete.kind, EventKind::Delete) && !delete.catchup);

        let opened = event(
            r#""type": "message", "user": "a", "channel": "c", "message": {}, "status": "open",
            "timestamp": "2026-01-02T03:04:05Z", "edited": null, "catchup": false, "rev": 3"#,
        );
        let EventKind::Message { growth: Some(growth), .. } = opened.kind else {
            panic!("{opened:?}")
        };
        assert_eq!(growth, Growth { status: Status::Open, rev: 3 });

        let append = event(
            r#""type": "message:append", "channel": "c", "append": {"text": "wö\n"}, "from": 3,
            "rev": 5, "status": "done", "catchup": true"#,
        );
        let EventKind::Append { append: pieces, from: 3, rev: 5, status: Some(Status::Done) } =
            append.kind
        else {
            panic!("{append:?}")
        };
        assert_eq!((pieces["text"].json(), append.catchup), (r#""wö\n""#, true));

        let presence = event(
            r#""type": "presence", "user": "b", "channel": "c", "timestamp": "2026-01-02T03:04:05",
            "catchup": false, "message": {"action": "joined"},
            "users": [{"user": "b", "state": {"k": 1}}], "state": {"k": 1}"#,
        );
        let EventKind::Presence { user, action, users, state: Some(state), .. } = presence.kind
        else {
            panic!("{presence:?}")
        };
        assert_eq!((user.as_str(), action, &*users[0].user), ("b", Action::Joined, "b"));
        assert_eq!(state["k"].json(), "1");

        let change = event(
            r#""type": "user_state_change", "user": "b", "channel": "c", "catchup": false,
            "timestamp": "2026-01-02T03:04:05",
            "message": {"state": {"k": null}, "changed": [{"key": "k", "value": null}]}"#,
        );
        let EventKind::UserState { state, changed, .. } = change.kind else { panic!("{change:?}") };
        assert_eq!((state.len(), changed[0].key.as_str()), (1, "k"));
    }

    #[test]
    fn unknown_events_are_kept_verbatim() {
        for rest in [
            r#""type": "new", "channel": "c""#,
            r#""channel": "c""#,
            r#""type": "message", "channel": "c""#,
            r#""type": "presence", "user": "b", "timestamp": "2026-01-02T03:04:05", "channel": "c",
               "message": {"action": "danced"}"#,
        ] {
            let event = event(rest);
            assert!(matches!(event.kind, EventKind::Other), "{rest}");
            assert_eq!(event.channel.as_deref(), Some("c"));
        }
        let sent = parse_events(r#"[7, null, {"uuid": 7}]"#).unwrap();
        let events: Vec<_> = sent.iter().map(other).collect();
        assert_eq!((events.len(), events[2].json()), (3, r#"{"uuid": 7}"#));
        assert!(parse_events("[]").unwrap().is_empty());
        assert!(parse_events("{}").is_err() && parse_events("").is_err());
    }

    fn other(sent: &Sent) -> &Event {
        match &sent.what {
            What::Event(event) if matches!(event.kind, EventKind::Other) => event,
            what => panic!("{what:?}"),
        }
    }

    #[test]
    fn cursors_and_gaps_are_told_apart_from_events() {
        let sent = parse_events(
            r#"[{"type": "cursor", "seq": "a-1"},
                {"type": "gap", "channel": "c", "reason": "evicted", "seq": "a-2"},
                {"type": "gap", "reason": "epoch", "seq": "a-3"},
                {"type": "new", "channel": "c", "seq": "a-4"}]"#,
        )
        .unwrap();
        let cursors: Vec<_> = sent.iter().filter_map(|sent| sent.cursor.as_deref()).collect();
        assert_eq!(cursors, ["a-1", "a-2", "a-3", "a-4"]);
        assert!(matches!(sent[0].what, What::Cursor));
        let gap = |sent: &Sent| match &sent.what {
            What::Gap(Gap::Lost { channel, reason }) => (channel.clone(), *reason),
            what => panic!("{what:?}"),
        };
        assert_eq!(gap(&sent[1]), (Some("c".to_owned()), GapReason::Evicted));
        assert_eq!(gap(&sent[2]), (None, GapReason::Epoch));
        other(&sent[3]);

        let new = r#"[{"type": "gap", "channel": "c", "reason": "new", "seq": "a-4"}]"#;
        let new = parse_events(new).unwrap();
        let What::Gap(Gap::LostOtherwise { channel }) = &new[0].what else { panic!("{new:?}") };
        assert_eq!((channel.as_deref(), new[0].cursor.as_deref()), (Some("c"), Some("a-4")));

        let strange = format!(
            r#"[{{"type": "cursor"}}, {{"type": "gap", "reason": {{}}, "seq": "a-5"}},
                {{"type": "cursor", "seq": "{}"}}, {{"type": "gap", "reason": 7}},
                {{"type": "new", "seq": 7}}, {{"type": "cursor", "seq": ""}}]"#,
            "7".repeat(65)
        );
        let strange = parse_events(&strange).unwrap();
        assert!(strange.iter().all(|sent| !other(sent).json().is_empty()));
        let cursors: Vec<_> = strange.iter().filter_map(|sent| sent.cursor.as_deref()).collect();
        assert_eq!(cursors, ["a-5"]);
    }
}
