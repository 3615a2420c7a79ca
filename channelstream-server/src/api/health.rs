//! `/healthz` and `/readyz`: whether the server is alive, and whether requests may be sent to it now.
//!
//! Supervisors and balancers ask, without a signature and from inside the network, so that an answer says
//! no more than one word.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::time::timeout;

use crate::app::App;
use crate::http::answer::Answer;
use crate::http::problem::Problem;
use crate::journal::Standing;

/// The longest time in which the loop that owns the state answers if it is alive. The longest command
/// takes much less.
const LOOP: Duration = Duration::from_secs(5);

/// Answers whether the server is alive. If not, only a restart helps.
pub(crate) async fn alive(app: &App) -> Result<Answer, Problem> {
    Ok(if app.is_alive().await {
        status(StatusCode::OK, "ok")
    } else {
        status(StatusCode::SERVICE_UNAVAILABLE, "stuck")
    })
}

/// Answers whether requests may be sent to this server: it is alive, follows its journal, and is not
/// shutting down.
pub(crate) async fn ready(app: &App) -> Result<Answer, Problem> {
    let why_not = match app.why_not_ready() {
        None if !app.is_alive().await => Some("stuck"),
        why_not => why_not,
    };
    Ok(match why_not {
        None => status(StatusCode::OK, "ready"),
        Some(why) => status(StatusCode::SERVICE_UNAVAILABLE, why),
    })
}

fn status(code: StatusCode, word: &str) -> Answer {
    Answer::json(&json!({ "status": word })).with_status(code)
}

impl App {
    /// Returns why requests may not be sent to this server, unless its loop is stuck.
    pub(crate) fn why_not_ready(&self) -> Option<&'static str> {
        let standing = self.node.journal().standing();
        if *self.draining.borrow() {
            Some("draining")
        } else if standing != Standing::Following {
            Some(standing.as_str())
        } else {
            None
        }
    }

    /// Returns `true` if the loop that owns the state answers.
    pub(crate) async fn is_alive(&self) -> bool {
        matches!(timeout(LOOP, self.node.look(|_| ())).await, Ok(Ok(())))
    }
}
