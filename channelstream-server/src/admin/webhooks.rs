//! The webhooks of a server, as the admin page shows them.

use std::sync::Arc;

use channelstream_core::protocol::DateTime;
use serde::Serialize;

use crate::app::App;
use crate::webhooks::Attempt;

/// How webhooks go.
#[derive(Serialize)]
pub(super) struct WebhooksPart {
    /// Where they are posted to, without the query.
    url: Option<String>,
    /// Whether the receiver takes none until a reload, because it answered 410.
    gone: bool,
    failing: bool,
    waiting: u64,
    /// The newest first.
    attempts: Vec<AttemptRow>,
}

#[derive(Serialize)]
struct AttemptRow {
    time: DateTime,
    id: String,
    event: String,
    subject: Arc<str>,
    number: u32,
    milliseconds: u64,
    status: Option<u16>,
    /// Why there is no answer.
    why: Option<&'static str>,
}

impl WebhooksPart {
    pub(super) fn of(app: &App) -> Self {
        let url = app.settings().config.webhook_url.as_ref().map(ToString::to_string);
        Self {
            gone: url.is_some() && !app.webhooks.are_wanted(),
            url,
            failing: app.webhooks.are_failing(),
            waiting: app.webhooks.standing().waiting,
            attempts: app.webhooks.attempts().into_iter().map(AttemptRow::from).collect(),
        }
    }
}

impl From<Attempt> for AttemptRow {
    fn from(attempt: Attempt) -> Self {
        let Attempt { time, id, event, subject, number, took, answer } = attempt;
        Self {
            time: DateTime::from(time),
            id,
            event,
            subject,
            number,
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            status: answer.ok(),
            why: answer.err(),
        }
    }
}
