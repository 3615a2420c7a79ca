//! What a listener hears: event events, typed (contract §7).

use channelstream_core::protocol::{Action, Changed, DateTime, Payload, UserState, UserView, Uuid};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// One event, as it was sent to a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The id: of the message, also in its edit and delete, or of the event. Nil only in events
    /// of an unknown kind that have none.
    pub uuid: Uuid,
    /// The channel; `None` for a private message, its edit or its delete.
    pub channel: Option<String>,
    /// Whether it was sent earlier, while nobody listened, and comes now as catch-up.
    pub catchup: bool,
    /// What happened.
    pub kind: EventKind,
    json: Box<RawValue>,
}

/// What happened, by kind.
///
/// Times that the server made are UTC. Frames write them with a `Z` where the kind of frame has one, and
/// without a zone elsewhere: a [`DateTime`] that names no zone is to be read as UTC, never as local
/// time. A `timestamp` that a backend gave itself comes back in the zone it was given in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A message was posted.
    #[non_exhaustive]
    Message {
        /// Who says it.
        user: String,
        /// What is said: [`Event::payload`] reads it.
        payload: Option<Payload>,
        /// When it was said; UTC if it names no zone.
        timestamp: DateTime,
        /// When it was edited, if that was before it came as catch-up; UTC if it names no zone.
        edited: Option<DateTime>,
    },
    /// A message was changed. What is `None` stays as it was.
    #[non_exhaustive]
    Edit {
        /// The new sender.
        user: Option<String>,
        /// The new payload as a whole: [`Event::payload`] reads it.
        payload: Option<Payload>,
        /// The new time; UTC if it names no zone.
        timestamp: Option<DateTime>,
        /// When it was edited; UTC if it names no zone.
        edited: Option<DateTime>,
    },
    /// A message was removed.
    Delete,
    /// A user joined or parted.
    #[non_exhaustive]
    Presence {
        /// Who.
        user: String,
        /// Whether it was joining or parting.
        action: Action,
        /// When; UTC if it names no zone.
        timestamp: DateTime,
        /// Who is present now, if the channel sends such lists.
        users: Vec<UserView>,
        /// The public state of who joined.
        state: Option<UserState>,
    },
    /// A user's state changed.
    #[non_exhaustive]
    UserState {
        /// Whose.
        user: String,
        /// When; UTC if it names no zone.
        timestamp: DateTime,
        /// The whole public state now.
        state: UserState,
        /// The public keys that changed.
        changed: Vec<Changed>,
    },
    /// A kind that this version doesn't know: [`Event::json`] has it.
    Other,
}

impl Event {
    /// The frame as it was sent: one JSON object.
    #[must_use]
    pub fn json(&self) -> &str {
        self.json.get()
    }

    /// Reads the payload of a message or an edit into a type of one's own.
    ///
    /// # Errors
    ///
    /// What serde says if the payload is something else; where there is no payload, it is read as
    /// null.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let payload = match &self.kind {
            EventKind::Message { payload, .. } | EventKind::Edit { payload, .. } => {
                payload.as_deref()
            }
            _ => None,
        };
        serde_json::from_str(payload.map_or("null", RawValue::get))
    }

    /// An object that isn't what the protocol says of its kind counts as unknown.
    fn read(json: Box<RawValue>) -> Self {
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

/// The events of a list as the server sends it; an empty one is a heartbeat.
pub(super) fn parse_events(text: &str) -> Result<Vec<Event>, serde_json::Error> {
    let list: Vec<Box<RawValue>> = serde_json::from_str(text)?;
    Ok(list.into_iter().map(Event::read).collect())
}

/// All fields of all kinds.
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
    #[serde(default)]
    users: Vec<UserView>,
    state: Option<UserState>,
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
        self.uuid?;
        let payload = || message.map(|raw| Payload::from(raw.to_owned()));
        Some(match self.r#type.as_str() {
            "message" => EventKind::Message {
                user: user?,
                payload: payload(),
                timestamp: timestamp?,
                edited,
            },
            "message:edit" => EventKind::Edit { user, payload: payload(), timestamp, edited },
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
#[expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
mod tests {
    use super::*;

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    fn event(rest: &str) -> Event {
        let text = format!(r#"[{{"uuid": "{ID}", {rest}}}]"#);
        let mut events = parse_events(&text).unwrap();
        assert_eq!((events.len(), events[0].uuid), (1, Uuid::from_u128(7)));
        assert_eq!(events[0].json(), &text[1..text.len() - 1]);
        events.remove(0)
    }

    #[test]
    fn every_kind_is_read() {
        let message = event(
            r#""type": "message", "user": "a", "channel": "c", "message": {"n": 1.10},
            "timestamp": "2026-01-02T03:04:05Z", "edited": null, "catchup": true"#,
        );
        assert_eq!((message.channel.as_deref(), message.catchup), (Some("c"), true));
        let EventKind::Message { user, payload: Some(payload), timestamp, edited: None } =
            &message.kind
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
    fn what_is_not_known_is_kept_as_it_is() {
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
        let events = parse_events(r#"[7, null, {"uuid": 7}]"#).unwrap();
        assert!(events.iter().all(|event| matches!(event.kind, EventKind::Other)));
        assert_eq!((events.len(), events[2].json()), (3, r#"{"uuid": 7}"#));
        assert!(parse_events("[]").unwrap().is_empty());
        assert!(parse_events("{}").is_err() && parse_events("").is_err());
    }
}
