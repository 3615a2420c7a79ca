//! A webhook: what happened as the body of a request, with its id and its place in the order.

use std::sync::Arc;

use channelstream_core::protocol::{DateTime, Timestamp};
use channelstream_core::state::{Notice, WhyEnded};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock;
use crate::config::WebhookEvent;

/// What is sent to the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Webhook {
    /// The same in each attempt, so that a receiver recognizes a webhook that it has.
    pub(super) id: String,
    /// Those of one lane arrive in their order.
    pub(super) lane: Arc<str>,
    /// The type, as the body has it.
    pub(super) event: String,
    /// What it is about, for people: the channel or the user.
    pub(super) subject: Arc<str>,
    pub(super) body: String,
}

/// Returns the event of a notice.
pub(super) fn event(notice: &Notice) -> WebhookEvent {
    match notice {
        Notice::Occupied { .. } => WebhookEvent::Occupied,
        Notice::Vacated { .. } => WebhookEvent::Vacated,
        Notice::Joined { .. } => WebhookEvent::Joined,
        Notice::Parted { .. } => WebhookEvent::Parted,
        Notice::Ended { .. } => WebhookEvent::Ended,
        Notice::Closed { .. } => WebhookEvent::Closed,
    }
}

impl Webhook {
    /// Makes the webhook of a notice, which happened at this time of day.
    pub(super) fn new(notice: &Notice, time: Timestamp) -> Self {
        let event = event(notice).as_str();
        let (lane, subject, data) = match notice {
            Notice::Occupied { channel } | Notice::Vacated { channel } => {
                (channel_lane(channel), channel, json!({ "channel": channel }))
            }
            Notice::Joined { channel, user } | Notice::Parted { channel, user } => {
                (channel_lane(channel), channel, json!({ "channel": channel, "user": user }))
            }
            Notice::Ended { user, why, left } => {
                let data =
                    json!({ "user": user, "reason": reason(*why), "connections_left": left });
                (format!("u:{user}").into(), user, data)
            }
            Notice::Closed { message, channel, status } => {
                let data = json!({ "uuid": message, "channel": channel, "status": status });
                let message: Arc<str> = message.to_string().into();
                let lane = match channel {
                    Some(channel) => channel_lane(channel),
                    None => format!("m:{message}").into(),
                };
                return Self::of(event, lane, channel.as_ref().unwrap_or(&message), time, &data);
            }
        };
        Self::of(event, lane, subject, time, &data)
    }

    fn of(event: &str, lane: Arc<str>, subject: &Arc<str>, time: Timestamp, data: &Value) -> Self {
        let timestamp = DateTime::from(time).in_utc().to_string();
        let body = json!({ "type": event, "timestamp": timestamp, "data": data });
        Self {
            id: format!("msg_{}", clock::secret_id().simple()),
            lane,
            event: event.to_owned(),
            subject: Arc::clone(subject),
            body: body.to_string(),
        }
    }

    #[cfg(test)]
    pub(super) fn test() -> Self {
        Self::new(&Notice::Occupied { channel: "room".into() }, Timestamp::from_micros(0))
    }
}

fn channel_lane(channel: &str) -> Arc<str> {
    format!("c:{channel}").into()
}

fn reason(why: WhyEnded) -> &'static str {
    match why {
        WhyEnded::Disconnected => "disconnected",
        WhyEnded::Closed => "closed",
        WhyEnded::Silent => "silent",
    }
}

#[cfg(test)]
mod tests {
    use channelstream_core::protocol::{Status, Uuid};

    use super::*;

    fn told(notice: &Notice) -> (String, String) {
        let webhook = Webhook::new(notice, Timestamp::from_micros(1_700_000_000_250_000));
        let body: Value = serde_json::from_str(&webhook.body).unwrap();
        assert_eq!(body["type"], webhook.event);
        assert_eq!(body["timestamp"], "2023-11-14T22:13:20.250000Z");
        assert!(webhook.id.starts_with("msg_") && webhook.id.len() == 36, "{}", webhook.id);
        (format!("{} {}", webhook.event, body["data"]), webhook.lane.to_string())
    }

    #[test]
    fn bodies_say_what_happened_and_lanes_are_those_of_channels_and_users() {
        let (channel, user): (Arc<str>, Arc<str>) = ("a \"room\"".into(), "ann".into());
        for (notice, want, lane) in [
            (
                Notice::Occupied { channel: Arc::clone(&channel) },
                r#"channel.occupied {"channel":"a \"room\""}"#,
                "c:a \"room\"",
            ),
            (
                Notice::Parted { channel: Arc::clone(&channel), user: Arc::clone(&user) },
                r#"user.parted {"channel":"a \"room\"","user":"ann"}"#,
                "c:a \"room\"",
            ),
            (
                Notice::Ended { user, why: WhyEnded::Silent, left: 2 },
                r#"connection.ended {"connections_left":2,"reason":"silent","user":"ann"}"#,
                "u:ann",
            ),
            (
                Notice::Closed { message: Uuid::nil(), channel: None, status: Status::Cancelled },
                r#"message.closed {"channel":null,"status":"cancelled","uuid":"00000000-0000-0000-0000-000000000000"}"#,
                "m:00000000-0000-0000-0000-000000000000",
            ),
        ] {
            assert_eq!(told(&notice), (want.to_owned(), lane.to_owned()));
        }
    }

    #[test]
    fn no_two_have_the_same_id() {
        assert_ne!(Webhook::test().id, Webhook::test().id);
    }
}
