//! `/metrics`: what the server counts and measures, for Prometheus and its kin.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::app::App;
use crate::http::answer::Answer;
use crate::http::negotiate::prefers;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::metrics::exposition::TextFormat;
use crate::readings::{self, Known};
use crate::router::browser;

/// How long the loop that owns the state has for its answer. What it knows is left out after that; all
/// else is told, so that a server that is stuck can be seen.
const LOOP: Duration = Duration::from_secs(1);

/// Answers at the address of the server, unless the metrics have one of their own.
pub(crate) async fn here(app: &Arc<App>, request: Request) -> Result<Answer, Problem> {
    if app.settings().config.metrics_addr.is_some() {
        return Err(Problem::NotFound("not found".into()));
    }
    tell(app, request).await
}

/// Answers with all metrics.
pub(crate) async fn tell(app: &App, request: Request) -> Result<Answer, Problem> {
    let settings = app.settings();
    let readers = &settings.config.allow_metrics_from;
    if !request.is_from(readers) {
        let why = "metrics are not for this address (allow_metrics_from, trusted_proxies)";
        return Err(Problem::Refused(why.into()));
    }
    // A page has the address of the machine on which somebody looks at it.
    if browser::is_of_another_site(&request) {
        return Err(Problem::Refused("metrics are not for pages of other sites".into()));
    }
    if readers.is_loopback() && !browser::names_loopback(&request) {
        let why =
            "metrics are for this machine (allow_metrics_from): ask for 127.0.0.1 or localhost";
        return Err(Problem::Refused(why.into()));
    }
    let headers = &request.head.headers;
    let format = match prefers(headers, "text/plain", "application/openmetrics-text") {
        true => TextFormat::Prometheus,
        false => TextFormat::OpenMetrics,
    };
    let known = timeout(LOOP, Known::ask(app)).await.ok().and_then(Result::ok);
    let samples = readings::samples(app, known).await;
    Ok(Answer::new(format.content_type(), format.write(samples)).same_origin())
}
