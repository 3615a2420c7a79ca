//! `/reload`: the settings are read again, as after SIGHUP.

use crate::app::App;
use crate::http::answer::Answer;
use crate::http::problem::Problem;

/// Answers what has changed, or why nothing has.
pub(crate) async fn reload(app: &App) -> Result<Answer, Problem> {
    Ok(Answer::json(&app.reload().await?))
}
