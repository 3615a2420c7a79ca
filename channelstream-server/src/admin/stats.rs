//! Stats: `/admin/admin.json`, and the metrics of the server as `/admin/stats.json` and in the text of
//! `/admin/debug`.

use std::fmt::Write as _;
use std::time::Duration;

use channelstream_core::state::State;
use serde::Serialize;

use super::journal::{self, JournalView, Known, NodeView};
use crate::app::App;
use crate::http::answer::{Answer, TEXT};
use crate::http::problem::Problem;
use crate::journal::{Figures, RedisFigures, Standing};
use crate::metrics::{Json, Readings, Sample, process};
use crate::node;

/// The version of the server, as every outlet reports it.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

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
    let known = app.node.look(Known::of).await?;
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
    for Sample { metric, label, value } in &samples {
        // Writing to a text cannot fail.
        let _ = match metric.label {
            Some(key) => writeln!(text, "{}{{{key}=\"{label}\"}}: {value}", metric.name),
            None => writeln!(text, "{}: {value}", metric.name),
        };
    }
    let _ = writeln!(text, "next expiry: {deadline}");
    Ok(Answer::new(TEXT, text))
}

/// All metrics as they are now.
async fn samples(app: &App) -> Result<Vec<Sample>, node::Error> {
    let question =
        |state: &State| (state.sequence(), state.counts(), state.nodes().count(), state.level());
    let (events, counts, nodes, level) = app.node.look(question).await?;
    let journal = app.node.journal();
    let files = journal.figures().map(Figures::sample);
    let redis = journal.redis_figures().map(RedisFigures::sample);
    let readings = Readings {
        uptime: app.started.elapsed().as_secs_f64(),
        tcp_connections: app.tcp_connections() as u64,
        listeners: app.node.hub().count() as u64,
        requests: app.requests() as u64,
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64,
        nodes: journal.outlives_this().then_some(nodes as u64),
        users: counts.users as u64,
        users_connected: counts.users_connected as u64,
        connections: counts.connections as u64,
        channels: counts.channels as u64,
        events,
        messages: counts.posted,
        deliveries: counts.delivered,
        kept_answers: counts.kept_answers as u64,
        kept_bytes: counts.kept_bytes as u64,
        evicted_answers: counts.evicted_answers,
        refusals: app.limits.counts().collect(),
        journal_state: Standing::ALL
            .map(|standing| (standing.as_str(), u64::from(standing == journal.standing())))
            .to_vec(),
        journal_level: journal.outlives_this().then_some(level.into()),
        journal_entries: files.map(|files| files.entries).or(redis.map(|redis| redis.entries)),
        journal_undone: files.map(|files| files.undone).or(redis.map(|redis| redis.undone)),
        journal_appended: redis.map(|redis| redis.appended),
        journal_epoch: redis.map(|redis| redis.epoch),
        journal_lag: redis.map(|redis| redis.lag.as_secs_f64()),
        journal_recoveries: redis.map(|redis| redis.recoveries),
        journal_divergences: redis.map(|redis| redis.divergences),
        journal_damages: redis.map(|redis| redis.damages),
        journal_restarts: redis.map(|redis| redis.restarts),
        journal_put_back: redis.map(|redis| redis.put_back),
        journal_repeated: redis.map(|redis| redis.repeated),
        journal_writes: files.map(|files| files.writes),
        journal_write_time: files.map(|files| files.write_time.as_secs_f64()),
        journal_bytes: files.map(|files| files.bytes).or(redis.map(|redis| redis.bytes)),
        journal_snapshot_bytes: files
            .map(|files| files.snapshot_bytes)
            .or(redis.map(|redis| redis.snapshot_bytes)),
        journal_snapshot_time: files
            .map(|files| files.snapshot_time)
            .or(redis.map(|redis| redis.snapshot_time))
            .map(|time| time.as_secs_f64()),
        journal_snapshot_age: files
            .map(|files| files.snapshot_age)
            .or(redis.and_then(|redis| redis.snapshot_age))
            .map(|age| age.as_secs_f64()),
        log_lines_dropped: process::LOG_LINES_DROPPED.get(),
        memory: process::memory(),
        cpu: process::cpu_time().map(|time| time.as_secs_f64()),
    };
    Ok(app.metrics.samples(&readings))
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
