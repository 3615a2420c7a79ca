//! `/test/advance`: time passes on a server with a test clock.

use std::time::Duration;

use channelstream_core::protocol::{Advance, Advanced, DateTime, FieldErrors};

use crate::app::App;
use crate::http::answer::Answer;
use crate::http::problem::Problem;
use crate::http::request::Request;

/// Answers when everything that is due has happened, and was handed to the listeners.
pub(crate) async fn advance(app: &App, request: Request) -> Result<Answer, Problem> {
    let (caller, Advance { seconds }) = app.read(request, Advance::read).await?;
    let now = app.node.advance(Duration::from_secs_f64(seconds)).await?;
    let now = now.ok_or_else(|| {
        FieldErrors::from_texts("seconds", ["The clock can be 100 years ahead at most."])
    })?;
    Ok(caller.prefer.applied(Answer::json(&Advanced::new(DateTime::from(now)))))
}
