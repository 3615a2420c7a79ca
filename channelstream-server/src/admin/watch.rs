//! What an admin page watches, as it says itself, and the parts of the answer to it.
//!
//! A page says what is on the screen in one JSON object ([`Watch`]); the next one replaces it. The
//! answer is an object with a part for each thing that is watched. Parts say what they are about, so
//! that a page knows those that were under way when it asked for something else. All of it is
//! bounded: lists by windows, histories by number, and what people wrote by length.

use std::sync::Arc;

use channelstream_core::protocol::{Action, DateTime, Event, Message, Payload};
use channelstream_core::state::{
    ChannelDetails, ChannelRow, Counts, ListenerId, ListenerOwner, Order, RecentEvents, Sequence,
    State, UserDetails, UserRow, Window, Windowed,
};
use serde::{Deserialize, Serialize};

use crate::listener::outbox::Bounds;

/// Rows of a list at once.
const ROWS: usize = 200;

/// Characters of a search.
const SEARCH: usize = 256;

/// Messages of a history, and events at once.
const MESSAGES: usize = 50;

/// Connections of a user, and channels of each.
const CONNECTIONS: usize = 50;

/// Names in an address that are shown.
const NAMES: usize = 20;

/// Bytes of something written by others, such as a message, that are shown.
const SHOWN: usize = 8 * 1024;

/// Characters of the line that says what happened.
const LINE: usize = 300;

/// Listeners that are behind.
pub(crate) const BEHIND: usize = 100;

/// What a page watches.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Watch {
    channels: Option<Window>,
    channel: Option<ChannelWatch>,
    users: Option<UsersWatch>,
    user: Option<String>,
    /// Listeners that are behind.
    pub(crate) slow: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelWatch {
    name: String,
    #[serde(default)]
    members: Option<Window>,
    #[serde(default)]
    history: bool,
    #[serde(default)]
    events: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersWatch {
    window: Window,
    /// Only those who have connections.
    #[serde(default)]
    connected: bool,
}

impl Watch {
    /// Reads what a page said.
    ///
    /// # Errors
    /// What is wrong with it, for the page.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        // A list of values in the right order would do as well otherwise.
        if !text.trim_start().starts_with('{') {
            return Err("what is watched is told by an object".to_owned());
        }
        let watch: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let windows = [
            watch.channels.as_ref(),
            watch.channel.as_ref().and_then(|channel| channel.members.as_ref()),
            watch.users.as_ref().map(|users| &users.window),
        ];
        for window in windows.into_iter().flatten() {
            if window.limit > ROWS {
                return Err(format!("limit is {}, at most {ROWS} rows are given", window.limit));
            }
            if window.search.chars().count() > SEARCH {
                return Err(format!("search is longer than {SEARCH} characters"));
            }
        }
        Ok(watch)
    }

    /// Looks at what is watched. Events are given that came after `seen` of their channel.
    pub(crate) fn look(&self, state: &State, seen: &Seen, behind: &[ListenerId]) -> Views {
        let channel = self.channel.as_ref().map(|watch| {
            let after = seen.of(&watch.name);
            ChannelViews {
                facts: state.channel_details(&watch.name),
                members: watch
                    .members
                    .as_ref()
                    .map(|window| state.list_members(&watch.name, window)),
                history: watch.history.then(|| state.newest_history(&watch.name, MESSAGES)),
                events: watch
                    .events
                    .then(|| state.events_after(&watch.name, after.unwrap_or(0), MESSAGES)),
            }
        });
        Views {
            counts: state.counts(),
            channels: self.channels.as_ref().map(|window| state.list_channels(window)),
            channel,
            users: self
                .users
                .as_ref()
                .map(|watch| state.list_users(&watch.window, watch.connected)),
            user: self.user.as_ref().map(|name| state.user_details(name, CONNECTIONS)),
            owners: state.listener_owners(behind),
        }
    }

    /// The channel whose events are watched.
    fn events_of(&self) -> Option<&str> {
        self.channel.as_ref().filter(|channel| channel.events).map(|channel| &*channel.name)
    }
}

/// How far the events of a channel were shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Option<(String, Sequence)>);

impl Seen {
    fn of(&self, channel: &str) -> Option<Sequence> {
        self.0.as_ref().filter(|(name, _)| name == channel).map(|(_, sequence)| *sequence)
    }
}

/// What was found in the state, shared with it as far as possible.
pub(crate) struct Views {
    pub(crate) counts: Counts,
    channels: Option<Windowed<ChannelRow>>,
    channel: Option<ChannelViews>,
    users: Option<Windowed<UserRow>>,
    user: Option<Option<UserDetails>>,
    owners: Vec<ListenerOwner>,
}

struct ChannelViews {
    facts: Option<ChannelDetails>,
    members: Option<Option<Windowed<UserRow>>>,
    history: Option<Vec<Arc<Message>>>,
    events: Option<RecentEvents>,
}

/// A part of the answer: its name and its JSON.
pub(crate) type Part = (&'static str, String);

impl Views {
    /// Everything that is watched, as parts.
    pub(crate) fn parts(
        self,
        watch: &Watch,
        seen: &mut Seen,
        behind: &[(ListenerId, Bounds)],
        all_behind: usize,
    ) -> Vec<Part> {
        let mut parts = Vec::new();
        if let (Some(list), Some(window)) = (self.channels, &watch.channels) {
            parts.push(("channels", json(&ListPart::new(window, list))));
        }
        if let (Some(list), Some(users)) = (self.users, &watch.users) {
            let list = ListPart::new(&users.window, list);
            parts.push(("users", json(&UsersPart { connected: users.connected, list })));
        }
        if let (Some(facts), Some(name)) = (self.user, &watch.user) {
            parts.push(("user", json(&UserPart::new(name, facts))));
        }
        if watch.slow {
            parts.push(("slow", json(&slow(behind, all_behind, &self.owners))));
        }
        match (self.channel, &watch.channel) {
            (Some(views), Some(watched)) => channel_parts(views, watched, seen, &mut parts),
            _ => *seen = Seen::default(),
        }
        if watch.events_of().is_none() {
            *seen = Seen::default();
        }
        parts
    }
}

fn channel_parts(
    views: ChannelViews,
    watch: &ChannelWatch,
    seen: &mut Seen,
    parts: &mut Vec<Part>,
) {
    let name = &*watch.name;
    parts.push(("channel", json(&ChannelPart { name, facts: views.facts })));
    if let (Some(list), Some(window)) = (views.members, &watch.members) {
        let list = list.unwrap_or(Windowed { total: 0, found: 0, offset: 0, rows: Vec::new() });
        let list = ListPart::new(window, list);
        parts.push(("members", json(&MembersPart { channel: name, list })));
    }
    if let Some(history) = views.history {
        let messages = history.iter().map(|message| ShownMessage::new(message)).collect();
        parts.push(("history", json(&HistoryPart { channel: name, messages })));
    }
    if let Some(events) = views.events {
        let begins = seen.of(name).is_none();
        let newest = events.events.last().map(|(sequence, _)| *sequence);
        *seen = Seen(Some((watch.name.clone(), newest.or(seen.of(name)).unwrap_or(0))));
        if begins || !events.events.is_empty() {
            let shown = events.events.iter().map(|(number, event)| ShownEvent::new(*number, event));
            parts.push((
                "events",
                json(&EventsPart {
                    channel: name,
                    begins,
                    gap: events.gap && !begins,
                    events: shown.collect(),
                }),
            ));
        }
    }
}

fn json(part: &impl Serialize) -> String {
    serde_json::to_string(part)
        .expect("parts hold texts, numbers and JSON under keys that are texts")
}

/// A list with the question that it answers.
#[derive(Serialize)]
struct ListPart<'a, T> {
    search: &'a str,
    order: &'static str,
    #[serde(flatten)]
    list: Windowed<T>,
}

impl<'a, T> ListPart<'a, T> {
    fn new(window: &'a Window, list: Windowed<T>) -> Self {
        let order = match window.order {
            Order::Name => "name",
            Order::Connections => "connections",
            Order::Active => "active",
        };
        Self { search: &window.search, order, list }
    }
}

#[derive(Serialize)]
struct UsersPart<'a> {
    connected: bool,
    #[serde(flatten)]
    list: ListPart<'a, UserRow>,
}

#[derive(Serialize)]
struct MembersPart<'a> {
    channel: &'a str,
    #[serde(flatten)]
    list: ListPart<'a, UserRow>,
}

#[derive(Serialize)]
struct ChannelPart<'a> {
    name: &'a str,
    /// None if there is no such channel.
    facts: Option<ChannelDetails>,
}

#[derive(Serialize)]
struct UserPart<'a> {
    name: &'a str,
    state: Option<Shown>,
    /// None if there is no such user.
    facts: Option<UserDetails>,
}

impl<'a> UserPart<'a> {
    fn new(name: &'a str, mut facts: Option<UserDetails>) -> Self {
        let state = facts.as_mut().map(|facts| {
            facts.public_keys.truncate(NAMES);
            Shown::new(json(&std::mem::take(&mut facts.state)))
        });
        Self { name, state, facts }
    }
}

#[derive(Serialize)]
struct HistoryPart<'a> {
    channel: &'a str,
    messages: Vec<ShownMessage<'a>>,
}

#[derive(Serialize)]
struct EventsPart<'a> {
    channel: &'a str,
    /// Whether these are the first, and happened before.
    begins: bool,
    /// Whether there were more than these since the last.
    gap: bool,
    events: Vec<ShownEvent<'a>>,
}

/// An event: what a line about it says, and the whole.
#[derive(Serialize)]
struct ShownEvent<'a> {
    number: Sequence,
    kind: &'static str,
    user: Option<&'a str>,
    /// When it happened; of deletes no time is kept.
    at: Option<DateTime>,
    /// What happened, at most [`LINE`] characters of it.
    line: String,
    event: Shown,
}

impl<'a> ShownEvent<'a> {
    fn new(number: Sequence, event: &'a Event) -> Self {
        let content = |payload: Option<&'a Payload>| payload.map_or("", |payload| payload.get());
        let (kind, user, at, line) = match event {
            Event::Message(message) => {
                let line = content(message.message.as_ref()).to_owned();
                ("message", Some(&*message.user), Some(message.timestamp), line)
            }
            Event::Edit(edit) => {
                let line = content(edit.message.as_ref()).to_owned();
                ("message:edit", edit.user.as_deref(), edit.edited, line)
            }
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
        };
        let line = line.chars().take(LINE).collect();
        Self { number, kind, user, at, line, event: Shown::new(event.encode(false)) }
    }
}

/// JSON that others wrote, if it is not too long; else its length and beginning. It travels as text:
/// a page that parsed it would lose digits, repeated keys and their order.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown {
    Whole { text: String },
    Cut { bytes: usize, begin: String },
}

impl Shown {
    fn new(mut text: String) -> Self {
        let bytes = text.len();
        if bytes <= SHOWN {
            return Self::Whole { text };
        }
        text.truncate(text.floor_char_boundary(SHOWN));
        Self::Cut { bytes, begin: text }
    }
}

/// A message of a history.
#[derive(Serialize)]
struct ShownMessage<'a> {
    uuid: uuid::Uuid,
    user: &'a str,
    timestamp: DateTime,
    edited: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Shown>,
    /// As far as they are shown; the totals tell how many there are.
    pm_users: &'a [String],
    total_pm_users: usize,
    exclude_users: &'a [String],
    total_exclude_users: usize,
}

impl<'a> ShownMessage<'a> {
    fn new(message: &'a Message) -> Self {
        let shown = |names: &'a [String]| &names[..names.len().min(NAMES)];
        let address = &message.address;
        Self {
            uuid: message.uuid,
            user: &message.user,
            timestamp: message.timestamp,
            edited: message.edited,
            message: message.message.as_ref().map(|payload| Shown::new(payload.get().to_owned())),
            pm_users: shown(&address.pm_users),
            total_pm_users: address.pm_users.len(),
            exclude_users: shown(&address.exclude_users),
            total_exclude_users: address.exclude_users.len(),
        }
    }
}

#[derive(Serialize)]
struct SlowPart<'a> {
    /// All for whom something waits.
    total: usize,
    rows: Vec<SlowRow<'a>>,
}

#[derive(Serialize)]
struct SlowRow<'a> {
    user: &'a str,
    connection: uuid::Uuid,
    kind: &'static str,
    frames: usize,
    bytes: usize,
}

fn slow<'a>(
    behind: &[(ListenerId, Bounds)],
    total: usize,
    owners: &'a [ListenerOwner],
) -> SlowPart<'a> {
    // In the order of `behind`; who has just gone has no owner.
    let rows = behind.iter().filter_map(|(id, waiting)| {
        let owner = owners.iter().find(|owner| owner.listener == *id)?;
        Some(SlowRow {
            user: &owner.user,
            connection: owner.connection.into(),
            kind: owner.kind,
            frames: waiting.frames,
            bytes: waiting.bytes,
        })
    });
    SlowPart { total, rows: rows.collect() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use super::*;

    #[test]
    fn only_what_is_known_and_bounded_is_watched() {
        for good in [
            "{}",
            r#"{"slow": true, "user": null}"#,
            r#"{"channels": {"search": "ä", "order": "active", "offset": 7, "limit": 200}}"#,
            r#"{"channel": {"name": "a", "members": {"limit": 0}, "history": true, "events": true}}"#,
            r#"{"users": {"window": {"limit": 1}, "connected": true}}"#,
        ] {
            assert!(Watch::read(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", "by an object"),
            ("[]", "by an object"),
            ("null", "by an object"),
            ("{", "EOF"),
            (r#"{"everything": true}"#, "unknown field `everything`"),
            (r#"{"channels": {}}"#, "missing field `limit`"),
            (r#"{"channels": {"limit": 201}}"#, "at most 200 rows"),
            (r#"{"channels": {"limit": -1}}"#, "invalid value"),
            (r#"{"channels": {"limit": 1, "order": "luck"}}"#, "unknown variant `luck`"),
            (r#"{"channel": {"name": 7}}"#, "invalid type"),
            (r#"{"channel": {"name": "a", "members": {"limit": 1000}}}"#, "at most 200 rows"),
            (r#"{"users": {"window": {"limit": 999}}}"#, "at most 200 rows"),
        ] {
            let told = Watch::read(bad).unwrap_err();
            assert!(told.contains(why), "{bad}: {told}");
        }
        let long = format!(r#"{{"channels": {{"limit": 1, "search": "{}"}}}}"#, "ä".repeat(257));
        assert!(Watch::read(&long).unwrap_err().contains("256 characters"));
        assert!(Watch::read(&long.replacen('ä', "", 1)).is_ok());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let short = format!("\"{}\"", "x".repeat(SHOWN - 2));
        assert!(json(&Shown::new(short)).starts_with(r#"{"text":"\"xxx"#));
        let long = format!("\"x{}\"", "é".repeat(SHOWN));
        let told: serde_json::Value =
            serde_json::from_str(&json(&Shown::new(long.clone()))).unwrap();
        assert_eq!(told["bytes"], long.len());
        let begin = told["begin"].as_str().unwrap();
        assert!(long.starts_with(begin) && (SHOWN - 1..=SHOWN).contains(&begin.len()));
    }
}
