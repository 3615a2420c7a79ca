//! The stats of the last five minutes, one sample a second: the charts of an admin page begin with
//! them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::metrics::process;

/// The interval between two samples.
const PERIOD: Duration = Duration::from_secs(1);

/// The number of samples that are kept, which is the width of a chart.
const SAMPLES: usize = 300;

/// One point of the charts, under the names of the overview.
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
    /// Seconds of processor time since the start.
    cpu: Option<f64>,
}

/// The samples, oldest first.
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

    /// Returns all samples as a JSON list.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_string(&*samples)
    }
}

/// Takes samples as long as the server runs. The cost of a sample does not grow with the state.
pub(crate) async fn take_samples(app: &App) {
    let mut periods = interval(PERIOD);
    periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        periods.tick().await;
        // An overloaded server skips the sample, which leaves a gap in the charts.
        let Ok(traffic) = app.node.look(|state| state.traffic()).await else { continue };
        app.feed.past.push(Sample {
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
