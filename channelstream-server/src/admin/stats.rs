//! Stats: `/admin/admin.json`, and the metrics of the server as `/admin/stats.json` and in the text of
//! `/admin/debug`.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::journal::{self, JournalView, NodeView};
use crate::app::App;
use crate::http::answer::{Answer, TEXT};
use crate::http::problem::Problem;
use crate::metrics::Sample;
use crate::metrics::json::Json;
use crate::readings::{self, Known, VERSION};

/// What `/admin/stats.json` contains.
#[derive(Serialize)]
struct Stats<'a> {
    version: &'static str,
    metrics: Json<'a>,
    journal: JournalView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<NodeView>>,
}

/// The stats of the state with all channels and users (contract §10).
pub(crate) async fn admin_json(app: &App) -> Result<Answer, Problem> {
    let mut stats = app.node.look(|state| state.admin_stats()).await?;
    stats.uptime = hours_and_days(app.started.elapsed());
    stats.version = VERSION.to_owned();
    Answer::about(stats.channels.len(), stats).await
}

/// Every metric by its name, which is what the command `top` reads; the journal, and the nodes on it.
pub(crate) async fn json(app: &App) -> Result<Answer, Problem> {
    let samples = samples(app).await?;
    let known = app.node.look(journal::Known::of).await?;
    Ok(Answer::json(&Stats {
        version: VERSION,
        metrics: Json(&samples),
        journal: JournalView::new(app, &known),
        nodes: journal::nodes(app, &known),
    }))
}

/// Every metric, one a line, and what the state waits for; for people.
pub(crate) async fn debug(app: &App) -> Result<Answer, Problem> {
    let samples = samples(app).await?;
    let deadline = app.node.look(|state| state.next_deadline()).await?;
    let deadline = deadline
        .map_or_else(|| "none".to_owned(), |when| format!("{:?} from now", app.node.until(when)));
    let mut text = format!("channelstream {VERSION}\n");
    for sample in &samples {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{sample}");
    }
    let _ = writeln!(text, "next expiry: {deadline}");
    Ok(Answer::new(TEXT, text))
}

/// All metrics as they are now.
async fn samples(app: &App) -> Result<Vec<Sample>, Problem> {
    let known = Known::ask(app).await?;
    Ok(readings::samples(app, Some(known)).await)
}

/// Returns `H:MM:SS`, after the number of days if there are any.
fn hours_and_days(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let rest = format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    match days {
        0 => rest,
        1 => format!("1 day, {rest}"),
        days => format!("{days} days, {rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_has_the_format_of_the_reference() {
        for (seconds, expected) in [
            (0, "0:00:00"),
            (59, "0:00:59"),
            (3_661, "1:01:01"),
            (86_399, "23:59:59"),
            (86_400, "1 day, 0:00:00"),
            (90_061, "1 day, 1:01:01"),
            (10 * 86_400 + 43_200, "10 days, 12:00:00"),
        ] {
            assert_eq!(hours_and_days(Duration::from_secs(seconds)), expected);
        }
    }
}
