//! The server's figures of the last five minutes, one sample a second: what the charts of an admin
//! page begin with.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::metrics::process;

/// Between two samples.
const PERIOD: Duration = Duration::from_secs(1);

/// Samples that are kept: as many as a chart shows.
const SAMPLES: usize = 300;

/// What charts are drawn of, under the names that the overview has for it.
#[derive(Debug, Serialize)]
struct Sample {
    /// Seconds.
    uptime: f64,
    listeners: usize,
    posted: u64,
    delivered: u64,
    ended_slow: u64,
    ended_silent: u64,
    /// Bytes.
    memory: Option<u64>,
    /// Seconds on processors since the start.
    cpu: Option<f64>,
}

/// The samples, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Past(Mutex<VecDeque<Sample>>);

impl Past {
    fn push(&self, sample: Sample) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(sample);
        while samples.len() > SAMPLES {
            samples.pop_front();
        }
    }

    /// All of them, as a JSON list.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_string(&*samples)
    }
}

/// Takes samples for as long as the server runs. What one costs does not grow with what the server holds.
pub(crate) async fn take_samples(app: &App) {
    let mut periods = interval(PERIOD);
    periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        periods.tick().await;
        // A server that is too far behind to answer has other worries; charts have a gap then.
        let Ok(traffic) = app.node.ask(|state| state.traffic()).await else { continue };
        app.live.past.push(Sample {
            uptime: app.started.elapsed().as_secs_f64(),
            listeners: app.node.hub().count(),
            posted: traffic.posted,
            delivered: traffic.delivered,
            ended_slow: app.metrics.ended_slow(),
            ended_silent: app.metrics.listeners_ended_silent.get(),
            memory: process::memory(),
            cpu: process::cpu_time().map(|time| time.as_secs_f64()),
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use super::*;

    #[test]
    fn the_newest_five_minutes_are_kept() {
        let past = Past::default();
        for second in 0..1000_u32 {
            past.push(Sample {
                uptime: second.into(),
                listeners: 0,
                posted: 0,
                delivered: 0,
                ended_slow: 0,
                ended_silent: 0,
                memory: None,
                cpu: None,
            });
        }
        let kept: Vec<serde_json::Value> = serde_json::from_str(&past.json().unwrap()).unwrap();
        assert_eq!(kept.len(), 300);
        assert_eq!((&kept[0]["uptime"], &kept[299]["uptime"]), (&700.0.into(), &999.0.into()));
    }
}
