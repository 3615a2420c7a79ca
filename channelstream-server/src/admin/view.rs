//! The JSON of the admin page: windows, which it sends, and the parts of updates, which it receives.

use std::sync::Arc;

use channelstream_core::protocol::{
    Action, ChannelSettings, DateTime, Event, Message, Payload, UserState,
};
use channelstream_core::state::{
    self, ChannelDetails, ConnectionId, Counts, ListenerId, ListenerKind, ListenerOwner, Sequence,
    UserDetails, Windowed,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::listener::outbox::Bounds;

/// The most names of an address that are sent.
const NAMES: usize = 20;

/// The most bytes of a text by users, such as a message, that are sent.
const PREVIEW: usize = 8 * 1024;

/// The most characters of the line that summarizes an event.
const LINE: usize = 300;

/// The part of a list that a page shows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    #[serde(default)]
    pub(super) search: String,
    #[serde(default)]
    order: Order,
    #[serde(default)]
    offset: usize,
    pub(super) limit: usize,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Name,
    Connections,
    Active,
}

impl Window {
    /// Returns the window as the state takes it.
    pub(super) fn of_state(&self) -> state::Window {
        let order = match self.order {
            Order::Name => state::RowOrder::Name,
            Order::Connections => state::RowOrder::Connections,
            Order::Active => state::RowOrder::Active,
        };
        state::Window { search: self.search.clone(), order, offset: self.offset, limit: self.limit }
    }
}

/// Returns the JSON of a part.
pub(super) fn json(part: &impl Serialize) -> String {
    serde_json::to_string(part)
        .expect("parts hold texts, numbers and JSON under keys that are texts")
}

/// The number of everything, in the overview.
#[derive(Serialize)]
pub(super) struct CountsView {
    channels: usize,
    users_connected: usize,
    users: usize,
    connections: usize,
    posted: u64,
    delivered: u64,
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        let Counts { channels, users_connected, users, connections, posted, delivered, .. } =
            counts;
        Self { channels, users_connected, users, connections, posted, delivered }
    }
}

/// A list with the window that it answers.
#[derive(Serialize)]
pub(super) struct ListPart<'a, T> {
    search: &'a str,
    order: Order,
    total: usize,
    found: usize,
    offset: usize,
    rows: Vec<T>,
}

impl<'a, T> ListPart<'a, T> {
    pub(super) fn new<R: Into<T>>(window: &'a Window, list: Windowed<R>) -> Self {
        let Windowed { total, found, offset, rows } = list;
        let rows = rows.into_iter().map(Into::into).collect();
        Self { search: &window.search, order: window.order, total, found, offset, rows }
    }
}

#[derive(Serialize)]
pub(super) struct ChannelRow {
    name: Arc<str>,
    connections: usize,
    users: usize,
    last_active: DateTime,
}

impl From<state::ChannelRow> for ChannelRow {
    fn from(row: state::ChannelRow) -> Self {
        let state::ChannelRow { name, connections, users, last_active } = row;
        Self { name, connections, users, last_active }
    }
}

#[derive(Serialize)]
pub(super) struct UserRow {
    name: Arc<str>,
    connections: usize,
}

impl From<state::UserRow> for UserRow {
    fn from(state::UserRow { name, connections }: state::UserRow) -> Self {
        Self { name, connections }
    }
}

#[derive(Serialize)]
pub(super) struct UsersPart<'a> {
    pub(super) connected: bool,
    #[serde(flatten)]
    pub(super) list: ListPart<'a, UserRow>,
}

#[derive(Serialize)]
pub(super) struct MembersPart<'a> {
    pub(super) channel: &'a str,
    #[serde(flatten)]
    pub(super) list: ListPart<'a, UserRow>,
}

#[derive(Serialize)]
pub(super) struct ChannelPart<'a> {
    name: &'a str,
    /// `None` if the channel does not exist.
    facts: Option<ChannelFacts>,
}

#[derive(Serialize)]
struct ChannelFacts {
    uuid: Uuid,
    #[serde(flatten)]
    row: ChannelRow,
    settings: ChannelSettings,
    history: usize,
    stored_frames: usize,
}

impl<'a> ChannelPart<'a> {
    pub(super) fn new(name: &'a str, details: Option<ChannelDetails>) -> Self {
        let facts = details.map(|details| ChannelFacts {
            uuid: details.uuid,
            row: details.row.into(),
            settings: details.settings,
            history: details.history,
            stored_frames: details.stored_events,
        });
        Self { name, facts }
    }
}

#[derive(Serialize)]
pub(super) struct UserPart<'a> {
    name: &'a str,
    state: Option<Preview>,
    /// `None` if the user does not exist.
    facts: Option<UserFacts>,
}

#[derive(Serialize)]
struct UserFacts {
    uuid: Uuid,
    name: Arc<str>,
    /// Always empty: the part has a preview of the state.
    state: UserState,
    /// The first keys.
    public_keys: Vec<Arc<str>>,
    stored_frames: usize,
    total_connections: usize,
    connections: Vec<ConnectionRow>,
}

#[derive(Serialize)]
struct ConnectionRow {
    id: ConnectionId,
    total_channels: usize,
    channels: Vec<Arc<str>>,
    listener: Option<&'static str>,
    ended: bool,
}

impl From<state::ConnectionRow> for ConnectionRow {
    fn from(row: state::ConnectionRow) -> Self {
        let state::ConnectionRow { id, total_channels, channels, listener, ended } = row;
        Self { id, total_channels, channels, listener: listener.map(kind), ended }
    }
}

fn kind(kind: ListenerKind) -> &'static str {
    match kind {
        ListenerKind::Socket => "socket",
        ListenerKind::Poll => "poll",
    }
}

impl<'a> UserPart<'a> {
    pub(super) fn new(name: &'a str, details: Option<UserDetails>) -> Self {
        let state = details.as_ref().map(|details| Preview::new(json(&details.state)));
        let facts = details.map(|mut details| {
            details.public_keys.truncate(NAMES);
            UserFacts {
                uuid: details.uuid,
                name: details.name,
                state: UserState::default(),
                public_keys: details.public_keys,
                stored_frames: details.stored_events,
                total_connections: details.total_connections,
                connections: details.connections.into_iter().map(Into::into).collect(),
            }
        });
        Self { name, state, facts }
    }
}

#[derive(Serialize)]
pub(super) struct HistoryPart<'a> {
    pub(super) channel: &'a str,
    pub(super) messages: Vec<MessagePreview<'a>>,
}

#[derive(Serialize)]
pub(super) struct EventsPart<'a> {
    pub(super) channel: &'a str,
    /// Whether these are the first events, which happened before the subscription.
    pub(super) begins: bool,
    /// Whether events are missing between the last update and these.
    pub(super) gap: bool,
    pub(super) events: Vec<EventPreview<'a>>,
}

/// An event: its summary, and the event itself.
#[derive(Serialize)]
pub(super) struct EventPreview<'a> {
    number: Sequence,
    kind: &'static str,
    user: Option<&'a str>,
    /// When it happened; deletes have no time.
    at: Option<DateTime>,
    /// The summary, cut to [`LINE`] characters.
    line: String,
    event: Preview,
}

impl<'a> EventPreview<'a> {
    pub(super) fn new(number: Sequence, event: &'a Event) -> Self {
        let content = |payload: Option<&'a Payload>| payload.map_or("", |payload| payload.get());
        let (kind, user, at, line) = match event {
            Event::Message(message) => {
                let line = content(message.payload.as_ref()).to_owned();
                ("message", Some(&*message.user), Some(message.timestamp), line)
            }
            Event::Edit(edit) => {
                let line = content(edit.payload.as_ref()).to_owned();
                ("message:edit", edit.user.as_deref(), edit.edited, line)
            }
            Event::Append(append) => ("message:append", None, None, json(&append.append)),
            Event::Delete(delete) => ("message:delete", None, None, delete.uuid.to_string()),
            Event::Presence(presence) => {
                let line = match presence.action {
                    Action::Joined => "joined",
                    Action::Parted => "parted",
                };
                ("presence", Some(&*presence.user), Some(presence.timestamp), line.to_owned())
            }
            Event::UserStateChange(change) => {
                let line = json(&change.state);
                ("user_state_change", Some(&*change.user), Some(change.timestamp), line)
            }
            // Never stored.
            Event::Gap(_) => ("gap", None, None, String::new()),
            Event::Cursor => ("cursor", None, None, String::new()),
        };
        let line = line.chars().take(LINE).collect();
        Self { number, kind, user, at, line, event: Preview::new(event.encode(false)) }
    }
}

/// JSON by users: all of it, or its length and beginning if it is too long. It is sent as text: a page
/// that parsed it would lose digits, repeated keys and the order of keys.
#[derive(Serialize)]
#[serde(untagged)]
enum Preview {
    Whole { text: String },
    Cut { bytes: usize, begin: String },
}

impl Preview {
    fn new(mut text: String) -> Self {
        let bytes = text.len();
        if bytes <= PREVIEW {
            return Self::Whole { text };
        }
        text.truncate(text.floor_char_boundary(PREVIEW));
        Self::Cut { bytes, begin: text }
    }
}

/// A message of a history.
#[derive(Serialize)]
pub(super) struct MessagePreview<'a> {
    uuid: Uuid,
    user: &'a str,
    timestamp: DateTime,
    edited: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Preview>,
    /// The first names; `total_pm_users` counts all.
    pm_users: &'a [String],
    total_pm_users: usize,
    exclude_users: &'a [String],
    total_exclude_users: usize,
}

impl<'a> MessagePreview<'a> {
    pub(super) fn new(message: &'a Message) -> Self {
        let first = |names: &'a [String]| &names[..names.len().min(NAMES)];
        let address = &message.address;
        Self {
            uuid: message.uuid,
            user: &message.user,
            timestamp: message.timestamp,
            edited: message.edited,
            message: message.payload.as_ref().map(|payload| Preview::new(payload.get().to_owned())),
            pm_users: first(&address.pm_users),
            total_pm_users: address.pm_users.len(),
            exclude_users: first(&address.exclude_users),
            total_exclude_users: address.exclude_users.len(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct SlowPart<'a> {
    /// The number of all listeners for which something waits.
    total: usize,
    rows: Vec<SlowRow<'a>>,
}

#[derive(Serialize)]
struct SlowRow<'a> {
    user: &'a str,
    connection: Uuid,
    kind: &'static str,
    frames: usize,
    bytes: usize,
}

impl<'a> SlowPart<'a> {
    /// Creates the part with rows in the order of `behind`. A listener that just ended has no owner and
    /// no row.
    pub(super) fn new(
        behind: &[(ListenerId, Bounds)],
        total: usize,
        owners: &'a [ListenerOwner],
    ) -> Self {
        let rows = behind.iter().filter_map(|(id, waiting)| {
            let owner = owners.iter().find(|owner| owner.listener == *id)?;
            Some(SlowRow {
                user: &owner.user,
                connection: owner.connection.into(),
                kind: kind(owner.kind),
                frames: waiting.frames,
                bytes: waiting.bytes,
            })
        });
        Self { total, rows: rows.collect() }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn parts_have_the_keys_that_the_page_knows() {
        let window: Window = serde_json::from_str(r#"{"limit":7,"order":"active"}"#).unwrap();
        let last_active = DateTime::parse("2024-01-01T00:00:00").unwrap();
        let row = state::ChannelRow { name: "a".into(), connections: 2, users: 1, last_active };
        let list = Windowed { total: 9, found: 8, offset: 6, rows: vec![row.clone()] };
        let row_json =
            r#""name":"a","connections":2,"users":1,"last_active":"2024-01-01T00:00:00""#;
        assert_eq!(
            json(&ListPart::<ChannelRow>::new(&window, list)),
            format!(
                r#"{{"search":"","order":"active","total":9,"found":8,"offset":6,"rows":[{{{row_json}}}]}}"#
            )
        );
        let list = Windowed {
            total: 1,
            found: 1,
            offset: 0,
            rows: vec![state::UserRow { name: "ann".into(), connections: 2 }],
        };
        let list = ListPart::new(&window, list);
        assert_eq!(
            json(&MembersPart { channel: "a", list }),
            r#"{"channel":"a","search":"","order":"active","total":1,"found":1,"offset":0,"#
                .to_owned()
                + r#""rows":[{"name":"ann","connections":2}]}"#
        );
        let uuid = Uuid::nil();
        let settings = ChannelSettings::default();
        let details = ChannelDetails { uuid, row, settings, history: 3, stored_events: 4 };
        assert_eq!(
            json(&ChannelPart::new("a", Some(details))),
            format!(
                r#"{{"name":"a","facts":{{"uuid":"{uuid}",{row_json},"settings":{},"history":3,"stored_frames":4}}}}"#,
                json(&settings)
            )
        );
        let connection = state::ConnectionRow {
            id: ConnectionId::from(uuid),
            total_channels: 1,
            channels: vec!["a".into()],
            listener: Some(ListenerKind::Poll),
            ended: false,
        };
        let details = UserDetails {
            uuid,
            name: "ann".into(),
            state: Arc::default(),
            public_keys: vec!["key".into(); NAMES + 1],
            stored_events: 5,
            total_connections: 1,
            connections: vec![connection],
        };
        let keys = vec![r#""key""#; NAMES].join(",");
        assert_eq!(
            json(&UserPart::new("ann", Some(details))),
            format!(
                r#"{{"name":"ann","state":{{"text":"{{}}"}},"facts":{{"uuid":"{uuid}","name":"ann","state":{{}},"public_keys":[{keys}],"stored_frames":5,"total_connections":1,"connections":[{{"id":"{uuid}","total_channels":1,"channels":["a"],"listener":"poll","ended":false}}]}}}}"#
            )
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let short = format!("\"{}\"", "x".repeat(PREVIEW - 2));
        assert!(json(&Preview::new(short)).starts_with(r#"{"text":"\"xxx"#));
        let long = format!("\"x{}\"", "é".repeat(PREVIEW));
        let cut: serde_json::Value =
            serde_json::from_str(&json(&Preview::new(long.clone()))).unwrap();
        assert_eq!(cut["bytes"], long.len());
        let begin = cut["begin"].as_str().unwrap();
        assert!(long.starts_with(begin) && (PREVIEW - 1..=PREVIEW).contains(&begin.len()));
    }
}
