//! The subscription of an admin page, and the parts of the updates that answer it.
//!
//! A page sends what is on its screen as one JSON object ([`Subscription`]), which replaces the one
//! before. An update is an object with a part for each subscribed view. A part names what it is about,
//! so that a page recognizes parts of an earlier subscription. Everything is bounded: lists by
//! windows, histories by number, and texts of users by length.

use std::sync::Arc;

use channelstream_core::protocol::Message;
use channelstream_core::state::{
    ChannelDetails, ChannelRow, Counts, ListenerId, ListenerOwner, RecentEvents, Sequence, State,
    UserDetails, UserRow, Windowed,
};
use serde::Deserialize;

use super::view::{
    self, ChannelPart, EventPreview, EventsPart, HistoryPart, ListPart, MembersPart,
    MessagePreview, SlowPart, UserPart, UsersPart, Window, json,
};
use crate::listener::outbox::Bounds;

/// The most rows of a list.
const ROWS: usize = 200;

/// The most characters of a search.
const SEARCH: usize = 256;

/// The most messages of a history, and events of one update.
const MESSAGES: usize = 50;

/// The most connections of a user, and channels of each.
const CONNECTIONS: usize = 50;

/// The most slow listeners that are sent.
pub(crate) const BEHIND: usize = 100;

/// The views that a page has subscribed to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Subscription {
    channels: Option<Window>,
    channel: Option<ChannelSubscription>,
    users: Option<UsersSubscription>,
    user: Option<String>,
    /// Listeners for which something waits.
    pub(crate) slow: bool,
    /// The last attempts to send webhooks.
    pub(crate) webhooks: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelSubscription {
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
struct UsersSubscription {
    window: Window,
    /// Whether only users with connections are listed.
    #[serde(default)]
    connected: bool,
}

impl Subscription {
    /// Parses the message of a page.
    ///
    /// # Errors
    /// Returns what is wrong with it, for the page.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // Serde would also accept a list of the values in their order.
        if !text.trim_start().starts_with('{') {
            return Err("a subscription is an object".to_owned());
        }
        let subscription: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let windows = [
            subscription.channels.as_ref(),
            subscription.channel.as_ref().and_then(|channel| channel.members.as_ref()),
            subscription.users.as_ref().map(|users| &users.window),
        ];
        for window in windows.into_iter().flatten() {
            if window.limit > ROWS {
                return Err(format!("limit is {}, at most {ROWS} rows are sent", window.limit));
            }
            if window.search.chars().count() > SEARCH {
                return Err(format!("search is longer than {SEARCH} characters"));
            }
        }
        Ok(subscription)
    }

    /// Queries the subscribed views. Of events, only those after `progress` are returned.
    pub(crate) fn query(&self, state: &State, progress: &Progress, behind: &[ListenerId]) -> Views {
        let channel = self.channel.as_ref().map(|subscription| {
            let after = progress.of(&subscription.name);
            ChannelViews {
                details: state.channel_details(&subscription.name),
                members: subscription
                    .members
                    .as_ref()
                    .map(|window| state.list_members(&subscription.name, &window.of_state())),
                history: subscription
                    .history
                    .then(|| state.newest_history(&subscription.name, MESSAGES)),
                events: subscription
                    .events
                    .then(|| state.events_after(&subscription.name, after.unwrap_or(0), MESSAGES)),
            }
        });
        Views {
            counts: state.counts(),
            channels: self.channels.as_ref().map(|window| state.list_channels(&window.of_state())),
            channel,
            users: self.users.as_ref().map(|subscription| {
                state.list_users(&subscription.window.of_state(), subscription.connected)
            }),
            user: self.user.as_ref().map(|name| state.user_details(name, CONNECTIONS)),
            owners: state.listener_owners(behind),
        }
    }

    /// Returns the channel whose events are subscribed.
    fn events_of(&self) -> Option<&str> {
        self.channel.as_ref().filter(|channel| channel.events).map(|channel| &*channel.name)
    }
}

/// The channel whose events are sent, and the number of the last one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Option<(String, Sequence)>);

impl Progress {
    fn of(&self, channel: &str) -> Option<Sequence> {
        self.0.as_ref().filter(|(name, _)| name == channel).map(|(_, sequence)| *sequence)
    }
}

/// The result of a query, which shares data with the state as far as possible.
pub(crate) struct Views {
    pub(crate) counts: Counts,
    channels: Option<Windowed<ChannelRow>>,
    channel: Option<ChannelViews>,
    users: Option<Windowed<UserRow>>,
    user: Option<Option<UserDetails>>,
    owners: Vec<ListenerOwner>,
}

struct ChannelViews {
    details: Option<ChannelDetails>,
    members: Option<Option<Windowed<UserRow>>>,
    history: Option<Vec<Arc<Message>>>,
    events: Option<RecentEvents>,
}

/// A part of an update: its name and its JSON.
pub(crate) type Part = (&'static str, String);

impl Views {
    /// Returns the parts of an update, and moves `progress` forward.
    pub(crate) fn parts(
        self,
        subscription: &Subscription,
        progress: &mut Progress,
        behind: &[(ListenerId, Bounds)],
        all_behind: usize,
    ) -> Vec<Part> {
        let mut parts = Vec::new();
        if let (Some(list), Some(window)) = (self.channels, &subscription.channels) {
            parts.push(("channels", json(&ListPart::<view::ChannelRow>::new(window, list))));
        }
        if let (Some(list), Some(users)) = (self.users, &subscription.users) {
            let list = ListPart::new(&users.window, list);
            parts.push(("users", json(&UsersPart { connected: users.connected, list })));
        }
        if let (Some(details), Some(name)) = (self.user, &subscription.user) {
            parts.push(("user", json(&UserPart::new(name, details))));
        }
        if subscription.slow {
            parts.push(("slow", json(&SlowPart::new(behind, all_behind, &self.owners))));
        }
        match (self.channel, &subscription.channel) {
            (Some(views), Some(subscribed)) => {
                channel_parts(views, subscribed, progress, &mut parts)
            }
            _ => *progress = Progress::default(),
        }
        if subscription.events_of().is_none() {
            *progress = Progress::default();
        }
        parts
    }
}

fn channel_parts(
    views: ChannelViews,
    subscription: &ChannelSubscription,
    progress: &mut Progress,
    parts: &mut Vec<Part>,
) {
    let name = &*subscription.name;
    parts.push(("channel", json(&ChannelPart::new(name, views.details))));
    if let (Some(list), Some(window)) = (views.members, &subscription.members) {
        let list = list.unwrap_or(Windowed { total: 0, found: 0, offset: 0, rows: Vec::new() });
        let list = ListPart::new(window, list);
        parts.push(("members", json(&MembersPart { channel: name, list })));
    }
    if let Some(history) = views.history {
        let messages = history.iter().map(|message| MessagePreview::new(message)).collect();
        parts.push(("history", json(&HistoryPart { channel: name, messages })));
    }
    if let Some(events) = views.events {
        let begins = progress.of(name).is_none();
        let newest = events.events.last().map(|(sequence, _)| *sequence);
        *progress =
            Progress(Some((subscription.name.clone(), newest.or(progress.of(name)).unwrap_or(0))));
        if begins || !events.events.is_empty() {
            let shown =
                events.events.iter().map(|(number, event)| EventPreview::new(*number, event));
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

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn only_known_and_bounded_views_are_accepted() {
        for good in [
            "{}",
            r#"{"slow": true, "user": null}"#,
            r#"{"channels": {"search": "ä", "order": "active", "offset": 7, "limit": 200}}"#,
            r#"{"channel": {"name": "a", "members": {"limit": 0}, "history": true, "events": true}}"#,
            r#"{"users": {"window": {"limit": 1}, "connected": true}}"#,
        ] {
            assert!(Subscription::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", "is an object"),
            ("[]", "is an object"),
            ("null", "is an object"),
            ("{", "EOF"),
            (r#"{"everything": true}"#, "unknown field `everything`"),
            (r#"{"channels": {}}"#, "missing field `limit`"),
            (r#"{"channels": {"limit": 201}}"#, "at most 200 rows"),
            (r#"{"channels": {"limit": -1}}"#, "invalid value"),
            (r#"{"channels": {"limit": 1, "order": "random"}}"#, "unknown variant `random`"),
            (r#"{"channel": {"name": 7}}"#, "invalid type"),
            (r#"{"channel": {"name": "a", "members": {"limit": 1000}}}"#, "at most 200 rows"),
            (r#"{"users": {"window": {"limit": 999}}}"#, "at most 200 rows"),
        ] {
            let error = Subscription::parse(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        let long = format!(r#"{{"channels": {{"limit": 1, "search": "{}"}}}}"#, "ä".repeat(257));
        assert!(Subscription::parse(&long).unwrap_err().contains("256 characters"));
        assert!(Subscription::parse(&long.replacen('ä', "", 1)).is_ok());
    }
}
