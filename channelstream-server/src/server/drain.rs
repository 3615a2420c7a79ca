//! The drain: requests end, then listeners in batches, then TCP connections.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::app::App;
use crate::listener::hub::Hub;
use crate::listener::outbox::Ending;

/// The pause between two batches of listeners.
const STEP: Duration = Duration::from_millis(20);

/// Waits for requests, closes listeners, and waits for TCP connections to end, within `time` in all.
pub(super) async fn end(app: &App, hub: &Hub, drain_rate: usize, time: Duration) {
    let latest = Instant::now() + time;
    // Accepted messages still reach the listeners here, so requests finish first.
    let requests_done = async {
        loop {
            sleep(STEP).await;
            if app.requests() == 0 {
                return;
            }
        }
    };
    if timeout(time / 2, requests_done).await.is_err() {
        tracing::warn!(
            "requests are still running after half of shutdown_timeout: closing listeners now"
        );
    }
    let connections_ended = async {
        hub.settle().await;
        app.close_pages();
        let batch = batch_size(hub.count(), drain_rate, latest - Instant::now());
        while hub.count() > 0 || app.tcp_connections() > 0 {
            hub.end_some(Ending::Shutdown, batch);
            sleep(STEP).await;
        }
    };
    if timeout_at(latest, connections_ended).await.is_err() {
        tracing::warn!("shutdown timed out; dropping {} connections", app.tcp_connections());
    }
}

/// Returns how many listeners one step of the drain closes: `rate` a second, or more if half of
/// `timeout` would not be enough for all.
fn batch_size(listeners: usize, rate: usize, timeout: Duration) -> usize {
    let steps = (timeout.as_secs_f64() / 2.0 / STEP.as_secs_f64()).max(1.0);
    let (listeners, rate) = (listeners as f64, rate as f64);
    let batch = (rate * STEP.as_secs_f64()).max(listeners / steps);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let batch = batch.ceil() as usize;
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drain_keeps_its_rate_unless_that_takes_more_than_half_of_the_time() {
        let ten = Duration::from_secs(10);
        assert_eq!(batch_size(0, 2000, ten), 40);
        assert_eq!(batch_size(10_000, 2000, ten), 40, "just in five seconds");
        assert_eq!(batch_size(50_000, 2000, ten), 200);
        assert_eq!(batch_size(3, 1, ten), 1);
        assert_eq!(batch_size(500, 1, Duration::from_millis(1)), 500);
    }
}
